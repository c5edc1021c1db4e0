//! What must be true of a session, told from what happened to its sockets and nothing else.

use std::time::Duration;

use lb::observe::{End, RefusedReason};
use lb::session::{HEADER_TIMEOUT, PhaseName, SessionOptions};
use lb::types::Moment;

use super::kernel::{CLIENT, Fd, Kernel, Tcp};
use super::stage::Stage;

/// How late the simulated worker may call a timer.
pub(crate) const LATENESS: Duration = Duration::from_millis(2);
/// The longest pause between two looks at what a peer has acknowledged, and the lateness; with shortages of memory in between.
const RESET_WITHIN: Duration = Duration::from_millis(64 + 10);
const RESET_WITHIN_WHEN_SHORT: Duration = Duration::from_millis(1000);

/// The sides of a relay.
fn pair(kernel: &Kernel) -> Option<[(&Tcp, &Tcp); 2]> {
    let (client, backend) = (&kernel.sockets[CLIENT], &kernel.sockets[kernel.winner?]);
    Some([(client, backend), (backend, client)])
}

fn is_half_closed(kernel: &Kernel) -> bool {
    pair(kernel).is_some_and(|pair| {
        pair.iter()
            .any(|(side, _)| side.fin_told.is_some() || side.rst_told.is_some())
    })
}

/// How a session that gets nowhere ends by time, and the silence that it takes.
fn silence(kernel: &Kernel, options: &SessionOptions) -> (End, Duration) {
    let is_pending = pair(kernel).is_some_and(|pair| {
        pair.iter()
            .any(|(source, target)| source.read > target.sent || target.lacks_header() || target.unacknowledged > 0)
    });
    let is_dead = pair(kernel).is_some_and(|pair| pair.iter().any(|(side, _)| side.rst_told.is_some()));
    if !is_half_closed(kernel) {
        (End::IdleTimeout, options.idle_timeout)
    } else if is_pending && !is_dead {
        (End::IdleTimeout, options.idle_timeout.max(options.half_close_timeout))
    } else {
        (End::HalfCloseTimeout, options.half_close_timeout)
    }
}

/// A dead side, and everything it sent is acknowledged by the living one.
fn is_ready_to_reset(kernel: &Kernel) -> bool {
    pair(kernel).is_some_and(|pair| {
        pair.iter().any(|(dead, alive)| {
            dead.rst_told.is_some()
                && alive.rst_told.is_none()
                && alive.sent == dead.arrived
                && !alive.lacks_header()
                && alive.unacknowledged == 0
        })
    })
}

/// After every call that leaves it alive.
pub(crate) fn check_live(stage: &Stage) {
    let mut wrong = Vec::new();
    let told = stage
        .session
        .as_ref()
        .is_some_and(|session| session.backend().is_some());
    let is_there = stage.kernel.borrow().winner.is_some();
    if told != is_there {
        let what = format!("has a backend: {is_there}, tells of one: {told}");
        stage.kernel.borrow_mut().violate(what);
    }
    {
        let kernel = stage.kernel.borrow();
        let Some(pair) = pair(&kernel) else {
            let is_gone = kernel.sockets[CLIENT].rst_told.is_some();
            drop(kernel);
            if is_gone {
                let mut kernel = stage.kernel.borrow_mut();
                kernel.violate("the client is gone, and it goes on connecting".to_owned());
            }
            return;
        };
        let is_held_up = kernel.was_short_of_memory || stage.is_queued;
        for (dead, alive) in pair {
            let was_delivered = alive.sent == dead.arrived && !alive.lacks_header() && alive.unacknowledged == 0;
            if dead.rst_told == Some(kernel.call) && alive.rst_told.is_none() && was_delivered && !is_held_up {
                wrong.push(format!("{:?} is gone, nothing is on its way, and it lives", dead.side));
            }
        }
        let ways_with_bytes = pair
            .iter()
            .filter(|(source, target)| source.read > target.sent && target.rst_told.is_none())
            .count();
        if kernel.pipes_out > ways_with_bytes {
            wrong.push(format!(
                "{} pipes for {ways_with_bytes} ways that hold bytes",
                kernel.pipes_out
            ));
        }
        if pair.iter().all(|(side, _)| side.is_finished) {
            wrong.push("both FINs are passed on, and it lives".to_owned());
        }
        if pair.iter().all(|(side, _)| side.rst_told.is_some()) {
            wrong.push("both sides are gone, and it lives".to_owned());
        }
        for (source, target) in pair {
            let held = source.read - target.sent;
            let limit = stage.world.scratch.len().max(kernel.pipe_bytes) as u64;
            if held > limit {
                wrong.push(format!("holds {held} bytes for {:?}", target.side));
            }
        }
        let tally = stage.session.as_ref().map(lb::session::Session::tally);
        let sent = (pair[0].1.sent, pair[1].1.sent);
        if stage.world.moved != sent {
            wrong.push(format!("notes {:?} bytes of {sent:?}", stage.world.moved));
        }
        if tally.is_some_and(|tally| (tally.bytes_to_backend, tally.bytes_to_client) != sent) {
            wrong.push(format!("tallies {tally:?} of {sent:?}"));
        }
    }
    for what in wrong {
        stage.kernel.borrow_mut().violate(what);
    }
}

/// While nothing is under way to it: a session that rests must have a reason on each way.
pub(crate) fn check_rest(stage: &Stage) {
    let mut wrong = Vec::new();
    {
        let kernel = stage.kernel.borrow();
        let has_events = kernel.sockets.iter().any(|socket| socket.fd == Fd::Open && socket.edge);
        if stage.session.is_none()
            || stage.is_queued
            || !stage.fetched.is_empty()
            || has_events
            || kernel.was_short_of_memory
            || stage.deadline() <= kernel.now
        {
            return;
        }
        let is_waiting = |session: &lb::session::Session<_>| session.phase_name() == PhaseName::AwaitingHeader;
        if stage.session.as_ref().is_some_and(is_waiting) && kernel.sockets[CLIENT].has_news() {
            wrong.push("stalls: the client has sent something, and no event will come".to_owned());
        }
        for (source, target) in pair(&kernel).into_iter().flatten() {
            if source.fd != Fd::Open || target.fd != Fd::Open || target.rst_told.is_some() {
                continue;
            }
            let takes_more = target.room() > 0 && !target.is_short;
            if takes_more && source.has_news() {
                let (waiting, way) = (source.waiting, source.side);
                wrong.push(format!(
                    "stalls: {way:?} has {waiting} bytes or an end, and no event will come"
                ));
            }
            if target.owes_handshake && !target.rst_arrived {
                wrong.push(format!(
                    "{:?} doesn't see the connection, and nobody tells it",
                    target.side
                ));
            }
            if takes_more && (source.read > target.sent || target.lacks_header()) {
                wrong.push(format!("stalls: holds bytes that {:?} would take", target.side));
            }
        }
    }
    for what in wrong {
        stage.kernel.borrow_mut().violate(what);
    }
}

/// Whether a time has passed that something had to happen by.
pub(crate) fn check_overdue(stage: &mut Stage) {
    if stage.session.is_none() {
        return;
    }
    let mut wrong = None;
    {
        let kernel = stage.kernel.borrow();
        let options = &stage.world.options;
        let is_late = |due: Moment| kernel.now > due.plus(LATENESS);
        let is_waiting = stage
            .session
            .as_ref()
            .is_some_and(|session| session.phase_name() == PhaseName::AwaitingHeader);
        if is_waiting {
            let is_overdue = is_late(kernel.sockets[CLIENT].opened.plus(HEADER_TIMEOUT));
            wrong = is_overdue.then_some("who doesn't say who it is outlives its time");
        } else if kernel.winner.is_none() {
            let overdue = kernel
                .sockets
                .iter()
                .skip(1)
                .any(|attempt| attempt.fd == Fd::Open && is_late(attempt.opened.plus(options.connect_timeout)));
            wrong = overdue.then_some("a connect outlives its timeout");
        } else {
            let (end, silence_max) = silence(&kernel, options);
            // Who still takes what the kernel has for it isn't silent; that is seen at the latest when the time seems to be up.
            let heard_at = kernel.active_at.max(kernel.acknowledged_at.plus(silence_max));
            if is_late(heard_at.plus(silence_max)) {
                wrong = Some(match end {
                    End::IdleTimeout => "outlives idle_timeout",
                    _ => "outlives half_close_timeout",
                });
            }
            if is_ready_to_reset(&kernel) {
                let since = *stage.delivered_since.get_or_insert(kernel.now);
                let within = if kernel.faults.later > 0 {
                    RESET_WITHIN_WHEN_SHORT
                } else {
                    RESET_WITHIN
                };
                if is_late(since.plus(within)) {
                    wrong = Some("everything is delivered, and the reset isn't passed on");
                }
            }
        }
    }
    if let Some(what) = wrong {
        stage.kernel.borrow_mut().violate(what.to_owned());
    }
}

/// How it ended, against what happened.
pub(crate) fn check_end(stage: &Stage, end: End) {
    let wrong = {
        let kernel = stage.kernel.borrow();
        let mut wrong = match pair(&kernel) {
            None => end_without_backend(stage, &kernel, end),
            Some([(client, backend), _]) => match end {
                End::ClientClosed => end_in_order(client, backend),
                End::BackendClosed => end_in_order(backend, client),
                End::ClientReset => end_by_reset(stage, &kernel, client, backend),
                End::BackendReset => end_by_reset(stage, &kernel, backend, client),
                End::IdleTimeout | End::HalfCloseTimeout => end_by_time(stage, &kernel, end),
                End::MaxSession => {
                    let most = stage.world.options.max_session;
                    let is_due = most.is_some_and(|most| kernel.now >= Moment::START.plus(most));
                    (!is_due).then(|| "before its time".to_owned())
                }
                _ => Some("which a relay can't".to_owned()),
            },
        };
        let ends_in_order = matches!(end, End::ClientClosed | End::BackendClosed);
        for (id, socket) in kernel.sockets.iter().enumerate() {
            match socket.fd {
                Fd::Open => wrong = Some(format!("socket {id} is open")),
                Fd::Closed if !ends_in_order => wrong = Some(format!("socket {id} is closed as if in order")),
                Fd::Closed | Fd::Reset => {}
            }
        }
        let tries_max = usize::from(stage.world.options.connect_retries) + 1;
        let tries = stage.world.picked.len();
        if tries > tries_max {
            wrong = Some(format!("{tries} tries"));
        }
        if stage.world.redispatches as usize != tries.saturating_sub(1) {
            wrong = Some(format!(
                "{} redispatches noted of {tries} tries",
                stage.world.redispatches
            ));
        }
        if let Some(tally) = stage.session.as_ref().map(lb::session::Session::tally) {
            let sent = pair(&kernel).map_or((0, 0), |pair| (pair[0].1.sent, pair[1].1.sent));
            let told = (tally.bytes_to_backend, tally.bytes_to_client);
            if told != sent || stage.world.moved != sent {
                wrong = Some(format!(
                    "tells {told:?}, notes {:?} of {sent:?} bytes",
                    stage.world.moved
                ));
            }
            if usize::from(tally.retries) != tries.saturating_sub(1)
                || tally.connect.is_some() != kernel.winner.is_some()
            {
                wrong = Some(format!("tells {tally:?} of {tries} tries"));
            }
        }
        wrong
    };
    if let Some(wrong) = wrong {
        stage.kernel.borrow_mut().violate(format!("ends as {end}: {wrong}"));
    }
}

fn end_without_backend(stage: &Stage, kernel: &Kernel, end: End) -> Option<String> {
    let world = &stage.world;
    let tries = world.picked.len();
    let tries_max = usize::from(world.options.connect_retries) + 1;
    match end {
        End::Refused => refusal(stage, kernel),
        End::ClientClosed => {
            let client = &kernel.sockets[CLIENT];
            let said_nothing = client.fin_told.is_some() && client.arrived == 0 && client.header_arrived == 0;
            (!said_nothing || world.introduced.is_some()).then(|| "without a backend, and it had spoken".to_owned())
        }
        End::NoBackend if tries == 0 => None,
        End::ClientReset if kernel.sockets[CLIENT].rst_told.is_some() => None,
        End::ConnectFailed if tries == 0 || world.failures.len() != tries => {
            Some(format!("{tries} tries, {} failures", world.failures.len()))
        }
        End::ConnectFailed if tries < tries_max && world.picks_in_vain == 0 => Some("backends were left".to_owned()),
        End::ConnectFailed => None,
        _ => Some("which a connect can't".to_owned()),
    }
}

/// Who may be turned away, and why.
fn refusal(stage: &Stage, kernel: &Kernel) -> Option<String> {
    let (world, client) = (&stage.world, &kernel.sockets[CLIENT]);
    let is_whole = client.header_read == client.header_in.len();
    let is_fair = match world.refusals.as_slice() {
        [RefusedReason::ProxyTimeout] => world.introduced.is_none() && kernel.now >= client.opened.plus(HEADER_TIMEOUT),
        [RefusedReason::ProxyMalformed] if world.expected.is_some() => !is_whole && client.fin_told.is_some(),
        [RefusedReason::ProxyMalformed] => true,
        [RefusedReason::ServiceLimit] => world.is_refusing && world.introduced.is_some(),
        _ => false,
    };
    (!is_fair).then(|| format!("for {:?}", world.refusals))
}

fn end_in_order(first: &Tcp, second: &Tcp) -> Option<String> {
    let (Some(first_at), Some(second_at)) = (first.fin_told, second.fin_told) else {
        return Some("a FIN is missing".to_owned());
    };
    if first_at > second_at {
        return Some("the other finished first".to_owned());
    }
    for (source, target) in [(first, second), (second, first)] {
        if source.rst_told.is_some() {
            return Some(format!("{:?} had reset", source.side));
        }
        if target.sent != source.arrived || target.lacks_header() || !target.is_finished || target.fd != Fd::Closed {
            return Some(format!("{:?} didn't get everything", target.side));
        }
    }
    None
}

fn end_by_reset(stage: &Stage, kernel: &Kernel, dead: &Tcp, alive: &Tcp) -> Option<String> {
    let Some(dead_at) = dead.rst_told else {
        let is_wronged = !dead.is_cut_off || alive.sent < dead.arrived;
        return is_wronged.then(|| "it hadn't reset, nor vanished with all it sent passed on".to_owned());
    };
    match alive.rst_told {
        Some(at) if at < dead_at => Some("the other reset first".to_owned()),
        Some(_) => None,
        None if kernel.now >= kernel.active_at.plus(stage.world.options.half_close_timeout) => None,
        None if alive.lacks_header() => Some("it has no header".to_owned()),
        None if alive.sent < dead.arrived => Some(format!("{} of {} bytes passed on", alive.sent, dead.arrived)),
        None if alive.unacknowledged > 0 => Some(format!("{} bytes on their way", alive.unacknowledged)),
        None => None,
    }
}

fn end_by_time(stage: &Stage, kernel: &Kernel, end: End) -> Option<String> {
    let options = &stage.world.options;
    let (expected, silence_max) = silence(kernel, options);
    if end != expected {
        return Some(format!("instead of {expected}"));
    }
    let silence = kernel.now.since(kernel.active_at);
    (silence < silence_max).then(|| format!("after {silence:?}"))
}

/// When the session is gone, nothing it borrowed is.
pub(crate) fn check_given_back(stage: &Stage) {
    let (pipes, holds, races) = {
        let kernel = stage.kernel.borrow();
        (kernel.pipes_out, stage.world.holds.get(), stage.world.races.get())
    };
    let is_open = |socket: &Tcp| socket.fd == Fd::Open;
    let open = stage
        .kernel
        .borrow()
        .sockets
        .iter()
        .filter(|socket| is_open(socket))
        .count();
    if pipes + holds + races + open > 0 {
        let what = format!("leaks {open} sockets, {pipes} pipes, {holds} holds, {races} races");
        stage.kernel.borrow_mut().violate(what);
    }
}
