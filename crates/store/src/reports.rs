//! Reports of vendors applied to messages, in the order of the inbox. Statuses only climb; applying never errors.
//!
//! Run by the account's owner alone. Message rows are read without locks and written only where they still stand as
//! they were read; the caller applies the batch again when one did not.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use model::{
    counts::{Deltas, Place},
    status::MessageState,
};
use sqlx::PgConnection;

use crate::{
    Error, Result,
    events::{self, Moved},
    ids::vendor_hash,
    outcomes::{self, Again},
    progress, sql,
    standings::Standing,
    troubles,
    unknown::{self, NewUnknown},
};

/// Where a message is to stand, and since when.
#[derive(Clone, Debug)]
pub struct Change {
    /// As it was read.
    pub before: Standing,
    /// The state.
    pub state: MessageState,
    /// The vendor's id, where the row had none.
    pub vendor_id: Option<String>,
    /// The last code and its text, when the message failed or is retried.
    pub why: Option<outcomes::Why>,
    /// When and how it is tried again.
    pub again: Option<Again>,
    /// A waiting retry is withdrawn.
    pub withdraw: bool,
    /// Times of milestones reached.
    pub times: Times,
}

impl Change {
    /// The message only comes further: nothing about it was or becomes a trouble.
    fn is_climb(&self) -> bool {
        self.before.state.is_accepted()
            && self.state.is_accepted()
            && self.before.code.is_none()
            && self.why.is_none()
            && self.vendor_id.is_none()
            && !self.withdraw
    }

    /// What is noted beside it, when it becomes unknown: a report said so.
    fn unknown(&self) -> Option<NewUnknown> {
        let before = &self.before;
        let becomes = self.state == MessageState::Unknown && before.state != self.state;
        let since = self.times.failed_at.filter(|_| becomes)?;
        Some(NewUnknown {
            task_id: before.task_id,
            no: before.no,
            request_id: before.request_id,
            attempt: before.attempt,
            since,
        })
    }

    /// What webhooks are told of it: each milestone that was reached, then how it ended where it came no further.
    fn moved(&self) -> Vec<Moved<'_>> {
        let before = &self.before;
        let code = self.why.as_ref().map(|why| why.code.as_str()).or(before.code.as_deref());
        if self.state == before.state && code == before.code.as_deref() {
            return Vec::new();
        }
        let moved = |state, code, at| Moved { task_id: before.task_id, no: before.no, state, code, at };
        let is_new = |state: MessageState| {
            (!before.state.is_accepted() || state > before.state)
                && (!self.state.is_accepted() || state <= self.state)
        };
        let times = &self.times;
        let milestones = [
            (MessageState::Accepted, times.accepted_at),
            (MessageState::Sent, times.sent_at),
            (MessageState::Delivered, times.delivered_at),
            (MessageState::Read, times.read_at),
        ];
        let reached = milestones.into_iter().filter(|(state, at)| at.is_some() && is_new(*state));
        let mut all: Vec<Moved<'_>> = reached.map(|(state, at)| moved(state, None, at)).collect();
        if !self.state.is_accepted() {
            let at = times.failed_at.or(self.again.map(|again| again.due_at));
            all.push(moved(self.state, code, at));
        } else if all.last().is_none_or(|last| last.state != self.state) {
            all.push(moved(self.state, None, None));
        }
        all
    }
}

/// When milestones were reached; none: not told.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are the words of the HTTP interface")]
pub struct Times {
    pub accepted_at: Option<DateTime<Utc>>,
    pub sent_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub read_at: Option<DateTime<Utc>>,
    pub failed_at: Option<DateTime<Utc>>,
}

/// Writes the changes with their counts. False: a row no longer stands as it was read; roll back and apply again.
///
/// # Errors
/// The database did not do it.
pub async fn write(conn: &mut PgConnection, changes: &[Change]) -> Result<bool> {
    if changes.is_empty() {
        return Ok(true);
    }
    let (climbs, others): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| change.is_climb());
    let mut deltas = climbs_counted(&climbs);
    let (mut cleared, mut listed, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    let (mut known, mut resent) = (Vec::new(), Vec::new());
    for change in &others {
        let before = &change.before;
        let code_before = before.code.as_deref().unwrap_or("");
        let code_now = change.why.as_ref().map_or(code_before, |why| why.code.as_str());
        if change.state == before.state && code_now == code_before {
            continue;
        }
        deltas.moved(
            before.task_id,
            Place::Message(before.state, code_before),
            Place::Message(change.state, code_now),
        );
        if before.state.is_trouble() {
            cleared.push((before.task_id, before.state, before.no, code_before));
        }
        if change.state.is_trouble() {
            listed.push((before.task_id, change.state, before.no, code_now));
        }
        if let Some(again) = change.again {
            retries.push((before.task_id, before.no, again));
        }
        if before.state == MessageState::Unknown && change.state != before.state {
            known.push((before.task_id, before.no));
            // No code came that would ask for another call: it was decided without evidence.
            if change.again.is_some() && change.why.is_none() {
                resent.push((before.task_id, before.no, before.request_id));
            }
        }
    }
    unknown::insert(conn, &others.iter().filter_map(|change| change.unknown()).collect::<Vec<_>>()).await?;
    if !withdraw_retries(conn, &others).await?
        || !climb(conn, climbs).await?
        || !update_messages(conn, others).await?
    {
        return Ok(false);
    }
    troubles::delete(conn, cleared.into_iter()).await?;
    troubles::insert(conn, listed.into_iter()).await?;
    unknown::delete(conn, known.into_iter()).await?;
    unknown::note_resends(conn, &resent).await?;
    outcomes::insert_retries(conn, &retries).await?;
    progress::append(conn, &deltas).await?;
    events::messages(conn, moved(changes)).await?;
    Ok(true)
}

/// What webhooks are told of the changes, worked out only where it is.
fn moved(changes: &[Change]) -> impl Iterator<Item = Moved<'_>> {
    changes.iter().flat_map(Change::moved)
}

/// What climbs change in the counts. They are of few kinds and many, so each kind is worked out once.
fn climbs_counted(climbs: &[&Change]) -> Deltas {
    let mut moves: HashMap<(i64, MessageState, MessageState), i32> = HashMap::new();
    for change in climbs.iter().filter(|change| change.state != change.before.state) {
        *moves.entry((change.before.task_id, change.before.state, change.state)).or_default() += 1;
    }
    let mut deltas = Deltas::default();
    for ((task_id, before, after), times) in moves {
        let mut once = Deltas::default();
        once.moved(task_id, Place::Message(before, ""), Place::Message(after, ""));
        for (task_id, kind, _, delta) in once.iter() {
            deltas.add(task_id, kind, delta * times);
        }
    }
    deltas
}

async fn withdraw_retries(conn: &mut PgConnection, changes: &[&Change]) -> Result<bool> {
    let withdrawn: Vec<&Standing> =
        changes.iter().filter(|change| change.withdraw).map(|change| &change.before).collect();
    if withdrawn.is_empty() {
        return Ok(true);
    }
    let deleted = sql::query(
        "DELETE FROM retries r USING UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         WHERE r.task_id = i.task_id AND r.no = i.no",
    )
    .bind(withdrawn.iter().map(|row| row.task_id).collect::<Vec<_>>())
    .bind(withdrawn.iter().map(|row| row.no).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("withdrawing retries"))?;
    Ok(deleted.rows_affected() == withdrawn.len() as u64)
}

/// Moves messages that only come further, which nearly all reports do: few columns, and the rows in their order.
async fn climb(conn: &mut PgConnection, mut changes: Vec<&Change>) -> Result<bool> {
    if changes.is_empty() {
        return Ok(true);
    }
    changes.sort_unstable_by_key(|change| (change.before.task_id, change.before.no));
    let times =
        |of: fn(&Times) -> Option<DateTime<Utc>>| changes.iter().map(|c| of(&c.times)).collect::<Vec<_>>();
    let updated = sql::query(
        "UPDATE messages m
         SET state = i.state,
             accepted_at = coalesce(m.accepted_at, i.sent_at, i.delivered_at, i.read_at),
             sent_at = coalesce(m.sent_at, i.sent_at),
             delivered_at = coalesce(m.delivered_at, i.delivered_at),
             read_at = coalesce(m.read_at, i.read_at)
         FROM UNNEST($1::bigint[], $2::integer[], $3::smallint[], $4::bigint[], $5::smallint[],
                     $6::timestamptz[], $7::timestamptz[], $8::timestamptz[])
              AS i (task_id, no, state_before, request_id, state, sent_at, delivered_at, read_at)
         WHERE m.task_id = i.task_id AND m.no = i.no
           AND m.state = i.state_before AND m.request_id = i.request_id AND m.code IS NULL",
    )
    .bind(changes.iter().map(|c| c.before.task_id).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.no).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.state as i16).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.request_id).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.state as i16).collect::<Vec<_>>())
    .bind(times(|t| t.sent_at))
    .bind(times(|t| t.delivered_at))
    .bind(times(|t| t.read_at))
    .execute(conn)
    .await
    .map_err(Error::database("applying reports"))?;
    Ok(updated.rows_affected() == changes.len() as u64)
}

/// Moves messages in any way.
async fn update_messages(conn: &mut PgConnection, mut changes: Vec<&Change>) -> Result<bool> {
    if changes.is_empty() {
        return Ok(true);
    }
    changes.sort_unstable_by_key(|change| (change.before.task_id, change.before.no));
    let times =
        |of: fn(&Times) -> Option<DateTime<Utc>>| changes.iter().map(|c| of(&c.times)).collect::<Vec<_>>();
    let updated = sql::query(
        "UPDATE messages m
         SET state = i.state,
             vendor_id = coalesce(m.vendor_id, i.vendor_id),
             vendor_hash = coalesce(m.vendor_hash, i.vendor_hash),
             code = CASE WHEN i.state <= 4 THEN NULL ELSE coalesce(i.code, m.code) END,
             reason = CASE WHEN i.state <= 4 THEN NULL ELSE coalesce(i.reason, m.reason) END,
             accepted_at = coalesce(m.accepted_at, i.accepted_at),
             sent_at = coalesce(m.sent_at, i.sent_at),
             delivered_at = coalesce(m.delivered_at, i.delivered_at),
             read_at = coalesce(m.read_at, i.read_at),
             failed_at = CASE WHEN i.state <= 4 THEN NULL ELSE coalesce(i.failed_at, m.failed_at) END
         FROM UNNEST($1::bigint[], $2::integer[], $3::smallint[], $4::bigint[], $5::smallint[], $6::text[],
                     $7::bigint[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[],
                     $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::text[])
              AS i (task_id, no, state_before, request_id, state, vendor_id, vendor_hash, code, reason,
                    accepted_at, sent_at, delivered_at, read_at, failed_at, code_before)
         WHERE m.task_id = i.task_id AND m.no = i.no
           AND m.state = i.state_before AND m.request_id = i.request_id
           -- The counts and the troubles are moved out of the place that the code names.
           AND m.code IS NOT DISTINCT FROM i.code_before",
    )
    .bind(changes.iter().map(|c| c.before.task_id).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.no).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.state as i16).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.request_id).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.state as i16).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.vendor_id.as_deref()).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.vendor_id.as_deref().map(vendor_hash)).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.why.as_ref().map(|why| why.code.as_str())).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.why.as_ref().map(|why| why.reason.as_str())).collect::<Vec<_>>())
    .bind(times(|t| t.accepted_at))
    .bind(times(|t| t.sent_at))
    .bind(times(|t| t.delivered_at))
    .bind(times(|t| t.read_at))
    .bind(times(|t| t.failed_at))
    .bind(changes.iter().map(|c| c.before.code.as_deref()).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("applying reports"))?;
    Ok(updated.rows_affected() == changes.len() as u64)
}
