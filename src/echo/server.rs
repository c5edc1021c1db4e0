//! An echo server as a value: started with options, stopped for its totals.
//!
//! Used by `bin/tcp_server.rs` and by tests. Owns every thread and joins them all on `stop`.

use super::acceptor::{Acceptor, HandOff, LISTENER};
use super::counters::{Counters, EchoTotals};
use super::error::EchoError;
use super::http::{Facts, HttpServer};
use super::sizes::MessageSizes;
use super::worker::{WAKE, Worker, WorkerSetup};
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How to echo.
#[derive(Clone, Debug)]
pub struct EchoOptions {
    /// Name or address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// The server's name; `server-PORT` when there is none.
    pub id: Option<String>,
    /// Port of the HTTP side; 0 takes a free one.
    pub http_port: Option<u16>,
    /// How long each echo waits.
    pub delay: Duration,
    /// Sizes of requests and replies; a plain echo where there are none.
    pub sizes: Option<MessageSizes>,
    /// Threads that echo; one per core when there is no number.
    pub threads: Option<NonZeroUsize>,
}

/// A running echo server.
#[derive(Debug)]
pub struct EchoServer {
    id: String,
    address: SocketAddr,
    http_address: Option<SocketAddr>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    wakers: Vec<Arc<Waker>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl EchoServer {
    /// Listens and starts the threads. Raises the soft limit of file descriptors to the hard one.
    ///
    /// # Errors
    /// When the host has no address, an address can't be listened on or a thread can't be made.
    pub fn start(options: &EchoOptions) -> Result<Self, EchoError> {
        raise_descriptor_limit();
        let (listener, address) = listen(&options.host, options.port)?;
        let id = options
            .id
            .clone()
            .unwrap_or_else(|| format!("server-{}", address.port()));
        let http = match options.http_port {
            Some(port) => Some(listen(&options.host, port)?),
            None => None,
        };
        let workers = options
            .threads
            .or_else(|| thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let mut server = Self {
            id,
            address,
            http_address: http.as_ref().map(|(_, address)| *address),
            counters: Arc::new(Counters::new(workers)),
            stop: Arc::new(AtomicBool::new(false)),
            wakers: Vec::new(),
            threads: Vec::new(),
        };
        server
            .spawn_all(listener, http.map(|(listener, _)| listener), workers, options)
            .map_err(|source| EchoError::Thread { source })?;
        Ok(server)
    }

    /// The server's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The address it listens on, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the HTTP side, with the real port.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// What it has done so far.
    #[must_use]
    pub fn totals(&self) -> EchoTotals {
        self.counters.totals()
    }

    /// Ends every connection and thread, and tells what was done.
    pub fn stop(mut self) -> EchoTotals {
        self.end_threads();
        self.counters.totals()
    }

    fn end_threads(&mut self) {
        self.stop.store(true, Ordering::Release);
        for waker in &self.wakers {
            // Writing to an eventfd of ours fails only when it is closed, and then its thread is gone already.
            drop(waker.wake());
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked or failed has nothing more to end.
            drop(thread.join());
        }
    }

    fn spawn_all(
        &mut self,
        listener: TcpListener,
        http: Option<TcpListener>,
        workers: usize,
        options: &EchoOptions,
    ) -> io::Result<()> {
        let mut hand_offs = Vec::with_capacity(workers);
        for index in 0..workers {
            let (poll, waker) = self.event_loop()?;
            let (sender, inbox) = crossbeam_channel::unbounded();
            let worker = Worker::new(WorkerSetup {
                poll,
                inbox,
                stop: Arc::clone(&self.stop),
                counters: Arc::clone(&self.counters),
                index,
                delay: Some(options.delay).filter(|delay| !delay.is_zero()),
                sizes: options.sizes,
            });
            self.spawn(format!("echo-{index}"), move || worker.run())?;
            hand_offs.push(HandOff { inbox: sender, waker });
        }
        if let Some(mut listener) = http {
            let (poll, _) = self.event_loop()?;
            poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
            let facts = Facts {
                id: self.id.clone(),
                counters: Arc::clone(&self.counters),
            };
            let server = HttpServer::new(poll, listener, Arc::clone(&self.stop), facts);
            self.spawn("echo-http".to_owned(), move || server.run())?;
        }
        let (poll, _) = self.event_loop()?;
        let mut acceptor = Acceptor {
            poll,
            listener,
            stop: Arc::clone(&self.stop),
            workers: hand_offs,
        };
        acceptor
            .poll
            .registry()
            .register(&mut acceptor.listener, LISTENER, Interest::READABLE)?;
        self.spawn("echo-accept".to_owned(), move || acceptor.run())
    }

    fn event_loop(&mut self) -> io::Result<(Poll, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        self.wakers.push(Arc::clone(&waker));
        Ok((poll, waker))
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.end_threads();
    }
}

fn listen(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), EchoError> {
    let no_host = |source| EchoError::Host {
        host: host.to_owned(),
        source,
    };
    let address = (host, port)
        .to_socket_addrs()
        .map_err(no_host)?
        .next()
        .ok_or_else(|| no_host(io::ErrorKind::NotFound.into()))?;
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the TIME_WAIT of the last run's connections.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into());
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|source| EchoError::Listen { address, source })
}

/// 10,000 connections need as many descriptors; a soft limit of 1,024 is common.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused by a sandbox at worst: then the soft limit stays, and EMFILE is waited out.
    setrlimit(Resource::Nofile, raised).ok();
}
