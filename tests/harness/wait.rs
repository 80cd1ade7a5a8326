//! Waiting for a condition with a deadline, never for a time.

use std::time::{Duration, Instant};

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// So many seconds.
pub fn within(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Asks again and again until there is an answer, and hands it over; panics naming `what` when the time is over.
pub async fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}
