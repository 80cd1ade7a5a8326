//! Audiences: imported CSV files, from `importing` to `ready` or `failed`.
//!
//! An audience becomes ready in the transaction that writes its recipients, and in no other: a crash at any moment leaves
//! either all of its recipients or none. A deleted audience is hidden at once; its rows go in slices, and only when no
//! campaign of old still reads them.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{Error, Result, sql};

/// What an audience says whose importing process ended before the import did.
pub const INTERRUPTED: &str =
    "the import was interrupted: the process that ran it ended. Nothing was kept; import the file again";

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Status {
    /// Rows are being read.
    Importing = 1,
    /// Campaigns may use it.
    Ready = 2,
    /// `error` says why.
    Failed = 3,
}

/// Hidden; its rows are being removed.
const DELETED: i16 = 4;

/// What became of a file's rows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Data rows.
    pub read: i64,
    /// Recipients.
    pub accepted: i64,
    /// Rows that name nobody who can be reached.
    pub rejected: i64,
    /// Rows that name somebody again.
    pub duplicate: i64,
    /// Bytes of the file.
    pub bytes_read: i64,
}

/// An imported CSV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The audience's id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// How far the import has come.
    pub status: Status,
    /// The header of the phone's column; none before it is known.
    pub phone_column: Option<String>,
    /// The file's other columns, in the order of a recipient's variables.
    pub columns: Vec<String>,
    /// What became of the file's rows.
    pub totals: Totals,
    /// Bytes that the file has, where the upload said so.
    pub bytes_total: Option<i64>,
    /// Why the import failed.
    pub error: Option<String>,
    /// When the import began.
    pub created_at: DateTime<Utc>,
}

/// What is known of an audience before its file is read.
#[derive(Clone, Debug)]
pub struct NewAudience<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes that the file has, where the upload says so.
    pub bytes_total: Option<i64>,
    /// The node that imports.
    pub importer: Uuid,
}

/// What `delete` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone for every reader.
    Deleted,
    /// There is none of this id.
    NotFound,
    /// This campaign is a draft, or has a task that is scheduled or not finished.
    InUse {
        /// The campaign's id.
        campaign_id: i64,
    },
}

#[derive(FromRow)]
struct Row {
    id: i64,
    name: String,
    status: i16,
    phone_column: Option<String>,
    columns: Vec<String>,
    rows_read: i64,
    rows_accepted: i64,
    rows_rejected: i64,
    rows_duplicate: i64,
    bytes_read: i64,
    bytes_total: Option<i64>,
    error: Option<String>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Audience {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let status = match row.status {
            1 => Status::Importing,
            2 => Status::Ready,
            3 => Status::Failed,
            other => return Err(Error::contradiction("audiences", "status", row.id, other)),
        };
        Ok(Self {
            id: row.id,
            name: row.name,
            status,
            phone_column: row.phone_column,
            columns: row.columns,
            totals: Totals {
                read: row.rows_read,
                accepted: row.rows_accepted,
                rejected: row.rows_rejected,
                duplicate: row.rows_duplicate,
                bytes_read: row.bytes_read,
            },
            bytes_total: row.bytes_total,
            error: row.error,
            created_at: row.created_at,
        })
    }
}

/// Begins an audience whose file is about to be read.
///
/// # Errors
/// The database did not do it.
pub async fn insert_importing(
    connection: &mut PgConnection,
    audience: &NewAudience<'_>,
    now: DateTime<Utc>,
) -> Result<i64> {
    sql::query_scalar(
        "INSERT INTO audiences (name, status, bytes_total, importer, heartbeat_at, created_at)
         VALUES ($1, 1, $2, $3, $4, $4) RETURNING id",
    )
    .bind(audience.name)
    .bind(audience.bytes_total)
    .bind(audience.importer)
    .bind(now)
    .fetch_one(connection)
    .await
    .map_err(Error::database("beginning an audience"))
}

/// Shows how far the import has come, and that its process lives. False: it is to stop, because the audience has been
/// deleted or failed meanwhile.
///
/// # Errors
/// The database did not do it.
pub async fn update_progress(
    connection: &mut PgConnection,
    id: i64,
    totals: &Totals,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sql::query(
        "UPDATE audiences SET rows_read = $2, rows_accepted = $3, rows_rejected = $4, rows_duplicate = $5,
                bytes_read = $6, heartbeat_at = $7
          WHERE id = $1 AND status = 1",
    )
    .bind(id)
    .bind(totals.read)
    .bind(totals.accepted)
    .bind(totals.rejected)
    .bind(totals.duplicate)
    .bind(totals.bytes_read)
    .bind(now)
    .execute(connection)
    .await
    .map_err(Error::database("updating an import's progress"))?;
    Ok(done.rows_affected() == 1)
}

/// Makes the audience ready, in the transaction that wrote its recipients. False: it is no longer importing (deleted, or
/// failed as abandoned), and the caller rolls back.
///
/// # Errors
/// The database did not do it.
pub async fn finish_ready(
    connection: &mut PgConnection,
    id: i64,
    phone_column: &str,
    columns: &[String],
    totals: &Totals,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sql::query(
        "UPDATE audiences SET status = 2, phone_column = $2, columns = $3, rows_read = $4, rows_accepted = $5,
                rows_rejected = $6, rows_duplicate = $7, bytes_read = $8, heartbeat_at = $9
          WHERE id = $1 AND status = 1",
    )
    .bind(id)
    .bind(phone_column)
    .bind(columns)
    .bind(totals.read)
    .bind(totals.accepted)
    .bind(totals.rejected)
    .bind(totals.duplicate)
    .bind(totals.bytes_read)
    .bind(now)
    .execute(connection)
    .await
    .map_err(Error::database("making an audience ready"))?;
    Ok(done.rows_affected() == 1)
}

/// Ends an import that did not succeed. Nobody was accepted, because its transaction was rolled back. False: it is no
/// longer importing.
///
/// # Errors
/// The database did not do it.
pub async fn fail(
    connection: &mut PgConnection,
    id: i64,
    reason: &str,
    totals: &Totals,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sql::query(
        "UPDATE audiences SET status = 3, error = $2, rows_read = $3, rows_accepted = 0, rows_rejected = $4,
                rows_duplicate = $5, bytes_read = $6, heartbeat_at = $7
          WHERE id = $1 AND status = 1",
    )
    .bind(id)
    .bind(reason)
    .bind(totals.read)
    .bind(totals.rejected)
    .bind(totals.duplicate)
    .bind(totals.bytes_read)
    .bind(now)
    .execute(connection)
    .await
    .map_err(Error::database("failing an import"))?;
    Ok(done.rows_affected() == 1)
}

/// Fails the imports whose process is dead: those without a sign of life for `silence`, and those of the node `own`, which
/// a starting process passes because it knows that its predecessor has ended. How many there were.
///
/// # Errors
/// The database did not do it.
pub async fn fail_abandoned_imports(
    connection: &mut PgConnection,
    own: Option<Uuid>,
    now: DateTime<Utc>,
    silence: TimeDelta,
) -> Result<u64> {
    let done = sql::query(
        "UPDATE audiences SET status = 3, error = $1, rows_accepted = 0
          WHERE status = 1 AND (heartbeat_at < $2 OR importer = $3)",
    )
    .bind(INTERRUPTED)
    .bind(now - silence)
    .bind(own)
    .execute(connection)
    .await
    .map_err(Error::database("failing abandoned imports"))?;
    Ok(done.rows_affected())
}

const COLUMNS: &str = "id, name, status, phone_column, columns, rows_read, rows_accepted, rows_rejected, \
                       rows_duplicate, bytes_read, bytes_total, error, created_at";

/// One audience.
///
/// # Errors
/// The database did not answer, or the row says what cannot be.
pub async fn get(connection: &mut PgConnection, id: i64) -> Result<Option<Audience>> {
    let query = format!("SELECT {COLUMNS} FROM audiences WHERE id = $1 AND status <> {DELETED}");
    let row: Option<Row> = sql::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(Error::database("reading an audience"))?;
    row.map(Audience::try_from).transpose()
}

/// Up to `limit` audiences, the newest first; those older than `after` when it is given.
///
/// # Errors
/// The database did not answer, or a row says what cannot be.
pub async fn list(connection: &mut PgConnection, after: Option<i64>, limit: i64) -> Result<Vec<Audience>> {
    let query = format!(
        "SELECT {COLUMNS} FROM audiences
         WHERE status <> {DELETED} AND NOT hidden AND id < $1 ORDER BY id DESC LIMIT $2"
    );
    let rows: Vec<Row> = sql::query_as(sqlx::AssertSqlSafe(query))
        .bind(after.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(Error::database("listing audiences"))?;
    rows.into_iter().map(Audience::try_from).collect()
}

/// Hides the audience, unless a draft, scheduled or unfinished campaign uses it. An import that is under way stops.
/// `connection` is to be in a transaction: the row's lock keeps a campaign from being created upon it meanwhile.
///
/// # Errors
/// The database did not do it.
pub async fn delete(connection: &mut PgConnection, id: i64) -> Result<Deletion> {
    let attempted = "deleting an audience";
    let found: Option<i64> =
        sql::query_scalar("SELECT id FROM audiences WHERE id = $1 AND status <> 4 FOR UPDATE")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await
            .map_err(Error::database(attempted))?;
    if found.is_none() {
        return Ok(Deletion::NotFound);
    }
    let user: Option<i64> = sql::query_scalar(
        "SELECT c.id FROM campaigns c
          WHERE c.audience_id = $1
            AND (c.state = 1
                 OR EXISTS (SELECT 1 FROM tasks t WHERE t.campaign_id = c.id AND t.state IN (1, 2)))
          ORDER BY c.id LIMIT 1",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(Error::database(attempted))?;
    if let Some(campaign_id) = user {
        return Ok(Deletion::InUse { campaign_id });
    }
    sql::query("UPDATE audiences SET status = $2 WHERE id = $1")
        .bind(id)
        .bind(DELETED)
        .execute(connection)
        .await
        .map_err(Error::database(attempted))?;
    Ok(Deletion::Deleted)
}

/// Removes up to `limit` rows of one deleted audience that no campaign refers to: the reports of finished tasks read their
/// recipients for as long as they exist. True: there may be more.
///
/// # Errors
/// The database did not do it.
pub async fn purge_deleted(connection: &mut PgConnection, limit: i64) -> Result<bool> {
    let attempted = "removing the rows of a deleted audience";
    let id: Option<i64> = sql::query_scalar(
        "SELECT a.id FROM audiences a
          WHERE a.status = 4 AND NOT EXISTS (SELECT 1 FROM campaigns c WHERE c.audience_id = a.id)
          ORDER BY a.id LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(Error::database(attempted))?;
    let Some(id) = id else { return Ok(false) };
    for slice in [
        "DELETE FROM recipients WHERE audience_id = $1 AND no IN
             (SELECT no FROM recipients WHERE audience_id = $1 ORDER BY no LIMIT $2)",
        "DELETE FROM rejects WHERE audience_id = $1 AND line IN
             (SELECT line FROM rejects WHERE audience_id = $1 ORDER BY line LIMIT $2)",
    ] {
        let done = sql::query(slice).bind(id).bind(limit).execute(&mut *connection).await;
        if done.map_err(Error::database(attempted))?.rows_affected() > 0 {
            return Ok(true);
        }
    }
    sql::query("DELETE FROM audiences WHERE id = $1 AND status = 4")
        .bind(id)
        .execute(connection)
        .await
        .map_err(Error::database(attempted))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;

    async fn audience(connection: &mut PgConnection) -> i64 {
        let audience = NewAudience { name: "customers", bytes_total: Some(3), importer: Uuid::from_u128(1) };
        let now = DateTime::UNIX_EPOCH;
        let id = insert_importing(connection, &audience, now).await.unwrap();
        assert!(finish_ready(connection, id, "phone", &[], &Totals::default(), now).await.unwrap());
        id
    }

    async fn campaign(connection: &mut PgConnection, audience_id: i64, state: i16, task: Option<i16>) -> i64 {
        let campaign_id: i64 = sqlx::query_scalar(
            "INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority,
                                    max_attempts, on_unknown, created_at)
             VALUES ('c', $2, 'a', 's', $1, '{}', 1, 1, 5, 1, now()) RETURNING id",
        )
        .bind(audience_id)
        .bind(state)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        if let Some(state) = task {
            sqlx::query(
                "INSERT INTO tasks (campaign_id, account, sender, audience_id, state, total, created_at)
                 VALUES ($1, 'a', 's', $2, $3, 1, now())",
            )
            .bind(campaign_id)
            .bind(audience_id)
            .bind(state)
            .execute(&mut *connection)
            .await
            .unwrap();
        }
        campaign_id
    }

    #[tokio::test]
    async fn what_a_draft_or_an_unfinished_campaign_uses_stays() {
        let test = crate::testing::database().await;
        let database = Database::open(&test.connect_options());
        let mut connection = database.general.acquire().await.unwrap();
        for (state, task) in [(1, None), (2, Some(1)), (2, Some(2))] {
            let id = audience(&mut connection).await;
            let campaign_id = campaign(&mut connection, id, state, task).await;
            assert_eq!(delete(&mut connection, id).await.unwrap(), Deletion::InUse { campaign_id });
            assert!(get(&mut connection, id).await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn what_finished_campaigns_used_is_hidden_and_kept_for_their_reports() {
        let test = crate::testing::database().await;
        let database = Database::open(&test.connect_options());
        let mut connection = database.general.acquire().await.unwrap();
        for state in [3, 4, 5] {
            let id = audience(&mut connection).await;
            campaign(&mut connection, id, 2, Some(state)).await;
            assert_eq!(delete(&mut connection, id).await.unwrap(), Deletion::Deleted);
            assert_eq!(get(&mut connection, id).await.unwrap(), None);
        }
        assert!(!purge_deleted(&mut connection, 10).await.unwrap(), "nothing may be removed");
        let unused = audience(&mut connection).await;
        assert_eq!(delete(&mut connection, unused).await.unwrap(), Deletion::Deleted);
        assert!(purge_deleted(&mut connection, 10).await.unwrap());
        assert!(!purge_deleted(&mut connection, 10).await.unwrap());
    }

    #[tokio::test]
    async fn a_ready_audience_neither_fails_nor_progresses() {
        let test = crate::testing::database().await;
        let database = Database::open(&test.connect_options());
        let mut connection = database.general.acquire().await.unwrap();
        let id = audience(&mut connection).await;
        let before = get(&mut connection, id).await.unwrap();
        let (totals, now) = (Totals { read: 9, ..Totals::default() }, DateTime::UNIX_EPOCH);
        assert!(!update_progress(&mut connection, id, &totals, now).await.unwrap());
        assert!(!fail(&mut connection, id, "late", &totals, now).await.unwrap());
        assert_eq!(get(&mut connection, id).await.unwrap(), before);
    }
}
