//! Watching and steering over HTTP: API, metrics, dashboard. One port, one thread.
//!
//! Opened and started by `bin/lb.rs`. The thread has a small runtime of its own and shares nothing with the data path but atomics
//! and immutable pools: it reads `control`'s board, and asks `control` for every change. Every request passes `fence.rs` first, then
//! the table of `routes.rs` says who may ask.
//!
//! May not: change anything itself; hold up the data path; let a name, a message or a byte from elsewhere become HTML.

mod answer;
mod archive;
mod assets;
mod charts;
mod describe;
mod fence;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handle;
mod history;
mod hosts;
mod hub;
mod listen;
mod moving;
mod outgoing;
mod processes;
mod query;
mod replicas;
mod routes;
mod seats;
mod serve;
mod state;
mod tokens;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use crate::api;
use crate::config::{self, AdminListen, Config};
use crate::control::{Board, Commander, Event, Inherited};
use crate::observe::{Lines, LinesGuard, supervise};
use crate::sys;
use archive::Archive;
use fence::Fence;
use hub::Hub;
use listen::{Door, Given};
pub use moving::AdminCompanion;
use moving::{Turn, given_away, given_back};
use serve::{Listening, Port};
use state::State;
use tokens::Tokens;

/// Events that may wait for the admin thread: every backend of a large pool may change at once.
const EVENTS_QUEUED: usize = 16_384;

/// The admin port: open, and nobody answers yet.
#[derive(Debug)]
pub struct Admin {
    door: Door,
    listen: AdminListen,
    tokens: Option<Arc<Tokens>>,
    hosts: Vec<String>,
    history: Option<config::History>,
    /// Whose turn it is to answer, at first.
    turn: Turn,
}

/// Keeps the thread; dropped, it ends.
#[derive(Debug)]
pub struct AdminThread {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
    companion: Option<AdminCompanion>,
}

impl AdminThread {
    /// Goes along when a new lb takes over. Once.
    pub fn companion(&mut self) -> Option<AdminCompanion> {
        self.companion.take()
    }
}

/// What outlives a life of the thread's loop.
struct Lasting {
    admin: Admin,
    board: Arc<Board>,
    commander: Commander,
    connections_max: usize,
    events: mpsc::Receiver<Event>,
    stop: oneshot::Receiver<Infallible>,
    turn: watch::Receiver<Turn>,
    /// Where samples are kept on disk.
    samples: Option<(Lines, LinesGuard)>,
}

/// What a life of the loop needs.
struct Opened {
    runtime: Runtime,
    listening: Listening,
    address: Option<SocketAddr>,
}

impl Opened {
    fn new(door: &Door) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let inside = runtime.enter();
        let listening = Listening::new(door.try_clone()?)?;
        drop(inside);
        Ok(Self {
            runtime,
            listening,
            address: door.address()?,
        })
    }
}

impl Admin {
    /// Opens the port, where it isn't open already; `None`: it is off.
    ///
    /// # Errors
    /// It can't be opened, or the file of tokens can't be used: one line that a person can act on.
    pub fn open(config: &Config, inherited: &mut Inherited) -> Result<Option<Self>, String> {
        let settings = &config.admin;
        let tokens = settings.token_file.as_deref().map(Tokens::load).transpose()?;
        let given = Given::take(&settings.listen, inherited);
        let is_shared = given.as_ref().is_some_and(|given| given.is_shared);
        let door = Door::open(&settings.listen, given)?;
        Ok(door.map(|door| Self {
            door,
            listen: settings.listen.clone(),
            tokens: tokens.map(Arc::new),
            hosts: settings.hosts.clone(),
            history: config.history.clone(),
            turn: if is_shared { Turn::Theirs } else { Turn::Ours },
        }))
    }

    /// Its address; none of a socket in the file system.
    ///
    /// # Errors
    /// The kernel doesn't tell it.
    pub fn address(&self) -> io::Result<Option<SocketAddr>> {
        self.door.address()
    }

    /// Starts the thread that answers, for at most so many connections at once.
    ///
    /// # Errors
    /// No thread is left, or no descriptors for its loop.
    pub fn start(self, board: Arc<Board>, commander: Commander, connections_max: u32) -> io::Result<AdminThread> {
        let where_to = match self.door.address()? {
            Some(address) => format!("http://{address}/"),
            None => self.listen.to_string(),
        };
        let (send, events) = mpsc::channel(EVENTS_QUEUED);
        board.watch(move |event| {
            if send.try_send(event.clone()).is_err() {
                log::debug!("admin: an event is lost: too many wait");
            }
        });
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let counters = Arc::clone(board.counters());
        let samples = self.history.as_ref().map(|history| kept(history, &board)).transpose()?;
        let (give, turn) = watch::channel(self.turn);
        let companion = AdminCompanion {
            door: self.door.try_clone()?,
            listen: self.listen.clone(),
            turn: give,
        };
        let mut lasting = Lasting {
            admin: self,
            board,
            commander,
            connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX),
            events,
            stop: stopped,
            turn,
            samples,
        };
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            // Whoever moves bytes goes first. (`SCHED_IDLE` would do it too, but on a busy machine an answer then takes seconds.)
            for stepped in [sys::wake_without_preempting(), sys::step_back()] {
                if let Err(error) = stepped {
                    log::debug!("admin: can't step back behind the others: {error}");
                }
            }
            let (opened, is_open) = match Opened::new(&lasting.admin.door) {
                Ok(opened) => (Some(opened), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if ready.send(is_open).is_ok() && opened.is_some() {
                let mut opened = opened;
                supervise("admin", &counters, || run(&mut lasting, opened.take()));
            }
            if *lasting.turn.borrow() == Turn::Ours {
                lasting.admin.door.close();
            }
        })?;
        let thread = AdminThread {
            stop: Some(stop),
            thread: Some(thread),
            companion: Some(companion),
        };
        let ended = |_| io::Error::other("its thread ended");
        is_ready.blocking_recv().map_err(ended).flatten()?;
        log::info!("admin: dashboard, API and metrics on {where_to}");
        Ok(thread)
    }
}

impl Drop for AdminThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread admin ended in a panic");
        }
    }
}

/// One life of the loop; the first finds it opened.
fn run(lasting: &mut Lasting, opened: Option<Opened>) -> io::Result<()> {
    if lasting.stop.try_recv() == Err(TryRecvError::Closed) {
        return Ok(());
    }
    let Opened {
        runtime,
        listening,
        address,
    } = match opened {
        Some(opened) => opened,
        None => Opened::new(&lasting.admin.door)?,
    };
    let Admin { tokens, hosts, .. } = &lasting.admin;
    let seats = lasting.connections_max;
    let state = Rc::new(State {
        board: Arc::clone(&lasting.board),
        commander: lasting.commander.clone(),
        fence: RefCell::new(Fence::new(address, hosts, tokens.clone())),
        samples: RefCell::default(),
        hub: RefCell::new(Hub::new(seats)),
        processes: RefCell::default(),
    });
    let mut turn = lasting.turn.clone();
    let port = Port::new(seats, Arc::clone(lasting.board.counters()), turn.clone());
    let (stop, events) = (&mut lasting.stop, &mut lasting.events);
    let kept = lasting.samples.as_ref().map(|(lines, _)| lines.clone());
    let from_disk = lasting.admin.history.clone();
    LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            _ = stop => {}
            never = serve::accept(listening, &port, Rc::clone(&state)) => match never {},
            never = port.cut_late() => match never {},
            never = processes::watch(Rc::clone(&state), seats) => match never {},
            never = tell(events, &mut turn, kept, &state) => match never {},
            never = remember(from_disk, &state) => match never {},
        }
    });
    Ok(())
}

/// Where samples go on disk.
fn kept(settings: &config::History, board: &Board) -> io::Result<(Lines, LinesGuard)> {
    let archive = Archive::open(settings).map_err(io::Error::other)?;
    Lines::spawn("samples", Box::new(archive), board.counters().history_drops.clone())
}

fn keep(kept: &Lines, sample: &api::Sample) {
    match serde_json::to_vec(sample) {
        Ok(mut line) => {
            line.push(b'\n');
            kept.write(line);
        }
        Err(error) => log::error!("history: a sample can't be told as JSON: {error}"),
    }
}

/// Puts the samples of the last half hour, from before this process, in front of its own. Read on another thread: it may be a lot.
async fn remember(from_disk: Option<config::History>, state: &State) -> Infallible {
    if let Some(settings) = from_disk {
        let span = history::SPAN;
        let read = tokio::task::spawn_blocking(move || archive::read(&settings.directory, span));
        match read.await {
            Ok(before) => state.samples.borrow_mut().put_before(&before),
            Err(error) => log::error!("history: the samples on disk can't be read: {error}"),
        }
    }
    std::future::pending().await
}

/// Takes samples, and passes them and what happens on to those who listen.
async fn tell(
    events: &mut mpsc::Receiver<Event>,
    turn: &mut watch::Receiver<Turn>,
    kept: Option<Lines>,
    state: &State,
) -> Infallible {
    let mut samples = tokio::time::interval(history::INTERVAL);
    // A sample says when it was taken: those that were missed would say the same again.
    samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = samples.tick() => {
                let sample = state.board.sample();
                state.samples.borrow_mut().add(&sample);
                state.hub.borrow_mut().send("sample", &sample);
                if let Some(kept) = &kept {
                    keep(kept, &sample);
                }
            }
            () = given_away(turn) => {
                // They come back to whoever answers then.
                state.hub.borrow_mut().end_all();
                given_back(turn).await;
            }
            Some(event) = events.recv() => match event {
                Event::Backend(event) => state.hub.borrow_mut().send("backend", &event),
                Event::Config(event) => state.hub.borrow_mut().send("config", &event),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixListener;

    use crate::control::{self, Running, Signal};

    fn running() -> Running {
        let text = "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n[service.health]\nkind = \"off\"\n\
                    [[service.backend]]\nname = \"b\"\naddress = \"127.0.0.1:1\"\n";
        control::start(
            &config::parse("lb.toml", text).unwrap(),
            std::path::Path::new("lb.toml"),
            Inherited::default(),
        )
        .unwrap()
    }

    fn stop(running: Running) {
        let (send, signals) = crossbeam_channel::bounded(1);
        send.send(Signal::Stop).unwrap();
        running.serve(&signals);
    }

    /// A door that no loop can wait at: epoll takes no file (`EPERM`, epoll_ctl(2)).
    fn admin(folder: &std::path::Path) -> Admin {
        let path = folder.join("file");
        let file = UnixListener::from(OwnedFd::from(std::fs::File::create(&path).unwrap()));
        file.set_nonblocking(true).unwrap();
        Admin {
            door: Door::Unix(file, Some(listen::SocketFile::of(&path).unwrap())),
            listen: AdminListen::Off,
            tokens: None,
            hosts: Vec::new(),
            history: None,
            turn: Turn::Ours,
        }
    }

    #[test]
    fn a_loop_that_can_not_be_opened_is_told_by_the_start_and_leaves_nothing_behind() {
        let (folder, running) = (tempfile::tempdir().unwrap(), running());
        let started = admin(folder.path()).start(running.board(), running.commander(), 8);
        assert_eq!(started.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(!folder.path().join("file").exists());
        stop(running);
    }

    #[test]
    fn a_loop_that_can_not_be_opened_again_tries_until_it_is_to_stop() {
        let (folder, running) = (tempfile::tempdir().unwrap(), running());
        let (stopper, stopped) = oneshot::channel();
        let mut lasting = Lasting {
            admin: admin(folder.path()),
            board: running.board(),
            commander: running.commander(),
            connections_max: 8,
            events: mpsc::channel(1).1,
            stop: stopped,
            turn: watch::channel(Turn::Ours).1,
            samples: None,
        };
        assert!(run(&mut lasting, None).is_err());
        drop(stopper);
        assert!(run(&mut lasting, None).is_ok());
        stop(running);
    }
}
