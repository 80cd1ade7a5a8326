//! Live progress of tasks: a screen that redraws itself on a terminal, a line a second elsewhere.
//!
//! It only looks: whatever becomes of it, the tasks go on.

mod end;
mod screen;
mod view;

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use api::{
    Task,
    client::{Client, ClientError, MessageFilter, Page},
};

use crate::{
    context::Outcome,
    output::{Output, harmless},
};

pub use self::{
    end::End,
    screen::Screen,
    view::{View, plain, span},
};

/// How often a task is asked about for a screen.
const SCREEN_PERIOD: Duration = Duration::from_millis(500);
/// How often a line is printed.
const LINE_PERIOD: Duration = Duration::from_secs(1);
/// How long the daemon may be away, as when it is being restarted.
const PATIENCE: Duration = Duration::from_secs(300);

/// Watches a task until nothing is left to send now; says how it ended.
pub async fn task(client: &Client, id: i64, output: Output) -> anyhow::Result<Outcome> {
    let mut screen = Screen::new(output.is_for_programs());
    let watched = tokio::select! {
        watched = until_end(client, id, &mut screen) => watched?,
        _ = tokio::signal::ctrl_c() => None,
    };
    let Some((task, end)) = watched else {
        screen.leave();
        eprintln!(
            "the task goes on; `campaignd task watch {id}` shows it again, `campaignd task cancel {id}` stops it"
        );
        return Ok(Outcome::Failed);
    };
    screen.draw(&View::of_terminal().task(&task))?;
    if output.is_for_programs() {
        output.one(&task)?;
    }
    for sentence in end.sentences(&task) {
        let mut out: Box<dyn Write> =
            if output.is_for_programs() { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
        writeln!(out, "{}", harmless(&sentence))?;
    }
    Ok(end.outcome())
}

async fn until_end(client: &Client, id: i64, screen: &mut Screen) -> anyhow::Result<Option<(Task, End)>> {
    let period = if screen.is_live() { SCREEN_PERIOD } else { LINE_PERIOD };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut contact = Contact::default();
    let mut rest = end::Rest::default();
    loop {
        ticks.tick().await;
        let Some(task) = contact.taken(client.task(id).await, screen)? else { continue };
        if screen.is_live() {
            screen.draw(&View::of_terminal().task(&task))?;
        } else {
            screen.line(&plain(&task))?;
        }
        if let Some(end) = End::of(&task) {
            return Ok(Some((task, end)));
        }
        if end::waits_for_retries(&task)
            && let Some(end) = rest.end(&task, first_retry(client, id).await)
        {
            return Ok(Some((task, end)));
        }
    }
}

/// When the first of the waiting retries is due, as far as one page tells.
async fn first_retry(client: &Client, id: i64) -> Option<chrono::DateTime<chrono::Utc>> {
    let page = Page { limit: Some(500), after: None };
    let filter = MessageFilter { state: Some("retrying".to_owned()), page, ..MessageFilter::default() };
    let retrying = client.messages(id, &filter).await.ok()?;
    retrying.items.iter().filter_map(|message| message.retry_at).min()
}

/// Bears with a daemon that is away for a while.
#[derive(Debug, Default)]
pub struct Contact {
    /// A daemon that never answered is not away: its address is wrong.
    is_made: bool,
    lost: Option<Instant>,
}

impl Contact {
    /// The answer, or none while the daemon may still come back.
    pub fn taken<T>(
        &mut self,
        answer: Result<T, ClientError>,
        screen: &mut Screen,
    ) -> anyhow::Result<Option<T>> {
        match answer {
            Ok(task) => {
                (self.is_made, self.lost) = (true, None);
                Ok(Some(task))
            }
            Err(error) if self.is_made && error.is_passing() => {
                let is_new = self.lost.is_none();
                let since = *self.lost.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error.into());
                }
                if is_new {
                    screen.leave();
                    eprintln!("{} (trying again)", harmless(&error.to_string()));
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether standard output shows colours and can be redrawn.
fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
