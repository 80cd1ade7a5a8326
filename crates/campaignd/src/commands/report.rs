//! `task summary`, `task timeline` and `campaign report`: what came of it, in numbers.

use api::{
    TaskReport, TaskSummary, TimelineBucket, TimelineStep,
    client::{Client, Page, TimelineFilter},
};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};

use crate::{
    context::pages,
    output::{Output, Record, harmless, or_blank, thousands, time, time_or_blank},
    watch,
};

/// How long the buckets of a timeline are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// A minute.
    Minute,
    /// An hour of UTC.
    Hour,
}

/// Arguments of `task timeline`.
#[derive(Debug, Args)]
pub struct TimelineArgs {
    /// The task's id
    id: i64,
    /// How long each line is
    #[arg(long, value_enum, default_value = "minute")]
    by: By,
    /// From this minute on, such as 2026-12-01T09:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<DateTime<Utc>>,
    /// Before this minute
    #[arg(long, value_name = "TIME")]
    to: Option<DateTime<Utc>>,
    /// How many lines; 0: all
    #[arg(long, default_value_t = 0)]
    limit: u32,
}

impl Record for TaskSummary {
    const COLUMNS: &'static [&'static str] = &[
        "task_id",
        "name",
        "account",
        "from",
        "state",
        "starts_at",
        "started_at",
        "ended_at",
        "duration_seconds",
        "mean_messages_per_second",
        "total",
        "accepted",
        "sent",
        "delivered",
        "read",
        "failed",
        "unknown",
        "suppressed",
        "expired",
        "cancelled",
        "replied",
        "clicked",
        "accepted_percent",
        "failed_percent",
        "delivered_percent",
        "read_percent",
        "replied_percent",
        "clicked_percent",
    ];

    fn cells(&self) -> Vec<String> {
        let (counts, rates) = (&self.counts, &self.rates);
        let numbers = [
            counts.total,
            counts.accepted,
            counts.sent,
            counts.delivered,
            counts.read,
            counts.failed,
            counts.unknown,
            counts.suppressed,
            counts.expired,
            counts.cancelled,
            counts.replied,
            counts.clicked,
        ];
        let shares =
            [rates.accepted, rates.failed, rates.delivered, rates.read, rates.replied, rates.clicked];
        [self.task_id.to_string(), self.name.clone(), self.account.clone(), self.from.clone()]
            .into_iter()
            .chain([self.state.as_str().to_owned()])
            .chain([self.starts_at, self.started_at, self.ended_at].map(time_or_blank))
            .chain([or_blank(self.duration_seconds), or_blank(self.mean_messages_per_second)])
            .chain(numbers.map(|number| number.to_string()))
            .chain(shares.map(or_blank))
            .collect()
    }
}

/// A task of a comparison on a terminal: what fits a line.
#[derive(serde::Serialize)]
struct Row<'a>(&'a TaskSummary);

impl Record for Row<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "task",
        "started",
        "state",
        "took",
        "total",
        "accepted",
        "delivered",
        "read",
        "replied",
        "clicked",
        "failed",
    ];

    fn cells(&self) -> Vec<String> {
        let Self(task) = self;
        let (counts, rates) = (&task.counts, &task.rates);
        let began = task.started_at.or(task.starts_at);
        let shares =
            [rates.accepted, rates.delivered, rates.read, rates.replied, rates.clicked, rates.failed];
        [task.task_id.to_string(), began.map(time).unwrap_or_default(), task.state.as_str().to_owned()]
            .into_iter()
            .chain([or_blank(task.duration_seconds.map(watch::span)), thousands(counts.total)])
            .chain(shares.map(percent))
            .collect()
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.1}%"))
}

impl Record for TimelineBucket {
    const COLUMNS: &'static [&'static str] = &["at", "accepted", "sent", "delivered", "read", "failed"];

    fn cells(&self) -> Vec<String> {
        let numbers = [self.accepted, self.sent, self.delivered, self.read, self.failed];
        std::iter::once(time(self.at)).chain(numbers.map(|number| number.to_string())).collect()
    }
}

/// Prints what came of a task; as CSV its numbers alone.
pub async fn summary(client: &Client, id: i64, output: Output) -> anyhow::Result<()> {
    let report = client.task_report(id).await?;
    if output.format() == crate::cli::OutputFormat::Csv {
        return output.one(&report.summary);
    }
    output.lines_or_json(&lines(&report), &report)
}

fn lines(report: &TaskReport) -> Vec<String> {
    let (task, counts, rates) = (&report.summary, &report.summary.counts, &report.summary.rates);
    let mut lines =
        vec![harmless(&format!("{} · task {} · {}", task.name, task.task_id, task.state.as_str()))];
    if let (Some(started), Some(seconds)) = (task.started_at, task.duration_seconds) {
        let end = task.ended_at.map_or_else(|| "until now".to_owned(), |at| format!("to {}", time(at)));
        let mean = task.mean_messages_per_second.map(|mean| format!(", {mean} messages a second"));
        lines.push(format!("from {} {end}: {}{}", time(started), watch::span(seconds), or_blank(mean)));
    }
    let shares = [
        ("accepted", counts.accepted, rates.accepted, "all"),
        ("delivered", counts.delivered, rates.delivered, "the accepted"),
        ("read", counts.read, rates.read, "the delivered"),
        ("replied", counts.replied, rates.replied, "the delivered"),
        ("clicked", counts.clicked, rates.clicked, "the delivered"),
        ("failed", counts.failed, rates.failed, "the accepted and failed"),
    ];
    lines.push(format!("{:>11} recipients", thousands(counts.total)));
    lines.extend(shares.into_iter().map(|(word, count, share, of)| {
        let share = share.map(|share| format!("{share:>7.2}% of {of}"));
        format!("{:>11} {word:<10}{}", thousands(count), or_blank(share))
    }));
    let others = [
        ("still to send", counts.queued + counts.sending + counts.retrying),
        ("unknown", counts.unknown),
        ("suppressed", counts.suppressed),
        ("expired", counts.expired),
        ("cancelled", counts.cancelled),
    ];
    let others = others.into_iter().filter(|(_, count)| *count > 0);
    lines.extend(others.map(|(word, count)| format!("{:>11} {word}", thousands(count))));
    for error in &report.errors {
        let name = if error.name.is_empty() { String::new() } else { format!(" {}", error.name) };
        let text = format!("{}{name}: {} [{}]", error.code, error.meaning, error.disposition);
        lines.push(format!("{:>11} × {}", thousands(error.count), harmless(&text)));
        lines.push(format!("{:>13} {}", "", harmless(&error.advice)));
    }
    lines
}

/// Prints how a task went over time.
pub async fn timeline(client: &Client, args: TimelineArgs, output: Output) -> anyhow::Result<()> {
    let by = match args.by {
        By::Minute => TimelineStep::Minute,
        By::Hour => TimelineStep::Hour,
    };
    let filter = |page: Page| TimelineFilter { by, from: args.from, to: args.to, page };
    output.list(&pages(args.limit, |page| async { client.timeline(args.id, &filter(page)).await }).await?)
}

/// Prints the tasks of a campaign beside each other.
pub async fn campaign(client: &Client, id: i64, limit: u32, output: Output) -> anyhow::Result<()> {
    let tasks = pages(limit, |page| async move { client.campaign_report(id, &page).await }).await?;
    if output.is_for_programs() {
        return output.list(&tasks);
    }
    output.list(&tasks.iter().map(Row).collect::<Vec<_>>())
}
