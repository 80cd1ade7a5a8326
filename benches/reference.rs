//! The same calls without a database, by two clients: the project's own `vendors`, and the cheapest that can be.
//!
//! Both send the same bodies to the same null vendor with as many calls in flight, each in a process of its own.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, anyhow, ensure};
use model::{
    Clock, Phone,
    campaign::Category,
    message::{Columns, Message},
    report::Correlation,
    verdict::Verdict,
};
use serde::{Deserialize, Serialize};
use vendors::{Account, AccountConfig, AccountSettings, Compiled, Outgoing};

use crate::{machine, people, raw_client};

/// What is to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calls {
    /// The account, as the daemon's configuration has it.
    pub account: serde_json::Value,
    /// Where callbacks are asked for.
    pub callback_url: Option<String>,
    /// How many recipients.
    pub messages: u64,
    /// How many of them share a call.
    pub batch: u64,
    /// How many calls at once.
    pub in_flight: u64,
}

/// What it took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// From the first call to the last answer.
    pub elapsed_us: f64,
    /// CPU of the client alone.
    pub cpu_us: f64,
}

struct Sending {
    account: Account,
    compiled: Compiled,
    calls: Calls,
    next: AtomicU64,
    accepted: AtomicU64,
}

fn prepare(how: &str) -> Result<Sending> {
    let calls: Calls = serde_json::from_str(how)?;
    let settings: AccountSettings = serde_json::from_value(calls.account.clone())?;
    let config = AccountConfig::try_from(settings).map_err(|errors| anyhow!("{errors:?}"))?;
    let account = Account::connect(&config, calls.callback_url.as_deref(), clock())?;
    let message = Message::parse(&people::message()).map_err(|errors| anyhow!("{errors:?}"))?;
    let columns = Columns::new(people::COLUMNS.map(str::to_owned).to_vec()).with_phone_column("phone");
    let from = &config.senders.first().context("the account has a sender")?.from;
    let compiled = account.compile(&message, &columns, from, Category::Marketing);
    let compiled = compiled.map_err(|errors| anyhow!("{errors:?}"))?;
    Ok(Sending { account, compiled, calls, next: AtomicU64::new(0), accepted: AtomicU64::new(0) })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is handed no clock")]
fn clock() -> Clock {
    Clock::new(|| std::time::SystemTime::now().into())
}

impl Sending {
    fn outgoing(&self, number: u64) -> Result<Outgoing> {
        let to = Phone::from_digits(people::digits(number)).context("a phone")?;
        let values = people::values(number);
        let row: Vec<&str> = values.iter().map(String::as_str).collect();
        let rendered = self.compiled.render(to, &row).map_err(|error| anyhow!("{error:?}"))?;
        let correlation =
            Correlation { request_id: 1_000_000 + number as i64 / 64, task_id: 1, no: number as i32 + 1 };
        Ok(Outgoing { to, correlation, rendered })
    }

    fn call(&self, first: u64) -> Result<Vec<Outgoing>> {
        let end = (first + self.calls.batch).min(self.calls.messages);
        (first..end).map(|number| self.outgoing(number)).collect()
    }
}

/// The role of the project's own client.
pub fn run_vendors_client(how: &str) -> Result<()> {
    let sending = Arc::new(prepare(how)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let start = machine::now_us();
    runtime.block_on(async {
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..sending.calls.in_flight {
            workers.spawn(work(Arc::clone(&sending)));
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    })?;
    let elapsed_us = (machine::now_us() - start) as f64;
    let accepted = sending.accepted.load(Ordering::Relaxed);
    ensure!(accepted == sending.calls.messages, "only {accepted} were accepted");
    print(Taken { elapsed_us, cpu_us: machine::cpu_us(std::process::id())? })
}

async fn work(sending: Arc<Sending>) -> Result<()> {
    loop {
        let first = sending.next.fetch_add(sending.calls.batch, Ordering::Relaxed);
        if first >= sending.calls.messages {
            return Ok(());
        }
        let verdicts = sending.account.send(&sending.compiled.facts, &sending.call(first)?).await;
        let accepted = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted { .. })).count();
        sending.accepted.fetch_add(accepted as u64, Ordering::Relaxed);
    }
}

/// What the cheapest client needs to make the same calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BareCalls {
    /// What to send.
    pub calls: Calls,
    /// To where.
    pub address: SocketAddr,
    /// The head of a call as the null vendor received it from the daemon.
    pub head: String,
}

/// The role of the cheapest client. Bodies are rendered as they are sent, as the others do.
pub fn run_bare_client(how: &str) -> Result<()> {
    let bare: BareCalls = serde_json::from_str(how)?;
    let sending = prepare(&serde_json::to_string(&bare.calls)?)?;
    let kept = bare.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length"));
    let head = kept.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\r\n");
    let calls = &sending.calls;
    let total = calls.messages.div_ceil(calls.batch);
    let outcome = raw_client::run(bare.address, calls.in_flight as usize, total, |number, request| {
        let Ok(messages) = sending.call(number * calls.batch) else { return };
        write_call(request, &head, calls, &messages);
    })?;
    ensure!(outcome.refused == 0, "{} calls were refused", outcome.refused);
    print(Taken { elapsed_us: outcome.elapsed_us as f64, cpu_us: machine::cpu_us(std::process::id())? })
}

fn print(taken: Taken) -> Result<()> {
    println!("{}", serde_json::to_string(&taken)?);
    Ok(())
}

/// Appends a call as the `vendors` crate writes it: `head` without its length, then one rendered message or many.
fn write_call(request: &mut Vec<u8>, head: &str, calls: &Calls, messages: &[Outgoing]) {
    let mut body = Vec::new();
    if calls.batch > 1 {
        let callback_url = calls.callback_url.as_deref().unwrap_or_default();
        let _ = write!(body, "{{\"status_callback\":\"{callback_url}\",\"whatsapp\":{{\"messages\":[");
        for (i, message) in messages.iter().enumerate() {
            if i > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&message.rendered);
            let _ = write!(body, ",\"custom_data\":\"{}\"}}", message.correlation.encode());
        }
        body.extend_from_slice(b"]}}");
    } else if let [message] = messages {
        body.extend_from_slice(&message.rendered);
    }
    let _ = write!(request, "{head}\r\ncontent-length: {}\r\n\r\n", body.len());
    request.extend_from_slice(&body);
}
