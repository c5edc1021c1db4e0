//! What a program has used so far: processor time and memory, read from `/proc`.

use std::fs;

use crate::common::program::Program;

/// What a program has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all its threads and child processes.
    pub(crate) cpu_seconds: f64,
    /// Its resident memory that isn't backed by a file.
    pub(crate) memory_bytes: u64,
}

impl Usage {
    /// Of a program, with its children.
    pub(crate) fn of(program: &Program) -> Self {
        usage_of(program.id())
    }
}

fn usage_of(pid: u32) -> Usage {
    let mut sum = Usage::default();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        // proc(5): nanoseconds on a processor come first.
        let text = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        let nanoseconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        sum.cpu_seconds += nanoseconds / 1e9;
        let children = fs::read_to_string(entry.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
            let of_child = usage_of(child);
            sum.cpu_seconds += of_child.cpu_seconds;
            sum.memory_bytes = sum.memory_bytes.saturating_add(of_child.memory_bytes);
        }
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    sum.memory_bytes = sum.memory_bytes.saturating_add(kib.saturating_mul(1024));
    sum
}
