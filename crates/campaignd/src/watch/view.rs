//! A task as lines of text. Nothing is read or printed here.

use api::{CanaryState, Counts, Task, TaskState, WaitingFor};
use chrono::{DateTime, Utc};

use crate::{
    output::{harmless, thousands, time},
    system,
};

/// Errors that are shown; the rest is summed.
const SHOWN_ERRORS: usize = 6;
/// The bar, at most.
const WIDEST_BAR: usize = 60;

/// A column of the table of several tasks.
#[derive(Clone, Copy)]
struct Column {
    head: &'static str,
    /// The highest goes first when there is no room.
    rank: u8,
    of: fn(&Task) -> i64,
}

const COLUMN_WIDTH: usize = 9;
#[expect(clippy::cast_possible_truncation, reason = "a rate is far below, and only shown")]
const COLUMNS: [Column; 8] = [
    Column { head: "accepted", rank: 0, of: |task| task.counts.accepted },
    Column { head: "sent", rank: 6, of: |task| task.counts.sent },
    Column { head: "delivered", rank: 1, of: |task| task.counts.delivered },
    Column { head: "read", rank: 4, of: |task| task.counts.read },
    Column { head: "failed", rank: 2, of: |task| task.counts.failed },
    Column { head: "retrying", rank: 5, of: |task| task.counts.retrying },
    Column { head: "unknown", rank: 3, of: |task| task.counts.unknown },
    Column { head: "per s", rank: 7, of: |task| task.messages_per_second.round() as i64 },
];

/// How lines are made.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Columns that there are.
    pub width: usize,
    /// Whether colours may be used.
    pub has_colour: bool,
    /// What ages are taken from.
    pub now: DateTime<Utc>,
}

/// The parts of the bar: how many, the sign, the colour (SGR).
type Part = (i64, char, &'static str);

impl View {
    /// As standard output's terminal wants it.
    pub fn of_terminal() -> Self {
        let width = usize::from(console::Term::stdout().size().1);
        Self {
            width: width.max(40),
            has_colour: super::is_terminal() && console::colors_enabled(),
            now: system::now(),
        }
    }

    /// A task in full.
    pub fn task(self, task: &Task) -> Vec<String> {
        let mut lines = vec![self.head(task), self.progress(task), self.places(&task.counts)];
        if let Some(waiting) = waiting(task) {
            lines.push(self.paint("33", &waiting));
        }
        lines.extend(canary(task).map(|line| self.paint("33", &line)));
        if task.state == TaskState::Halted {
            let reason = task.halt_reason.as_deref().unwrap_or("`campaignd halt list` says why");
            lines.push(self.paint("31", &harmless(&format!("halted: {reason}"))));
        }
        if let Some(reason) = &task.pause_reason {
            lines.push(self.paint("33", &harmless(&format!("paused: {reason}"))));
        }
        lines.extend(self.unknown(task).map(|line| self.paint("33", &line)));
        lines.extend(task.errors.iter().take(SHOWN_ERRORS).map(|error| {
            let name = if error.name.is_empty() { String::new() } else { format!(" {}", error.name) };
            let text = format!("{}{name}: {} [{}]", error.code, error.meaning, error.disposition);
            format!("{:>9} × {}", thousands(error.count), harmless(&text))
        }));
        if let Some(more) = task.errors.get(SHOWN_ERRORS..).filter(|more| !more.is_empty()) {
            let count = more.iter().map(|error| error.count).sum();
            lines.push(format!("{:>9} × {} other codes", thousands(count), more.len()));
        }
        lines
    }

    /// Several tasks, a line each, under one head; on a narrow terminal with fewer columns.
    pub fn tasks(self, tasks: &[Task]) -> Vec<String> {
        let widest =
            tasks.iter().map(|task| console::measure_text_width(&task.name)).max().unwrap_or(0).clamp(8, 28);
        let mut columns = COLUMNS.to_vec();
        let taken = |columns: &[Column]| widest + 30 + columns.len() * (COLUMN_WIDTH + 1);
        while taken(&columns) > self.width {
            let Some(least) = (0..columns.len()).max_by_key(|index| columns[*index].rank) else { break };
            columns.remove(least);
        }
        let bar = (10 + self.width.saturating_sub(taken(&columns))).min(30);
        let (room, cell) = (bar + 2, COLUMN_WIDTH);
        let heads: String = columns.iter().map(|column| format!(" {:>cell$}", column.head)).collect();
        let mut lines =
            vec![self.paint("1", &format!("{:widest$} {:9} {:room$}     {heads}", "campaign", "state", ""))];
        lines.extend(tasks.iter().map(|task| {
            let name = console::truncate_str(&harmless(&task.name), widest, "…").into_owned();
            let name = console::pad_str(&name, widest, console::Alignment::Left, None).into_owned();
            let (state, bar) = (task.state.as_str(), self.bar(&task.counts, bar));
            let cells: String =
                columns.iter().map(|column| format!(" {:>cell$}", thousands((column.of)(task)))).collect();
            format!("{name} {state:9} {bar} {:>3}%{cells}", percent(&task.counts))
        }));
        lines
    }

    fn head(self, task: &Task) -> String {
        let state = match task.state {
            TaskState::Running | TaskState::Completed => self.paint("32", task.state.as_str()),
            TaskState::Halted | TaskState::Cancelled => self.paint("31", task.state.as_str()),
            TaskState::Scheduled | TaskState::Paused => self.paint("33", task.state.as_str()),
        };
        let title = format!("{} · task {} · {} from {}", task.name, task.id, task.account, task.from);
        format!("{} · {state}", self.paint("1", &harmless(&title)))
    }

    fn progress(self, task: &Task) -> String {
        let width = self.width.saturating_sub(30).clamp(10, WIDEST_BAR);
        let mut line = format!("{} {:>3}%", self.bar(&task.counts, width), percent(&task.counts));
        if task.state == TaskState::Running {
            line.push_str(&format!("  {:.0}/s", task.messages_per_second));
            // Retries have times of their own.
            let is_sending = task.counts.queued + task.counts.sending > 0;
            if let Some(seconds) = task.eta_seconds.filter(|_| is_sending) {
                line.push_str(&format!("  about {} left", span(seconds)));
            }
        }
        line
    }

    fn bar(self, counts: &Counts, width: usize) -> String {
        let parts = parts(counts);
        let total = usize::try_from(counts.total.max(1)).unwrap_or(usize::MAX);
        let mut out = String::new();
        let (mut so_far, mut drawn) = (0_usize, 0_usize);
        for (count, sign, colour) in parts {
            so_far += usize::try_from(count.max(0)).unwrap_or(0);
            // Rounding the sums, not the parts, makes the parts fill the bar exactly.
            let until = (so_far.saturating_mul(width) / total).min(width);
            out.push_str(&self.paint(colour, &sign.to_string().repeat(until.saturating_sub(drawn))));
            drawn = drawn.max(until);
        }
        out.push_str(&"·".repeat(width - drawn));
        format!("[{out}]")
    }

    /// The places in a line: the usual ones always, the others when somebody is there.
    fn places(self, counts: &Counts) -> String {
        let always = [
            ("queued", counts.queued, ""),
            ("sending", counts.sending, "36"),
            ("accepted", counts.accepted, "32"),
            ("sent", counts.sent, ""),
            ("delivered", counts.delivered, ""),
            ("read", counts.read, ""),
            ("failed", counts.failed, if counts.failed > 0 { "31" } else { "" }),
        ];
        let sometimes = [
            ("retrying", counts.retrying, "35"),
            ("unknown", counts.unknown, "33"),
            ("suppressed", counts.suppressed, ""),
            ("expired", counts.expired, ""),
            ("cancelled", counts.cancelled, ""),
            ("replied", counts.replied, ""),
            ("clicked", counts.clicked, ""),
        ];
        let shown = always.into_iter().chain(sometimes.into_iter().filter(|(_, count, _)| *count > 0));
        let shown: Vec<String> = shown
            .map(|(name, count, colour)| self.paint(colour, &format!("{name} {}", thousands(count))))
            .collect();
        shown.join("  ")
    }

    /// What to do about messages that may or may not have reached the vendor.
    fn unknown(self, task: &Task) -> Option<String> {
        let count = Some(task.counts.unknown).filter(|count| *count > 0)?;
        let age = task.oldest_unknown_since.map(|since| (self.now - since).num_seconds());
        let age = age.map(|seconds| format!(", the oldest for {}", span(seconds))).unwrap_or_default();
        Some(format!(
            "{} unknown{age}: the vendor may have them. `campaignd task report {id} --state unknown` lists them; news \
             settles them, or `campaignd task resolve {id} --as sent|failed|resend`",
            thousands(count),
            id = task.id,
        ))
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if !self.has_colour || colour.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{colour}m{text}\u{1b}[0m")
    }
}

/// The bar from left to right. The signs differ too, for those who see no colours.
fn parts(counts: &Counts) -> [Part; 7] {
    [
        (counts.delivered, '█', "32"),
        (counts.accepted - counts.delivered, '▓', "32"),
        (counts.failed, 'x', "31"),
        (counts.unknown, '?', "33"),
        (counts.suppressed + counts.expired + counts.cancelled, '-', "2"),
        (counts.retrying, '▒', "35"),
        (counts.sending, '>', "36"),
    ]
}

/// How many of a hundred need no more sending. 100 only when all.
fn percent(counts: &Counts) -> i64 {
    let left = counts.queued + counts.sending + counts.retrying;
    if counts.total == 0 { 100 } else { (counts.total - left).max(0) * 100 / counts.total }
}

fn waiting(task: &Task) -> Option<String> {
    let what = match task.waiting_for? {
        WaitingFor::Window => "the sending window",
        WaitingFor::DailyLimit => "the sender's daily limit",
        WaitingFor::Halt => "a halt to be lifted",
        WaitingFor::Breaker => "the vendor to answer again",
        WaitingFor::Lease => "a node to own the account",
        WaitingFor::Database => "the database",
    };
    let until = task.waiting_until.map(|at| format!(", until {}", time(at))).unwrap_or_default();
    Some(format!("waits for {what}{until}"))
}

/// That others wait for a canary.
fn canary(task: &Task) -> Option<String> {
    let canary = task.canary.as_ref()?;
    let (recipients, failed) = (thousands(canary.recipients), thousands(canary.failed));
    match canary.state {
        _ if task.state == TaskState::Cancelled || task.state == TaskState::Completed => None,
        CanaryState::Sending => {
            Some(format!("canary: {recipients} are sent to before the others, {failed} failed"))
        }
        CanaryState::Waiting => {
            let until = canary.until.map(|at| format!(" until {}", time(at))).unwrap_or_default();
            Some(format!("canary: news of {recipients} is waited for{until}, {failed} failed"))
        }
        CanaryState::Passed | CanaryState::Failed => None,
    }
}

/// A number of seconds for people: `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A task in one line of `name=value`, for logs and pipes.
pub fn plain(task: &Task) -> String {
    let counts = &task.counts;
    let mut line = format!("task {} {} {}%", task.id, task.state.as_str(), percent(counts));
    let places = [
        ("total", counts.total),
        ("queued", counts.queued),
        ("sending", counts.sending),
        ("retrying", counts.retrying),
        ("unknown", counts.unknown),
        ("accepted", counts.accepted),
        ("sent", counts.sent),
        ("delivered", counts.delivered),
        ("read", counts.read),
        ("failed", counts.failed),
        ("suppressed", counts.suppressed),
        ("expired", counts.expired),
        ("cancelled", counts.cancelled),
    ];
    for (name, count) in places {
        line.push_str(&format!(" {name}={count}"));
    }
    line.push_str(&format!(" per_second={:.1}", task.messages_per_second));
    if let Some(seconds) = task.eta_seconds {
        line.push_str(&format!(" eta_seconds={seconds}"));
    }
    if let Some(canary) = &task.canary {
        line.push_str(&format!(" canary={}", canary.state.as_str()));
    }
    if let Some(waiting) = task.waiting_for {
        line.push_str(&format!(" waiting_for={}", waiting.as_str()));
    }
    line
}

#[cfg(test)]
mod tests;
