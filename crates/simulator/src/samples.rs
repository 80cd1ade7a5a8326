//! The last requests, whole, for tests that look at what was sent. Bounded in number; bodies are shared.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use bytes::Bytes;

use crate::vendor::Vendor;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    /// The vendor that it was for.
    pub vendor: Vendor,
    /// Path and query.
    pub path: String,
    /// Headers, secrets included: this is a simulator.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl SeenRequest {
    /// The body as JSON, null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

pub(crate) struct Samples {
    kept: Mutex<VecDeque<SeenRequest>>,
    capacity: usize,
}

impl Samples {
    pub(crate) fn new(capacity: usize) -> Samples {
        Samples { kept: Mutex::default(), capacity }
    }

    pub(crate) fn keep(&self, vendor: Vendor, path: String, headers: HeaderMap, body: Bytes) {
        if self.capacity == 0 {
            return;
        }
        let seen = SeenRequest { vendor, path, headers, body };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.capacity {
            kept.pop_front();
        }
        kept.push_back(seen);
    }

    pub(crate) fn all(&self) -> Vec<SeenRequest> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
