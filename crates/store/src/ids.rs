//! Small conversions between our ids and the database's columns.

/// 64 bits of a vendor's id: what the index holds. Two ids may share them, so the full id is compared in the row.
#[must_use]
pub fn vendor_hash(vendor_id: &str) -> i64 {
    // FNV-1a: stable across processes and versions, which the standard library's hasher is not.
    let hash = vendor_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}
