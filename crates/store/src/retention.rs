//! Keeping what grows in bounds: partitions made ahead, and whole ones dropped when their details are old enough.
//!
//! A partition holds a range of ids. It is never emptied row by row, and never dropped while anything of it may still
//! change. The counts of a task stay when its messages go.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use crate::{Error, Result, sql};

/// Ids in one partition.
const RANGE: i64 = 10_000;
/// A partition takes new ids this long, so that what is dropped together is of about one age.
const YOUNG_DAYS: i64 = 30;
/// Ids that must be left in a range for the sequence to be moved out of it; with fewer it moves by itself.
const MARGIN: i64 = 1_000;
/// Chores of one kind at a time, on all nodes.
const LOCK: i64 = 0x7265_7465;

/// A family of tables that are partitioned by the same ids.
struct Family {
    /// The table whose ids they are.
    of: &'static str,
    parents: &'static [&'static str],
}

const BY_TASK: Family =
    Family { of: "tasks", parents: &["messages", "troubles", "old_vendor_ids", "replies", "task_minutes"] };
const BY_AUDIENCE: Family =
    Family { of: "audiences", parents: &["recipients", "rejects", "recipient_phones"] };

/// A partition's range; `since` is none for the first one.
#[derive(Clone, Debug, FromRow)]
struct Range {
    since: Option<i64>,
    upto: i64,
}

impl Range {
    fn first(&self) -> i64 {
        self.since.unwrap_or(i64::MIN)
    }

    /// What a leaf's name ends with.
    fn suffix(&self) -> i64 {
        self.since.unwrap_or(1)
    }
}

/// Makes the next partitions ahead, and moves ids on to the next one when the present one is old; how many were made.
///
/// # Errors
/// The database did not do it, or its tables were busy for too long; then nothing has changed.
pub async fn rotate(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64> {
    let mut made = 0;
    for family in [BY_TASK, BY_AUDIENCE] {
        let mut tx = sql::begin(conn).await.map_err(Error::database("making partitions"))?;
        begin_chore(&mut tx).await?;
        made += rotate_family(&mut tx, &family, now).await?;
        tx.commit().await.map_err(Error::database("making partitions"))?;
    }
    Ok(made)
}

async fn rotate_family(conn: &mut PgConnection, family: &Family, now: DateTime<Utc>) -> Result<u64> {
    let last = last_id(conn, family).await?;
    let known = ranges(conn, family).await?;
    let current = known.iter().find(|range| range.first() <= last.max(1) && last.max(1) < range.upto);
    let mut next = last.max(1) + 1;
    let mut moved_to = None;
    if let Some(current) = current {
        next = current.upto;
        let is_old = first_created(conn, family, current)
            .await?
            .is_some_and(|at| at < now - TimeDelta::days(YOUNG_DAYS));
        if is_old && current.upto - last > MARGIN {
            moved_to = Some(current.upto);
            next += RANGE;
        }
    }
    let made = add_up_to(conn, family, &known, next).await?;
    if let Some(first) = moved_to {
        // Never back: the ids below may have been given out.
        sql::query("SELECT setval($1::regclass, $2, false)")
            .bind(format!("{}_id_seq", family.of))
            .bind(first)
            .execute(conn)
            .await
            .map_err(Error::database("moving ids on to the next partition"))?;
    }
    Ok(made)
}

/// Makes partitions until one begins at `next` or beyond; how many were made.
async fn add_up_to(conn: &mut PgConnection, family: &Family, known: &[Range], next: i64) -> Result<u64> {
    let mut since = known.iter().map(|range| range.upto).max().unwrap_or(1);
    let mut made = 0;
    while since <= next {
        for parent in family.parents {
            let is_new: bool = sql::query_scalar("SELECT add_partition($1, $2, $3)")
                .bind(parent)
                .bind(since)
                .bind(since + RANGE)
                .fetch_one(&mut *conn)
                .await
                .map_err(Error::database("making a partition"))?;
            made += u64::from(is_new);
        }
        since += RANGE;
    }
    Ok(made)
}

/// One chore at a time, and rather none than one that makes senders wait.
async fn begin_chore(conn: &mut PgConnection) -> Result<()> {
    sql::query("SET LOCAL lock_timeout = '2s'")
        .execute(&mut *conn)
        .await
        .map_err(Error::database("beginning a chore"))?;
    sql::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(conn)
        .await
        .map_err(Error::database("beginning a chore"))?;
    Ok(())
}

async fn last_id(conn: &mut PgConnection, family: &Family) -> Result<i64> {
    let statement = format!(
        "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {}_id_seq",
        family.of
    );
    sql::query_scalar(AssertSqlSafe(statement))
        .fetch_one(conn)
        .await
        .map_err(Error::database("reading the last id"))
}

async fn ranges(conn: &mut PgConnection, family: &Family) -> Result<Vec<Range>> {
    sql::query_as("SELECT since, upto FROM partition_ranges($1)")
        .bind(family.parents[0])
        .fetch_all(conn)
        .await
        .map_err(Error::database("reading the partitions"))
}

async fn first_created(
    conn: &mut PgConnection,
    family: &Family,
    range: &Range,
) -> Result<Option<DateTime<Utc>>> {
    let statement = format!("SELECT created_at FROM {} WHERE id >= $1 ORDER BY id LIMIT 1", family.of);
    sql::query_scalar(AssertSqlSafe(statement))
        .bind(range.first())
        .fetch_optional(conn)
        .await
        .map_err(Error::database("reading how old a partition is"))
}

/// What a removal came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Tables that were dropped.
    pub tables: Vec<String>,
    /// What would be old enough but for something that is named.
    pub kept: Vec<String>,
}

/// Drops the partitions of messages whose tasks all ended before `now` less `days`, and those of recipients of deleted
/// audiences that no message speaks of any more.
///
/// # Errors
/// The database did not do it, or its tables were busy for too long; what was dropped before stays so.
pub async fn remove_messages(conn: &mut PgConnection, now: DateTime<Utc>, days: u32) -> Result<Removed> {
    let mut removed = Removed::default();
    let before = now - TimeDelta::days(i64::from(days));
    let last = last_id(conn, &BY_TASK).await?;
    for range in ranges(conn, &BY_TASK).await?.iter().filter(|range| range.upto <= last) {
        if let Some(task_id) = holder(conn, range, before).await? {
            removed.kept.push(format!("messages_{}: task {task_id} has not ended for long", range.suffix()));
            continue;
        }
        let mut tx = sql::begin(conn).await.map_err(Error::database("removing old messages"))?;
        begin_chore(&mut tx).await?;
        // Retries of cancelled tasks read as cancelled; nobody takes them.
        for statement in [
            "UPDATE tasks SET details_removed_at = $3 WHERE id >= $1 AND id < $2 AND $3 IS NOT NULL",
            "DELETE FROM retries WHERE task_id >= $1 AND task_id < $2 AND $3::timestamptz IS NOT NULL",
            "DELETE FROM unknowns WHERE task_id >= $1 AND task_id < $2 AND $3::timestamptz IS NOT NULL",
            "DELETE FROM resends WHERE task_id >= $1 AND task_id < $2 AND $3::timestamptz IS NOT NULL",
            // Nothing more happens to these tasks; their recipients may go, and with them whom events speak of.
            "DELETE FROM event_batches WHERE task_id >= $1 AND task_id < $2 AND $3::timestamptz IS NOT NULL",
            "DELETE FROM event_streams WHERE task_id >= $1 AND task_id < $2 AND $3::timestamptz IS NOT NULL",
        ] {
            sql::query(statement)
                .bind(range.first())
                .bind(range.upto)
                .bind(now)
                .execute(&mut tx)
                .await
                .map_err(Error::database("marking tasks whose messages go"))?;
        }
        detach(&mut tx, &BY_TASK, range).await?;
        tx.commit().await.map_err(Error::database("removing old messages"))?;
    }
    remove_recipients(conn).await?;
    removed.tables = drop_detached(conn).await?;
    Ok(removed)
}

/// The first task of the range that still holds it.
async fn holder(conn: &mut PgConnection, range: &Range, before: DateTime<Utc>) -> Result<Option<i64>> {
    sql::query_scalar(
        "SELECT id FROM tasks WHERE id >= $1 AND id < $2
           AND (state IN (1, 2) OR ended_at IS NULL OR ended_at >= $3)
         ORDER BY id LIMIT 1",
    )
    .bind(range.first())
    .bind(range.upto)
    .bind(before)
    .fetch_optional(conn)
    .await
    .map_err(Error::database("looking whether tasks have ended"))
}

async fn remove_recipients(conn: &mut PgConnection) -> Result<()> {
    let last = last_id(conn, &BY_AUDIENCE).await?;
    for range in ranges(conn, &BY_AUDIENCE).await?.iter().filter(|range| range.upto <= last) {
        let mut tx = sql::begin(conn).await.map_err(Error::database("removing old recipients"))?;
        begin_chore(&mut tx).await?;
        // A deleted audience can get no campaign any more.
        let is_held: bool = sql::query_scalar(
            "SELECT EXISTS (SELECT FROM audiences WHERE id >= $1 AND id < $2 AND status <> 4)
                 OR EXISTS (SELECT FROM tasks WHERE audience_id >= $1 AND audience_id < $2
                                                AND details_removed_at IS NULL)",
        )
        .bind(range.first())
        .bind(range.upto)
        .fetch_one(&mut tx)
        .await
        .map_err(Error::database("looking whether audiences are gone"))?;
        if !is_held {
            detach(&mut tx, &BY_AUDIENCE, range).await?;
        }
        tx.commit().await.map_err(Error::database("removing old recipients"))?;
    }
    Ok(())
}

/// Takes the range's partitions out of their parents: quick, since no file is touched while the parents are locked.
async fn detach(conn: &mut PgConnection, family: &Family, range: &Range) -> Result<()> {
    for parent in family.parents {
        let statement = format!("ALTER TABLE {parent} DETACH PARTITION {parent}_{}", range.suffix());
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *conn)
            .await
            .map_err(Error::database("detaching a partition"))?;
    }
    Ok(())
}

/// Drops what was detached, now or by a process that died before it came to this.
async fn drop_detached(conn: &mut PgConnection) -> Result<Vec<String>> {
    let parents: Vec<&str> = BY_TASK.parents.iter().chain(BY_AUDIENCE.parents).copied().collect();
    let detached: Vec<String> = sql::query_scalar(
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
           AND c.relname ~ ('^(' || array_to_string($1::text[], '|') || ')_[0-9]+$')
         ORDER BY 1",
    )
    .bind(parents)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("looking for detached partitions"))?;
    for table in &detached {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}")))
            .execute(&mut *conn)
            .await
            .map_err(Error::database("dropping a partition"))?;
    }
    Ok(detached)
}

/// Drops the inbox's days before `today` less `days`, but none of which something has not been applied yet.
///
/// # Errors
/// The database did not do it, or its tables were busy for too long; what was dropped before stays so.
pub async fn remove_callbacks(conn: &mut PgConnection, today: NaiveDate, days: u32) -> Result<Removed> {
    let before = today - TimeDelta::days(i64::from(days));
    let mut removed = Removed::default();
    let leaves: Vec<String> = sql::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'callbacks'::regclass AND c.relname ~ '^callbacks_[0-9]{8}$' ORDER BY 1",
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("reading the inbox's days"))?;
    for leaf in leaves {
        let day =
            leaf.strip_prefix("callbacks_").and_then(|day| NaiveDate::parse_from_str(day, "%Y%m%d").ok());
        let Some(day) = day.filter(|day| *day < before) else { continue };
        if has_unapplied(conn, day).await? {
            removed.kept.push(format!("{leaf}: not all of it has been applied"));
            continue;
        }
        let mut tx = sql::begin(conn).await.map_err(Error::database("removing old callbacks"))?;
        begin_chore(&mut tx).await?;
        sqlx::raw_sql(AssertSqlSafe(format!(
            "ALTER TABLE callbacks DETACH PARTITION {leaf}; DROP TABLE {leaf}"
        )))
        .execute(&mut *tx)
        .await
        .map_err(Error::database("dropping a day of the inbox"))?;
        tx.commit().await.map_err(Error::database("removing old callbacks"))?;
        removed.tables.push(leaf);
    }
    // The net for days without a partition: next to nothing lies there.
    sql::query(
        "DELETE FROM callbacks_rest c WHERE c.day < $1
           AND NOT EXISTS (SELECT FROM inbox_positions p
                           WHERE p.account = c.account AND p.writer = c.writer AND p.seq < c.seq)",
    )
    .bind(before)
    .execute(conn)
    .await
    .map_err(Error::database("clearing the inbox's rest"))?;
    Ok(removed)
}

async fn has_unapplied(conn: &mut PgConnection, day: NaiveDate) -> Result<bool> {
    sql::query_scalar(
        "SELECT EXISTS (SELECT FROM inbox_positions p
                        CROSS JOIN LATERAL (SELECT FROM callbacks c
                                            WHERE c.day = $1 AND c.account = p.account AND c.writer = p.writer
                                              AND c.seq > p.seq LIMIT 1) c)",
    )
    .bind(day)
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking whether a day has been applied"))
}
