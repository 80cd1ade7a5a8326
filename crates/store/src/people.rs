//! One person across all audiences: where a phone is found, and how everything that names it is erased.
//!
//! A recipient's row is never removed: numbers and cursors hold. What stood in it is overwritten, and the phone becomes
//! one that nobody has and that is suppressed for good, so that whoever had not been sent to ends as suppressed.

use chrono::{DateTime, TimeDelta, Utc};
use model::Phone;
use sqlx::PgConnection;

use crate::{Error, Result, sql, suppressions::Reason};

/// What stands where a phone was erased. Its country code is nobody's; the migrations suppress it.
pub const ERASED_DIGITS: i64 = 999_000_000_000_000;
/// What stands where a text was erased.
pub const ERASED: &str = "erased";
/// Recipients read before an erasure are sent to within this time or not at all.
const GUARD_HOURS: i64 = 24;

/// Whether this is what stands where a phone was erased.
#[must_use]
pub fn is_erased(phone: Phone) -> bool {
    phone.as_i64() == ERASED_DIGITS
}

/// Writes the sorted phones of one audience that has none yet; whether there was one.
///
/// # Errors
/// The database did not do it.
pub async fn list_phones(conn: &mut PgConnection) -> Result<bool> {
    let attempted = "listing an audience's phones";
    let mut tx = sql::begin(conn).await.map_err(Error::database(attempted))?;
    let audience_id: Option<i64> = sql::query_scalar(
        "SELECT id FROM audiences WHERE status = 2 AND NOT phones_listed
         ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
    )
    .fetch_optional(&mut tx)
    .await
    .map_err(Error::database(attempted))?;
    let Some(audience_id) = audience_id else { return Ok(false) };
    sql::query(
        "INSERT INTO recipient_phones (audience_id, first_phone, phones, nos)
         SELECT $1, min(phone), array_agg(phone ORDER BY phone, no), array_agg(no ORDER BY phone, no)
         FROM (SELECT phone, no, (row_number() OVER (ORDER BY phone, no) - 1) / 128 AS block
               FROM recipients WHERE audience_id = $1 AND phone <> $2) AS sorted
         GROUP BY block",
    )
    .bind(audience_id)
    .bind(ERASED_DIGITS)
    .execute(&mut tx)
    .await
    .map_err(Error::database(attempted))?;
    sql::query("UPDATE audiences SET phones_listed = true WHERE id = $1")
        .bind(audience_id)
        .execute(&mut tx)
        .await
        .map_err(Error::database(attempted))?;
    tx.commit().await.map_err(Error::database(attempted))?;
    Ok(true)
}

/// The number of the recipient with this phone: a probe, or a pass over the audience while its phones are not listed yet.
///
/// # Errors
/// The database did not do it.
pub async fn no_of(conn: &mut PgConnection, audience_id: i64, phone: Phone) -> Result<Option<i32>> {
    sql::query_scalar(
        "SELECT CASE WHEN coalesce((SELECT phones_listed FROM audiences WHERE id = $1), false)
                THEN (SELECT b.nos[array_position(b.phones, $2)]
                      FROM (SELECT phones, nos FROM recipient_phones
                            WHERE audience_id = $1 AND first_phone <= $2
                            ORDER BY first_phone DESC LIMIT 1) AS b)
                ELSE (SELECT no FROM recipients WHERE audience_id = $1 AND phone = $2 LIMIT 1) END",
    )
    .bind(audience_id)
    .bind(phone.as_i64())
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking a recipient up by phone"))
}

/// What was erased, by count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows of audiences.
    pub recipients: i64,
    /// Messages that kept their counts and lost the vendor's id.
    pub messages: i64,
    /// What the person wrote and pressed.
    pub inbound: i64,
    /// Raw callbacks that named the number.
    pub callbacks: i64,
    /// Rows of files that were not taken.
    pub rejects: i64,
    /// The number stays on the suppression list: it keeps the promise not to write again.
    pub suppression_kept: bool,
    /// Otherwise it is withheld from all senders until then, for what had been read before.
    pub withheld_until: Option<DateTime<Utc>>,
}

/// What came of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// It is done.
    Done(Erased),
    /// The person is in an open request of this task: roll back and try again when it has ended.
    InFlight {
        /// The task.
        task_id: i64,
    },
}

/// (task, number).
type Messages = (Vec<i64>, Vec<i32>);

/// Erases what names a person, in the caller's transaction.
///
/// # Errors
/// The database did not do it.
pub async fn erase(conn: &mut PgConnection, phone: Phone, now: DateTime<Utc>) -> Result<Erasure> {
    let (audiences, nos) = recipients_of(conn, phone).await?;
    let messages = match messages_of(conn, &audiences, &nos).await? {
        Ok(messages) => messages,
        Err(task_id) => return Ok(Erasure::InFlight { task_id }),
    };
    erase_counted(conn, phone).await?;
    let mut erased = Erased::default();
    (erased.suppression_kept, erased.withheld_until) = withhold(conn, phone, now).await?;
    erased.recipients = erase_recipients(conn, phone, &audiences, &nos).await?;
    erased.messages = erase_messages(conn, &messages).await?;
    erased.inbound = erase_inbound(conn, phone).await?;
    erased.callbacks = erase_callbacks(conn, phone).await?;
    erased.rejects = erase_rejects(conn, phone).await?;
    Ok(Erasure::Done(erased))
}

async fn recipients_of(conn: &mut PgConnection, phone: Phone) -> Result<(Vec<i64>, Vec<i32>)> {
    let rows: Vec<(i64, i32)> = sql::query_as(
        "SELECT a.id, b.nos[array_position(b.phones, $1)] AS no
         FROM audiences a
         CROSS JOIN LATERAL (SELECT phones, nos FROM recipient_phones p
                             WHERE p.audience_id = a.id AND p.first_phone <= $1
                             ORDER BY p.first_phone DESC LIMIT 1) AS b
         WHERE a.phones_listed AND array_position(b.phones, $1) IS NOT NULL
         UNION ALL
         SELECT r.audience_id, r.no
         FROM audiences a
         CROSS JOIN LATERAL (SELECT audience_id, no FROM recipients
                             WHERE audience_id = a.id AND phone = $1 OFFSET 0) AS r
         WHERE NOT a.phones_listed",
    )
    .bind(phone.as_i64())
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking a person up"))?;
    Ok(rows.into_iter().unzip())
}

/// The person's messages, or a task whose open request names the person. Tasks that could take the person now are locked.
async fn messages_of(
    conn: &mut PgConnection,
    audiences: &[i64],
    nos: &[i32],
) -> Result<std::result::Result<Messages, i64>> {
    let rows: Vec<(i64, i32)> = sql::query_as(
        "SELECT t.id, i.no FROM UNNEST($1::bigint[], $2::integer[]) AS i (audience_id, no)
         JOIN tasks t ON t.audience_id = i.audience_id AND t.details_removed_at IS NULL
         ORDER BY t.id FOR NO KEY UPDATE OF t",
    )
    .bind(audiences)
    .bind(nos)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("reading a person's tasks"))?;
    let messages: Messages = rows.into_iter().unzip();
    let in_flight: Option<i64> = sql::query_scalar(
        "SELECT q.task_id FROM UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         JOIN requests q ON q.task_id = i.task_id AND i.no = ANY (q.nos)
         WHERE NOT EXISTS (SELECT FROM messages m
                           WHERE m.task_id = i.task_id AND m.no = i.no AND m.request_id >= q.id)
           AND NOT EXISTS (SELECT FROM retries r WHERE r.task_id = i.task_id AND r.no = i.no)
         LIMIT 1",
    )
    .bind(&messages.0)
    .bind(&messages.1)
    .fetch_optional(conn)
    .await
    .map_err(Error::database("looking whether a person is being sent to"))?;
    Ok(in_flight.map_or(Ok(messages), Err))
}

/// What limits keep of a number. How many a sender has written to stays: the messages were sent.
async fn erase_counted(conn: &mut PgConnection, phone: Phone) -> Result<()> {
    for statement in
        ["DELETE FROM marketing_days WHERE phone = $1", "DELETE FROM sender_days WHERE phone = $1"]
    {
        sql::query(statement)
            .bind(phone.as_i64())
            .execute(&mut *conn)
            .await
            .map_err(Error::database("erasing what limits keep of a number"))?;
    }
    Ok(())
}

/// Whether the number is listed for good; else it is withheld for a while, because senders read ahead.
async fn withhold(
    conn: &mut PgConnection,
    phone: Phone,
    now: DateTime<Utc>,
) -> Result<(bool, Option<DateTime<Utc>>)> {
    let until = now + TimeDelta::hours(GUARD_HOURS);
    let is_withheld: Option<bool> = sql::query_scalar(
        "INSERT INTO suppressions AS s (phone, reason, source, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (phone) DO UPDATE
         SET reason = excluded.reason, source = excluded.source, created_at = excluded.created_at,
             expires_at = excluded.expires_at
         WHERE s.expires_at IS NOT NULL
         RETURNING true",
    )
    .bind(phone.as_i64())
    .bind(Reason::Manual as i16)
    .bind(ERASED)
    .bind(now)
    .bind(until)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("withholding an erased number"))?;
    sql::query("DELETE FROM strikes WHERE phone = $1")
        .bind(phone.as_i64())
        .execute(conn)
        .await
        .map_err(Error::database("erasing a number's strikes"))?;
    Ok((is_withheld.is_none(), is_withheld.map(|_| until)))
}

async fn erase_recipients(
    conn: &mut PgConnection,
    phone: Phone,
    audiences: &[i64],
    nos: &[i32],
) -> Result<i64> {
    let rows = sql::query(
        "UPDATE recipients r
         SET phone = $3, vars = array_fill($4::text, ARRAY[cardinality(r.vars)])
         FROM UNNEST($1::bigint[], $2::integer[]) AS i (audience_id, no)
         WHERE r.audience_id = i.audience_id AND r.no = i.no",
    )
    .bind(audiences)
    .bind(nos)
    .bind(ERASED_DIGITS)
    .bind(ERASED)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("erasing a recipient"))?
    .rows_affected();
    for statement in [
        "DELETE FROM recipient_phones p USING UNNEST($1::bigint[], $2::integer[]) AS i (audience_id, no)
         WHERE p.audience_id = i.audience_id AND p.first_phone = $3 AND cardinality(p.phones) = 1",
        "UPDATE recipient_phones p
         SET first_phone = (array_remove(p.phones, $3))[1],
             phones = array_remove(p.phones, $3), nos = array_remove(p.nos, i.no)
         FROM UNNEST($1::bigint[], $2::integer[]) AS i (audience_id, no)
         WHERE p.audience_id = i.audience_id AND p.first_phone <= $3 AND p.phones @> ARRAY[$3]",
    ] {
        sql::query(statement)
            .bind(audiences)
            .bind(nos)
            .bind(phone.as_i64())
            .execute(&mut *conn)
            .await
            .map_err(Error::database("erasing a listed phone"))?;
    }
    Ok(rows.cast_signed())
}

/// The vendor's id leads to the vendor's record of the person; a text may name the number.
async fn erase_messages(conn: &mut PgConnection, (tasks, nos): &Messages) -> Result<i64> {
    let mut rows = 0;
    for statement in [
        "DELETE FROM old_vendor_ids o USING UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         WHERE o.task_id = i.task_id AND o.no = i.no",
        "UPDATE unknowns u SET phone = NULL, ask_at = NULL, resend_at = NULL
         FROM UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         WHERE u.task_id = i.task_id AND u.no = i.no",
        "UPDATE messages m
         SET vendor_id = NULL, vendor_hash = NULL, reason = CASE WHEN reason IS NOT NULL THEN 'erased' END
         FROM UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         WHERE m.task_id = i.task_id AND m.no = i.no",
    ] {
        rows = sql::query(statement)
            .bind(tasks)
            .bind(nos)
            .execute(&mut *conn)
            .await
            .map_err(Error::database("erasing a person's messages"))?
            .rows_affected();
    }
    Ok(rows.cast_signed())
}

async fn erase_inbound(conn: &mut PgConnection, phone: Phone) -> Result<i64> {
    let rows = sql::query(
        "UPDATE inbound SET phone = $2, text = NULL, vendor_id = NULL, in_reply_to = NULL WHERE phone = $1",
    )
    .bind(phone.as_i64())
    .bind(ERASED_DIGITS)
    .execute(conn)
    .await
    .map_err(Error::database("erasing what a person wrote"))?;
    Ok(rows.rows_affected().cast_signed())
}

/// Reads the whole inbox, which retention keeps short. What has not been applied yet is left to be.
async fn erase_callbacks(conn: &mut PgConnection, phone: Phone) -> Result<i64> {
    let named = format!("%{}%", phone.digits());
    let rows = sql::query(
        "UPDATE callbacks c
         SET bodies = ARRAY(SELECT CASE WHEN body LIKE $1 THEN '{\"erased\":true}' ELSE body END
                            FROM UNNEST(c.bodies) WITH ORDINALITY AS u (body, place) ORDER BY place)
         WHERE array_to_string(c.bodies, ' ') LIKE $1
           AND NOT EXISTS (SELECT FROM inbox_positions p
                           WHERE p.account = c.account AND p.writer = c.writer AND p.seq < c.seq)",
    )
    .bind(&named)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("erasing callbacks"))?
    .rows_affected();
    sql::query("DELETE FROM early_reports WHERE body::text LIKE $1")
        .bind(&named)
        .execute(conn)
        .await
        .map_err(Error::database("erasing early reports"))?;
    Ok(rows.cast_signed())
}

/// Rows that were not taken hold the number as it was typed, often without its country code.
async fn erase_rejects(conn: &mut PgConnection, phone: Phone) -> Result<i64> {
    let rows = sql::query(
        "UPDATE rejects SET phone = '', raw = $2
         WHERE ltrim(regexp_replace(phone, '\\D', '', 'g'), '0') <> ''
           AND length(ltrim(regexp_replace(phone, '\\D', '', 'g'), '0')) >= 7
           AND right($1, length(ltrim(regexp_replace(phone, '\\D', '', 'g'), '0')))
               = ltrim(regexp_replace(phone, '\\D', '', 'g'), '0')",
    )
    .bind(phone.digits().to_string())
    .bind(ERASED)
    .execute(conn)
    .await
    .map_err(Error::database("erasing rows that were not taken"))?;
    Ok(rows.rows_affected().cast_signed())
}

/// Forgets numbers that were withheld for a while after their erasure.
///
/// # Errors
/// The database did not do it.
pub async fn forget_withheld(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64> {
    let rows = sql::query("DELETE FROM suppressions WHERE source = $1 AND expires_at <= $2")
        .bind(ERASED)
        .bind(now)
        .execute(conn)
        .await
        .map_err(Error::database("forgetting erased numbers"))?;
    Ok(rows.rows_affected())
}
