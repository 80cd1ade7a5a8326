//! A run's figures, as a table.

use std::{collections::BTreeMap, fmt};

use super::{
    machine::Growth,
    trouble::Troubles,
    verdict::{VENDORS, Verdict},
};

/// What a run did and how it ended.
#[derive(Debug, Default)]
pub struct Report {
    pub seconds: u64,
    pub seed: u64,
    pub daemons: usize,
    pub kills: usize,
    pub at_points: BTreeMap<&'static str, usize>,
    pub database_restarts: usize,
    pub sum: Verdict,
    pub growth: Growth,
}

impl Report {
    pub fn add(&mut self, (troubles, verdict): (Troubles, Verdict)) {
        self.daemons += 1;
        self.kills += troubles.kills;
        for (point, times) in troubles.at_points {
            *self.at_points.entry(point).or_default() += times;
        }
        let sum = &mut self.sum;
        sum.campaigns += verdict.campaigns;
        sum.recipients += verdict.recipients;
        sum.in_ledger += verdict.in_ledger;
        sum.accepted += verdict.accepted;
        sum.failed += verdict.failed;
        sum.cancelled += verdict.cancelled;
        sum.twice += verdict.twice;
        sum.lost += verdict.lost;
        for vendor in 0..VENDORS.len() {
            sum.unknown[vendor] += verdict.unknown[vendor];
            sum.unknown_in_ledger[vendor] += verdict.unknown_in_ledger[vendor];
        }
        sum.audit.extend(verdict.audit);
        sum.notes.extend(verdict.notes);
    }

    /// Nobody twice, nobody lost, and the audit agrees.
    pub fn is_clean(&self) -> bool {
        self.sum.twice == 0 && self.sum.lost == 0 && self.sum.audit.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = &self.sum;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| writeln!(f, "{name:<34}{value}");
        row(f, "seconds", self.seconds.to_string())?;
        row(f, "seed", self.seed.to_string())?;
        row(f, "daemons", self.daemons.to_string())?;
        row(f, "campaigns", sum.campaigns.to_string())?;
        row(f, "recipients", sum.recipients.to_string())?;
        let at_points: usize = self.at_points.values().sum();
        row(
            f,
            "kills",
            format!("{}, {at_points} of them at {} named points", self.kills, self.at_points.len()),
        )?;
        row(f, "restarts of the database", self.database_restarts.to_string())?;
        row(f, "messages in the vendors' ledger", sum.in_ledger.to_string())?;
        row(f, "accepted", sum.accepted.to_string())?;
        row(f, "failed or suppressed", sum.failed.to_string())?;
        row(f, "cancelled before they were sent", sum.cancelled.to_string())?;
        for (number, vendor) in VENDORS.iter().enumerate() {
            let (unknown, known) = (sum.unknown[number], sum.unknown_in_ledger[number]);
            row(f, &format!("unknown, {vendor}"), format!("{unknown}, of whom the ledger holds {known}"))?;
        }
        row(f, "duplicates", sum.twice.to_string())?;
        row(f, "lost", sum.lost.to_string())?;
        row(f, "audit", if sum.audit.is_empty() { "agrees".to_owned() } else { sum.audit.join("\n") })?;
        if let Some([early, most, last]) = self.growth.memory_mib() {
            row(
                f,
                "memory of a daemon that lives on",
                format!("{early} MiB early, {most} at most, {last} at the end"),
            )?;
        }
        if let Some([first, most, last]) = self.growth.files_mib() {
            row(
                f,
                "files of the database",
                format!("{first} MiB at first, {most} at most, {last} at the end"),
            )?;
        }
        sum.notes.iter().try_for_each(|note| row(f, "", note.clone()))
    }
}
