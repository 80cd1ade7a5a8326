//! A callback is answered with 200 only once it is durable: in a burst, while the database is away, and when the daemon is
//! killed in between. Nothing that was answered is lost, and nothing that is repeated counts twice.

use std::collections::{HashMap, HashSet};

use sqlx::{ConnectOptions as _, PgConnection};

use crate::harness::{
    Account, People, World,
    callbacks::{Answers, Come, Silent, everybody},
    within,
};

fn exotel() -> Account {
    Account::exotel().set("batch_size", 100).sender("messages_per_second", 5_000)
}

fn sobot_io() -> Account {
    Account::sobot_io().set("max_in_flight", 60).sender("messages_per_second", 2_000)
}

/// Posts until every callback has been answered with 200; how many were not at first.
async fn post_until_kept(world: &World, bodies: &[String], connections: usize) -> usize {
    let mut answers = world.post_callbacks(0, bodies, connections).await;
    let refused = answers.not_kept.len();
    for _ in 0..20 {
        if answers.not_kept.is_empty() {
            return refused;
        }
        answers = world.post_callbacks(0, &answers.not_kept, connections).await;
    }
    panic!("{} callbacks are refused again and again", answers.not_kept.len());
}

/// Fails unless the database holds whatever was answered with 200.
fn assert_holds(stored: &HashMap<String, i64>, answers: &Answers) {
    let lost = answers.kept.iter().filter(|body| !stored.contains_key(*body)).count();
    assert_eq!(
        lost,
        0,
        "{lost} of {} callbacks that were answered with 200 are not stored",
        answers.kept.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_at_once_and_all_of_them_again() {
    let people = People(10_000);
    let silent = Silent::start(exotel(), people).await;
    let bodies = silent.callbacks(Come::Delivered);
    let refused = post_until_kept(&silent.world, &bodies, 250).await;
    let stored = silent.world.stored_callbacks(0).await;
    assert_eq!(stored.len(), people.0, "{refused} were refused at first");
    // What was answered with 200 the first time is there once.
    assert!(refused > 0 || stored.values().all(|times| *times == 1));
    silent.comes_to(&everybody(people, Come::Delivered)).await;

    // Repeated, and a step that comes behind the one after it.
    let sent = silent.callbacks(Come::Sent);
    let again: Vec<String> = bodies.into_iter().rev().step_by(4).chain(sent.into_iter().step_by(4)).collect();
    post_until_kept(&silent.world, &again, 100).await;
    let task = silent.world.all_reports_are_applied(silent.task).await;
    assert_eq!(task.counts, everybody(people, Come::Delivered));
    people.assert_each_accepted_once(&silent.world.simulator.accepted_by_recipient());
    silent.world.audit().await;
}

/// Kills the daemon in the middle of callbacks, as it passes `point`, and posts again what was not answered; returns what
/// the database held while no daemon ran, and the answers until then.
async fn killed_at(silent: &mut Silent, point: &str, bodies: &[String]) -> (HashMap<String, i64>, Answers) {
    silent.world.kill_at(point, 6);
    let answers = silent.world.post_callbacks(0, bodies, 40).await;
    silent.world.died_at(point, within(20)).await;
    let stored = silent.world.stored_callbacks(0).await;
    assert!(!answers.kept.is_empty() && !answers.not_kept.is_empty(), "it was not killed in the middle");
    assert_holds(&stored, &answers);
    silent.world.restart().await;
    post_until_kept(&silent.world, &answers.not_kept, 40).await;
    (stored, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_the_commit_and_the_answer_loses_nothing_and_counts_nothing_twice() {
    let people = People(1_000);
    let mut silent = Silent::start(sobot_io(), people).await;

    let bodies = silent.callbacks(Come::Sent);
    killed_at(&mut silent, "inbox.before_store", &bodies).await;
    silent.comes_to(&everybody(people, Come::Sent)).await;

    let bodies = silent.callbacks(Come::Delivered);
    let (stored, answers) = killed_at(&mut silent, "inbox.after_store", &bodies).await;
    let unanswered: HashSet<&String> = answers.not_kept.iter().collect();
    let committed = stored.keys().filter(|body| unanswered.contains(body)).count();
    assert!(committed > 0, "the kill came before the commit");
    silent.comes_to(&everybody(people, Come::Delivered)).await;
    let stored = silent.world.stored_callbacks(0).await;
    let twice = bodies.iter().filter(|body| stored[*body] > 1).count();
    assert_eq!(twice, committed, "what had been committed without an answer came twice");

    let task = silent.world.all_reports_are_applied(silent.task).await;
    assert_eq!(task.counts, everybody(people, Come::Delivered));
    people.assert_each_accepted_once(&silent.world.simulator.accepted_by_recipient());
    silent.world.audit().await;
}

/// Lets nobody into the world's database any more, or lets everybody in again.
async fn let_in(world: &World, is_open: bool) {
    let database = world.database.as_ref().expect("a database by URL");
    let mut conn = database.connect_options().database("postgres").connect().await.unwrap();
    run(&mut conn, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS {is_open}", database.name())).await;
    if !is_open {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            database.name()
        );
        run(&mut conn, &end).await;
    }
}

async fn run(conn: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(conn).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_none_is_taken() {
    let people = People(300);
    let silent = Silent::start(sobot_io(), people).await;
    let bodies = silent.callbacks(Come::Delivered);
    let (before, during) = bodies.split_at(100);
    assert!(silent.world.post_callbacks(0, before, 20).await.not_kept.is_empty());

    let_in(&silent.world, false).await;
    let answers = silent.world.post_callbacks(0, during, 100).await;
    assert_eq!(answers.kept.len(), 0, "answered with 200 while there was no database");
    // Whatever was answered before is there, and nothing else.
    let_in(&silent.world, true).await;
    assert_eq!(silent.world.stored_callbacks(0).await.len(), before.len());

    post_until_kept(&silent.world, during, 20).await;
    silent.comes_to(&everybody(people, Come::Delivered)).await;
    silent.world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_in_time_is_asked_for_again() {
    let people = People(50);
    let silent = Silent::start(sobot_io(), people).await;
    let bodies = silent.callbacks(Come::Delivered);
    let mut conn = silent.world.database.as_ref().unwrap().connect().await;
    run(&mut conn, "BEGIN; LOCK TABLE callbacks").await;
    let answers = silent.world.post_callbacks(0, &bodies, 50).await;
    assert_eq!(answers.kept.len(), 0, "answered with 200 before it was stored");
    run(&mut conn, "ROLLBACK").await;

    post_until_kept(&silent.world, &bodies, 10).await;
    silent.comes_to(&everybody(people, Come::Delivered)).await;
    let task = silent.world.all_reports_are_applied(silent.task).await;
    assert_eq!(task.counts, everybody(people, Come::Delivered));
    silent.world.audit().await;
}
