//! Imports into a real PostgreSQL: what becomes of every kind of row, and of imports that do not end well.

use std::{fmt::Write as _, io, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use model::Clock;
use proptest::prelude::*;
use store::{
    Database,
    audiences::{self, Audience, Deletion, Status, Totals},
    recipients,
    rejects::{self, Reject},
    testing::{self, TestDatabase},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;

struct Bench {
    database: Database,
    importer: Importer,
    // Dropped last: its drop removes the database.
    _test: TestDatabase,
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

async fn bench() -> Bench {
    bench_with(Limits::default()).await
}

async fn bench_with(limits: Limits) -> Bench {
    let test = testing::database().await;
    let database = Database::open(&test.connect_options());
    let importer = Importer::new(&database, Clock::new(now), Uuid::from_u128(1), limits);
    Bench { database, importer, _test: test }
}

fn request(phone_column: Option<&str>) -> ImportRequest {
    ImportRequest::new("customers", Some("IN"), phone_column, None).unwrap()
}

fn upload(bytes: &[u8], step: usize) -> impl futures::Stream<Item = io::Result<Bytes>> + use<> {
    let pieces: Vec<_> = bytes.chunks(step).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

impl Bench {
    async fn import(&self, bytes: &[u8]) -> Audience {
        self.import_by(bytes, request(None), 1000).await
    }

    async fn import_by(&self, bytes: &[u8], request: ImportRequest, step: usize) -> Audience {
        let outcome = self.importer.run(request, upload(bytes, step)).await.unwrap();
        let audience = self.audience(outcome.audience_id).await;
        match &outcome.result {
            Ok(()) => assert_eq!(audience.status, Status::Ready),
            Err(error) => assert_eq!(audience.error.as_deref(), Some(error.to_string().as_str())),
        }
        audience
    }

    async fn connection(&self) -> impl std::ops::DerefMut<Target = store::PgConnection> + use<> {
        self.database.general.acquire().await.unwrap()
    }

    async fn audience(&self, id: i64) -> Audience {
        audiences::get(&mut *self.connection().await, id).await.unwrap().unwrap()
    }

    async fn recipients(&self, id: i64) -> Vec<(String, Vec<String>)> {
        let read = recipients::page_after(&mut *self.connection().await, id, 0, 1_000_000).await.unwrap();
        assert!(read.iter().zip(1..).all(|(recipient, no)| recipient.no == no), "numbered without gaps");
        read.into_iter().map(|recipient| (recipient.phone.to_string(), recipient.vars)).collect()
    }

    async fn rejects(&self, id: i64) -> Vec<Reject> {
        rejects::page_after(&mut *self.connection().await, id, 0, 1_000_000).await.unwrap()
    }
}

fn rows(read: i64, accepted: i64, rejected: i64, duplicate: i64) -> Totals {
    Totals { read, accepted, rejected, duplicate, bytes_read: 0 }
}

fn without_bytes(totals: Totals) -> Totals {
    Totals { bytes_read: 0, ..totals }
}

const MESSY: &str = "\r\n Name , Mobile,City\r\n\
Asha,+91 98765 43210,Pune\r\n\
\"Ravi \"\"R\"\" K\",098765 43211,\"line one\nline two\"\r\n\
\r\n\
Nota,9.87E+09,x\r\n\
Letter,98765O3210,x\r\n\
Short,98765,x\r\n\
Long,98765432101234,x\r\n\
Ragged,9876543212\r\n\
Wide,9876543213,x,y\r\n\
Empty,,x\r\n\
Nul,987654\u{0}3214,x\r\n\
Again,9876543210,x\r\n\
   \r\n\
Zoë,'9876543215.0,";

#[tokio::test]
async fn every_kind_of_row_finds_its_place() {
    let bench = bench().await;
    for step in [1, 7, 100_000] {
        let audience = bench.import_by(MESSY.as_bytes(), request(None), step).await;
        assert_eq!(audience.error, None);
        assert_eq!(without_bytes(audience.totals), rows(12, 3, 8, 1));
        assert_eq!(audience.totals.bytes_read, i64::try_from(MESSY.len()).unwrap());
        assert_eq!(audience.phone_column.as_deref(), Some("Mobile"));
        assert_eq!(audience.columns, ["Name", "City"]);
        let expected: Vec<(String, Vec<String>)> = [
            ("+919876543210", "Asha", "Pune"),
            ("+919876543211", "Ravi \"R\" K", "line one\nline two"),
            ("+919876543215", "Zoë", ""),
        ]
        .map(|(phone, name, city)| (phone.to_owned(), vec![name.to_owned(), city.to_owned()]))
        .into();
        assert_eq!(bench.recipients(audience.id).await, expected);

        let rejects = bench.rejects(audience.id).await;
        let listed: Vec<_> = rejects.iter().map(|reject| (reject.line, reject.reason.as_str())).collect();
        let notation =
            "spreadsheet notation: the last digits are lost; format the column as text and export again";
        assert_eq!(
            listed,
            [
                (7, notation),
                (8, "the phone holds the letter `O`"),
                (9, "too short: 5 digits after the country code +91"),
                (10, "too long: 14 digits after the country code +91"),
                (11, "the row has 2 fields where the header has 3"),
                (12, "the row has 4 fields where the header has 3"),
                (13, "the phone is empty"),
                (14, "the row holds a NUL character: save the file as CSV (UTF-8)"),
                (15, "duplicate of line 3"),
            ]
        );
        assert_eq!(rejects[0].raw, "Nota,9.87E+09,x");
        assert_eq!(rejects[0].phone, "9.87E+09");
        assert_eq!(rejects[7].raw, "Nul,987654\u{2400}3214,x");
    }
}

#[tokio::test]
async fn encodings_and_delimiters_make_no_difference() {
    let bench = bench().await;
    let text = |delimiter: &str| format!("phone{delimiter}name\n+919876543210{delimiter}José\n");
    let utf16 = |text: &str| -> Vec<u8> {
        [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let files = [
        text(",").into_bytes(),
        text(";").into_bytes(),
        text("\t").into_bytes(),
        text("|").into_bytes(),
        format!("\u{FEFF}{}", text(";")).into_bytes(),
        utf16(&text("\t")),
        encoding_rs::WINDOWS_1252.encode(&text(";")).0.into_owned(),
        format!("sep=|\r\n{}", text("|").replace('\n', "\r\n")).into_bytes(),
        text(",").replace('\n', "\r").into_bytes(),
    ];
    for file in files {
        let audience = bench.import(&file).await;
        assert_eq!(audience.error, None);
        let expected = [("+919876543210".to_owned(), vec!["José".to_owned()])];
        assert_eq!(bench.recipients(audience.id).await, expected);
    }
}

#[tokio::test]
async fn lines_are_counted_with_every_kind_of_line_break() {
    let bench = bench().await;
    for end in ["\n", "\r\n", "\r"] {
        let file = ["phone,name", "+919876543210,a", "", "x,b", "1,c", "919876543210,d"].join(end);
        let audience = bench.import_by(file.as_bytes(), request(None), 3).await;
        let lines: Vec<_> = bench.rejects(audience.id).await.iter().map(|reject| reject.line).collect();
        assert_eq!(lines, [4, 5, 6], "{end:?}");
        let rejects = bench.rejects(audience.id).await;
        assert_eq!(rejects[2].reason, "duplicate of line 2");
        assert_eq!(rejects[0].raw, "x,b");
    }
}

#[tokio::test]
async fn a_file_that_is_no_audience_fails_with_its_reason() {
    let bench = bench().await;
    let unclosed = format!("phone,name\n+919876543210,\"{}", "x".repeat(3 * 1024 * 1024));
    for (file, reason) in [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("phone,name\n\n", "the file has a header and no rows"),
        ("a,b\n1,2\n", "no column is named like a phone"),
        ("phone,a,a\n1,2,3\n", "the header names `a` twice"),
        ("PK\u{3}\u{4}....", "a workbook"),
        (unclosed.as_str(), "the record that starts on line 2 is longer than 1048576 bytes"),
    ] {
        let audience = bench.import(file.as_bytes()).await;
        assert_eq!(audience.status, Status::Failed);
        let error = audience.error.unwrap();
        assert!(error.contains(reason), "{error}");
        assert!(bench.recipients(audience.id).await.is_empty());
    }
    let audience = bench.import_by(b"phone,name\n", request(Some("cell")), 1000).await;
    assert!(audience.error.unwrap().contains("there is no column `cell`"));
}

#[tokio::test]
async fn a_quotation_mark_that_is_never_closed_is_a_rejected_row() {
    let bench = bench().await;
    let audience = bench.import(b"phone,name\n+919876543210,a\n+919876543211,\"b\n+919876543212,c\n").await;
    assert_eq!(without_bytes(audience.totals), rows(2, 1, 1, 0));
    let rejects = bench.rejects(audience.id).await;
    assert_eq!(rejects[0].line, 3);
    assert!(rejects[0].reason.contains("not closed"), "{}", rejects[0].reason);
    assert_eq!(rejects[0].raw, "+919876543211,\"b\n+919876543212,c");

    let audience = bench.import(b"phone,name\n+919876543210,5\" pipe").await;
    assert_eq!(bench.recipients(audience.id).await[0].1, ["5\" pipe"]);
}

#[tokio::test]
async fn damaged_text_is_rejected_row_by_row() {
    let bench = bench().await;
    let mut file = "phone,name\n+919876543210,José é è ê\n+919876543211,".as_bytes().to_vec();
    file.extend_from_slice(b"\xE9\n");
    let audience = bench.import(&file).await;
    assert_eq!(without_bytes(audience.totals), rows(2, 1, 1, 0));
    assert!(bench.rejects(audience.id).await[0].reason.contains("not valid in the file's encoding"));
}

#[tokio::test]
async fn a_hundred_thousand_rows_with_duplicates_arrive_whole() {
    let bench = bench().await;
    let mut file = String::from("name,phone,note\n");
    for row in 0..100_000u64 {
        let phone = 9_000_000_000 + (row * 7919) % 90_000;
        writeln!(file, "n{row},+91{phone},\"note, {row}\"").unwrap();
    }
    let audience = bench.import_by(file.as_bytes(), request(None), 64 * 1024).await;
    assert_eq!(without_bytes(audience.totals), rows(100_000, 90_000, 0, 10_000));
    let recipients = bench.recipients(audience.id).await;
    assert_eq!(recipients.len(), 90_000);
    assert_eq!(recipients[89_999].1, ["n89999", "note, 89999"]);
    let rejects = bench.rejects(audience.id).await;
    assert_eq!(rejects.len(), 10_000);
    for (at, reject) in rejects.iter().enumerate() {
        assert_eq!(reject.line, i64::try_from(at).unwrap() + 90_002);
        assert_eq!(reject.reason, format!("duplicate of line {}", at + 2));
    }
    let mut connection = bench.connection().await;
    let phone = "+919000000000".parse().unwrap();
    let found = recipients::find_phone(&mut connection, audience.id, phone).await.unwrap();
    assert_eq!(found, Some(1));
}

#[tokio::test]
async fn imports_at_once_keep_out_of_each_others_way() {
    let bench = bench().await;
    let file = |code: u64| {
        let mut file = String::from("phone,note\n");
        for row in 0..40_000u64 {
            let phone = 9_000_000_000 + row * 7919 % 30_011;
            writeln!(file, "{phone},of {code} in row {row}").unwrap();
        }
        file
    };
    let files = [file(1), file(2), file(3)];
    let imports = files.each_ref().map(|file| bench.import_by(file.as_bytes(), request(None), 10_000));
    let audiences = futures::future::join_all(imports).await;
    for (code, audience) in (1..).zip(audiences) {
        assert_eq!(without_bytes(audience.totals), rows(40_000, 30_011, 0, 9_989));
        let recipients = bench.recipients(audience.id).await;
        assert_eq!(recipients.len(), 30_011);
        let own = format!("of {code} in row ");
        assert!(recipients.iter().all(|(_, vars)| vars[0].starts_with(&own)));
        let rejects = bench.rejects(audience.id).await;
        assert_eq!(rejects.len(), 9_989);
        for (at, reject) in (2..).zip(&rejects) {
            assert_eq!(
                (reject.line, reject.reason.clone()),
                (at + 30_011, format!("duplicate of line {at}"))
            );
        }
    }
}

#[tokio::test]
async fn a_duplicate_shows_its_phone_as_the_file_has_it() {
    let bench = bench().await;
    let file = "phone,name\n+919876543210,a\n\"098765 43210\",\"b, \"\"c\"\"\"\n98765-43210,d\n";
    let audience = bench.import(file.as_bytes()).await;
    let rejects = bench.rejects(audience.id).await;
    let shown: Vec<_> = rejects.iter().map(|reject| (reject.phone.as_str(), reject.raw.as_str())).collect();
    assert_eq!(
        shown,
        [("098765 43210", "\"098765 43210\",\"b, \"\"c\"\"\""), ("98765-43210", "98765-43210,d")]
    );
}

/// A file long enough that part of it has reached the database before its end.
fn long_file() -> String {
    let mut file = String::from("phone,note\nnot a phone,x\n");
    for row in 0..20_000u64 {
        writeln!(file, "+91{},{}", 9_000_000_000 + row, "x".repeat(60)).unwrap();
    }
    file
}

async fn ends_failed(bench: &Bench, id: i64) -> Audience {
    tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let audience = bench.audience(id).await;
            if audience.status == Status::Failed {
                return audience;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn an_upload_that_is_dropped_half_way_leaves_no_half_audience() {
    let bench = bench().await;
    let import = bench.importer.start(request(None)).await.unwrap();
    let id = import.audience_id();
    assert_eq!(bench.audience(id).await.status, Status::Importing);
    let file = long_file();
    let (seen, mut was_seen) = mpsc::channel(1);
    let endless = upload(file.as_bytes(), 50_000).chain(stream::once(async move {
        seen.send(()).await.unwrap();
        std::future::pending().await
    }));
    tokio::select! {
        _ = import.feed(endless) => panic!("the upload never ends"),
        _ = was_seen.recv() => {}
    }
    let audience = ends_failed(&bench, id).await;
    assert!(audience.error.unwrap().contains("the upload was cut off after"));
    assert!(bench.recipients(id).await.is_empty());
    assert_eq!(bench.rejects(id).await.len(), 1, "what was wrong so far is still shown");
    assert_eq!(audience.totals.accepted, 0);
}

#[tokio::test]
async fn a_broken_a_stalled_and_an_oversized_upload_fail_by_name() {
    let bench = bench_with(Limits {
        max_upload_bytes: 3_000_000,
        stall: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let file = long_file();
    let broken =
        upload(file.as_bytes(), 50_000).chain(stream::iter([Err(io::Error::other("reset by peer"))]));
    let stalled = upload(file.as_bytes(), 50_000).chain(stream::pending());
    let oversized = upload(file.as_bytes(), 50_000).chain(upload(file.as_bytes(), 50_000));
    let outcomes = [
        (bench.importer.run(request(None), broken).await.unwrap(), "could not be read: reset by peer"),
        (bench.importer.run(request(None), stalled).await.unwrap(), "nothing of the upload came for"),
        (bench.importer.run(request(None), oversized).await.unwrap(), "larger than 3000000 bytes"),
    ];
    for (outcome, reason) in outcomes {
        let audience = bench.audience(outcome.audience_id).await;
        assert_eq!(audience.status, Status::Failed);
        let error = audience.error.unwrap();
        assert!(error.contains(reason), "{error}");
        assert!(bench.recipients(audience.id).await.is_empty());
    }
}

#[tokio::test]
async fn imports_of_dead_processes_are_failed_and_living_ones_are_not() {
    let bench = bench().await;
    let mut connection = bench.connection().await;
    let begin = |importer: u128, seconds_ago: i64| {
        let audience = NewAudience { name: "x", bytes_total: None, importer: Uuid::from_u128(importer) };
        (audience, now() - TimeDelta::seconds(seconds_ago))
    };
    let mut ids = Vec::new();
    for (importer, seconds_ago) in [(1, 5), (2, 5), (2, 61)] {
        let (audience, at) = begin(importer, seconds_ago);
        ids.push(audiences::insert_importing(&mut connection, &audience, at).await.unwrap());
    }
    assert_eq!(bench.importer.fail_predecessors().await.unwrap(), 2);
    let statuses = [bench.audience(ids[0]).await, bench.audience(ids[1]).await, bench.audience(ids[2]).await];
    assert_eq!(statuses.each_ref().map(|a| a.status), [Status::Failed, Status::Importing, Status::Failed]);
    assert_eq!(statuses[0].error.as_deref(), Some(audiences::INTERRUPTED));
}

#[tokio::test]
async fn an_import_that_was_declared_dead_does_not_come_back() {
    let bench = bench().await;
    let import = bench.importer.start(request(None)).await.unwrap();
    let id = import.audience_id();
    assert_eq!(bench.importer.fail_predecessors().await.unwrap(), 1);
    let outcome = import.feed(upload(b"phone\n+919876543210\n", 100)).await.outcome().await;
    assert!(matches!(outcome.result, Err(ImportError::Cancelled)));
    assert_eq!(bench.audience(id).await.error.as_deref(), Some(audiences::INTERRUPTED));
    assert!(bench.recipients(id).await.is_empty());
}

#[tokio::test]
async fn a_deleted_audience_is_gone_at_once_and_its_rows_soon() {
    let bench = bench().await;
    let audience = bench.import(MESSY.as_bytes()).await;
    let other = bench.import(MESSY.as_bytes()).await;
    let mut transaction = bench.database.general.begin().await.unwrap();
    assert_eq!(audiences::delete(&mut transaction, audience.id).await.unwrap(), Deletion::Deleted);
    transaction.commit().await.unwrap();
    let mut connection = bench.connection().await;
    assert_eq!(audiences::get(&mut connection, audience.id).await.unwrap(), None);
    let listed = audiences::list(&mut connection, None, 10).await.unwrap();
    assert_eq!(listed, [bench.audience(other.id).await]);
    assert_eq!(audiences::list(&mut connection, Some(other.id), 10).await.unwrap(), []);
    assert_eq!(audiences::delete(&mut connection, audience.id).await.unwrap(), Deletion::NotFound);
    while bench.importer.sweep().await.unwrap() {}
    assert!(bench.recipients(audience.id).await.is_empty());
    assert!(bench.rejects(audience.id).await.is_empty());
    assert_eq!(bench.recipients(other.id).await.len(), 3);
}

#[test]
fn a_request_names_each_field_that_will_not_do() {
    let errors = ImportRequest::new(" ", Some("XX"), None, None).unwrap_err();
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["name", "default_region"]);
}

/// Reads a file as `read_file` does, without a database; the encoded rows and the lines of the rejects.
fn parse(file: &[u8], step: usize) -> (usize, Result<Header, ImportError>, Vec<Reject>) {
    let (pieces, upload) = mpsc::channel(file.len() / step + 2);
    for piece in file.chunks(step) {
        pieces.try_send(Piece::Data(Bytes::copy_from_slice(piece))).unwrap();
    }
    pieces.try_send(Piece::End).unwrap();
    let (copy, mut chunks) = mpsc::channel(1000);
    let (rejects, mut batches) = mpsc::channel(1000);
    let outlets = Outlets { copy, rejects, meter: Arc::default(), folder: std::env::temp_dir() };
    let region = Some("IN".parse().unwrap());
    let parsed = rows::read_file(Window::new(upload), 1, region, None, outlets);
    let mut bytes = 0;
    while let Ok(rows::Chunk::Some(chunk) | rows::Chunk::Last(chunk)) = chunks.try_recv() {
        bytes += chunk.len();
    }
    let mut listed = Vec::new();
    while let Ok(batch) = batches.try_recv() {
        listed.extend(batch);
    }
    (bytes, parsed, listed)
}

proptest! {
    #[test]
    fn what_was_written_as_csv_is_read_again(
        values in prop::collection::vec(("[^\\x00\u{FFFD}]{0,12}", "[a-z\",;\n\r|]{0,8}"), 1..20),
        step in 1usize..200,
        delimiter in prop::sample::select(vec![b',', b';', b'\t', b'|']),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        writer.write_record(["phone", "a", "b"]).unwrap();
        let mut expected = store::recipients::CopyEncoder::new(1);
        for (no, (a, b)) in (1i32..).zip(&values) {
            let phone = format!("+91{}", 9_000_000_000u64 + u64::try_from(no).unwrap());
            writer.write_record([&phone, a, b]).unwrap();
            expected.push(phone.parse().unwrap(), 2, [a.as_bytes(), b.as_bytes()].into_iter());
        }
        let rows = expected.take(0, std::iter::empty()).len();
        let file = writer.into_inner().unwrap();
        let (bytes, parsed, rejects) = parse(&file, step);
        prop_assert!(parsed.is_ok());
        prop_assert!(rejects.is_empty(), "{:?}", rejects);
        prop_assert_eq!(bytes, rows + expected.finish().len());
    }

    #[test]
    fn any_bytes_are_answered(file in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..50) {
        let mut with_header = b"phone,x\n".to_vec();
        with_header.extend(&file);
        let (_, parsed, rejects) = parse(&with_header, step);
        if let Ok(parsed) = parsed {
            prop_assert_eq!(parsed.phone_column, "phone");
        }
        let lines: Vec<_> = rejects.iter().map(|reject| reject.line).collect();
        prop_assert!(lines.is_sorted_by(|a, b| a < b), "records begin on lines of their own: {:?}", lines);
    }
}

/// Prints how fast a large file goes in: `cargo test --release -p scheduler a_million -- --ignored --nocapture`. The file is
/// made once and stays, so that `\copy` of the same rows can be timed beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a release build"]
async fn a_million_rows_timed() {
    let setting = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let count: u64 = setting("IMPORT_ROWS", 1_000_000);
    let distinct = setting("IMPORT_DISTINCT", count);
    let path = std::env::temp_dir().join(format!("campaignd-import-{count}-{distinct}.csv"));
    if !path.exists() {
        let mut file = io::BufWriter::new(std::fs::File::create(&path).unwrap());
        io::Write::write_all(&mut file, b"phone,name,city,order,due\n").unwrap();
        for row in 0..count {
            // Neither sorted nor dense, as real lists are.
            let phone = 6_000_000_000 + (row % distinct * 2_654_435_761) % 3_999_999_979;
            let line = format!("+91{phone},Customer {row},City {},ORD-{row:08},2026-12-01\n", row % 500);
            io::Write::write_all(&mut file, line.as_bytes()).unwrap();
        }
    }
    let bench = bench().await;
    let file = tokio::fs::File::open(&path).await.unwrap();
    let pieces = stream::unfold(file, |mut file| async {
        let mut piece = Vec::with_capacity(64 * 1024);
        let read = tokio::io::AsyncReadExt::read_buf(&mut file, &mut piece).await;
        match read {
            Ok(0) => None,
            Ok(_) => Some((Ok(Bytes::from(piece)), file)),
            Err(error) => Some((Err(error), file)),
        }
    });
    let begun = std::time::Instant::now();
    let outcome = bench.importer.run(request(None), pieces).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let audience = bench.audience(outcome.audience_id).await;
    assert_eq!(
        without_bytes(audience.totals),
        rows(count.cast_signed(), distinct.cast_signed(), 0, (count - distinct).cast_signed())
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    println!("{count} rows in {seconds:.2} s; {peak}; {}", path.display());
}
