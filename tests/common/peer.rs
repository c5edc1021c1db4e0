//! One end of a TCP connection that acts by script: `Peer::connect(a).send(b"hi").fin().expect(b"ok").expect_eof()`.
//!
//! Every step has a deadline, and a step that fails prints all steps before it.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;
use super::noise::{Noise, difference};

/// Bytes that a step reads or writes at once.
const CHUNK: usize = 65_536;

/// One end.
pub(crate) struct Peer {
    stream: TcpStream,
    steps: Mutex<Vec<String>>,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE);
        Self::new(stream.unwrap_or_else(|error| panic!("connect to {address}: {error}")))
    }

    /// The same from one address of the loopback network, with any port.
    pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let peer = Self::connect_from_unless_reset(source, address);
        peer.unwrap_or_else(|| panic!("connect from {source} to {address}: reset"))
    }

    /// `None`: a RST was there before connect(2) had returned.
    pub(crate) fn connect_from_unless_reset(source: Ipv4Addr, address: SocketAddr) -> Option<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        match socket.connect_timeout(&address.into(), PATIENCE) {
            Ok(()) => Some(Self::new(socket.into())),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("connect from {source} to {address}: {error}"),
        }
    }

    /// With so small a buffer for what comes, set before the connect: its window is never larger.
    pub(crate) fn connect_small(address: SocketAddr, receive_bytes: usize) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(receive_bytes).unwrap();
        let connected = socket.connect_timeout(&address.into(), PATIENCE);
        connected.unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        Self::new(socket.into())
    }

    /// `None`: a RST was there before connect(2) had returned.
    pub(crate) fn connect_unless_reset(address: SocketAddr) -> Option<Self> {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => Some(Self::new(stream)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("connect to {address}: {error}"),
        }
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            steps: Mutex::default(),
        }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    fn note(&self, step: String) {
        self.steps.lock().unwrap().push(step);
    }

    fn fail(&self, what: &str) -> ! {
        let mut story = String::new();
        for step in self.steps.lock().unwrap().iter() {
            writeln!(story, "  {step}").unwrap();
        }
        panic!("{what}; before that:\n{story}");
    }

    /// With a timeout set, a wait is interrupted even by a signal that nobody handles, such as SIGCONT (signal(7)): it begins again.
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.stream).read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> &Self {
        if let Err(error) = (&self.stream).write_all(bytes) {
            self.fail(&format!("send of {} bytes: {error}", bytes.len()));
        }
        self.note(format!("sent {} bytes", bytes.len()));
        self
    }

    /// Whether that could be sent: the other side may have gone.
    pub(crate) fn is_sent(&self, bytes: &[u8]) -> bool {
        (&self.stream).write_all(bytes).is_ok()
    }

    /// Whether these bytes come back (a backend has it), or a RST (nobody has).
    pub(crate) fn is_echoed(&self, bytes: &[u8]) -> bool {
        let mut got = vec![0; bytes.len()];
        if !self.is_sent(bytes) {
            return false;
        }
        match (&self.stream).read_exact(&mut got) {
            Ok(()) if got == bytes => true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            other => self.fail(&format!("{other:?}, {got:?}: neither an echo nor RST")),
        }
    }

    /// Sends `count` bytes of the noise of `seed`.
    pub(crate) fn send_noise(&self, seed: u64, count: usize) -> &Self {
        let mut noise = Noise::new(seed);
        let mut chunk = vec![0; CHUNK];
        let mut left = count;
        while left > 0 {
            let part = &mut chunk[..left.min(CHUNK)];
            noise.fill(part);
            if let Err(error) = (&self.stream).write_all(part) {
                self.fail(&format!("send of {count} bytes, {left} before the end: {error}"));
            }
            left -= part.len();
        }
        self.note(format!("sent {count} bytes of noise {seed}"));
        self
    }

    /// The bytes and the FIN in one segment.
    pub(crate) fn send_with_fin(&self, bytes: &[u8]) -> &Self {
        let socket = SockRef::from(&self.stream);
        socket.set_tcp_nodelay(false).unwrap();
        socket.set_tcp_cork(true).unwrap();
        self.send(bytes).fin()
    }

    /// Sends noise until nobody has taken any for `patience`: everything on the way is full. How much that was.
    pub(crate) fn send_until_stuck(&self, seed: u64, patience: Duration) -> usize {
        self.stream.set_write_timeout(Some(patience)).unwrap();
        let mut noise = Noise::new(seed);
        let mut chunk = vec![0; CHUNK];
        let mut sent = 0;
        'sending: loop {
            noise.fill(&mut chunk);
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                match (&self.stream).write(rest) {
                    Ok(bytes) => {
                        sent += bytes;
                        rest = &rest[bytes..];
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break 'sending,
                    Err(error) => self.fail(&format!("send, after {sent} bytes: {error}")),
                }
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        self.note(format!("sent {sent} bytes of noise {seed}, and is stuck"));
        sent
    }

    pub(crate) fn fin(&self) -> &Self {
        if let Err(error) = self.stream.shutdown(Shutdown::Write) {
            self.fail(&format!("FIN: {error}"));
        }
        self.note("FIN".to_owned());
        self
    }

    /// Ends the connection by RST.
    pub(crate) fn reset(self) {
        self.reset_now();
    }

    /// The same, when it is dropped at the latest.
    pub(crate) fn reset_now(&self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Bytes that were sent and that the other end's kernel hasn't acknowledged: the fifth field of its line in `/proc/net/tcp`
    /// is tx_queue:rx_queue (proc(5)).
    fn unacknowledged(&self) -> usize {
        let inode = std::fs::read_link(format!("/proc/self/fd/{}", self.stream.as_raw_fd())).unwrap();
        let inode = inode
            .to_string_lossy()
            .trim_matches(|letter: char| !letter.is_ascii_digit())
            .to_owned();
        let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let mut lines = table
            .lines()
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        let line = lines
            .find(|fields| fields.get(9) == Some(&inode.as_str()))
            .expect("its line");
        usize::from_str_radix(line[4].split_once(':').unwrap().0, 16).unwrap()
    }

    /// Waits until the other end's kernel has all that was sent: a reset can't destroy it any more.
    pub(crate) fn wait_until_acknowledged(&self) -> &Self {
        super::eventually("everything sent is acknowledged", || {
            (self.unacknowledged() == 0).then_some(())
        });
        self
    }

    /// Sends until nobody takes any more, then resets: how many bytes of the noise the other end's kernel had taken.
    pub(crate) fn send_until_stuck_then_reset(self, seed: u64) -> usize {
        let sent = self.send_until_stuck(seed, Duration::from_millis(300));
        let taken = sent - self.unacknowledged();
        self.reset();
        taken
    }

    /// Sends the noise of `seed` until that isn't possible any more, however long nobody takes it.
    pub(crate) fn send_noise_until_end(&self, seed: u64) {
        self.stream.set_write_timeout(None).unwrap();
        let mut noise = Noise::new(seed);
        let mut chunk = vec![0; CHUNK];
        loop {
            noise.fill(&mut chunk);
            if (&self.stream).write_all(&chunk).is_err() {
                return;
            }
        }
    }

    /// Sends until that isn't possible any more: the other side has gone.
    pub(crate) fn send_until_end(&self) -> &Self {
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        loop {
            match (&self.stream).write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return self;
                }
                Err(error) => self.fail(&format!("send until the end: {error}")),
            }
        }
    }

    pub(crate) fn expect(&self, wanted: &[u8]) -> &Self {
        let got = self.take(wanted.len());
        if got != wanted {
            self.fail(&format!(
                "\"{}\" came, not \"{}\"",
                got.escape_ascii(),
                wanted.escape_ascii()
            ));
        }
        self.note(format!("got \"{}\"", wanted.escape_ascii()));
        self
    }

    /// The next `count` bytes.
    pub(crate) fn take(&self, count: usize) -> Vec<u8> {
        let mut got = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.read(&mut got[filled..]) {
                Ok(0) => self.fail(&format!("EOF after {filled} of {count} bytes")),
                Ok(bytes) => filled += bytes,
                Err(error) => self.fail(&format!("{error} after {filled} of {count} bytes")),
            }
        }
        got
    }

    pub(crate) fn expect_noise(&self, seed: u64, count: usize) -> &Self {
        let (mut noise, mut got, mut wanted) = (Noise::new(seed), vec![0; CHUNK], vec![0; CHUNK]);
        let mut read = 0;
        while read < count {
            let most = CHUNK.min(count - read);
            match self.read(&mut got[..most]) {
                Ok(0) => self.fail(&format!("EOF after {read} of {count} bytes of noise {seed}")),
                Ok(bytes) => {
                    noise.fill(&mut wanted[..bytes]);
                    if let Some(place) = difference(&wanted[..bytes], &got[..bytes]) {
                        self.fail(&format!("byte {} of noise {seed} is wrong", read + place));
                    }
                    read += bytes;
                }
                Err(error) => self.fail(&format!("{error} after {read} of {count} bytes of noise {seed}")),
            }
        }
        self.note(format!("got {count} bytes of noise {seed}"));
        self
    }

    pub(crate) fn expect_eof(&self) -> &Self {
        match self.read(&mut [0; 64]) {
            Ok(0) => self.note("got FIN".to_owned()),
            Ok(bytes) => self.fail(&format!("{bytes} bytes came, not FIN")),
            Err(error) => self.fail(&format!("{error}, not FIN")),
        }
        self
    }

    pub(crate) fn expect_reset(&self) -> &Self {
        match self.read(&mut [0; 64]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.note("got RST".to_owned()),
            Ok(0) => self.fail("FIN came, not RST"),
            Ok(bytes) => self.fail(&format!("{bytes} bytes came, not RST")),
            Err(error) => self.fail(&format!("{error}, not RST")),
        }
        self
    }

    /// A RST behind a FIN: read(2) goes on to tell the FIN, so the socket's error is asked for (`EPIPE`, tcp_reset() in the kernel).
    pub(crate) fn expect_reset_after_fin(&self) -> &Self {
        super::eventually("a RST behind the FIN", || self.stream.take_error().unwrap());
        self.note("got RST".to_owned());
        self
    }

    /// Whatever comes before it, a RST is the end.
    pub(crate) fn expect_reset_after_any_bytes(&self) -> &Self {
        loop {
            match self.read(&mut [0; CHUNK]) {
                Ok(0) => self.fail("FIN came, not RST"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.note("got RST".to_owned());
                    return self;
                }
                Err(error) => self.fail(&format!("{error}, not RST")),
            }
        }
    }

    /// Nothing comes for `span`, not even an end.
    pub(crate) fn expect_silence(&self, span: Duration) -> &Self {
        self.stream.set_read_timeout(Some(span)).unwrap();
        match self.read(&mut [0; 64]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(0) => self.fail("FIN came, not silence"),
            Ok(bytes) => self.fail(&format!("{bytes} bytes came, not silence")),
            Err(error) => self.fail(&format!("{error}, not silence")),
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.note(format!("silence for {span:?}"));
        self
    }

    /// The next line, without its newline.
    pub(crate) fn line(&self) -> String {
        let mut line = Vec::new();
        loop {
            match self.take(1)[0] {
                b'\n' => return String::from_utf8(line).unwrap(),
                byte => line.push(byte),
            }
        }
    }

    /// A request of HTTP/1.1, up to its empty line.
    pub(crate) fn request_head(&self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.take(1));
        }
        String::from_utf8(head).unwrap()
    }

    /// Whether a line comes (a backend has it), or a RST (nobody has).
    pub(crate) fn is_greeted(&self) -> bool {
        match self.read(&mut [0; 1]) {
            Ok(1) => {
                self.line();
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            other => self.fail(&format!("{other:?}, neither a greeting nor RST")),
        }
    }

    /// The next byte, if the connection lives so long.
    pub(crate) fn take_unless_reset(&self) -> Option<[u8; 1]> {
        let mut byte = [0];
        matches!(self.read(&mut byte), Ok(1)).then_some(byte)
    }

    /// Whether the next thing that comes is RST, and not a byte or FIN.
    pub(crate) fn is_reset_next(&self) -> bool {
        matches!(self.read(&mut [0; 64]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
    }

    /// Whether FIN or RST is there already; nothing is waited for, no byte is taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let seen = self.stream.peek(&mut [0; 1]);
        self.stream.set_nonblocking(false).unwrap();
        match seen {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Sends back all that comes, until FIN or RST.
    pub(crate) fn echo(&self) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(bytes @ 1..) = self.read(&mut chunk) {
            if (&self.stream).write_all(&chunk[..bytes]).is_err() {
                return;
            }
        }
    }

    /// Waits for the end, FIN or RST, and takes no notice of what comes before.
    pub(crate) fn wait_for_end(&self) {
        self.stream.set_read_timeout(Some(PATIENCE * 6)).unwrap();
        let mut chunk = [0; 4096];
        while matches!(self.read(&mut chunk), Ok(1..)) {}
    }

    /// How long until the connection ends, by RST.
    pub(crate) fn time_to_reset(&self, from: Instant) -> Duration {
        self.expect_reset_after_any_bytes();
        from.elapsed()
    }
}

/// Connects to a balancer that doesn't take it: a RST comes, and not a byte before.
pub(crate) fn expect_refusal(address: SocketAddr) {
    if let Some(peer) = Peer::connect_unless_reset(address) {
        peer.expect_reset();
    }
}

/// Who greets the next connection to a balancer: the name that [`Backend::named`](super::Backend::named) says.
pub(crate) fn greeted_by(address: SocketAddr) -> String {
    let client = Peer::connect(address);
    let name = client.line();
    client.fin().expect_eof();
    name
}

/// Connects again and again, each time for a whole exchange, until `is_over`; how often.
pub(crate) fn exchanges_until(is_over: &AtomicBool, address: SocketAddr) -> u64 {
    let mut count = 0;
    while !is_over.load(SeqCst) {
        let client = Peer::connect(address);
        client.send(b"whole").expect(b"whole").fin().expect_eof();
        count += 1;
    }
    count
}
