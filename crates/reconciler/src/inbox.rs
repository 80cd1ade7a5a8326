//! The writer of the inbox: callbacks that arrive together are stored by one commit, and answered after it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use model::Clock;
use store::{
    Database, Kept,
    database::LIMIT_HOT,
    inbox::{self, EntryKind, NewEntries, Writer},
    leases,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Entries that wait at the most; beyond that the vendor is told to come again.
const QUEUE: usize = 4096;
/// Without anything to store for so long, the connection is given back.
const IDLE: Duration = Duration::from_millis(100);
/// Bytes that wait at the most.
const QUEUE_BYTES: usize = 64 << 20;
/// Entries in one commit at the most.
const GROUP: usize = 500;
/// Bytes in one commit: what comes last may exceed it.
const GROUP_BYTES: usize = 1 << 20;

/// It could not be stored: let the vendor come again.
#[derive(Debug, thiserror::Error)]
#[error("the callback could not be stored")]
pub struct NotStored;

struct Pending {
    account: String,
    kind: EntryKind,
    body: String,
    done: oneshot::Sender<bool>,
    /// Its share of the bytes that may wait, given back when it is dropped.
    _bytes: OwnedSemaphorePermit,
}

/// The handle of this process's writer. Cheap to clone; the writer ends with the last handle.
#[derive(Clone, Debug)]
pub struct Inbox {
    pending: mpsc::Sender<Pending>,
    bytes: Arc<Semaphore>,
    appended: Arc<Notify>,
}

impl Inbox {
    /// Starts the writer.
    #[must_use]
    pub fn start(db: Database, clock: Clock) -> Self {
        let (pending, queue) = mpsc::channel(QUEUE);
        let appended = Arc::new(Notify::new());
        tokio::spawn(write(db, clock, queue, Arc::clone(&appended)));
        Self { pending, bytes: Arc::new(Semaphore::new(QUEUE_BYTES)), appended }
    }

    /// Rings after each commit: every one of those who are waiting.
    #[must_use]
    pub fn appended(&self) -> Arc<Notify> {
        Arc::clone(&self.appended)
    }

    /// Stores a callback durably.
    ///
    /// # Errors
    /// The queue is full, or the database did not do it.
    pub async fn append_callback(&self, account: &str, body: String) -> Result<(), NotStored> {
        self.append(account, EntryKind::Callback, body).await
    }

    /// Stores evidence of ours, trying again until it is stored. False: the writer has ended.
    pub async fn append_evidence(&self, account: &str, body: String) -> bool {
        while self.append(account, EntryKind::Evidence, body.clone()).await.is_err() {
            if self.pending.is_closed() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        true
    }

    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.bytes.available_permits()
    }

    async fn append(&self, account: &str, kind: EntryKind, body: String) -> Result<(), NotStored> {
        let (done, stored) = oneshot::channel();
        // One that is larger than all that may wait takes the whole place, rather than never finding one.
        let size = u32::try_from(body.len().min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(size).map_err(|_| NotStored)?;
        let pending = Pending { account: account.to_owned(), kind, body, done, _bytes: bytes };
        self.pending.try_send(pending).map_err(|_| NotStored)?;
        match stored.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(NotStored),
        }
    }
}

/// Who writes at present, and how far its numbers have come.
struct Open {
    writer: Writer,
    /// The next entry's number. None is used twice, even when a commit fails: its outcome may not be known.
    next: i64,
    /// The accounts that the database knows it to write for.
    accounts: HashSet<String>,
}

async fn write(db: Database, clock: Clock, mut queue: mpsc::Receiver<Pending>, appended: Arc<Notify>) {
    let mut open = None;
    let mut group: Vec<Pending> = Vec::new();
    let mut database = Kept::of(&db.inbox);
    loop {
        let first = match tokio::time::timeout(IDLE, queue.recv()).await {
            Ok(first) => first,
            Err(_) => {
                database.release();
                queue.recv().await
            }
        };
        let Some(first) = first else { return };
        let mut bytes = first.body.len();
        group.push(first);
        while group.len() < GROUP && bytes < GROUP_BYTES {
            let Ok(next) = queue.try_recv() else { break };
            bytes += next.body.len();
            group.push(next);
        }
        hooks::point!("inbox.before_store");
        let storing = store(&mut database, &mut open, &group, clock.now());
        let stored = db.within(LIMIT_HOT, "storing callbacks", storing).await;
        hooks::point!("inbox.after_store");
        if let Err(error) = &stored {
            database.release();
            tracing::error!(%error, callbacks = group.len(), "callbacks cannot be stored; the vendor is told to come again");
        }
        for Pending { done, .. } in group.drain(..) {
            let _ = done.send(stored.is_ok());
        }
        appended.notify_waiters();
    }
}

async fn store(
    database: &mut Kept,
    open: &mut Option<Open>,
    group: &[Pending],
    now: DateTime<Utc>,
) -> store::Result<()> {
    let conn = database.connection("storing callbacks").await?;
    // A writer writes on its day alone; a clock that is set back does not bring an earlier day.
    let kept = open.take().filter(|open| open.writer.day >= now.date_naive());
    let mut writing = match kept {
        Some(open) => open,
        None => {
            let writer = Writer { id: leases::next_writer(&mut *conn).await?, day: now.date_naive() };
            Open { writer, next: 1, accounts: HashSet::new() }
        }
    };
    let rows = rows(group, writing.next);
    writing.next += i64::try_from(group.len()).unwrap_or(i64::MAX);
    let is_new = |row: &&NewEntries<'_>| !writing.accounts.contains(row.account);
    let new: BTreeSet<&str> = rows.iter().filter(is_new).map(|row| row.account).collect();
    if !new.is_empty() {
        inbox::register(&mut *conn, writing.writer, &new.iter().copied().collect::<Vec<_>>()).await?;
        writing.accounts.extend(new.into_iter().map(str::to_owned));
    }
    inbox::append(&mut *conn, writing.writer, now, &rows).await?;
    // Kept only when it went well. What failed may be committed yet, by a connection that we do not hear any more;
    // after entries of higher numbers it would lie below the position that has been applied, and never be read.
    *open = Some(writing);
    Ok(())
}

/// The group as rows: what came for one account, in its order, is one row, unless it is of several kinds.
fn rows(group: &[Pending], first: i64) -> Vec<NewEntries<'_>> {
    let mut rows: Vec<NewEntries<'_>> = Vec::new();
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for pending in group {
        let account = pending.account.as_str();
        let row = latest.get(account).and_then(|at| rows.get_mut(*at)).filter(|row| row.kind == pending.kind);
        if let Some(row) = row {
            row.bodies.push(&pending.body);
        } else {
            latest.insert(account, rows.len());
            rows.push(NewEntries { account, kind: pending.kind, first: 0, bodies: vec![&pending.body] });
        }
    }
    let mut next = first;
    for row in &mut rows {
        row.first = next;
        next += i64::try_from(row.bodies.len()).unwrap_or(i64::MAX);
    }
    rows
}
