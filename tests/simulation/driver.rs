//! Runs seeds: random peers, buffers, faults and schedules, one small thing a step.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use lb::observe::End;
use lb::proxy_protocol::{self, Endpoints, Header, Parsed, Version};
use lb::session::SessionOptions;
use lb::types::{ConnectFailure, Lane, Readiness};

use super::kernel::{Buffers, CLIENT, Fate, Fd, Id, Kernel, Link};
use super::model::{self, LATENESS};
use super::peer::Peer;
use super::rng::Rng;
use super::stage::Stage;
use super::world::SimWorld;

/// What one step may be.
#[derive(Clone, Copy, Debug)]
enum Action {
    Peer(Id),
    Carry(Id),
    Settle(Id),
    Poll(Id),
    Handle(usize),
    Turn,
}

/// What the seeds have met, so that a run that tests nothing shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    pub(crate) sessions: u64,
    pub(crate) steps: u64,
    pub(crate) friendly: u64,
    pub(crate) spliced: u64,
    pub(crate) raced: u64,
    pub(crate) went_on: u64,
    pub(crate) deferred: u64,
    /// Clients that were introduced by a header, and backends that got one.
    pub(crate) introduced: u64,
    pub(crate) told: u64,
    pub(crate) ends: [u64; lb::observe::END_COUNT],
}

/// One session with its peers.
struct Play {
    stage: Stage,
    peers: Vec<Peer>,
    rng: Rng,
    is_friendly: bool,
    header_bytes: u64,
    pause_max: Duration,
    sizes: Vec<u64>,
    step_nanos: u64,
    actions: Vec<Action>,
}

/// What went wrong, and how it came to that.
pub(crate) struct Failure {
    pub(crate) step: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) transcript: Vec<String>,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, steps: u64, is_tracing: bool, census: &mut Census) -> Result<(), Failure> {
    let mut rng = Rng::new(seed);
    let mut step = 0;
    let mut transcript = Vec::new();
    while step < steps {
        let mut play = Play::new(rng.next(), is_tracing);
        census.sessions += 1;
        census.friendly += u64::from(play.is_friendly);
        loop {
            let is_over = play.stage.end.is_some();
            let violations = play.stage.violations();
            if is_tracing {
                for note in play.stage.kernel.borrow_mut().notes.drain(..) {
                    transcript.push(format!("{step}: {note}"));
                }
            }
            if !violations.is_empty() {
                return Err(Failure {
                    step,
                    violations,
                    transcript,
                });
            }
            if is_over || step >= steps {
                break;
            }
            play.step();
            census.went_on += u64::from(play.stage.is_queued);
            step += 1;
        }
        census.deferred += u64::from(play.stage.deferred > 0);
        census.spliced += u64::from(play.stage.kernel.borrow().pipes_ever > 0);
        census.introduced += u64::from(play.stage.world.introduced.is_some());
        let kernel = Rc::clone(&play.stage.kernel);
        let told = kernel
            .borrow()
            .sockets
            .iter()
            .filter(|socket| socket.header_sent > 0)
            .count();
        census.told += told as u64;
        census.raced += u64::from(play.stage.world.picked.len() > play.stage.world.failures.len() + 1);
        if let Some(end) = play.stage.end {
            census.ends[end as usize] += 1;
        }
    }
    census.steps += step;
    Ok(())
}

fn millis(rng: &mut Rng, from: &[u64]) -> Duration {
    Duration::from_millis(rng.pick(from))
}

fn options(rng: &mut Rng, is_friendly: bool) -> SessionOptions {
    let slow: &[u64] = if is_friendly {
        &[10_000, 300_000]
    } else {
        &[20, 200, 1_000]
    };
    SessionOptions {
        connect_timeout: millis(rng, if is_friendly { &[2_000] } else { &[10, 100] }),
        connect_retries: if is_friendly { 2 } else { rng.pick(&[0, 1, 2, 5]) },
        hedge_after: rng.percent(50).then(|| millis(rng, &[1, 5, 50])),
        idle_timeout: millis(rng, slow),
        half_close_timeout: millis(rng, slow),
        peer_timeout: rng.percent(50).then(|| millis(rng, &[4, 400, 20_000])),
        max_session: rng.percent(5).then(|| millis(rng, &[500, 5_000])),
        latency_every: rng.percent(50).then(|| millis(rng, &[1, 250])),
        is_introduced: false,
    }
}

fn buffers(rng: &mut Rng, scratch: usize) -> Buffers {
    let size = |rng: &mut Rng| {
        rng.pick(&[1, 7, scratch - 1, scratch, scratch * 2, scratch * 8, scratch * 64])
            .max(1)
    };
    Buffers {
        receive: size(rng).max(scratch / 4),
        send: size(rng),
        peer: size(rng).max(scratch / 4),
    }
}

fn fate(rng: &mut Rng) -> Fate {
    match rng.below(13) {
        0 => Fate::Fails(ConnectFailure::Refused),
        1 => Fate::Fails(ConnectFailure::Unreachable),
        2 => Fate::UpThenReset(0),
        3 => Fate::UpThenReset(rng.between(1, 5000) as usize),
        4 => Fate::UpThenFin(rng.between(0, 100) as usize),
        5 => Fate::Silent,
        6 => Fate::Immediate(ConnectFailure::NoLocalPort),
        7 => Fate::Immediate(ConnectFailure::NoDescriptor),
        _ => Fate::Up,
    }
}

/// What a client's proxy says first.
fn header(rng: &mut Rng, is_friendly: bool) -> Vec<u8> {
    let port = |rng: &mut Rng| rng.below(65_536) as u16;
    let v4 = Endpoints::new(([192, 0, 2, 1], port(rng)).into(), ([192, 0, 2, 2], 443).into());
    let v6 = Endpoints::new(([7; 16], port(rng)).into(), ([8; 16], 443).into());
    let mut long = b"\r\n\r\n\0\r\nQUIT\n\x20\0".to_vec();
    let block = vec![0; rng.pick(&[0, 1, 100, 3_000])];
    long.extend((block.len() as u16).to_be_bytes());
    long.extend(block);
    let all = [
        proxy_protocol::encode(Version::V1, Some(v4)),
        proxy_protocol::encode(Version::V1, Some(v6)),
        proxy_protocol::encode(Version::V2, Some(v4)),
        proxy_protocol::encode(Version::V2, Some(v6)),
        proxy_protocol::probe(Version::V1),
        long,
    ];
    let header = all[rng.below(all.len() as u64) as usize].clone();
    let mut flipped = header.clone();
    flipped[rng.below(header.len() as u64) as usize] ^= 1 << rng.below(8);
    // Not one that takes the client's bytes for its own.
    let is_whole = match proxy_protocol::parse(&flipped) {
        Ok(Parsed::Complete(_, length)) => length == flipped.len(),
        Ok(Parsed::Incomplete) => false,
        Err(_) => true,
    };
    if is_whole && !is_friendly && rng.percent(20) {
        flipped
    } else {
        header
    }
}

fn invite(rng: &mut Rng, is_friendly: bool, sizes: &[u64], pause_max: Duration) -> Peer {
    if is_friendly {
        Peer::friendly(rng, sizes)
    } else {
        Peer::wild(rng, sizes, pause_max)
    }
}

impl Play {
    fn new(seed: u64, is_tracing: bool) -> Self {
        let mut rng = Rng::new(seed);
        let is_friendly = rng.percent(30);
        let is_bulk = rng.percent(2);
        let scratch = if is_bulk {
            65_536
        } else {
            rng.pick(&[16, 64, 256, 1024, 4096])
        };
        let room = |rng: &mut Rng| {
            if is_bulk {
                Buffers {
                    receive: 4 << 20,
                    send: 4 << 20,
                    peer: 4 << 20,
                }
            } else {
                buffers(rng, scratch)
            }
        };
        let mut kernel = Kernel::new(seed, Rng::new(rng.next()));
        kernel.is_tracing = is_tracing;
        kernel.pipe_slots = rng.pick(&[1, 2, 16]);
        kernel.pipe_bytes = scratch * 4;
        kernel.faults.later = rng.pick(&[0, 0, 2]);
        kernel.faults.no_pipe = rng.pick(&[0, 0, 50, 100]);
        kernel.faults.no_splice = rng.percent(10);
        kernel.faults.pick_none = if is_friendly { 0 } else { rng.pick(&[0, 0, 10]) };
        let client = room(&mut rng);
        let mut world = SimWorld::new(kernel, options(&mut rng, is_friendly), scratch, room(&mut rng));
        world.backends = rng.between(if is_friendly { 3 } else { 0 }, 5) as u32;
        world.races_max = rng.below(3) as usize;
        world.plans = (0..8)
            .map(|_| {
                let delay = Duration::from_nanos(rng.below(5_000_000));
                let fate = if is_friendly { Fate::Up } else { fate(&mut rng) };
                (fate, delay)
            })
            .collect::<VecDeque<_>>();
        let k = rng.between(1, 6) * scratch as u64;
        let mut sizes = vec![0, 1, k - 1, k, k + 1, rng.below(20 * scratch as u64)];
        if is_bulk {
            sizes = vec![3 << 20, (1 << 20) + 1, 0];
        }
        let pause_max = millis(&mut rng, &[2, 50, 2_000]);
        world.options.is_introduced = rng.percent(30);
        world.is_refusing = !is_friendly && rng.percent(5);
        if rng.percent(30) {
            world.header = vec![b'h'; rng.pick(&[15, 59, 107])];
        }
        let header = if world.options.is_introduced {
            header(&mut rng, is_friendly)
        } else {
            Vec::new()
        };
        let mut of_client = invite(&mut rng, is_friendly, &sizes, pause_max);
        // Its peer sends the header as it sends everything else.
        let header_bytes = header.len() as u64;
        if let Ok(Parsed::Complete(said, _)) = proxy_protocol::parse(&header) {
            let endpoints = match said {
                Header::Own => None,
                Header::Proxied(endpoints) => Some(endpoints),
            };
            world.expected = Some(endpoints);
        }
        of_client.total += header_bytes;
        let acts = rng.pick(&[0, 0, 1, 2, 8]);
        let stage = Stage::start_after(world, client, |kernel| {
            kernel.sockets[CLIENT].header_in = header;
            for _ in 0..acts {
                if !kernel.sockets[CLIENT].rst_arrived && of_client.has_plans(kernel, CLIENT) {
                    of_client.act(kernel, CLIENT);
                }
            }
        });
        let mut play = Self {
            stage,
            peers: vec![of_client],
            is_friendly,
            header_bytes,
            pause_max,
            sizes,
            step_nanos: rng.pick(&[0, 1_000, 100_000]),
            actions: Vec::new(),
            rng,
        };
        play.invite_peers();
        play
    }

    /// A peer for each socket that is new.
    fn invite_peers(&mut self) {
        let count = self.stage.kernel.borrow().sockets.len();
        while self.peers.len() < count {
            let peer = invite(&mut self.rng, self.is_friendly, &self.sizes, self.pause_max);
            self.peers.push(peer);
        }
    }

    fn gather(&mut self) {
        self.actions.clear();
        let stage = &self.stage;
        let kernel = stage.kernel.borrow();
        for (id, socket) in kernel.sockets.iter().enumerate() {
            if socket.fd != Fd::Open {
                continue;
            }
            match socket.link {
                Link::Pending(Fate::Silent, _) | Link::Failed(_) => {}
                Link::Pending(_, at) if at <= kernel.now => self.actions.push(Action::Settle(id)),
                Link::Pending(..) => continue,
                Link::Up if !socket.rst_arrived => {
                    let peer = &self.peers[id];
                    if peer.asleep_until <= kernel.now && peer.has_plans(&kernel, id) {
                        self.actions.push(Action::Peer(id));
                    }
                    if socket.unacknowledged > 0 && (socket.is_peer_closed || socket.peer_waiting < socket.buffers.peer)
                    {
                        self.actions.push(Action::Carry(id));
                    }
                }
                Link::Up => {}
            }
            if socket.edge {
                self.actions.push(Action::Poll(id));
            }
        }
        for (place, (lane, _)) in stage.fetched.iter().enumerate() {
            // Of one socket in their order; of several in any.
            if stage.fetched.iter().take(place).all(|(earlier, _)| earlier != lane) {
                self.actions.push(Action::Handle(place));
            }
        }
        if stage.is_queued {
            self.actions.push(Action::Turn);
        }
    }

    fn step(&mut self) {
        self.stage
            .advance(Duration::from_nanos(self.rng.below(self.step_nanos + 1)));
        let (now, deadline) = (self.stage.now(), self.stage.deadline());
        let is_forced = now >= deadline.plus(LATENESS / 2);
        self.gather();
        if deadline <= now && (is_forced || self.actions.is_empty() || self.rng.percent(30)) {
            self.stage.turn();
        } else if self.rng.percent(1) {
            self.disturb();
        } else if self.actions.is_empty() {
            self.jump();
        } else {
            let action = self.rng.pick(&self.actions);
            self.act(action);
        }
        self.invite_peers();
        model::check_overdue(&mut self.stage);
        model::check_rest(&self.stage);
        self.check_friendly();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Peer(id) => self.peers[id].act(&mut self.stage.kernel.borrow_mut(), id),
            Action::Carry(id) => {
                let most = self.stage.kernel.borrow().sockets[id].unacknowledged as u64;
                let bytes = if self.rng.percent(50) {
                    most
                } else {
                    self.rng.between(1, most)
                };
                self.stage.kernel.borrow_mut().carry(id, bytes as usize);
            }
            Action::Settle(id) => self.stage.kernel.borrow_mut().settle(id),
            Action::Poll(id) => {
                self.stage.poll(id);
            }
            Action::Handle(place) => self.stage.handle(place),
            Action::Turn => self.stage.turn(),
        }
    }

    /// An event of nothing, as a stale or spurious one is.
    fn disturb(&mut self) {
        let lane = Lane(self.rng.below(5) as u8);
        let is_under_way = self
            .stage
            .kernel
            .borrow()
            .sockets
            .iter()
            .any(|socket| socket.lane == lane && matches!(socket.link, Link::Pending(..)));
        let ready = Readiness {
            readable: self.rng.percent(50),
            writable: !is_under_way && self.rng.percent(50),
            read_closed: false,
            urgent: false,
            broken: false,
        };
        self.stage.event(lane, ready);
    }

    /// Nothing can happen but by time.
    fn jump(&mut self) {
        let (now, mut next) = (self.stage.now(), self.stage.deadline());
        {
            let kernel = self.stage.kernel.borrow();
            for (socket, peer) in kernel.sockets.iter().zip(&self.peers) {
                if peer.asleep_until > now {
                    next = next.min(peer.asleep_until);
                }
                if let Link::Pending(_, at) = socket.link
                    && at > now
                {
                    next = next.min(at);
                }
            }
        }
        let next = next.min(now.plus(Duration::from_secs(3600)));
        let lateness_max = if self.rng.percent(50) {
            0
        } else {
            LATENESS.as_nanos() as u64 / 4
        };
        let lateness = Duration::from_nanos(self.rng.below(lateness_max + 1));
        self.stage
            .advance(next.since(now) + if next > now { lateness } else { Duration::ZERO });
    }

    /// Two who behave get everything, and an end in order.
    fn check_friendly(&self) {
        let Some(end) = self.stage.end else { return };
        if self.is_friendly && !matches!(end, End::ClientClosed | End::BackendClosed) {
            let what = format!("both peers behaved, and it ended as {end}");
            self.stage.kernel.borrow_mut().violate(what);
        }
        let kernel = self.stage.kernel.borrow();
        if self.is_friendly
            && let Some(winner) = kernel.winner
        {
            let client_got = kernel.sockets[CLIENT].sent == self.peers[winner].total;
            let backend_got = kernel.sockets[winner].sent + self.header_bytes == self.peers[CLIENT].total;
            drop(kernel);
            if !client_got || !backend_got {
                let what = "both peers behaved, and not everything was passed on".to_owned();
                self.stage.kernel.borrow_mut().violate(what);
            }
        }
    }
}
