//! Reports whose message is not known yet: kept until it is, foreign when nobody has claimed them for long.

use chrono::{DateTime, Utc};
use model::report::StatusReport;
use sqlx::PgConnection;

use crate::{Error, Result, ids::vendor_hash, sql};

/// A report that waits for its message to be known.
#[derive(Clone, Debug)]
pub struct EarlyReport {
    /// Its number.
    pub id: i64,
    /// The report in our words, as JSON.
    pub body: serde_json::Value,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// Keeps reports whose message is not known yet.
///
/// # Errors
/// The database did not do it.
pub async fn keep(
    conn: &mut PgConnection,
    account: &str,
    reports: &[(StatusReport, serde_json::Value, DateTime<Utc>)],
) -> Result<()> {
    if reports.is_empty() {
        return Ok(());
    }
    let named = |report: &StatusReport| report.correlation;
    sql::query(
        "INSERT INTO early_reports (account, vendor_hash, request_id, task_id, no, body, received_at)
         SELECT $1, * FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[], $5::integer[], $6::jsonb[],
                                  $7::timestamptz[])",
    )
    .bind(account)
    .bind(reports.iter().map(|(report, ..)| vendor_hash(&report.vendor_id)).collect::<Vec<_>>())
    .bind(reports.iter().map(|(report, ..)| named(report).map(|c| c.request_id)).collect::<Vec<_>>())
    .bind(reports.iter().map(|(report, ..)| named(report).map(|c| c.task_id)).collect::<Vec<_>>())
    .bind(reports.iter().map(|(report, ..)| named(report).map(|c| c.no)).collect::<Vec<_>>())
    .bind(reports.iter().map(|(_, body, _)| body.clone()).collect::<Vec<_>>())
    .bind(reports.iter().map(|(.., at)| *at).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("keeping early reports"))?;
    Ok(())
}

/// A slice of the reports that wait: what was taken of it, and where the next begins.
#[derive(Clone, Debug, Default)]
pub struct EarlySlice {
    /// The reports whose message is known by now, in the order of their coming.
    pub known: Vec<EarlyReport>,
    /// The last report that was looked at; none: there are no more beyond it.
    pub goes_on_after: Option<i64>,
}

/// Looks at the next `limit` waiting reports beyond the number `after`, and takes those whose message is known by now.
///
/// It asks as [`crate::standings::find`] finds, account and all: a report that is taken in vain would be put back and taken for ever.
///
/// # Errors
/// The database did not do it.
pub async fn take_known(
    conn: &mut PgConnection,
    account: &str,
    after: i64,
    limit: i64,
) -> Result<EarlySlice> {
    // Rows that are not taken come back without their body, to say how far it went.
    let rows: Vec<(i64, Option<serde_json::Value>, DateTime<Utc>)> = sql::query_as(
        "WITH slice AS MATERIALIZED (
            SELECT * FROM early_reports WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3
         ), known AS (
            -- LIMIT keeps each look a probe of an index, whatever the planner believes of the tables.
            SELECT s.id FROM slice s CROSS JOIN LATERAL (
                SELECT FROM messages m JOIN tasks t ON t.id = m.task_id AND t.account = $1
                WHERE m.task_id = s.task_id AND m.no = s.no AND m.request_id >= s.request_id
                UNION ALL
                SELECT FROM messages m JOIN tasks t ON t.id = m.task_id AND t.account = $1
                WHERE m.vendor_hash = s.vendor_hash AND s.task_id IS NULL
                UNION ALL
                SELECT FROM old_vendor_ids o JOIN tasks t ON t.id = o.task_id AND t.account = $1
                WHERE o.vendor_hash = s.vendor_hash AND s.task_id IS NULL
                LIMIT 1
            ) message
         ), taken AS (
            DELETE FROM early_reports e
            USING known WHERE e.id = known.id
            RETURNING e.id
         )
         SELECT s.id, CASE WHEN taken.id IS NOT NULL THEN s.body END, s.received_at
         FROM slice s LEFT JOIN taken ON taken.id = s.id
         ORDER BY s.id",
    )
    .bind(account)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking at early reports"))?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|looked_at| looked_at >= limit);
    let goes_on_after = rows.last().map(|(id, ..)| *id).filter(|_| is_full);
    let known = rows
        .into_iter()
        .filter_map(|(id, body, received_at)| Some(EarlyReport { id, body: body?, received_at }))
        .collect();
    Ok(EarlySlice { known, goes_on_after })
}

/// The number beyond which the waiting reports that came after `since` lie, and all that are still to come.
///
/// # Errors
/// The database did not do it.
pub async fn number_since(conn: &mut PgConnection, account: &str, since: DateTime<Utc>) -> Result<i64> {
    sql::query_scalar(
        "SELECT coalesce(min(id) FILTER (WHERE received_at > $2) - 1, max(id), 0)
         FROM early_reports WHERE account = $1",
    )
    .bind(account)
    .bind(since)
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking how old early reports are"))
}

/// Drops early reports that nobody will ever claim; how many.
///
/// # Errors
/// The database did not do it.
pub async fn drop_foreign(conn: &mut PgConnection, account: &str, before: DateTime<Utc>) -> Result<u64> {
    let dropped = sql::query("DELETE FROM early_reports WHERE account = $1 AND received_at < $2")
        .bind(account)
        .bind(before)
        .execute(conn)
        .await
        .map_err(Error::database("dropping foreign reports"))?;
    Ok(dropped.rows_affected())
}
