//! Message ids in the vendors' forms, computed from a message's number in the ledger, so that millions of
//! them need no memory. Never the same for two numbers or two runs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::random::mix;
use crate::vendor::Vendor;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Odd, so that multiplying by it is reversible.
const STRIDE: u64 = 0xD134_2543_DE82_EF95;

/// Makes ids; `key` differs from run to run.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    key: u64,
}

impl Ids {
    pub(crate) fn new(key: u64) -> Ids {
        Ids { key }
    }

    /// The id of message `sequence`, in the vendor's documented form.
    pub(crate) fn message(self, vendor: Vendor, sequence: u32, to: u64) -> String {
        let number = u64::from(sequence).wrapping_mul(STRIDE) ^ self.key;
        match vendor {
            Vendor::Exotel => sid(number, mix(number ^ self.key)),
            Vendor::SobotIo | Vendor::SobotIn => wamid(number, to),
        }
    }

    /// An id for a request, as in Exotel's `request_id`: 32 hexadecimal digits.
    pub(crate) fn request(self, number: u64) -> String {
        format!("{:016x}{:016x}", mix(number ^ self.key), mix(self.key.wrapping_add(number)))
    }
}

/// 31 characters ending in `16a4`, as in `2FdiiEQUosckPhpZfuVwfjxiSlc16a4`.
fn sid(high: u64, low: u64) -> String {
    let mut rest = (u128::from(high) << 64) | u128::from(low);
    let mut text = String::with_capacity(31);
    text.push_str("2Fdii");
    for _ in 0..22 {
        let digit = usize::try_from(rest % 62).unwrap_or(0);
        text.push(char::from(BASE62[digit]));
        rest /= 62;
    }
    text.push_str("16a4");
    text
}

/// The documented samples decode to: 1C 18, the phone's length and digits, 15 02 00 11 18 12, 18 hexadecimal
/// digits, 00.
fn wamid(number: u64, to: u64) -> String {
    let phone = to.to_string();
    let mut raw = Vec::with_capacity(48);
    raw.extend_from_slice(&[0x1C, 0x18, u8::try_from(phone.len()).unwrap_or(0)]);
    raw.extend_from_slice(phone.as_bytes());
    raw.extend_from_slice(&[0x15, 0x02, 0x00, 0x11, 0x18, 0x12]);
    raw.extend_from_slice(format!("{number:016X}{:02X}", number % 251).as_bytes());
    raw.push(0);
    format!("wamid.{}", STANDARD.encode(raw))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Ids;
    use crate::vendor::Vendor;

    #[test]
    fn ids_have_the_documented_form_and_never_repeat() {
        let ids = Ids::new(0x1234_5678_9ABC_DEF0);
        for vendor in Vendor::ALL {
            let all: HashSet<String> = (0..20_000).map(|n| ids.message(vendor, n, 919_988_998_899)).collect();
            assert_eq!(all.len(), 20_000);
        }
        let sid = ids.message(Vendor::Exotel, 1, 1);
        assert_eq!((sid.len(), sid.ends_with("16a4")), ("2FdiiEQUosckPhpZfuVwfjxiSlc16a4".len(), true));
        let wamid = ids.message(Vendor::SobotIn, 1, 919_970_585_556);
        let documented = "wamid.HBgMOTE5OTcwNTg1NTU2FQIAERgSQjhGRDQ2REFBQjAxMjJBM0Q1AA==";
        assert_eq!(wamid.len(), documented.len());
        assert_eq!(wamid[..34], documented[..34]);
        assert_eq!(ids.request(1).len(), 32);
    }
}
