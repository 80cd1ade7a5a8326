//! Who of a task is taken together, with what each of them is sent.

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::message::RowError;
use store::{
    intents::{ANY_BATCH, Deferred, Prior, Source, Taken, Unfit},
    recipients::Recipient,
    runs::Due,
};

use crate::run::{RunFacts, TaskRun};

/// Recipients of one intent who are put off until their own windows open, at the most.
const DEFERRED: usize = 500;

/// Who is taken together.
pub(crate) struct Chosen {
    pub(crate) source: Source,
    pub(crate) candidates: Vec<Candidate>,
    /// Whose own window is closed.
    pub(crate) deferred: Vec<Deferred>,
}

/// Somebody who could be taken.
pub(crate) struct Candidate {
    pub(crate) taken: Taken,
    vars: Vec<String>,
}

/// Up to `wanted` recipients of a task, due ones and fresh ones in turn.
pub(crate) fn choose(run: &mut TaskRun, wanted: usize, now: DateTime<Utc>) -> Chosen {
    let retries = !run.due.is_empty() && (run.retry_next || !run.has_fresh());
    run.retry_next = !retries;
    if retries { choose_due(run, wanted, now) } else { choose_fresh(run, wanted, now) }
}

fn choose_due(run: &mut TaskRun, wanted: usize, now: DateTime<Utc>) -> Chosen {
    let wanted = together(&run.due, wanted);
    let (mut candidates, mut deferred) = (Vec::new(), Vec::new());
    for due in run.due.drain(..wanted) {
        run.in_hand.insert(due.no);
        match run.clocks.as_mut().and_then(|clocks| clocks.opens_at(due.phone, &due.vars, now)) {
            None => candidates.push(candidate_of_due(due)),
            Some(opens_at) => {
                deferred.push(Deferred { no: due.no, attempts_used: due.attempts_used, opens_at });
            }
        }
    }
    Chosen { source: Source::Retries, candidates, deferred }
}

fn choose_fresh(run: &mut TaskRun, wanted: usize, now: DateTime<Utc>) -> Chosen {
    let from = run.cursor;
    let (mut candidates, mut deferred) = (Vec::new(), Vec::new());
    while candidates.len() < wanted && deferred.len() < DEFERRED {
        let Some(Recipient { no, phone, vars }) = run.fresh.pop_front() else { break };
        run.cursor = no;
        if run.sample.is_some_and(|sample| sample.contains(no)) {
            continue;
        }
        match run.clocks.as_mut().and_then(|clocks| clocks.opens_at(phone, &vars, now)) {
            None => {
                let taken = Taken { no, phone, attempt: 1, prior: Prior::Queued, batch_max: ANY_BATCH };
                candidates.push(Candidate { taken, vars });
            }
            Some(opens_at) => deferred.push(Deferred { no, attempts_used: 0, opens_at }),
        }
    }
    Chosen { source: Source::Fresh { from, to: run.cursor }, candidates, deferred }
}

/// How many of those at the front may travel in one batch: as many as each of them allows.
fn together(due: &VecDeque<Due>, wanted: usize) -> usize {
    let mut most = wanted;
    for (count, due) in due.iter().enumerate().take(wanted) {
        most = most.min(usize::try_from(due.batch_max).unwrap_or(1).max(1));
        if count >= most {
            return most;
        }
    }
    most.min(due.len())
}

fn candidate_of_due(due: Due) -> Candidate {
    Candidate {
        taken: Taken {
            no: due.no,
            phone: due.phone,
            attempt: due.attempts_used + 1,
            prior: due.code.map_or(Prior::Waiting, Prior::Retrying),
            batch_max: due.batch_max,
        },
        vars: due.vars,
    }
}

/// Renders each recipient's message; who cannot be sent to is set apart with the reason.
pub(crate) fn render(facts: &RunFacts, candidates: Vec<Candidate>) -> (Vec<Taken>, Vec<Bytes>, Vec<Unfit>) {
    let (mut taken, mut rendered, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
    for Candidate { taken: who, vars } in candidates {
        let row: Vec<&str> = vars.iter().map(String::as_str).collect();
        match facts.compiled.render(who.phone, &row) {
            Ok(bytes) => {
                rendered.push(bytes);
                taken.push(who);
            }
            Err(error) => unfit.push(unfit_of(who, &error)),
        }
    }
    (taken, rendered, unfit)
}

fn unfit_of(who: Taken, error: &RowError) -> Unfit {
    Unfit {
        no: who.no,
        prior: who.prior,
        attempt: who.attempt,
        code: error.code.to_string(),
        reason: error.to_string(),
    }
}
