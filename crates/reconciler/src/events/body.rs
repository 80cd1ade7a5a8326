//! What is posted: the bodies of events. A batch is written out alike at each try, but for people who were erased meanwhile.

use chrono::{DateTime, Utc};
use model::{event::EventKind, status::MessageState, task::TaskState};
use serde::Serialize;
use store::event_batches::{Batch, Item};

/// Any event, as the Standard Webhooks specification recommends it.
#[derive(Serialize)]
struct Event<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: DateTime<Utc>,
    data: T,
}

/// A task came to another state.
#[derive(Serialize)]
struct TaskData {
    task_id: i64,
    sequence: i64,
    state: &'static str,
    at: DateTime<Utc>,
}

/// Messages of a task came to other states.
#[derive(Serialize)]
struct MessagesData<'a> {
    task_id: i64,
    first_sequence: i64,
    items: Vec<MessageData<'a>>,
}

#[derive(Serialize)]
struct MessageData<'a> {
    sequence: i64,
    no: i32,
    /// None: the person was erased, or the recipient's details are not kept any more.
    to: Option<String>,
    state: &'static str,
    code: Option<&'a str>,
    at: DateTime<Utc>,
}

/// A trial of the way.
#[derive(Serialize)]
struct Ping<'a> {
    webhook: &'a str,
}

/// The body of a batch. What the database contradicts us about is left out.
pub(super) fn of(batch: &Batch) -> Vec<u8> {
    let (kind, timestamp) = (batch.kind.as_str(), batch.created_at);
    let numbered = (batch.first_sequence..).zip(&batch.items);
    match batch.kind {
        EventKind::TaskState => {
            let data = numbered.filter_map(|(sequence, item)| task(batch, sequence, item)).next();
            json(&Event { kind, timestamp, data })
        }
        EventKind::MessageStatuses => {
            let items = numbered.filter_map(|(sequence, item)| message(batch, sequence, item)).collect();
            let data = MessagesData { task_id: batch.task_id, first_sequence: batch.first_sequence, items };
            json(&Event { kind, timestamp, data })
        }
    }
}

/// The body of a trial.
pub(super) fn ping(webhook: &str, now: DateTime<Utc>) -> Vec<u8> {
    json(&Event { kind: "ping", timestamp: now, data: Ping { webhook } })
}

fn task(batch: &Batch, sequence: i64, item: &Item) -> Option<TaskData> {
    let state = TaskState::from_i16(item.state)?.as_str();
    Some(TaskData { task_id: batch.task_id, sequence, state, at: item.at })
}

fn message<'a>(batch: &Batch, sequence: i64, item: &'a Item) -> Option<MessageData<'a>> {
    let no = item.no?;
    let state = MessageState::from_i16(item.state)?.as_str();
    let to = batch.phones.get(&no).map(|phone| format!("+{phone}"));
    Some(MessageData { sequence, no, to, state, code: item.code.as_deref(), at: item.at })
}

fn json(event: &impl Serialize) -> Vec<u8> {
    // Texts, numbers and times cannot fail.
    serde_json::to_vec(event).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap()
    }

    fn item(no: Option<i32>, state: i16, code: Option<&str>) -> Item {
        Item { no, state, code: code.map(str::to_owned), at: at(1) }
    }

    fn batch(kind: EventKind, items: Vec<Item>) -> Batch {
        Batch {
            id: uuid::Uuid::nil(),
            task_id: 7,
            first_sequence: 41,
            kind,
            items,
            tries: 0,
            created_at: at(2),
            phones: [(1, 919_876_543_210)].into(),
        }
    }

    fn text(batch: &Batch) -> String {
        String::from_utf8(of(batch)).unwrap()
    }

    #[test]
    fn statuses_are_numbered_and_who_was_erased_has_no_number() {
        let items = vec![item(Some(1), 3, None), item(Some(2), 5, Some("131026"))];
        assert_eq!(
            text(&batch(EventKind::MessageStatuses, items)),
            "{\"type\":\"message.statuses\",\"timestamp\":\"2026-11-18T11:06:42Z\",\"data\":{\"task_id\":7,\
             \"first_sequence\":41,\"items\":[\
             {\"sequence\":41,\"no\":1,\"to\":\"+919876543210\",\"state\":\"delivered\",\"code\":null,\
             \"at\":\"2026-11-18T11:06:41Z\"},\
             {\"sequence\":42,\"no\":2,\"to\":null,\"state\":\"failed\",\"code\":\"131026\",\
             \"at\":\"2026-11-18T11:06:41Z\"}]}}"
        );
    }

    #[test]
    fn a_task_tells_its_state() {
        assert_eq!(
            text(&batch(EventKind::TaskState, vec![item(None, 4, None)])),
            "{\"type\":\"task.state\",\"timestamp\":\"2026-11-18T11:06:42Z\",\"data\":{\"task_id\":7,\"sequence\":41,\
             \"state\":\"halted\",\"at\":\"2026-11-18T11:06:41Z\"}}"
        );
    }
}
