//! What a sending window promises, against a look at the clocks at every minute.

use chrono::NaiveTime;
use proptest::prelude::*;

use super::*;
use crate::campaign::{SendingWindow, WindowZone};

fn window(from: &str, to: &str, days: &[&str]) -> OpenHours {
    let days = (!days.is_empty()).then(|| days.iter().map(|&day| day.to_owned()).collect());
    let window =
        SendingWindow { from: from.to_owned(), to: to.to_owned(), days, time_zone: "recipient".to_owned() };
    let compiled = window.compile().unwrap();
    assert_eq!(compiled.zone, WindowZone::Recipient);
    compiled.hours
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// From, to, days, zone, an instant, the next opening, the closing.
const KNOWN: &str = "
    # Before, at, within, and at the end of an ordinary day (2026-11-23 is a Monday).
    09:00 21:00 all Asia/Kolkata 2026-11-23T03:29:59Z 2026-11-23T03:30:00Z 2026-11-23T03:29:59Z
    09:00 21:00 all Asia/Kolkata 2026-11-23T03:30:00Z 2026-11-23T03:30:00Z 2026-11-23T15:30:00Z
    09:00 21:00 all Asia/Kolkata 2026-11-23T15:29:59Z 2026-11-23T15:29:59Z 2026-11-23T15:30:00Z
    09:00 21:00 all Asia/Kolkata 2026-11-23T15:30:00Z 2026-11-24T03:30:00Z 2026-11-23T15:30:00Z
    # Over the weekend.
    09:00 21:00 mon,fri Asia/Kolkata 2026-11-27T15:30:00Z 2026-11-30T03:30:00Z 2026-11-27T15:30:00Z
    # Over midnight: the day is the one on which it opens, Sunday's ends on Monday.
    22:00 06:00 sun Asia/Kolkata 2026-11-23T00:29:00Z 2026-11-23T00:29:00Z 2026-11-23T00:30:00Z
    22:00 06:00 sun Asia/Kolkata 2026-11-22T02:00:00Z 2026-11-22T16:30:00Z 2026-11-22T02:00:00Z
    # Days that touch are one.
    00:00 24:00 sat,sun,mon Asia/Kolkata 2026-11-21T00:00:00Z 2026-11-21T00:00:00Z 2026-11-23T18:30:00Z
    00:00 00:00 sat Asia/Kolkata 2026-11-21T00:00:00Z 2026-11-21T00:00:00Z 2026-11-21T18:30:00Z
    09:00 09:00 sat Asia/Kolkata 2026-11-21T04:00:00Z 2026-11-21T04:00:00Z 2026-11-22T03:30:00Z
    # Always.
    00:00 24:00 all Europe/Berlin 2026-03-29T00:30:00Z 2026-03-29T00:30:00Z never
    09:00 09:00 all Europe/Berlin 2026-03-29T00:30:00Z 2026-03-29T00:30:00Z never
    # Clocks skip 02:00 to 03:00: it opens at the end of the gap, or not at all that day.
    02:30 05:00 all Europe/Berlin 2026-03-28T12:00:00Z 2026-03-29T01:00:00Z 2026-03-28T12:00:00Z
    02:15 02:45 all Europe/Berlin 2026-03-28T12:00:00Z 2026-03-30T00:15:00Z 2026-03-28T12:00:00Z
    02:15 02:45 sun Europe/Berlin 2026-03-28T12:00:00Z 2026-04-05T00:15:00Z 2026-03-28T12:00:00Z
    01:00 02:30 all Europe/Berlin 2026-03-29T00:30:00Z 2026-03-29T00:30:00Z 2026-03-29T01:00:00Z
    # Clocks show 02:00 to 03:00 twice: it closes at 02:30 and opens again at the second 02:00.
    01:00 02:30 all Europe/Berlin 2026-10-25T00:00:00Z 2026-10-25T00:00:00Z 2026-10-25T00:30:00Z
    01:00 02:30 all Europe/Berlin 2026-10-25T00:30:00Z 2026-10-25T01:00:00Z 2026-10-25T00:30:00Z
    01:00 02:30 all Europe/Berlin 2026-10-25T01:00:00Z 2026-10-25T01:00:00Z 2026-10-25T01:30:00Z
    # Midnight is skipped: Sunday begins at 01:00.
    00:00 08:00 sun America/Santiago 2026-09-06T03:59:59.5Z 2026-09-06T04:00:00Z 2026-09-06T03:59:59.5Z
";

#[test]
fn windows_open_and_close_by_the_clocks_of_their_zone() {
    for row in KNOWN.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with('#')) {
        let [from, to, days, zone, at, opens, closes] = row.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let days: Vec<_> = days.split(',').filter(|days| *days != "all").collect();
        let hours = window(from, to, &days);
        let zones: [Tz; 1] = [zone.parse().unwrap()];
        assert_eq!(hours.next_opening(&zones, utc(at)), Some(utc(opens)), "{row}");
        assert_eq!(hours.is_open(&zones, utc(at)), at == opens, "{row}");
        let closes = (closes != "never").then(|| utc(closes));
        assert_eq!(hours.closes_at(&zones, utc(at)), closes, "{row}");
    }
}

#[test]
fn several_zones_are_open_when_all_are() {
    let hours = window("09:00", "21:00", &[]);
    let zones = [Tz::America__New_York, Tz::America__Los_Angeles];
    let at = utc("2026-11-23T14:00:00Z");
    assert!(hours.is_open(&zones[..1], at) && !hours.is_open(&zones, at));
    assert_eq!(hours.next_opening(&zones, at), Some(utc("2026-11-23T17:00:00Z")));
    assert_eq!(hours.closes_at(&zones, utc("2026-11-23T17:00:00Z")), Some(utc("2026-11-24T02:00:00Z")));
    assert_eq!(hours.next_opening(&zones, utc("2026-11-24T02:00:00Z")), Some(utc("2026-11-24T17:00:00Z")));
    // An hour of the day that the two never have at once.
    assert_eq!(window("09:00", "10:00", &[]).next_opening(&zones, at), None);
    assert_eq!(hours.next_opening(&[], at), Some(at));
}

#[test]
fn a_wrong_window_is_named_by_field() {
    let right = SendingWindow {
        from: "09:00".to_owned(),
        to: "21:00".to_owned(),
        days: None,
        time_zone: "Asia/Kolkata".to_owned(),
    };
    assert_eq!(right.compile().map(|window| window.zone), Ok(WindowZone::Named(Tz::Asia__Kolkata)));
    for (wrong, field) in [
        (SendingWindow { days: Some(Vec::new()), ..right.clone() }, "sending_window.days"),
        (SendingWindow { from: "24:00".to_owned(), ..right.clone() }, "sending_window.from"),
        (SendingWindow { to: "24:30".to_owned(), ..right.clone() }, "sending_window.to"),
        (SendingWindow { time_zone: "Recipient".to_owned(), ..right.clone() }, "sending_window.time_zone"),
    ] {
        let errors = wrong.compile().unwrap_err();
        assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), [field]);
    }
}

const ZONES: [Tz; 7] = [
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kolkata,
    Tz::Africa__Casablanca,
    Tz::America__Santiago,
    Tz::Pacific__Apia,
];

/// Read off the clock on the wall.
fn shows_open(zone: Tz, at: DateTime<Utc>, days: &[Weekday], from: u16, to: u16) -> bool {
    let shown = at.with_timezone(&zone);
    let minute = u16::try_from(shown.time().signed_duration_since(NaiveTime::MIN).num_minutes()).unwrap();
    let (today, yesterday) = (days.contains(&shown.weekday()), days.contains(&shown.weekday().pred()));
    match from < to {
        true => today && (from..to).contains(&minute),
        false => today && minute >= from || yesterday && minute < to,
    }
}

fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    // Most near a change of clocks; the others anywhere.
    let near = prop::sample::select(vec![
        utc("2026-03-29T01:00:00Z"),
        utc("2026-10-25T01:00:00Z"),
        utc("2026-03-08T07:00:00Z"),
        utc("2026-11-01T06:00:00Z"),
        utc("2026-10-03T15:30:00Z"),
        utc("2026-04-04T15:00:00Z"),
        utc("2026-02-15T02:00:00Z"),
        utc("2026-09-06T04:00:00Z"),
        utc("2011-12-30T10:00:00Z"),
    ]);
    let near = (near, -200_000..100_000_i64).prop_map(|(at, seconds)| at + Duration::seconds(seconds));
    let anywhere = (1_104_537_600..2_145_916_800_i64).prop_map(|at| DateTime::from_timestamp(at, 0).unwrap());
    prop_oneof![3 => near, 1 => anywhere]
}

proptest! {
    #[test]
    fn it_opens_and_closes_when_the_clocks_say_so(
        zones in prop::sample::subsequence(&ZONES[..], 1..=2),
        days in prop::sample::subsequence((0..7).map(|day| Weekday::try_from(day).unwrap()).collect::<Vec<_>>(), 1..=7),
        (from, to) in (0..1440_u16, 0..=1440_u16),
        at in instants(),
    ) {
        let hours = OpenHours::new(days.clone(), from, to);
        let is_open = |at| zones.iter().all(|zone| shows_open(*zone, at, &days, from, to));
        prop_assert_eq!(hours.is_open(&zones, at), is_open(at));
        let horizon = at + Duration::days(2);
        let minutes = || std::iter::successors(Some(at), |at| {
            let next = at.with_second(0).unwrap() + Duration::minutes(1);
            (next < horizon).then_some(next)
        });
        let soon = |found: Option<DateTime<Utc>>| found.filter(|found| *found < horizon);
        prop_assert_eq!(soon(hours.next_opening(&zones, at)), minutes().find(|at| is_open(*at)));
        prop_assert_eq!(soon(hours.closes_at(&zones, at)), minutes().find(|at| !is_open(*at)));
    }
}
