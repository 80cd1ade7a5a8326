//! When the reports that wait for their message are looked at: the young each second, because an outcome is about to be
//! recorded; all of them each minute, because it may have been recorded late.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store::{
    PgConnection,
    early::{self, EarlySlice},
};
use tokio::time::Instant;

/// Between two looks at the young.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at all.
const FULL: Duration = Duration::from_secs(60);
/// A report is young for so many minutes.
const YOUNG_MINUTES: i64 = 5;
/// Reports looked at in one step.
const SLICE: i64 = 2_000;

/// How far the looks have come.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    looked: Option<Instant>,
    looked_at_all: Option<Instant>,
    /// The young lie beyond this number.
    young_after: i64,
    /// A look goes on beyond this number.
    goes_on_after: Option<i64>,
}

impl Waiting {
    /// A look is under way, or it is time for one.
    pub(crate) fn is_due(&self) -> bool {
        self.goes_on_after.is_some() || self.looked.is_none_or(|at| at.elapsed() >= LOOK)
    }

    /// Takes what is known by now of the next slice.
    pub(crate) async fn take(
        &mut self,
        conn: &mut PgConnection,
        account: &str,
        now: DateTime<Utc>,
    ) -> store::Result<EarlySlice> {
        let after = match self.goes_on_after {
            Some(after) => after,
            None => {
                self.looked = Some(Instant::now());
                if self.looked_at_all.is_none_or(|at| at.elapsed() >= FULL) {
                    let since = now - TimeDelta::minutes(YOUNG_MINUTES);
                    self.young_after = early::number_since(conn, account, since).await?;
                    self.looked_at_all = Some(Instant::now());
                    0
                } else {
                    self.young_after
                }
            }
        };
        // A slice that fails is tried again with the next look, not at once: it must not stop the inbox.
        self.goes_on_after = None;
        early::take_known(conn, account, after, SLICE).await
    }

    /// The slice was applied.
    pub(crate) fn done(&mut self, goes_on_after: Option<i64>) {
        self.goes_on_after = goes_on_after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_is_due_each_second_and_while_one_is_under_way() {
        let mut waiting = Waiting::default();
        assert!(waiting.is_due());
        waiting.looked = Some(Instant::now());
        assert!(!waiting.is_due());
        waiting.done(Some(7));
        assert!(waiting.is_due());
        waiting.done(None);
        tokio::time::advance(LOOK).await;
        assert!(waiting.is_due());
    }
}
