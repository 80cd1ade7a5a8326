//! Distinct recipients of a sender per rolling 24 hours: counted in the transaction that takes them, so that a crash neither
//! loses nor doubles anybody. A call that never left stays counted: the limit is rather kept too well than exceeded.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use model::limits::{self, DailyRoom, HourOfRecipients};
use sqlx::PgConnection;

use crate::{
    Error, Result,
    sender_limits::{self, smaller},
    sql,
};

/// Rows forgotten in one statement at the most.
const FORGOTTEN: i64 = 10_000;

/// A sender's limit, as the configuration has it. Where its vendor has told of a smaller one, that one holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyLimit {
    /// The sender.
    pub sender: String,
    /// Distinct recipients in any 24 hours.
    pub recipients: u32,
}

/// When there is room again, for those of the account's senders that have none now.
///
/// # Errors
/// The database did not do it.
pub async fn full_until(
    conn: &mut PgConnection,
    account: &str,
    limits: &[DailyLimit],
    now: DateTime<Utc>,
) -> Result<HashMap<String, DateTime<Utc>>> {
    if limits.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, DateTime<Utc>, i32)> = sql::query_as(
        "SELECT sender, hour, recipients FROM sender_hours WHERE account = $1 AND sender = ANY ($2) AND hour > $3",
    )
    .bind(account)
    .bind(limits.iter().map(|limit| limit.sender.as_str()).collect::<Vec<_>>())
    .bind(oldest_counted(now))
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("reading how many a sender has written to"))?;
    let told = sender_limits::of_account(conn, account).await?;
    let is_full = |limit: &DailyLimit| {
        let of_sender = rows.iter().filter(|row| row.0 == limit.sender).map(|row| (row.1, row.2));
        let told = told.get(&limit.sender).and_then(|told| told.daily_recipients);
        let recipients = smaller(Some(limit.recipients), told).unwrap_or(limit.recipients);
        match room(recipients, &of_sender.collect(), now) {
            DailyRoom::FullUntil(until) => Some((limit.sender.clone(), until)),
            DailyRoom::For(_) => None,
        }
    };
    Ok(limits.iter().filter_map(is_full).collect())
}

/// Hours that began then or before count no more.
fn oldest_counted(now: DateTime<Utc>) -> DateTime<Utc> {
    now - (limits::counted_until(now) - now)
}

fn room(recipients: u32, hours: &BTreeMap<DateTime<Utc>, i32>, now: DateTime<Utc>) -> DailyRoom {
    let hours: Vec<HourOfRecipients> = hours
        .iter()
        .map(|(hour, n)| HourOfRecipients { hour: *hour, recipients: n.max(&0).unsigned_abs() })
        .collect();
    limits::daily_room(recipients, &hours, now)
}

/// A sender's count as a transaction finds it, and what it will write.
#[derive(Debug)]
pub(crate) struct Day<'a> {
    account: &'a str,
    limit: &'a DailyLimit,
    /// What the limit is now.
    recipients: u32,
    now: DateTime<Utc>,
    /// In which whoever leaves now is counted.
    hour: DateTime<Utc>,
    hours: BTreeMap<DateTime<Utc>, i32>,
    /// Of those who are looked at, the counted ones.
    counted: HashMap<i64, DateTime<Utc>>,
}

impl<'a> Day<'a> {
    /// Reads what is counted, and who of `phones` is. `leaves_by`: when the last call of this transaction is over: a person
    /// counts from then on, not from the taking, which may be in the hour before.
    pub(crate) async fn look(
        conn: &mut PgConnection,
        account: &'a str,
        limit: &'a DailyLimit,
        phones: &[i64],
        now: DateTime<Utc>,
        leaves_by: DateTime<Utc>,
    ) -> Result<Self> {
        let rows: Vec<(i16, i64, DateTime<Utc>)> = sql::query_as(
            "SELECT 1::smallint, recipients::bigint, hour FROM sender_hours
             WHERE account = $1 AND sender = $2 AND hour > $4
             UNION ALL
             SELECT 2::smallint, phone, hour FROM sender_days
             WHERE account = $1 AND sender = $2 AND phone = ANY ($3) AND hour > $4
             UNION ALL
             SELECT 3::smallint, daily_recipients::bigint, told_at FROM sender_limits
             WHERE account = $1 AND sender = $2 AND daily_recipients IS NOT NULL",
        )
        .bind(account)
        .bind(&limit.sender)
        .bind(phones)
        .bind(oldest_counted(now))
        .fetch_all(conn)
        .await
        .map_err(Error::database("reading whom a sender has written to"))?;
        let (mut hours, mut counted, mut told) = (BTreeMap::new(), HashMap::new(), None);
        for (kind, value, at) in rows {
            let number = i32::try_from(value).unwrap_or(i32::MAX);
            match kind {
                1 => drop(hours.insert(at, number)),
                2 => drop(counted.insert(value, at)),
                _ => told = Some(number),
            }
        }
        let recipients = smaller(Some(limit.recipients), told).unwrap_or(limit.recipients);
        Ok(Self { account, limit, recipients, now, hour: limits::hour_of(leaves_by), hours, counted })
    }

    /// Whose day it is.
    pub(crate) fn limit(&self) -> &'a DailyLimit {
        self.limit
    }

    /// Who of `phones` must wait, and until when. Those who are counted already take no room; of the others the first ones
    /// get what there is.
    pub(crate) fn wait(&self, phones: &[i64]) -> Option<(HashSet<i64>, DateTime<Utc>)> {
        let mut left = match room(self.recipients, &self.hours, self.now) {
            DailyRoom::For(room) => room,
            DailyRoom::FullUntil(_) => 0,
        };
        let (mut fresh, mut waiting) = (HashSet::new(), HashSet::new());
        for phone in phones.iter().filter(|phone| !self.counted.contains_key(phone)) {
            if fresh.contains(phone) || waiting.contains(phone) {
                continue;
            }
            if left > 0 {
                left -= 1;
                fresh.insert(*phone);
            } else {
                waiting.insert(*phone);
            }
        }
        if waiting.is_empty() {
            return None;
        }
        let mut then = self.hours.clone();
        *then.entry(self.hour).or_default() += i32::try_from(fresh.len()).unwrap_or(i32::MAX);
        let until = match room(self.recipients, &then, self.now) {
            DailyRoom::FullUntil(until) => until,
            DailyRoom::For(_) => self.now,
        };
        Some((waiting, until))
    }

    /// Counts those who leave.
    pub(crate) async fn count(&self, conn: &mut PgConnection, leaving: &[i64]) -> Result<()> {
        let mut phones: Vec<i64> =
            leaving.iter().copied().filter(|phone| self.counted.get(phone) != Some(&self.hour)).collect();
        phones.sort_unstable();
        phones.dedup();
        if phones.is_empty() {
            return Ok(());
        }
        let mut hours: BTreeMap<DateTime<Utc>, i32> = BTreeMap::new();
        for before in phones.iter().filter_map(|phone| self.counted.get(phone)) {
            *hours.entry(*before).or_default() -= 1;
        }
        *hours.entry(self.hour).or_default() += i32::try_from(phones.len()).unwrap_or(i32::MAX);
        sql::query(
            "WITH persons AS (
                INSERT INTO sender_days (account, sender, phone, hour)
                SELECT $1, $2, phone, $4 FROM UNNEST($3::bigint[]) AS i (phone) ORDER BY phone
                ON CONFLICT (account, sender, phone) DO UPDATE SET hour = excluded.hour
             )
             INSERT INTO sender_hours AS h (account, sender, hour, recipients)
             SELECT $1, $2, hour, n FROM UNNEST($5::timestamptz[], $6::integer[]) AS i (hour, n) ORDER BY hour
             ON CONFLICT (account, sender, hour) DO UPDATE SET recipients = h.recipients + excluded.recipients",
        )
        .bind(self.account)
        .bind(&self.limit.sender)
        .bind(phones)
        .bind(self.hour)
        .bind(hours.keys().copied().collect::<Vec<_>>())
        .bind(hours.values().copied().collect::<Vec<_>>())
        .execute(conn)
        .await
        .map_err(Error::database("counting whom a sender writes to"))?;
        Ok(())
    }
}

/// Forgets those who count no more; whether there may be others. Whom a sender writes to at this instant is passed over.
///
/// # Errors
/// The database did not do it.
pub async fn forget(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool> {
    // An hour more than need be: a clock may have been put back.
    let before = oldest_counted(now) - TimeDelta::hours(1);
    let forgotten = sql::query(
        "DELETE FROM sender_days WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM sender_days WHERE hour <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
    )
    .bind(before)
    .bind(FORGOTTEN)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("forgetting whom senders wrote to"))?
    .rows_affected();
    sql::query(
        "DELETE FROM sender_hours WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM sender_hours WHERE hour <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
    )
    .bind(before)
    .bind(FORGOTTEN)
    .execute(conn)
    .await
    .map_err(Error::database("forgetting how many senders wrote to"))?;
    Ok(forgotten == FORGOTTEN.unsigned_abs())
}
