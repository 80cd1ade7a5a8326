//! The real daemon with its private cluster and a null vendor, driven over HTTP as a user drives it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use api::{Audience, AudienceStatus, NewCampaign, Task, client};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use store::private_cluster::TemporaryDataDir;

use crate::{
    machine, people,
    process::{self, NullVendor},
    psql::Psql,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_campaignd");
/// An administrator's token of every daemon here.
pub const TOKEN: &str = "the-administrators-token-of-benchmarks";
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

/// An account of the daemon's configuration.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its keys beside the name, as the configuration has them; `senders` too.
    pub keys: Value,
}

impl Account {
    /// One recipient per call, by a vendor that takes so long.
    pub fn single(name: &str, vendor: &NullVendor, delay_ms: u64, in_flight: u64) -> Self {
        let keys = json!({
            "name": name, "vendor": "sobot_in", "base_url": vendor.base_url(delay_ms),
            "access_key": "access", "secret_key": "secret", "webhook_token": "token",
            "max_in_flight": in_flight, "senders": [{"from": format!("918788{delay_ms:06}")}],
        });
        Self { name: name.to_owned(), keys }
    }

    /// So many recipients per call.
    pub fn batch(name: &str, vendor: &NullVendor, batch: u64, in_flight: u64) -> Self {
        let keys = json!({
            "name": name, "vendor": "exotel", "base_url": vendor.base_url(0),
            "account_sid": name, "api_key": "key", "api_token": "token", "webhook_token": "token",
            "batch_size": batch, "max_in_flight": in_flight, "senders": [{"from": "+919999000001"}],
        });
        Self { name: name.to_owned(), keys }
    }

    /// With these senders, each at this rate.
    pub fn with_senders(mut self, from: &[String], per_second: u64) -> Self {
        let sender = |from: &String| json!({"from": from, "messages_per_second": per_second});
        self.keys["senders"] = from.iter().map(sender).collect();
        self
    }

    /// Its first sender.
    pub fn from(&self) -> &str {
        self.keys["senders"][0]["from"].as_str().unwrap_or_default()
    }

    /// How many recipients share a call.
    pub fn batch_size(&self) -> u64 {
        self.keys["batch_size"].as_u64().unwrap_or(1)
    }

    /// How many calls at once.
    pub fn in_flight(&self) -> u64 {
        self.keys["max_in_flight"].as_u64().unwrap_or(16)
    }

    fn toml(&self) -> String {
        let mut text = String::from("[[accounts]]\n");
        let Value::Object(keys) = &self.keys else { return text };
        for (key, value) in keys.iter().filter(|(key, _)| *key != "senders") {
            let _ = writeln!(text, "{key} = {value}");
        }
        for sender in keys["senders"].as_array().into_iter().flatten() {
            text.push_str("[[accounts.senders]]\n");
            for (key, value) in sender.as_object().into_iter().flatten() {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    }
}

/// The daemon, its database and its vendor. Dropping it ends them by their ids, then removes the folder.
pub struct World {
    daemon: Daemon,
    /// Its accounts.
    pub accounts: Vec<Account>,
    /// The vendor.
    pub vendor: NullVendor,
    /// Its interface.
    pub api: client::Client,
    /// Its address.
    pub url: String,
    /// Its database.
    pub psql: Psql,
    folder: TemporaryDataDir,
}

impl World {
    /// Starts all, and sends a few messages with each account, so that connections and caches are warm.
    pub async fn start(accounts: impl FnOnce(&NullVendor) -> Vec<Account>) -> Result<Self> {
        let vendor = NullVendor::start()?;
        let accounts = accounts(&vendor);
        let world = Self::start_cold(vendor, accounts).await?;
        world.warm_up().await?;
        Ok(world)
    }

    /// Starts all, and does nothing with it.
    pub async fn start_cold(vendor: NullVendor, accounts: Vec<Account>) -> Result<Self> {
        // Never where files are kept in memory: durability would cost nothing there.
        let folder = TemporaryDataDir::create_in(&std::env::temp_dir(), "bench")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let url = format!("http://127.0.0.1:{port}");
        let mut config =
            format!("[server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{url}\"\n[database]\n");
        writeln!(config, "data_dir = \"{}\"", folder.path().join("data").display())?;
        accounts.iter().for_each(|account| config.push_str(&account.toml()));
        fs::write(folder.path().join("campaignd.toml"), config)?;
        let api = client::Client::new(&url, Some(TOKEN))?;
        let mut daemon = Daemon::start(folder.path())?;
        if let Err(error) = ready(&api, &mut daemon).await {
            let log = fs::read_to_string(folder.path().join("log.txt")).unwrap_or_default();
            bail!("{error:#}; its log:\n{log}");
        }
        let psql = Psql::to(&folder.path().join("data"))?;
        Ok(Self { daemon, accounts, vendor, api, url, psql, folder })
    }

    async fn warm_up(&self) -> Result<()> {
        const RECIPIENTS: u64 = 2_000;
        let audience = self.import(RECIPIENTS).await?;
        for account in &self.accounts {
            self.vendor.reset(false)?;
            let task = self.launch(account, audience, json!({})).await?;
            self.accepted(task, RECIPIENTS).await?;
        }
        Ok(())
    }

    /// The account with this name.
    pub fn account(&self, name: &str) -> Result<&Account> {
        self.accounts.iter().find(|account| account.name == name).context("an account of the world")
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.daemon.pid
    }

    /// A file of this world, removed with it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// CPU in microseconds so far: the daemon's, and that of all its database's processes.
    pub fn cpu_us(&self) -> Result<(f64, f64)> {
        Ok((machine::cpu_us(self.pid())?, machine::family_cpu_us(self.psql.postmaster)?))
    }

    /// Imports so many recipients from a file, and returns the audience.
    pub async fn import(&self, recipients: u64) -> Result<i64> {
        self.import_from(0, recipients).await
    }

    /// Imports so many recipients from the one with this number on; the audience.
    pub async fn import_from(&self, first: u64, recipients: u64) -> Result<i64> {
        let path = self.file(&format!("{first}-{recipients}.csv"));
        if !path.exists() {
            people::write_csv(&path, first, recipients)?;
        }
        let audience = self.import_file(&path).await?;
        ensure!(audience.rows.accepted == recipients as i64, "imported {:?}", audience.rows);
        Ok(audience.id)
    }

    /// Imports a file.
    pub async fn import_file(&self, path: &Path) -> Result<Audience> {
        let how = client::ImportAudience { name: "Bench".to_owned(), wait: true, ..Default::default() };
        let file = tokio::fs::File::open(path).await?;
        let bytes = file.metadata().await?.len();
        let audience = self.api.import_audience(&how, file, Some(bytes), None).await?;
        ensure!(audience.status == AudienceStatus::Ready, "the import ended as {audience:?}");
        Ok(audience)
    }

    /// Waits until nobody was written to for six seconds: people who were sent to a moment ago would be put off.
    pub async fn rest(&self) {
        tokio::time::sleep(Duration::from_millis(6_100)).await;
    }

    /// Launches a campaign; `change` lies over what is usual. Returns its task.
    pub async fn launch(&self, account: &Account, audience: i64, change: Value) -> Result<i64> {
        let mut campaign = json!({
            "name": "Bench", "account": account.name, "from": account.from(), "audience_id": audience,
            "message": people::message(), "launch": true,
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            campaign[key] = value.clone();
        }
        let campaign: NewCampaign = serde_json::from_value(campaign)?;
        self.api.create_campaign(&campaign, None).await?.task_id.context("a launched campaign has a task")
    }

    /// Waits until so many of the task are accepted and recorded, with little load of its own; returns when that was.
    ///
    /// The vendor's count of messages, from the last reset on, says when to begin to ask the daemon.
    pub async fn accepted(&self, task: i64, count: u64) -> Result<u64> {
        const LIMIT: Duration = Duration::from_secs(900);
        const LOOK: Duration = Duration::from_millis(10);
        let start = Instant::now();
        while self.vendor.counted()?.messages < count && start.elapsed() < LIMIT {
            tokio::time::sleep(LOOK).await;
        }
        loop {
            let found = self.api.task(task).await?;
            if found.counts.accepted >= count as i64 {
                return Ok(machine::now_us());
            }
            ensure!(start.elapsed() < LIMIT, "waited in vain for {count} accepted: {found:?}");
            tokio::time::sleep(LOOK / 2).await;
        }
    }

    /// Waits until the task is as wanted.
    pub async fn wait(&self, task: i64, is_so: impl Fn(&Task) -> bool) -> Result<Task> {
        let start = Instant::now();
        loop {
            let found = self.api.task(task).await?;
            if is_so(&found) {
                return Ok(found);
            }
            ensure!(start.elapsed() < Duration::from_secs(900), "waited in vain: {found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A daemon and the process that ends it when this one is gone, however that happens.
struct Daemon {
    keeper: Child,
    pid: u32,
}

impl Daemon {
    fn start(folder: &Path) -> Result<Self> {
        let mut command = process::role("daemon", &folder)?;
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let pid = line.trim().parse().context("the daemon's process")?;
        Ok(Self { keeper, pid })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The role of the daemon's keeper: starts it, prints its process id, and ends it in order when our standard input does.
pub fn keep(how: &str) -> Result<()> {
    let folder: PathBuf = serde_json::from_str(how)?;
    let log = File::create(folder.join("log.txt"))?;
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CAMPAIGND_")) {
        command.env_remove(name);
    }
    command.env_remove("DATABASE_URL").env_remove("RUST_LOG").env("CAMPAIGND_ADMIN_TOKEN", TOKEN);
    command.arg("--config").arg(folder.join("campaignd.toml")).arg("serve");
    command.current_dir(&folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut daemon = command.spawn().with_context(|| format!("start {PROGRAM}"))?;
    println!("{}", daemon.id());
    let pid = Pid::from_raw(daemon.id().cast_signed());
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        told.store(true, Ordering::SeqCst);
        // Its database ends with it.
        let _ = kill(pid, Signal::SIGTERM);
        std::thread::sleep(STOP);
        let _ = kill(pid, Signal::SIGKILL);
    });
    daemon.wait()?;
    if is_over.load(Ordering::SeqCst) {
        // A benchmark that was killed cannot do it.
        let _ = fs::remove_dir_all(&folder);
    }
    Ok(())
}

async fn ready(api: &client::Client, daemon: &mut Daemon) -> Result<()> {
    let start = Instant::now();
    while api.ready().await.is_err() {
        ensure!(daemon.keeper.try_wait()?.is_none(), "the daemon ended");
        ensure!(start.elapsed() < START, "the daemon is not ready after {START:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
