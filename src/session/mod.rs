//! The life of one connection as a state machine: be introduced (where a proxy is in front), choose and connect, relay, end.
//!
//! Called by `worker` with events and timers; tests drive it with simulated sockets. It knows no file descriptor, no clock, no
//! configuration and no pool: all that comes through [`World`], time as a moment read once a wake.
//!
//! Invariants: bytes before FIN, FIN before close; every live phase has a deadline; each session ends once, with one [`End`];
//! whatever is dropped without having finished in order is reset, so a truncated stream never looks like a whole one.

mod connecting;
mod direction;
mod introduction;
mod io;
mod latency;
mod liveness;
mod relay;
mod resetting;

use std::time::Duration;

pub use introduction::HEADER_TIMEOUT;
pub use io::{Connect, Outstanding, Read, Socket, World, Write};

use crate::observe::End;
use crate::proxy_protocol::Header;
use crate::types::{Lane, Moment, Readiness};
use connecting::{Connected, Connecting, Progress};
use direction::Wire;
use introduction::{Greeting, Introduction};
use relay::{Relay, Verdict};
use resetting::Resetting;

/// How long a session waits when this machine is short of memory or descriptors: no event tells when it isn't any more.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);

/// What a service asks of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// Other backends tried after the first.
    pub connect_retries: u8,
    /// Silence of a connect after which another backend is tried beside it; `None` = never.
    pub hedge_after: Option<Duration>,
    /// No byte either way for so long ends a session.
    pub idle_timeout: Duration,
    /// The same, once one side has finished.
    pub half_close_timeout: Duration,
    /// A peer that has acknowledged nothing of what it was sent for so long is gone; `None` = whatever the kernel finds.
    pub peer_timeout: Option<Duration>,
    /// How long a session may live; `None` = as long as it likes.
    pub max_session: Option<Duration>,
    /// How often a live session measures its backend; `None` = nobody wants to know.
    pub latency_every: Option<Duration>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub is_introduced: bool,
}

/// What a session wants after it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// To be called at its next event, or at its deadline.
    Rest,
    /// To be called again soon: it could go on, but others want their turn.
    Again,
    /// Nothing more: it is over.
    Ended(End),
}

/// One client connection, and at most one backend connection.
#[derive(Debug)]
pub struct Session<W: World> {
    phase: Phase<W>,
    tally: Tally,
}

/// What is told of a session when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// When it was accepted.
    pub started: Moment,
    /// How long the connect that succeeded took.
    pub connect: Option<Duration>,
    /// Other backends tried.
    pub retries: u8,
    /// Client to backend.
    pub bytes_to_backend: u64,
    /// Backend to client.
    pub bytes_to_client: u64,
}

impl Tally {
    /// When `max_session` is over.
    fn ends_at(&self, options: &SessionOptions) -> Moment {
        options
            .max_session
            .map_or(Moment::NEVER, |most| self.started.plus(most))
    }
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseName {
    /// It waits for the header that says whose it is.
    AwaitingHeader,
    /// It looks for a backend that takes the connection.
    Connecting,
    /// It moves bytes.
    Relaying,
    /// One side is gone, and the other still gets what is its.
    Resetting,
}

#[derive(Debug)]
enum Phase<W: World> {
    /// Waiting for the header that says whose it is.
    Introduction(Box<Introduction<W::Socket>>),
    /// Looking for a backend that takes the connection. Boxed: it is short, and an idle session shouldn't pay for it.
    Connecting(Box<Connecting<W>>),
    /// Moving bytes.
    Relay(Relay<W>),
    /// One side is gone; what the other still has to get is on its way, then it is reset.
    Resetting(Resetting<W>),
    /// Over, with the backend it had.
    Over(Option<W::Backend>),
}

impl<W: World> Session<W> {
    /// Takes over an accepted connection and starts to connect it to a backend.
    pub fn start(client: W::Socket, world: &mut W) -> (Self, Step) {
        let tally = Tally {
            started: world.now(),
            connect: None,
            retries: 0,
            bytes_to_backend: 0,
            bytes_to_client: 0,
        };
        if world.options().is_introduced {
            let introduction = Box::new(Introduction::new(client, tally.started));
            let phase = Phase::Introduction(introduction);
            // What has come is told by the first event.
            return (Self { phase, tally }, Step::Rest);
        }
        let connecting = Box::new(Connecting::new(Wire::new(client, Lane::CLIENT), Box::default(), None));
        let mut session = Self {
            phase: Phase::Connecting(connecting),
            tally,
        };
        let step = session.begin_connecting(world);
        (session, step)
    }

    fn begin_connecting(&mut self, world: &mut W) -> Step {
        let Phase::Connecting(connecting) = &mut self.phase else {
            return Step::Rest;
        };
        let progress = connecting.begin(world);
        self.after_connecting(progress, world)
    }

    /// One of its sockets has news.
    pub fn on_event(&mut self, lane: Lane, ready: Readiness, world: &mut W) -> Step {
        match &mut self.phase {
            Phase::Introduction(introduction) => {
                let greeting = introduction.on_event(lane, ready, world);
                self.after_introduction(greeting, world)
            }
            Phase::Connecting(connecting) => {
                let progress = connecting.on_event(lane, ready, world);
                self.after_connecting(progress, world)
            }
            Phase::Relay(relay) => {
                let verdict = relay.on_event(lane, ready, world);
                self.after_relay(verdict, world)
            }
            Phase::Resetting(resetting) => {
                let is_over = resetting.on_event(lane, ready);
                self.after_resetting(is_over)
            }
            Phase::Over(_) => Step::Rest,
        }
    }

    /// Takes news without acting on it, if the session is one that moves much at a time: it wants to be called for its turn, after
    /// those that move little. `false`: to be told by [`Session::on_event`].
    pub fn defer_event(&mut self, lane: Lane, ready: Readiness) -> bool {
        match &mut self.phase {
            // A reset is told at once.
            Phase::Relay(relay) if relay.is_bulk() && !ready.broken => {
                relay.note_event(lane, ready);
                true
            }
            _ => false,
        }
    }

    /// It asked to go on, or its deadline has come.
    pub fn on_turn(&mut self, world: &mut W) -> Step {
        match &mut self.phase {
            Phase::Introduction(introduction) => {
                let greeting = introduction.on_time(world);
                self.after_introduction(greeting, world)
            }
            Phase::Connecting(connecting) => {
                let progress = connecting.on_time(world);
                self.after_connecting(progress, world)
            }
            Phase::Relay(relay) => {
                let verdict = if world.now() >= self.tally.ends_at(world.options()) {
                    Verdict::Cut(End::MaxSession)
                } else {
                    relay.on_time(world)
                };
                self.after_relay(verdict, world)
            }
            Phase::Resetting(resetting) => {
                let is_over = resetting.on_time(world.now());
                self.after_resetting(is_over)
            }
            Phase::Over(_) => Step::Rest,
        }
    }

    /// When it must be called at the latest. Every live session has such a moment.
    #[must_use]
    pub fn deadline(&self, options: &SessionOptions) -> Moment {
        match &self.phase {
            Phase::Introduction(introduction) => introduction.deadline(),
            Phase::Connecting(connecting) => connecting.deadline(),
            Phase::Relay(relay) => relay.deadline(options).min(self.tally.ends_at(options)),
            Phase::Resetting(resetting) => resetting.deadline(),
            Phase::Over(_) => Moment::NEVER,
        }
    }

    /// What there is to tell of it.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally;
        if let Phase::Relay(relay) = &self.phase {
            (tally.bytes_to_backend, tally.bytes_to_client) = relay.moved();
        }
        tally
    }

    /// The backend it has or had; while connecting there may be several, and none counts.
    #[must_use]
    pub fn backend(&self) -> Option<&W::Backend> {
        match &self.phase {
            Phase::Introduction(_) | Phase::Connecting(_) => None,
            Phase::Relay(relay) => Some(relay.backend()),
            Phase::Resetting(resetting) => Some(resetting.backend()),
            Phase::Over(backend) => backend.as_ref(),
        }
    }

    /// How far it is.
    #[must_use]
    pub const fn phase_name(&self) -> PhaseName {
        match &self.phase {
            Phase::Introduction(_) => PhaseName::AwaitingHeader,
            Phase::Connecting(_) => PhaseName::Connecting,
            Phase::Relay(_) => PhaseName::Relaying,
            Phase::Resetting(_) | Phase::Over(_) => PhaseName::Resetting,
        }
    }

    fn after_introduction(&mut self, greeting: Greeting, world: &mut W) -> Step {
        if matches!(greeting, Greeting::Waiting) {
            return Step::Rest;
        }
        let Phase::Introduction(introduction) = std::mem::replace(&mut self.phase, Phase::Over(None)) else {
            return Step::Rest;
        };
        let client = introduction.into_client();
        let (header, rest) = match greeting {
            Greeting::Waiting => return Step::Rest,
            Greeting::Failed(end) => return Step::Ended(end),
            Greeting::Left => {
                client.socket.close();
                return Step::Ended(End::ClientClosed);
            }
            Greeting::Read(header, rest) => (header, rest),
        };
        let proxied = match &header {
            Header::Own => None,
            Header::Proxied(endpoints) => Some(endpoints),
        };
        if let Err(reason) = world.introduce(proxied) {
            world.note_refused(reason, format_args!("{}", reason.words()));
            return Step::Ended(End::Refused);
        }
        let destination = proxied.map(|endpoints| endpoints.destination);
        self.phase = Phase::Connecting(Box::new(Connecting::new(client, rest, destination)));
        self.begin_connecting(world)
    }

    fn after_connecting(&mut self, progress: Progress, world: &mut W) -> Step {
        let Phase::Connecting(connecting) = &mut self.phase else {
            return Step::Rest;
        };
        self.tally.retries = connecting.retries();
        match progress {
            Progress::Waiting => Step::Rest,
            Progress::Failed(end) => {
                self.phase = Phase::Over(None);
                Step::Ended(end)
            }
            Progress::Connected(place) => {
                let Phase::Connecting(connecting) = std::mem::replace(&mut self.phase, Phase::Over(None)) else {
                    return Step::Rest;
                };
                let Some(Connected {
                    client,
                    opening,
                    backend_wire,
                    backend,
                    took,
                }) = connecting.into_connected(place, world)
                else {
                    return Step::Ended(End::ConnectFailed);
                };
                self.tally.connect = Some(took);
                let measures = world.options().latency_every.is_some();
                let clock = (world.now(), measures);
                let mut relay = Relay::new(client, backend_wire, backend, opening, clock);
                let verdict = relay.begin(world);
                self.phase = Phase::Relay(relay);
                self.after_relay(verdict, world)
            }
        }
    }

    fn after_relay(&mut self, verdict: Verdict, world: &mut W) -> Step {
        let end = match verdict {
            Verdict::Rest => return Step::Rest,
            Verdict::Again => return Step::Again,
            Verdict::Finished(end) | Verdict::Cut(end) | Verdict::Reset(_, end) => end,
        };
        self.tally = self.tally();
        let Phase::Relay(relay) = std::mem::replace(&mut self.phase, Phase::Over(None)) else {
            return Step::Ended(end);
        };
        relay.note_end(end, world);
        match verdict {
            Verdict::Reset(victim, _) => {
                let options = world.options();
                let patience = (world.now(), options.half_close_timeout);
                let mut resetting = relay.into_resetting(victim, end, patience);
                let is_over = resetting.on_time(world.now());
                self.phase = Phase::Resetting(resetting);
                self.after_resetting(is_over)
            }
            Verdict::Finished(_) => {
                self.phase = Phase::Over(Some(relay.close()));
                Step::Ended(end)
            }
            _ => {
                self.phase = Phase::Over(Some(relay.cut()));
                Step::Ended(end)
            }
        }
    }

    fn after_resetting(&mut self, is_over: bool) -> Step {
        if !is_over {
            return Step::Rest;
        }
        match std::mem::replace(&mut self.phase, Phase::Over(None)) {
            Phase::Resetting(resetting) => {
                let (backend, end) = resetting.into_parts();
                self.phase = Phase::Over(Some(backend));
                Step::Ended(end)
            }
            _ => Step::Rest,
        }
    }
}
