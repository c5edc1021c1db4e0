//! One probe: a connection that asks, listens and is reset.

use std::os::fd::OwnedFd;

use super::check::{Answer, Check, Plan};
use crate::sys::{self, Decision};
use crate::types::{BackendAddr, ConnectFailure, Readiness};

/// More than this of an answer is never read.
const ANSWER_BYTES_MAX: usize = 4096;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Good,
    /// Why, in words.
    Bad(String),
    /// This machine couldn't even ask.
    Inconclusive(String),
}

/// A probe under way. Dropped, it leaves no TIME_WAIT: it ends by RST.
#[derive(Debug)]
pub(super) struct Probe {
    socket: Option<OwnedFd>,
    address: BackendAddr,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    Asking { sent: usize, got: Vec<u8> },
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            sys::reset(socket);
        }
    }
}

impl Probe {
    pub(super) const fn new(socket: OwnedFd, address: BackendAddr) -> Self {
        Self {
            socket: Some(socket),
            address,
            stage: Stage::Connecting,
        }
    }

    /// What a connect that failed says.
    pub(super) fn judge_failure(failure: ConnectFailure, address: BackendAddr) -> Finding {
        let words = failure.words(address);
        if failure.is_local() {
            Finding::Inconclusive(words)
        } else {
            Finding::Bad(words)
        }
    }

    /// Its time is over.
    pub(super) fn on_deadline(&self) -> Finding {
        let address = self.address;
        Finding::Bad(match &self.stage {
            Stage::Connecting => format!("no answer from {address} in time"),
            Stage::Asking { got, .. } if got.is_empty() => {
                format!("{address} took the connection and said nothing in time")
            }
            Stage::Asking { got, .. } => {
                format!("{address} answered only {} in time", super::check::quote(got))
            }
        })
    }

    /// Its socket has news. `None`: it goes on.
    pub(super) fn on_event(&mut self, ready: Readiness, plan: &Plan) -> Option<Finding> {
        let check = &plan.check;
        let socket = self.socket.as_ref()?;
        if matches!(self.stage, Stage::Connecting) {
            if !ready.writable {
                return None;
            }
            match sys::take_error(socket) {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => match sys::connect_failure(&error) {
                    // Taken, and reset since: what it said first may be all that is asked for.
                    ConnectFailure::Reset if *check != Check::Tcp => {}
                    failure => return Some(Self::judge_failure(failure, self.address)),
                },
            }
            if *check == Check::Tcp && plan.opening.is_empty() {
                return Some(Finding::Good);
            }
            self.stage = Stage::Asking {
                sent: 0,
                got: Vec::new(),
            };
        }
        self.ask(plan);
        if *check == Check::Tcp {
            // It took the connection; that it took the header too is nothing that TCP would tell.
            return Some(Finding::Good);
        }
        self.listen(check)
    }

    fn ask(&mut self, plan: &Plan) {
        let (Some(socket), Stage::Asking { sent, .. }) = (&self.socket, &mut self.stage) else {
            return;
        };
        let opening_bytes = plan.opening.len();
        loop {
            let rest = plan.opening.get(*sent..).filter(|rest| !rest.is_empty());
            let question = plan.check.to_send().get(sent.saturating_sub(opening_bytes)..);
            let Some(rest) = rest.or(question).filter(|rest| !rest.is_empty()) else {
                return;
            };
            match sys::send(socket, rest) {
                Ok(bytes) => *sent = sent.saturating_add(bytes),
                Err(error) if sys::decide(&error) == Decision::Retry => {}
                // Whatever is wrong, what it has said already decides first.
                Err(_) => return,
            }
        }
    }

    fn listen(&mut self, check: &Check) -> Option<Finding> {
        let (Some(socket), Stage::Asking { got, .. }) = (&self.socket, &mut self.stage) else {
            return None;
        };
        let mut chunk = [0; 1024];
        loop {
            let bad = |what: &str| Some(Finding::Bad(format!("{} {what}", self.address)));
            match sys::receive(socket, &mut chunk) {
                Ok(0) => return bad("closed the connection before it had answered"),
                Ok(bytes) => got.extend_from_slice(chunk.get(..bytes).unwrap_or_default()),
                Err(error) => match sys::decide(&error) {
                    Decision::Retry => continue,
                    Decision::Wait => return None,
                    Decision::PeerGone => return bad("reset the connection before it had answered"),
                    _ => return Some(Finding::Inconclusive(format!("{}: {error}", self.address))),
                },
            }
            match check.judge(got) {
                Answer::Good => return Some(Finding::Good),
                Answer::Bad(words) => return bad(&words),
                Answer::Incomplete if got.len() >= ANSWER_BYTES_MAX => return bad("answered too much"),
                Answer::Incomplete => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{LocalPorts, Poller};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    /// Runs one real probe against a peer that plays its part once.
    fn probe(check: &Check, peer: impl FnOnce(TcpStream) + Send + 'static) -> Finding {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = std::thread::spawn(move || peer(listener.accept().unwrap().0));
        let finding = run(check, address);
        peer.join().unwrap();
        finding
    }

    fn run(check: &Check, address: SocketAddr) -> Finding {
        run_with(b"", check, address)
    }

    fn run_with(opening: &[u8], check: &Check, address: SocketAddr) -> Finding {
        let plan = Plan {
            opening: opening.to_vec(),
            check: check.clone(),
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            rise: 1,
            fall: 1,
        };
        let socket = sys::begin_connect(address, crate::types::Handshake::Plain, &mut LocalPorts::read(0)).unwrap();
        let mut poller = Poller::open().unwrap();
        poller.add(&socket, 1).unwrap();
        let mut probe = Probe::new(socket, BackendAddr(address));
        loop {
            poller.wait(Some(Duration::from_millis(500))).unwrap();
            let Some(event) = poller.event(0) else {
                return probe.on_deadline();
            };
            if let Some(finding) = probe.on_event(event.ready, &plan) {
                return finding;
            }
        }
    }

    fn ping() -> Check {
        Check::Expect {
            send: b"ping\n".to_vec(),
            expect: b"ping\n".to_vec(),
        }
    }

    fn answer(mut stream: TcpStream, chunks: &[&[u8]]) -> TcpStream {
        let mut asked = [0; 5];
        stream.read_exact(&mut asked).unwrap();
        for chunk in chunks {
            stream.write_all(chunk).unwrap();
        }
        stream
    }

    fn answer_at_once(mut stream: &TcpStream) {
        // A check of TCP alone is gone by now.
        let said = stream.write_all(b"ping\n");
        drop(said);
    }

    fn reset(stream: &TcpStream) {
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The peer stays until the probe is gone, however that ends.
    fn until_gone(mut stream: TcpStream) {
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
    }

    #[test]
    fn a_connect_that_is_answered_is_good_for_tcp() {
        assert_eq!(probe(&Check::Tcp, until_gone), Finding::Good);
    }

    #[test]
    fn what_a_check_opens_with_comes_before_its_question() {
        for (check, wanted) in [(ping(), &b"header|ping\n"[..]), (Check::Tcp, b"header|")] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let peer = std::thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let mut got = vec![0; wanted.len()];
                stream.read_exact(&mut got).map(|()| {
                    assert_eq!(got, wanted);
                    answer_at_once(&stream);
                })
            });
            assert_eq!(run_with(b"header|", &check, address), Finding::Good, "{check:?}");
            // A check of TCP alone ends by RST, which may overtake what it said.
            let heard = peer.join().unwrap();
            assert!(heard.is_ok() || check == Check::Tcp, "{heard:?}");
        }
    }

    #[test]
    fn a_refused_connect_is_bad() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // closed again
        assert_eq!(
            run(&Check::Tcp, address),
            Finding::Bad(format!("connection refused by {address}"))
        );
    }

    #[test]
    fn a_valid_answer_counts_however_the_connection_goes_on() {
        assert_eq!(
            probe(&ping(), |stream| until_gone(answer(stream, &[b"ping\n"]))),
            Finding::Good
        );
        assert_eq!(
            probe(&ping(), |stream| until_gone(answer(stream, &[b"pi", b"ng\n"]))),
            Finding::Good
        );
        assert_eq!(
            probe(&ping(), |stream| drop(answer(stream, &[b"ping\n"]))),
            Finding::Good,
            "then FIN"
        );
        assert_eq!(
            probe(&ping(), |stream| reset(&answer(stream, &[b"ping\n"]))),
            Finding::Good,
            "then RST"
        );
    }

    #[test]
    fn every_other_answer_is_bad_and_says_why() {
        for (what, finding) in [
            (
                "closed the connection before it had answered",
                probe(&ping(), |stream| drop(answer(stream, &[]))),
            ),
            (
                "closed the connection before it had answered",
                probe(&ping(), |stream| drop(answer(stream, &[b"pi"]))),
            ),
            (
                "reset the connection before it had answered",
                probe(&ping(), |stream| reset(&answer(stream, &[]))),
            ),
            (
                "instead of",
                probe(&ping(), |stream| until_gone(answer(stream, &[b"no\n"]))),
            ),
            (
                "said nothing in time",
                probe(&ping(), |stream| until_gone(answer(stream, &[]))),
            ),
            (
                "answered only \"pi\" in time",
                probe(&ping(), |stream| until_gone(answer(stream, &[b"pi"]))),
            ),
        ] {
            assert!(
                matches!(&finding, Finding::Bad(words) if words.contains(what)),
                "{what}: {finding:?}"
            );
        }
    }

    #[test]
    fn what_this_machine_lacks_is_inconclusive() {
        let address = BackendAddr("127.0.0.1:1".parse().unwrap());
        for failure in [
            ConnectFailure::NoLocalPort,
            ConnectFailure::NoDescriptor,
            ConnectFailure::NoMemory,
        ] {
            assert!(
                matches!(Probe::judge_failure(failure, address), Finding::Inconclusive(_)),
                "{failure:?}"
            );
        }
    }
}
