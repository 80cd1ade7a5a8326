//! The list of numbers that get nothing comes out as a file and goes in as one: with reasons, with ends, narrowed as wanted.

use api::{
    NewSuppression, SuppressionReason,
    client::{ImportSuppressions, Page, SuppressionFilter},
};
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use crate::harness::{Account, World, campaign, phone, within};

const HEADER: &str = "phone,reason,source,created_at,expires_at";

async fn export(world: &World, filter: &SuppressionFilter) -> String {
    let chunks = world.api().suppressions_csv(filter).await.unwrap();
    let chunks: Vec<bytes::Bytes> = chunks.try_collect().await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

async fn listed(world: &World, filter: &SuppressionFilter) -> Vec<String> {
    let items = world.api().suppressions_of(filter).await.unwrap().items;
    items.into_iter().map(|one| one.phone).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_reasons_and_ends() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    world.set_clock("2026-12-01T10:00:00Z");
    let csv = format!(
        "phone,reason,expires_at\n{},opt_out,\n{},because,2026-12-02T00:00:00Z\n{},,\n{},,2026-11-01T00:00:00Z\n{},,soon\n",
        phone(0),
        phone(1),
        phone(2),
        phone(3),
        phone(4)
    );
    let until: DateTime<Utc> = "2026-12-03T00:00:00Z".parse().unwrap();
    let how = ImportSuppressions {
        reason: Some(SuppressionReason::Complaint),
        source: Some("crm".to_owned()),
        expires_at: Some(until),
        ..ImportSuppressions::default()
    };
    let imported = world.api().import_suppressions_as(&how, csv, None, None).await.unwrap();
    assert_eq!((imported.read, imported.added, imported.rejected), (5, 3, 2), "{imported:?}");
    assert!(imported.rejects[0].line == 5 && imported.rejects[0].reason.contains("past"), "{imported:?}");
    assert!(imported.rejects[1].reason.contains("no time such as"), "{imported:?}");
    let forever = NewSuppression { phone: phone(9), reason: None, source: None, expires_at: None };
    world.api().add_suppression(&forever, None).await.unwrap();

    let of = |reason: &str, source: &str| SuppressionFilter {
        reason: Some(reason.to_owned()).filter(|text| !text.is_empty()),
        source: Some(source.to_owned()).filter(|text| !text.is_empty()),
        ..SuppressionFilter::default()
    };
    assert_eq!(listed(&world, &of("", "crm")).await, [phone(0), phone(1), phone(2)]);
    assert_eq!(listed(&world, &of("opt_out,manual", "")).await, [phone(0), phone(9)]);
    assert_eq!(listed(&world, &of("complaint", "api")).await, [""; 0]);
    let refused = world.api().suppressions_of(&of("opt_in", "")).await.unwrap_err();
    assert!(refused.to_string().contains("opt_out, invalid, manual, complaint"), "{refused}");

    let file = export(&world, &SuppressionFilter::default()).await;
    let lines: Vec<&str> = file.lines().collect();
    assert_eq!((lines.len(), lines[0]), (5, HEADER), "{file}");
    assert!(lines[1].starts_with(&format!("{},opt_out,crm,2026-12-01T10:", phone(0))), "{file}");
    assert!(
        lines[1].ends_with(",2026-12-03T00:00:00Z") && lines[2].ends_with(",2026-12-02T00:00:00Z"),
        "{file}"
    );
    assert!(lines[4].starts_with(&format!("{},manual,api,", phone(9))) && lines[4].ends_with(','), "{file}");
    assert_eq!(export(&world, &of("manual", "")).await.lines().count(), 2);
    let output = tokio::task::block_in_place(|| {
        world.process(0).run(&["suppression", "export", "--reason", "opt_out"])
    });
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{HEADER}\n{}\n", lines[1]));

    // What was exported can be imported: reasons and ends are the same.
    for number in [0, 1, 2, 9] {
        world.api().remove_suppression(&phone(number)).await.unwrap();
    }
    let again = world.api().import_suppressions(file.clone(), None, None).await.unwrap();
    assert_eq!((again.added, again.rejected), (4, 0), "{again:?}");
    let cut = |file: &str| -> Vec<(String, String, String)> {
        let mut reader = csv::Reader::from_reader(file.as_bytes());
        reader
            .records()
            .map(|row| row.unwrap())
            .map(|row| (row[0].into(), row[1].into(), row[4].into()))
            .collect()
    };
    assert_eq!(cut(&export(&world, &SuppressionFilter::default()).await), cut(&file));

    // What has ended is listed no more, and is sent to again.
    world.set_clock("2026-12-02T12:00:00Z");
    let audience = world.import(crate::harness::csv_of([0, 1, 2, 9])).await.id;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let done = world.wait_for_completion(task, within(20)).await;
    assert_eq!((done.counts.suppressed, done.counts.accepted), (3, 1), "{done:?}");
    let page = world.api().suppressions(&Page::default()).await.unwrap().items;
    assert_eq!(page.iter().map(|one| one.phone.clone()).collect::<Vec<_>>(), [phone(0), phone(2), phone(9)]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_long_it_is() {
    // More than one page of the export, and more than one statement of the import.
    const NUMBERS: usize = 12_345;
    let world = World::new().account(Account::sobot_in()).start().await;
    let imported =
        world.api().import_suppressions(crate::harness::csv_of(0..NUMBERS), None, None).await.unwrap();
    assert_eq!(usize::try_from(imported.added).unwrap(), NUMBERS);
    let file = export(&world, &SuppressionFilter::default()).await;
    let phones: Vec<&str> = file.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(phones, (0..NUMBERS).map(phone).collect::<Vec<_>>());
}
