//! Limits of control groups on memory: version 2, version 1, and the latter's own one for TCP's buffers.
//!
//! Opened once by [`Memory`](super::Memory), and read again and again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::memory::read;

/// A limit of a v1 group that says none is a number of pages short of this.
const NO_LIMIT: u64 = 1 << 62;

/// A limit of a control group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) bytes_max: u64,
    used: File,
    /// What of it is cache: the file, and the keys in it.
    cache: Option<(File, [&'static str; 2])>,
}

impl Group {
    /// Those that limit this process.
    pub(super) fn all() -> Vec<Self> {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        folders(&text).iter().filter_map(Self::open).collect()
    }

    /// Whether it limits more than TCP's buffers.
    pub(super) const fn is_of_memory(&self) -> bool {
        self.cache.is_some()
    }

    /// The memory of a group of version 2, or of one of version 1, or the latter's TCP memory; `None`: it has no limit.
    fn open(folder: &Folder) -> Option<Self> {
        let (max, used, cache) = match folder.kind {
            Kind::Unified => ("memory.max", "memory.current", Some(["inactive_file", "active_file"])),
            Kind::Memory => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                Some(["total_inactive_file", "total_active_file"]),
            ),
            Kind::TcpMemory => ("memory.kmem.tcp.limit_in_bytes", "memory.kmem.tcp.usage_in_bytes", None),
        };
        let text = fs::read_to_string(folder.path.join(max)).ok()?;
        let bytes_max = text.trim().parse().ok().filter(|bytes| (1..NO_LIMIT).contains(bytes))?;
        let cache = match cache {
            Some(keys) => Some((File::open(folder.path.join("memory.stat")).ok()?, keys)),
            None => None,
        };
        Some(Self {
            bytes_max,
            used: File::open(folder.path.join(used)).ok()?,
            cache,
        })
    }

    /// What is used of it, without the cache of files.
    pub(super) fn used_bytes(&self) -> u64 {
        let used = read(Some(&self.used), |text| text.trim().parse().ok());
        let cached = self.cache.as_ref().map_or(0, |(stat, keys)| {
            read(Some(stat), |text| {
                Some(
                    keys.iter()
                        .filter_map(|key| value(text, key))
                        .fold(0, u64::saturating_add),
                )
            })
        });
        used.saturating_sub(cached)
    }
}

fn value(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unified,
    Memory,
    TcpMemory,
}

#[derive(Debug, PartialEq, Eq)]
struct Folder {
    kind: Kind,
    path: PathBuf,
}

/// The folders of this process's groups, and of all those above them, since their limits hold too (cgroups(7)). In a container the
/// path may be one of the host; then only the root, which is the container's own, is there.
fn folders(cgroup: &str) -> Vec<Folder> {
    let mut folders = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (kinds, root): (&[Kind], &str) = match controllers {
            "" => (&[Kind::Unified], "/sys/fs/cgroup"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (&[Kind::Memory, Kind::TcpMemory], "/sys/fs/cgroup/memory")
            }
            _ => continue,
        };
        for above in Path::new(path).ancestors() {
            let path = Path::new(root).join(above.strip_prefix("/").unwrap_or(above));
            folders.extend(kinds.iter().map(|kind| Folder {
                kind: *kind,
                path: path.clone(),
            }));
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_above_counts() {
        let paths = |text: &str| {
            folders(text)
                .into_iter()
                .map(|folder| (folder.kind, folder.path))
                .collect::<Vec<_>>()
        };
        let at = |kind, path: &str| (kind, PathBuf::from(path));
        assert_eq!(
            paths("0::/a/b\n"),
            [
                at(Kind::Unified, "/sys/fs/cgroup/a/b"),
                at(Kind::Unified, "/sys/fs/cgroup/a"),
                at(Kind::Unified, "/sys/fs/cgroup"),
            ]
        );
        let first = paths("7:cpu,cpuacct:/x\n4:memory:/m\nnonsense")
            .into_iter()
            .take(2)
            .collect::<Vec<_>>();
        assert_eq!(
            first,
            [
                at(Kind::Memory, "/sys/fs/cgroup/memory/m"),
                at(Kind::TcpMemory, "/sys/fs/cgroup/memory/m")
            ]
        );
    }

    #[test]
    fn figures_are_found_in_the_kernels_words() {
        assert_eq!(
            value("total_inactive_file 5\ninactive_file 7\n", "inactive_file"),
            Some(7)
        );
    }
}
