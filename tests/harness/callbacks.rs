//! Callbacks that a test posts itself, over as many connections as it likes, so that it knows which were answered and how.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use api::{Counts, Task};
use reqwest::StatusCode;
use serde_json::json;
use simulator::{AcceptedMessage, CallbackOptions, SimulatorOptions, Vendor};

use super::{Account, People, World, campaign, within, world::Worlds};

/// How far a report says that a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Come {
    /// It was sent.
    Sent,
    /// It was delivered.
    Delivered,
    /// It was read.
    Read,
}

/// A callback with one report of a message, `at` so many seconds since 1970.
pub fn callback(message: &AcceptedMessage, come: Come, at: i64) -> String {
    let word = match come {
        Come::Sent => "sent",
        Come::Delivered => "delivered",
        Come::Read => "read",
    };
    let (id, to) = (&message.vendor_id, message.to.to_string());
    let body = match message.vendor {
        Vendor::Exotel => json!({"whatsapp": {"messages": [exotel_report(message, come, at)]}}),
        Vendor::SobotIo => {
            json!({"type": "status", "messageId": id, "status": word, "timestamp": at.to_string(), "to": to})
        }
        Vendor::SobotIn => json!({"id": id, "status": word, "timestamp": at.to_string()}),
    };
    body.to_string()
}

/// One of the reports that Exotel posts in one callback.
pub fn exotel_report(message: &AcceptedMessage, come: Come, at: i64) -> serde_json::Value {
    let (code, name) = match come {
        Come::Sent => (30_001, "EX_MESSAGE_SENT"),
        Come::Delivered => (30_002, "EX_MESSAGE_DELIVERED"),
        Come::Read => (30_003, "EX_MESSAGE_SEEN"),
    };
    json!({"callback_type": "dlr", "sid": message.vendor_id, "to": message.to.to_string(), "exo_status_code": code,
           "exo_detailed_status": name, "timestamp": at.to_string(), "custom_data": message.custom_data})
}

/// The counts of a task whose recipients have all come so far.
pub fn everybody(people: People, come: Come) -> Counts {
    let all = i64::try_from(people.0).unwrap();
    let upto = |step: bool| if step { all } else { 0 };
    Counts {
        total: all,
        accepted: all,
        sent: all,
        delivered: upto(come != Come::Sent),
        read: upto(come == Come::Read),
        ..Counts::default()
    }
}

/// Everybody was accepted by one account, and the vendor has reported nothing.
pub struct Silent {
    /// The world.
    pub world: World,
    /// The completed task.
    pub task: i64,
    /// What the vendor accepted.
    pub messages: Vec<AcceptedMessage>,
    /// When the task began, in seconds since 1970.
    pub began: i64,
}

impl Silent {
    /// Sends to everybody.
    pub async fn start(account: Account, people: People) -> Self {
        Self::of(vec![account], people).await
    }

    /// Sends to everybody by the first of several accounts.
    pub async fn of(accounts: Vec<Account>, people: People) -> Self {
        let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
        let options = SimulatorOptions { callbacks, ..SimulatorOptions::default() };
        let world = accounts.into_iter().fold(World::new().simulator(options), Worlds::account);
        let world = world.start().await;
        let audience = world.import_people(people).await;
        let task = world.launch(&campaign(world.account(0), audience)).await;
        let done = world.wait_for_completion(task, within(60)).await;
        assert_eq!((done.counts.accepted, done.counts.sent), (done.counts.total, 0), "{:?}", done.counts);
        let messages = world.simulator.messages();
        assert_eq!(messages.len(), people.0);
        let began = done.started_at.expect("it began").timestamp();
        Self { world, task, messages, began }
    }

    /// One callback for each message.
    pub fn callbacks(&self, come: Come) -> Vec<String> {
        self.messages.iter().map(|message| callback(message, come, self.began)).collect()
    }

    /// Waits until the task's counts are these.
    pub async fn comes_to(&self, expected: &Counts) -> Task {
        let is_so = |task: &Task| task.counts == *expected;
        self.world.wait_for_task(self.task, "all reports are applied", within(30), is_so).await
    }
}

/// What became of callbacks.
#[derive(Debug, Default)]
pub struct Answers {
    /// Answered with 200.
    pub kept: Vec<String>,
    /// Answered with 503, or not at all.
    pub not_kept: Vec<String>,
}

impl World {
    /// Where an account's callbacks go.
    pub fn callback_url(&self, account: usize) -> String {
        let account = self.account(account);
        self.url(&format!("/webhooks/{}/{}", account.name, account.webhook_token()))
    }

    /// Posts callbacks of an account over so many connections at once. Any answer but 200 and 503 fails.
    pub async fn post_callbacks(&self, account: usize, bodies: &[String], connections: usize) -> Answers {
        let (client, url) = (reqwest::Client::new(), self.callback_url(account));
        let (next, answers) = (AtomicUsize::new(0), Mutex::new(Answers::default()));
        let post = async || {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = client.post(&url).body(body.clone()).send().await;
                let status = answer.map(|answer| answer.status());
                let mut answers = answers.lock().unwrap();
                match status {
                    Ok(StatusCode::OK) => answers.kept.push(body.clone()),
                    Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(_) => answers.not_kept.push(body.clone()),
                    Ok(other) => panic!("{other} for {body}"),
                }
            }
        };
        futures::future::join_all((0..connections).map(|_| post())).await;
        answers.into_inner().unwrap()
    }

    /// What the database holds of an account's callbacks, and how often.
    pub async fn stored_callbacks(&self, account: usize) -> HashMap<String, i64> {
        let mut conn = self.database.as_ref().expect("a database by URL").connect().await;
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT body, count(*) FROM callbacks, unnest(bodies) body WHERE account = $1 AND kind = 1 GROUP BY body",
        )
        .bind(&self.account(account).name)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        rows.into_iter().collect()
    }
}
