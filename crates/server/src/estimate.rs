//! How long a campaign takes, and what it costs, before it is launched.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use model::{Phone, campaign::Pace, number_kind};
use store::{PgConnection, campaigns::Definition, recipients};
use vendors::prices::Prices;

use crate::{definition::Checked, problem::Answer};

/// Numbers that are looked at for the countries' shares. With fewer recipients all are.
const SAMPLE: i32 = 10_000;

/// How long it takes from `now` on, and what it costs.
pub async fn estimate(
    conn: &mut PgConnection,
    checked: &Checked<'_>,
    definition: &Definition,
    now: DateTime<Utc>,
) -> Answer<::api::Estimate> {
    let recipients = checked.audience.totals.accepted;
    let pace = pace(checked, definition);
    let starts_at = definition.schedule.as_ref().and_then(|schedule| schedule.first(now).ok());
    let forecast = pace.forecast(recipients, starts_at.map_or(now, |at| at.max(now)));
    let cost = match &checked.account.prices {
        Some(prices) => {
            let phones = recipients::phones_at(conn, definition.audience_id, &sampled(recipients)).await?;
            Some(cost(prices, &phones, recipients))
        }
        None => None,
    };
    // Between a canary and the others nobody is sent to.
    let pause =
        definition.canary.map_or(TimeDelta::zero(), |canary| TimeDelta::seconds(canary.wait_seconds.into()));
    let ends_at = forecast.and_then(|forecast| forecast.ends_at?.checked_add_signed(pause));
    let starts_at = forecast.map(|forecast| forecast.begins_at);
    Ok(::api::Estimate {
        recipients,
        messages_per_second: pace.messages_per_second,
        seconds: ends_at.zip(starts_at).map(|(end, start)| (end - start).num_seconds()),
        starts_at,
        ends_at,
        cost,
    })
}

/// What limits it: the slowest of all rates, the sender's recipients a day, the window.
#[expect(clippy::cast_precision_loss, reason = "a batch of at most 100")]
fn pace(checked: &Checked<'_>, definition: &Definition) -> Pace {
    let account = checked.account;
    let sender = account.sender(&definition.sender);
    let of_account = account.requests_per_second.map(|requests| requests * account.batch_size as f64);
    let of_sender = sender.and_then(|sender| sender.messages_per_second);
    let rates = [of_sender, of_account, definition.messages_per_second];
    Pace {
        messages_per_second: rates.into_iter().flatten().reduce(f64::min),
        daily_recipients: sender.and_then(|sender| sender.daily_recipients),
        window: definition.sending_window.as_ref().and_then(|window| window.compile().ok()),
    }
}

/// The recipients' numbers to look at: all, or one out of each of [`SAMPLE`] stretches. Not the same one out of each: rows
/// that alternate between two countries would all be of one.
fn sampled(recipients: i64) -> Vec<i32> {
    let total = i32::try_from(recipients).unwrap_or(i32::MAX);
    if total <= SAMPLE {
        return (1..=total).collect();
    }
    let start = |i: i32| i64::from(i) * i64::from(total) / i64::from(SAMPLE);
    let pick = |i: i32| start(i) + i64::from(scattered(i)) % (start(i + 1) - start(i)) + 1;
    (0..SAMPLE).filter_map(|i| i32::try_from(pick(i)).ok()).collect()
}

/// A number that looks like chance and is always the same (the finalizer of MurmurHash3): a preview repeats itself.
fn scattered(i: i32) -> u32 {
    let mut bits = i.unsigned_abs();
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    bits ^ (bits >> 16)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "an estimate; `as` saturates"
)]
fn cost(prices: &Prices, phones: &[Phone], recipients: i64) -> ::api::Cost {
    let mut countries: BTreeMap<Option<String>, i64> = BTreeMap::new();
    for phone in phones {
        *countries.entry(number_kind::country(*phone)).or_default() += 1;
    }
    let looked_at = i64::try_from(phones.len()).unwrap_or(i64::MAX);
    let share = |n: i64| {
        if looked_at == recipients {
            n
        } else {
            (n as f64 * recipients as f64 / looked_at as f64).round() as i64
        }
    };
    let of_country = |(country, n): (Option<String>, i64)| {
        let recipients = share(n);
        let amount = prices.of(country.as_deref()).map(|price| rounded(price * recipients as f64));
        ::api::CountryCost { country, recipients, amount }
    };
    let mut by_country: Vec<_> = countries.into_iter().map(of_country).collect();
    by_country.sort_by(|a, b| b.amount.partial_cmp(&a.amount).unwrap_or(std::cmp::Ordering::Equal));
    ::api::Cost {
        amount: rounded(by_country.iter().filter_map(|one| one.amount).sum()),
        currency: prices.currency.clone(),
        is_exact: looked_at == recipients,
        by_country,
    }
}

/// To a ten-thousandth: prices of one message have that many decimals.
fn rounded(amount: f64) -> f64 {
    (amount * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phones(groups: &[(&str, usize)]) -> Vec<Phone> {
        groups.iter().flat_map(|(phone, n)| vec![phone.parse().unwrap(); *n]).collect()
    }

    fn prices(default: Option<f64>) -> Prices {
        Prices {
            currency: "USD".to_owned(),
            default,
            by_country: BTreeMap::from([("IN".to_owned(), 0.0088)]),
        }
    }

    #[test]
    fn few_recipients_are_counted_one_by_one() {
        assert_eq!(sampled(3), [1, 2, 3]);
        let phones = phones(&[("+919876543210", 3), ("+4915112345678", 2), ("+999000000000", 1)]);
        let cost = cost(&prices(Some(0.05)), &phones, 6);
        let shown: Vec<_> = cost
            .by_country
            .iter()
            .map(|one| (one.country.as_deref().unwrap_or("-"), one.recipients, one.amount.unwrap()))
            .collect();
        assert_eq!(shown, [("DE", 2, 0.1), ("-", 1, 0.05), ("IN", 3, 0.0264)]);
        assert_eq!((cost.amount, cost.is_exact), (0.1764, true));
    }

    #[test]
    fn many_are_estimated_from_rows_spread_over_the_audience() {
        for total in [10_001, 20_000, 10_000_000, i64::from(i32::MAX)] {
            let nos = sampled(total);
            assert!(nos.len() == 10_000 && nos.windows(2).all(|pair| pair[0] < pair[1]), "{total}");
            assert!(nos[0] >= 1 && i64::from(nos[9_999]) <= total, "{total}");
        }
        // Where countries take turns, both are found.
        let odd = sampled(20_000).iter().filter(|no| **no % 2 == 1).count();
        assert!((4_700..5_300).contains(&odd), "{odd}");
        let phones = phones(&[("+919876543210", 750), ("+4915112345678", 250)]);
        let cost = cost(&prices(None), &phones, 1_000_000);
        assert_eq!((cost.amount, cost.is_exact), (6_600.0, false));
        let germany = cost.by_country.iter().find(|one| one.country.as_deref() == Some("DE")).unwrap();
        assert_eq!((germany.recipients, germany.amount), (250_000, None));
    }
}
