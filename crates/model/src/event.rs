//! What is told to a developer's own system: the kinds of events, which of them are wanted, when one is tried again.

use std::time::Duration;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum EventKind {
    /// A task's state changed.
    TaskState = 1,
    /// Messages of a task came to other states.
    MessageStatuses = 2,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::TaskState, Self::MessageStatuses];

    /// The kind that the database keeps as `number`.
    #[must_use]
    pub fn from_i16(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i16 == number)
    }

    /// The `type` of the event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskState => "task.state",
            Self::MessageStatuses => "message.statuses",
        }
    }
}

/// Which kinds of events are wanted: patterns such as `task.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter(Vec<String>);

/// A pattern that fits no kind of event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must name events: any of \"task.*\", \"message.*\", \"task.state\", \"message.statuses\"")]
pub struct NoSuchEvent;

impl Default for EventFilter {
    /// All kinds.
    fn default() -> Self {
        Self(vec!["task.*".to_owned(), "message.*".to_owned()])
    }
}

impl EventFilter {
    /// What any of the patterns fits.
    ///
    /// # Errors
    /// There is no pattern, or one fits no kind: it would be waited for in vain.
    pub fn new(patterns: Vec<String>) -> Result<Self, NoSuchEvent> {
        let is_known = |pattern: &String| EventKind::ALL.into_iter().any(|kind| fits(pattern, kind));
        let is_good = !patterns.is_empty() && patterns.iter().all(is_known);
        is_good.then_some(Self(patterns)).ok_or(NoSuchEvent)
    }

    /// Whether such events are wanted.
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        self.0.iter().any(|pattern| fits(pattern, kind))
    }

    /// The patterns, as they were written.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.0
    }
}

fn fits(pattern: &str, kind: EventKind) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => (start.is_empty() || start.ends_with('.')) && kind.as_str().starts_with(start),
        None => pattern == kind.as_str(),
    }
}

/// From a try that failed to the next one, in seconds: 5 s, 5 min, 30 min, 2 h, 5 h, 7 h, and the eighth and last try comes
/// a day after the first.
const DELAYS_SECONDS: [u64; 7] = [5, 300, 1_800, 7_200, 18_000, 25_200, 33_895];

/// How often a batch of events is tried at the most.
pub const TRIES: usize = DELAYS_SECONDS.len() + 1;

/// How long after the `tries`th try, which failed, the next one is made; none: it was the last one.
#[must_use]
pub fn next_try_after(tries: usize) -> Option<Duration> {
    DELAYS_SECONDS.get(tries.checked_sub(1)?).map(|seconds| Duration::from_secs(*seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_tries_are_made_within_a_day() {
        let delays: Vec<u64> = (1..=TRIES).filter_map(next_try_after).map(|delay| delay.as_secs()).collect();
        assert_eq!((TRIES, delays.len()), (8, 7));
        assert_eq!(delays[..3], [5, 300, 1_800]);
        assert!(delays.windows(2).all(|pair| pair[0] < pair[1]), "{delays:?}");
        assert_eq!(delays.iter().sum::<u64>(), 86_400);
        assert_eq!((next_try_after(0), next_try_after(TRIES)), (None, None));
    }

    #[test]
    fn patterns_fit_kinds_and_nothing_else_is_taken() {
        let wants = |patterns: &[&str]| {
            let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            EventFilter::new(patterns).map(|filter| EventKind::ALL.map(|kind| filter.wants(kind)))
        };
        assert_eq!(wants(&["task.*", "message.*"]), Ok([true, true]));
        assert_eq!(wants(&["*"]), Ok([true, true]));
        assert_eq!(wants(&["message.*"]), Ok([false, true]));
        assert_eq!(wants(&["task.state"]), Ok([true, false]));
        for wrong in [&[][..], &["task"], &["tas*"], &["task.*", "inbound.*"], &[""]] {
            assert_eq!(wants(wrong), Err(NoSuchEvent), "{wrong:?}");
        }
        assert_eq!(EventFilter::default().patterns(), ["task.*", "message.*"]);
    }
}
