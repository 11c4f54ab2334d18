//! Programs that are measured: each on one core, with what it uses from `/proc`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The core of the proxy alone.
pub(super) const PROXY_CORE: &str = "0";
/// The core of everything else: clients, servers, API server.
pub(super) const LOAD_CORE: &str = "1";
/// Clock ticks per second in `/proc/<pid>/stat`: 100 on every Linux that programs see.
const TICKS: f64 = 100.0;
/// Longest time until a program listens, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program; it is stopped when this is dropped.
pub(super) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Memory of a program with its workers, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Memory {
    /// Resident; what workers share counts for each of them.
    pub(super) rss: u64,
    /// Resident, what is shared divided by who shares it.
    pub(super) pss: u64,
}

/// A command that runs on one core only.
pub(super) fn pinned(core: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program).stdin(Stdio::null());
    command
}

impl Program {
    /// Starts a command; what it prints goes to `NAME.log` in the folder.
    pub(super) fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = fs::File::create(&log).with_context(|| log.display().to_string())?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{name} cannot be started: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until it accepts connections.
    pub(super) fn listening(mut self, address: SocketAddr) -> Result<Self> {
        let start = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} instead of listening on {address}: {}",
                    self.name,
                    self.last_words()
                );
            }
            if start.elapsed() > PATIENCE {
                bail!("{} does not listen on {address}: {}", self.name, self.last_words());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(self)
    }

    /// The end of what it printed.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Processor time of it and its workers so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        self.pids().iter().map(|pid| cpu(*pid)).sum()
    }

    /// Memory of it and its workers now.
    pub(super) fn memory(&self) -> Result<Memory> {
        let mut sum = Memory::default();
        for pid in self.pids() {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).context(path)?;
            sum.rss += kib(&text, "Rss").context("Rss")?;
            sum.pss += kib(&text, "Pss").context("Pss")?;
        }
        Ok(sum)
    }

    /// The most that was resident since it began, without workers.
    pub(super) fn peak(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).context(path)?;
        kib(&text, "VmHWM").context("VmHWM")
    }

    /// Sends it a signal, such as `TERM`.
    pub(super) fn signal(&self, name: &str) {
        // One that has ended already is as good.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", name, &pid]).stderr(Stdio::null()).status();
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(mut self) -> Result<()> {
        self.signal("TERM");
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                bail!("{} does not stop: {}", self.name, self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Kills it without a warning.
    pub(super) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// It and its workers.
    fn pids(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        std::iter::once(pid).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A master must have the time to stop its workers.
        if let Ok(None) = self.child.try_wait() {
            self.signal("TERM");
            let start = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(1) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).context(path)?;
    ticks(&stat).map(|ticks| Duration::from_secs_f64(ticks / TICKS)).context("a line of /proc/<pid>/stat")
}

/// Fields 14 and 15; the name before them may hold anything but ends with the last bracket.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(number * 1024)
}

/// The cores on which this program may run, as Linux spells them.
pub(super) fn own_cores() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.map(|list| list.trim().to_owned()).context("Cpus_allowed_list in /proc/self/status")
}

/// What the proxy's core did since the machine began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct CoreTime {
    /// In programs.
    pub(super) busy: Duration,
    /// Given to other machines by the hypervisor.
    pub(super) stolen: Duration,
}

/// Reads it.
pub(super) fn core_time() -> Result<CoreTime> {
    let stat = fs::read_to_string("/proc/stat")?;
    core_of(&stat).context("a line of a core in /proc/stat")
}

/// Fields: user, nice, system, idle, iowait, irq, softirq, steal.
fn core_of(stat: &str) -> Option<CoreTime> {
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{PROXY_CORE} ")))?;
    let ticks: Vec<f64> = line.split(' ').map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let of = |ticks: f64| Duration::from_secs_f64(ticks / TICKS);
    Some(CoreTime { busy: of(ticks.get(..3)?.iter().sum()), stolen: of(*ticks.get(7)?) })
}

/// The machine, for people: processor, cores, kernel, and the load before anything began.
pub(super) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (processors, kernel, load) =
        (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    let models: Vec<&str> = processors.lines().filter_map(|l| l.strip_prefix("model name")).collect();
    let name = models.first().map_or("?", |model| model.trim_start_matches([' ', '\t', ':']));
    let load = load.split(' ').next().unwrap_or("?");
    format!("{} cores of {name}, Linux {}, load before {load}", models.len(), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 5 1 1";
        assert_eq!(ticks(stat), Some(300.0));
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 0 50 7 0 0 3 25 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\n";
        let seconds = Duration::from_millis;
        assert_eq!(core_of(stat), Some(CoreTime { busy: seconds(1500), stolen: seconds(250) }));
        let text = "Rss:            1024 kB\nPss:   512 kB\nPss_Dirty:   1 kB\n";
        assert_eq!(
            (kib(text, "Rss"), kib(text, "Pss"), kib(text, "Swap")),
            (Some(1 << 20), Some(1 << 19), None)
        );
    }

    #[test]
    fn workers_are_seen_and_a_program_stops_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & trap 'kill $!; exit' TERM; wait"]);
        let program = Program::start("master", command, folder.path()).unwrap();
        let start = Instant::now();
        while program.pids().len() < 2 {
            assert!(start.elapsed() < PATIENCE);
        }
        assert!(program.memory().unwrap().rss > 0 && program.cpu().is_ok());
        program.stop().unwrap();
    }
}
