//! Signals as values. The second request to stop is not discussed: the process exits at once.

use std::io;

use crossbeam_channel::{Receiver, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

/// What the operator asks for by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: stop accepting, drain, exit.
    Stop,
    /// SIGHUP: what a closed terminal sends, and who wants another configuration.
    HangUp,
    /// SIGUSR2: start the program anew, and hand everything to it.
    Upgrade,
}

/// Starts the thread that waits for signals.
///
/// # Errors
/// The handlers can't be installed, or no thread is left.
pub fn watch_signals() -> io::Result<Receiver<Signal>> {
    let (send, receive) = unbounded();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut is_stopping = false;
        for number in &mut signals {
            let signal = match number {
                SIGHUP => Signal::HangUp,
                SIGUSR2 => Signal::Upgrade,
                _ => Signal::Stop,
            };
            let is_second = is_stopping && signal == Signal::Stop;
            is_stopping |= signal == Signal::Stop;
            if is_second || send.send(signal).is_err() {
                signal_hook::low_level::exit(1);
            }
        }
    })?;
    Ok(receive)
}
