//! Whom an answer belongs to: what people write and press, joined to the last message that was sent to them.
//!
//! Run by the account's owner alone, behind its fence: nobody else counts the replies of its tasks.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    Phone,
    counts::{Deltas, Kind},
};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, ids::vendor_hash, progress, sql};

/// An answer that names no message belongs to one of these days.
const ANSWERED_WITHIN_DAYS: i64 = 30;
/// It is looked for in so many of the account's latest tasks at the most.
const LIMIT_TASKS: i64 = 200;
/// An audience whose phones are not listed yet is read through only up to this size.
const LIMIT_UNLISTED: i32 = 100_000;
/// A vendor's clock may be behind ours by so much.
const CLOCKS_DIFFER_SECONDS: i64 = 60;

/// A recipient of a task.
pub type Recipient = (i64, i32);

/// What is known of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The vendor's id of the message that it answers, where told.
    pub in_reply_to: Option<&'a str>,
    /// Who wrote.
    pub phone: Phone,
    /// When.
    pub at: DateTime<Utc>,
}

/// Whom each answer belongs to: by the id of the message where the vendor names it, else the last one that the account had
/// accepted for that phone.
///
/// # Errors
/// The database did not do it.
pub async fn find(
    conn: &mut PgConnection,
    account: &str,
    asked: &[Asked<'_>],
    now: DateTime<Utc>,
) -> Result<Vec<Option<Recipient>>> {
    let by_id = by_vendor_id(conn, account, asked).await?;
    let of = |asked: &Asked<'_>| asked.in_reply_to.and_then(|id| by_id.get(id).copied());
    let mut found: Vec<Option<Recipient>> = asked.iter().map(of).collect();
    let left: Vec<usize> = (0..asked.len()).filter(|place| found[*place].is_none()).collect();
    let phones: Vec<i64> = left.iter().map(|place| asked[*place].phone.as_i64()).collect();
    let times: Vec<DateTime<Utc>> = left.iter().map(|place| asked[*place].at).collect();
    for row in by_phone(conn, account, &phones, &times, now).await? {
        let place = usize::try_from(row.place - 1).ok().and_then(|place| left.get(place));
        if let Some(place) = place {
            found[*place] = Some((row.task_id, row.no));
        }
    }
    Ok(found)
}

async fn by_vendor_id(
    conn: &mut PgConnection,
    account: &str,
    asked: &[Asked<'_>],
) -> Result<HashMap<String, Recipient>> {
    let ids: Vec<&str> = asked.iter().filter_map(|asked| asked.in_reply_to).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let hashes: Vec<i64> = ids.iter().map(|id| vendor_hash(id)).collect();
    let rows: Vec<(String, i64, i32)> = sql::query_as(
        "SELECT i.id, f.task_id, f.no
         FROM UNNEST($2::text[], $3::bigint[]) AS i (id, hash)
         CROSS JOIN LATERAL (
            SELECT m.task_id, m.no FROM messages m WHERE m.vendor_hash = i.hash AND m.vendor_id = i.id
            UNION ALL SELECT o.task_id, o.no FROM old_vendor_ids o WHERE o.vendor_hash = i.hash
         ) f
         JOIN tasks t ON t.id = f.task_id AND t.account = $1",
    )
    .bind(account)
    .bind(&ids)
    .bind(&hashes)
    .fetch_all(conn)
    .await
    .map_err(Error::database("finding the messages that people answer"))?;
    Ok(rows.into_iter().map(|(id, task_id, no)| (id, (task_id, no))).collect())
}

#[derive(FromRow)]
struct Row {
    place: i64,
    task_id: i64,
    no: i32,
}

async fn by_phone(
    conn: &mut PgConnection,
    account: &str,
    phones: &[i64],
    times: &[DateTime<Utc>],
    now: DateTime<Utc>,
) -> Result<Vec<Row>> {
    if phones.is_empty() {
        return Ok(Vec::new());
    }
    sql::query_as(
        "WITH recent AS MATERIALIZED (
            SELECT t.id, t.audience_id, a.phones_listed
            FROM tasks t JOIN audiences a ON a.id = t.audience_id
            WHERE t.account = $1 AND t.started_at >= $4 AND t.details_removed_at IS NULL
              AND (a.phones_listed OR t.total <= $6)
            ORDER BY t.id DESC LIMIT $5
         )
         SELECT p.place, f.task_id, f.no
         FROM UNNEST($2::bigint[], $3::timestamptz[]) WITH ORDINALITY AS p (phone, at, place)
         CROSS JOIN LATERAL (
            SELECT m.task_id, m.no
            FROM recent t
            CROSS JOIN LATERAL (
                SELECT b.nos[array_position(b.phones, p.phone)] AS no
                FROM (SELECT phones, nos FROM recipient_phones
                      WHERE t.phones_listed AND audience_id = t.audience_id AND first_phone <= p.phone
                      ORDER BY first_phone DESC LIMIT 1) AS b
                UNION ALL
                SELECT r.no FROM recipients r
                WHERE NOT t.phones_listed AND r.audience_id = t.audience_id AND r.phone = p.phone
            ) AS i
            JOIN messages m ON m.task_id = t.id AND m.no = i.no AND m.accepted_at <= p.at
            ORDER BY m.accepted_at DESC LIMIT 1
         ) AS f",
    )
    .bind(account)
    .bind(phones)
    .bind(times.iter().map(|at| *at + TimeDelta::seconds(CLOCKS_DIFFER_SECONDS)).collect::<Vec<_>>())
    .bind(now - TimeDelta::days(ANSWERED_WITHIN_DAYS))
    .bind(LIMIT_TASKS)
    .bind(LIMIT_UNLISTED)
    .fetch_all(conn)
    .await
    .map_err(Error::database("finding the last messages to people who wrote"))
}

/// An answer to a recipient's message.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Who answered.
    pub recipient: Recipient,
    /// The press of a button, not a reply.
    pub is_click: bool,
    /// When.
    pub at: DateTime<Utc>,
}

/// Notes who answered and who clicked; each recipient counts once for each.
///
/// # Errors
/// The database did not do it.
pub async fn count(conn: &mut PgConnection, answers: &[Answer]) -> Result<()> {
    if answers.is_empty() {
        return Ok(());
    }
    let rows: Vec<(i64, i32, i32)> = sql::query_as(
        "WITH answered AS (
            SELECT task_id, no, min(at) FILTER (WHERE NOT is_click) AS replied_at,
                   min(at) FILTER (WHERE is_click) AS clicked_at
            FROM UNNEST($1::bigint[], $2::integer[], $3::boolean[], $4::timestamptz[]) AS a (task_id, no, is_click, at)
            GROUP BY task_id, no
         ), written AS (
            INSERT INTO replies AS r (task_id, no, replied_at, clicked_at)
            SELECT * FROM answered ORDER BY task_id, no
            ON CONFLICT (task_id, no) DO UPDATE
            SET replied_at = coalesce(r.replied_at, excluded.replied_at),
                clicked_at = coalesce(r.clicked_at, excluded.clicked_at)
         )
         -- `replies` is seen here as it was before
         SELECT a.task_id,
                count(*) FILTER (WHERE a.replied_at IS NOT NULL AND r.replied_at IS NULL)::integer,
                count(*) FILTER (WHERE a.clicked_at IS NOT NULL AND r.clicked_at IS NULL)::integer
         FROM answered a LEFT JOIN replies r ON r.task_id = a.task_id AND r.no = a.no
         GROUP BY a.task_id",
    )
    .bind(answers.iter().map(|answer| answer.recipient.0).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.recipient.1).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.is_click).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.at).collect::<Vec<_>>())
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("counting answers"))?;
    let mut deltas = Deltas::default();
    for (task_id, replied, clicked) in rows {
        deltas.add(task_id, Kind::Replied, replied);
        deltas.add(task_id, Kind::Clicked, clicked);
    }
    progress::append(conn, &deltas).await
}
