//! Contact cards, which Exotel and sobot.io take over from WhatsApp.

use serde_json::Value;

use crate::check::{Checked, Wrong, as_object, given, invalid, list, object, optional_text, text};

const NAME_PARTS: [&str; 5] =
    ["name.first_name", "name.last_name", "name.middle_name", "name.suffix", "name.prefix"];

/// A list of contacts, each with a full name and at least one part of it ("Name Object").
pub(crate) fn contacts(contacts: &[Value]) -> Checked {
    if contacts.is_empty() {
        return invalid(Wrong::Missing, "contacts", "must name at least one contact");
    }
    for contact in contacts {
        let contact = as_object(contact, "contacts")?;
        let name = object(contact, "contacts.name")?;
        text(name, "name.formatted_name", usize::MAX)?;
        let mut parts = 0;
        for part in NAME_PARTS {
            parts += usize::from(optional_text(name, part, usize::MAX)?.is_some());
        }
        if parts == 0 {
            return invalid(Wrong::Missing, "contacts.name", "needs one more part beside formatted_name");
        }
        if given(contact, "contacts.phones").is_some() {
            for phone in list(contact, "contacts.phones")? {
                optional_text(as_object(phone, "contacts.phones")?, "phones.phone", usize::MAX)?;
            }
        }
    }
    Ok(())
}
