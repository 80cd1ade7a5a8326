//! The statements of this crate: sqlx's, made fit for a pooler.
//!
//! Behind a pooler in transaction mode a connection is another one after each transaction. The driver prepares a
//! statement in one step and executes it in the next, so a statement that stands alone gets a transaction of its own, and
//! none is kept prepared: its name would stay behind on a server connection that others use. No statement of this crate
//! may go round these functions (`tests/boundaries_hold.rs` looks).

use std::{
    fmt::Write as _,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{
    AssertSqlSafe, Connection as _, Decode, Encode, FromRow, PgConnection, PgPool, PgTransaction, Postgres,
    SqlSafeStr, Type,
    postgres::{PgArguments, PgQueryResult, PgRow},
};

use crate::database;

/// A process reaches its database in one way. A connection cannot tell which.
static IS_POOLED: AtomicBool = AtomicBool::new(false);

/// What a transaction behind a pooler begins with. Its server connection has none of our settings; the one that is needed
/// everywhere is said each time: a node that stands still must not hold its locks for longer.
const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// The same for who waits for somebody in the middle, as an import does for its upload.
const BEGIN_PATIENT: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '90s'";

/// The same on the hot path.
static BEGIN_HOT: LazyLock<String> = LazyLock::new(|| {
    let mut begin = "BEGIN".to_owned();
    for (name, value) in database::hot_settings() {
        // Writing to a string does not fail.
        let _ = write!(begin, "; SET LOCAL {name} = '{value}'");
    }
    begin
});

/// From now on the database is reached through a pooler, or not.
pub(crate) fn set_pooled(is_pooled: bool) {
    IS_POOLED.store(is_pooled, Ordering::Relaxed);
}

fn is_pooled() -> bool {
    IS_POOLED.load(Ordering::Relaxed)
}

/// A transaction; within another one, a part of it that can be rolled back.
pub(crate) async fn begin(conn: &mut PgConnection) -> sqlx::Result<PgTransaction<'_>> {
    if is_alone(conn) { conn.begin_with(BEGIN).await } else { conn.begin().await }
}

/// A transaction of the hot path.
pub(crate) async fn begin_hot(conn: &mut PgConnection) -> sqlx::Result<PgTransaction<'_>> {
    if is_alone(conn) { conn.begin_with(AssertSqlSafe(BEGIN_HOT.as_str())).await } else { conn.begin().await }
}

/// A transaction on a connection of the pool, to be held for a moment only. Sessions of the pool may be more patient, and
/// a node that stands still with a lease's fence in its hand would keep every other node from taking over.
///
/// # Errors
/// There is none: the database is away, or all are in use.
pub async fn begin_in(pool: &PgPool) -> sqlx::Result<PgTransaction<'static>> {
    pool.begin_with(BEGIN).await
}

/// A transaction that may wait for somebody.
///
/// # Errors
/// As [`begin_in`].
pub async fn begin_patient_in(pool: &PgPool) -> sqlx::Result<PgTransaction<'static>> {
    if is_pooled() { pool.begin_with(BEGIN_PATIENT).await } else { pool.begin().await }
}

/// A transaction of the hot path on a connection of the pool.
///
/// # Errors
/// As [`begin_in`].
pub async fn begin_hot_in(pool: &PgPool) -> sqlx::Result<PgTransaction<'static>> {
    if is_pooled() { pool.begin_with(AssertSqlSafe(BEGIN_HOT.as_str())).await } else { pool.begin().await }
}

/// A transaction that reads, and in which nothing changes from its first statement to its last.
pub(crate) async fn begin_snapshot(conn: &mut PgConnection) -> sqlx::Result<PgTransaction<'_>> {
    conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// Whether a statement on this connection needs a transaction of its own.
fn is_alone(conn: &PgConnection) -> bool {
    is_pooled() && !conn.is_in_transaction()
}

/// A statement whose rows are read one by one, or that has none.
pub(crate) fn query<'q>(text: impl SqlSafeStr) -> Query<'q> {
    Query(sqlx::query(text).persistent(!is_pooled()))
}

/// A statement whose rows are structs or tuples.
pub(crate) fn query_as<'q, O: for<'r> FromRow<'r, PgRow>>(text: impl SqlSafeStr) -> QueryAs<'q, O> {
    QueryAs(sqlx::query_as(text).persistent(!is_pooled()))
}

/// A statement whose rows are single values.
pub(crate) fn query_scalar<'q, O>(text: impl SqlSafeStr) -> QueryScalar<'q, O>
where
    (O,): for<'r> FromRow<'r, PgRow>,
{
    QueryScalar(sqlx::query_scalar(text).persistent(!is_pooled()))
}

#[must_use = "a statement does nothing until it is executed"]
pub(crate) struct Query<'q>(sqlx::query::Query<'q, Postgres, PgArguments>);

#[must_use = "a statement does nothing until it is executed"]
pub(crate) struct QueryAs<'q, O>(sqlx::query::QueryAs<'q, Postgres, O, PgArguments>);

#[must_use = "a statement does nothing until it is executed"]
pub(crate) struct QueryScalar<'q, O>(sqlx::query::QueryScalar<'q, Postgres, O, PgArguments>);

/// Runs a statement on a connection: in the transaction that it is in, or in one of its own.
macro_rules! run {
    ($statement:expr, $conn:ident, $how:ident) => {{
        if !is_alone($conn) {
            return $statement.$how($conn).await;
        }
        let mut transaction = begin($conn).await?;
        let found = $statement.$how(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(found)
    }};
}

impl<'q> Query<'q> {
    pub(crate) fn bind<T: 'q + Encode<'q, Postgres> + Type<Postgres>>(self, value: T) -> Self {
        Self(self.0.bind(value))
    }

    pub(crate) async fn execute(self, conn: &mut PgConnection) -> sqlx::Result<PgQueryResult> {
        run!(self.0, conn, execute)
    }

    pub(crate) async fn fetch_all(self, conn: &mut PgConnection) -> sqlx::Result<Vec<PgRow>> {
        run!(self.0, conn, fetch_all)
    }

    pub(crate) async fn fetch_optional(self, conn: &mut PgConnection) -> sqlx::Result<Option<PgRow>> {
        run!(self.0, conn, fetch_optional)
    }
}

impl<'q, O: Send + Unpin + for<'r> FromRow<'r, PgRow>> QueryAs<'q, O> {
    pub(crate) fn bind<T: 'q + Encode<'q, Postgres> + Type<Postgres>>(self, value: T) -> Self {
        Self(self.0.bind(value))
    }

    /// Whether it is kept prepared, and after some calls planned for all values alike.
    pub(crate) fn persistent(self, is_kept: bool) -> Self {
        Self(self.0.persistent(is_kept && !is_pooled()))
    }

    pub(crate) async fn fetch_all(self, conn: &mut PgConnection) -> sqlx::Result<Vec<O>> {
        run!(self.0, conn, fetch_all)
    }

    pub(crate) async fn fetch_one(self, conn: &mut PgConnection) -> sqlx::Result<O> {
        run!(self.0, conn, fetch_one)
    }

    pub(crate) async fn fetch_optional(self, conn: &mut PgConnection) -> sqlx::Result<Option<O>> {
        run!(self.0, conn, fetch_optional)
    }
}

impl<'q, O> QueryScalar<'q, O>
where
    O: Send + Unpin + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    (O,): Send + Unpin + for<'r> FromRow<'r, PgRow>,
{
    pub(crate) fn bind<T: 'q + Encode<'q, Postgres> + Type<Postgres>>(self, value: T) -> Self {
        Self(self.0.bind(value))
    }

    pub(crate) async fn fetch_all(self, conn: &mut PgConnection) -> sqlx::Result<Vec<O>> {
        run!(self.0, conn, fetch_all)
    }

    pub(crate) async fn fetch_one(self, conn: &mut PgConnection) -> sqlx::Result<O> {
        run!(self.0, conn, fetch_one)
    }

    pub(crate) async fn fetch_optional(self, conn: &mut PgConnection) -> sqlx::Result<Option<O>> {
        run!(self.0, conn, fetch_optional)
    }
}
