//! One row while a message is failed, retrying, unknown, suppressed or expired: what filters by state and code read.

use model::status::MessageState;
use sqlx::PgConnection;

use crate::{Error, Result, sql};

/// (task, state, recipient's number, code).
pub type Trouble<'a> = (i64, MessageState, i32, &'a str);

/// Adds rows.
///
/// # Errors
/// The database did not do it.
pub async fn insert<'a>(conn: &mut PgConnection, rows: impl Iterator<Item = Trouble<'a>>) -> Result<()> {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    sql::query(
        "INSERT INTO troubles (task_id, state, code, no)
         SELECT * FROM UNNEST($1::bigint[], $2::smallint[], $3::text[], $4::integer[])
         ON CONFLICT DO NOTHING",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1 as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.3).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("listing troubles"))?;
    Ok(())
}

/// Removes rows.
///
/// # Errors
/// The database did not do it.
pub async fn delete<'a>(conn: &mut PgConnection, rows: impl Iterator<Item = Trouble<'a>>) -> Result<()> {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    sql::query(
        "DELETE FROM troubles t
         USING UNNEST($1::bigint[], $2::smallint[], $3::text[], $4::integer[]) AS i (task_id, state, code, no)
         WHERE t.task_id = i.task_id AND t.state = i.state AND t.code = i.code AND t.no = i.no",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1 as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.3).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("clearing troubles"))?;
    Ok(())
}
