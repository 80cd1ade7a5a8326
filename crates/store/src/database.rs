//! The way in: pools, migrations, and whether the database is there.
//!
//! Nobody waits for the database for ever. A statement may never be answered though no connection is closed (a firewall
//! forgot it, a machine froze), and the network says so after a quarter of an hour: so whoever works in steps gives each a
//! limit ([`Database::within`]), and what lay idle in the pools when something went wrong is not used again.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{
    Connection as _, PgConnection, PgPool, PgTransaction, Postgres,
    migrate::Migrator,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{Error, Result, sql};

/// A log filter: the server's notices (a table that is there already) tell an operator nothing.
pub const WITHOUT_NOTICES: &str = "sqlx::postgres::notice=warn";
/// A log filter: the whole text of a slow statement is no answer to a person.
pub const WITHOUT_SLOW_STATEMENTS: &str = "sqlx::query=error";

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// The hot path's few statements are planned once, not at each call, and never so that they read a whole table that was
/// small when it was planned.
const HOT: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// SQLSTATE: there is no such table.
const NO_TABLE: &str = "42P01";

/// How long a step of the hot path may take: what is sent next waits for it. Usual are milliseconds; a disk that has to
/// write out much may stall for a second or two.
pub const LIMIT_HOT: Duration = Duration::from_secs(5);
/// How long a step beside the hot path may take. Some go through thousands of rows.
pub const LIMIT_STEP: Duration = Duration::from_secs(10);
/// How long what a process says at its end may take: who kills it after half a minute must find it gone, and leases end by
/// themselves.
pub const LIMIT_LAST: Duration = Duration::from_secs(2);
/// How long a wait for a connection may take, the time to open one included. Opening one takes some milliseconds.
const LIMIT_ACQUIRE: Duration = Duration::from_secs(3);
/// How long an idle connection may take to say that it lives. Beyond that a new one is quicker.
const LIMIT_PING: Duration = Duration::from_secs(2);

/// What the server is told of every session, so that it lets go of a node that is gone: a statement ends when its client
/// has closed the connection, and a connection that nothing answers from ends long before a lease does.
const EVERY: [(&str, &str); 5] = [
    ("client_connection_check_interval", "2s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "15s"),
];
/// Limits of the hot path's sessions. Who waits for a lock is told so, instead of being cut off in the dark by
/// [`LIMIT_HOT`]; a statement that goes on after that limit ends soon.
const BRIEF: [(&str, &str); 3] = [
    ("lock_timeout", "4s"),
    ("statement_timeout", "20s"),
    // A node that stands still in the middle of a transaction would hold its locks.
    ("idle_in_transaction_session_timeout", "8s"),
];
/// Of those who work in steps: the fence of a lease may be among what they hold, and a node that stands still must not keep
/// others from taking over.
const STEPS: [(&str, &str); 1] = [("idle_in_transaction_session_timeout", "10s")];
/// The same for sessions that may have much to do. An import waits for its upload inside its transaction, and says itself
/// when that is too long.
const PATIENT: [(&str, &str); 1] = [("idle_in_transaction_session_timeout", "90s")];

/// The pools of one process, small and by role, so that a slow page never takes a connection from the hot path.
#[derive(Clone, Debug)]
pub struct Database {
    /// Requests of people and programs, imports.
    pub general: PgPool,
    /// What the running parts read and do beside the hot path: no crowd of requests takes these.
    pub background: PgPool,
    /// Intents, outcomes, applied reports.
    pub hot: PgPool,
    /// The callbacks' inbox.
    pub inbox: PgPool,
    /// Leases alone: a renewal waits for nobody.
    pub leases: PgPool,
    doubt: Doubt,
    migrations: Migrations,
}

/// How the schema is brought up to date, which takes a session of its own.
#[derive(Clone, Debug)]
enum Migrations {
    /// By the pools.
    Pooled,
    /// By a connection of its own.
    By(Box<PgConnectOptions>),
    /// From somewhere else.
    Elsewhere,
}

impl Database {
    /// Opens the pools without connecting yet.
    #[must_use]
    pub fn open(options: &PgConnectOptions) -> Self {
        sql::set_pooled(false);
        Self::open_with(options, Migrations::Pooled, true)
    }

    /// The same for a pooler in transaction mode. It refuses settings of a session, so each transaction says its own, and
    /// keeps no prepared statements. Migrations need a session: they go by `migrations`, or are made from somewhere else.
    #[must_use]
    pub fn open_behind_pooler(options: &PgConnectOptions, migrations: Option<PgConnectOptions>) -> Self {
        sql::set_pooled(true);
        let options = options.clone().extra_float_digits(None).statement_cache_capacity(0);
        let migrations =
            migrations.map_or(Migrations::Elsewhere, |options| Migrations::By(Box::new(options)));
        Self::open_with(&options, migrations, false)
    }

    fn open_with(options: &PgConnectOptions, migrations: Migrations, has_settings: bool) -> Self {
        let doubt = Doubt::default();
        let pool = |most: u32, is_pinged: bool, settings: &[&[(&'static str, &'static str)]]| {
            let options = options.clone().application_name("campaignd");
            let options =
                if has_settings { with_settings(options.options(EVERY), settings) } else { options };
            let (idle, used) = (doubt.clone(), doubt.clone());
            PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(LIMIT_ACQUIRE)
                // Without a limit: see below.
                .test_before_acquire(false)
                .before_acquire(move |connection, was| {
                    let doubt = idle.clone();
                    Box::pin(async move {
                        Ok(!doubt.is_about(was.idle_for) && (!is_pinged || lives(connection, &doubt).await))
                    })
                })
                // The pool itself would wait for an answer for ever, and keep the place of the connection meanwhile.
                .after_release(move |connection, _| {
                    let doubt = used.clone();
                    Box::pin(async move { Ok(lives(connection, &doubt).await) })
                })
                .connect_lazy_with(options)
        };
        Self {
            general: pool(10, true, &[&PATIENT]),
            background: pool(5, true, &[&STEPS]),
            hot: pool(8, false, &[&BRIEF, &HOT]),
            inbox: pool(3, false, &[&BRIEF, &HOT]),
            leases: pool(2, true, &[&BRIEF]),
            doubt,
            migrations,
        }
    }

    /// Does `work`, which uses connections of these pools, within `limit`. What is not done then is dropped, and with it
    /// its connection; the server may have done it all the same.
    ///
    /// # Errors
    /// The work's, or it took too long.
    pub async fn within<T>(
        &self,
        limit: Duration,
        attempted: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => {
                self.doubt.raise();
                Err(Error::database(attempted)(timed_out()))
            }
        }
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// The database is unreachable, or holds migrations that this program does not know; or only a pooler leads there, and
    /// the schema is not current.
    pub async fn migrate(&self) -> Result<()> {
        match &self.migrations {
            Migrations::Pooled => Ok(MIGRATIONS.run(&self.general).await?),
            Migrations::By(options) => {
                let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(LIMIT_ACQUIRE);
                let pool = pool.connect_lazy_with(options.as_ref().clone());
                let done = MIGRATIONS.run(&pool).await;
                pool.close().await;
                Ok(done?)
            }
            Migrations::Elsewhere if self.schema_is_current().await? => Ok(()),
            Migrations::Elsewhere => Err(Error::MigrationBehindPooler),
        }
    }

    /// Whether the database answers and its schema is the one this program was built with.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn schema_is_current(&self) -> Result<bool> {
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        let attempted = "reading the schema's version";
        let mut connection = self.background.acquire().await.map_err(Error::database(attempted))?;
        let asked: sqlx::Result<Option<i64>> =
            sql::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(&mut connection)
                .await;
        let applied = match asked {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_TABLE) => {
                return Ok(false);
            }
            asked => asked.map_err(Error::database(attempted))?,
        };
        Ok(applied == Some(newest))
    }

    /// Closes the pools, waiting for what is under way.
    pub async fn close(&self) {
        let pools = [&self.general, &self.background, &self.hot, &self.inbox, &self.leases];
        let closed = close_all(pools);
        // Connections that nothing answers from are not worth waiting for.
        let _ = tokio::time::timeout(LIMIT_LAST, closed).await;
    }
}

/// What the server is told of each session.
fn with_settings(options: PgConnectOptions, settings: &[&[(&str, &str)]]) -> PgConnectOptions {
    settings.iter().fold(options, |options, more| options.options(more.iter().copied()))
}

/// What transactions of the hot path behind a pooler begin with: the same as settings of each transaction.
pub(crate) fn hot_settings() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    BRIEF.iter().chain(&HOT)
}

async fn close_all(pools: [&PgPool; 5]) {
    let [general, background, hot, inbox, leases] = pools.map(PgPool::close);
    tokio::join!(general, background, hot, inbox, leases);
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database has not answered in time"))
}

/// Whether the connection lives. Of one that does not, its neighbours know nothing better.
async fn lives(connection: &mut PgConnection, doubt: &Doubt) -> bool {
    let answered = tokio::time::timeout(LIMIT_PING, connection.ping()).await;
    let lives = matches!(answered, Ok(Ok(())));
    if !lives {
        tracing::debug!(?answered, "a connection to the database is dead");
        doubt.raise();
    }
    lives
}

/// When a connection was last found dead. Those that lay idle then are likely to be dead too, and to find it out one by
/// one would take a limit each.
#[derive(Clone, Debug)]
struct Doubt {
    start: Instant,
    /// Microseconds after the start.
    raised: Arc<AtomicU64>,
}

impl Default for Doubt {
    fn default() -> Self {
        Self { start: Instant::now(), raised: Arc::default() }
    }
}

impl Doubt {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn raise(&self) {
        self.raised.fetch_max(self.now(), Ordering::Relaxed);
    }

    /// Whether a connection that has been idle for so long lay idle when the doubt was raised.
    fn is_about(&self, idle_for: Duration) -> bool {
        let idle_since = self.now().saturating_sub(u64::try_from(idle_for.as_micros()).unwrap_or(u64::MAX));
        idle_since < self.raised.load(Ordering::Relaxed)
    }
}

/// A connection that one busy task keeps for a while instead of another one of the pool each time.
///
/// Each of them is a process of the server with memory and plans of its own: going round them costs the server as much as the
/// work itself. Others that wait for a connection get their turn all the same.
#[derive(Debug)]
pub struct Kept {
    pool: PgPool,
    held: Option<(PoolConnection<Postgres>, Instant)>,
}

impl Kept {
    /// For how long one is kept before others may have it.
    const TURN: Duration = Duration::from_millis(100);

    /// Keeps connections of `pool`.
    #[must_use]
    pub fn of(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), held: None }
    }

    /// The connection.
    ///
    /// # Errors
    /// There is none: the database is away, or all are in use.
    pub async fn connection(&mut self, attempted: &'static str) -> Result<&mut PgConnection> {
        if self.held.as_ref().is_some_and(|(_, since)| since.elapsed() > Self::TURN) {
            self.held = None;
        }
        if self.held.is_none() {
            let connection = self.pool.acquire().await.map_err(Error::database(attempted))?;
            self.held = Some((connection, Instant::now()));
        }
        let held = self.held.as_mut().map(|(connection, _)| &mut **connection);
        held.ok_or_else(|| Error::database(attempted)(sqlx::Error::PoolClosed))
    }

    /// A transaction on it.
    ///
    /// # Errors
    /// As [`Kept::connection`], or it cannot be begun.
    pub async fn begin(&mut self, attempted: &'static str) -> Result<PgTransaction<'_>> {
        sql::begin_hot(self.connection(attempted).await?).await.map_err(Error::database(attempted))
    }

    /// Gives it back: there is nothing to do, or it failed.
    pub fn release(&mut self) {
        self.held = None;
    }
}
