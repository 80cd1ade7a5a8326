//! People who write to a business, each through the vendor's own form.

use simulator::Inbound;

use super::{Account, World, people};

impl World {
    /// A text from person `index` to the account's number, at the address that the vendor has been told.
    pub fn text_of(&self, account: &Account, index: usize, text: &str) -> Inbound {
        let page = format!("/webhooks/{}/{}", account.name, account.webhook_token());
        Inbound::text(account.vendor, &people::digits(index).to_string(), &account.from, text)
            .url(self.url(&page))
    }

    /// Sends it; fails when it is not answered with 200.
    pub async fn person_sends(&self, inbound: &Inbound) {
        assert_eq!(self.simulator.send_inbound(inbound).await, Ok(200), "{inbound:?}");
    }
}
