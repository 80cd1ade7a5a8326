//! A CSV file becomes an audience: streamed from the upload through the parser to COPY, never whole in memory.
//!
//! One import is four tasks: whoever feeds the upload, a thread that decodes, parses and judges rows, one that writes
//! recipients, one that writes rejects; bounded channels lie between them. Recipients and the flip to `ready` share a
//! transaction, so an import that dies or is cancelled leaves no recipient, and says why it failed.

mod decode;
mod error;
mod header;
mod progress;
mod records;
mod rows;
mod run;
mod seen;
mod window;
mod write;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::TimeDelta;
use futures::{Stream, StreamExt};
use model::{Clock, FieldError, phone_input::Region};
use store::{
    Database, PgPool,
    audiences::{self, NewAudience},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time,
};
use uuid::Uuid;

pub use error::ImportError;
pub use rows::MAX_LISTED_REJECTS;

use header::Header;
use progress::Meter;
use rows::Outlets;
use window::{Piece, Window};
use write::Writing;

const MAX_NAME_CHARACTERS: usize = 200;
/// Pieces of the upload, chunks of rows and batches of rejects that wait in memory.
const WAITING: usize = 2;
/// An import of which nothing was heard for so long is dead.
const SILENCE_SECONDS: i64 = 60;
/// Rows of deleted audiences removed in one step.
const PURGED_AT_ONCE: i64 = 20_000;

/// What an import may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest file, in bytes.
    pub max_upload_bytes: u64,
    /// The longest wait for the next piece of an upload.
    pub stall: Duration,
    /// Imports at once; further ones wait.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_upload_bytes: 2 * 1024 * 1024 * 1024, stall: Duration::from_secs(60), at_once: 4 }
    }
}

/// What is to be imported.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    name: String,
    region: Option<Region>,
    phone_column: Option<String>,
    bytes_total: Option<u64>,
}

impl ImportRequest {
    /// A request in the words of the interface.
    ///
    /// # Errors
    /// Every field that will not do.
    pub fn new(
        name: &str,
        default_region: Option<&str>,
        phone_column: Option<&str>,
        bytes_total: Option<u64>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARACTERS || name.contains('\0') {
            let message = format!("give the audience a name of 1 to {MAX_NAME_CHARACTERS} characters");
            errors.push(FieldError::new("name", message));
        }
        let region = default_region.map(str::parse::<Region>).transpose();
        let region = region.map_err(|error| errors.push(error)).unwrap_or_default();
        let phone_column = phone_column.map(str::trim).filter(|column| !column.is_empty()).map(str::to_owned);
        if errors.is_empty() {
            Ok(Self { name: name.to_owned(), region, phone_column, bytes_total })
        } else {
            Err(errors)
        }
    }
}

/// How an import ended. The audience itself says the rest.
#[derive(Debug)]
pub struct ImportOutcome {
    /// The audience.
    pub audience_id: i64,
    /// Ready, or why not.
    pub result: Result<(), ImportError>,
}

/// Imports audiences. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Importer {
    pool: PgPool,
    clock: Clock,
    node: Uuid,
    limits: Limits,
    slots: Arc<Semaphore>,
    folder: PathBuf,
}

impl Importer {
    /// An importer of the node `node`.
    #[must_use]
    pub fn new(database: &Database, clock: Clock, node: Uuid, limits: Limits) -> Self {
        let slots = Arc::new(Semaphore::new(limits.at_once.max(1)));
        let folder = std::env::temp_dir();
        Self { pool: database.general.clone(), clock, node, limits, slots, folder }
    }

    /// Makes its temporary files in `folder` instead of the system's own: large imports keep there what would fill memory.
    #[must_use]
    pub fn with_folder(self, folder: PathBuf) -> Self {
        Self { folder, ..self }
    }

    /// The largest file, in bytes.
    #[must_use]
    pub fn max_upload_bytes(&self) -> u64 {
        self.limits.max_upload_bytes
    }

    /// Begins an audience, which shows as `importing` from now on. Feed it, or drop it to cancel.
    ///
    /// # Errors
    /// The database did not do it.
    pub async fn start(&self, request: ImportRequest) -> store::Result<Import> {
        let acquired = self.pool.acquire().await;
        let mut connection = acquired.map_err(store::Error::database("beginning an audience"))?;
        let audience = NewAudience {
            name: &request.name,
            bytes_total: request.bytes_total.and_then(|bytes| i64::try_from(bytes).ok()),
            importer: self.node,
        };
        let audience_id = audiences::insert_importing(&mut connection, &audience, self.clock.now()).await?;
        let (pieces, upload) = mpsc::channel(WAITING);
        let job = Job { importer: self.clone(), audience_id, request, meter: Arc::default() };
        let outcome = tokio::spawn(job.run(upload));
        Ok(Import { limits: self.limits, pieces, running: Running { audience_id, outcome } })
    }

    /// Imports a whole upload.
    ///
    /// # Errors
    /// The audience could not be begun.
    pub async fn run(
        &self,
        request: ImportRequest,
        upload: impl Stream<Item = io::Result<Bytes>>,
    ) -> store::Result<ImportOutcome> {
        Ok(self.start(request).await?.feed(upload).await.outcome().await)
    }

    /// For a starting process: fails the imports that its predecessor left.
    ///
    /// # Errors
    /// The database did not do it.
    pub async fn fail_predecessors(&self) -> store::Result<u64> {
        self.fail_abandoned(Some(self.node)).await
    }

    /// The background step, for about once a minute: fails imports whose process is dead and removes some rows of deleted
    /// audiences. True: there is more to remove.
    ///
    /// # Errors
    /// The database did not do it.
    pub async fn sweep(&self) -> store::Result<bool> {
        self.fail_abandoned(None).await?;
        let acquired = self.pool.acquire().await;
        let mut connection = acquired.map_err(store::Error::database("sweeping audiences"))?;
        audiences::purge_deleted(&mut connection, PURGED_AT_ONCE).await
    }

    async fn fail_abandoned(&self, own: Option<Uuid>) -> store::Result<u64> {
        let acquired = self.pool.acquire().await;
        let mut connection = acquired.map_err(store::Error::database("failing abandoned imports"))?;
        let silence = TimeDelta::seconds(SILENCE_SECONDS);
        let failed =
            audiences::fail_abandoned_imports(&mut connection, own, self.clock.now(), silence).await?;
        if failed > 0 {
            tracing::warn!(imports = failed, "imports whose process had ended were failed");
        }
        Ok(failed)
    }
}

/// An import that waits for its file. Dropped before [`Import::feed`] has ended, it fails as cut off.
#[derive(Debug)]
#[must_use = "feed it the upload"]
pub struct Import {
    limits: Limits,
    pieces: mpsc::Sender<Piece>,
    running: Running,
}

impl Import {
    /// The audience.
    #[must_use]
    pub fn audience_id(&self) -> i64 {
        self.running.audience_id
    }

    /// Hands the upload over, as fast as the database takes it. Returns when the upload has ended, or before its end when
    /// the import has failed: the rest is then not read. The import itself goes on without whoever awaits this.
    pub async fn feed(self, upload: impl Stream<Item = io::Result<Bytes>>) -> Running {
        let mut upload = std::pin::pin!(upload);
        let mut bytes = 0u64;
        loop {
            let piece = match time::timeout(self.limits.stall, upload.next()).await {
                Ok(Some(Ok(data))) => {
                    bytes = bytes.saturating_add(data.len() as u64);
                    if bytes > self.limits.max_upload_bytes {
                        Piece::Broken(ImportError::TooLarge { limit: self.limits.max_upload_bytes })
                    } else {
                        Piece::Data(data)
                    }
                }
                Ok(Some(Err(error))) => Piece::Broken(ImportError::Upload { reason: error.to_string() }),
                Ok(None) => Piece::End,
                Err(_) => Piece::Broken(ImportError::Stalled { seconds: self.limits.stall.as_secs() }),
            };
            let is_last = !matches!(piece, Piece::Data(_));
            if self.pieces.send(piece).await.is_err() || is_last {
                return self.running;
            }
        }
    }
}

/// An import whose upload has been read.
#[derive(Debug)]
pub struct Running {
    audience_id: i64,
    outcome: JoinHandle<Result<(), ImportError>>,
}

impl Running {
    /// The audience.
    #[must_use]
    pub fn audience_id(&self) -> i64 {
        self.audience_id
    }

    /// Waits for the end. The import ends just as well when nobody waits.
    pub async fn outcome(self) -> ImportOutcome {
        let result = self.outcome.await.unwrap_or(Err(ImportError::Interrupted));
        ImportOutcome { audience_id: self.audience_id, result }
    }
}

/// One import, in the background.
struct Job {
    importer: Importer,
    audience_id: i64,
    request: ImportRequest,
    meter: Arc<Meter>,
}

impl Job {
    async fn run(self, upload: mpsc::Receiver<Piece>) -> Result<(), ImportError> {
        let Importer { pool, clock, slots, .. } = self.importer.clone();
        let shown = progress::show(pool, clock, self.audience_id, Arc::clone(&self.meter));
        let imported = async {
            let _slot = slots.acquire().await;
            self.import(upload).await
        };
        // Both on this task, so that no late count is shown after the end.
        let result = tokio::select! {
            result = imported => result,
            () = shown => Err(ImportError::Interrupted),
        };
        match &result {
            Ok(()) => {
                let rows = self.meter.totals();
                tracing::info!(
                    audience.id = self.audience_id,
                    rows.accepted,
                    rows.rejected,
                    "audience is ready"
                );
            }
            Err(error) => self.fail(error).await,
        }
        result
    }

    async fn import(&self, upload: mpsc::Receiver<Piece>) -> Result<(), ImportError> {
        let Importer { pool, clock, .. } = self.importer.clone();
        let (copy, chunks) = mpsc::channel(WAITING);
        let (rejects, batches) = mpsc::channel(WAITING);
        let outlets =
            Outlets { copy, rejects, meter: Arc::clone(&self.meter), folder: self.importer.folder.clone() };
        let rejects = tokio::spawn(write::write_rejects(pool.clone(), self.audience_id, batches));
        let parser = self.parse(upload, outlets);
        let (audience_id, meter) = (self.audience_id, Arc::clone(&self.meter));
        let writing = Writing { pool, clock, audience_id, meter, chunks, parser, rejects };
        writing.run().await
    }

    fn parse(
        &self,
        upload: mpsc::Receiver<Piece>,
        outlets: Outlets,
    ) -> JoinHandle<Result<Header, ImportError>> {
        let ImportRequest { region, phone_column, .. } = self.request.clone();
        let audience_id = self.audience_id;
        tokio::task::spawn_blocking(move || {
            rows::read_file(Window::new(upload), audience_id, region, phone_column.as_deref(), outlets)
        })
    }

    async fn fail(&self, error: &ImportError) {
        match error {
            ImportError::Database(cause) => {
                tracing::error!(audience.id = self.audience_id, error = %cause, "an import failed at the database");
            }
            other => tracing::info!(audience.id = self.audience_id, reason = %other, "an import failed"),
        }
        let failed = match self.importer.pool.acquire().await {
            Ok(mut connection) => {
                let now = self.importer.clock.now();
                let reason = error.to_string();
                audiences::fail(&mut connection, self.audience_id, &reason, &self.meter.totals(), now).await
            }
            Err(error) => Err(store::Error::database("failing an import")(error)),
        };
        if let Err(error) = failed {
            // The sweep finds it by its silence.
            tracing::error!(audience.id = self.audience_id, %error, "a failed import could not be marked");
        }
    }
}
