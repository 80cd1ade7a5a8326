//! What a message costs, as it is configured: a price for each country, for estimates. Nothing is ever billed by it.

use std::collections::BTreeMap;

use model::{FieldError, phone_input::Region};

/// A message never costs more: a slip of the point is found.
const MOST_PER_MESSAGE: f64 = 1000.0;
/// The key beside the countries' that holds for all others.
pub const DEFAULT: &str = "default";

/// What a message costs, by the country of its recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// ISO 4217: `USD`.
    pub currency: String,
    /// In all countries that are not named; none: it is not known there.
    pub default: Option<f64>,
    /// By the two letters of the country.
    pub by_country: BTreeMap<String, f64>,
}

impl Prices {
    /// The prices of a configuration: two letters of a country, or `default`, each with its price.
    ///
    /// # Errors
    /// Every key that is wrong; fields are relative to the table.
    pub fn new(currency: Option<String>, prices: Vec<(String, f64)>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let is_code = |text: &str| text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase());
        let currency = currency.unwrap_or_default();
        if !is_code(&currency) {
            let message = "must name the prices' currency by its three letters, such as \"USD\"";
            errors.push(FieldError::new("currency", message));
        }
        let mut by_country = BTreeMap::new();
        for (country, price) in prices {
            let code = country.to_uppercase();
            let is_region = code.len() == 2 && code.parse::<Region>().is_ok();
            if country != DEFAULT && !is_region {
                let message = "is no country: write the two letters of ISO 3166-1, such as IN, or `default`";
                errors.push(FieldError::new(country.as_str(), message));
            } else if !(0.0..=MOST_PER_MESSAGE).contains(&price) {
                let message = format!("must be the price of one message, 0 to {MOST_PER_MESSAGE}");
                errors.push(FieldError::new(country.as_str(), message));
            }
            by_country.insert(if country == DEFAULT { country } else { code }, price);
        }
        if by_country.is_empty() {
            errors.push(FieldError::new(
                DEFAULT,
                "is missing, and so is every country: write IN = 0.0088, or its like",
            ));
        }
        let default = by_country.remove(DEFAULT);
        if errors.is_empty() { Ok(Self { currency, default, by_country }) } else { Err(errors) }
    }

    /// What a message to this country costs, as far as it is known.
    #[must_use]
    pub fn of(&self, country: Option<&str>) -> Option<f64> {
        country.and_then(|country| self.by_country.get(country).copied()).or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(currency: Option<&str>, prices: &[(&str, f64)]) -> Result<Prices, Vec<FieldError>> {
        let prices = prices.iter().map(|(country, price)| ((*country).to_owned(), *price)).collect();
        Prices::new(currency.map(str::to_owned), prices)
    }

    #[test]
    fn a_country_has_its_price_and_the_others_the_default() {
        let known = prices(Some("USD"), &[("IN", 0.0088), ("default", 0.05)]).unwrap();
        assert_eq!(
            (known.of(Some("IN")), known.of(Some("DE")), known.of(None)),
            (Some(0.0088), Some(0.05), Some(0.05))
        );
        let some = prices(Some("USD"), &[("IN", 0.0088)]).unwrap();
        assert_eq!(some.of(Some("DE")), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fields = |result: Result<Prices, Vec<FieldError>>| {
            result.unwrap_err().into_iter().map(|error| error.field).collect::<Vec<_>>()
        };
        assert_eq!(fields(prices(None, &[("IN", 0.01)])), ["currency"]);
        let many = [("India", 0.01), ("in", 0.01), ("ZZ", 0.01), ("US", -1.0), ("DE", f64::NAN)];
        assert_eq!(fields(prices(Some("USD"), &many)), ["India", "ZZ", "US", "DE"]);
        assert_eq!(fields(prices(Some("dollars"), &[])), ["currency", DEFAULT]);
    }
}
