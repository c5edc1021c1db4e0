//! Drills of what runs out: descriptors, ports, memory: T10, T11, T12.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::field::{BACKENDS, Field};
use super::load::{Ended, Load, Plan, quantile};
use super::oracle;
use super::report::{drill, millis};
use super::subject::{EVERYBODY, Setup, Standing};
use crate::common::{Backend, Peer, eventually, run_by, tell};

/// No process of it gets a descriptor more, or it gets as many as before.
fn limit(standing: &Standing<'_>, is_limited: bool) {
    for process in standing.processes() {
        let current = if is_limited { process.next_fd() } else { 20_000 };
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(20_000),
        };
        let pid = Pid::from_raw(i32::try_from(process.0).unwrap());
        prlimit(pid, Resource::Nofile, limit).unwrap();
    }
}

#[test]
fn t10_without_descriptors_it_waits_quietly_and_goes_on_at_once() {
    drill("T10", "no descriptor left", EVERYBODY, |run, field| {
        let _servers = field.serve_all();
        let standing = Standing::start(field, run.subject, &Setup::default());
        // At rest, so that what is measured is the waiting alone.
        let mut resting = Plan::held(100);
        resting.pause = Duration::from_secs(3600);
        let inside = Load::start(field, resting);
        inside.wait_for_live(100);
        limit(&standing, true);
        let waiting = Load::start(field, Plan::held(50));
        let cpu = standing.cpu_percent(Duration::from_millis(run.size(1000, 5000) as u64));
        run.told("CPU without descriptors", cpu, "%");
        let most = if run.is_long { 1.0 } else { 20.0 };
        run.claim(
            cpu <= most || !run.is_lb(),
            "it waits quietly",
            format!("{cpu:.1} % of a processor"),
        );
        run.claim(
            inside.live() == 100,
            "sessions that are there live",
            inside.so_far().words(),
        );
        if run.is_lb() {
            let lines = standing.lb().lines_with("can't accept").len();
            run.claim((1..=6).contains(&lines), "it says so, now and then", lines);
        }
        let from = Instant::now();
        let inside = inside.stop();
        run.claim(inside.failed() == 0, "they finish", inside.words());
        let resumed = waiting.wait_until_live(1, Duration::from_secs(10));
        run.told("the first who waited is served after", millis(from.elapsed()), "ms");
        run.claim(
            resumed || !run.is_lb(),
            "it goes on when descriptors are free",
            waiting.so_far().words(),
        );
        limit(&standing, false);
        if run.is_lb() {
            waiting.wait_for_live(50);
        }
        let waited = waiting.stop();
        run.claim(
            waited.failed() == 0 || !run.is_lb(),
            "whoever waited is served",
            waited.words(),
        );
        let fresh = Load::run(field, Plan::short(10, 60));
        run.claim(fresh.failed() == 0, "60 of 60 afterwards", fresh.words());
        oracle::end(run, standing);
    });
}

#[test]
fn t11_without_a_local_port_clients_are_told_at_once_and_nobody_is_blamed() {
    const PORTS: usize = 200;
    drill(
        "T11",
        "no local port left towards the backend",
        EVERYBODY,
        |run, field| {
            field.balancer.set("ip_local_port_range", "40000 40199");
            let _server = field.serve(0);
            let setup = Setup {
                backends: 1,
                ..Setup::default()
            };
            let standing = Standing::start(field, run.subject, &setup);
            let inside = Load::start(field, Plan::held(PORTS - 5));
            inside.wait_for_live(PORTS - 5);
            // The rest of the ports, and some more.
            let more = Load::start(field, Plan::held(10).patience(Duration::from_secs(10)));
            eventually("the last ports are taken", || {
                (more.live() + more.over() == 10).then_some(())
            });
            let outside = Load::run(field, Plan::short(5, 30).patience(Duration::from_secs(10)));
            let told = outside
                .told
                .iter()
                .filter(|told| told.ended != Ended::Whole)
                .map(|told| told.at - told.begun);
            let told = quantile(told.collect(), 0.99);
            run.told("told without a port, p99", millis(told), "ms");
            run.claim(
                outside.ended(Ended::Timeout) == 0,
                "without a port clients are told",
                outside.words(),
            );
            run.claim(
                inside.live() == PORTS - 5,
                "sessions that are there live",
                inside.so_far().words(),
            );
            // Several rounds of checks without a port for them.
            let cpu = standing.cpu_percent(Duration::from_millis(run.size(1200, 5000) as u64));
            run.told("CPU without ports", cpu, "%");
            if run.is_lb() {
                let down = standing.lb().lines_with("is down").len();
                run.claim(down == 0, "the backend isn't blamed", down);
            }
            let (inside, more) = (inside.stop(), more.stop());
            run.claim(inside.failed() == 0, "they finish", inside.words());
            run.claim(more.wrong() == 0, "no wrong byte", more.words());
            let fresh = Load::run(field, Plan::short(5, 100));
            run.told(
                "served when ports are free again",
                fresh.ended(Ended::Whole) as f64,
                "%",
            );
            run.claim(
                fresh.failed() == 0 || !run.is_lb(),
                "all are served when ports are free again",
                fresh.words(),
            );
            oracle::end(run, standing);
        },
    );
}

/// A memory cgroup (version 1) with limits for the processes in it and for their sockets. Gone when dropped.
struct Cage(PathBuf);

impl Cage {
    const BYTES: u64 = 64 << 20;

    /// `None`, with the reason told, where there are no such groups.
    fn make(name: &str) -> Option<Self> {
        let cage = Self(PathBuf::from("/sys/fs/cgroup/memory").join(name));
        let is_made = std::fs::create_dir(&cage.0)
            .and_then(|()| cage.write("memory.limit_in_bytes"))
            .and_then(|()| cage.write("memory.kmem.tcp.limit_in_bytes"));
        match is_made {
            Ok(()) => Some(cage),
            Err(error) => {
                tell(&format!("T12: skipped: no memory cgroup of version 1: {error}"));
                None
            }
        }
    }

    fn write(&self, file: &str) -> std::io::Result<()> {
        std::fs::write(self.0.join(file), Self::BYTES.to_string())
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }

    /// The same command, in here from its first instruction.
    fn command(&self, command: &Command) -> Command {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.0.display());
        run_by(&["sh", "-c", &script], command)
    }

    /// Kills for want of memory, so far.
    fn kills(&self) -> u64 {
        let control = self.read("memory.oom_control");
        let line = control.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.map_or(0, |count| count.trim().parse().unwrap())
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // One with a process in it can't go: it is empty when the balancer has ended, and a moment later the kernel agrees.
        let until = Instant::now() + Duration::from_secs(2);
        while std::fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            crate::common::pass(Duration::from_millis(10));
        }
    }
}

#[test]
fn t12_within_a_limit_of_memory_it_lives_and_serves() {
    drill(
        "T12",
        "64 MiB of memory, 64 MiB for sockets",
        EVERYBODY,
        |run, field| {
            let Some(cage) = Cage::make(field.balancer.name()) else {
                return;
            };
            // "e": sends without end; anything else is echoed.
            let _backends: [_; BACKENDS] = std::array::from_fn(|number| {
                field.backends[number].within(|| {
                    Backend::serve_at(field.backend(number), |peer| match peer.take_unless_reset() {
                        Some([b'e']) => peer.send_noise_until_end(1),
                        Some(byte) if peer.is_sent(&byte) => peer.echo(),
                        _ => {}
                    })
                })
            });
            let standing =
                Standing::start_with(field, run.subject, &Setup::default(), |command| cage.command(&command));
            // Sessions that come and stay; what a cap of one's own (max_memory) would shed belongs here too.
            let count = run.size(100, 1000);
            let load = Load::start(field, Plan::held(count));
            load.wait_for_live(count);
            let hungry: Vec<Peer> = field.clients.within(|| {
                (0..run.size(40, 200))
                    .map(|_| {
                        let peer = Peer::connect_small(Field::TARGET, 4096);
                        peer.send(b"e");
                        peer
                    })
                    .collect()
            });
            crate::common::pass(Duration::from_millis(run.size(1000, 10_000) as u64));
            let kernel: f64 = cage
                .read("memory.kmem.tcp.max_usage_in_bytes")
                .trim()
                .parse()
                .unwrap_or(0.0);
            let user: f64 = cage.read("memory.max_usage_in_bytes").trim().parse().unwrap_or(0.0);
            run.told("most memory, of 64", user / 1_048_576.0, "MiB");
            run.told("most for sockets, of 64", kernel / 1_048_576.0, "MiB");
            run.claim(cage.kills() == 0, "never killed for want of memory", cage.kills());
            let live = load.live();
            run.claim(
                live == count,
                "sessions live beside the hungry ones",
                format!("{live} of {count}"),
            );
            hungry.into_iter().for_each(Peer::reset);
            let outcome = load.stop();
            run.claim(outcome.failed() == 0, "and finish whole", outcome.words());
            let fresh = Load::run(field, Plan::short(10, 100));
            run.claim(fresh.failed() == 0, "others are served afterwards", fresh.words());
            oracle::end(run, standing);
        },
    );
}
