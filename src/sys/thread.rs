//! A thread that waits in epoll, and how it is asked to stop.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::Doorbell;

/// Asks a process to end (`SIGTERM`).
///
/// # Errors
/// There is none of that number, or it isn't ours.
pub fn terminate(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or(rustix::io::Errno::SRCH)?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    Ok(())
}

/// Keeps such a thread; dropped, it asks the thread to stop at its next wake-up.
#[derive(Debug)]
pub struct LoopThread {
    name: &'static str,
    stop: Sender<Infallible>,
    doorbell: Arc<Doorbell>,
    thread: JoinHandle<()>,
}

/// Whether the thread is asked to stop. A state, not a message: it can't be lost with one life of the loop.
#[derive(Debug)]
pub struct Stop(Receiver<Infallible>);

impl Stop {
    /// Whether it is.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }
}

impl LoopThread {
    /// Starts the thread; `doorbell` is what wakes it.
    ///
    /// # Errors
    /// No thread is left.
    pub fn spawn(
        name: &'static str,
        doorbell: Arc<Doorbell>,
        body: impl FnOnce(&Stop) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, asked) = bounded(0);
        let asked = Stop(asked);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || body(&asked))?;
        Ok(Self {
            name,
            stop,
            doorbell,
            thread,
        })
    }

    /// Asks the thread to stop, and waits until it has.
    pub fn stop(self) {
        drop(self.stop);
        self.doorbell.waker().wake();
        if self.thread.join().is_err() {
            log::error!("the thread {} ended in a panic", self.name);
        }
    }
}
