//! The transaction of a group: tried until it is known to be there, and asked for before it is repeated.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chrono::TimeDelta;
use store::{
    Error, Kept, PgConnection,
    database::LIMIT_HOT,
    effects::{self, Effects},
    groups::{self, Group},
    intents::{Committed, Intent},
    leases,
    outcomes::Outcome,
};

use crate::{
    Shared,
    account::Owner,
    commit::{Recorded, Taking},
};

/// Between two tries to record.
const RETRY: Duration = Duration::from_millis(200);
/// A try that is too slow is given longer the next time, up to this: a slow database must not be taken for one that is away
/// for ever.
const LIMIT_LONGEST: Duration = Duration::from_secs(20);

/// Commits the group, however long it takes. None: the account belongs to a newer owner, and nothing was written.
///
/// `is_unanswered` holds while the group may be committed without anybody knowing.
pub(crate) async fn commit(
    shared: &Shared,
    owner: &Owner,
    database: &mut Kept,
    work: &Work<'_>,
    is_unanswered: &AtomicBool,
) -> Option<Vec<Committed>> {
    let (mut is_careful, mut is_told) = (false, false);
    let mut limit = LIMIT_HOT;
    loop {
        let how = How { is_careful, limit, is_unanswered };
        let tried = try_commit(shared, owner, database, work, &how).await;
        if !matches!(tried, Ok(Commit::Done(_))) {
            database.release();
        }
        let error = match tried {
            Ok(Commit::Done(results)) => {
                is_back(owner);
                return Some(results);
            }
            Ok(Commit::Unanswered(results, error)) => {
                note_away(owner);
                tracing::warn!(account.name = owner.account.config.name, %error,
                    "a commit was not answered; what became of it is asked before anything is repeated");
                match is_committed(shared, owner, work.number).await {
                    Ok(true) => {
                        is_back(owner);
                        return Some(results);
                    }
                    Ok(false) => {
                        is_unanswered.store(false, Ordering::Release);
                        continue;
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if matches!(error, Error::Fenced) {
            return None;
        }
        if error.is_duplicate() {
            tracing::error!(account.name = owner.account.config.name, %error, "a message has an outcome already");
            is_careful = true;
        }
        if error.is_timeout() {
            limit = (limit * 2).min(LIMIT_LONGEST);
        }
        // Once a group, so that the log says why and is not filled with it.
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!(account.name = owner.account.config.name, %error, "trying again to record");
        }
        note_away(owner);
        tokio::time::sleep(RETRY).await;
    }
}

pub(crate) fn note_away(owner: &Owner) {
    if !owner.account.database_is_away.swap(true, Ordering::AcqRel) {
        tracing::error!(
            account.name = owner.account.config.name,
            "outcomes cannot be recorded; nothing is sent until they can"
        );
    }
}

fn is_back(owner: &Owner) {
    if owner.account.database_is_away.swap(false, Ordering::AcqRel) {
        tracing::info!(account.name = owner.account.config.name, "outcomes are recorded again");
    }
}

/// Whether the group whose commit gave no answer is there; asked until it is known.
///
/// # Errors
/// [`Error::Fenced`] alone.
async fn is_committed(shared: &Shared, owner: &Owner, number: i64) -> store::Result<bool> {
    loop {
        let asked = leases::is_committed(&shared.db.hot, &owner.lease, number);
        match shared.db.within(LIMIT_HOT, "asking what became of a commit", asked).await {
            Err(Error::Fenced) => return Err(Error::Fenced),
            Err(error) => tracing::debug!(%error, "what became of a commit cannot be asked yet"),
            known => return known,
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What one transaction writes.
pub(crate) struct Work<'a> {
    /// No other transaction of this lease has it.
    pub(crate) number: i64,
    pub(crate) takings: &'a [Box<Taking>],
    pub(crate) recorded: &'a [Recorded],
    pub(crate) closed: &'a [i64],
}

/// How it is tried.
struct How<'a> {
    is_careful: bool,
    limit: Duration,
    is_unanswered: &'a AtomicBool,
}

/// How a commit ended.
enum Commit {
    Done(Vec<Committed>),
    /// It gave no answer: the results hold if the transaction is there.
    Unanswered(Vec<Committed>, Error),
}

async fn try_commit(
    shared: &Shared,
    owner: &Owner,
    database: &mut Kept,
    work: &Work<'_>,
    how: &How<'_>,
) -> store::Result<Commit> {
    let &How { is_careful, limit, is_unanswered } = how;
    let began = "recording intents and outcomes";
    let now = shared.clock.now();
    let timeout = owner.account.config.timeouts.total;
    let intents: Vec<&Intent> = work.takings.iter().map(|taking| &taking.intent).collect();
    let outcomes: Vec<&Outcome> = work.recorded.iter().map(|recorded| &recorded.outcome).collect();
    let effects: Vec<&Effects> = work.recorded.iter().map(|recorded| &recorded.effects).collect();
    let group = Group {
        number: work.number,
        intents: &intents,
        outcomes: &outcomes,
        closed: work.closed,
        now,
        deadline_at: now + TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX),
        is_careful,
        counts_marketing: shared.limits.max_per_recipient.is_some(),
    };
    let write = async {
        let mut transaction = database.begin(began).await?;
        let conn: &mut PgConnection = &mut transaction;
        let committed = groups::write(conn, &owner.lease, &group).await?;
        effects::apply_all(conn, &effects, now).await?;
        Ok((transaction, committed))
    };
    let (transaction, committed) = shared.db.within(limit, began, write).await?;
    hooks::point!("intent.before_commit", if !work.takings.is_empty());
    hooks::point!("outcome.before_commit", if !work.recorded.is_empty());
    is_unanswered.store(true, Ordering::Release);
    let commit = async { transaction.commit().await.map_err(Error::database(began)) };
    let ended = shared.db.within(limit, began, commit).await;
    hooks::point!("intent.after_commit", if !work.takings.is_empty());
    hooks::point!("outcome.after_commit", if !work.recorded.is_empty());
    Ok(match ended {
        Ok(()) => Commit::Done(committed),
        Err(error) => Commit::Unanswered(committed, error),
    })
}
