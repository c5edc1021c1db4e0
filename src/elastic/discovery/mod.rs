//! `[service.discovery]`: finds the backends of services, and has `control` put in force which they are.
//!
//! Started by `bin/lb.rs`; one thread with a small runtime of its own for all services. A service that looks for backends has a task
//! (`follow`): its source (`dns`, `file`, `http`, `etcd`) says what it hears, `rules` say what is made of it.
//!
//! What is found is followed, never trusted: only the listed source is asked, and no answer makes lb ask anybody else. An answer that
//! can't be had or can't be followed changes nothing: the last good backends stay.
//!
//! May not: touch a pool, look a name up in a way that blocks, or end because a source does.

mod dns;
mod entries;
mod etcd;
mod file;
mod follow;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod rules;
mod watch;
mod web;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle as Task, LocalSet};

use crate::config;
use crate::control::{Board, Bringer, Command, Commander, Event};
use crate::observe::{caught, supervise};
use crate::types::Moment;
use follow::Follower;
use watch::Watches;

/// Questions under way at once: of a thousand services that all ask at the start, each costs a descriptor meanwhile.
const QUESTIONS_MAX: usize = 16;
/// After a fault of lb in one service's task.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the thread; dropped, it ends.
#[derive(Debug)]
pub struct DiscoveryThread {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// What all tasks share.
struct Room {
    board: Arc<Board>,
    commander: Commander,
    watches: Watches,
    /// Who asks holds one, but for those who listen for good.
    questions: Semaphore,
}

/// What outlives a life of the thread's loop.
struct Lasting {
    board: Arc<Board>,
    commander: Commander,
    reloaded: Arc<Notify>,
    stop: oneshot::Receiver<Infallible>,
    ready: Option<oneshot::Sender<()>>,
}

/// Starts the thread. It follows what the file says of each service, also after a reload.
///
/// # Errors
/// No thread is left, or no descriptor for its loop.
pub fn start(board: Arc<Board>, commander: Commander) -> io::Result<DiscoveryThread> {
    let reloaded = Arc::new(Notify::new());
    let bell = Arc::clone(&reloaded);
    board.watch(move |event| {
        if matches!(event, Event::Config(_)) {
            bell.notify_one();
        }
    });
    let (stop, stopped) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let counters = Arc::clone(board.counters());
    let mut lasting = Lasting {
        board,
        commander,
        reloaded,
        stop: stopped,
        ready: Some(ready),
    };
    let mut runtime = Some(runtime()?);
    let thread = std::thread::Builder::new()
        .name("discovery".into())
        .spawn(move || supervise("discovery", &counters, || run(&mut lasting, runtime.take())))?;
    let thread = DiscoveryThread {
        stop: Some(stop),
        thread: Some(thread),
    };
    // Whoever counts lb's descriptors from now on finds those of every source.
    is_ready
        .blocking_recv()
        .map_err(|_| io::Error::other("its thread ended"))?;
    Ok(thread)
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
}

impl Drop for DiscoveryThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread discovery ended in a panic");
        }
    }
}

/// One life of the loop; the first finds its runtime opened.
fn run(lasting: &mut Lasting, opened: Option<Runtime>) -> io::Result<()> {
    if lasting.stop.try_recv() == Err(TryRecvError::Closed) {
        return Ok(());
    }
    let runtime = match opened {
        Some(runtime) => runtime,
        None => runtime()?,
    };
    let room = Rc::new(Room {
        board: Arc::clone(&lasting.board),
        commander: lasting.commander.clone(),
        watches: Watches::default(),
        questions: Semaphore::new(QUESTIONS_MAX),
    });
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        tokio::select! {
            _ = &mut lasting.stop => {}
            never = keep(&room, &lasting.reloaded, &mut lasting.ready) => match never {},
        }
    });
    Ok(())
}

/// A service's task.
struct Tended {
    settings: config::Discovery,
    task: Task<Infallible>,
    /// Looks whether its backends are there still.
    bell: Rc<Notify>,
}

impl Drop for Tended {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Has a task for each service that wants one, as the file is now.
async fn keep(room: &Rc<Room>, reloaded: &Notify, ready: &mut Option<oneshot::Sender<()>>) -> Infallible {
    let mut tended: HashMap<String, Tended> = HashMap::new();
    loop {
        let wanted: HashMap<String, config::Discovery> = room
            .board
            .settings()
            .into_iter()
            .filter_map(|service| Some((service.name, service.discovery?)))
            .collect();
        let mut gone = Vec::new();
        tended.retain(|service, task| {
            let is_wanted = wanted.get(service) == Some(&task.settings);
            if !is_wanted && !wanted.contains_key(service) {
                gone.push(service.clone());
            }
            is_wanted
        });
        for service in gone {
            let_go(room, service);
        }
        for (service, settings) in wanted {
            match tended.get(&service) {
                Some(task) => task.bell.notify_one(),
                None => drop(tended.insert(service.clone(), tend(room, service, settings))),
            }
        }
        if let Some(ready) = ready.take() {
            let (Ok(()) | Err(())) = ready.send(()); // whoever waited for it may have gone
        }
        reloaded.notified().await;
    }
}

/// The file has the section no more: what was found goes.
fn let_go(room: &Room, service: String) {
    room.board.show_discovery(&service, None);
    let command = Command::Provide {
        service,
        bringer: Bringer::Discovery,
        backends: Vec::new(),
    };
    room.commander.ask(command, |outcome| {
        if let Err(refusal) = outcome {
            // The service is gone with its section, or lb stops.
            log::debug!("discovery: {}", refusal.message);
        }
    });
}

fn tend(room: &Rc<Room>, service: String, settings: config::Discovery) -> Tended {
    let bell = Rc::new(Notify::new());
    // A file is watched from this moment on.
    let mut seat = follow::seat(room, &settings);
    let task = {
        let (room, bell, settings) = (Rc::clone(room), Rc::clone(&bell), settings.clone());
        tokio::task::spawn_local(async move {
            let name = format!("discovery: {service}");
            loop {
                let seat = seat.take().or_else(|| follow::seat(&room, &settings));
                let follower = Follower::new(Rc::clone(&room), service.clone(), settings.clone());
                let ended = caught(&name, room.board.counters(), follower.follow(seat, &bell)).await;
                match ended {
                    Some(never) => match never {},
                    None => pass(FAULT_PAUSE).await,
                }
            }
        })
    };
    Tended { settings, task, bell }
}

/// Lets `span` pass.
async fn pass(span: Duration) {
    // It can only end by its time.
    let ended = tokio::time::timeout(span, std::future::pending::<Infallible>()).await;
    debug_assert!(ended.is_err());
}

/// Lets the time pass until a moment; for ever without one.
async fn until(due: Option<Moment>, now: Moment) {
    match due {
        Some(due) => pass(due.since(now)).await,
        None => match std::future::pending::<Infallible>().await {},
    }
}
