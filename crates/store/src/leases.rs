//! Who owns an account: leases with an epoch, renewed by the owner, taken over when expired.
//!
//! The fence of every intent and outcome is a key-share lock on (account, epoch). A renewal leaves the key alone and so
//! never waits for it; a take-over changes the key and waits until the old owner's open transactions have ended.

use sqlx::{PgConnection, PgPool, Row as _};
use uuid::Uuid;

use crate::{Error, Result, events, sql, unknown};

/// How long a lease lasts without renewal, in seconds. Long enough for five renewals to fail.
const LEASE_SECONDS: f64 = 30.0;

/// How long a lease lasts without renewal, in seconds.
#[must_use]
pub fn lease_seconds() -> f64 {
    hooks::setting!("lease_seconds", LEASE_SECONDS)
}

/// Why tasks are paused on a database that is not the one they ran on.
const OTHER_DATABASE: &str = "the database is not the one that this task ran on before: a restored backup, or a standby that \
    took over. Whoever was sent to since the backup was taken may be sent to again; resume the task when that is acceptable";
/// Further than any node counts between a backup and its restoration.
const REQUEST_ID_LEAP: i64 = 1_000_000_000;

/// The right to act for an account, while the epoch is the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The account's name.
    pub account: String,
    /// Counts the owners that there have been.
    pub epoch: i64,
}

/// What an acquisition found.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The lease.
    pub lease: Lease,
    /// The database is not the one that the last owner saw: a restored backup or a failed-over standby. The account's
    /// tasks were paused.
    pub database_changed: bool,
}

/// Takes the account's lease when it is free or expired, or when `node` itself holds it: whoever has the data
/// directory's lock and finds its own id knows that the process before it is dead.
///
/// When the database is not the one that the last owner saw, the account's tasks are paused in the same transaction: what
/// was sent since the backup is not in it, and only an operator can know.
///
/// # Errors
/// The database did not do it, or the old owner holds an open transaction.
pub async fn acquire(pool: &PgPool, account: &str, node: Uuid) -> Result<Option<Acquired>> {
    let mut transaction =
        sql::begin_hot_in(pool).await.map_err(Error::database("acquiring an account's lease"))?;
    let conn: &mut PgConnection = &mut transaction;
    // Asked without a lock first: an owner that hangs inside a transaction must not stop this node's other leases.
    let is_held: bool = sql::query_scalar(
        "SELECT EXISTS (SELECT FROM account_leases
                        WHERE account = $1 AND owner <> $2 AND expires_at >= clock_timestamp())",
    )
    .bind(account)
    .bind(node)
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("looking at an account's lease"))?;
    if is_held {
        return Ok(None);
    }
    sql::query("SET LOCAL lock_timeout = '2s'")
        .execute(&mut *conn)
        .await
        .map_err(Error::database("limiting the wait for a lease"))?;
    let Some(acquired) = take(conn, account, node).await? else { return Ok(None) };
    // There from the start: a row that is only being inserted could not be waited for.
    sql::query("INSERT INTO commit_marks (account, epoch, number) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING")
        .bind(account)
        .bind(acquired.lease.epoch)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("preparing an account's marks"))?;
    if acquired.database_changed {
        begin_anew(conn, account).await?;
    }
    hooks::point!("lease.before_commit");
    transaction.commit().await.map_err(Error::database("acquiring an account's lease"))?;
    hooks::point!("lease.after_commit");
    Ok(Some(acquired))
}

/// Lets nothing of the account go on by itself that an older state of the database believes is still to be done.
async fn begin_anew(conn: &mut PgConnection, account: &str) -> Result<()> {
    // Also those that an operator had paused: whoever resumes them must know.
    sql::query("UPDATE tasks SET paused = true, pause_reason = $2 WHERE account = $1 AND state IN (1, 2)")
        .bind(account)
        .bind(OTHER_DATABASE)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("pausing the tasks of a restored database"))?;
    events::tasks_of(conn, account, None).await?;
    // They may have been sent again since.
    unknown::hold(conn, account).await?;
    // Numbers that were given out since the backup must not name other requests now: late reports bear them.
    sql::query("SELECT setval('request_ids', nextval('request_ids') + $1)")
        .bind(REQUEST_ID_LEAP)
        .execute(conn)
        .await
        .map_err(Error::database("leaping over the request ids of a restored database"))?;
    Ok(())
}

async fn take(conn: &mut PgConnection, account: &str, node: Uuid) -> Result<Option<Acquired>> {
    let row = sql::query(
        "WITH identity AS (
            SELECT database_identity() AS now
         ), before AS (
            SELECT owner, database_identity FROM account_leases WHERE account = $1
         ), taken AS (
            INSERT INTO account_leases AS l (account, owner, epoch, expires_at, database_identity)
            SELECT $1, $2, 1, clock_timestamp() + make_interval(secs => $3), now FROM identity
            ON CONFLICT (account) DO UPDATE
            SET owner = excluded.owner, epoch = l.epoch + 1, expires_at = excluded.expires_at,
                database_identity = excluded.database_identity
            WHERE l.owner IS NULL OR l.owner = $2 OR l.expires_at < clock_timestamp()
            RETURNING epoch, database_identity
         )
         SELECT t.epoch, b.owner, b.database_identity <> t.database_identity AS changed
         FROM taken t LEFT JOIN before b ON true",
    )
    .bind(account)
    .bind(node)
    .bind(lease_seconds())
    .fetch_optional(conn)
    .await
    .map_err(Error::database("acquiring an account's lease"))?;
    Ok(row.map(|row| Acquired {
        lease: Lease { account: account.to_owned(), epoch: row.get("epoch") },
        database_changed: row.get::<Option<bool>, _>("changed").unwrap_or(false),
    }))
}

/// Renews the leases; those that are still ours.
///
/// # Errors
/// The database did not do it, or may have.
pub async fn renew(conn: &mut PgConnection, node: Uuid, leases: &[Lease]) -> Result<Vec<String>> {
    let accounts: Vec<&str> = leases.iter().map(|lease| lease.account.as_str()).collect();
    let epochs: Vec<i64> = leases.iter().map(|lease| lease.epoch).collect();
    sql::query_scalar(
        "UPDATE account_leases l SET expires_at = clock_timestamp() + make_interval(secs => $4)
         FROM UNNEST($1::text[], $2::bigint[]) AS ours (account, epoch)
         WHERE l.account = ours.account AND l.epoch = ours.epoch AND l.owner = $3
           -- Another server may answer at the same address: a promoted standby, a restored backup.
           AND l.database_identity = database_identity()
         RETURNING l.account",
    )
    .bind(accounts)
    .bind(epochs)
    .bind(node)
    .bind(lease_seconds())
    .fetch_all(conn)
    .await
    .map_err(Error::database("renewing leases"))
}

/// Gives a lease back.
///
/// # Errors
/// The database did not do it; then it expires by itself.
pub async fn release(conn: &mut PgConnection, node: Uuid, lease: &Lease) -> Result<()> {
    sql::query(
        "UPDATE account_leases SET owner = NULL, expires_at = clock_timestamp()
         WHERE account = $1 AND epoch = $2 AND owner = $3",
    )
    .bind(&lease.account)
    .bind(lease.epoch)
    .bind(node)
    .execute(conn)
    .await
    .map_err(Error::database("releasing a lease"))?;
    Ok(())
}

/// The fence: the first statement of every transaction that acts for an account.
///
/// It holds against a standby that was promoted and a dump that was restored under us, too: what they lack was sent all the
/// same.
///
/// # Errors
/// [`Error::Fenced`] when the account belongs to a newer owner, or was acquired on another timeline or in another table.
pub async fn fence(conn: &mut PgConnection, lease: &Lease) -> Result<()> {
    sql::query(
        "SELECT FROM account_leases
         WHERE account = $1 AND epoch = $2
           AND database_identity LIKE '%/' || database_timeline() || '/' || tableoid
         FOR KEY SHARE",
    )
    .bind(&lease.account)
    .bind(lease.epoch)
    .fetch_optional(conn)
    .await
    .map_err(Error::database("checking the lease"))?
    .map(|_| ())
    .ok_or(Error::Fenced)
}

/// Whether the transaction that bears this mark is there: asked before the next one is begun. Waits for one that is still
/// ending.
///
/// # Errors
/// [`Error::Fenced`] when the account belongs to a newer owner, or the database did not answer.
pub async fn is_committed(pool: &PgPool, lease: &Lease, number: i64) -> Result<bool> {
    let asking = "asking what became of a commit";
    let mut transaction = sql::begin_hot_in(pool).await.map_err(Error::database(asking))?;
    fence(&mut transaction, lease).await?;
    // The lock is what waits: the other transaction holds it since it wrote its mark.
    let last: Option<(i64, i64)> =
        sql::query_as("SELECT epoch, number FROM commit_marks WHERE account = $1 FOR UPDATE")
            .bind(&lease.account)
            .fetch_optional(&mut transaction)
            .await
            .map_err(Error::database(asking))?;
    transaction.rollback().await.map_err(Error::database(asking))?;
    Ok(last == Some((lease.epoch, number)))
}

/// Says that `node` lives; the number of nodes that were seen lately.
///
/// # Errors
/// The database did not do it.
pub async fn heartbeat(conn: &mut PgConnection, node: Uuid) -> Result<i64> {
    sql::query_scalar(
        "WITH ours AS (
            INSERT INTO nodes (id, seen_at) VALUES ($1, clock_timestamp())
            ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
         )
         SELECT 1 + count(*) FROM nodes
         WHERE id <> $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)",
    )
    .bind(node)
    .bind(lease_seconds())
    .fetch_one(conn)
    .await
    .map_err(Error::database("saying that this node lives"))
}

/// Says that `node` has ended.
///
/// # Errors
/// The database did not do it.
pub async fn farewell(conn: &mut PgConnection, node: Uuid) -> Result<()> {
    sql::query("DELETE FROM nodes WHERE id = $1")
        .bind(node)
        .execute(conn)
        .await
        .map_err(Error::database("saying that this node ends"))?;
    Ok(())
}

/// A number that no other process has ever had: names a writer of the inbox.
///
/// # Errors
/// The database did not do it.
pub async fn next_writer(conn: &mut PgConnection) -> Result<i64> {
    sql::query_scalar("SELECT nextval('writer_ids')")
        .fetch_one(conn)
        .await
        .map_err(Error::database("naming a writer"))
}

/// Request ids in one block.
pub const REQUEST_ID_BLOCK: i64 = 1000;

/// The first of [`REQUEST_ID_BLOCK`] fresh request ids; later blocks are higher.
///
/// # Errors
/// The database did not do it.
pub async fn next_request_ids(conn: &mut PgConnection) -> Result<i64> {
    sql::query_scalar("SELECT nextval('request_ids')")
        .fetch_one(conn)
        .await
        .map_err(Error::database("drawing request ids"))
}
