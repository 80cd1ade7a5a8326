//! How a task went over time: what each minute or hour added to its counts.
//!
//! Read from `task_minutes`, which `progress` writes as it folds: a page costs by the minutes that it shows, never by messages.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, sql};

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A minute.
    Minute,
    /// An hour of UTC.
    Hour,
}

impl Step {
    fn unit(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    /// From the start of a bucket to the next one's.
    #[must_use]
    pub fn length(self) -> TimeDelta {
        match self {
            Self::Minute => TimeDelta::minutes(1),
            Self::Hour => TimeDelta::hours(1),
        }
    }
}

/// What one minute or hour added to a task's counts; below zero where more left a place than came to it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
#[expect(missing_docs, reason = "the fields are the words of the HTTP interface")]
pub struct Bucket {
    /// When it begins.
    pub at: DateTime<Utc>,
    pub accepted: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
}

/// The buckets of a task in which anything changed, of the minutes `from` to before `to`, the earliest first.
///
/// # Errors
/// The database did not do it.
pub async fn read(
    conn: &mut PgConnection,
    task_id: i64,
    step: Step,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: i64,
) -> Result<Vec<Bucket>> {
    sql::query_as(
        "SELECT date_trunc($2, minute, 'UTC') AS at,
                coalesce(sum(n) FILTER (WHERE kind = 5), 0)::bigint AS accepted,
                coalesce(sum(n) FILTER (WHERE kind = 6), 0)::bigint AS sent,
                coalesce(sum(n) FILTER (WHERE kind = 7), 0)::bigint AS delivered,
                coalesce(sum(n) FILTER (WHERE kind = 8), 0)::bigint AS read,
                coalesce(sum(n) FILTER (WHERE kind = 9), 0)::bigint AS failed
         FROM task_minutes
         WHERE task_id = $1 AND ($3::timestamptz IS NULL OR minute >= $3) AND ($4::timestamptz IS NULL OR minute < $4)
         GROUP BY 1 ORDER BY 1 LIMIT $5",
    )
    .bind(task_id)
    .bind(step.unit())
    .bind(from)
    .bind(to)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading a task's timeline"))
}
