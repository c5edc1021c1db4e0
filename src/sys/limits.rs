//! The file-descriptor limit of this process: getrlimit(2), setrlimit(2).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft file-descriptor limit to the hard one and returns what is in force.
///
/// A refused raise leaves the limit as it was, which the returned figure tells.
#[must_use]
pub fn raise_fd_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::warn!("can't raise the file-descriptor limit to {:?}: {error}", limit.maximum);
        }
    }
    fd_limit()
}

/// The soft file-descriptor limit in force; "unlimited" counts as 2^20, beyond what a process here can hold.
#[must_use]
pub fn fd_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}
