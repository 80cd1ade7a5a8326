//! What came of a task can be read as counts, rates, errors with advice, minute by minute, and beside the other tasks of its
//! campaign; and the file of its recipients holds all of them, however many.

use api::{
    Counts, NewCampaign, Rates, Schedule, Task, TaskState, TimelineBucket, TimelineStep,
    client::{MessageFilter, Page, TimelineFilter},
};
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, people, wait_until, within};

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn sum(buckets: &[TimelineBucket]) -> [i64; 5] {
    let of = |count: fn(&TimelineBucket) -> i64| buckets.iter().map(count).sum();
    [of(|b| b.accepted), of(|b| b.sent), of(|b| b.delivered), of(|b| b.read), of(|b| b.failed)]
}

fn milestones(counts: &Counts) -> [i64; 5] {
    [counts.accepted, counts.sent, counts.delivered, counts.read, counts.failed]
}

/// The whole timeline, in pages of `limit`, as soon as it is folded.
async fn timeline(world: &World, task: i64, by: TimelineStep, limit: u32) -> Vec<TimelineBucket> {
    wait_until("all counts are in the timeline", within(10), async || {
        let (mut buckets, mut after) = (Vec::new(), None);
        loop {
            let filter =
                TimelineFilter { by, page: Page { limit: Some(limit), after }, ..TimelineFilter::default() };
            let page = world.api().timeline(task, &filter).await.unwrap();
            assert!(page.items.len() <= usize::try_from(limit).unwrap());
            buckets.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        (sum(&buckets) == milestones(&world.task(task).await.counts)).then_some(buckets)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_rates_advice_and_every_minute() {
    let account = Account::sobot_io();
    let recipients =
        |numbers: &[usize]| numbers.iter().map(|n| people::digits(*n).to_string()).collect::<Vec<_>>();
    let code =
        |code| FaultRule::new(FaultAction::MessageCode { code, message: None }).vendor(Vendor::SobotIo);
    let faults = vec![
        code(131_026).recipients(recipients(&[1, 2, 3, 4])),
        // Tried again later: by then an hour has gone by.
        code(131_016).recipients(recipients(&[7, 8])).limit(2),
    ];
    let callbacks = CallbackOptions { read: 0.5, ..CallbackOptions::default() };
    let options = SimulatorOptions { faults, callbacks, ..SimulatorOptions::default() };
    let mut world = World::new().simulator(options).account(account.clone()).start().await;
    world.set_clock("2026-12-01T10:20:00Z");
    let audience = world.import_people(People(200)).await;
    let task = world.launch(&campaign(&account, audience)).await;
    let is_waiting = |task: &Task| task.counts.retrying == 2 && task.counts.delivered == 194;
    world.wait_for_task(task, "two wait for their retry", within(20), is_waiting).await;
    timeline(&world, task, TimelineStep::Minute, 1500).await;
    world.set_clock("2026-12-01T11:20:00Z");
    world.wait_for_completion(task, within(20)).await;
    let done = world.all_reports_are_applied(task).await;
    assert_eq!((done.counts.accepted, done.counts.failed), (196, 4), "{done:?}");

    let report = world.api().task_report(task).await.unwrap();
    assert_eq!((report.summary.task_id, report.summary.state), (task, TaskState::Completed));
    assert_eq!(report.summary.counts, done.counts);
    assert_eq!(report.summary.rates, Rates::of(&done.counts));
    assert_eq!((report.summary.rates.accepted, report.summary.rates.failed), (Some(98.0), Some(2.0)));
    let seconds = report.summary.duration_seconds.expect("it has run");
    assert!((3_500..3_700).contains(&seconds), "{seconds} s");
    let mean = report.summary.mean_messages_per_second.expect("it has run");
    assert!((0.05..=0.06).contains(&mean), "200 messages in {seconds} s are {mean} a second");
    let [error] = report.errors.as_slice() else { panic!("one code was to be seen: {report:#?}") };
    assert_eq!((error.code.as_str(), error.count), ("131026", 4));
    let known = world.api().codes(&Page { limit: Some(500), after: None }).await.unwrap().items;
    assert!(known.iter().any(|code| code.code == "131026" && code.advice == error.advice), "{error:?}");

    let minutes = timeline(&world, task, TimelineStep::Minute, 1).await;
    assert!(minutes.windows(2).all(|pair| pair[0].at < pair[1].at), "{minutes:?}");
    let hours = timeline(&world, task, TimelineStep::Hour, 1500).await;
    let begin = |hour: &str| instant(&format!("2026-12-01T{hour}:00:00Z"));
    let of_hour = |hour: &str| hours.iter().find(|bucket| bucket.at == begin(hour)).copied().unwrap();
    assert_eq!((hours.len(), of_hour("10").accepted, of_hour("10").failed), (2, 194, 4), "{hours:?}");
    assert_eq!((of_hour("11").accepted, of_hour("11").delivered), (2, 2));
    let later = TimelineFilter { from: Some(begin("11")), ..TimelineFilter::default() };
    let later = world.api().timeline(task, &later).await.unwrap().items;
    assert_eq!(sum(&later)[0], 2, "{later:?}");
    let before = TimelineFilter { to: Some(begin("10")), ..TimelineFilter::default() };
    assert!(world.api().timeline(task, &before).await.unwrap().items.is_empty());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_the_other_tasks_of_its_campaign() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let audience = world.import_people(People(20)).await;
    world.set_clock("2026-12-01T08:00:00Z");
    let schedule = Schedule {
        cron: Some("0 9 * * *".to_owned()),
        time_zone: Some("UTC".to_owned()),
        ..Schedule::default()
    };
    let recurring = NewCampaign { schedule: Some(schedule), ..campaign(world.account(0), audience) };
    let first = world.launch(&recurring).await;
    let of = world.task(first).await.campaign_id;
    world.set_clock("2026-12-01T09:00:00Z");
    world.wait_for_completion(first, within(20)).await;
    let second = world.api().campaign(of).await.unwrap().task_id.expect("the next firing");
    world.set_clock("2026-12-02T09:00:00Z");
    world.wait_for_completion(second, within(20)).await;

    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let page = world.api().campaign_report(of, &Page { limit: Some(2), after }).await.unwrap();
        lines.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let shown: Vec<_> =
        lines.iter().map(|line| (line.state, line.counts.accepted, line.rates.accepted)).collect();
    let done = (TaskState::Completed, 20, Some(100.0));
    assert_eq!(shown, [(TaskState::Scheduled, 0, Some(0.0)), done, done]);
    assert_eq!((lines[1].task_id, lines[2].task_id), (second, first));
    assert_eq!(lines[0].starts_at, Some(instant("2026-12-03T09:00:00Z")));
    let refused = world.api().campaign_report(of + 1, &Page::default()).await.unwrap_err();
    assert_eq!(refused.status(), Some(404));

    let id = of.to_string();
    let output = tokio::task::block_in_place(|| world.process(0).run(&["campaign", "report", &id]));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && table.lines().count() == 4, "{table}");
    world.audit().await;
}

/// Begins to look for the most memory that the daemon has had; what it has now, in bytes.
fn reset_peak_memory(world: &World) -> usize {
    let pid = world.process(0).pid().unwrap();
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak_memory(world)
}

/// The most memory that the daemon has had since then, in bytes.
fn peak_memory(world: &World) -> usize {
    let pid = world.process(0).pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

const HEADER: &str = "no,to,state,attempts,vendor_id,code,code_name,reason,retry_at,accepted_at,sent_at,delivered_at,\
                      read_at,failed_at,unknown_since";

#[tokio::test(flavor = "multi_thread")]
async fn by_each_recipient_without_holding_the_file_in_memory() {
    const RECIPIENTS: i32 = 150_000;
    let account = Account::sobot_in();
    let mut world = World::new().account(account.clone()).prepare().await;
    let database = world.database.as_ref().unwrap().open();
    let filled = store::testing::fill(&database, &account.name, 1, RECIPIENTS).await;
    database.close().await;
    world.add_node();
    world.start_node(0).await;
    let export = async || {
        let mut chunks = std::pin::pin!(
            world.api().messages_csv(filled.first_task, &MessageFilter::default()).await.unwrap()
        );
        let mut csv = Vec::new();
        while let Some(chunk) = chunks.try_next().await.unwrap() {
            csv.extend_from_slice(&chunk);
        }
        csv
    };
    let before = reset_peak_memory(&world);
    let csv = export().await;
    let grown = peak_memory(&world) - before;
    assert!(grown < csv.len() / 4 * 3, "a file of {} bytes took {grown} bytes of memory", csv.len());
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    assert_eq!(reader.headers().unwrap(), HEADER.split(',').collect::<Vec<_>>());
    let numbers: Vec<i32> = reader.records().map(|row| row.unwrap()[0].parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=RECIPIENTS), "{} rows", numbers.len());
    world.audit().await;
}
