use super::*;

const TEMPLATE: &str = "offer/en";
const SENDER: &str = "1234567890";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

fn phone() -> Phone {
    Phone::from_digits(919_876_543_210).unwrap()
}

/// Asked for at second 0, over at second 20.
fn unknown(task_id: i64) -> Unknown {
    Unknown {
        task_id,
        no: 1,
        request_id: 7,
        phone: phone(),
        sender: SENDER.to_owned(),
        template: TEMPLATE.to_owned(),
        vendor_id: None,
        since: at(20),
        requested_at: at(0),
        deadline_at: at(20),
        is_first_call: true,
        asked: 0,
    }
}

fn record(id: Option<&str>, seconds: i64) -> Told {
    let failed = ReportedOutcome::Failed { code: "131026".to_owned(), reason: String::new() };
    let record = SendRecord {
        vendor_id: id.map(str::to_owned),
        to: Some(phone()),
        sender: Some(SENDER.to_owned()),
        template_name: Some("offer".to_owned()),
        template_language: None,
        outcome: if id.is_some() { ReportedOutcome::Sent } else { failed },
        sent_at: Some(at(seconds)),
        updated_at: Some(at(seconds)),
    };
    Told { template: TEMPLATE.to_owned(), record }
}

fn known() -> Known {
    Known { senders_compare: true, ..Known::default() }
}

/// (task, id) of what is found, by task.
fn found(unknown: &[Unknown], told: &[Told], known: &Known) -> Vec<(i64, Option<String>)> {
    let mut found: Vec<_> = find(unknown, told, known)
        .into_iter()
        .map(|found| (found.unknown.task_id, found.record.vendor_id.clone()))
        .collect();
    found.sort();
    found
}

fn id(task_id: i64, id: &str) -> (i64, Option<String>) {
    (task_id, Some(id.to_owned()))
}

#[test]
fn a_record_speaks_of_the_message_that_it_fits_in_everything() {
    let with = |change: fn(&mut Told)| {
        let mut told = record(Some("a"), 1);
        change(&mut told);
        found(&[unknown(1)], &[told], &known())
    };
    assert_eq!(with(|_| {}), [id(1, "a")]);
    assert_eq!(with(|told| told.record.sender = Some("+12 34567890".into())), [id(1, "a")]);
    assert_eq!(with(|told| told.record.template_language = Some("en".into())), [id(1, "a")]);
    for change in [
        (|told| told.record.to = Phone::from_digits(919_876_543_211)) as fn(&mut Told),
        |told| told.record.to = None,
        |told| told.record.sender = Some("1234567891".into()),
        |told| told.record.template_name = Some("other".into()),
        |told| told.record.template_language = Some("hi".into()),
        |told| told.template = "offer/hi".into(),
        |told| told.record.sent_at = None,
        |told| told.record.vendor_id = None,
    ] {
        assert_eq!(with(change), []);
    }
    // Senders of another kind than the configuration's say nothing.
    let mut told = record(Some("a"), 1);
    told.record.sender = Some("8618435117413".into());
    assert_eq!(found(&[unknown(1)], &[told], &Known::default()), [id(1, "a")]);
}

#[test]
fn a_record_outside_the_window_says_nothing() {
    for (seconds, is_within) in [(-6, false), (-5, true), (80, true), (81, false), (-86_400, false)] {
        let found = found(&[unknown(1)], &[record(Some("a"), seconds)], &known());
        assert_eq!(!found.is_empty(), is_within, "{seconds}");
    }
}

#[test]
fn an_id_that_is_another_messages_says_nothing() {
    let claims = |key| HashMap::from([("a".to_owned(), vec![key])]);
    for key in [(2, 1), (1, 2), (1, 1)] {
        // Also the message's own, where it is of an older call.
        let known = Known { claims: claims(key), ..known() };
        assert_eq!(found(&[unknown(1)], &[record(Some("a"), 1)], &known), []);
        assert_eq!(found(&[unknown(1)], &[record(Some("a"), 1), record(Some("b"), 2)], &known), [id(1, "b")]);
    }
    // An id that a report brought is found at any time, and no other record is its.
    let mut named = unknown(1);
    named.vendor_id = Some("a".to_owned());
    let known = Known { claims: claims((1, 1)), ..known() };
    let told = [record(Some("a"), 500), record(Some("b"), 1)];
    assert_eq!(found(std::slice::from_ref(&named), &told, &known), [id(1, "a")]);
    assert_eq!(found(&[named], &told[1..], &known), []);
}

#[test]
fn nothing_is_said_of_people_who_are_being_sent_to() {
    let known = Known { busy: HashSet::from([phone()]), ..known() };
    assert_eq!(found(&[unknown(1)], &[record(Some("a"), 1)], &known), []);
}

#[test]
fn fewer_records_than_messages_say_nothing_of_any() {
    let two = [unknown(1), unknown(2)];
    assert_eq!(found(&two, &[record(Some("a"), 1)], &known()), []);
    // The same record on two pages is one.
    assert_eq!(found(&two, &[record(Some("a"), 1), record(Some("a"), 1)], &known()), []);
    let both = [record(Some("a"), 1), record(Some("b"), 2)];
    assert_eq!(found(&two, &both, &known()), [id(1, "a"), id(2, "b")]);
    let with_refusal = [record(Some("a"), 1), record(Some("b"), 2), record(None, 3)];
    assert_eq!(found(&two, &with_refusal, &known()), []);
}

#[test]
fn messages_whose_times_lie_apart_are_told_apart() {
    let mut later = unknown(2);
    (later.requested_at, later.deadline_at) = (at(70), at(90));
    let two = [later, unknown(1)];
    assert_eq!(found(&two, &[record(Some("a"), 1)], &known()), [id(1, "a")]);
    assert_eq!(found(&two, &[record(Some("b"), 100)], &known()), [id(2, "b")]);
    // At second 75 it may be of either; the one at 1 is the first's alone.
    assert_eq!(found(&two, &[record(Some("b"), 75)], &known()), []);
    let both = [record(Some("b"), 75), record(Some("a"), 1)];
    assert_eq!(found(&two, &both, &known()), [id(1, "a"), id(2, "b")]);
    let chain = [record(Some("b"), 75), record(Some("c"), 120)];
    assert_eq!(found(&two, &chain, &known()), [id(1, "b"), id(2, "c")]);
}

#[test]
fn a_refusal_speaks_of_a_first_call_that_is_alone() {
    assert_eq!(found(&[unknown(1)], &[record(None, 1)], &known()), [(1, None)]);
    assert_eq!(found(&[unknown(1)], &[record(None, 1), record(None, 2)], &known()), []);
    assert_eq!(found(&[unknown(1), unknown(2)], &[record(None, 1)], &known()), []);
    // A record with an id says more.
    assert_eq!(found(&[unknown(1)], &[record(None, 1), record(Some("a"), 2)], &known()), [id(1, "a")]);
    let again = Unknown { is_first_call: false, ..unknown(1) };
    assert_eq!(found(&[again], &[record(None, 1)], &known()), []);
    // Sent, and yet without an id: no record that could be told from others.
    let mut nameless = record(None, 1);
    nameless.record.outcome = ReportedOutcome::Sent;
    assert_eq!(found(&[unknown(1)], &[nameless], &known()), []);
}

#[test]
fn what_was_read_last_of_a_record_counts() {
    let mut newer = record(Some("a"), 1);
    newer.record.outcome = ReportedOutcome::Delivered;
    let (unknown, told) = ([unknown(1)], [record(Some("a"), 1), newer]);
    let found = find(&unknown, &told, &known());
    assert_eq!(found[0].record.outcome, ReportedOutcome::Delivered);
}

/// Somebody else may send the same from the same account. That theirs failed must not have ours sent again.
#[test]
fn one_that_failed_decides_only_of_a_message_that_has_no_company() {
    let failed = |id, seconds| {
        let mut told = record(Some(id), seconds);
        told.record.outcome = record(None, 0).record.outcome;
        told
    };
    assert_eq!(found(&[unknown(1)], &[failed("a", 1)], &known()), [id(1, "a")]);
    assert_eq!(found(&[unknown(1)], &[failed("a", 1), record(Some("b"), 2)], &known()), [id(1, "b")]);
    let two = [unknown(1), unknown(2)];
    let all = [failed("a", 1), record(Some("b"), 2), record(Some("c"), 3)];
    assert_eq!(found(&two, &all[..2], &known()), []);
    assert_eq!(found(&two, &all[1..], &known()), [id(1, "b"), id(2, "c")]);
    assert_eq!(found(&two, &all, &known()), []);
}
