//! The log: env_logger's lines, written by a thread of their own.

use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;

use env_logger::{Builder, Target, WriteStyle};
use log::LevelFilter;

use super::lines::{Drops, Lines, LinesGuard};

/// A process has one log (the `log` crate's), so it has one count of what that lost.
static DROPS: OnceLock<Drops> = OnceLock::new();

/// The count of lines that the log lost; stays 0 if there is none.
#[must_use]
pub fn log_drops() -> Drops {
    DROPS.get_or_init(Drops::default).clone()
}

/// Starts the log to standard error at `level`; `RUST_LOG` wins, `NO_COLOR` is heeded. The guard keeps it: drop it last.
///
/// # Errors
/// No thread can be started, or there is a log already.
pub fn start_log(level: LevelFilter) -> std::io::Result<LinesGuard> {
    let (lines, guard) = Lines::spawn("log", Box::new(stderr()), log_drops())?;
    let has_color = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // Everything passes here; the level is the log crate's own, which can be changed later.
    let mut builder = Builder::new();
    if is_told_by_environment() {
        builder.filter_level(level).parse_default_env();
    } else {
        builder.filter_level(LevelFilter::Trace);
    }
    builder
        .format_timestamp_millis()
        .format_target(false)
        .write_style(if has_color {
            WriteStyle::Always
        } else {
            WriteStyle::Never
        })
        .target(Target::Pipe(Box::new(lines)))
        .try_init()
        .map_err(std::io::Error::other)?;
    set_log_level(level);
    std::panic::set_hook(Box::new(|panic| log::error!("a fault of lb: {panic}")));
    Ok(guard)
}

/// Another level, unless `RUST_LOG` says which.
pub fn set_log_level(level: LevelFilter) {
    if !is_told_by_environment() {
        log::set_max_level(level);
    }
}

/// Whether `RUST_LOG` says what is logged.
#[must_use]
pub fn is_told_by_environment() -> bool {
    std::env::var_os("RUST_LOG").is_some_and(|value| !value.is_empty())
}
