//! What a failure does beyond its recipient: halts and suppressions, written in the transaction that records it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    Phone,
    decide::{Decision, Suppression},
    disposition::Scope,
    verdict::Failure,
};
use sqlx::PgConnection;

use crate::{Error, Result, events, outcomes, sql};

/// A halt to be written, unless one holds that scope already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHalt {
    /// What stands still.
    pub scope: Scope,
    /// The account.
    pub account: String,
    /// The task's id, `name/language`, the sender, or the account, by the scope.
    pub value: String,
    /// The code that brought it.
    pub code: String,
    /// What the vendor said.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    /// When it is lifted by itself.
    pub lifts_at: Option<DateTime<Utc>>,
}

/// Where a failure stood: what its halt may stop.
#[derive(Clone, Copy, Debug)]
pub struct Stood<'a> {
    /// The account.
    pub account: &'a str,
    /// The task.
    pub task_id: i64,
    /// The sender.
    pub sender: &'a str,
    /// `name/language` of a template message.
    pub template: Option<&'a str>,
    /// The recipient.
    pub phone: Option<Phone>,
}

/// A number to be suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSuppression {
    /// The number.
    pub phone: Phone,
    /// Why.
    pub suppression: Suppression,
    /// The code that brought it.
    pub code: String,
}

/// Halts and suppressions of one transaction.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Halts.
    pub halts: Vec<NewHalt>,
    /// Suppressions.
    pub suppressions: Vec<NewSuppression>,
}

impl Effects {
    /// What `decision` brings beyond its recipient.
    ///
    /// A free-form message has no template to halt: its task is what is built wrong.
    #[must_use]
    pub fn of(
        decision: &Decision,
        failure: &Failure,
        stood: &Stood<'_>,
        remedy: &str,
        now: DateTime<Utc>,
    ) -> Self {
        let halts = decision.halt.iter().map(|halt| {
            let (scope, value) = match (halt.scope, stood.template) {
                (Scope::Template, Some(template)) => (Scope::Template, template.to_owned()),
                (Scope::Sender, _) => (Scope::Sender, stood.sender.to_owned()),
                (Scope::Account, _) => (Scope::Account, stood.account.to_owned()),
                (Scope::Task | Scope::Template, _) => (Scope::Task, stood.task_id.to_string()),
            };
            NewHalt {
                scope,
                account: stood.account.to_owned(),
                value,
                code: failure.code.clone(),
                reason: failure.reason.clone(),
                remedy: remedy.to_owned(),
                lifts_at: halt
                    .lifted_after
                    .map(|after| now + TimeDelta::from_std(after).unwrap_or(TimeDelta::MAX)),
            }
        });
        let suppressions = decision.suppression.iter().zip(stood.phone).map(|(suppression, phone)| {
            NewSuppression { phone, suppression: *suppression, code: failure.code.clone() }
        });
        Self { halts: halts.collect(), suppressions: suppressions.collect() }
    }
}

/// The number that the database keeps for a halt's scope.
#[must_use]
pub fn scope_number(scope: Scope) -> i16 {
    match scope {
        Scope::Task => 1,
        Scope::Template => 2,
        Scope::Sender => 3,
        Scope::Account => 4,
    }
}

/// Writes the effects; how many halts are new.
///
/// # Errors
/// The database did not do it.
pub async fn apply(conn: &mut PgConnection, effects: &Effects, now: DateTime<Utc>) -> Result<u64> {
    apply_all(conn, &[effects], now).await
}

/// Writes the effects of a whole transaction, the same for all of them once, and every table's rows in the order of
/// their keys: two accounts that suppress the same numbers wait for each other instead of for ever.
///
/// # Errors
/// The database did not do it.
pub async fn apply_all(conn: &mut PgConnection, all: &[&Effects], now: DateTime<Utc>) -> Result<u64> {
    let mut halts: BTreeMap<(&str, i16, &str), &NewHalt> = BTreeMap::new();
    for halt in all.iter().flat_map(|effects| &effects.halts) {
        halts.entry((&halt.account, scope_number(halt.scope), &halt.value)).or_insert(halt);
    }
    let halts: Vec<&NewHalt> = halts.into_values().collect();
    let suppressions: Vec<&NewSuppression> = all.iter().flat_map(|effects| &effects.suppressions).collect();
    let new_halts = insert_halts(conn, &halts, now).await?;
    insert_suppressions(conn, &suppressions, now).await?;
    Ok(new_halts)
}

async fn insert_halts(conn: &mut PgConnection, halts: &[&NewHalt], now: DateTime<Utc>) -> Result<u64> {
    if halts.is_empty() {
        return Ok(0);
    }
    let inserted = sql::query(
        "INSERT INTO halts (scope, account, value, code, reason, remedy, since, lifts_at)
         SELECT scope, account, value, code, reason, remedy, $7, lifts_at
         FROM UNNEST($1::smallint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $8::timestamptz[])
              WITH ORDINALITY AS i (scope, account, value, code, reason, remedy, lifts_at, place)
         ORDER BY place
         ON CONFLICT (account, scope, value) DO NOTHING",
    )
    .bind(halts.iter().map(|halt| scope_number(halt.scope)).collect::<Vec<_>>())
    .bind(halts.iter().map(|halt| halt.account.as_str()).collect::<Vec<_>>())
    .bind(halts.iter().map(|halt| halt.value.as_str()).collect::<Vec<_>>())
    .bind(halts.iter().map(|halt| halt.code.as_str()).collect::<Vec<_>>())
    .bind(halts.iter().map(|halt| halt.reason.as_str()).collect::<Vec<_>>())
    .bind(halts.iter().map(|halt| halt.remedy.as_str()).collect::<Vec<_>>())
    .bind(now)
    .bind(halts.iter().map(|halt| halt.lifts_at).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await
    .map_err(Error::database("writing halts"))?;
    // A halt shows even when nothing is queued any more: a completed task is halted by a late report.
    let tasks: Vec<i64> = halts
        .iter()
        .filter(|halt| halt.scope == Scope::Task)
        .filter_map(|halt| halt.value.parse().ok())
        .collect();
    if !tasks.is_empty() {
        outcomes::wake_tasks(conn, &tasks).await?;
    }
    if inserted.rows_affected() > 0 {
        for account in halts.iter().map(|halt| halt.account.as_str()).collect::<BTreeSet<_>>() {
            events::tasks_of(conn, account, Some(now)).await?;
        }
    }
    Ok(inserted.rows_affected())
}

/// Of the table's reasons.
const OPT_OUT: i16 = 1;
/// See [`OPT_OUT`].
const INVALID: i16 = 2;

/// A row to be written: reason, end, code.
type Row<'a> = (i16, Option<DateTime<Utc>>, &'a str);

async fn insert_suppressions(
    conn: &mut PgConnection,
    new: &[&NewSuppression],
    now: DateTime<Utc>,
) -> Result<()> {
    let times = strike(conn, new, now).await?;
    let mut rows: BTreeMap<i64, Row<'_>> = BTreeMap::new();
    for new in new {
        let (phone, code) = (new.phone.as_i64(), new.code.as_str());
        let row = match new.suppression {
            Suppression::OptOut => (OPT_OUT, None, code),
            Suppression::Invalid { days, from_time } => {
                if times.get(&(phone, code)).is_none_or(|times| *times < i32::from(from_time)) {
                    continue;
                }
                (INVALID, Some(now + TimeDelta::days(i64::from(days))), code)
            }
        };
        // As the statement below: what lasts longer stands.
        let kept = rows.entry(phone).or_insert(row);
        if kept.1.is_some_and(|until| row.1.is_none_or(|new_until| new_until > until)) {
            *kept = row;
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    sql::query(
        "INSERT INTO suppressions AS s (phone, reason, source, created_at, expires_at)
         SELECT phone, reason, source, $4, expires_at
         FROM UNNEST($1::bigint[], $2::smallint[], $3::text[], $5::timestamptz[])
              AS i (phone, reason, source, expires_at)
         ORDER BY phone
         ON CONFLICT (phone) DO UPDATE
         SET reason = excluded.reason, source = excluded.source, created_at = excluded.created_at,
             expires_at = excluded.expires_at
         WHERE s.expires_at IS NOT NULL
           AND (excluded.expires_at IS NULL OR excluded.expires_at > s.expires_at)",
    )
    .bind(rows.keys().copied().collect::<Vec<_>>())
    .bind(rows.values().map(|(reason, ..)| *reason).collect::<Vec<_>>())
    .bind(rows.values().map(|(.., code)| format!("code {code}")).collect::<Vec<_>>())
    .bind(now)
    .bind(rows.values().map(|(_, until, _)| *until).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("suppressing numbers"))?;
    Ok(())
}

/// Counts that numbers have had codes; how often each has had which by now.
async fn strike<'a>(
    conn: &mut PgConnection,
    new: &[&'a NewSuppression],
    now: DateTime<Utc>,
) -> Result<HashMap<(i64, &'a str), i32>> {
    let mut strikes: BTreeMap<(i64, &str), i32> = BTreeMap::new();
    for new in new.iter().filter(|new| matches!(new.suppression, Suppression::Invalid { .. })) {
        *strikes.entry((new.phone.as_i64(), &new.code)).or_default() += 1;
    }
    if strikes.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(i64, String, i32)> = sql::query_as(
        "INSERT INTO strikes AS s (phone, code, times, last_at)
         SELECT phone, code, times, $4
         FROM UNNEST($1::bigint[], $2::text[], $3::integer[]) AS i (phone, code, times)
         ORDER BY phone, code
         ON CONFLICT (phone, code) DO UPDATE SET times = s.times + excluded.times, last_at = excluded.last_at
         RETURNING phone, code, times",
    )
    .bind(strikes.keys().map(|(phone, _)| *phone).collect::<Vec<_>>())
    .bind(strikes.keys().map(|(_, code)| *code).collect::<Vec<_>>())
    .bind(strikes.values().copied().collect::<Vec<_>>())
    .bind(now)
    .fetch_all(conn)
    .await
    .map_err(Error::database("counting strikes"))?;
    let counted: HashMap<(i64, String), i32> =
        rows.into_iter().map(|(phone, code, times)| ((phone, code), times)).collect();
    let of = |(phone, code): (i64, &str)| counted.get(&(phone, code.to_owned())).copied().unwrap_or(0);
    Ok(strikes.into_keys().map(|key| (key, of(key))).collect())
}

/// Lifts the halt of a template: the vendor approved it again. A template that was disabled stays halted.
///
/// # Errors
/// The database did not do it.
pub async fn lift_template(
    conn: &mut PgConnection,
    account: &str,
    template: &str,
    but_code: &str,
) -> Result<u64> {
    let lifted =
        sql::query("DELETE FROM halts WHERE account = $1 AND scope = 2 AND value = $2 AND code <> $3")
            .bind(account)
            .bind(template)
            .bind(but_code)
            .execute(&mut *conn)
            .await
            .map_err(Error::database("lifting a template's halt"))?;
    if lifted.rows_affected() > 0 {
        events::tasks_of(conn, account, None).await?;
    }
    Ok(lifted.rows_affected())
}
