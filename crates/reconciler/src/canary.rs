//! Canaries: whether those who try a task fare so well that it may go on with everybody.

use chrono::{DateTime, Utc};
use model::{
    campaign::{Canary, CanaryVerdict, SampleCounts},
    disposition::Scope,
    fault_class::{FaultClass, FaultCounts},
    status::MessageState,
};
use store::{
    PgConnection,
    canaries::{self, Fared, Pending, State},
    effects::{self, Effects, NewHalt},
    standings,
};
use vendors::codes;

use crate::{Shared, failed::facts_of_message};

/// The code of a halt for a canary that fared badly.
const CANARY: &str = "canary";

/// Looks how the account's canaries fare; whether a task may go on because of it.
pub(crate) async fn step(
    conn: &mut PgConnection,
    shared: &Shared,
    account: &str,
    now: DateTime<Utc>,
) -> store::Result<bool> {
    let mut goes_on = false;
    for pending in canaries::pending(conn, account).await? {
        if pending.stands_still {
            // Those who are to be tried again are not meanwhile: once it goes on, they are waited for anew.
            if pending.called_at.is_some() {
                canaries::note(conn, pending.task_id, None, pending.failed).await?;
            }
            continue;
        }
        goes_on |= look(conn, shared, account, &pending, now).await?;
    }
    Ok(goes_on)
}

async fn look(
    conn: &mut PgConnection,
    shared: &Shared,
    account: &str,
    pending: &Pending,
    now: DateTime<Utc>,
) -> store::Result<bool> {
    let fared = canaries::fared(conn, pending.task_id, &pending.sample).await?;
    let (counts, blamed) = Judge::of(conn, shared, account, pending.task_id).await?.count(&fared);
    let failed = i32::try_from(counts.failed.total()).unwrap_or(i32::MAX);
    let called_at = pending.called_at.or_else(|| (counts.waiting == 0).then_some(now));
    match pending.canary.judge(&counts, called_at, now) {
        CanaryVerdict::WaitForCalls | CanaryVerdict::WaitUntil(_) => {
            if (called_at, failed) != (pending.called_at, pending.failed) {
                canaries::note(conn, pending.task_id, called_at, failed).await?;
            }
            Ok(false)
        }
        CanaryVerdict::Continue => {
            tracing::info!(task.id = pending.task_id, failed, "the canary is well: the task goes on");
            canaries::decide(conn, pending.task_id, State::Passed, failed).await
        }
        CanaryVerdict::Halt { failed: n, undecided, of } => {
            if !canaries::decide(conn, pending.task_id, State::Failed, failed).await? {
                return Ok(false);
            }
            let reason = reason(&pending.canary, n, undecided, of, &blamed);
            tracing::warn!(task.id = pending.task_id, reason, "the canary halts the task");
            let effects =
                Effects { halts: vec![halt(account, pending.task_id, reason)], suppressions: Vec::new() };
            effects::apply(conn, &effects, now).await?;
            Ok(false)
        }
    }
}

/// What is to blame for a code of a task's messages.
struct Judge {
    facts: Option<(vendors::Vendor, model::disposition::MessageFacts)>,
}

impl Judge {
    async fn of(
        conn: &mut PgConnection,
        shared: &Shared,
        account: &str,
        task_id: i64,
    ) -> store::Result<Self> {
        let tasks = standings::task_facts(conn, &[task_id]).await?;
        let vendor = shared.vendors.get(account).copied();
        Ok(Self { facts: vendor.zip(tasks.get(&task_id).map(facts_of_message)) })
    }

    fn class(&self, fared: &Fared) -> FaultClass {
        self.facts.as_ref().map_or(FaultClass::Passing, |(vendor, facts)| {
            FaultClass::of(&codes::judge(*vendor, &fared.code, &fared.reason, facts).disposition)
        })
    }

    /// How the sample fares, and what is to blame for all who are not well.
    fn count(&self, fared: &[Fared]) -> (SampleCounts, FaultCounts) {
        let (mut counts, mut blamed) = (SampleCounts::default(), FaultCounts::default());
        for fared in fared {
            let n = u32::try_from(fared.n).unwrap_or(u32::MAX);
            match fared.state {
                None => counts.waiting += n,
                Some(MessageState::Retrying) => counts.retrying += n,
                Some(MessageState::Unknown) => counts.unknown += n,
                Some(MessageState::Failed) => counts.failed.add(self.class(fared), n),
                Some(MessageState::Suppressed | MessageState::Expired) => counts.skipped += n,
                Some(state) => {
                    debug_assert!(state.is_accepted(), "{state:?} is well");
                    counts.accepted += n;
                }
            }
            if matches!(
                fared.state,
                Some(MessageState::Retrying | MessageState::Unknown | MessageState::Failed)
            ) {
                blamed.add(self.class(fared), n);
            }
        }
        (counts, blamed)
    }
}

/// How many of how many, and what is to blame.
fn reason(canary: &Canary, failed: u64, undecided: u64, of: u64, blamed: &FaultCounts) -> String {
    let undecided = match undecided {
        0 => String::new(),
        n => format!(" and {n} are unknown or to be tried again"),
    };
    // Two decimals: what a product of the two rounds to is nobody's number.
    let percent = (canary.max_failure_rate * 10_000.0).round() / 100.0;
    let mut classes: Vec<(FaultClass, u32)> =
        FaultClass::ALL.into_iter().map(|class| (class, blamed.of(class))).filter(|(_, n)| *n > 0).collect();
    classes.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let classes: Vec<String> =
        classes.into_iter().map(|(class, n)| format!("{} {n}", class.as_str())).collect();
    format!(
        "of {of} recipients who were sent to first {failed} failed{undecided}, and {percent} % may; to blame: {}",
        classes.join(", ")
    )
}

fn halt(account: &str, task_id: i64, reason: String) -> NewHalt {
    NewHalt {
        scope: Scope::Task,
        account: account.to_owned(),
        value: task_id.to_string(),
        code: CANARY.to_owned(),
        reason,
        remedy: "Look at the task's errors by code and mend what they name; then lift the halt, and it goes on with \
                 everybody, or cancel the task."
            .to_owned(),
        lifts_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_says_how_many_of_how_many_and_why() {
        let canary = Canary { recipients: 100, wait_seconds: 300, max_failure_rate: 0.07 };
        let blamed = FaultCounts { template: 3, recipient: 15, ..FaultCounts::default() };
        assert_eq!(
            reason(&canary, 14, 4, 98, &blamed),
            "of 98 recipients who were sent to first 14 failed and 4 are unknown or to be tried again, and 7 % may; to \
             blame: recipient 15, template 3"
        );
        assert!(
            reason(&canary, 18, 0, 98, &blamed)
                .starts_with("of 98 recipients who were sent to first 18 failed, and")
        );
    }

    #[test]
    fn each_of_a_sample_counts_once() {
        let fared = |state, n| Fared { state, code: String::new(), reason: String::new(), n };
        use MessageState as S;
        let sample = [
            fared(None, 1),
            fared(Some(S::Accepted), 2),
            fared(Some(S::Read), 4),
            fared(Some(S::Retrying), 8),
            fared(Some(S::Unknown), 16),
            fared(Some(S::Failed), 32),
            fared(Some(S::Suppressed), 64),
            fared(Some(S::Expired), 128),
        ];
        let (counts, blamed) = Judge { facts: None }.count(&sample);
        let failed = FaultCounts { passing: 32, ..FaultCounts::default() };
        let wanted = SampleCounts { waiting: 1, retrying: 8, unknown: 16, accepted: 6, failed, skipped: 192 };
        assert_eq!((counts, blamed.total()), (wanted, 8 + 16 + 32));
    }
}
