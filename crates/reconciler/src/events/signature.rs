//! Signatures as the Standard Webhooks specification describes them ("Signature scheme", symmetric): `v1,` and the base64 of
//! the HMAC-SHA256 of `id.timestamp.body`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use vendors::secret::Secret;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a key, by the specification: from 192 to 512 bits.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that signs. It shows as stars.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("****")
    }
}

impl SigningKey {
    /// Reads `whsec_` and the base64 of the key.
    ///
    /// # Errors
    /// What is wrong with it and what to do, without a character of it.
    pub fn parse(secret: &Secret) -> Result<Self, &'static str> {
        const REMEDY: &str = "must be `whsec_` and the base64 of 24 to 64 random bytes: \
                              `echo whsec_$(openssl rand -base64 32)` makes one";
        let encoded = secret.expose().strip_prefix(PREFIX).ok_or(REMEDY)?;
        let key = STANDARD.decode(encoded).map_err(|_| REMEDY)?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(REMEDY);
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|_| REMEDY)
    }

    /// The value of the header `webhook-signature`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's libraries publish.
    #[test]
    fn the_published_example_is_signed_alike() {
        let key = SigningKey::parse(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_ne!(
            key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_331, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_eq!(format!("{key:?}"), "****");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for wrong in ["", "hunter2-hunter2-hunter2-hunter2", "whsec_", "whsec_not base64!", &short, &long] {
            let error = SigningKey::parse(&Secret::new(wrong)).unwrap_err();
            assert!(error.contains("openssl rand -base64 32"), "{wrong}: {error}");
            assert!(!error.contains("hunter2"));
        }
        let longest = format!("whsec_{}", STANDARD.encode([7; 64]));
        assert!(SigningKey::parse(&Secret::new(longest)).is_ok());
    }
}
