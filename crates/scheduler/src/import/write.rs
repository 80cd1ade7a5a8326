//! The database's side of an import: recipients by COPY in one transaction, rejects as they come.

use std::sync::Arc;

use model::Clock;
use store::{
    PgConnection, PgPool, audiences,
    recipients::Copy,
    rejects::{self, Reject},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{ImportError, header::Header, progress::Meter, rows::Chunk};

/// An import's tasks, seen from the database's side.
pub(super) struct Writing {
    pub(super) pool: PgPool,
    pub(super) clock: Clock,
    pub(super) audience_id: i64,
    pub(super) meter: Arc<Meter>,
    pub(super) chunks: mpsc::Receiver<Chunk>,
    pub(super) parser: JoinHandle<Result<Header, ImportError>>,
    pub(super) rejects: JoinHandle<Result<(), ImportError>>,
}

impl Writing {
    /// Writes everything and makes the audience ready, or nothing. Not to be cancelled: the caller gives it a task of its own.
    pub(super) async fn run(mut self) -> Result<(), ImportError> {
        // No transaction is opened before there is something to write: most bad files fail at their header.
        let Some(first) = self.chunks.recv().await else {
            return self.join(Err(ImportError::Interrupted)).await.map(drop);
        };
        let mut transaction = match store::begin_patient_in(&self.pool).await {
            Ok(transaction) => transaction,
            Err(error) => {
                let error = store::Error::database("beginning to write an audience")(error);
                return self.join(Err(error.into())).await.map(drop);
            }
        };
        let copied = copy(&mut transaction, first, &mut self.chunks).await;
        let (header, rows) = self.join(copied).await?;
        let totals = self.meter.totals();
        if i64::try_from(rows) != Ok(totals.accepted) {
            let error = store::Error::contradiction("recipients", "count", self.audience_id, rows);
            return Err(error.into());
        }
        let is_ready = audiences::finish_ready(
            &mut transaction,
            self.audience_id,
            &header.phone_column,
            &header.columns,
            &totals,
            self.clock.now(),
        )
        .await?;
        if !is_ready {
            return Err(ImportError::Cancelled);
        }
        hooks::point!("import.before_commit");
        let committed = transaction.commit().await;
        hooks::point!("import.after_commit");
        Ok(committed.map_err(store::Error::database("committing an audience"))?)
    }

    /// Waits for the other tasks; the cause when any of them, or the COPY, failed.
    async fn join(&mut self, copied: Result<u64, ImportError>) -> Result<(Header, u64), ImportError> {
        if copied.is_err() {
            // The parser is not to read on for nobody, nor to wait for room that nobody makes.
            self.meter.cancel();
            self.chunks.close();
        }
        let parsed = (&mut self.parser).await.unwrap_or(Err(ImportError::Interrupted));
        let written = (&mut self.rejects).await.unwrap_or(Err(ImportError::Interrupted));
        match (copied, written, parsed) {
            // The database's refusal is the cause of what befell the parser.
            (Err(error @ ImportError::Database(_)), ..) | (_, Err(error), _) => Err(error),
            (_, Ok(()), Err(error)) | (Err(error), ..) => Err(error),
            (Ok(rows), Ok(()), Ok(parsed)) => Ok((parsed, rows)),
        }
    }
}

/// Copies all chunks; how many rows they held. Finished or aborted in every case: a COPY left open spoils its connection.
async fn copy(
    connection: &mut PgConnection,
    first: Chunk,
    chunks: &mut mpsc::Receiver<Chunk>,
) -> Result<u64, ImportError> {
    let mut copy = Copy::begin(connection).await?;
    let mut next = Some(first);
    loop {
        let (bytes, is_last) = match next {
            Some(Chunk::Some(bytes)) => (bytes, false),
            Some(Chunk::Last(bytes)) => (bytes, true),
            None => {
                copy.abort("the import failed").await?;
                return Err(ImportError::Interrupted);
            }
        };
        if let Err(error) = copy.write(bytes).await {
            // The connection is gone, and with it the transaction; aborting only keeps the rule.
            let _ = copy.abort("the import failed").await;
            return Err(error.into());
        }
        hooks::point!("import.copying");
        if is_last {
            return Ok(copy.finish().await?);
        }
        next = chunks.recv().await;
    }
}

/// Writes rejects as they come, each batch for itself, so that they outlive a failed import.
pub(super) async fn write_rejects(
    pool: PgPool,
    audience_id: i64,
    mut batches: mpsc::Receiver<Vec<Reject>>,
) -> Result<(), ImportError> {
    while let Some(batch) = batches.recv().await {
        let acquired = pool.acquire().await;
        let mut connection = acquired.map_err(store::Error::database("writing rejects"))?;
        rejects::insert(&mut connection, audience_id, &batch).await?;
    }
    Ok(())
}
