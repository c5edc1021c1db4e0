//! Backends that act by script, and addresses where nobody answers.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::{PATIENCE, Peer};

/// A listener in this process.
pub(crate) struct Backend {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    /// Set before the listener ends, so that its threads know that it is meant.
    stopped: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

impl Backend {
    /// Listens; connections wait until [`Backend::accept`], or for ever: a silent backend.
    pub(crate) fn listen() -> Self {
        Self::listen_at("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn listen_at(address: SocketAddr) -> Self {
        let listener = listener_at(address);
        let address = listener.local_addr().unwrap();
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            listener: Arc::new(listener),
            address,
            stopped: Arc::default(),
            accepted: Arc::default(),
        }
    }

    /// Plays `part` with each connection, in a thread of its own.
    pub(crate) fn serve(part: impl Fn(&Peer) + Send + Sync + 'static) -> Self {
        Self::serve_at("127.0.0.1:0".parse().unwrap(), part)
    }

    pub(crate) fn serve_at(address: SocketAddr, part: impl Fn(&Peer) + Send + Sync + 'static) -> Self {
        let backend = Self::listen_at(address);
        let part = Arc::new(part);
        let (listener, stopped, accepted) = (
            Arc::clone(&backend.listener),
            Arc::clone(&backend.stopped),
            Arc::clone(&backend.accepted),
        );
        std::thread::spawn(move || {
            while !stopped.load(SeqCst) {
                let stream = match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                        ) =>
                    {
                        continue;
                    }
                    Err(_) => return,
                };
                accepted.fetch_add(1, SeqCst);
                let part = Arc::clone(&part);
                std::thread::spawn(move || part(&Peer::new(stream)));
            }
        });
        backend
    }

    /// Says `name` and a newline first, then sends back what comes.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::named_at("127.0.0.1:0".parse().unwrap(), name)
    }

    pub(crate) fn named_at(address: SocketAddr, name: &'static str) -> Self {
        Self::serve_at(address, move |peer| {
            // A check has gone again by now.
            if peer.is_sent(format!("{name}\n").as_bytes()) {
                peer.echo();
            }
        })
    }

    pub(crate) fn echo() -> Self {
        Self::echo_at("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn echo_at(address: SocketAddr) -> Self {
        Self::serve_at(address, Peer::echo)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that [`Backend::serve`] has taken.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    pub(crate) fn accept(&self) -> Peer {
        match self.listener.accept() {
            Ok((stream, _)) => Peer::new(stream),
            Err(error) if error.kind() == ErrorKind::Interrupted => self.accept(),
            Err(error) => panic!("nobody connected to the backend {}: {error}", self.address),
        }
    }

    /// Nobody listens any more, the port is kept: connects are refused until the value is dropped.
    pub(crate) fn stop(self) -> Refusing {
        let address = self.address;
        drop(self);
        Refusing::at(address)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopped.store(true, SeqCst);
        // Wakes the thread in accept(2) with EINVAL, and refuses from now on.
        let done = SockRef::from(&*self.listener).shutdown(std::net::Shutdown::Both);
        drop(done);
    }
}

fn socket(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket
}

fn listener_at(address: SocketAddr) -> TcpListener {
    let socket = socket(address);
    super::eventually(&format!("{address} is free"), || socket.bind(&address.into()).ok());
    socket.listen(1024).unwrap();
    socket.into()
}

/// An address whose port is taken and where nobody listens.
pub(crate) struct Refusing(Socket, SocketAddr);

impl Refusing {
    pub(crate) fn bind() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    fn at(address: SocketAddr) -> Self {
        let socket = socket(address);
        super::eventually(&format!("{address} is free"), || socket.bind(&address.into()).ok());
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self(socket, address)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.1
    }

    /// Gives the port free.
    pub(crate) fn release(self) -> SocketAddr {
        drop(self.0);
        self.1
    }
}

/// An address that never answers a SYN: its queue is full, and the kernel drops what comes then.
pub(crate) struct Blackhole {
    _listener: Socket,
    _queue: Vec<TcpStream>,
    address: SocketAddr,
}

impl Blackhole {
    pub(crate) fn open() -> Self {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = socket(any);
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        // The queue is full when two in a row had no answer: one alone may be the machine's business.
        let mut silent = 0;
        while silent < 2 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(150)) {
                Ok(stream) => {
                    silent = 0;
                    queue.push(stream);
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => silent += 1,
                Err(error) => panic!("filling the queue of {address}: {error}"),
            }
            assert!(queue.len() < 16, "the queue of {address} is never full");
        }
        Self {
            _listener: listener,
            _queue: queue,
            address,
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}
