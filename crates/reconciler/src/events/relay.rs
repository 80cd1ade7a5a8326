//! From what was written down to numbered batches: each event of a task gets the next number of its webhook, and a batch is
//! fixed in the transaction that takes its events out of the outbox. So numbers have no gap, whatever dies when.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use model::event::EventKind;
use store::{
    Error, PgConnection,
    database::LIMIT_STEP,
    event_batches::{self, Happened, Item, NewBatch, Stream},
    leases::{self, Lease},
};
use tokio_util::sync::CancellationToken;

use super::{Endpoint, Webhook};
use crate::Shared;

/// Between two looks: what comes meanwhile is gathered.
const LOOK: Duration = Duration::from_millis(250);
/// Events that are taken in one step at the most.
const TAKEN: i64 = 2_000;

/// Numbers the account's events until `stop`.
pub(super) async fn run(shared: Arc<Shared>, lease: Lease, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match shared.db.within(LIMIT_STEP, "numbering events", step(&shared, &lease)).await {
            Ok(true) => continue,
            Ok(false) | Err(Error::Fenced) => {}
            Err(error) => {
                tracing::warn!(account.name = lease.account, %error, "events cannot be numbered; trying again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Numbers a bounded amount; whether there may be more.
async fn step(shared: &Shared, lease: &Lease) -> store::Result<bool> {
    let Ok(_turn) = shared.chores.acquire().await else { return Ok(false) };
    let attempted = "numbering events";
    let mut transaction = store::begin_in(&shared.db.background).await.map_err(Error::database(attempted))?;
    let conn: &mut PgConnection = &mut transaction;
    leases::fence(conn, lease).await?;
    let happened = event_batches::take(conn, &lease.account, TAKEN).await?;
    if happened.is_empty() {
        return Ok(false);
    }
    let now = shared.clock.now();
    let changed: Vec<i64> =
        happened.iter().filter(|event| event.no.is_none()).map(|event| event.task_id).collect();
    let states = event_batches::task_states(conn, &changed).await?;
    for endpoint in &shared.events {
        fix(conn, lease, endpoint, &happened, &states, now).await?;
    }
    hooks::point!("events.before_fix");
    transaction.commit().await.map_err(Error::database(attempted))?;
    hooks::point!("events.after_fix");
    Ok(i64::try_from(happened.len()).is_ok_and(|taken| taken >= TAKEN))
}

/// Fixes the batches of one webhook.
async fn fix(
    conn: &mut PgConnection,
    lease: &Lease,
    endpoint: &Endpoint,
    happened: &[Happened],
    states: &BTreeMap<i64, i16>,
    now: DateTime<Utc>,
) -> store::Result<()> {
    let webhook = &endpoint.webhook;
    let mut by_task: BTreeMap<i64, Vec<&Happened>> = BTreeMap::new();
    for event in happened.iter().filter(|event| webhook.wants(kind(event))) {
        by_task.entry(event.task_id).or_default().push(event);
    }
    let task_ids: Vec<i64> = by_task.keys().copied().collect();
    let mut streams = event_batches::streams(conn, &webhook.name, &task_ids).await?;
    let mut batches = Vec::new();
    for (task_id, events) in by_task {
        let stream = streams.entry(task_id).or_default();
        let state = states.get(&task_id).copied();
        batches.extend(Numbering { webhook, task_id, stream, now }.of(&events, state));
    }
    event_batches::fix(conn, &lease.account, &webhook.name, &batches, &streams, now).await
}

fn kind(event: &Happened) -> EventKind {
    if event.no.is_none() { EventKind::TaskState } else { EventKind::MessageStatuses }
}

/// The numbering of one task's events for one webhook.
struct Numbering<'a> {
    webhook: &'a Webhook,
    task_id: i64,
    stream: &'a mut Stream,
    now: DateTime<Utc>,
}

impl Numbering<'_> {
    /// Batches of the events, in their order; `state` is the task's now.
    ///
    /// A pause and a halt that were written at once may each not have seen the other, so that neither says what both come to:
    /// where the last word is not the task's state, its state is told.
    fn of(mut self, events: &[&Happened], state: Option<i16>) -> Vec<NewBatch> {
        let mut batches = Vec::new();
        for event in events {
            self.put(&mut batches, event);
        }
        let is_about_task = events.iter().any(|event| event.no.is_none());
        if let Some(state) = state.filter(|_| is_about_task) {
            let last = Happened { id: 0, task_id: self.task_id, no: None, state, code: None, at: None };
            self.put(&mut batches, &last);
        }
        batches
    }

    fn put(&mut self, batches: &mut Vec<NewBatch>, event: &Happened) {
        let kind = kind(event);
        if kind == EventKind::TaskState {
            if self.stream.last_state == Some(event.state) {
                return;
            }
            self.stream.last_state = Some(event.state);
        }
        self.stream.last_sequence += 1;
        let at = event.at.unwrap_or(self.now);
        let item = Item { no: event.no, state: event.state, code: event.code.clone(), at };
        let has_room = |batch: &&mut NewBatch| {
            let is_of_messages = kind == EventKind::MessageStatuses && batch.kind == kind;
            is_of_messages && batch.items.len() < self.webhook.max_batch_events
        };
        if let Some(batch) = batches.last_mut().filter(has_room) {
            batch.items.push(item);
            return;
        }
        let first_sequence = self.stream.last_sequence;
        batches.push(NewBatch { task_id: self.task_id, first_sequence, kind, items: vec![item] });
    }
}

#[cfg(test)]
mod tests {
    use vendors::secret::Secret;

    use super::*;
    use crate::events::WebhookSettings;

    fn webhook(max_batch_events: usize) -> Webhook {
        Webhook::try_from(WebhookSettings {
            name: "crm".to_owned(),
            url: Secret::new("https://crm.example.com/hook"),
            secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            events: None,
            allow_private_urls: false,
            max_batch_events: Some(max_batch_events),
            max_in_flight: None,
        })
        .unwrap()
    }

    fn event(no: Option<i32>, state: i16) -> Happened {
        Happened { id: 0, task_id: 7, no, state, code: None, at: None }
    }

    /// (first number, kind, states) of each batch.
    fn numbered(
        stream: &mut Stream,
        events: &[Happened],
        state: Option<i16>,
    ) -> Vec<(i64, EventKind, Vec<i16>)> {
        let webhook = webhook(2);
        let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let events: Vec<&Happened> = events.iter().collect();
        let batches = Numbering { webhook: &webhook, task_id: 7, stream, now }.of(&events, state);
        let states = |batch: &NewBatch| batch.items.iter().map(|item| item.state).collect();
        batches.iter().map(|batch| (batch.first_sequence, batch.kind, states(batch))).collect()
    }

    #[test]
    fn batches_are_bounded_and_keep_the_order() {
        let mut stream = Stream { last_sequence: 10, last_state: Some(2) };
        let [m, t] = [EventKind::MessageStatuses, EventKind::TaskState];
        let events =
            [event(Some(1), 1), event(Some(2), 1), event(Some(1), 3), event(None, 5), event(Some(2), 3)];
        let batches = numbered(&mut stream, &events, Some(5));
        assert_eq!(batches, [(11, m, vec![1, 1]), (13, m, vec![3]), (14, t, vec![5]), (15, m, vec![3])]);
        assert_eq!(stream, Stream { last_sequence: 15, last_state: Some(5) });
    }

    #[test]
    fn a_state_is_told_once_and_the_last_word_is_true() {
        let mut stream = Stream::default();
        let batches = numbered(&mut stream, &[event(None, 2), event(None, 2)], Some(2));
        assert_eq!(batches, [(1, EventKind::TaskState, vec![2])]);
        // Paused and halted at once, each without a look at the other.
        let batches = numbered(&mut stream, &[event(None, 4), event(None, 3)], Some(4));
        let states: Vec<i16> = batches.iter().flat_map(|(.., states)| states.clone()).collect();
        assert_eq!(states, [4, 3, 4]);
        // What is of messages alone says nothing of the task.
        let mut stream = Stream::default();
        assert_eq!(numbered(&mut stream, &[event(Some(1), 1)], Some(2)).len(), 1);
    }
}
