//! The proof that every recipient is in exactly one place, and that the counts say so: recomputed from the rows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::{
    counts::{Counts, Kind},
    status::MessageState,
    task::Phase,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{Error, Result, canaries, sql};

/// What the audit of one task found.
#[derive(Clone, Debug)]
pub struct TaskAudit {
    /// The task.
    pub task_id: i64,
    /// As the interface shows them.
    pub counts: Counts,
    /// Recomputed from the rows.
    pub recomputed: Counts,
    /// Retention removed the rows then: nothing is left to be recomputed, and only the sum of the places is proved.
    pub details_removed_at: Option<DateTime<Utc>>,
    /// What does not hold, in words; empty when all does.
    pub findings: Vec<String>,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
}

impl TaskAudit {
    /// Everybody is in exactly one place, and the counts agree.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The ids of all tasks, ascending.
///
/// # Errors
/// The database did not do it.
pub async fn task_ids(conn: &mut PgConnection) -> Result<Vec<i64>> {
    sql::query_scalar("SELECT id FROM tasks ORDER BY id")
        .fetch_all(conn)
        .await
        .map_err(Error::database("listing tasks"))
}

/// Audits a task in one snapshot, so that it holds while the task runs. None when there is no such task.
///
/// For as long as it takes, vacuum keeps what the snapshot may still see.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn task(conn: &mut PgConnection, task_id: i64) -> Result<Option<TaskAudit>> {
    let mut snapshot = sql::begin_snapshot(conn).await.map_err(Error::database("beginning an audit"))?;
    // Before the snapshot is taken, which a lock does not do: retention must not drop the messages of a task that is still
    // believed to have them.
    sql::query("LOCK TABLE ONLY messages, ONLY troubles, ONLY replies IN ACCESS SHARE MODE")
        .execute(&mut snapshot)
        .await
        .map_err(Error::database("beginning an audit"))?;
    let audit = in_snapshot(&mut snapshot, task_id).await;
    snapshot.rollback().await.map_err(Error::database("ending an audit"))?;
    audit
}

async fn in_snapshot(conn: &mut PgConnection, task_id: i64) -> Result<Option<TaskAudit>> {
    let row = sql::query(
        "SELECT total, cursor, canary_size, state, details_removed_at, clock_timestamp() AS at FROM tasks WHERE id = $1",
    )
    .bind(task_id)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("reading a task"))?;
    let Some(row) = row else { return Ok(None) };
    let state: i16 = row.get("state");
    let phase =
        Phase::from_i16(state).ok_or_else(|| Error::contradiction("tasks", "state", task_id, state))?;
    let (total, cursor): (i32, i32) = (row.get("total"), row.get("cursor"));
    let canary_size: i32 = row.get("canary_size");
    let ahead = canaries::ahead(task_id, total, cursor, canary_size);
    let shown = sums(conn, task_id).await?;
    let details_removed_at: Option<DateTime<Utc>> = row.get("details_removed_at");
    let (recomputed, mut findings) = match details_removed_at {
        Some(_) => (shown.clone(), Vec::new()),
        None => recompute(conn, task_id, cursor, &ahead).await?,
    };
    compare(&shown, &recomputed, &mut findings);
    let counts = |sums: &BTreeMap<(Kind, String), i64>| {
        let by_kind = sums.iter().filter(|((_, code), _)| code.is_empty()).map(|((kind, _), n)| (*kind, *n));
        let untaken = canaries::untaken(task_id, total, cursor, canary_size);
        Counts::new(total, untaken, phase.rest(), &by_kind.collect())
    };
    let (counts, recomputed) = (counts(&shown), counts(&recomputed));
    if counts.places() != i64::from(total) {
        findings.push(format!("the places add up to {}, not to the total {total}", counts.places()));
    }
    if recomputed.places() != i64::from(total) {
        findings.push(format!("the rows hold {} recipients, not the total {total}", recomputed.places()));
    }
    let at = row.get("at");
    Ok(Some(TaskAudit { task_id, counts, recomputed, details_removed_at, findings, at }))
}

/// The counts as they are kept, folded and unfolded.
async fn sums(conn: &mut PgConnection, task_id: i64) -> Result<BTreeMap<(Kind, String), i64>> {
    let rows: Vec<(i16, String, i64)> = sql::query_as(
        "SELECT kind, code, sum(n)::bigint FROM (
            SELECT kind, code, n FROM task_counts WHERE task_id = $1
            UNION ALL SELECT kind, code, delta FROM progress WHERE task_id = $1
         ) s GROUP BY kind, code",
    )
    .bind(task_id)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading counts"))?;
    rows.into_iter()
        .map(|(kind, code, n)| {
            let found = Kind::from_i16(kind);
            let kind = found.ok_or_else(|| Error::contradiction("task_counts", "kind", task_id, kind))?;
            Ok(((kind, code), n))
        })
        .collect()
}

/// Each taken recipient's place by its rows: 0 none, 1 an open request, 2 waiting, 3 its message row; faults beside.
const PLACES: &str = "WITH open AS (
        -- a request open for others may name somebody whom a later one took again
        SELECT max(q.id) AS id, i.no FROM requests q CROSS JOIN UNNEST(q.nos) AS i (no)
        WHERE q.task_id = $1 GROUP BY i.no
     ), places AS (
        SELECT g.no, coalesce(g.no, o.no, r.no, m.no, t.no) AS number, o.id AS request, r.no AS retry, m.state, m.code,
               m.request_id AS decided, t.n AS troubles
        -- $3: a canary's, who were taken from beyond the cursor
        FROM (SELECT generate_series(1, $2) UNION ALL SELECT UNNEST($3::integer[])) AS g (no)
        FULL JOIN open o ON o.no = g.no
        FULL JOIN (SELECT no FROM retries WHERE task_id = $1) r ON r.no = coalesce(g.no, o.no)
        FULL JOIN (SELECT no, state, code, request_id FROM messages WHERE task_id = $1) m
               ON m.no = coalesce(g.no, o.no, r.no)
        FULL JOIN (SELECT no, count(*) AS n, min(state) AS state, min(code) AS code FROM troubles
                   WHERE task_id = $1 GROUP BY no) t ON t.no = coalesce(g.no, o.no, r.no, m.no)
     ), placed AS (
        SELECT *, CASE
            WHEN no IS NULL THEN 0
            WHEN request IS NOT NULL AND retry IS NULL AND request > coalesce(decided, 0) THEN 1
            WHEN retry IS NOT NULL AND (state IS NULL) THEN 2
            WHEN state IS NOT NULL AND (state <> 6 OR retry IS NOT NULL) THEN 3
            ELSE 0 END AS place
        FROM places
     )
     SELECT place, CASE WHEN place = 3 THEN state END AS state,
            CASE WHEN place = 3 AND state IN (5, 6, 7) THEN code END AS code,
            count(*) AS n,
            count(*) FILTER (WHERE place = 3 AND retry IS NOT NULL AND state <> 6) AS twice,
            count(*) FILTER (WHERE place = 3 AND coalesce(troubles, 0) <> (state >= 5)::int) AS unlisted,
            min(number) FILTER (WHERE place = 0) AS example
     FROM placed GROUP BY 1, 2, 3";

/// Gives every taken recipient its place by its rows, and names those who have none or two.
async fn recompute(
    conn: &mut PgConnection,
    task_id: i64,
    cursor: i32,
    ahead: &[i32],
) -> Result<(BTreeMap<(Kind, String), i64>, Vec<String>)> {
    let rows = sql::query(PLACES)
        .bind(task_id)
        .bind(cursor)
        .bind(ahead)
        .fetch_all(&mut *conn)
        .await
        .map_err(Error::database("recomputing places"))?;
    let (mut findings, mut sums) = (Vec::new(), BTreeMap::new());
    for row in &rows {
        count(row, task_id, &mut sums, &mut findings);
    }
    let (replied, clicked): (i64, i64) =
        sql::query_as("SELECT count(replied_at), count(clicked_at) FROM replies WHERE task_id = $1")
            .bind(task_id)
            .fetch_one(conn)
            .await
            .map_err(Error::database("recounting replies"))?;
    sums.extend([((Kind::Replied, String::new()), replied), ((Kind::Clicked, String::new()), clicked)]);
    Ok((sums, findings))
}

/// Counts one kind of place, and names what is wrong with it.
fn count(row: &PgRow, task_id: i64, sums: &mut BTreeMap<(Kind, String), i64>, findings: &mut Vec<String>) {
    let (place, n): (i32, i64) = (row.get("place"), row.get("n"));
    let (state, code): (Option<i16>, Option<String>) = (row.get("state"), row.get("code"));
    let (twice, unlisted): (i64, i64) = (row.get("twice"), row.get("unlisted"));
    if twice > 0 {
        findings.push(format!("{twice} recipients are both waiting and settled"));
    }
    if unlisted > 0 {
        findings
            .push(format!("{unlisted} messages are not listed once among the troubles, or should not be"));
    }
    match (place, state.and_then(MessageState::from_i16)) {
        (1, _) => *sums.entry((Kind::Sending, String::new())).or_default() += n,
        (2, _) => *sums.entry((Kind::Waiting, String::new())).or_default() += n,
        (3, Some(state)) => {
            let mut one = model::counts::Deltas::default();
            one.moved(
                task_id,
                model::counts::Place::Queued,
                model::counts::Place::Message(state, code.as_deref().unwrap_or("")),
            );
            for (_, kind, code, each) in one.iter() {
                *sums.entry((kind, code.to_owned())).or_default() += n * i64::from(each);
            }
        }
        _ => {
            let example: Option<i32> = row.get("example");
            findings.push(format!(
                "{n} recipients are in no place, or beyond the cursor; the first is number {}",
                example.unwrap_or(0)
            ));
        }
    }
}

fn compare(
    shown: &BTreeMap<(Kind, String), i64>,
    recomputed: &BTreeMap<(Kind, String), i64>,
    findings: &mut Vec<String>,
) {
    let keys: std::collections::BTreeSet<_> = shown.keys().chain(recomputed.keys()).collect();
    for key in keys {
        let (kept, real) = (shown.get(key).copied().unwrap_or(0), recomputed.get(key).copied().unwrap_or(0));
        if kept != real {
            let code = if key.1.is_empty() { String::new() } else { format!(" {}", key.1) };
            findings.push(format!("{:?}{code}: the counts say {kept}, the rows {real}", key.0));
        }
    }
}
