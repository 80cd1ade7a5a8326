//! sobot.in's customers: added, changed and listed by number. Bounded, oldest numbers first in the list.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::check::{Checked, Object, Wrong, as_object, given, invalid, one_of, optional_text, phone, text};

const MOST: usize = 100_000;

#[derive(Default)]
pub(crate) struct Customers {
    /// By account and number: an id, and the fields as given.
    known: Mutex<BTreeMap<(String, u64), (usize, Object)>>,
}

impl Customers {
    /// False when the number is known already.
    pub(crate) fn add(&self, account: &str, body: &[u8]) -> Checked<bool> {
        let request = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let request = as_object(&request, "body")?;
        text(request, "mobile", usize::MAX)?;
        let Some(mobile) = request.get("mobile").and_then(Value::as_str).and_then(|text| phone(text, false))
        else {
            return invalid(Wrong::Phone, "mobile", "Invalid mobile number");
        };
        check(request)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let id = known.len() + 3_418_855;
        if known.len() >= MOST {
            return invalid(Wrong::Value, "mobile", "the account is full");
        }
        match known.entry((account.to_owned(), mobile)) {
            std::collections::btree_map::Entry::Occupied(_) => Ok(false),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert((id, request.clone()));
                Ok(true)
            }
        }
    }

    /// False when the number is not known.
    pub(crate) fn update(&self, account: &str, mobile: &str, body: &[u8]) -> Checked<bool> {
        let Some(mobile) = phone(mobile, false) else {
            return invalid(Wrong::Phone, "mobile_number", "Invalid mobile number");
        };
        let request = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let request = as_object(&request, "body")?;
        check(request)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, customer)) = known.get_mut(&(account.to_owned(), mobile)) else { return Ok(false) };
        customer.extend(request.clone());
        Ok(true)
    }

    pub(crate) fn list(&self, account: &str) -> Vec<Value> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let own = known.iter().filter(|((owner, _), _)| owner == account);
        own.map(|((_, mobile), (id, customer))| {
            let name = customer.get("name").and_then(Value::as_str).unwrap_or_default();
            let (first, last) = name.split_once(' ').unwrap_or((name, ""));
            json!({
                "id": id,
                "name": name,
                "first_name": first,
                "last_name": last,
                "mobile": mobile.to_string(),
            })
        })
        .collect()
    }
}

fn check(request: &Object) -> Checked {
    text(request, "name", 100)?;
    if let Some(email) = optional_text(request, "email", 254)?
        && !email.is_empty()
        && !email.contains('@')
    {
        return invalid(Wrong::Value, "email", "must be a valid address");
    }
    if given(request, "gender").is_some() {
        // "Famale" is the document's own spelling.
        one_of(request, "gender", &["Male", "Female", "Famale"])?;
    }
    if let Some(date) = optional_text(request, "date_of_birth", 10)?
        && chrono::NaiveDate::parse_from_str(date, "%d-%m-%Y").is_err()
    {
        return invalid(Wrong::Value, "date_of_birth", "must be DD-MM-YYYY");
    }
    match given(request, "extra_fields") {
        Some(Value::Object(fields)) if fields.keys().any(|key| key.contains(' ')) => {
            return invalid(Wrong::Value, "extra_fields", "must have keys without spaces");
        }
        Some(Value::Object(_)) | None => {}
        Some(_) => return invalid(Wrong::Type, "extra_fields", "must be an object"),
    }
    match given(request, "labels") {
        Some(Value::Array(labels)) if labels.iter().all(Value::is_string) => Ok(()),
        None => Ok(()),
        Some(_) => invalid(Wrong::Type, "labels", "must be an array of strings"),
    }
}
