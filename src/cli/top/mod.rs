//! `lb top`: a running lb, live on the terminal.
//!
//! Called by `commands`. Three threads tell the main one what happens, over one channel: the keyboard, the signals, and the one that
//! asks lb (`ask`). The main thread keeps the model (`model`, pure: what is known and selected; `rates`, pure: two samples -> a second's worth),
//! draws it (`draw`, pure) after each event, and hands on what `keys` make it ask.
//!
//! May not: leave the terminal in another state than it was, however it ends; wait for lb with a key unread.

mod ask;
mod columns;
mod draw;
#[cfg(test)]
mod fixture;
mod keys;
mod model;
mod rates;
mod rows;
mod screen;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select, tick};

use self::ask::{Ask, Sample};
use self::keys::Key;
use self::model::Model;
use self::screen::Screen;
use super::commands::status_path;
use super::failure::Failure;
use super::json::one_line;
use super::remote::Remote;
use super::typed::RemoteFlags;
use crate::control::{Signal, watch_signals};

/// From one look at lb to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// Events on their way to the main thread; who has more waits.
const EVENTS_MAX: usize = 64;
/// Changes that wait for lb to take them; more aren't taken from the keyboard.
const CHANGES_MAX: usize = 16;

/// What happens.
enum Event {
    /// A key that means something.
    Key(Key),
    /// The terminal has another size.
    Resized,
    /// What lb says of itself.
    Sampled(Box<Sample>),
    /// lb didn't say.
    Lost(String),
    /// A change was made, or refused; in words.
    Answered(Result<String, String>),
    /// A thread can't go on.
    Broken(io::Error),
}

/// `lb top`, until somebody ends it.
///
/// # Errors
/// There is no terminal, or lb isn't reachable from the start.
pub(super) fn run(flags: &RemoteFlags) -> Result<(), Failure> {
    if !flags.json && !io::stdout().is_terminal() {
        let line = "top draws on a terminal, and standard output is none; `lb status` and `lb top --json` print";
        return Err(Failure::Usage(line.into()));
    }
    let lb = Remote::new(flags)?;
    let stop = watch_signals().map_err(Failure::Output)?;
    if flags.json {
        return lines(&lb, &stop);
    }
    let first = ask::sample(&lb)?;
    watch(lb, first, &stop).map_err(Failure::Output)
}

/// A line of JSON each second, until nobody reads them, lb is gone, or a signal comes.
fn lines(lb: &Remote, stop: &Receiver<Signal>) -> Result<(), Failure> {
    let ticks = tick(INTERVAL);
    loop {
        let answer = lb.get(&status_path())?;
        let line = answer.json(one_line)?;
        let mut out = io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(Failure::Output)?,
        }
        drop(out);
        select! {
            recv(stop) -> _ => return Ok(()),
            recv(ticks) -> _ => {}
        }
    }
}

fn watch(lb: Remote, first: Sample, stop: &Receiver<Signal>) -> io::Result<()> {
    let (happens, events) = bounded(EVENTS_MAX);
    let (ask, asked) = bounded(CHANGES_MAX);
    let mut model = Model::new(first);
    let mut screen = Screen::open()?;
    keys::watch(happens.clone())?;
    ask::start(lb, asked, happens)?;
    let outcome = turn(&mut model, &mut screen, &events, &ask, stop);
    screen.close()?;
    outcome
}

fn turn(
    model: &mut Model,
    screen: &mut Screen,
    events: &Receiver<Event>,
    ask: &Sender<Ask>,
    stop: &Receiver<Signal>,
) -> io::Result<()> {
    loop {
        screen.draw(model)?;
        let event = select! {
            recv(stop) -> _ => return Ok(()),
            recv(events) -> event => event.map_err(io::Error::other)?,
        };
        match event {
            Event::Key(Key::Quit) => return Ok(()),
            Event::Key(key) => {
                if let Some(change) = model.press(key)
                    && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = ask.try_send(change)
                {
                    model.answered(Err("not asked: lb hasn't answered what was asked before".into()));
                }
            }
            Event::Resized => {}
            Event::Sampled(sample) => model.sampled(*sample),
            Event::Lost(why) => model.lost(why),
            Event::Answered(answer) => model.answered(answer),
            Event::Broken(error) => return Err(error),
        }
    }
}

/// Tells the main thread if the thread that holds it panics: it would wait for news that never come.
struct Witness(Sender<Event>);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Full: the main thread ends by the key that a person presses then.
            drop(
                self.0
                    .try_send(Event::Broken(io::Error::other("a thread of lb top has failed"))),
            );
        }
    }
}
