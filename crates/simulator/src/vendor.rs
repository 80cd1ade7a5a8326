//! The names of the three vendors, as the configuration file of the daemon spells them.

use serde::{Deserialize, Serialize};

/// One of the three vendors that the simulator stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// Exotel's WhatsApp messages API: up to 100 messages a call.
    Exotel,
    /// Sobot's open platform (sobot.io): a token, one message a call.
    SobotIo,
    /// Sobot's team inbox (sobot.in), another company: two header keys, one message a call.
    SobotIn,
}

impl Vendor {
    /// All vendors, in a fixed order.
    pub const ALL: [Vendor; 3] = [Vendor::Exotel, Vendor::SobotIo, Vendor::SobotIn];

    /// The name as in the daemon's configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Exotel => "exotel",
            Vendor::SobotIo => "sobot_io",
            Vendor::SobotIn => "sobot_in",
        }
    }
}

impl std::fmt::Display for Vendor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
