//! What `/proc` tells of a process.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use super::pass;

/// A process, seen from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn read(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).unwrap_or_default()
    }

    /// What of its status a failure is judged by.
    pub(crate) fn status(self) -> String {
        const TELLING: [&str; 5] = ["State", "VmHWM", "VmRSS", "Threads", "FDSize"];
        let status = self.read("status");
        let lines = status
            .lines()
            .filter(|line| TELLING.iter().any(|name| line.starts_with(name)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A zombie isn't.
    pub(crate) fn is_alive(self) -> bool {
        let status = self.read("status");
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
    }

    fn status_value(self, name: &str) -> Option<u64> {
        let status = self.read("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    }

    /// What its descriptors are: "socket:[1]", "pipe:[2]", a path.
    fn descriptors(self) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.0)).into_iter().flatten();
        entries
            .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
            .collect()
    }

    /// The number that its next descriptor will have: with a limit of so many it gets none, though some beyond may be open.
    pub(crate) fn next_fd(self) -> u64 {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.0)).into_iter().flatten();
        let used: HashSet<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        (0..).find(|number| !used.contains(number)).unwrap()
    }

    pub(crate) fn fds(self) -> usize {
        self.descriptors().len()
    }

    pub(crate) fn pipes(self) -> usize {
        self.descriptors()
            .iter()
            .filter(|name| name.starts_with("pipe:"))
            .count()
    }

    /// All but those that tokio starts to open a file, and ends when it had no work for ten seconds.
    pub(crate) fn threads(self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0))
            .into_iter()
            .flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim() != "tokio-rt-worker").count()
    }

    pub(crate) fn resident_kib(self) -> u64 {
        self.status_value("VmRSS").unwrap_or(0)
    }

    /// Processor time so far, user and kernel.
    fn cpu(self) -> Duration {
        let stat = self.read("stat");
        // The name of the program may hold blanks; what follows it doesn't. utime and stime are fields 14 and 15 (proc(5)).
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap()
    }

    /// The same to the nanosecond, of threads that live (proc(5), schedstat).
    pub(crate) fn cpu_exact(self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten();
        let used = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(used.sum())
    }

    /// Processor time used while `span` passes.
    pub(crate) fn cpu_during(self, span: Duration) -> Duration {
        let before = self.cpu();
        pass(span);
        self.cpu() - before
    }
}

/// A line of the list of processes.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// With blanks between its words.
    pub(crate) command: String,
}

/// Who runs now; zombies don't.
pub(crate) fn everybody() -> Vec<Listed> {
    let entries = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let listed = entries.filter_map(|pid: u32| {
        let process = Process(pid);
        let stat = process.read("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let command = process.read("cmdline").replace('\0', " ");
        let is_alive = !matches!(fields[0], "Z" | "X");
        is_alive.then(|| Listed {
            pid,
            parent: fields[1].parse().unwrap(),
            session: fields[3].parse().unwrap(),
            command: command.trim_end().to_owned(),
        })
    });
    listed.collect()
}

/// The children of a process.
pub(crate) fn children_of(pid: u32) -> Vec<Listed> {
    everybody().into_iter().filter(|listed| listed.parent == pid).collect()
}
