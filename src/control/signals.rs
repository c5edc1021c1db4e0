//! Signals as values. The second request to stop is not discussed: the process exits at once.

use std::io;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What the operator asks for by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: stop accepting, drain, exit.
    Stop,
}

/// Starts the thread that waits for signals.
///
/// # Errors
/// The handlers can't be installed, or no thread is left.
pub fn watch_signals() -> io::Result<Receiver<Signal>> {
    let (send, receive) = bounded(4);
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for (number, _) in signals.forever().enumerate() {
            if number > 0 || send.send(Signal::Stop).is_err() {
                signal_hook::low_level::exit(1);
            }
        }
    })?;
    Ok(receive)
}
