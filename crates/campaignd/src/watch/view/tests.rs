//! What a person sees, without colours.

use super::*;

fn task() -> Task {
    let counts = Counts {
        total: 10_000,
        queued: 4_000,
        sending: 500,
        retrying: 500,
        unknown: 100,
        accepted: 4_500,
        sent: 4_400,
        delivered: 3_000,
        read: 1_000,
        failed: 300,
        suppressed: 100,
        ..Counts::default()
    };
    let error = |code: &str, name: &str, count| api::TaskError {
        code: code.to_owned(),
        name: name.to_owned(),
        meaning: "too many".to_owned(),
        disposition: "SlowDown(sender)".to_owned(),
        count,
    };
    Task {
        id: 12,
        campaign_id: 3,
        name: "Diwali\u{7}".to_owned(),
        account: "exotel-main".to_owned(),
        from: "+919999000001".to_owned(),
        state: TaskState::Running,
        halt_reason: None,
        pause_reason: None,
        starts_at: None,
        started_at: None,
        ended_at: None,
        details_removed_at: None,
        counts,
        canary: None,
        oldest_unknown_since: DateTime::from_timestamp(-725, 0),
        waiting_for: None,
        waiting_until: None,
        messages_per_second: 80.2,
        eta_seconds: Some(62),
        errors: vec![error("30007", "EX_RATE_LIMIT_HIT", 1_500), error("no_answer", "", 7)],
    }
}

const VIEW: View = View { width: 50, has_colour: false, now: DateTime::UNIX_EPOCH };

#[test]
fn a_running_task() {
    let lines = VIEW.task(&task());
    let expected = [
        "Diwali\u{fffd} · task 12 · exotel-main from +919999000001 · running",
        "[██████▓▓▓-▒>········]  50%  80/s  about 1 min 2 s left",
        "queued 4,000  sending 500  accepted 4,500  sent 4,400  delivered 3,000  read 1,000  failed 300  retrying 500  unknown 100  suppressed 100",
        "100 unknown, the oldest for 12 min 5 s: the vendor may have them. `campaignd task report 12 --state unknown` lists \
         them; news settles them, or `campaignd task resolve 12 --as sent|failed|resend`",
        "    1,500 × 30007 EX_RATE_LIMIT_HIT: too many [SlowDown(sender)]",
        "        7 × no_answer: too many [SlowDown(sender)]",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_it_waits_for_and_why_it_is_halted() {
    let mut task = task();
    task.waiting_for = Some(WaitingFor::Window);
    task.waiting_until = "2026-12-01T03:30:00Z".parse().ok();
    assert!(
        VIEW.task(&task).contains(&"waits for the sending window, until 2026-12-01T03:30:00Z".to_owned())
    );
    task.state = TaskState::Halted;
    task.halt_reason = Some("30024 template not found".to_owned());
    assert!(VIEW.task(&task).contains(&"halted: 30024 template not found".to_owned()));
}

#[test]
fn more_errors_than_fit_are_summed() {
    let mut task = task();
    task.errors = (0..9).map(|_| task.errors[0].clone()).collect();
    assert_eq!(VIEW.task(&task).last().unwrap(), "    4,500 × 3 other codes");
}

#[test]
fn the_bar_is_full_exactly_when_all_are_placed() {
    for (accepted, failed) in [(3, 0), (2, 1), (0, 3)] {
        let counts = Counts { total: 3, accepted, failed, ..Counts::default() };
        for width in [10, 31] {
            let bar = VIEW.bar(&counts, width);
            assert_eq!(bar.chars().count(), width + 2, "{bar}");
            assert!(!bar.contains('·'), "{bar}");
        }
    }
    assert_eq!(VIEW.bar(&Counts::default(), 10), "[··········]");
}

#[test]
fn colours_surround_and_end() {
    let view = View { has_colour: true, ..VIEW };
    assert!(view.task(&task())[0].ends_with("\u{1b}[32mrunning\u{1b}[0m"));
}

#[test]
fn a_line_for_pipes() {
    assert_eq!(
        plain(&task()),
        "task 12 running 50% total=10000 queued=4000 sending=500 retrying=500 unknown=100 accepted=4500 sent=4400 \
         delivered=3000 read=1000 failed=300 suppressed=100 expired=0 cancelled=0 per_second=80.2 eta_seconds=62"
    );
}

#[test]
fn several_tasks_stand_in_one_table_as_wide_as_the_terminal() {
    for width in [60, 80, 100, 120, 200] {
        let lines = View { width, has_colour: false, now: DateTime::UNIX_EPOCH }.tasks(&[task(), task()]);
        let widths: Vec<usize> = lines.iter().map(|line| console::measure_text_width(line)).collect();
        assert!(widths.iter().all(|found| *found == widths[0] && *found <= width), "{width}: {lines:#?}");
    }
    let lines = View { width: 80, has_colour: false, now: DateTime::UNIX_EPOCH }.tasks(&[task()]);
    let expected = [
        "campaign state                          accepted delivered    failed   unknown",
        "Diwali\u{fffd}  running   [███▓▓->·····]  50%     4,500     3,000       300       100",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn spans_are_told_as_people_do() {
    let cases = [(42, "42 s"), (62, "1 min 2 s"), (7_500, "2 h 5 min"), (90_000, "1 d 1 h"), (-5, "0 s")];
    for (seconds, expected) in cases {
        assert_eq!(span(seconds), expected);
    }
}
