//! Watching and steering over HTTP: API, metrics, dashboard. One port, one thread.
//!
//! Opened and started by `bin/lb.rs`. The thread has a small runtime of its own and shares nothing with the data path but atomics
//! and immutable pools: it reads `control`'s board, and asks `control` for every change. Every request passes `fence.rs` first, then
//! the table of `routes.rs` says who may ask.
//!
//! May not: change anything itself; hold up the data path; let a name, a message or a byte from elsewhere become HTML.

mod answer;
mod assets;
mod charts;
mod describe;
mod fence;
mod handle;
mod history;
mod hub;
mod listen;
mod processes;
mod query;
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

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::config;
use crate::control::{Board, Commander, Event};
use crate::observe::supervise;
use crate::sys;
use fence::Fence;
use listen::Door;
use seats::Seats;
use state::State;
use tokens::Tokens;

/// Events that may wait for the admin thread: every backend of a large pool may change at once.
const EVENTS_QUEUED: usize = 16_384;

/// The admin port: open, and nobody answers yet.
#[derive(Debug)]
pub struct Admin {
    door: Door,
    tokens: Option<Arc<Tokens>>,
    hosts: Vec<String>,
}

/// Keeps the thread; dropped, it ends.
#[derive(Debug)]
pub struct AdminThread {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// What outlives a life of the thread's loop.
struct Lasting {
    admin: Admin,
    board: Arc<Board>,
    commander: Commander,
    connections_max: u32,
    events: mpsc::Receiver<Event>,
    stop: oneshot::Receiver<Infallible>,
    /// Told once, when the first life of the loop can answer.
    ready: Option<oneshot::Sender<()>>,
}

impl Admin {
    /// Opens the port; `None`: it is off.
    ///
    /// # Errors
    /// It can't be opened, or the file of tokens can't be used: one line that a person can act on.
    pub fn open(settings: &config::Admin) -> Result<Option<Self>, String> {
        let tokens = settings.token_file.as_deref().map(Tokens::load).transpose()?;
        let door = Door::open(&settings.listen)?;
        Ok(door.map(|door| Self {
            door,
            tokens: tokens.map(Arc::new),
            hosts: settings.hosts.clone(),
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
    /// No thread is left.
    pub fn start(self, board: Arc<Board>, commander: Commander, connections_max: u32) -> io::Result<AdminThread> {
        let where_to = match self.door.address()? {
            Some(address) => format!("http://{address}/"),
            None => self.door.to_string(),
        };
        let (send, events) = mpsc::channel(EVENTS_QUEUED);
        board.watch(move |event| {
            if send.try_send(event).is_err() {
                log::debug!("admin: an event is lost: too many wait");
            }
        });
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let counters = Arc::clone(board.counters());
        let mut lasting = Lasting {
            admin: self,
            board,
            commander,
            connections_max,
            events,
            stop: stopped,
            ready: Some(ready),
        };
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            // Whoever moves bytes goes first.
            if let Err(error) = sys::wake_without_preempting() {
                log::debug!("admin: SCHED_BATCH: {error}");
            }
            supervise("admin", &counters, || run(&mut lasting));
            lasting.admin.door.close();
        })?;
        if is_ready.blocking_recv().is_err() {
            return Err(io::Error::other("its loop can't be opened"));
        }
        log::info!("admin: dashboard, API and metrics on {where_to}");
        Ok(AdminThread {
            stop: Some(stop),
            thread: Some(thread),
        })
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

/// One life of the loop.
fn run(lasting: &mut Lasting) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let Admin { door, tokens, hosts } = &lasting.admin;
    let state = Rc::new(State {
        board: Arc::clone(&lasting.board),
        commander: lasting.commander.clone(),
        fence: RefCell::new(Fence::new(door.address()?, hosts, tokens.clone())),
        samples: RefCell::default(),
        hub: RefCell::default(),
        processes: RefCell::default(),
    });
    let seats = Rc::new(Seats::new(lasting.connections_max));
    let door = door.try_clone()?;
    let (stop, events, ready) = (&mut lasting.stop, &mut lasting.events, lasting.ready.take());
    LocalSet::new().block_on(&runtime, async move {
        if let Some(ready) = ready {
            // Nobody waits any more: it starts no more.
            ready.send(()).unwrap_or_default();
        }
        tokio::select! {
            _ = stop => Ok(()),
            failed = serve::accept(door, seats, Rc::clone(&state)) => failed.map(|never| match never {}),
            never = processes::watch(Rc::clone(&state)) => match never {},
            never = tell(events, &state) => match never {},
        }
    })
}

/// Takes samples, and passes them and what happens on to those who listen.
async fn tell(events: &mut mpsc::Receiver<Event>, state: &State) -> Infallible {
    let mut samples = tokio::time::interval(history::INTERVAL);
    loop {
        tokio::select! {
            _ = samples.tick() => {
                let sample = state.board.sample();
                state.samples.borrow_mut().add(&sample);
                state.hub.borrow_mut().send("sample", &sample);
            }
            Some(event) = events.recv() => match event {
                Event::Backend(event) => state.hub.borrow_mut().send("backend", &event),
                Event::Config(event) => state.hub.borrow_mut().send("config", &event),
            }
        }
    }
}
