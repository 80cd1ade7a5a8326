//! Idempotency-Key: a POST that is repeated with its key makes nothing twice.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use store::{
    PgConnection,
    idempotency::{self, Claim},
};

use crate::problem::{Answer, Problem};

/// A key, and the request that it was sent with.
#[derive(Clone, Debug)]
pub struct Keyed {
    key: String,
    operation: String,
    fingerprint: String,
}

impl Keyed {
    /// Names a request by what tells it from others; none when it bears no key.
    pub fn new(key: Option<String>, operation: impl Into<String>, parts: &[&[u8]]) -> Option<Self> {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { key: key?, operation: operation.into(), fingerprint })
    }

    /// Claims the key; what the request made already, when it is a repetition.
    pub async fn claim(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> Answer<Option<i64>> {
        match idempotency::claim(conn, &self.key, &self.operation, &self.fingerprint, now).await? {
            Claim::New => Ok(None),
            Claim::Done(id) => Ok(Some(id)),
            Claim::UnderWay => Err(Problem::conflict(
                "a request with this Idempotency-Key is under way: wait for its answer, then repeat it",
            )),
            Claim::OtherRequest => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "this Idempotency-Key was used for another request: use a new one",
            )),
        }
    }

    /// Says what the request made.
    pub async fn complete(&self, conn: &mut PgConnection, id: i64) -> Answer<()> {
        Ok(idempotency::complete(conn, &self.key, &self.operation, id).await?)
    }

    /// Gives the key back: the request made nothing.
    pub async fn release(&self, conn: &mut PgConnection) -> Answer<()> {
        Ok(idempotency::release(conn, &self.key, &self.operation).await?)
    }
}
