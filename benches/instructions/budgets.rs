//! The most instructions that each function may need: what was counted, and a tenth more.
//!
//! A change that needs more raises the number here in the same commit, whose message says what is bought with it. One
//! that needs much less lowers it, so that the gain is guarded too. Counted on x86-64 with the compiler of Cargo.toml.

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig};

/// Fails the run when the function needs more.
pub fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]).format([EventKind::Ir]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

// A hundred rows of a file.
pub const PHONES_PLAIN: u64 = 43_060;
pub const PHONES_MESSY: u64 = 45_090;
pub const PHONES_LONG_WAY: u64 = 941_400;

// A hundred messages.
pub const RENDER_EXOTEL: u64 = 274_000;
pub const RENDER_SOBOT_IO: u64 = 271_100;
pub const RENDER_SOBOT_IN: u64 = 315_200;
pub const BODY_OF_A_HUNDRED: u64 = 77_800;

// One answer.
pub const ANSWER_EXOTEL_HUNDRED: u64 = 516_100;
pub const ANSWER_EXOTEL_REFUSED: u64 = 2_620_000;
pub const ANSWER_SOBOT_IO: u64 = 7_560;
pub const ANSWER_SOBOT_IO_REFUSED: u64 = 15_540;
pub const ANSWER_SOBOT_IN: u64 = 6_060;
pub const ANSWER_SOBOT_IN_REFUSED: u64 = 7_330;

// One callback.
pub const CALLBACK_EXOTEL: u64 = 11_600;
pub const CALLBACK_EXOTEL_HUNDRED: u64 = 1_279_000;
pub const CALLBACK_EXOTEL_HUNDRED_CHECKED: u64 = 909_900;
pub const CALLBACK_SOBOT_IO: u64 = 8_590;
pub const CALLBACK_SOBOT_IN: u64 = 5_210;
pub const CALLBACK_PRINTED: u64 = 44_520;

// A hundred recipients.
pub const STATUSES_CLIMB: u64 = 523_600;
pub const STATUSES_FAIL: u64 = 679_200;
