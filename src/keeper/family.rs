//! Who descends from whom, as /proc tells it: everything that a replica started can be found and ended.

use std::collections::{HashMap, HashSet};

use procfs::process::{self, Stat};
use rustix::process::{Pid, Signal, kill_process};

/// Everybody, as far as it can be seen; who ends meanwhile is left out.
fn everybody() -> Vec<Stat> {
    let all = process::all_processes().into_iter().flatten();
    all.filter_map(|process| process.ok()?.stat().ok()).collect()
}

/// Whether it still runs: a zombie only waits to be seen.
fn is_alive(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X')
}

/// Kills whoever descends from `ancestor`; how many there were.
pub(super) fn kill_descendants(ancestor: Pid) -> usize {
    let all = everybody();
    let mut children: HashMap<i32, Vec<&Stat>> = HashMap::new();
    for stat in &all {
        children.entry(stat.ppid).or_default().push(stat);
    }
    let (mut found, mut seen) = (vec![ancestor.as_raw_nonzero().get()], HashSet::new());
    let mut count = 0_usize;
    while let Some(parent) = found.pop() {
        for stat in children.get(&parent).into_iter().flatten() {
            if seen.insert(stat.pid) {
                found.push(stat.pid);
                count = count.saturating_add(usize::from(is_alive(stat) && kill(stat.pid)));
            }
        }
    }
    count
}

/// Kills what is left of a session whose leader's keeper is gone; how many there were. `started` is when the leader was, as
/// [`session_of`] told it: an id that is another's meanwhile is left alone.
pub fn kill_session(leader: u32, started: u64) -> usize {
    let Ok(leader) = i32::try_from(leader) else {
        return 0;
    };
    let left = everybody().into_iter();
    let left = left.filter(|stat| stat.session == leader && stat.starttime >= started && is_alive(stat));
    // A leader of that id that came later has another session.
    let all: Vec<Stat> = left.collect();
    if all.iter().any(|stat| stat.pid == leader && stat.starttime != started) {
        return 0;
    }
    all.iter().filter(|stat| kill(stat.pid)).count()
}

/// When a process was started, in ticks since the machine was (proc_pid_stat(5)); with its id it names it for good.
#[must_use]
pub fn session_of(pid: u32) -> Option<u64> {
    let process = process::Process::new(i32::try_from(pid).ok()?).ok()?;
    Some(process.stat().ok()?.starttime)
}

fn kill(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}
