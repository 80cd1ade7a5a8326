//! Time since the start, and the wall time that belongs to it. Nothing else in the crate reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, FixedOffset, SecondsFormat};

/// A monotonic clock with a wall time for its zero.
pub(crate) struct Clock {
    started: Instant,
    wall_start_ms: i64,
}

impl Clock {
    /// Starts now. `wall_offset_ms` shifts the wall time, for daemons that are tested with a shifted clock.
    #[expect(clippy::disallowed_methods, reason = "a vendor's clock is not the daemon's: read once, here")]
    pub(crate) fn start(wall_offset_ms: i64) -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Clock { started: Instant::now(), wall_start_ms: now_ms.saturating_add(wall_offset_ms) }
    }

    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn wall_ms(&self, at_us: u64) -> i64 {
        self.wall_start_ms.saturating_add(i64::try_from(at_us / 1_000).unwrap_or(i64::MAX))
    }

    /// The first moment since the start that has at least this wall time.
    pub(crate) fn at_us(&self, wall_ms: i64) -> u64 {
        u64::try_from(wall_ms.saturating_sub(self.wall_start_ms)).unwrap_or(0).saturating_mul(1_000)
    }
}

/// RFC 3339 with India's offset, the form of Exotel's samples.
pub(crate) fn india_time(wall_ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(wall_ms).unwrap_or_default();
    match FixedOffset::east_opt(19_800) {
        Some(offset) => at.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Millis, false),
        None => at.to_rfc3339(),
    }
}
