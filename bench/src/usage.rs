//! What this process has used, from /proc: CPU of all its threads, time, peak memory.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Linux counts CPU time for programs in hundredths of a second, whatever the kernel's own tick.
const TICKS: f64 = 100.0;

/// CPU seconds and the moment.
pub struct Reading {
    cpu: f64,
    at: Instant,
}

/// What a job cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cost {
    /// Microseconds of CPU an order, user and system.
    pub cpu_us: f64,
    /// Orders a second.
    pub rate: f64,
    /// Peak resident memory in megabytes.
    pub rss_mb: f64,
}

/// What has been used until now.
pub fn now() -> Result<Reading> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').context("/proc/self/stat has no name")?;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a short /proc/self/stat")?.parse()?) };
    Ok(Reading { cpu: (ticks(11)? + ticks(12)?) / TICKS, at: Instant::now() })
}

/// What `orders` orders have cost since then.
pub fn since(before: &Reading, orders: u64) -> Result<Cost> {
    let after = now()?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
    Ok(Cost {
        cpu_us: (after.cpu - before.cpu) * 1e6 / orders as f64,
        rate: orders as f64 / (after.at - before.at).as_secs_f64(),
        rss_mb: kilobytes / 1024.0,
    })
}
