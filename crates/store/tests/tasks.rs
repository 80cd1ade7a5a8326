//! Campaigns, tasks, halts, suppressions and results against a real database.
#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    Phone,
    campaign::{CampaignState, Category, OnUnknown, Priority},
    counts::{Deltas, Kind, Place as Counted},
    disposition::Scope,
    status::MessageState,
    task::{Command, TaskState},
};
use sqlx::PgConnection;
use store::{
    campaigns::{self, Definition, Unusable},
    effects::{Effects, NewHalt},
    halts,
    idempotency::{self, Claim},
    messages::{self, Filter, Place},
    progress, suppressions,
    tasks::{self, Commanded, Launched},
    testing,
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

fn phone(no: i32) -> Phone {
    Phone::from_digits(919_000_000_000 + u64::try_from(no).unwrap()).unwrap()
}

async fn audience(conn: &mut PgConnection, status: i16, recipients: i32) -> i64 {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO audiences (name, status, rows_accepted, heartbeat_at, created_at)
         VALUES ('people', $1, $2, $3, $3) RETURNING id",
    )
    .bind(status)
    .bind(i64::from(recipients))
    .bind(now())
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    for no in 1..=recipients {
        sqlx::query("INSERT INTO recipients VALUES ($1, $2, $3, '{}')")
            .bind(id)
            .bind(no)
            .bind(phone(no).as_i64())
            .execute(&mut *conn)
            .await
            .unwrap();
    }
    id
}

fn definition(audience_id: i64) -> Definition {
    Definition {
        name: "Diwali offer".to_owned(),
        account: "main".to_owned(),
        sender: "+911".to_owned(),
        audience_id,
        message: serde_json::json!({"type": "text", "text": {"body": "hi"}}),
        template: Some("offer/en".to_owned()),
        category: Category::Marketing,
        priority: Priority::Normal,
        max_attempts: 5,
        messages_per_second: Some(2.5),
        on_unknown: OnUnknown::Hold,
        schedule: None,
        sending_window: None,
        canary: None,
        expires_at: None,
    }
}

async fn launched(conn: &mut PgConnection, recipients: i32) -> i64 {
    let audience_id = audience(conn, 2, recipients).await;
    let campaign_id = campaigns::create(conn, &definition(audience_id), now()).await.unwrap();
    match tasks::launch(conn, campaign_id, None, now()).await.unwrap() {
        Launched::Task(id) => id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_campaign_has_one_task_and_is_a_draft_before() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let audience_id = audience(&mut conn, 2, 3).await;
    let wanted = definition(audience_id);
    let id = campaigns::create(&mut conn, &wanted, now()).await.unwrap();
    let draft = campaigns::get(&mut conn, id).await.unwrap().unwrap();
    assert_eq!((draft.state, draft.definition, draft.task_id), (CampaignState::Draft, wanted.clone(), None));

    let renamed = Definition { name: "Holi".to_owned(), ..wanted };
    assert!(campaigns::update_draft(&mut conn, id, &renamed).await.unwrap());
    let due = now() + TimeDelta::hours(1);
    let Launched::Task(task_id) = tasks::launch(&mut conn, id, Some(due), now()).await.unwrap() else {
        panic!("launched")
    };
    assert_eq!(tasks::launch(&mut conn, id, None, now()).await.unwrap(), Launched::Already(task_id));
    assert!(!campaigns::update_draft(&mut conn, id, &renamed).await.unwrap());
    assert!(!campaigns::delete_draft(&mut conn, id).await.unwrap());

    let task = tasks::get(&mut conn, task_id).await.unwrap().unwrap();
    assert_eq!((task.state(), task.starts_at, task.started_at), (TaskState::Scheduled, Some(due), None));
    assert_eq!((task.counts.total, task.counts.queued), (3, 3));
    let listed = campaigns::list(&mut conn, None, Some("hOL"), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|campaign| campaign.task_id).collect::<Vec<_>>(), [Some(task_id)]);
}

#[tokio::test]
async fn an_audience_that_cannot_be_sent_to_is_not() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    for (status, recipients, why) in [
        (1, 0, Unusable::Importing),
        (2, 0, Unusable::Empty),
        (3, 0, Unusable::Failed),
        (4, 1, Unusable::Missing),
    ] {
        let audience_id = audience(&mut conn, status, recipients).await;
        let id = campaigns::create(&mut conn, &definition(audience_id), now()).await.unwrap();
        assert_eq!(tasks::launch(&mut conn, id, None, now()).await.unwrap(), Launched::Unusable(why));
    }
}

#[tokio::test]
async fn commands_change_what_is_shown_and_halts_lie_over_them() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let id = launched(&mut conn, 3).await;
    let done = |changed| Commanded::Done { account: "main".to_owned(), changed };
    assert_eq!(tasks::command(&mut conn, id, Command::Pause, now()).await.unwrap(), done(true));
    assert_eq!(tasks::command(&mut conn, id, Command::Pause, now()).await.unwrap(), done(false));
    assert_eq!(tasks::get(&mut conn, id).await.unwrap().unwrap().state(), TaskState::Paused);

    for (scope, value) in
        [(Scope::Template, "offer/en"), (Scope::Template, "offer/hi"), (Scope::Account, "main")]
    {
        let halt = NewHalt {
            scope,
            account: "main".to_owned(),
            value: value.to_owned(),
            code: "132001".to_owned(),
            reason: "gone".to_owned(),
            remedy: "mend it".to_owned(),
            lifts_at: None,
        };
        let effects = Effects { halts: vec![halt], suppressions: vec![] };
        assert_eq!(store::effects::apply(&mut conn, &effects, now()).await.unwrap(), 1);
    }
    assert_eq!(tasks::get(&mut conn, id).await.unwrap().unwrap().state(), TaskState::Halted);
    let holding = halts::holding(&mut conn, id).await.unwrap();
    assert_eq!(holding.iter().map(|halt| halt.scope).collect::<Vec<_>>(), [Scope::Account, Scope::Template]);
    assert_eq!(halts::list(&mut conn, Some("main"), None, 10).await.unwrap().len(), 3);
    let counted = tasks::count_by_state(&mut conn).await.unwrap();
    assert_eq!(counted, [(TaskState::Halted, 1)]);
    for halt in holding {
        assert_eq!(halts::lift(&mut conn, halt.id).await.unwrap(), Some(halt));
    }
    let only = |state| tasks::Filter { states: vec![state], ..tasks::Filter::default() };
    let paused = tasks::list(&mut conn, &only(TaskState::Paused), None, 10).await.unwrap();
    assert_eq!(paused.iter().map(|task| task.id).collect::<Vec<_>>(), [id]);
    assert!(tasks::list(&mut conn, &only(TaskState::Running), None, 10).await.unwrap().is_empty());

    assert_eq!(tasks::command(&mut conn, id, Command::Cancel, now()).await.unwrap(), done(true));
    assert_eq!(tasks::command(&mut conn, id, Command::Cancel, now()).await.unwrap(), done(false));
    let task = tasks::get(&mut conn, id).await.unwrap().unwrap();
    assert_eq!((task.state(), task.counts.cancelled, task.counts.queued), (TaskState::Cancelled, 3, 0));
    assert!(matches!(
        tasks::command(&mut conn, id, Command::Resume, now()).await.unwrap(),
        Commanded::Refused(_)
    ));
    assert_eq!(tasks::command(&mut conn, 99, Command::Pause, now()).await.unwrap(), Commanded::NoTask);
}

/// Ten recipients: 1 read, 2 failed, 3 retrying, 4 sending for the first time, 5 sending again, 6 waiting for its
/// first call, 7 unknown, 8 suppressed, 9 and 10 beyond the cursor.
async fn a_task_with_one_of_each(conn: &mut PgConnection) -> i64 {
    let id = launched(conn, 10).await;
    sqlx::query("UPDATE tasks SET cursor = 8 WHERE id = $1").bind(id).execute(&mut *conn).await.unwrap();
    sqlx::query("INSERT INTO requests VALUES (70, 'main', $1, 1, '{1,4,5}', '{1,1,2}', $2, $2)")
        .bind(id)
        .bind(now())
        .execute(&mut *conn)
        .await
        .unwrap();
    for (no, request, state, code) in [
        (1, 70, MessageState::Read, ""),
        (2, 69, MessageState::Failed, "131026"),
        (3, 69, MessageState::Retrying, "131049"),
        (5, 69, MessageState::Retrying, "131049"),
        (7, 68, MessageState::Unknown, "timeout"),
        (8, 0, MessageState::Suppressed, ""),
    ] {
        sqlx::query(
            "INSERT INTO messages (task_id, no, state, attempt, request_id, code) VALUES ($1, $2, $3, 1, $4, $5)",
        )
        .bind(id)
        .bind(no)
        .bind(state as i16)
        .bind(i64::from(request))
        .bind(code)
        .execute(&mut *conn)
        .await
        .unwrap();
        if state.is_trouble() && no != 5 {
            store::troubles::insert(conn, [(id, state, no, code)].into_iter()).await.unwrap();
        }
    }
    for (no, attempt) in [(3, 1_i16), (6, 0)] {
        sqlx::query("INSERT INTO retries VALUES ($1, $2, $3, $4, 100)")
            .bind(id)
            .bind(no)
            .bind(now())
            .bind(attempt)
            .execute(&mut *conn)
            .await
            .unwrap();
    }
    let mut deltas = Deltas::default();
    for place in [
        Counted::Message(MessageState::Read, ""),
        Counted::Message(MessageState::Failed, "131026"),
        Counted::Message(MessageState::Retrying, "131049"),
        Counted::Sending,
        Counted::Sending,
        Counted::Waiting,
        Counted::Message(MessageState::Unknown, "timeout"),
        Counted::Message(MessageState::Suppressed, ""),
    ] {
        deltas.moved(id, Counted::Queued, place);
    }
    deltas.add(id, Kind::Replied, 1);
    progress::append(conn, &deltas).await.unwrap();
    id
}

#[tokio::test]
async fn counts_are_the_same_folded_or_not_and_agree_with_the_places() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let id = a_task_with_one_of_each(&mut conn).await;
    let before = tasks::get(&mut conn, id).await.unwrap().unwrap();
    while progress::fold(&mut conn, now()).await.unwrap() {}
    let mut more = Deltas::default();
    more.moved(id, Counted::Sending, Counted::Message(MessageState::Accepted, ""));
    more.moved(id, Counted::Message(MessageState::Accepted, ""), Counted::Sending);
    progress::append(&mut conn, &more).await.unwrap();
    let after = tasks::get(&mut conn, id).await.unwrap().unwrap();
    assert_eq!(before.counts, after.counts);
    assert_eq!(before.counts.places(), before.counts.total);
    let one_each = [("131026", 1), ("131049", 1), ("timeout", 1)].map(|(code, n)| (code.to_owned(), n));
    assert_eq!(after.errors, one_each);

    let all = messages::list(&mut conn, id, &Filter::default(), 0, 100).await.unwrap().items;
    let count = |wanted: Place| i64::try_from(all.iter().filter(|one| one.place == wanted).count()).unwrap();
    let counts = after.counts;
    for (place, n) in [
        (Place::Queued, counts.queued),
        (Place::Sending, counts.sending),
        (Place::Message(MessageState::Retrying), counts.retrying),
        (Place::Message(MessageState::Unknown), counts.unknown),
        (Place::Message(MessageState::Read), counts.read),
        (Place::Message(MessageState::Failed), counts.failed),
        (Place::Message(MessageState::Suppressed), counts.suppressed),
    ] {
        assert_eq!(count(place), n, "{place:?}");
    }
    assert_eq!(all.len(), 10);
}

#[tokio::test]
async fn every_filter_finds_what_the_whole_list_shows_page_by_page() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let id = a_task_with_one_of_each(&mut conn).await;
    for phase in [2_i16, 4, 5] {
        sqlx::query("UPDATE tasks SET state = $2 WHERE id = $1")
            .bind(id)
            .bind(phase)
            .execute(&mut conn)
            .await
            .unwrap();
        let all = messages::list(&mut conn, id, &Filter::default(), 0, 100).await.unwrap().items;
        let places = MessageState::ALL.map(Place::Message);
        for place in places.into_iter().chain([Place::Queued, Place::Sending, Place::Cancelled]) {
            let expected: Vec<i32> = all.iter().filter(|one| one.place == place).map(|one| one.no).collect();
            let filter = Filter { place: Some(place), ..Filter::default() };
            let (mut found, mut after) = (Vec::new(), 0);
            loop {
                let page = messages::list(&mut conn, id, &filter, after, 2).await.unwrap().items;
                let Some(last) = page.last() else { break };
                after = last.no;
                found.extend(page.iter().map(|one| one.no));
            }
            assert_eq!(found, expected, "{place:?} in phase {phase}");
        }
        let with_code = Filter { code: Some("131049".to_owned()), ..Filter::default() };
        let nos = |page: Vec<messages::Message>| page.iter().map(|one| one.no).collect::<Vec<_>>();
        assert_eq!(nos(messages::list(&mut conn, id, &with_code, 0, 10).await.unwrap().items), [3, 5]);
        let to = Filter { to: Some(phone(7)), ..Filter::default() };
        assert_eq!(nos(messages::list(&mut conn, id, &to, 0, 10).await.unwrap().items), [7]);
    }
    let far = messages::list(&mut conn, id, &Filter::default(), i32::MAX, 10).await.unwrap().items;
    assert!(far.is_empty());
}

/// Whom request 70 names while it is open: 1 waits again, 2 was decided by a later call, 3 was suppressed since, 4 is
/// in request 71 too, 5 has its outcome, 6 has none, 7 is tried again after an older call.
async fn a_request_that_is_open_for_others(conn: &mut PgConnection) -> i64 {
    let id = launched(conn, 7).await;
    sqlx::query("UPDATE tasks SET cursor = 7 WHERE id = $1").bind(id).execute(&mut *conn).await.unwrap();
    for (request, nos, attempts) in [(70, vec![1, 2, 3, 4, 5, 6, 7], vec![1_i16; 7]), (71, vec![4], vec![2])]
    {
        sqlx::query("INSERT INTO requests VALUES ($1, 'main', $2, 1, $3, $4, $5, $5)")
            .bind(i64::from(request))
            .bind(id)
            .bind(nos)
            .bind(attempts)
            .bind(now())
            .execute(&mut *conn)
            .await
            .unwrap();
    }
    for (no, request, state) in [
        (2, 71, MessageState::Failed),
        (3, 72, MessageState::Suppressed),
        (4, 70, MessageState::Retrying),
        (5, 70, MessageState::Accepted),
        (7, 69, MessageState::Retrying),
    ] {
        sqlx::query("INSERT INTO messages (task_id, no, state, attempt, request_id, code) VALUES ($1, $2, $3, 1, $4, '')")
            .bind(id)
            .bind(no)
            .bind(state as i16)
            .bind(i64::from(request))
            .execute(&mut *conn)
            .await
            .unwrap();
        if state.is_trouble() && !matches!(no, 4 | 7) {
            store::troubles::insert(conn, [(id, state, no, "")].into_iter()).await.unwrap();
        }
    }
    sqlx::query("INSERT INTO retries VALUES ($1, 1, $2, 0, 100)")
        .bind(id)
        .bind(now())
        .execute(&mut *conn)
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn nobody_is_shown_as_sending_by_a_call_that_is_behind_them() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let id = a_request_that_is_open_for_others(&mut conn).await;
    let all = messages::list(&mut conn, id, &Filter::default(), 0, 100).await.unwrap().items;
    let shown: Vec<(Place, i16)> = all.iter().map(|one| (one.place, one.attempts)).collect();
    let expected = [
        (Place::Queued, 0),
        (Place::Message(MessageState::Failed), 1),
        (Place::Message(MessageState::Suppressed), 1),
        (Place::Sending, 2),
        (Place::Message(MessageState::Accepted), 1),
        (Place::Sending, 1),
        (Place::Sending, 1),
    ];
    assert_eq!(shown, expected);
    for (place, nos) in [
        (Place::Sending, vec![4, 6, 7]),
        (Place::Queued, vec![1]),
        (Place::Message(MessageState::Retrying), vec![]),
        (Place::Message(MessageState::Failed), vec![2]),
        (Place::Message(MessageState::Accepted), vec![5]),
    ] {
        let filter = Filter { place: Some(place), ..Filter::default() };
        let page = messages::list(&mut conn, id, &filter, 0, 10).await.unwrap().items;
        assert_eq!(page.iter().map(|one| one.no).collect::<Vec<_>>(), nos, "{place:?}");
    }
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let mut claim = async |fingerprint: &'static str| {
        idempotency::claim(&mut conn, "k", "campaigns", fingerprint, now()).await.unwrap()
    };
    assert_eq!(claim("a").await, Claim::New);
    assert_eq!(claim("a").await, Claim::UnderWay);
    assert_eq!(claim("b").await, Claim::OtherRequest);
    idempotency::complete(&mut conn, "k", "campaigns", 7).await.unwrap();
    let again = idempotency::claim(&mut conn, "k", "campaigns", "a", now()).await.unwrap();
    assert_eq!(again, Claim::Done(7));
    let elsewhere = idempotency::claim(&mut conn, "k", "audiences", "a", now()).await.unwrap();
    assert_eq!(elsewhere, Claim::New);
    idempotency::release(&mut conn, "k", "audiences").await.unwrap();
    assert_eq!(idempotency::forget(&mut conn, now() + TimeDelta::days(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_listed_number_keeps_its_reason_unless_that_ends_sooner() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    use suppressions::Reason;
    let soon = Some(now() + TimeDelta::days(1));
    let add = suppressions::add;
    assert_eq!(
        add(&mut conn, &[phone(1), phone(2), phone(1)], Reason::OptOut, "wa", None, now())
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        add(&mut conn, &[phone(1), phone(3)], Reason::Invalid, "131026", soon, now()).await.unwrap(),
        [phone(3)]
    );
    assert_eq!(add(&mut conn, &[phone(3)], Reason::Manual, "api", None, now()).await.unwrap(), []);
    let list =
        suppressions::list(&mut conn, &suppressions::Filter::default(), now(), None, 10).await.unwrap();
    let reasons: Vec<Reason> = list.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [Reason::OptOut, Reason::OptOut, Reason::Manual]);
    let page =
        suppressions::list(&mut conn, &suppressions::Filter::default(), now(), Some(phone(1).as_i64()), 1)
            .await
            .unwrap();
    assert_eq!(page.first().map(|one| one.phone), Some(phone(2)));
    assert!(suppressions::remove(&mut conn, phone(2)).await.unwrap());
    assert!(!suppressions::remove(&mut conn, phone(2)).await.unwrap());
    assert!(!suppressions::remove_for(&mut conn, phone(1), Reason::Manual).await.unwrap());
}
