//! The calls that are made by hand, made.

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

#[test]
fn it_counts_what_a_peer_that_never_reads_has_not_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _theirs = listener.accept().unwrap();
    assert_eq!(unacknowledged_bytes(&ours).unwrap(), 0);
    ours.set_nonblocking(true).unwrap();
    let chunk = [0_u8; 65_536];
    while ours.write(&chunk).is_ok() {}
    assert!(unacknowledged_bytes(&ours).unwrap() > 0);
}

#[test]
fn a_connection_that_moved_bytes_has_a_round_trip_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    ours.write_all(b"ping").unwrap();
    theirs.read_exact(&mut [0; 4]).unwrap();
    let round_trip = round_trip(&ours).unwrap();
    assert!(
        round_trip > Duration::ZERO && round_trip < Duration::from_secs(10),
        "{round_trip:?}"
    );
    assert!(super::round_trip(std::fs::File::open("/dev/null").unwrap()).is_err());
}

/// What the calling thread is scheduled by: proc_pid_stat(5), the 41st field, the 39th behind the name.
fn policy() -> Option<String> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    behind_name.split_whitespace().nth(38).map(ToOwned::to_owned)
}

#[test]
fn a_thread_can_wake_without_preempting() {
    let seen = std::thread::spawn(|| {
        wake_without_preempting().unwrap();
        policy()
    });
    // SCHED_BATCH.
    assert_eq!(seen.join().unwrap().as_deref(), Some("3"));
    assert_eq!(policy().as_deref(), Some("0"), "the others stay as they are");
}

#[test]
fn a_thread_can_run_in_short_slices_and_keeps_its_nice_value() {
    let nice = || rustix::process::getpriority_process(None).unwrap();
    let before = nice();
    std::thread::spawn(move || {
        run_in_short_slices().unwrap();
        assert_eq!((policy().as_deref(), nice()), (Some("0"), before));
        // sched_debug(5) tells the slice where the kernel shows it.
        let shown = std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
        let slice = shown
            .lines()
            .find_map(|line| line.strip_prefix("se.slice")?.rsplit(':').next());
        if let Some(slice) = slice {
            assert_eq!(slice.trim(), SHORT_SLICE_NANOS.to_string(), "{shown}");
        }
    })
    .join()
    .unwrap();
}
