//! The rows of an audience's file that named nobody new, with the reason of each.
//!
//! Written while the import runs and outside its transaction, so that a failed import still shows what was wrong.

use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, sql};

/// A row of a file that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Reject {
    /// The line on which the record starts, from 1. No two records start on one line.
    pub line: i64,
    /// Why it was not taken.
    pub reason: String,
    /// What stood in the phone's column.
    pub phone: String,
    /// The row as it stands in the file, shortened when long.
    pub raw: String,
}

/// Writes rejects. No text of theirs may hold a NUL.
///
/// # Errors
/// The database did not do it.
pub async fn insert(connection: &mut PgConnection, audience_id: i64, rejects: &[Reject]) -> Result<()> {
    let lines: Vec<i64> = rejects.iter().map(|reject| reject.line).collect();
    let reasons: Vec<&str> = rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let phones: Vec<&str> = rejects.iter().map(|reject| reject.phone.as_str()).collect();
    let raws: Vec<&str> = rejects.iter().map(|reject| reject.raw.as_str()).collect();
    sql::query(
        "INSERT INTO rejects (audience_id, line, seq, reason, phone, raw)
         SELECT $1, line, 0, reason, phone, raw
           FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS given (line, reason, phone, raw)",
    )
    .bind(audience_id)
    .bind(lines)
    .bind(reasons)
    .bind(phones)
    .bind(raws)
    .execute(connection)
    .await
    .map_err(Error::database("writing rejects"))?;
    Ok(())
}

/// Up to `limit` rejects in the file's order, beyond the line `after`; 0 begins.
///
/// # Errors
/// The database did not answer.
pub async fn page_after(
    connection: &mut PgConnection,
    audience_id: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<Reject>> {
    sql::query_as(
        "SELECT line, reason, phone, raw FROM rejects
          WHERE audience_id = $1 AND line > $2 ORDER BY line LIMIT $3",
    )
    .bind(audience_id)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(Error::database("reading rejects"))
}
