//! Stand-ins for the three vendors on one HTTP server, for `campaignd simulate`, `campaignd demo` and tests.
//!
//! Written from the vendors' documents alone. It must never share code with the `vendors` crate: a
//! misreading of a document would then pass its own test. It keeps a ledger of every message that it
//! accepted, which is the witness in tests: what is not in the ledger never reached anybody.

mod admin;
mod answer;
mod callbacks;
mod check;
mod clock;
mod customers;
mod exceptions;
mod exotel;
mod exotel_content;
mod faults;
mod ids;
mod inbound;
mod interactive;
mod ledger;
mod media;
mod options;
mod payload;
mod plan;
mod pump;
mod random;
mod records;
mod samples;
mod server;
mod simulator;
mod sobot_in;
mod sobot_in_content;
mod sobot_io;
mod sobot_io_content;
mod sobot_io_other;
mod template_check;
mod templates;
mod tokens;
mod vendor;
mod world;

pub use callbacks::CallbackCounts;
pub use faults::{Endpoint, FaultAction, FaultRule};
pub use inbound::Inbound;
pub use ledger::{AcceptedMessage, Arrival, Duplicate};
pub use options::{
    CallbackOptions, ExotelAccount, FailedCodes, RangeMs, SimulatorOptions, SobotInAccount, SobotIoAccount,
    TokenFailure,
};
pub use samples::SeenRequest;
pub use simulator::{Simulator, SimulatorError};
pub use vendor::Vendor;
