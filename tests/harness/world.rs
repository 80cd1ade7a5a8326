//! A daemon with its database and its vendors, as most promises need it.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use api::{Audience, AudienceStatus, NewCampaign, Task, TaskState, client};
use simulator::{Simulator, SimulatorOptions};
use store::{private_cluster::TemporaryDataDir, testing};

use super::{
    Account, Balancer, People, Pooler,
    daemon::{self, Daemon, TOKEN},
    wait::{wait_until, within},
};

/// How long after the last report nothing changes any more, with some time for the answer.
const APPLIED: Duration = Duration::from_millis(2_500);

/// How a world is to be; `start` makes it.
#[derive(Debug, Default)]
pub struct Worlds {
    simulator: SimulatorOptions,
    accounts: Vec<Account>,
    environment: Vec<(String, String)>,
    has_private_cluster: bool,
    database_url: Option<String>,
    has_pooler: bool,
    has_balancer: bool,
    more_config: String,
}

impl Worlds {
    /// The vendors' behaviour.
    pub fn simulator(mut self, options: SimulatorOptions) -> Self {
        self.simulator = options;
        self
    }

    /// An account; without any, there is one of each vendor.
    pub fn account(mut self, account: Account) -> Self {
        self.accounts.push(account);
        self
    }

    /// Tables at the end of the configuration.
    pub fn config(mut self, toml: &str) -> Self {
        self.more_config.push_str(toml);
        self
    }

    /// A variable of the daemon's environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The daemon runs its own PostgreSQL instead of using the tests' one. Takes some seconds more.
    pub fn private_cluster(mut self) -> Self {
        self.has_private_cluster = true;
        self
    }

    /// The daemons reach the database through a pooler in transaction mode.
    pub fn pooler(mut self) -> Self {
        self.has_pooler = true;
        self
    }

    /// The daemon's database is this one instead of a new one of the tests' server.
    pub fn database_url(mut self, url: String) -> Self {
        self.database_url = Some(url);
        self
    }

    /// Vendors reach any node that lives, instead of the first one alone.
    pub fn balancer(mut self) -> Self {
        self.has_balancer = true;
        self
    }

    /// Starts vendors, database and one daemon, which is ready.
    pub async fn start(self) -> World {
        let mut world = self.prepare().await;
        world.add_node();
        world.start_node(0).await;
        world
    }

    /// Starts vendors and database only.
    pub async fn prepare(mut self) -> World {
        // The typed client wants it, as the program does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if self.accounts.is_empty() {
            self.accounts = vec![Account::exotel(), Account::sobot_io(), Account::sobot_in()];
        }
        let is_elsewhere = self.has_private_cluster || self.database_url.is_some();
        let database = if is_elsewhere { None } else { Some(testing::database().await) };
        let simulator = Simulator::start(self.simulator.clone()).await.unwrap();
        let folder = testing::data_dir("promise");
        let pooler = match &database {
            Some(database) if self.has_pooler => Some(Pooler::start(database, folder.path()).await),
            _ => None,
        };
        let balancer = self.has_balancer.then(Balancer::start);
        World { nodes: Vec::new(), simulator, balancer, pooler, database, how: self, folder }
    }
}

/// A daemon with its database and its vendors.
pub struct World {
    // Dropped from the first to the last: processes before their database and their folder.
    nodes: Vec<Daemon>,
    /// The vendors.
    pub simulator: Simulator,
    balancer: Option<Balancer>,
    /// What stands between the daemons and the database, when anything does.
    pub pooler: Option<Pooler>,
    /// The database, unless the daemon runs its own.
    pub database: Option<testing::TestDatabase>,
    how: Worlds,
    folder: TemporaryDataDir,
}

impl World {
    /// One account of each vendor, no faults.
    #[expect(clippy::new_ret_no_self, reason = "World::new().account(…).start() reads well")]
    pub fn new() -> Worlds {
        Worlds::default()
    }

    /// Adds a node that is not started yet; returns its number. All share database and vendors; callbacks go to node 0.
    pub fn add_node(&mut self) -> usize {
        let number = self.nodes.len();
        let folder = daemon::folder(self.folder.path(), number);
        let port = daemon::free_port();
        let first = || self.nodes.first().map_or_else(|| format!("http://127.0.0.1:{port}"), Daemon::url);
        let public_port = self.balancer.as_ref().map_or_else(first, Balancer::url);
        if let Some(balancer) = &self.balancer {
            balancer.add(port);
        }
        let mut config = String::new();
        writeln!(config, "[server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{public_port}\"").unwrap();
        writeln!(config, "[database]\ndata_dir = \"{}\"", folder.join("data").display()).unwrap();
        match (&self.database, &self.pooler) {
            (Some(database), Some(pooler)) => {
                writeln!(config, "url = \"{}\"\npooler = true", pooler.url()).unwrap();
                writeln!(config, "migrations_url = \"{}\"", database.url()).unwrap();
            }
            (Some(database), None) => writeln!(config, "url = \"{}\"", database.url()).unwrap(),
            (None, _) => {}
        }
        if let Some(url) = &self.how.database_url {
            writeln!(config, "url = \"{url}\"").unwrap();
        }
        for account in &self.how.accounts {
            config.push_str(&account.toml(&self.simulator.url()));
        }
        config.push_str(&self.how.more_config);
        if number == 0 {
            // Vendors whose address is registered by hand; Exotel is told with every message.
            let addresses = self.how.accounts.iter().map(|account| {
                let (name, token) = (&account.name, account.webhook_token());
                (account.vendor.name(), format!("{public_port}/webhooks/{name}/{token}"))
            });
            self.simulator.set_callback_urls(addresses);
        }
        self.nodes.push(Daemon::new(folder, port, &config, self.how.environment.clone()));
        number
    }

    /// Starts a node and waits until it is ready.
    pub async fn start_node(&mut self, number: usize) {
        self.nodes[number].start();
        self.ready(number).await;
    }

    /// Waits until a node is ready.
    pub async fn ready(&mut self, number: usize) {
        let client = self.client(number);
        let node = &mut self.nodes[number];
        wait_until("the daemon is ready", within(30), async || {
            let ended = node.ended();
            assert!(ended.is_none(), "the daemon ended: {ended:?}");
            client.ready().await.ok()
        })
        .await;
    }

    /// The node's process.
    pub fn node(&mut self, number: usize) -> &mut Daemon {
        &mut self.nodes[number]
    }

    /// A node's process, to be looked at.
    pub fn process(&self, number: usize) -> &Daemon {
        &self.nodes[number]
    }

    /// The first node's process.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.node(0)
    }

    /// SIGTERM to the first node, which ends in order.
    pub async fn stop(&mut self) {
        let status = tokio::task::block_in_place(|| self.nodes[0].stop(within(30)));
        assert!(status.success(), "the daemon stopped with {status}");
    }

    /// SIGKILL to the first node.
    pub fn kill9(&mut self) {
        tokio::task::block_in_place(|| self.nodes[0].kill9());
    }

    /// Starts the first node again after `stop` or `kill9`.
    pub async fn restart(&mut self) {
        self.start_node(0).await;
    }

    /// The account with this number, in the order of the configuration.
    pub fn account(&self, number: usize) -> &Account {
        &self.how.accounts[number]
    }

    /// Where vendors reach any node that lives.
    pub fn balanced_url(&self) -> String {
        self.balancer.as_ref().expect("the world has a balancer").url()
    }

    /// A page of the first node, for calls that the typed client does not make.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.nodes[0].url())
    }

    /// The typed client of a node, as an administrator.
    pub fn client(&self, number: usize) -> client::Client {
        client::Client::new(&self.nodes[number].url(), Some(TOKEN)).unwrap()
    }

    /// The typed client of the first node.
    pub fn api(&self) -> client::Client {
        self.client(0)
    }

    /// A call by hand, with an administrator's token.
    pub fn call(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().request(method, self.url(path)).bearer_auth(TOKEN)
    }

    /// Imports a CSV and waits for its end, however it is.
    pub async fn import(&self, csv: impl Into<reqwest::Body>) -> Audience {
        let how = client::ImportAudience {
            name: "People".to_owned(),
            default_region: Some("IN".to_owned()),
            phone_column: None,
            wait: true,
        };
        self.api().import_audience(&how, csv, None, None).await.unwrap()
    }

    /// Imports so many recipients, all of whom are good.
    pub async fn import_people(&self, people: People) -> i64 {
        let audience = self.import(people.csv()).await;
        assert_eq!(audience.status, AudienceStatus::Ready, "{audience:?}");
        assert_eq!(audience.rows.accepted, i64::try_from(people.0).unwrap(), "{audience:?}");
        audience.id
    }

    /// Creates a campaign that is launched at once; returns its task.
    pub async fn launch(&self, campaign: &NewCampaign) -> i64 {
        let created = self.api().create_campaign(campaign, None).await;
        let created = created.unwrap_or_else(|error| panic!("the campaign is refused: {error}"));
        created.task_id.expect("a launched campaign has a task")
    }

    /// The task as it is now.
    pub async fn task(&self, id: i64) -> Task {
        self.api().task(id).await.unwrap()
    }

    /// Waits until the task is as wanted.
    pub async fn wait_for_task(
        &self,
        id: i64,
        what: &str,
        deadline: Duration,
        is_so: impl Fn(&Task) -> bool,
    ) -> Task {
        let api = self.api();
        let last = std::sync::Mutex::new(None);
        let look = async || {
            let task = api.task(id).await.unwrap();
            let done = is_so(&task);
            *last.lock().unwrap() = Some(task.clone());
            done.then_some(task)
        };
        let found = tokio::time::timeout(deadline, wait_until(what, deadline * 2, look)).await;
        found.unwrap_or_else(|_| {
            let last = last.lock().unwrap();
            panic!("waited {deadline:?} in vain: {what}; the task is {last:#?}")
        })
    }

    /// Waits until the task is completed.
    pub async fn wait_for_completion(&self, id: i64, deadline: Duration) -> Task {
        self.wait_for_task(id, "the task is completed", deadline, |task| task.state == TaskState::Completed)
            .await
    }

    /// Waits until every report is posted and applied. Reports are applied within 2 s: nothing may change after that.
    pub async fn all_reports_are_applied(&self, task: i64) -> Task {
        assert!(self.simulator.wait_until_idle(within(20)).await, "reports are left over");
        let posted = Instant::now();
        let mut last = (posted, self.task(task).await);
        let found = wait_until("the reports are applied", within(20), async || {
            let now = self.task(task).await;
            if now.counts != last.1.counts {
                last = (Instant::now(), now);
            }
            (last.0.elapsed() > APPLIED).then(|| last.1.clone())
        })
        .await;
        let late = last.0 - posted;
        assert!(late < APPLIED, "a report was applied only {late:?} after the last one had been posted");
        found
    }

    /// Runs `campaignd audit` on the first node's configuration; fails when anything does not hold.
    pub async fn audit(&self) {
        let node = &self.nodes[0];
        let output = tokio::task::block_in_place(|| node.run(&["audit"]));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "the audit says:\n{out}{err}");
        assert!(out.contains("exactly one place"), "the audit found no task:\n{out}{err}");
    }
}
