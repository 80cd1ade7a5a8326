//! Stand-ins for the three vendors on one HTTP server, for `campaignd simulate`, `campaignd demo` and tests.
//!
//! Written from the vendors' documents alone. It must never share code with the `vendors` crate: a
//! misreading of a document would then pass its own test. It keeps a ledger of every message that it
//! accepted, which is the witness in tests: what is not in the ledger never reached anybody.
//!
//! Default credentials: Exotel sid `acme`, key `exotel-key`, token `exotel-token`; sobot.io app id `sobot-app`,
//! app key `sobot-app-key`; sobot.in access key `inbox-access-key`, secret key `inbox-secret-key`.
//!
//! Pages for other processes, all under `/_simulator`:
//!
//! | page | does |
//! | --- | --- |
//! | GET `totals.json` | counts, cheap |
//! | GET `ledger.json` | counts, recipients, duplicates by vendor |
//! | GET `messages.csv`, `arrivals.csv` | every accepted message, every send request |
//! | GET `requests.json` | the last send requests, whole |
//! | GET, POST `faults` | the rules in force with their counts; a list of [`FaultRule`] replaces them |
//! | GET, POST `callbacks` | [`CallbackCounts`]; [`CallbackOptions`] for messages accepted from now on |
//! | POST `callbacks/replay` | every report once more, `{"vendor": …}` or all |
//! | POST `callback_urls` | `{"sobot_io": url, "sobot_in/ACCESS_KEY": url, "exotel": default url}` |
//! | POST `inbound` | fires an [`Inbound`] |
//! | POST `tokens/invalidate` | sobot.io's tokens are invalid from now on |

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
