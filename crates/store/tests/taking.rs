//! Taking recipients against a real database: nobody is taken twice, whatever was prefetched twice.

#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]
use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use model::{Phone, limits::FrequencyCap, status::MessageState};
use sqlx::PgConnection;
use store::{
    audit,
    groups::{self, Group},
    guards::Guards,
    intents::{ANY_BATCH, Committed, Deferred, Intent, Prior, Source, Taken},
    leases::{self, Lease},
    outcomes::{Again, CallResult, Outcome, Why},
    runs,
    settling::{self, Settling},
    tasks, testing,
};
use uuid::Uuid;

const RECIPIENTS: i32 = 10;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// A running task of ten recipients.
async fn running_task(conn: &mut PgConnection) -> i64 {
    running_task_of(conn, "main").await
}

async fn running_task_of(conn: &mut PgConnection, account: &str) -> i64 {
    sqlx::query_scalar(
        "WITH a AS (
            INSERT INTO audiences (name, status, rows_accepted, heartbeat_at, created_at)
            VALUES ('people', 2, $1, $2, $2) RETURNING id
         ), c AS (
            INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority,
                                   max_attempts, on_unknown, created_at)
            SELECT 'Offer', 2, $3, '+911', id, '{}', 1, 2, 5, 1, $2 FROM a RETURNING id, audience_id
         )
         INSERT INTO tasks (campaign_id, account, sender, audience_id, state, total, created_at)
         SELECT id, $3, '+911', audience_id, 2, $1, $2 FROM c RETURNING id",
    )
    .bind(RECIPIENTS)
    .bind(now())
    .bind(account)
    .fetch_one(conn)
    .await
    .unwrap()
}

async fn lease(database: &testing::TestDatabase) -> Lease {
    lease_of(database, "main").await
}

async fn lease_of(database: &testing::TestDatabase, account: &str) -> Lease {
    let pools = database.open();
    let acquired = leases::acquire(&pools.leases, account, Uuid::from_u128(1)).await.unwrap().unwrap();
    pools.close().await;
    acquired.lease
}

fn intent(request_id: i64, task_id: i64, source: Source, nos: std::ops::RangeInclusive<i32>) -> Intent {
    let prior = if source == Source::Retries { Prior::Waiting } else { Prior::Queued };
    let taken = |no: i32| Taken {
        no,
        phone: Phone::from_digits(919_000_000_000 + u64::try_from(no).unwrap()).unwrap(),
        attempt: 1,
        prior: prior.clone(),
        batch_max: ANY_BATCH,
    };
    Intent {
        request_id,
        task_id,
        source,
        taken: nos.map(taken).collect(),
        unfit: Vec::new(),
        deferred: Vec::new(),
        is_marketing: true,
        guards: Arc::default(),
        early: Vec::new(),
    }
}

fn group<'a>(number: i64, intents: &'a [&'a Intent], outcomes: &'a [&'a Outcome]) -> Group<'a> {
    let deadline_at = now() + TimeDelta::seconds(20);
    Group {
        number,
        intents,
        outcomes,
        closed: &[],
        now: now(),
        deadline_at,
        is_careful: false,
        counts_marketing: false,
    }
}

async fn commit(conn: &mut PgConnection, lease: &Lease, intents: &[Intent]) -> Vec<Committed> {
    let intents: Vec<&Intent> = intents.iter().collect();
    groups::write(conn, lease, &group(1, &intents, &[])).await.unwrap()
}

fn nobody() -> Committed {
    Committed::Only(HashSet::new())
}

/// A quick pause and resume lets a pacer read the same recipients again while what it read before still waits for the
/// committer: both may come in one group.
#[tokio::test]
async fn recipients_that_were_prefetched_twice_are_taken_once_in_one_group() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&database).await;
    let fresh = |request_id, from: i32, to: i32| {
        intent(request_id, task_id, Source::Fresh { from, to }, from + 1..=to)
    };
    let group = [fresh(1, 0, 4), fresh(2, 4, 6), fresh(3, 0, 3), fresh(4, 4, 5), fresh(5, 6, 8)];
    let committed = commit(&mut conn, &lease, &group).await;
    use Committed::{All, Dropped};
    let wanted = [All, All, Dropped, Dropped, All];
    assert_eq!(committed, wanted);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!((audit.counts.sending, audit.counts.queued), (8, 2));
}

#[tokio::test]
async fn a_retry_that_was_read_twice_is_taken_once_in_one_group() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&database).await;
    // Withdrawn calls: taken, and back to wait for their first call.
    sqlx::query("UPDATE tasks SET cursor = 3 WHERE id = $1").bind(task_id).execute(&mut conn).await.unwrap();
    sqlx::query("INSERT INTO retries SELECT $1, no, $2, 0, 100 FROM generate_series(1, 3) AS i (no)")
        .bind(task_id)
        .bind(now())
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query("INSERT INTO progress VALUES ($1, 1, '', 3)").bind(task_id).execute(&mut conn).await.unwrap();
    let group = [intent(1, task_id, Source::Retries, 1..=2), intent(2, task_id, Source::Retries, 2..=3)];
    let committed = commit(&mut conn, &lease, &group).await;
    assert_eq!(committed, [Committed::All, Committed::Only(HashSet::from([3]))]);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!((audit.counts.sending, audit.counts.queued), (3, 7));
}

/// Whoever may only travel in a small batch and is held back by a limit may do so afterwards, too.
#[tokio::test]
async fn whoever_is_put_off_keeps_the_size_of_batch() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&database).await;
    let mut fresh = intent(1, task_id, Source::Fresh { from: 0, to: 2 }, 1..=2);
    fresh.taken[0].batch_max = 25;
    let later = now() + TimeDelta::seconds(6);
    fresh.early = vec![(1, later), (2, later)];
    assert_eq!(commit(&mut conn, &lease, &[fresh]).await, [nobody()]);
    let waiting: Vec<(i32, i16)> =
        sqlx::query_as("SELECT no, batch_max FROM retries ORDER BY no").fetch_all(&mut conn).await.unwrap();
    assert_eq!(waiting, [(1, 25), (2, ANY_BATCH)]);
}

/// A request stays open while one of its single calls hangs; whoever came back from it may be taken again meanwhile, and
/// what that later request found is the last word, also when nothing left.
#[tokio::test]
async fn a_later_request_speaks_for_who_is_named_by_two_open_ones() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&database).await;
    let first = intent(1, task_id, Source::Fresh { from: 0, to: 3 }, 1..=3);
    assert_eq!(commit(&mut conn, &lease, std::slice::from_ref(&first)).await, [Committed::All]);
    // The call of number 1 never began; number 2 hangs on, so the request stays open.
    let withdrawn = Outcome {
        task_id,
        request_id: 1,
        taken: first.taken[0].clone(),
        result: CallResult::Requeued(Again { due_at: now(), attempts_used: 0, batch_max: i16::MAX }),
        at: now(),
    };
    groups::write(&mut conn, &lease, &group(2, &[], &[&withdrawn])).await.unwrap();
    sqlx::query("INSERT INTO suppressions VALUES ($1, 3, 'test', $2)")
        .bind(first.taken[0].phone.as_i64())
        .bind(now())
        .execute(&mut conn)
        .await
        .unwrap();
    let again = intent(2, task_id, Source::Retries, 1..=1);
    assert_eq!(commit(&mut conn, &lease, &[again]).await, [nobody()]);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);

    // The process dies: who is still named by the open request alone becomes unknown, and nobody else.
    settle(&mut conn, &lease, &|_, _, _| false).await;
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!((audit.counts.suppressed, audit.counts.unknown, audit.counts.sending), (1, 2, 0));
}

/// The next epoch settles what the lease left open.
async fn settle(conn: &mut PgConnection, lease: &Lease, never_began: settling::NeverBegan<'_>) {
    let next = Lease { epoch: lease.epoch + 1, ..lease.clone() };
    sqlx::query("UPDATE account_leases SET epoch = $1").bind(next.epoch).execute(&mut *conn).await.unwrap();
    let why = &Why { code: "process_died".into(), reason: String::new() };
    let settling = Settling { never_began, why, now: now(), counts_marketing: false };
    assert!(settling::settle_older_epochs(conn, &next, &settling).await.unwrap());
    assert!(!settling::settle_older_epochs(conn, &next, &settling).await.unwrap());
}

/// Of five who are open, 1 and 2 were tried before; 2 and 4 were never called again. 2 waits for its next call after the same
/// code as before, 4 for its first; a vendor's late word of an earlier call leaves nobody to be called again.
#[tokio::test]
async fn whoever_was_never_called_is_back_where_it_was() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let recipients = "INSERT INTO recipients
                      SELECT audience_id, no, 919000000000 + no, '{}' FROM tasks, generate_series(1, 5) AS i (no)";
    sqlx::query(recipients).execute(&mut conn).await.unwrap();
    let lease = lease(&database).await;
    let first = intent(1, task_id, Source::Fresh { from: 0, to: 5 }, 1..=5);
    assert_eq!(commit(&mut conn, &lease, std::slice::from_ref(&first)).await, [Committed::All]);
    let refused = |index: usize| Outcome {
        task_id,
        request_id: 1,
        taken: first.taken[index].clone(),
        result: CallResult::Retry(
            Why { code: "500".into(), reason: "it broke".into() },
            Again { due_at: now(), attempts_used: 1, batch_max: i16::MAX },
        ),
        at: now(),
    };
    let (one, two, three) = (refused(0), refused(1), refused(2));
    groups::write(&mut conn, &lease, &group(2, &[], &[&one, &two, &three])).await.unwrap();
    let mut again = intent(2, task_id, Source::Retries, 1..=3);
    for taken in &mut again.taken {
        (taken.attempt, taken.prior) = (2, Prior::Retrying("500".into()));
    }
    assert_eq!(commit(&mut conn, &lease, &[again]).await, [Committed::All]);
    // An earlier call of 3 is heard of after all.
    sqlx::query("UPDATE messages SET state = 1, code = NULL WHERE no = 3").execute(&mut conn).await.unwrap();

    settle(&mut conn, &lease, &|epoch, request, index| {
        assert_eq!(epoch, lease.epoch);
        (request, index) == (1, 3) || (request, index) == (2, 1) || (request, index) == (2, 2)
    })
    .await;
    let waiting: Vec<(i32, i16)> =
        sqlx::query_as("SELECT no, attempt FROM retries ORDER BY no").fetch_all(&mut conn).await.unwrap();
    assert_eq!(waiting, [(2, 1), (4, 0)]);
    let unknown: Vec<i32> = sqlx::query_scalar("SELECT no FROM messages WHERE state = $1 ORDER BY no")
        .bind(MessageState::Unknown as i16)
        .fetch_all(&mut conn)
        .await
        .unwrap();
    assert_eq!(unknown, [1, 3, 5]);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert_eq!((audit.counts.queued, audit.counts.retrying, audit.counts.unknown), (6, 1, 3));
    assert_eq!(audit.counts.sending, 0);
}

#[tokio::test]
async fn a_retry_that_was_written_since_it_was_read_is_left_alone() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&database).await;
    sqlx::query("UPDATE tasks SET cursor = 2 WHERE id = $1").bind(task_id).execute(&mut conn).await.unwrap();
    // One has used up an attempt since, the other is due later.
    sqlx::query("INSERT INTO retries VALUES ($1, 1, $2, 1, 100), ($1, 2, $2 + interval '1 hour', 0, 100)")
        .bind(task_id)
        .bind(now())
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query("INSERT INTO progress VALUES ($1, 1, '', 2)").bind(task_id).execute(&mut conn).await.unwrap();
    let stale = intent(1, task_id, Source::Retries, 1..=2);
    assert_eq!(commit(&mut conn, &lease, &[stale]).await, [nobody()]);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!(audit.counts.queued, 10);
}

/// Recipients 1 to 3 are taken, 4 and 5 put off; then 4 is due and its window closed again, as is that of 1, which is tried
/// again. The tasks' rows say until when it waits once nobody else is left.
#[tokio::test]
async fn whose_window_is_closed_waits_until_it_opens_and_keeps_its_attempts() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&database).await;
    let hours = |hours| now() + TimeDelta::hours(hours);
    let deferred =
        |no, attempts_used, after| Deferred { no, attempts_used, opens_at: now() + TimeDelta::hours(after) };
    let mut fresh = intent(1, task_id, Source::Fresh { from: 0, to: 5 }, 1..=3);
    fresh.deferred = vec![deferred(4, 0, 1), deferred(5, 0, 2)];
    let stale = Intent { request_id: 2, ..fresh.clone() };
    assert_eq!(commit(&mut conn, &lease, &[fresh, stale]).await, [Committed::All, Committed::Dropped]);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!((audit.counts.sending, audit.counts.queued), (3, 7));
    let waits =
        async |conn: &mut PgConnection| tasks::get(conn, task_id).await.unwrap().unwrap().rest_waits_until;
    assert_eq!(waits(&mut conn).await, None, "others are beyond the cursor");
    let mut rest = intent(3, task_id, Source::Fresh { from: 5, to: 10 }, 6..=6);
    rest.taken.clear();
    rest.deferred = (6..=10).map(|no| deferred(no, 0, 2)).collect();
    assert_eq!(commit(&mut conn, &lease, &[rest]).await, [Committed::All]);
    assert_eq!(waits(&mut conn).await, Some(hours(1)));

    // As they are read: page by page, and those whose hour has not come are not.
    let recipients = "INSERT INTO recipients
        SELECT audience_id, no, 919000000000 + no, '{}' FROM tasks CROSS JOIN generate_series(1, $1) AS i (no)";
    sqlx::query(recipients).bind(RECIPIENTS).execute(&mut conn).await.unwrap();
    let due = runs::due(&mut conn, task_id, hours(2), runs::FIRST, 3).await.unwrap();
    assert_eq!(due.iter().map(|due| due.no).collect::<Vec<_>>(), [4, 5, 6]);
    let last = due.last().map(|last| (last.due_at, last.no)).unwrap();
    let due = runs::due(&mut conn, task_id, hours(2), last, 9).await.unwrap();
    assert_eq!(due.iter().map(|due| due.no).collect::<Vec<_>>(), [7, 8, 9, 10]);
    assert_eq!(runs::due(&mut conn, task_id, now(), runs::FIRST, 9).await.unwrap().len(), 0);

    let mut again = intent(4, task_id, Source::Retries, 4..=4);
    again.taken.clear();
    again.deferred = vec![deferred(4, 0, 24), deferred(5, 1, 24), deferred(6, 0, 24)];
    let late = Group { now: hours(1), ..group(2, &[], &[]) };
    groups::write(&mut conn, &lease, &Group { intents: &[&again], ..late }).await.unwrap();
    let rows: Vec<(i32, DateTime<Utc>, i16)> =
        sqlx::query_as("SELECT no, due_at, attempt FROM retries WHERE no <= 6 ORDER BY no")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    // 5 has not been read with its attempts, 6 is not due.
    assert_eq!(rows, [(4, hours(24), 0), (5, hours(2), 0), (6, hours(2), 0)]);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!((audit.counts.sending, audit.counts.queued), (3, 7));
}

/// Whom an account takes of ten persons, each of whom may get one marketing message.
async fn taken_under_a_cap(database: &testing::TestDatabase, account: &str, request_id: i64) -> HashSet<i32> {
    let mut conn = database.connect().await;
    let task_id = running_task_of(&mut conn, account).await;
    let lease = lease_of(database, account).await;
    let cap = Some(FrequencyCap { count: 1, days: 7 });
    let mut wanted = intent(request_id, task_id, Source::Fresh { from: 0, to: 10 }, 1..=10);
    wanted.guards = Arc::new(Guards { cap, ..Guards::default() });
    sqlx::raw_sql("BEGIN").execute(&mut conn).await.unwrap();
    let committed = commit(&mut conn, &lease, &[wanted]).await.remove(0);
    sqlx::raw_sql("COMMIT").execute(&mut conn).await.unwrap();
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    let taken = match committed {
        Committed::All => (1..=10).collect(),
        Committed::Only(nos) => nos,
        Committed::Dropped => panic!("{account}: nobody was taken"),
    };
    assert_eq!(audit.counts.sending + audit.counts.suppressed, 10);
    assert_eq!(usize::try_from(audit.counts.sending).unwrap(), taken.len());
    taken
}

/// The same persons are taken for two accounts at the same instant, as on two nodes.
#[tokio::test]
async fn a_cap_is_kept_by_accounts_that_send_at_once() {
    let database = testing::database().await;
    let (one, other) =
        tokio::join!(taken_under_a_cap(&database, "main", 1), taken_under_a_cap(&database, "other", 2));
    assert!(one.is_disjoint(&other), "{one:?} {other:?}");
    assert_eq!(one.len() + other.len(), 10, "{one:?} {other:?}");
}

#[tokio::test]
async fn a_commit_without_an_answer_can_be_asked_for() {
    let database = testing::database().await;
    let lease = lease(&database).await;
    let pools = database.open();
    let mut conn = database.connect().await;
    for (number, end, is_there) in [(1, "ROLLBACK", false), (2, "COMMIT", true), (3, "ROLLBACK", false)] {
        sqlx::raw_sql("BEGIN").execute(&mut conn).await.unwrap();
        groups::write(&mut conn, &lease, &group(number, &[], &[])).await.unwrap();
        // Nobody may decide about a transaction that is still ending.
        let mut asked = Box::pin(leases::is_committed(&pools.leases, &lease, number));
        let early = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
        assert!(early.is_err(), "asked for {number} while it was under way: {early:?}");
        sqlx::raw_sql(end).execute(&mut conn).await.unwrap();
        assert_eq!(asked.await.unwrap(), is_there, "{number}");
    }
    let older = Lease { epoch: lease.epoch - 1, ..lease };
    assert!(matches!(leases::is_committed(&pools.leases, &older, 2).await, Err(store::Error::Fenced)));
}

#[tokio::test]
async fn the_tasks_of_a_restored_database_are_paused() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let first = lease(&database).await;
    sqlx::query(
        "INSERT INTO unknowns (task_id, no, account, request_id, since, requested_at, deadline_at, is_first_call,
                               ask_at, resend_at)
         VALUES ($1, 1, 'main', 1, now(), now(), now(), true, now(), now())",
    )
    .bind(task_id)
    .execute(&mut conn)
    .await
    .unwrap();
    sqlx::query("UPDATE account_leases SET database_identity = 'another'").execute(&mut conn).await.unwrap();
    let second = lease(&database).await;
    assert_eq!(second.epoch, first.epoch + 1);
    // Nor is anybody sent to again by itself; asking about them does no harm.
    let held = "SELECT resend_at IS NULL AND ask_at IS NOT NULL FROM unknowns";
    assert!(sqlx::query_scalar::<_, bool>(held).fetch_one(&mut conn).await.unwrap());
    let fresh = intent(1, task_id, Source::Fresh { from: 0, to: 3 }, 1..=3);
    assert_eq!(commit(&mut conn, &second, &[fresh]).await, [Committed::Dropped]);
}

#[tokio::test]
async fn a_lease_is_taken_by_its_own_node_at_once_and_by_another_when_it_has_expired() {
    let database = testing::database().await;
    let pools = database.open();
    let [one, two] = [1, 2].map(Uuid::from_u128);
    let first = leases::acquire(&pools.leases, "main", one).await.unwrap().unwrap();
    assert!(leases::acquire(&pools.leases, "main", two).await.unwrap().is_none());
    assert_eq!(leases::acquire(&pools.leases, "main", one).await.unwrap().unwrap().lease.epoch, 2);
    let mut conn = database.connect().await;
    assert!(matches!(leases::fence(&mut conn, &first.lease).await, Err(store::Error::Fenced)));
    sqlx::query("UPDATE account_leases SET expires_at = clock_timestamp()").execute(&mut conn).await.unwrap();
    assert_eq!(leases::acquire(&pools.leases, "main", two).await.unwrap().unwrap().lease.epoch, 3);
}

#[tokio::test]
async fn an_outcome_that_is_there_already_does_not_stop_the_account() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&database).await;
    let first = intent(1, task_id, Source::Fresh { from: 0, to: 2 }, 1..=2);
    assert_eq!(commit(&mut conn, &lease, std::slice::from_ref(&first)).await, [Committed::All]);
    let accepted = |index: usize, id: &str| Outcome {
        task_id,
        request_id: 1,
        taken: first.taken[index].clone(),
        result: CallResult::Accepted(id.to_owned()),
        at: now(),
    };
    let (one, two) = (accepted(0, "one"), accepted(1, "two"));
    sqlx::query("INSERT INTO messages (task_id, no, state, attempt, request_id) VALUES ($1, 1, 7, 1, 1)")
        .bind(task_id)
        .execute(&mut conn)
        .await
        .unwrap();
    let both = [&one, &two];
    let error = groups::write(&mut conn, &lease, &group(2, &[], &both)).await.unwrap_err();
    assert!(error.is_duplicate(), "{error}");
    let careful = Group { is_careful: true, closed: &[1], ..group(3, &[], &both) };
    groups::write(&mut conn, &lease, &careful).await.unwrap();
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!((audit.counts.accepted, audit.counts.sending), (2, 0));
}

#[tokio::test]
async fn an_older_epoch_writes_nothing() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&database).await;
    let older = Lease { epoch: lease.epoch - 1, ..lease };
    let fresh = intent(1, task_id, Source::Fresh { from: 0, to: 3 }, 1..=3);
    let error = groups::write(&mut conn, &older, &group(1, &[&fresh], &[])).await.unwrap_err();
    assert!(matches!(error, store::Error::Fenced), "{error}");
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert_eq!(audit.counts.queued, 10);
}
