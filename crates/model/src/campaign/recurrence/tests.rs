//! What a recurrence promises, against a walk over every minute of every change of clocks.

use chrono::{Duration, TimeZone, Timelike, Weekday};
use proptest::prelude::*;

use super::*;
use crate::campaign::{Plan, Schedule};

/// Zones whose clocks change in every way that is known.
const ZONES: [Tz; 8] = [
    Tz::Europe__Berlin,
    Tz::America__New_York,
    // Half an hour.
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kolkata,
    // Standard time during Ramadan only.
    Tz::Africa__Casablanca,
    // At midnight.
    Tz::America__Santiago,
    // A whole day was skipped in 2011.
    Tz::Pacific__Apia,
    Tz::Asia__Kathmandu,
];

type Matches = fn(&NaiveDateTime) -> bool;

/// Cron lines, and what they mean said another way.
const LINES: [(&str, Matches); 10] = [
    ("0 9 * * MON", |t| t.weekday() == Weekday::Mon && t.hour() == 9 && t.minute() == 0),
    ("30 2 * * *", |t| t.hour() == 2 && t.minute() == 30),
    ("*/15 * * * *", |t| t.minute() % 15 == 0),
    ("* * * * *", |_| true),
    ("0 0 * * *", |t| t.hour() == 0 && t.minute() == 0),
    ("5,50 0-3 * * *", |t| t.hour() <= 3 && [5, 50].contains(&t.minute())),
    ("15 2 * MAR-APR,sep-nov SUN", |t| {
        [3, 4, 9, 10, 11].contains(&t.month())
            && t.weekday() == Weekday::Sun
            && t.hour() == 2
            && t.minute() == 15
    }),
    ("59 23 L * *", |t| (*t + Duration::days(1)).day() == 1 && t.hour() == 23 && t.minute() == 59),
    ("0 */6 * * 0#1,0#5", |t| {
        t.weekday() == Weekday::Sun && (t.day() <= 7 || t.day() > 28) && t.hour() % 6 == 0 && t.minute() == 0
    }),
    // Both days given: one of them is enough, as cron has always had it.
    ("20 1 1 * FRI", |t| (t.day() == 1 || t.weekday() == Weekday::Fri) && t.hour() == 1 && t.minute() == 20),
];

fn recurrence(cron: &str, zone: Tz) -> Recurrence {
    Recurrence::new(cron, zone, None).unwrap_or_else(|error| panic!("{error}"))
}

fn local(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Whole days of UTC around every change of clocks from 2010 to 2020, those that touch joined.
fn days_of_changes(zone: Tz) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let offset = |at: DateTime<Utc>| local(zone, at) - at.naive_utc();
    let first = utc("2010-01-01T00:00:00Z");
    let days = (0..11 * 365).map(|day| first + Duration::days(day));
    days.filter(|day| offset(*day) != offset(*day + Duration::days(1)))
        .map(|day| (day - Duration::days(1), day + Duration::days(2)))
        .collect()
}

/// The firings of each line after `from` up to `to`, found by walking over every minute: a minute fires when the clocks
/// show, for the first time, or have just skipped a local time that matches.
fn walked(lines: &[Matches], zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Vec<DateTime<Utc>>> {
    let mut latest = local(zone, from);
    let mut at = from;
    let mut firings = vec![Vec::new(); lines.len()];
    while at + Duration::minutes(1) <= to {
        at += Duration::minutes(1);
        let shown = local(zone, at);
        while latest < shown {
            latest += Duration::minutes(1);
            for (firings, matches) in firings.iter_mut().zip(lines) {
                if matches(&latest) && firings.last() != Some(&at) {
                    firings.push(at);
                }
            }
        }
    }
    firings
}

#[test]
fn every_firing_around_every_change_of_clocks_happens_once() {
    let meanings = LINES.map(|(_, matches)| matches);
    for zone in ZONES {
        let recurrences = LINES.map(|(line, _)| recurrence(line, zone));
        let stretches = days_of_changes(zone);
        let changes = zone != Tz::Asia__Kolkata && zone != Tz::Asia__Kathmandu;
        assert_eq!(changes, !stretches.is_empty(), "{zone}");
        for (from, to) in stretches {
            let walked = walked(&meanings, zone, from, to);
            for ((recurrence, walked), (line, _)) in recurrences.iter().zip(walked).zip(LINES) {
                let found: Vec<_> = recurrence.upcoming(from).take_while(|at| *at <= to).collect();
                assert_eq!(found, walked, "{line} {zone} {from}");
            }
        }
    }
}

/// A line, a zone, an instant, and the two firings after it.
const KNOWN: &[(&str, &str, &str, [&str; 2])] = &[
    // 09:00 stays 09:00 over both changes.
    (
        "0 9 * * MON",
        "Europe/Berlin",
        "2026-03-22T12:00:00Z",
        ["2026-03-23T08:00:00Z", "2026-03-30T07:00:00Z"],
    ),
    (
        "0 9 * * MON",
        "Europe/Berlin",
        "2026-10-18T12:00:00Z",
        ["2026-10-19T07:00:00Z", "2026-10-26T08:00:00Z"],
    ),
    // Skipped, and shown twice.
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    // Asked while the clocks show it for the second time.
    ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", ["2026-10-26T01:30:00Z", "2026-10-27T01:30:00Z"]),
    // Midnight itself is skipped.
    (
        "0 0 * * *",
        "America/Santiago",
        "2026-09-05T12:00:00Z",
        ["2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"],
    ),
    // The 30th never was: it fires as the 31st begins, and once with it.
    ("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z", ["2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]),
    ("0 0 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z", ["2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]),
    (
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T12:00:00Z",
        ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    ),
    ("0 0 29 2 *", "Asia/Kolkata", "2026-01-01T00:00:00Z", ["2028-02-28T18:30:00Z", "2032-02-28T18:30:00Z"]),
    ("0 8 * * 7", "Asia/Kolkata", "2026-11-22T00:00:00Z", ["2026-11-22T02:30:00Z", "2026-11-29T02:30:00Z"]),
    (
        "0 8 * * friL",
        "Asia/Kolkata",
        "2026-11-22T00:00:00Z",
        ["2026-11-27T02:30:00Z", "2026-12-25T02:30:00Z"],
    ),
];

#[test]
fn known_days_come_out_as_known() {
    for (cron, zone, after, expected) in KNOWN {
        let recurrence = recurrence(cron, zone.parse().unwrap());
        let found: Vec<_> = recurrence.upcoming(utc(after)).take(2).collect();
        assert_eq!(found, expected.map(utc), "{cron} {zone} after {after}");
    }
}

#[test]
fn a_wrong_line_is_refused_by_the_field_that_is_wrong() {
    for (cron, named) in [
        ("", "it has 0"),
        ("0 9 * *", "it has 4"),
        ("0 0 9 * * MON", "it has 6"),
        ("@daily", "it has 1"),
        ("60 9 * * MON", "`60` is no minute"),
        ("0 24 * * *", "`24` is no hour"),
        ("0 MON * * *", "`MON` is no hour"),
        ("@daily 9 * * MON", "`@daily` is no minute"),
        ("0 9 32 * *", "`32` is no day"),
        ("0 9 0 * *", "`0` is no day"),
        ("0 9 * 13 *", "`13` is no month"),
        ("0 9 * 1FEB *", "`1FEB` is no month"),
        ("0 9 * MON *", "`MON` is no month"),
        ("0 9 * * 8", "`8` is no weekday"),
        ("0 9 * * MONDAY", "`MONDAY` is no weekday"),
        ("0 9 * * FEB", "`FEB` is no weekday"),
        ("0 9 * * MON#6", "`MON#6` is no weekday"),
        ("*/0 9 * * *", "`*/0` is no minute"),
        ("0 17-9 * * *", "`17-9` is no hour"),
        ("0 9 31 2 *", "never fires"),
        ("0 9 31 4,6,9,11 *", "never fires"),
    ] {
        let error = Recurrence::new(cron, Tz::UTC, None).unwrap_err();
        assert_eq!(error.field, "schedule.cron");
        assert!(error.message.contains(named), "{cron}: {}", error.message);
    }
}

fn plan(cron: &str, zone: Option<&str>, until: Option<&str>) -> Result<Plan, FieldError> {
    let [cron, zone, until] = [Some(cron), zone, until].map(|text| text.map(str::to_owned));
    Schedule { at: None, cron, time_zone: zone, until }.plan()
}

#[test]
fn the_end_belongs_to_it() {
    let before = utc("2026-11-29T00:00:00Z");
    for (until, runs) in [
        ("2026-12-07T09:00:00", 2),
        ("2026-12-07T08:59:59", 1),
        ("2026-12-07T03:30:00Z", 2),
        ("2026-12-07T03:29:59Z", 1),
        // The whole day.
        ("2026-12-07", 2),
        ("2026-12-06", 1),
    ] {
        let plan = plan("0 9 * * MON", Some("Asia/Kolkata"), Some(until)).unwrap();
        assert_eq!(plan.upcoming(before).count(), runs, "{until}");
        assert_eq!(plan.first(before).map_err(|error| error.field), Ok(utc("2026-11-30T03:30:00Z")));
        let error = plan.first(utc("2026-12-07T03:30:00Z")).unwrap_err();
        assert_eq!(error.field, "schedule.until");
    }
}

#[test]
fn a_wrong_schedule_is_named_by_field() {
    for (zone, until, field) in [
        (None, None, "schedule.time_zone"),
        (Some("Asia/Nowhere"), None, "schedule.time_zone"),
        (Some("Asia/Kolkata"), Some("next year"), "schedule.until"),
        (Some("Asia/Kolkata"), Some("1999-01-01"), "schedule.until"),
    ] {
        assert_eq!(plan("0 9 * * MON", zone, until).unwrap_err().field, field);
    }
    let once =
        Schedule { at: Some("2026-12-01T09:00:00Z".to_owned()), ..Schedule::default() }.plan().unwrap();
    assert_eq!(once.upcoming(utc("2026-12-01T08:59:59Z")).count(), 1);
    assert_eq!(once.upcoming(utc("2026-12-01T09:00:00Z")).count(), 0);
    let both = Schedule { at: Some(String::new()), cron: Some(String::new()), ..Schedule::default() };
    assert_eq!(both.plan().unwrap_err().field, "schedule");
}

/// Most near a change of clocks in one of the zones; the others anywhere.
fn seconds() -> impl Strategy<Value = i64> {
    let changes = [
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-03-08T07:00:00Z",
        "2026-11-01T06:00:00Z",
        "2026-10-03T15:30:00Z",
        "2026-04-04T15:00:00Z",
        "2026-02-15T02:00:00Z",
        "2026-09-06T04:00:00Z",
        "2011-12-30T10:00:00Z",
    ];
    let near = prop::sample::select(changes.map(|change| utc(change).timestamp()).to_vec());
    let near = (near, -30_000..20_000_i64).prop_map(|(change, seconds)| change + seconds);
    prop_oneof![3 => near, 1 => 1_104_537_600..2_145_916_800_i64]
}

proptest! {
    #[test]
    fn firings_climb_and_are_those_of_the_walk(
        zone in prop::sample::select(&ZONES[..]),
        (line, matches) in prop::sample::select(&LINES[..]),
        second in seconds(),
    ) {
        let after = Utc.timestamp_opt(second, 0).unwrap();
        let recurrence = recurrence(line, zone);
        let found: Vec<_> = recurrence.upcoming(after).take(20).collect();
        prop_assert!(after < found[0] && found.is_sorted_by(|a, b| a < b));
        for firing in &found {
            let shown = local(zone, *firing);
            let before = local(zone, *firing - Duration::minutes(1));
            let ends_a_gap = shown - before > Duration::minutes(1);
            prop_assert!(matches(&shown) || ends_a_gap, "{} {} {}", line, zone, firing);
        }
        // From the whole minute on, and an hour at least: the walk must know what was shown before a change of clocks.
        let from = after - Duration::seconds(second % 60) - Duration::hours(2);
        let to = from + Duration::hours(12);
        let walked = walked(&[matches], zone, from, to).concat();
        let found: Vec<_> = recurrence.upcoming(after).take_while(|at| *at <= to).collect();
        prop_assert!(found.iter().eq(walked.iter().filter(|at| **at > after)), "{} {} {}", line, zone, after);
    }

    #[test]
    fn no_text_makes_it_panic(line in "[-0-9A-Z*,/#?LW@+ ]{0,30}") {
        if let Ok(recurrence) = Recurrence::new(&line, Tz::Europe__Berlin, None) {
            prop_assert!(recurrence.next_after(Utc.timestamp_opt(1_800_000_000, 0).unwrap()).is_some());
        }
    }
}
