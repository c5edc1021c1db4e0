//! A thread that waits in epoll, and how it is asked to stop.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::Doorbell;

/// How nice a thread is that has time: a tenth of the weight of others (sched(7)), and enough that it still gets on when every core is
/// busy.
const NICE: i32 = 10;

/// From now on the calling thread steps back behind the others.
///
/// # Errors
/// The kernel refuses; the thread runs as before.
pub fn step_back() -> io::Result<()> {
    // On Linux a nice value is a thread's, and no id means the calling one (setpriority(2), "C library/kernel differences").
    rustix::process::setpriority_process(None, NICE)?;
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_steps_back() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let other = std::thread::spawn(move || {
            step_back().unwrap();
            nice()
        });
        assert_eq!(other.join().unwrap(), NICE);
        assert_eq!(nice(), before);
    }
}
