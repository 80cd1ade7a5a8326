//! The words of campaignd and the rules between them.
//!
//! Everything here is pure: no I/O, no async, no SQL, no HTTP, no system clock and no randomness. A rule that
//! needs the time or a random number is handed one. The words are those of the HTTP interface; no vendor is named.

pub mod campaign;
pub mod clock;
pub mod counts;
pub mod decide;
pub mod disposition;
pub mod event;
pub mod fault_class;
pub mod field_error;
pub mod limits;
pub mod message;
pub mod number_kind;
pub mod phone;
pub mod phone_input;
mod phone_shortcut;
pub mod recipient_zones;
pub mod reply_words;
pub mod report;
pub mod retry;
pub mod status;
pub mod task;
pub mod template;
pub mod verdict;
pub mod watch;

pub use clock::{Clock, Random};
pub use field_error::FieldError;
pub use phone::Phone;
