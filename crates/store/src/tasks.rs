//! Tasks: an audience and a cursor. Launch, pause, cancel and counting cost the same for any audience.
//!
//! A task's counts are read in one statement with its row, so they add up at every instant. Who is beyond the cursor
//! is moved in `intents` alone; here only phases and pauses change.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::{
    campaign::SendingWindow,
    counts::{Counts, Kind},
    task::{Command, Phase, Refused, TaskState},
};
use sqlx::{FromRow, PgConnection, types::Json};

use crate::{
    Error, Result,
    campaigns::Unusable,
    canaries::{self, Canaried, CanaryRow, State},
    events, sql,
};

/// A task with its counts, as they were at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: i64,
    /// The campaign that it runs.
    pub campaign_id: i64,
    /// The campaign's name.
    pub name: String,
    /// The account that sends.
    pub account: String,
    /// The sender.
    pub sender: String,
    /// `name/language` of a template message.
    pub template: Option<String>,
    /// Whom to.
    pub audience_id: i64,
    /// What it is, below pauses and halts.
    pub phase: Phase,
    /// An operator paused it, or something else did for a reason that is told.
    pub paused: bool,
    /// Why it is paused, when no operator did it.
    pub pause_reason: Option<String>,
    /// Some halt holds it.
    pub halted: bool,
    /// A trial send, not in lists.
    pub hidden: bool,
    /// When it is due.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When nothing was left to send.
    pub ended_at: Option<DateTime<Utc>>,
    /// When retention removed what was known of each recipient; the counts stayed.
    pub details_removed_at: Option<DateTime<Utc>>,
    /// Where its recipients are.
    pub counts: Counts,
    /// Since when the oldest of the unknown ones is unknown.
    pub oldest_unknown_since: Option<DateTime<Utc>>,
    /// Recipients that are failed, retrying or unknown, by code; the most frequent first.
    pub errors: Vec<(String, i64)>,
    /// At which hours its campaign is sent; none for a trial, which goes at once.
    pub sending_window: Option<SendingWindow>,
    /// Nobody is left but those who wait for a window of their own: when the first one opens.
    pub rest_waits_until: Option<DateTime<Utc>>,
    /// Who is sent to before the others, once it has begun.
    pub canary: Option<Canaried>,
}

impl Task {
    /// The state as the HTTP interface shows it.
    #[must_use]
    pub fn state(&self) -> TaskState {
        TaskState::new(self.phase, self.paused, self.halted)
    }
}

#[derive(FromRow)]
struct TaskRow {
    id: i64,
    campaign_id: i64,
    name: String,
    account: String,
    sender: String,
    template: Option<String>,
    audience_id: i64,
    state: i16,
    paused: bool,
    pause_reason: Option<String>,
    halted: bool,
    hidden: bool,
    total: i32,
    cursor: i32,
    starts_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    details_removed_at: Option<DateTime<Utc>>,
    oldest_unknown_since: Option<DateTime<Utc>>,
    kinds: Option<Vec<i16>>,
    codes: Option<Vec<String>>,
    sums: Option<Vec<i64>>,
    sending_window: Option<Json<SendingWindow>>,
    /// Whoever of `retries` is due first: when, and whether it waits for its window.
    first_due_at: Option<DateTime<Utc>>,
    first_for_window: Option<bool>,
    #[sqlx(flatten)]
    canary: CanaryRow,
}

impl TryFrom<TaskRow> for Task {
    type Error = Error;

    fn try_from(row: TaskRow) -> Result<Self> {
        let phase = Phase::from_i16(row.state)
            .ok_or_else(|| Error::contradiction("tasks", "state", row.id, row.state))?;
        let mut by_kind: BTreeMap<Kind, i64> = BTreeMap::new();
        let mut by_code: BTreeMap<String, i64> = BTreeMap::new();
        let sums = row.kinds.unwrap_or_default().into_iter().zip(row.codes.unwrap_or_default());
        for ((kind, code), sum) in sums.zip(row.sums.unwrap_or_default()) {
            let kind = Kind::from_i16(kind)
                .ok_or_else(|| Error::contradiction("task_counts", "kind", row.id, kind))?;
            if kind.is_shown_error(phase.rest()) {
                *by_code.entry(code).or_default() += sum;
            } else if !kind.has_code() {
                *by_kind.entry(kind).or_default() += sum;
            }
        }
        let mut errors: Vec<(String, i64)> = by_code.into_iter().filter(|(_, sum)| *sum != 0).collect();
        errors.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let canary = row.canary.canaried(row.id)?;
        let is_all_taken =
            row.cursor == row.total || canary.is_some_and(|canary| canary.state == State::Trying);
        let untaken = canaries::untaken(row.id, row.total, row.cursor, row.canary.size());
        let for_window = row.first_for_window == Some(true);
        Ok(Self {
            rest_waits_until: row.first_due_at.filter(|_| is_all_taken && for_window),
            canary,
            counts: Counts::new(row.total, untaken, phase.rest(), &by_kind),
            errors,
            id: row.id,
            campaign_id: row.campaign_id,
            name: row.name,
            account: row.account,
            sender: row.sender,
            template: row.template,
            audience_id: row.audience_id,
            phase,
            paused: row.paused,
            pause_reason: row.pause_reason,
            halted: row.halted,
            hidden: row.hidden,
            starts_at: row.starts_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            details_removed_at: row.details_removed_at,
            oldest_unknown_since: row.oldest_unknown_since,
            sending_window: row.sending_window.map(|json| json.0),
        })
    }
}

/// The page `t` of tasks with their counts, folded and unfolded together: one statement is one instant.
macro_rules! select_tasks {
    ($page:literal) => {
        concat!(
            "WITH t AS MATERIALIZED (
                SELECT t.*, c.name, c.canary, CASE WHEN NOT t.hidden THEN c.sending_window END AS sending_window,
                       task_is_halted(t.id, t.account, t.sender, t.template) AS halted
                FROM tasks t JOIN campaigns c ON c.id = t.campaign_id ",
            $page,
            ")
             SELECT t.id, t.campaign_id, t.name, t.account, t.sender, t.template, t.audience_id, t.state, t.paused,
                    t.pause_reason, t.halted, t.hidden, t.total, t.cursor, t.starts_at, t.started_at, t.ended_at,
                    t.details_removed_at, t.sending_window, t.canary, t.canary_state, t.canary_size, t.canary_failed, t.canary_called_at, s.kinds, s.codes, s.sums,
                    r.due_at AS first_due_at, r.for_window AS first_for_window,
                    (SELECT since FROM unknowns WHERE task_id = t.id ORDER BY since LIMIT 1) AS oldest_unknown_since
             FROM t LEFT JOIN LATERAL (
                SELECT array_agg(kind) AS kinds, array_agg(code) AS codes, array_agg(n) AS sums
                FROM (SELECT kind, code, sum(n)::bigint AS n
                      FROM (SELECT kind, code, n FROM task_counts WHERE task_id = t.id
                            UNION ALL
                            SELECT kind, code, delta FROM progress WHERE task_id = t.id) AS deltas
                      GROUP BY kind, code) AS sums
             ) AS s ON true
             LEFT JOIN LATERAL (
                SELECT due_at, for_window FROM retries WHERE task_id = t.id ORDER BY due_at, no LIMIT 1
             ) AS r ON true
             ORDER BY t.id DESC"
        )
    };
}

/// A task with its counts.
///
/// # Errors
/// The database did not do it.
pub async fn get(conn: &mut PgConnection, id: i64) -> Result<Option<Task>> {
    let row: Option<TaskRow> = sql::query_as(select_tasks!("WHERE t.id = $1"))
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(Error::database("reading a task"))?;
    row.map(Task::try_from).transpose()
}

/// What narrows a list of tasks.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these states; empty: all.
    pub states: Vec<TaskState>,
    /// Of this campaign.
    pub campaign_id: Option<i64>,
    /// A part of the campaign's name.
    pub q: Option<String>,
    /// Of this account.
    pub account: Option<String>,
}

/// A page of tasks, the newest first, without the hidden ones.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Task>> {
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let rows: Vec<TaskRow> = sql::query_as(select_tasks!(
        "WHERE NOT t.hidden
           AND ($1::bigint IS NULL OR t.id < $1)
           AND ($2::bigint IS NULL OR t.campaign_id = $2)
           AND ($3::text IS NULL OR strpos(lower(c.name), lower($3)) > 0)
           AND ($4::text IS NULL OR t.account = $4)
           -- As model::task::TaskState::new derives it.
           AND (cardinality($5::text[]) = 0
                OR CASE WHEN t.state = 4 THEN 'cancelled'
                        WHEN t.state IN (3, 5) THEN 'completed'
                        WHEN task_is_halted(t.id, t.account, t.sender, t.template) THEN 'halted'
                        WHEN t.paused THEN 'paused'
                        WHEN t.state = 1 THEN 'scheduled'
                        ELSE 'running' END = ANY ($5))
         ORDER BY t.id DESC LIMIT $6"
    ))
    .bind(before)
    .bind(filter.campaign_id)
    .bind(filter.q.as_deref())
    .bind(filter.account.as_deref())
    .bind(states)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("listing tasks"))?;
    rows.into_iter().map(Task::try_from).collect()
}

/// How many tasks are in each state, without the hidden ones.
///
/// # Errors
/// The database did not do it.
pub async fn count_by_state(conn: &mut PgConnection) -> Result<Vec<(TaskState, i64)>> {
    let rows: Vec<(i16, bool, bool, i64)> = sql::query_as(
        "SELECT state, paused, halted, count(*)
         FROM (SELECT state, paused,
                      state IN (1, 2) AND task_is_halted(id, account, sender, template) AS halted
               FROM tasks WHERE NOT hidden) AS t
         GROUP BY state, paused, halted",
    )
    .fetch_all(conn)
    .await
    .map_err(Error::database("counting tasks"))?;
    rows.into_iter()
        .map(|(state, paused, halted, n)| {
            let phase = Phase::from_i16(state)
                .ok_or_else(|| Error::contradiction("tasks", "state", "(a group)", state))?;
            Ok((TaskState::new(phase, paused, halted), n))
        })
        .collect()
}

/// What came of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launched {
    /// The campaign has this task now.
    Task(i64),
    /// It had this one already.
    Already(i64),
    /// Its audience cannot be sent to.
    Unusable(Unusable),
    /// There is no such campaign.
    NoCampaign,
}

/// Makes the one task of a campaign without recurrence, running when `starts_at` is not in the future.
///
/// Takes the campaign's row, so that two launches cannot cross, and holds the audience against being deleted.
///
/// # Errors
/// The database did not do it.
pub async fn launch(
    conn: &mut PgConnection,
    campaign_id: i64,
    starts_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Launched> {
    if !crate::campaigns::lock(conn, campaign_id).await? {
        return Ok(Launched::NoCampaign);
    }
    let earlier: Option<i64> =
        sql::query_scalar("SELECT max(id) FROM tasks WHERE campaign_id = $1 AND NOT hidden")
            .bind(campaign_id)
            .fetch_one(&mut *conn)
            .await
            .map_err(Error::database("looking for a campaign's task"))?;
    if let Some(id) = earlier {
        return Ok(Launched::Already(id));
    }
    let audience_id: i64 = sql::query_scalar("SELECT audience_id FROM campaigns WHERE id = $1")
        .bind(campaign_id)
        .fetch_one(&mut *conn)
        .await
        .map_err(Error::database("reading a campaign's audience"))?;
    if let Some(unusable) = crate::campaigns::hold_audience(conn, audience_id).await? {
        return Ok(Launched::Unusable(unusable));
    }
    let is_due = starts_at.is_none_or(|at| at <= now);
    let phase = if is_due { Phase::Running } else { Phase::Scheduled };
    let task_id: Option<i64> = sql::query_scalar(
        "WITH launched AS (
            UPDATE campaigns SET state = 2 WHERE id = $1 AND state = 1
            RETURNING id, account, sender, template, audience_id, expires_at
         )
         INSERT INTO tasks (campaign_id, account, sender, template, audience_id, state, total,
                            starts_at, started_at, expires_at, created_at)
         SELECT l.id, l.account, l.sender, l.template, l.audience_id, $2, a.rows_accepted::integer,
                $3, $4, l.expires_at, $5
         FROM launched l JOIN audiences a ON a.id = l.audience_id
         RETURNING id",
    )
    .bind(campaign_id)
    .bind(phase as i16)
    .bind(starts_at.unwrap_or(now))
    .bind(is_due.then_some(now))
    .bind(now)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("launching a campaign"))?;
    let task_id = task_id
        .ok_or_else(|| Error::contradiction("campaigns", "state", campaign_id, "launched, without a task"))?;
    canaries::begin(conn, &[task_id], now).await?;
    events::tasks(conn, &[task_id], Some(now)).await?;
    Ok(Launched::Task(task_id))
}

/// What came of an operator's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commanded {
    /// It is so now, or was already.
    Done {
        /// The account that sends.
        account: String,
        /// Something changed.
        changed: bool,
    },
    /// The state forbids it.
    Refused(Refused),
    /// There is no such task.
    NoTask,
}

/// Carries out an operator's command, in the caller's transaction.
///
/// The row's lock waits for intents that are being committed; none is committed after this one was.
///
/// # Errors
/// The database did not do it.
pub async fn command(
    conn: &mut PgConnection,
    id: i64,
    command: Command,
    now: DateTime<Utc>,
) -> Result<Commanded> {
    let row: Option<(i16, bool, String)> =
        sql::query_as("SELECT state, paused, account FROM tasks WHERE id = $1 FOR UPDATE")
            .bind(id)
            .fetch_optional(&mut *conn)
            .await
            .map_err(Error::database("locking a task"))?;
    let Some((state, paused, account)) = row else { return Ok(Commanded::NoTask) };
    let phase = Phase::from_i16(state).ok_or_else(|| Error::contradiction("tasks", "state", id, state))?;
    let (new_phase, new_paused) = match model::task::command(phase, paused, command) {
        Ok(next) => next,
        Err(refused) => return Ok(Commanded::Refused(refused)),
    };
    if (new_phase, new_paused) == (phase, paused) {
        return Ok(Commanded::Done { account, changed: false });
    }
    let ended_at = (new_phase == Phase::Cancelled).then_some(now);
    let rows = sql::query(
        "UPDATE tasks SET state = $4, paused = $5, ended_at = COALESCE($6, ended_at),
                          pause_reason = CASE WHEN $5 THEN pause_reason END
         WHERE id = $1 AND state = $2 AND paused = $3",
    )
    .bind(id)
    .bind(phase as i16)
    .bind(paused)
    .bind(new_phase as i16)
    .bind(new_paused)
    .bind(ended_at)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("changing a task's state"))?
    .rows_affected();
    if rows != 1 {
        return Err(Error::contradiction("tasks", "state", id, "changed under its lock"));
    }
    events::tasks(conn, &[id], Some(now)).await?;
    Ok(Commanded::Done { account, changed: true })
}
