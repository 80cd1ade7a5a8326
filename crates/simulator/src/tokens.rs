//! sobot.io's tokens: given out for a signed request, valid for a time. Expired ones are forgotten.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use md5::{Digest as _, Md5};

struct Token {
    account: usize,
    expires_us: u64,
}

/// Tokens that are valid, each with its account's position in the options.
#[derive(Default)]
pub(crate) struct Tokens {
    valid: RwLock<HashMap<String, Token>>,
}

/// `md5(appid + create_time + app_key)` in hexadecimal, "Acquire token".
pub(crate) fn signature(app_id: &str, create_time: &str, app_key: &str) -> String {
    hex::encode(Md5::digest(format!("{app_id}{create_time}{app_key}")))
}

impl Tokens {
    pub(crate) fn add(&self, token: String, account: usize, now_us: u64, lifetime_us: u64, only: bool) {
        let mut valid = self.valid.write().unwrap_or_else(PoisonError::into_inner);
        valid.retain(|_, old| old.expires_us > now_us && !(only && old.account == account));
        valid.insert(token, Token { account, expires_us: now_us.saturating_add(lifetime_us) });
    }

    pub(crate) fn account(&self, token: &str, now_us: u64) -> Option<usize> {
        let valid = self.valid.read().unwrap_or_else(PoisonError::into_inner);
        valid.get(token).filter(|token| token.expires_us > now_us).map(|token| token.account)
    }

    /// Makes tokens invalid: one account's, or all.
    pub(crate) fn invalidate(&self, account: Option<usize>) {
        let mut valid = self.valid.write().unwrap_or_else(PoisonError::into_inner);
        valid.retain(|_, token| account.is_some_and(|account| token.account != account));
    }
}

#[cfg(test)]
mod tests {
    use super::{Tokens, signature};

    #[test]
    fn the_documented_signature() {
        assert_eq!(signature("1", "1569397773", "2"), "258eec3118705112b2c53dc8043d4d34");
    }

    #[test]
    fn tokens_expire_and_can_replace_each_other() {
        let tokens = Tokens::default();
        tokens.add("a".into(), 0, 0, 100, false);
        tokens.add("b".into(), 0, 0, 200, false);
        assert_eq!((tokens.account("a", 99), tokens.account("a", 100)), (Some(0), None));
        tokens.add("c".into(), 0, 50, 100, true);
        assert_eq!((tokens.account("b", 50), tokens.account("c", 50)), (None, Some(0)));
        tokens.invalidate(Some(0));
        assert_eq!(tokens.account("c", 50), None);
    }
}
