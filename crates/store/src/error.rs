//! What can go wrong at the database, told apart by what the caller does about it.

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do it, or may have done it: the connection, a time-out, the disk.
    #[error("{attempted}: {source}")]
    Database {
        /// What was attempted, on what.
        attempted: &'static str,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// A row says what cannot be.
    #[error("the database contradicts us: {table}.{column} of {id} is {found}")]
    Contradiction {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        id: String,
        /// What stands there.
        found: String,
    },
    /// The account belongs to a newer owner: nothing was written.
    #[error("this node no longer owns the account")]
    Fenced,
    /// The schema cannot be brought up to date.
    #[error("migrations: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The schema is not current, and only a pooler leads to the database.
    #[error(
        "the schema is not current, and migrations cannot go through a pooler: set database.migrations_url (or \
         CAMPAIGND_DATABASE__MIGRATIONS_URL) to a URL of the server itself, or run `campaignd migrate` with one"
    )]
    MigrationBehindPooler,
}

/// A result of the store.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps a driver's error with what was attempted; for `map_err`.
    pub fn database(attempted: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { attempted, source }
    }

    /// A row with that key is there already.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        let Self::Database { source: sqlx::Error::Database(error), .. } = self else { return false };
        error.is_unique_violation()
    }

    /// It took too long for us.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let Self::Database { source: sqlx::Error::Io(error), .. } = self else { return false };
        error.kind() == std::io::ErrorKind::TimedOut
    }

    /// The statement cannot be done with these values, however often it is tried: as against a connection, a lock,
    /// a full disk or a server that shuts down.
    #[must_use]
    pub fn is_about_the_values(&self) -> bool {
        // SQLSTATE's classes: cardinality, data, constraints, limits of the program.
        const CLASSES: [&str; 4] = ["21", "22", "23", "54"];
        match self {
            Self::Contradiction { .. } => true,
            Self::Database { source: sqlx::Error::Database(error), .. } => {
                error.code().is_some_and(|code| CLASSES.iter().any(|class| code.starts_with(class)))
            }
            Self::Database { .. } | Self::Fenced | Self::Migration(_) | Self::MigrationBehindPooler => false,
        }
    }

    /// A row that says what cannot be.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand in numbers and words as they have them")]
    pub fn contradiction<I: ToString, F: ToString>(
        table: &'static str,
        column: &'static str,
        id: I,
        found: F,
    ) -> Self {
        Self::Contradiction { table, column, id: id.to_string(), found: found.to_string() }
    }
}
