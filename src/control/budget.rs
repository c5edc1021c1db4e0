//! What the file-descriptor limit can carry, worked out before the first connection: a full process must still probe, log and answer.

use std::fmt;

/// For standard streams, logs, epoll sets, wake-ups and what libraries open for a moment.
const BASE_FDS: u64 = 32;
/// Epoll set, wake-up and one to spare.
const FDS_PER_WORKER: u64 = 3;
/// Probes under way at once, at most; a pool of thousands takes turns.
const PROBES_MAX: u64 = 256;
/// And at least, where the limit leaves room.
const PROBES_MIN: u64 = 32;
/// Connections to the admin port at once, at most: people, scrapers, and what is asked of backends' own metrics.
const ADMIN_MAX: u64 = 64;
/// Rival connects under way at once, at most.
const RACES_MAX: u64 = 128;
/// Pipes are two descriptors each; this many make splicing possible for that many busy directions at once.
const PIPES_MAX: u64 = 512;
/// While replicas are started and looked at: both ends of a pair, std's own pipe, a file of /proc, a connect.
const FDS_OF_STARTING: u64 = 8;
/// Of a process that takes all sessions it can carry, one descriptor in so many goes to pipes: copying is slower, not worse.
const PIPE_SHARE: u64 = 40;
/// Memory of lb without sessions, with room for a large pool.
const BASE_BYTES: u64 = 12 << 20;
/// And of a session: two sockets of the kernel with nothing in them, and what lb keeps of it.
const SESSION_BYTES: u64 = 10_240;
/// Below this, nothing useful is left.
const SESSIONS_MIN: u64 = 8;

/// Who may have how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Live sessions of the process: two descriptors each.
    pub sessions_max: u32,
    /// Probes under way at once.
    pub probes_max: u32,
    /// Connections to the admin port at once.
    pub admin_max: u32,
    /// Rival connects a worker may have under way.
    pub races_per_worker: u32,
    /// Pipes a worker may have open.
    pub pipes_per_worker: u32,
}

/// What needs descriptors besides sessions.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Threads.
    pub workers: u16,
    /// Addresses.
    pub listeners: usize,
    /// Of all services.
    pub backends: usize,
    /// Processes that may be kept alive.
    pub replicas: usize,
    /// Whether there is an admin port.
    pub has_admin: bool,
    /// What of the machine's memory lb may take.
    pub memory_bytes: Option<u64>,
}

/// Why nothing can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetError {
    wanted: Option<u32>,
    carried: u64,
    by: Carrier,
}

/// What carries the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    /// So many file descriptors.
    Descriptors(u64),
    /// So many bytes.
    Memory(u64),
}

impl Carrier {
    fn way_out(self) -> &'static str {
        match self {
            Self::Descriptors(_) => "raise the limit (ulimit -n)",
            Self::Memory(_) => "give it more memory (runtime.max_memory, or the limit of its control group)",
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors(limit) => write!(out, "the file-descriptor limit of {limit}"),
            Self::Memory(bytes) => write!(out, "a memory of {} MiB", bytes >> 20),
        }
    }
}

impl fmt::Display for BudgetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, carried, by } = self;
        let way_out = by.way_out();
        match wanted {
            Some(wanted) => write!(
                out,
                "runtime.max_connections: {wanted} found; {by} carries at most {carried}: \
                 lower it, set it to 0 for as many as possible, or {way_out}"
            ),
            None => write!(
                out,
                "{by} leaves room for {carried} connections, at least {SESSIONS_MIN} are wanted: {way_out}"
            ),
        }
    }
}

impl Budget {
    /// Divides `fd_limit` descriptors. `wanted` sessions are what the configuration asks for; `None` = as many as there can be.
    ///
    /// # Errors
    /// More sessions are wanted than can be carried, or hardly any can.
    pub fn new(fd_limit: u64, wanted: Option<u32>, parts: Parts) -> Result<Self, BudgetError> {
        let Parts {
            workers,
            listeners,
            backends,
            replicas,
            has_admin,
            memory_bytes,
        } = parts;
        let workers = u64::from(workers.max(1));
        // A small limit is a small machine: what is set aside shrinks with it.
        let scale = fd_limit.checked_div(64).unwrap_or(0).max(1);
        // More backends may come while it runs.
        let probes = u64::try_from(backends)
            .unwrap_or(u64::MAX)
            .max(PROBES_MIN)
            .min(PROBES_MAX.min(scale.saturating_mul(2)));
        let admin = if has_admin {
            ADMIN_MAX.min(scale.saturating_mul(4))
        } else {
            0
        };
        let races = RACES_MAX.min(scale).max(workers);
        let fixed = BASE_FDS
            .saturating_add(workers.saturating_mul(FDS_PER_WORKER))
            .saturating_add(u64::try_from(listeners).unwrap_or(u64::MAX))
            .saturating_add(probes)
            .saturating_add(admin.saturating_mul(2))
            .saturating_add(races)
            .saturating_add(replica_fds(replicas));
        let left = fd_limit.saturating_sub(fixed);
        let pipe_fds_min = left.checked_div(PIPE_SHARE).unwrap_or(0);
        let by_descriptors = left.saturating_sub(pipe_fds_min).checked_div(2).unwrap_or(0);
        let (carried, by) = match memory_bytes.map(|bytes| (sessions_in(bytes), Carrier::Memory(bytes))) {
            Some(by_memory) if by_memory.0 < by_descriptors => by_memory,
            _ => (by_descriptors, Carrier::Descriptors(fd_limit)),
        };
        let sessions = wanted.map_or(carried, u64::from);
        if sessions > carried || carried < SESSIONS_MIN {
            return Err(BudgetError {
                wanted: wanted.filter(|_| sessions > carried),
                carried,
                by,
            });
        }
        let pipes = left
            .saturating_sub(sessions.saturating_mul(2))
            .checked_div(2)
            .unwrap_or(0)
            .min(PIPES_MAX);
        let narrow = |figure: u64| u32::try_from(figure).unwrap_or(u32::MAX);
        Ok(Self {
            sessions_max: narrow(sessions),
            probes_max: narrow(probes),
            admin_max: narrow(admin),
            races_per_worker: narrow(races.checked_div(workers).unwrap_or(races)),
            pipes_per_worker: narrow(pipes.checked_div(workers).unwrap_or(pipes)),
        })
    }
}

/// Sessions that so much memory carries, at rest: what they move is bounded by what is shed.
fn sessions_in(bytes: u64) -> u64 {
    let left = bytes.saturating_sub(BASE_BYTES);
    left.checked_div(SESSION_BYTES).unwrap_or(0)
}

/// One a replica, to its keeper.
fn replica_fds(replicas: usize) -> u64 {
    let starting = if replicas > 0 { FDS_OF_STARTING } else { 0 };
    u64::try_from(replicas).unwrap_or(u64::MAX).saturating_add(starting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARTS: Parts = Parts {
        workers: 2,
        listeners: 1,
        backends: 3,
        replicas: 0,
        has_admin: true,
        memory_bytes: None,
    };

    #[test]
    fn little_memory_carries_fewer_sessions_and_a_wish_beyond_it_is_refused() {
        let small = Parts {
            memory_bytes: Some(64 << 20),
            ..PARTS
        };
        let found = Budget::new(20_000, None, small).unwrap().sessions_max;
        assert!((4_000..6_000).contains(&found), "{found}");
        let error = Budget::new(20_000, Some(9_000), small).unwrap_err().to_string();
        let told = format!("runtime.max_connections: 9000 found; a memory of 64 MiB carries at most {found}: ");
        assert!(
            error.starts_with(&told) && error.contains("runtime.max_memory"),
            "{error}"
        );
    }

    #[test]
    fn twenty_thousand_descriptors_carry_9500_sessions() {
        let budget = Budget::new(20_000, None, PARTS).unwrap();
        assert!(budget.sessions_max >= 9_500, "{budget:?}");
    }

    #[test]
    fn three_hundred_descriptors_still_serve() {
        assert!(Budget::new(300, None, PARTS).unwrap().sessions_max >= 100);
    }

    #[test]
    fn a_wish_beyond_the_limit_is_refused_with_what_can_be_done() {
        let error = Budget::new(20_000, Some(50_000), PARTS).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "runtime.max_connections: 50000 found; the file-descriptor limit of 20000 carries at most 9"
            ),
            "{error}"
        );
        assert!(
            Budget::new(40, None, PARTS)
                .unwrap_err()
                .to_string()
                .contains("raise the limit (ulimit -n)")
        );
    }

    proptest! {
        #[test]
        fn the_worst_case_fits_under_the_limit(
            fd_limit in 0..2_000_000_u64, wanted: Option<u16>, workers in 1..64_u16, listeners in 1..50_usize, backends in 1..5000_usize, replicas in 0..600_usize, has_admin: bool,
        ) {
            if let Ok(budget) = Budget::new(fd_limit, wanted.map(u32::from), Parts { workers, listeners, backends, replicas, has_admin, memory_bytes: None }) {
                let workers = u64::from(workers);
                let worst = BASE_FDS + FDS_PER_WORKER * workers + listeners as u64 + u64::from(budget.probes_max)
                    + 2 * u64::from(budget.admin_max)
                    + u64::from(budget.races_per_worker) * workers
                    + 2 * u64::from(budget.pipes_per_worker) * workers + 2 * u64::from(budget.sessions_max) + replica_fds(replicas);
                prop_assert!(worst <= fd_limit, "{worst} of {fd_limit}: {budget:?}");
            }
        }
    }
}
