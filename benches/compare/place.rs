//! Where a measurement takes place: which cores the balancer and the load have, and a network of its own.
//!
//! The balancer has its cores, the client and the backends have the others: so a balancer's speed is what its own core gives, and
//! not what the load leaves of it. With as many workers as cores there is nothing to divide, and all run everywhere. A fresh network
//! namespace for each measurement keeps the TIME_WAIT of one out of the ports of the next.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::common::Failure;
use crate::common::network::Network;

/// Whose cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Balancer,
    Load,
}

/// The machine, as far as measurements use it.
#[derive(Debug)]
pub(crate) struct Place {
    cores: Vec<usize>,
    network: Network,
}

/// The cores of one measurement.
#[derive(Debug)]
pub(crate) struct Cores<'a> {
    all: &'a [usize],
    workers: usize,
}

impl Place {
    pub(crate) fn new() -> Result<Self, Failure> {
        let allowed = sched_getaffinity(None)?;
        let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        Ok(Self {
            cores,
            network: Network::new(),
        })
    }

    pub(crate) fn words(&self) -> String {
        let cores = if self.cores.len() > 1 {
            "the balancer on its core, client and backends on the rest"
        } else {
            "one core for all"
        };
        format!("{cores}; {}", self.network.words())
    }

    /// Runs `act` in a thread of its own, in a fresh network; programs that it starts are there too.
    pub(crate) fn within<T: Send>(
        &self,
        workers: usize,
        act: impl FnOnce(&Cores<'_>) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let cores = Cores {
            all: &self.cores,
            workers,
        };
        self.network.within(|| act(&cores))
    }
}

impl Cores<'_> {
    /// The calling thread, and what it starts from now on, runs only there.
    pub(crate) fn pin(&self, role: Role) -> Result<(), Failure> {
        let of_balancer = if self.workers < self.all.len() { self.workers } else { 0 };
        let (balancer, load) = self.all.split_at_checked(of_balancer).unwrap_or((&[], self.all));
        let chosen = match role {
            Role::Balancer if !balancer.is_empty() => balancer,
            _ => load,
        };
        let mut set = CpuSet::new();
        for core in chosen {
            set.set(*core);
        }
        Ok(sched_setaffinity(None, &set)?)
    }
}
