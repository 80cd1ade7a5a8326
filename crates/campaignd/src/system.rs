//! The machine's clock and randomness: the one place where they are asked. Everybody else is handed them.

use chrono::{DateTime, Utc};
use model::{Clock, Random};
use uuid::Uuid;

/// The time by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "the one place where the machine is asked for the time")]
pub fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

/// Business time, from this machine's clock.
#[cfg(not(feature = "test-hooks"))]
pub fn clock() -> Clock {
    Clock::new(now)
}

/// Business time, from this machine's clock and a test's offset.
#[cfg(feature = "test-hooks")]
pub fn clock() -> Clock {
    Clock::new(|| now() + chrono::TimeDelta::milliseconds(hooks::clock_offset_ms()))
}

/// A fresh random id.
#[expect(clippy::disallowed_methods, reason = "the one place where the machine is asked for randomness")]
pub fn new_uuid() -> Uuid {
    Uuid::new_v4()
}

/// Random numbers in 0.0..1.0, for jitter.
pub fn random() -> Random {
    const BITS: u32 = 53;
    Random::new(|| {
        // The lowest bits of a v4 UUID are all random.
        let bits = new_uuid().as_u128() & ((1 << BITS) - 1);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
        let number = bits as f64 / (1_u64 << BITS) as f64;
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_stay_below_one_and_differ() {
        let random = random();
        let numbers: Vec<f64> = (0..100).map(|_| random.next()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)), "{numbers:?}");
        assert!(numbers.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.1), "{numbers:?}");
    }
}
