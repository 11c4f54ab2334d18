//! Programs that are measured: on cores of their own, with what they use from `/proc`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Processor time of all programs that this one has started and waited for.
pub(crate) fn of_finished() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    ticks(&stat, CHILDREN)
        .map(|ticks| Duration::from_secs_f64(ticks / TICKS))
        .context("a line of /proc/self/stat")
}

/// Where times stand in `/proc/<pid>/stat`, behind the name: of the process, and of its children.
const OWN: usize = 11;
const CHILDREN: usize = 13;

/// Clock ticks per second in `/proc/<pid>/stat`: 100 on every Linux that programs see.
const TICKS: f64 = 100.0;
/// Longest time until a program listens, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program; it is stopped when this is dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Memory of a program with its workers, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    /// Resident; what workers share counts for each of them.
    pub(crate) rss: u64,
    /// Resident, what is shared divided by who shares it.
    pub(crate) pss: u64,
}

/// A command that runs on some cores only, such as `0` or `0,1`.
pub(crate) fn pinned(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program).stdin(Stdio::null());
    command
}

impl Program {
    /// Starts a command; what it prints goes to `NAME.log` in the folder.
    pub(crate) fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = fs::File::create(&log).with_context(|| log.display().to_string())?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{name} cannot be started: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until it accepts connections.
    pub(crate) fn listening(mut self, address: SocketAddr) -> Result<Self> {
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
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }

    /// The first line with this text that it printed.
    pub(crate) fn line(&self, text: &str) -> Option<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().find(|line| line.contains(text)).map(str::to_owned)
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Processor time of it and its workers so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.pids().iter().map(|pid| cpu(*pid)).sum()
    }

    /// Memory of it and its workers now.
    pub(crate) fn memory(&self) -> Result<Memory> {
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
    pub(crate) fn peak(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).context(path)?;
        kib(&text, "VmHWM").context("VmHWM")
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        send(name, &[self.child.id()]);
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Holds it and its workers up, or lets them go on.
    pub(crate) fn pause(&self, paused: bool) {
        send(if paused { "STOP" } else { "CONT" }, &self.pids());
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
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
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// It, its workers, and theirs.
    fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = pids.get(next) {
            pids.extend(children(*pid));
            next += 1;
        }
        pids
    }
}

/// What the threads of a process have started, as far as it runs.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Sends a process a signal, such as `TERM`; one that has ended already is as good.
fn send(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    let _ = Command::new("kill").args(["-s", name]).args(pids).stderr(Stdio::null()).status();
}

impl Drop for Program {
    fn drop(&mut self) {
        // A master must have the time to stop its workers. Not all do: what is left of them is nobody's then.
        let mut workers = vec![];
        if let Ok(None) = self.child.try_wait() {
            self.pause(false);
            workers = self.pids().split_off(1);
            self.signal("TERM");
            let start = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(1) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        workers.retain(|pid| fs::exists(format!("/proc/{pid}")).unwrap_or_default());
        if !workers.is_empty() {
            send("KILL", &workers);
        }
    }
}

/// Processor time of one process so far.
///
/// # Errors
/// When it does not run.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).context(path)?;
    ticks(&stat, OWN)
        .map(|ticks| Duration::from_secs_f64(ticks / TICKS))
        .context("a line of /proc/<pid>/stat")
}

/// In programs and in the kernel; the name before them may hold anything but ends with the last bracket.
fn ticks(stat: &str, at: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(at);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(number * 1024)
}

/// The cores on which this program may run, as Linux spells them.
pub(crate) fn own_cores() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.map(|list| list.trim().to_owned()).context("Cpus_allowed_list in /proc/self/status")
}

/// What a core did since the machine began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CoreTime {
    /// In programs.
    pub(crate) busy: Duration,
    /// Given to other machines by the hypervisor.
    pub(crate) stolen: Duration,
}

/// Reads it, of the core of this number or, of `""`, of all together.
pub(crate) fn core_time(core: &str) -> Result<CoreTime> {
    let stat = fs::read_to_string("/proc/stat")?;
    core_of(&stat, core).context("a line of a core in /proc/stat")
}

/// Fields: user, nice, system, idle, iowait, irq, softirq, steal.
fn core_of(stat: &str, core: &str) -> Option<CoreTime> {
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
    // Two spaces stand behind the name of all together.
    let ticks: Vec<f64> = line.split_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let of = |ticks: f64| Duration::from_secs_f64(ticks / TICKS);
    Some(CoreTime { busy: of(ticks.get(..3)?.iter().sum()), stolen: of(*ticks.get(7)?) })
}

/// The machine, for people: processor, cores, kernel, and the load before anything began.
pub(crate) fn machine() -> String {
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
        assert_eq!((ticks(stat, OWN), ticks(stat, CHILDREN)), (Some(300.0), Some(0.0)));
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 0 50 7 0 0 3 25 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\n";
        let seconds = Duration::from_millis;
        assert_eq!(core_of(stat, "0"), Some(CoreTime { busy: seconds(1500), stolen: seconds(250) }));
        assert_eq!(core_of(stat, ""), Some(CoreTime { busy: seconds(270), stolen: seconds(90) }));
        assert_eq!(core_of(stat, "2"), None);
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

    #[test]
    fn workers_of_workers_end_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'sleep 60 & wait' & wait"]);
        let program = Program::start("master", command, folder.path()).unwrap();
        let start = Instant::now();
        while program.pids().len() < 3 {
            assert!(start.elapsed() < PATIENCE);
        }
        let pids = program.pids();
        drop(program);
        let state = |pid| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Whoever adopts them may be slow to read their last word.
        let runs = |pid: &&u32| {
            !matches!(state(**pid).rsplit_once(") ").map(|(_, rest)| &rest[..1]), None | Some("Z"))
        };
        while pids.iter().filter(runs).count() > 0 {
            assert!(start.elapsed() < PATIENCE);
        }
    }
}
