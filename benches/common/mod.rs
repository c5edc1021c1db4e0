//! What the benchmarks that start real programs have in common: `compare` and `experiments` each include it as their module.
//!
//! `program` starts and ends programs, `network` gives them a network of their own, `folder` a place for their files; `load` runs
//! `tcp_server` and `client` and reads what the client reports; `machine` says where all that took place.
//! Whatever ends the benchmark, it leaves no program, namespace or file behind.

pub(crate) mod folder;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod program;

use std::error::Error;
use std::io::{self, Write};

/// Any reason to give up.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// Prints a line. A reader that went away is no reason to stop measuring.
pub(crate) fn say(line: &str) {
    drop(writeln!(io::stdout().lock(), "{line}"));
}

/// From now on Ctrl-C and SIGTERM clear everything away before they end the program.
pub(crate) fn clear_away_when_interrupted() -> Result<(), Failure> {
    Ok(ctrlc::set_handler(|| {
        program::end_all();
        network::remove_all();
        folder::remove_all();
        std::process::exit(INTERRUPTED);
    })?)
}
