//! Clients that are to introduce themselves and don't: who asks for nothing isn't refused, whoever breaks off or says nothing is.

use std::time::Duration;

use lb::observe::{End, RefusedReason};
use lb::session::HEADER_TIMEOUT;

use super::kernel::{CLIENT, Fate};
use super::script::*;
use super::stage::Stage;

/// A client that has sent so many bytes of its header.
fn introduced_by(bytes: usize) -> Stage {
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    let world = world_with(WIDE, &[Fate::Up], |options| options.is_introduced = true);
    let stage = Stage::start_after(world, WIDE, |kernel| kernel.sockets[CLIENT].header_in = header.to_vec());
    if bytes > 0 {
        sends(&stage, CLIENT, bytes);
    }
    stage
}

#[test]
fn who_leaves_without_a_word_is_not_refused() {
    let mut stage = introduced_by(0);
    fins(&stage, CLIENT);
    settle(&mut stage);
    ended(&stage, End::ClientClosed);
    assert!(stage.world.refusals.is_empty(), "{:?}", stage.world.refusals);
    assert!(stage.world.picked.is_empty());
}

#[test]
fn who_leaves_within_the_header_is_refused() {
    let mut stage = introduced_by(14);
    settle(&mut stage);
    assert_eq!(stage.end, None, "{}", story(&stage));
    fins(&stage, CLIENT);
    settle(&mut stage);
    ended(&stage, End::Refused);
    assert_eq!(stage.world.refusals, [RefusedReason::ProxyMalformed]);
}

#[test]
fn who_says_too_little_is_refused_after_the_time_for_all_of_it() {
    for bytes in [0, 14] {
        let mut stage = introduced_by(bytes);
        settle(&mut stage);
        stage.advance(Duration::from_millis(1));
        settle(&mut stage);
        assert_eq!(wait_for_end(&mut stage), HEADER_TIMEOUT - Duration::from_millis(1));
        ended(&stage, End::Refused);
        assert_eq!(stage.world.refusals, [RefusedReason::ProxyTimeout]);
    }
}
