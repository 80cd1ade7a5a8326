//! The daemon's running parts, put together: what serves, what sends, what applies, and how they know of each other.
//!
//! They are started in the order in which they need each other and stopped the other way round.

mod live;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use dispatcher::{Departures, Dispatcher, Journal};
use model::{Clock, Random};
use reconciler::{Reconciler, events::Endpoint, inbox::Inbox};
use scheduler::{
    import::{Importer, Limits},
    jobs::Jobs,
    upkeep::{Retention, Upkeep},
};
use server::{AdminToken, AppState, InboxAppend, NotStored};
use store::{Database, private_cluster::DataDirLock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vendors::{Account, AccountConfig};

use crate::config::Config;

/// Between two tries to reach the database at the start.
const RETRY: Duration = Duration::from_secs(1);
/// When the imports are swept: each half minute.
const SWEEP: &str = "0/30 * * * * *";

/// The accounts of the configuration, each with the way to its vendor.
type Accounts = Vec<(AccountConfig, Arc<Account>)>;

/// What the process took from the machine.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database, which need not answer yet.
    pub database: Database,
    /// This node.
    pub node: Uuid,
    /// Business time.
    pub clock: Clock,
    /// Jitter.
    pub random: Random,
    /// Where the interface is served.
    pub listener: TcpListener,
    /// Held until the end: the data directory is ours, and so is the node's id.
    pub lock: DataDirLock,
}

/// Runs until `stop`, then until what was under way has been recorded.
pub async fn run(parts: Parts, stop: CancellationToken) -> anyhow::Result<()> {
    let Parts { config, database, node, clock, random, listener, lock } = parts;
    let accounts = connect(&config, &clock)?;
    let events = tell(&config)?;
    let inbox = Inbox::start(database.clone(), clock.clone());
    let folder = config.database.data_dir.join("journal");
    let journal = Journal::open(folder.clone())
        .with_context(|| format!("reading the journal in {}", folder.display()))?;
    let limits = Limits { max_upload_bytes: config.server.max_upload_bytes, ..Limits::default() };
    let importer =
        Importer::new(&database, clock.clone(), node, limits).with_folder(config.database.data_dir.clone());
    let running = live::Running::default();
    let end_of_serving = CancellationToken::new();
    let state = AppState::new(server::Parts {
        database: database.clone(),
        clock: clock.clone(),
        accounts: config.accounts.clone(),
        clients: accounts
            .iter()
            .map(|(account, client)| (account.name.clone(), Arc::clone(client)))
            .collect(),
        public_url: config.server.public_url.clone(),
        admin_token: config.admin_token.as_ref().and_then(|token| AdminToken::new(token.expose())),
        importer: importer.clone(),
        inbox: append_to(&inbox),
        events: events.clone(),
        live: running.hooks(config.accounts.iter().map(|account| account.name.clone()).collect()),
        shutdown: stop.clone(),
    });
    // Before the database answers, so that /healthz and /readyz can tell what is waited for.
    let serving = tokio::spawn(server::serve(listener, state, end_of_serving.clone()));
    if wait_for_database(&database, &stop).await {
        tidy(&importer).await;
        let jobs = keep_house(importer, &stop).await?;
        let retention = Retention {
            messages_days: config.retention.messages_days,
            callbacks_days: config.retention.callbacks_days,
        };
        Upkeep::new(database.clone(), clock.clone(), retention, node, stop.clone()).start(&jobs).await?;
        let parts = (accounts, events);
        let working = work(&config, &database, node, &clock, &random, parts, &inbox, journal, &running);
        stop.cancelled().await;
        let (dispatcher, reconciler) = working;
        running.stop();
        dispatcher.shutdown().await;
        reconciler.shutdown().await;
        jobs.stop().await;
    }
    // Callbacks are taken until the very end.
    end_of_serving.cancel();
    serving.await.context("serving")?.context("serving")?;
    drop(lock);
    Ok(())
}

fn connect(config: &Config, clock: &Clock) -> anyhow::Result<Accounts> {
    config
        .accounts
        .iter()
        .map(|account| {
            let public_url = config.server.public_url.as_deref();
            let callback_url = public_url.and_then(|public_url| account.callback_url(public_url));
            let client = Account::connect(account, callback_url.as_deref(), clock.clone())
                .with_context(|| format!("the account `{}`", account.name))?;
            Ok((account.clone(), Arc::new(client)))
        })
        .collect()
}

/// The ways to the webhooks that are told what happens. From here on it is written down for them, if there are any.
fn tell(config: &Config) -> anyhow::Result<Vec<Arc<Endpoint>>> {
    if !config.event_webhooks.is_empty() {
        store::events::record_from_now_on();
    }
    config.event_webhooks.iter().map(|webhook| Ok(Arc::new(Endpoint::new(webhook.clone())?))).collect()
}

/// Brings the schema up to date as soon as the database answers. False: told to stop before it did.
async fn wait_for_database(database: &Database, stop: &CancellationToken) -> bool {
    let mut told = false;
    loop {
        match database.migrate().await {
            Ok(()) => return true,
            Err(error) if !told => {
                tracing::error!(%error, "the database is not ready; waiting for it");
                told = true;
            }
            Err(error) => tracing::debug!(%error, "the database is not ready"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return false,
        }
    }
}

async fn tidy(importer: &Importer) {
    if let Err(error) = importer.fail_predecessors().await {
        tracing::warn!(%error, "imports that died with the last process are not marked yet");
    }
}

#[expect(clippy::too_many_arguments, reason = "it is where the parts meet")]
fn work(
    config: &Config,
    database: &Database,
    node: Uuid,
    clock: &Clock,
    random: &Random,
    (accounts, events): (Accounts, Vec<Arc<Endpoint>>),
    inbox: &Inbox,
    journal: Journal,
    running: &live::Running,
) -> (Dispatcher, Reconciler) {
    let clients =
        accounts.iter().map(|(account, client)| (account.name.clone(), Arc::clone(client))).collect();
    let evidence = inbox.clone();
    let dispatcher = Dispatcher::start(dispatcher::Setup {
        db: database.clone(),
        clock: clock.clone(),
        random: random.clone(),
        node,
        accounts,
        evidence: Arc::new(move |account, body| {
            let inbox = evidence.clone();
            Box::pin(async move { inbox.append_evidence(&account, body).await })
        }),
        journal,
        departures: Departures::in_folder(config.database.data_dir.join("departures")),
        limits: config.limits,
    });
    let records = reconciler::Records { accounts: clients, call_permit: dispatcher.call_permit() };
    let setup = reconciler::Setup {
        db: database.clone(),
        clock: clock.clone(),
        random: random.clone(),
        vendors: config.accounts.iter().map(|account| (account.name.clone(), account.vendor)).collect(),
        senders: config.accounts.iter().map(senders_of).collect(),
        leases: dispatcher.leases(),
        slow_down: dispatcher.slow_down(),
        wake_dispatcher: dispatcher.wake(),
        appended: inbox.appended(),
        late_after: config.scheduling.late_after,
        reply_words: config.reply_words.clone(),
        opt_out_confirmation: config.opt_out_confirmation.clone(),
        events,
    };
    let reconciler = Reconciler::start_asking(setup, records);
    running.set(&dispatcher, clock);
    (dispatcher, reconciler)
}

fn senders_of(account: &AccountConfig) -> (String, Vec<String>) {
    (account.name.clone(), account.senders.iter().map(|sender| sender.from.clone()).collect())
}

fn append_to(inbox: &Inbox) -> InboxAppend {
    let inbox = inbox.clone();
    Arc::new(move |account, body| {
        let inbox = inbox.clone();
        Box::pin(async move {
            inbox.append_callback(&account, body).await.map_err(|error| NotStored(error.to_string()))
        })
    })
}

/// Marks imports whose process is dead, and removes the rows of deleted audiences.
async fn sweep(importer: Importer, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match importer.sweep().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::warn!(%error, "cannot sweep after imports; trying again"),
        }
    }
}

/// The housekeeping that goes by the clock.
async fn keep_house(importer: Importer, stop: &CancellationToken) -> anyhow::Result<Jobs> {
    let jobs = Jobs::start().await?;
    let stop = stop.clone();
    jobs.add(SWEEP, move || sweep(importer.clone(), stop.clone())).await?;
    Ok(jobs)
}
