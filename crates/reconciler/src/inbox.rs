//! The writer of the inbox: callbacks that arrive together are stored by one commit, and answered after it.

use std::{sync::Arc, time::Duration};

use model::Clock;
use store::{
    Database, Error,
    inbox::{self, EntryKind, NewEntry},
    leases,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Entries that wait at the most; beyond that the vendor is told to come again.
const QUEUE: usize = 4096;
/// Bytes that wait at the most.
const QUEUE_BYTES: usize = 64 << 20;
/// Entries in one commit at the most.
const GROUP: usize = 500;
/// Bytes in one commit, about.
const GROUP_BYTES: usize = 8 << 20;

/// It could not be stored: let the vendor come again.
#[derive(Debug, thiserror::Error)]
#[error("the callback could not be stored")]
pub struct NotStored;

struct Pending {
    account: String,
    kind: EntryKind,
    body: String,
    done: oneshot::Sender<bool>,
    /// Its share of the bytes that may wait.
    bytes: OwnedSemaphorePermit,
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

    /// Stores evidence of ours, trying again until it is stored.
    pub async fn append_evidence(&self, account: &str, body: String) {
        while self.append(account, EntryKind::Evidence, body.clone()).await.is_err() {
            if self.pending.is_closed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
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
        let pending = Pending { account: account.to_owned(), kind, body, done, bytes };
        self.pending.try_send(pending).map_err(|_| NotStored)?;
        match stored.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(NotStored),
        }
    }
}

async fn write(db: Database, clock: Clock, mut queue: mpsc::Receiver<Pending>, appended: Arc<Notify>) {
    let mut writer = None;
    let mut seq = 0;
    while let Some(first) = queue.recv().await {
        let mut bytes = first.body.len();
        let mut group = vec![first];
        while group.len() < GROUP && bytes < GROUP_BYTES {
            let Ok(next) = queue.try_recv() else { break };
            bytes += next.body.len();
            group.push(next);
        }
        let now = clock.now();
        let (entries, waiting): (Vec<NewEntry>, Vec<_>) = group
            .into_iter()
            .map(|pending| {
                // Numbers are never used twice, even when a commit fails: its outcome may not be known.
                seq += 1;
                let Pending { account, kind, body, done, bytes } = pending;
                (NewEntry { account, seq, kind, body, received_at: now }, (done, bytes))
            })
            .unzip();
        let stored = store(&db, &mut writer, &entries).await;
        if let Err(error) = &stored {
            tracing::error!(%error, callbacks = entries.len(), "callbacks cannot be stored; the vendor is told to come again");
        }
        drop(entries);
        for (done, bytes) in waiting {
            drop(bytes);
            let _ = done.send(stored.is_ok());
        }
        appended.notify_waiters();
    }
}

async fn store(db: &Database, writer: &mut Option<i64>, entries: &[NewEntry]) -> store::Result<()> {
    let mut conn = db.inbox.acquire().await.map_err(Error::database("storing callbacks"))?;
    let id = match writer.take() {
        Some(id) => id,
        None => leases::next_writer(&mut conn).await?,
    };
    inbox::append(&mut conn, id, entries).await?;
    // Kept only when it went well. What failed may be committed yet, by a connection that we do not hear any more;
    // after entries of higher numbers it would lie below the position that has been applied, and never be read.
    *writer = Some(id);
    Ok(())
}
