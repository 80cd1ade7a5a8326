//! The vendor's ids of an account's latest messages: one that comes a second time is nobody's.
//!
//! A gateway that answers one call with the stored answer of another would otherwise have us take for sent what never
//! reached the vendor. It is a safeguard, not a record: it forgets, and begins empty in each process.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use store::ids::vendor_hash;

/// Ids in each of the two halves. The older half is forgotten when the younger one is full.
const HALF: usize = 32_768;

/// The latest ids.
#[derive(Debug, Default)]
pub(crate) struct RecentIds(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    younger: HashSet<i64>,
    older: HashSet<i64>,
}

impl RecentIds {
    /// Whether the id is a new one, which it is no more then.
    pub(crate) fn is_new(&self, vendor_id: &str) -> bool {
        let hash = vendor_hash(vendor_id);
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if halves.older.contains(&hash) || !halves.younger.insert(hash) {
            return false;
        }
        if halves.younger.len() >= HALF {
            halves.older = std::mem::take(&mut halves.younger);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_only_the_latest_are_kept() {
        let ids = RecentIds::default();
        for number in 0..3 * HALF {
            assert!(ids.is_new(&number.to_string()));
        }
        assert!(!ids.is_new(&(3 * HALF - 1).to_string()));
        assert!(!ids.is_new(&(2 * HALF).to_string()));
        assert!(ids.is_new("0"), "it was too long ago");
    }
}
