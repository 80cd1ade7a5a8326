//! The way in: pools, migrations, and whether the database is there.

use std::time::{Duration, Instant};

use sqlx::{
    Connection as _, PgConnection, PgPool, PgTransaction, Postgres,
    migrate::Migrator,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{Error, Result};

/// A log filter: the server's notices (a table that is there already) tell an operator nothing.
pub const WITHOUT_NOTICES: &str = "sqlx::postgres::notice=warn";
/// A log filter: the whole text of a slow statement is no answer to a person.
pub const WITHOUT_SLOW_STATEMENTS: &str = "sqlx::query=error";

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// The hot path's few statements are planned once, not at each call, and never so that they read a whole table that was
/// small when it was planned.
const HOT: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// The pools of one process, small and by role, so that a slow page never takes a connection from the hot path.
#[derive(Clone, Debug)]
pub struct Database {
    /// Requests of people and programs, background steps.
    pub general: PgPool,
    /// Intents, outcomes, applied reports.
    pub hot: PgPool,
    /// The callbacks' inbox.
    pub inbox: PgPool,
    /// Leases alone: a renewal waits for nobody.
    pub leases: PgPool,
}

impl Database {
    /// Opens the pools without connecting yet.
    #[must_use]
    pub fn open(options: &PgConnectOptions) -> Self {
        let pool = |most: u32, test_before_acquire: bool, idle_in_transaction: &'static str, more: &[_]| {
            // A half-open connection would hold its locks for as long as the network takes to notice.
            let options = options
                .clone()
                .application_name("campaignd")
                .options([("idle_in_transaction_session_timeout", idle_in_transaction)])
                .options(more.iter().copied());
            PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(Duration::from_secs(5))
                .test_before_acquire(test_before_acquire)
                .connect_lazy_with(options)
        };
        Self {
            // An import may wait for its upload inside its transaction, and says itself when that is too long.
            general: pool(12, true, "90s", &[]),
            hot: pool(8, false, "10s", &HOT),
            inbox: pool(3, false, "10s", &HOT),
            leases: pool(2, true, "10s", &[]),
        }
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// The database is unreachable, or holds migrations that this program does not know.
    pub async fn migrate(&self) -> Result<()> {
        Ok(MIGRATIONS.run(&self.general).await?)
    }

    /// Whether the database answers and its schema is the one this program was built with.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn schema_is_current(&self) -> Result<bool> {
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        let applied: Option<i64> =
            sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(&self.general)
                .await
                .map_err(Error::database("reading the schema's version"))?;
        Ok(applied == Some(newest))
    }

    /// Closes the pools, waiting for what is under way.
    pub async fn close(&self) {
        tokio::join!(self.general.close(), self.hot.close(), self.inbox.close(), self.leases.close());
    }
}

/// A connection that one busy task keeps for a while instead of another one of the pool each time.
///
/// Each of them is a process of the server with memory and plans of its own: going round them costs the server as much as the
/// work itself. Others that wait for a connection get their turn all the same.
#[derive(Debug)]
pub struct Kept {
    pool: PgPool,
    held: Option<(PoolConnection<Postgres>, Instant)>,
}

impl Kept {
    /// For how long one is kept before others may have it.
    const TURN: Duration = Duration::from_millis(100);

    /// Keeps connections of `pool`.
    #[must_use]
    pub fn of(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), held: None }
    }

    /// The connection.
    ///
    /// # Errors
    /// There is none: the database is away, or all are in use.
    pub async fn connection(&mut self, attempted: &'static str) -> Result<&mut PgConnection> {
        if self.held.as_ref().is_some_and(|(_, since)| since.elapsed() > Self::TURN) {
            self.held = None;
        }
        if self.held.is_none() {
            let connection = self.pool.acquire().await.map_err(Error::database(attempted))?;
            self.held = Some((connection, Instant::now()));
        }
        let held = self.held.as_mut().map(|(connection, _)| &mut **connection);
        held.ok_or_else(|| Error::database(attempted)(sqlx::Error::PoolClosed))
    }

    /// A transaction on it.
    ///
    /// # Errors
    /// As [`Kept::connection`], or it cannot be begun.
    pub async fn begin(&mut self, attempted: &'static str) -> Result<PgTransaction<'_>> {
        self.connection(attempted).await?.begin().await.map_err(Error::database(attempted))
    }

    /// Gives it back: there is nothing to do, or it failed.
    pub fn release(&mut self) {
        self.held = None;
    }
}
