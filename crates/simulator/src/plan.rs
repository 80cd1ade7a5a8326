//! Which reports a message gets, and when: a pure function of the seed and the message's number, so that
//! nothing about the future of millions of messages is kept in memory.

use crate::options::CallbackOptions;
use crate::random::Random;
use crate::vendor::Vendor;

/// A status of a message after its acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Sent,
    Delivered,
    Read,
    Failed(u32),
}

/// A report and its time since acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) after_us: u64,
    pub(crate) report: Report,
}

/// The reports of one message in the order of their times. `failure` is a code that a fault has chosen, or 0.
pub(crate) fn plan(
    options: &CallbackOptions,
    seed: u64,
    vendor: Vendor,
    sequence: u32,
    failure: u32,
) -> Vec<Step> {
    let mut random = Random::new(seed, 0x504C_414E ^ (u64::from(sequence) << 32));
    let mut reports = reports(options, &mut random, vendor, failure);
    if random.chance(options.reordered) {
        reports.reverse();
    }
    let mut steps = Vec::with_capacity(reports.len() + 1);
    let mut after_us = 0;
    for report in reports {
        after_us += delay_us(options, &mut random);
        steps.push(Step { after_us, report });
        if random.chance(options.duplicates) {
            steps.push(Step { after_us: after_us + delay_us(options, &mut random), report });
        }
    }
    steps.sort_by_key(|step| step.after_us);
    steps
}

/// Whether the first report comes before the answer of the send.
pub(crate) fn is_early(options: &CallbackOptions, seed: u64, sequence: u32) -> bool {
    options.early > 0.0 && Random::new(seed, 0x4541_524C ^ (u64::from(sequence) << 32)).chance(options.early)
}

fn reports(options: &CallbackOptions, random: &mut Random, vendor: Vendor, failure: u32) -> Vec<Report> {
    let codes = options.failed_codes.of(vendor);
    let drawn = random.chance(options.failed);
    let code = match codes.len() {
        0 => 0,
        many => codes[usize::try_from(random.between(0, many as u64 - 1)).unwrap_or(0)],
    };
    let failure = if failure == 0 && drawn { code } else { failure };
    let mut reports = Vec::with_capacity(3);
    let sent = random.chance(options.sent);
    if failure != 0 {
        if sent && random.chance(0.5) {
            reports.push(Report::Sent);
        }
        reports.push(Report::Failed(failure));
        return reports;
    }
    if sent {
        reports.push(Report::Sent);
    }
    if random.chance(options.delivered) {
        reports.push(Report::Delivered);
        if random.chance(options.read) {
            reports.push(Report::Read);
        }
    }
    reports
}

fn delay_us(options: &CallbackOptions, random: &mut Random) -> u64 {
    random.between(options.delay_ms.min.saturating_mul(1_000), options.delay_ms.max.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(options: &CallbackOptions, sequence: u32, failure: u32) -> Vec<Report> {
        plan(options, 1, Vendor::Exotel, sequence, failure).iter().map(|step| step.report).collect()
    }

    #[test]
    fn shares_order_and_failures() {
        let all = CallbackOptions { read: 1.0, ..CallbackOptions::default() };
        assert_eq!(reports(&all, 1, 0), [Report::Sent, Report::Delivered, Report::Read]);
        assert_eq!(reports(&all, 1, 30_007).last(), Some(&Report::Failed(30_007)));
        let reversed = CallbackOptions { reordered: 1.0, ..all.clone() };
        assert_eq!(reports(&reversed, 1, 0), [Report::Read, Report::Delivered, Report::Sent]);
        let twice = CallbackOptions { duplicates: 1.0, ..all.clone() };
        assert_eq!(reports(&twice, 1, 0).len(), 6);
        let failing = CallbackOptions { failed: 0.1, ..all };
        let failed =
            (0..5_000).filter(|n| reports(&failing, *n, 0).contains(&Report::Failed(30_012))).count();
        assert!((400..600).contains(&failed), "{failed} of 5000 at 10 %");
        let steps = plan(&failing, 1, Vendor::Exotel, 4, 0);
        assert_eq!(steps, plan(&failing, 1, Vendor::Exotel, 4, 0));
        assert!(steps.windows(2).all(|pair| pair[0].after_us <= pair[1].after_us));
    }
}
