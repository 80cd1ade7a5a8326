//! Where everybody is in the end, by the vendors' ledger and by what the daemon says, and whether the two agree.

use std::collections::HashSet;

use api::MessageState;
use simulator::Vendor;

use super::life::Launched;
use crate::harness::{World, people::digits};

/// What is said of one daemon's campaigns.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub campaigns: usize,
    pub recipients: i64,
    /// Messages that the vendors' ledger holds.
    pub in_ledger: i64,
    pub accepted: i64,
    pub failed: i64,
    pub cancelled: i64,
    /// Unknown in the end, by vendor in the order of `Vendor::ALL`; and how many of them the ledger holds.
    pub unknown: [i64; 3],
    pub unknown_in_ledger: [i64; 3],
    /// Recipients whom the ledger holds more than once.
    pub twice: i64,
    /// Recipients who are in no place, in no final one, or accepted without being in the ledger.
    pub lost: i64,
    /// What the audit finds fault with.
    pub audit: Vec<String>,
    /// What is wrong, for whoever has to find the cause.
    pub notes: Vec<String>,
}

/// Judges all campaigns of a daemon; `open`: how many recipients did not come to an end.
pub async fn judge(world: &mut World, campaigns: &[Launched], open: i64) -> Verdict {
    let mut verdict = Verdict { campaigns: campaigns.len(), ..Verdict::default() };
    if open != 0 {
        verdict.lost += open.abs();
        verdict.notes.push(format!("{open} recipients did not come to an end"));
    }
    let ledger = world.simulator.accepted_by_recipient();
    verdict.in_ledger = ledger.values().map(|times| i64::from(*times)).sum();
    let twice: Vec<u64> = ledger.iter().filter(|(_, times)| **times > 1).map(|(phone, _)| *phone).collect();
    verdict.twice = count(twice.len());
    for phone in twice.iter().take(5) {
        verdict.notes.push(format!("{phone} is in the ledger {} times", ledger[phone]));
    }
    for launched in campaigns {
        let reached: HashSet<u64> =
            launched.people.clone().map(digits).filter(|phone| ledger.contains_key(phone)).collect();
        of_campaign(world, launched, &reached, &mut verdict).await;
    }
    let audit = tokio::task::block_in_place(|| world.daemon().run(&["audit"]));
    if !audit.status.success() {
        verdict.audit.push(String::from_utf8_lossy(&audit.stdout).into_owned());
        verdict.audit.push(String::from_utf8_lossy(&audit.stderr).into_owned());
    }
    verdict
}

/// Each recipient is accepted, unknown, failed or cancelled; accepted are those in the ledger who are nothing else.
async fn of_campaign(world: &World, launched: &Launched, reached: &HashSet<u64>, verdict: &mut Verdict) {
    let task = world.task(launched.task).await;
    let counts = &task.counts;
    let mut elsewhere = HashSet::new();
    for state in
        [MessageState::Unknown, MessageState::Failed, MessageState::Suppressed, MessageState::Expired]
    {
        let phones = world.phones(task.id, state).await;
        if state == MessageState::Unknown {
            let vendor = launched.vendor as usize;
            verdict.unknown[vendor] += count(phones.len());
            let known = phones.iter().filter(|phone| reached.contains(phone)).count();
            verdict.unknown_in_ledger[vendor] += count(known);
        }
        elsewhere.extend(phones);
    }
    verdict.recipients += counts.total;
    verdict.accepted += counts.accepted;
    verdict.failed += counts.failed + counts.suppressed + counts.expired;
    verdict.cancelled += counts.cancelled;
    let accepted = count(reached.iter().filter(|phone| !elsewhere.contains(phone)).count());
    let placed = counts.accepted + count(elsewhere.len()) + counts.cancelled;
    let missing = (counts.total - placed).abs() + (accepted - counts.accepted).abs();
    let is_whole = counts.total == count(launched.people.len());
    if missing > 0 || !is_whole {
        verdict.lost += missing.max(1);
        verdict.notes.push(format!(
            "task {} ({}): {accepted} are accepted by the ledger, {} are elsewhere: {counts:?}",
            task.id,
            launched.vendor,
            elsewhere.len(),
        ));
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap()
}

/// The vendors, as `Verdict::unknown` counts them.
pub const VENDORS: [Vendor; 3] = Vendor::ALL;
