//! Another lb takes over: the program is started anew with the listening sockets and all that was learned, and once it serves, this
//! one drains and ends. A new one that isn't ready in time, or that dies within [`TRIAL`], changes nothing: then this one goes on.
//!
//! The two talk over a pair of sockets. The old one says everything, the new one that it serves, and each keeps its end for as long as it
//! lives, so that its death is an end of file at the other. A new one that is told to stop waits for the old one: whoever asks it to
//! stop means both.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, unbounded};

use super::command::{Answer, Outcome, Refusal, RefusalKind};
use super::handover::{HandOver, ServiceState};
use super::inherited::{LISTENER, PREDECESSOR, READY, ROOM, STOPPING, is_late};
use super::running::Running;
use super::systemd;
use crate::service::Service;
use crate::sys::{self, InheritedSocket};

/// So long a new lb has to serve.
const READY_MAX: Duration = Duration::from_millis(4500);
/// So long, from its start, it may still fail without harm.
pub(super) const TRIAL: Duration = Duration::from_secs(5);

/// Where an answer goes.
type Reply = Box<dyn FnOnce(Outcome) + Send>;

/// What is handed over; which client had which backend is told by the services themselves, on another thread: it may be a lot.
struct Handed {
    handed: HandOver,
    services: Vec<Arc<Service>>,
}

impl Handed {
    fn told(self) -> io::Result<Vec<u8>> {
        let Self { mut handed, services } = self;
        for (state, service) in handed.services.iter_mut().zip(&services) {
            state.add_clients(service);
        }
        Ok(serde_json::to_vec(&handed)?)
    }
}

/// What becomes of a new lb.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It serves.
    Ready,
    /// It doesn't, and is gone.
    Failed(String),
    /// It served, and is gone.
    Lost(String),
    /// It has served long enough.
    Settled,
}

/// A new lb that is on its way.
pub(super) struct Upgrade {
    progress: Receiver<Progress>,
    /// Shut down, the new lb is given up.
    stream: UnixStream,
    reply: Option<Reply>,
    pid: u32,
    is_ready: bool,
}

impl Running {
    /// Starts a new lb. `reply` is told when it serves, or why not.
    pub(super) fn begin_upgrade(&mut self, reply: Reply) {
        match self.try_upgrade() {
            Ok((progress, stream, pid)) => {
                log::info!("upgrade: process {pid} is starting");
                self.upgrade = Some(Upgrade {
                    progress,
                    stream,
                    reply: Some(reply),
                    pid,
                    is_ready: false,
                });
            }
            Err(refusal) => {
                log::error!("upgrade: {}", refusal.message);
                reply(Err(refusal));
            }
        }
    }

    fn try_upgrade(&mut self) -> Result<(Receiver<Progress>, UnixStream, u32), Refusal> {
        // Within its own trial this lb may still fail: two of them would go on then.
        let is_on_trial = self.predecessor.is_some() && self.board.uptime() < TRIAL;
        if self.upgrade.is_some() || is_on_trial {
            return Err(Refusal::under_way());
        }
        let failed = |what: &str, error: &io::Error| {
            let message = format!("{what}: {error}; nothing is changed");
            Refusal::new(RefusalKind::BadUpgrade, message)
        };
        let packed = self.pack().map_err(|error| failed("what is to be handed over", &error));
        let started = packed.and_then(|(handed, sockets)| {
            let (ours, theirs) = UnixStream::pair().map_err(|error| failed("a pair of sockets", &error))?;
            let theirs = InheritedSocket {
                name: PREDECESSOR.to_owned(),
                socket: theirs.into(),
            };
            let sockets = std::iter::once(theirs).chain(sockets).collect();
            let began = Instant::now();
            let child = spawn(sockets).map_err(|error| failed("the program can't be started", &error))?;
            let pid = child.id();
            let (send, progress) = unbounded();
            let stream = ours.try_clone().map_err(|error| failed("a socket", &error))?;
            std::thread::Builder::new()
                .name("upgrade".into())
                .spawn(move || follow(child, &ours, handed, began, &send))
                .map_err(|error| failed("a thread", &error))?;
            Ok((progress, stream, pid))
        });
        if started.is_err() {
            self.companions.iter().for_each(|companion| companion.resume());
        }
        started
    }

    /// Everything that a new lb needs.
    fn pack(&self) -> io::Result<(Handed, Vec<InheritedSocket>)> {
        let (listeners, sockets) = self.sockets.handed_over()?;
        let named = |name: &str| {
            let name = name.to_owned();
            move |socket| InheritedSocket {
                name: name.clone(),
                socket,
            }
        };
        let mut sockets: Vec<InheritedSocket> = sockets.into_iter().map(named(LISTENER)).collect();
        let services = self.services.iter().zip(&self.steering);
        let mut handed = HandOver {
            listeners,
            given_up: Some(self.sandbox.given_up.clone()),
            services: services
                .map(|(service, steering)| ServiceState::of(service, steering))
                .collect(),
            ..HandOver::default()
        };
        for companion in &self.companions {
            let luggage = companion.pack()?;
            handed.rooms.insert(companion.name().to_owned(), luggage.state);
            let name = format!("{ROOM}{}", companion.name());
            sockets.extend(luggage.descriptors.into_iter().map(named(&name)));
        }
        let services = self.services.clone();
        Ok((Handed { handed, services }, sockets))
    }

    /// What becomes of a new lb, if there is one.
    pub(super) fn progress(&self) -> Receiver<Progress> {
        self.upgrade
            .as_ref()
            .map_or_else(never, |upgrade| upgrade.progress.clone())
    }

    /// Goes on with what became of it. Whether this lb is to end.
    pub(super) fn note_progress(&mut self, progress: Progress) -> bool {
        let Some(upgrade) = &mut self.upgrade else { return false };
        let pid = upgrade.pid;
        match progress {
            Progress::Ready => {
                log::info!("upgrade: process {pid} serves; no new connections here");
                upgrade.is_ready = true;
                if let Some(reply) = upgrade.reply.take() {
                    reply(Ok(Answer::Upgraded(pid)));
                }
                self.acceptor_orders.give(Vec::new());
                self.companions.iter().for_each(|companion| companion.step_aside());
            }
            Progress::Failed(reason) => {
                let message = format!("process {pid} {reason}; nothing is changed");
                log::error!("upgrade: {message}");
                if let Some(reply) = upgrade.reply.take() {
                    reply(Err(Refusal::new(RefusalKind::BadUpgrade, message)));
                }
                self.take_back();
            }
            Progress::Lost(reason) => {
                log::error!("upgrade: process {pid} served and {reason}; this process takes connections again");
                self.acceptor_orders.give(self.sockets.listeners(&self.services));
                self.take_back();
            }
            Progress::Settled => {
                log::info!("upgrade: process {pid} has taken over");
                self.leave();
                return true;
            }
        }
        false
    }

    fn take_back(&mut self) {
        self.upgrade = None;
        self.companions.iter().for_each(|companion| companion.resume());
    }

    /// The new lb has everything. It hears the end of this one by the end of the stream, which is kept until then.
    fn leave(&mut self) {
        if let Some(upgrade) = self.upgrade.take() {
            systemd::tell_main_process(upgrade.pid);
            self.successor = Some(upgrade.stream);
        }
        self.companions.iter().for_each(|companion| companion.let_go());
    }

    /// lb is to stop: a new one that serves has everything and is told to stop too, another one is given up.
    pub(super) fn end_upgrade(&mut self) {
        let Some(upgrade) = &self.upgrade else { return };
        if upgrade.is_ready {
            log::info!("upgrade: process {} is told to stop too", upgrade.pid);
            if let Err(error) = sys::terminate(upgrade.pid) {
                log::error!("upgrade: process {} can't be told to stop: {error}", upgrade.pid);
            }
            return self.leave();
        }
        log::warn!("upgrade: process {} is given up: lb is told to stop", upgrade.pid);
        if let Err(error) = upgrade.stream.shutdown(std::net::Shutdown::Both) {
            log::debug!("upgrade: {error}");
        }
        // At this very moment it may say that it is ready; it is ended all the same.
        while let Ok(Progress::Ready) = upgrade.progress.recv_timeout(TRIAL) {}
        self.take_back();
    }
}

/// Starts the program as this one was started: the file that is at its path now.
fn spawn(sockets: Vec<InheritedSocket>) -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program: OsString = match arguments.next() {
        Some(program) => program,
        None => std::env::current_exe()?.into(),
    };
    let mut command = Command::new(program);
    command.args(arguments);
    // Of this process's number: the next one is another.
    command.env_remove("WATCHDOG_PID");
    sys::spawn_with(command, sockets)
}

/// Tells a new lb everything and follows it, on a thread of its own.
fn follow(mut child: Child, stream: &UnixStream, handed: Handed, began: Instant, progress: &Sender<Progress>) {
    let mut lines = BufReader::new(stream);
    let told = handed.told().and_then(|state| tell(stream, &state));
    let ready = told.and_then(|()| hear(stream, &mut lines, began, READY_MAX));
    let tell = |word: Progress| {
        if progress.send(word).is_err() {
            log::debug!("upgrade: nobody waits for it any more");
        }
    };
    match ready {
        Ok(line) if line == READY => {}
        other => {
            let reason = match other {
                Err(error) if is_late(&error) => format!("wasn't ready within {} s", READY_MAX.as_secs_f32()),
                Err(error) => format!("could not be told what it needs: {error}"),
                Ok(_) => "wasn't ready".to_owned(),
            };
            return tell(Progress::Failed(format!("{reason}, {}", ended(&mut child))));
        }
    }
    tell(Progress::Ready);
    match hear(stream, &mut lines, began, TRIAL) {
        Ok(line) if line.is_empty() => tell(Progress::Lost(ended(&mut child))),
        Err(error) if !is_late(&error) => tell(Progress::Lost(format!("{error}, {}", ended(&mut child)))),
        // It lives, or it was told to stop and did: both are none of our business any more.
        Ok(line) if line == STOPPING => tell(Progress::Settled),
        Ok(_) | Err(_) => tell(Progress::Settled),
    }
}

fn tell(mut stream: &UnixStream, state: &[u8]) -> io::Result<()> {
    stream.set_write_timeout(Some(READY_MAX))?;
    let length = u64::try_from(state.len()).unwrap_or(u64::MAX);
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(state)
}

/// The next line, within `most` since it `began`; empty at the end of the stream.
fn hear(stream: &UnixStream, lines: &mut impl BufRead, began: Instant, most: Duration) -> io::Result<Vec<u8>> {
    // Zero would be no limit.
    let left = most.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left))?;
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    Ok(line)
}

/// Ends what may still live of it; how it ended, in words.
fn ended(child: &mut Child) -> String {
    let by_itself = child.try_wait().ok().flatten();
    let mut killed = || child.kill().and_then(|()| child.wait());
    match by_itself {
        Some(status) => format!("ended by {status}"),
        None => match killed() {
            Ok(status) => format!("is ended by {status}"),
            Err(error) => format!("can't be ended: {error}"),
        },
    }
}
