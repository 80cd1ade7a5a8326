//! What the machine says of itself and of processes: time, load, CPU and memory. Read from the kernel, never estimated.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

/// Microseconds of the clock that all processes of this machine share and that never jumps.
pub fn now_us() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    u64::try_from(Duration::from(time).as_micros()).unwrap_or(0)
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// What the machine is, in a line.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let kib: u64 = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default();
    format!("{cores} cores of {model}, {} GiB", kib / 1024 / 1024)
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// CPU time in microseconds of a process by itself, its living children left out.
pub fn cpu_us(pid: u32) -> Result<f64> {
    let stat = Stat::read(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(stat.own_ticks as f64 * US_PER_TICK)
}

/// CPU time in microseconds of a process, of its children that live, and of those that have ended.
pub fn family_cpu_us(pid: u32) -> Result<f64> {
    let head = Stat::read(pid).with_context(|| format!("process {pid} is gone"))?;
    let mut ticks = head.own_ticks + head.ended_ticks;
    for entry in fs::read_dir("/proc")?.flatten() {
        let child = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Stat::read);
        if let Some(child) = child.filter(|child| child.parent == pid) {
            ticks += child.own_ticks + child.ended_ticks;
        }
    }
    Ok(ticks as f64 * US_PER_TICK)
}

/// Linux counts in hundredths of a second wherever it is told to user space.
const US_PER_TICK: f64 = 10_000.0;

struct Stat {
    parent: u32,
    own_ticks: u64,
    ended_ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold spaces; what follows it begins with the state, field 3.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            own_ticks: field(14)? + field(15)?,
            ended_ticks: field(16)? + field(17)?,
        })
    }
}

/// The most memory that a process ever had resident, in bytes.
pub fn peak_rss_bytes(pid: u32) -> Result<u64> {
    let text = field(&format!("/proc/{pid}/status"), "VmHWM").context("the kernel tells no VmHWM")?;
    let kib: u64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(kib * 1024)
}
