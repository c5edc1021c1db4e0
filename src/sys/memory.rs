//! How much memory there is for lb, and how much of it is used: files of /proc and of the control group, opened once and read again.
//!
//! Three limits, each with its own measure: `max_memory` against what lb itself has resident plus its part of what the kernel holds for
//! TCP (by the number of sockets: the kernel keeps no such figure for a process); that of the control group against what the group uses, without the
//! cache of files, which the kernel gives back before it kills (cgroup v1 `memory`, v2: Documentation/admin-guide/cgroup-v2.rst);
//! and v1's own one for TCP buffers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::param::page_size;

use super::group::Group;

/// A file of this kind is a few lines; memory.stat is the longest, with some 2 kB.
const FILE_BYTES: usize = 8192;
/// In per cent of a limit: what is used above it is short.
const SHORT_PERCENT: u64 = 90;

/// Memory, and its limits.
#[derive(Debug)]
pub struct Memory {
    /// `max_memory`; 0 = none.
    own_bytes_max: AtomicU64,
    resident: Option<File>,
    tcp: Option<File>,
    groups: Vec<Group>,
}

impl Memory {
    /// What this process can see. What it can't is no limit.
    #[must_use]
    pub fn open(own_bytes_max: Option<u64>) -> Self {
        Self {
            own_bytes_max: AtomicU64::new(own_bytes_max.unwrap_or(0)),
            resident: File::open("/proc/self/statm").ok(),
            tcp: File::open("/proc/net/sockstat").ok(),
            groups: Group::all(),
        }
    }

    /// Another `max_memory`.
    pub fn set_max(&self, bytes: Option<u64>) {
        self.own_bytes_max.store(bytes.unwrap_or(0), Relaxed);
    }

    /// The smallest limit there would be with this `max_memory`, in bytes.
    #[must_use]
    pub fn would_be_bytes_max(&self, own: Option<u64>) -> Option<u64> {
        let group = self.groups.iter().filter(|group| group.is_of_memory());
        own.into_iter().chain(group.map(|group| group.bytes_max)).min()
    }

    /// The limit that is nearly reached, and what is used of it, in bytes; `sockets` are lb's. A read of a few microseconds for each limit.
    #[must_use]
    pub fn shortage(&self, sockets: u64) -> Option<(u64, u64)> {
        let own_max = self.own_bytes_max.load(Relaxed);
        let own = (own_max > 0).then(|| (own_max, self.own_bytes(sockets)));
        let groups = self.groups.iter().map(|group| (group.bytes_max, group.used_bytes()));
        own.into_iter().chain(groups).find(|(max, used)| {
            let percent = used.saturating_mul(100).checked_div(*max).unwrap_or(0);
            percent >= SHORT_PERCENT
        })
    }

    fn own_bytes(&self, sockets: u64) -> u64 {
        let page = u64::try_from(page_size()).unwrap_or(4096);
        let resident = read(self.resident.as_ref(), |text| {
            text.split_whitespace().nth(1)?.parse().ok()
        });
        let tcp = read(self.tcp.as_ref(), |text| tcp_pages(text, sockets));
        resident.saturating_add(tcp).saturating_mul(page)
    }
}

/// A number out of a file; 0 where there is none.
pub(super) fn read(file: Option<&File>, parse: impl FnOnce(&str) -> Option<u64>) -> u64 {
    let mut bytes = [0; FILE_BYTES];
    let length = file.and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
    let text = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(parse).unwrap_or(0)
}

/// `TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 3` (proc_net(5)): of the last one, in pages, the part of so many of all sockets.
fn tcp_pages(text: &str, sockets: u64) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    let figure = |key: &str| {
        line.split_whitespace()
            .skip_while(|word| *word != key)
            .nth(1)?
            .parse::<u64>()
            .ok()
    };
    let all = figure("alloc")?.max(sockets);
    figure("mem")?.saturating_mul(sockets).checked_div(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_kernels_words() {
        let sockstat = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 31\nUDP: inuse 1 mem 4\n";
        assert_eq!(
            [0, 3, 7, 9].map(|sockets| tcp_pages(sockstat, sockets)),
            [Some(0), Some(13), Some(31), Some(31)]
        );
    }

    #[test]
    fn what_is_used_is_measured_and_a_limit_below_it_is_a_shortage() {
        let memory = Memory::open(None);
        let used = memory.own_bytes(0);
        assert!((1 << 18..1 << 40).contains(&used), "{used}");
        memory.set_max(Some(used / 2));
        let (max, found) = memory.shortage(0).unwrap();
        assert!(max == used / 2 && found > max, "{found} of {max}");
        assert!(memory.would_be_bytes_max(Some(max)).unwrap() <= max);
    }
}
