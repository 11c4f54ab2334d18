//! What a process uses, from `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// Clock ticks per second in `/proc/<pid>/stat`: 100 on every Linux that programs see.
const TICKS: f64 = 100.0;
/// Bytes in the kB of `/proc`.
const KIB: u64 = 1024;

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident.
    pub rss: u64,
    /// Resident, what is shared divided by who shares it.
    pub pss: u64,
    /// The most that was resident since the process began.
    pub peak: u64,
}

/// Processor time that a process has used so far, user and system.
///
/// # Errors
/// When there is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).context(path)?;
    ticks(&stat).map(|ticks| Duration::from_secs_f64(ticks / TICKS)).context("a line of /proc/<pid>/stat")
}

/// Fields 14 and 15; the name before them may hold anything but ends with the last bracket.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// Memory of a process now.
///
/// # Errors
/// When there is no such process.
pub fn memory(pid: u32) -> Result<Memory> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::read_to_string(&path).context(path)
    };
    let (rollup, status) = (read("smaps_rollup")?, read("status")?);
    let of = |text: &str, field: &str| kib(text, field).with_context(|| format!("{field} of {pid}"));
    Ok(Memory { rss: of(&rollup, "Rss")?, pss: of(&rollup, "Pss")?, peak: of(&status, "VmHWM")? })
}

fn kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(number * KIB)
}

/// The machine's load of one minute.
///
/// # Errors
/// When `/proc` does not say.
pub fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().with_context(|| format!("/proc/loadavg: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 5 1 1";
        assert_eq!(ticks(stat), Some(300.0));
        let text = "Rss:            1024 kB\nPss:   512 kB\nPss_Dirty:   1 kB\n";
        assert_eq!(
            (kib(text, "Rss"), kib(text, "Pss"), kib(text, "Swap")),
            (Some(1 << 20), Some(1 << 19), None)
        );
    }

    #[test]
    fn work_is_seen() {
        let own = std::process::id();
        let before = cpu(own).unwrap();
        let start = std::time::Instant::now();
        let mut sum = 0u64;
        while cpu(own).unwrap() < before + Duration::from_millis(50) {
            assert!(start.elapsed() < Duration::from_secs(60), "50 ms of work are not seen");
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        let now = memory(own).unwrap();
        assert!(now.pss <= now.rss && now.rss <= now.peak + (1 << 20), "{now:?}");
    }
}
