//! Server-sent events: lines into tasks.

use futures::{Stream, StreamExt, stream};
use reqwest::{Response, Url};

use super::ClientError;
use crate::Task;

/// No event is longer.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Takes the stream apart, chunk by chunk.
#[derive(Debug, Default)]
struct Reader {
    line: Vec<u8>,
    event: String,
    data: String,
}

/// One event: its name and its data.
type Event = (String, String);

impl Reader {
    /// The events that `chunk` completes; none when one has become too long.
    fn read(&mut self, chunk: &[u8]) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                    return None;
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            events.extend(self.take_line(String::from_utf8_lossy(&line).trim_end_matches('\r')));
        }
        Some(events)
    }

    fn take_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
            return (!event.1.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {} // comments keep the connection alive; ids and delays are not used
        }
        None
    }
}

/// The tasks of an event stream.
pub(super) fn tasks(
    base: Url,
    response: Response,
) -> impl Stream<Item = Result<Task, ClientError>> + Send + use<> {
    let url = response.url().clone();
    let mut reader = Reader::default();
    response.bytes_stream().flat_map(move |chunk| {
        let tasks: Vec<Result<Task, ClientError>> = match chunk {
            Err(error) => vec![Err(ClientError::transport(&base, &error))],
            Ok(chunk) => match reader.read(&chunk) {
                None => vec![Err(ClientError::unexpected(&url, "an event is too long".to_owned()))],
                Some(events) => events.iter().filter_map(|event| task(&url, event)).collect(),
            },
        };
        stream::iter(tasks)
    })
}

fn task(url: &Url, (event, data): &Event) -> Option<Result<Task, ClientError>> {
    (event == "task").then(|| {
        serde_json::from_str(data).map_err(|error| {
            ClientError::unexpected(url, format!("an event is not what is expected: {error}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_may_be_cut_anywhere() {
        let text = b": hello\n\nevent: task\ndata: {\"a\":\ndata: 1}\r\n\r\nevent: ping\n\ndata:x\n\n";
        let expected = vec![
            ("task".to_owned(), "{\"a\":\n1}".to_owned()),
            // An event without data is none, and its name does not stick to the next.
            (String::new(), "x".to_owned()),
        ];
        for cut in 0..text.len() {
            let mut reader = Reader::default();
            let mut events = reader.read(&text[..cut]).unwrap();
            events.extend(reader.read(&text[cut..]).unwrap());
            assert_eq!(events, expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let mut reader = Reader::default();
        assert!(reader.read(&vec![b'x'; MAX_EVENT_BYTES]).is_some());
        assert!(reader.read(b"x").is_none());
    }
}
