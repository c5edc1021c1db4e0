//! A real worker thread over real sockets: what a fault costs, and that nothing is lost on the way to it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::*;
use crate::balance::{Balancer, HashKey, PolicyName};
use crate::observe::{AccessLog, End, ProcessCounters};
use crate::pool::{Backend, Limiter, Member, Pool, TrafficFailure};
use crate::service::{ProxySettings, Service, ServiceSettings};
use crate::session::SessionOptions;
use crate::sys::Doorbell;
use crate::types::{BackendAddr, BackendId, ClientAddr, ServiceId, WorkerId};

const PATIENCE: Duration = Duration::from_secs(10);

struct Rig {
    worker: WorkerHandle,
    thread: JoinHandle<()>,
    counters: Arc<ProcessCounters>,
    process: Arc<Limiter>,
    service: Arc<Service>,
    backend: TcpListener,
    _failures: Receiver<TrafficFailure>,
}

fn service(name: &str, address: std::net::SocketAddr) -> Arc<Service> {
    let options = SessionOptions {
        connect_timeout: PATIENCE,
        connect_retries: 0,
        hedge_after: None,
        idle_timeout: PATIENCE,
        half_close_timeout: PATIENCE,
        peer_timeout: None,
        max_session: None,
        latency_every: None,
        is_introduced: false,
    };
    let backend = Backend::new(BackendId(0), "b", BackendAddr(address), None, 3, 1);
    let member = Member::new(Arc::new(backend), 1, 1);
    let balancer = Balancer::new(Pool::new(vec![member]), PolicyName::RoundRobin);
    let settings = ServiceSettings {
        options,
        connections_max: None,
        fence: crate::fence::FenceSettings::default(),
        hash_key: HashKey::SourceIp,
        sticky: None,
        proxy: ProxySettings::default(),
        seed: 1,
    };
    Arc::new(Service::new(ServiceId(0), name, settings, balancer))
}

fn rig() -> Rig {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = service("echo", backend.local_addr().unwrap());
    let counters = Arc::new(ProcessCounters::default());
    let (failed, failures) = bounded(8);
    let context = Context {
        access_log: AccessLog::default(),
        counters: Arc::clone(&counters),
        failures: failed,
        prober: Arc::new(Doorbell::new().unwrap()),
        acceptor: Arc::new(Doorbell::new().unwrap()),
        service: Arc::clone(&service),
        pipes_max: 4,
        races_max: 4,
    };
    let (worker, thread) = spawn(WorkerId(0), context).unwrap();
    let process = Arc::new(Limiter::new(None));
    Rig {
        worker,
        thread,
        counters,
        process,
        service,
        backend,
        _failures: failures,
    }
}

impl Rig {
    /// A client whose connection is on its way to the worker, as the acceptor would send it.
    fn client_of(&self, service: &Arc<Service>) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, address) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let ticket = Ticket::new(
            Arc::clone(service),
            Places {
                process: self.process.take().unwrap(),
                service: service.limiter.take().unwrap(),
                source: None,
            },
        );
        let arrival = Arrival {
            socket: OwnedFd::from(socket),
            client: ClientAddr(address),
            ticket,
        };
        self.worker.hand_over(arrival).unwrap();
        self.worker.wake();
        client
    }

    /// A session that stands, from both ends.
    fn pair(&self) -> (TcpStream, TcpStream) {
        let mut client = self.client_of(&self.service);
        let (mut backend, _) = self.backend.accept().unwrap();
        backend.set_read_timeout(Some(PATIENCE)).unwrap();
        exchange(&mut client, &mut backend);
        (client, backend)
    }

    fn stop(self) -> (Arc<Service>, Arc<Limiter>) {
        self.worker.order(Order::Finish);
        self.thread.join().unwrap();
        (self.service, self.process)
    }
}

fn exchange(client: &mut TcpStream, backend: &mut TcpStream) {
    let mut got = [0; 4];
    client.write_all(b"ping").unwrap();
    backend.read_exact(&mut got).unwrap();
    backend.write_all(&got).unwrap();
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
}

fn expect_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_fault_in_one_session_costs_that_session_alone() {
    let rig = rig();
    let (mut client, mut backend) = rig.pair();
    let faulty = service(super::real::FAULTY_SERVICE, rig.backend.local_addr().unwrap());
    expect_reset(&mut rig.client_of(&faulty));
    exchange(&mut client, &mut backend);
    assert_eq!(rig.counters.panics.load(Relaxed), 1);
    assert_eq!(faulty.counters.totals().active(), 0, "it is accounted for");
    drop((client, backend));
    let (service, process) = rig.stop();
    assert_eq!((service.counters.totals().active(), process.active()), (0, 0));
}

#[test]
fn a_fault_in_the_loop_costs_its_sessions_and_the_worker_goes_on() {
    let rig = rig();
    let (mut client, mut backend) = rig.pair();
    rig.worker.order(Order::Panic);
    expect_reset(&mut client);
    expect_reset(&mut backend);
    let (client, backend) = rig.pair();
    assert_eq!(rig.counters.panics.load(Relaxed), 1);
    assert_eq!(rig.worker.sessions(), 1, "the lost session is off the count");
    drop((client, backend));
    let (service, process) = rig.stop();
    let totals = service.counters.totals();
    assert_eq!((totals.accepted, totals.active(), process.active()), (2, 0, 0));
    assert_eq!(totals.ends[End::Shutdown as usize], 1);
}

#[test]
fn an_order_to_finish_outlives_a_fault_of_the_loop() {
    let rig = rig();
    let (mut client, _backend) = rig.pair();
    rig.worker.order(Order::Finish);
    rig.worker.order(Order::Panic);
    expect_reset(&mut client);
    let (done, is_done) = bounded::<()>(0);
    let thread = rig.thread;
    std::thread::spawn(move || {
        thread.join().unwrap();
        drop(done);
    });
    let outcome = is_done.recv_timeout(PATIENCE);
    assert_eq!(
        outcome,
        Err(crossbeam_channel::RecvTimeoutError::Disconnected),
        "the worker goes on"
    );
}

#[test]
fn connections_in_the_inbox_of_a_dropped_worker_are_closed_and_counted() {
    let (handle, mailbox) = WorkerHandle::new(WorkerId(0), Arc::new(Doorbell::new().unwrap())).unwrap();
    let mut rig = rig();
    let real = std::mem::replace(&mut rig.worker, handle);
    let mut clients: Vec<TcpStream> = (0..10).map(|_| rig.client_of(&rig.service)).collect();
    assert_eq!(rig.worker.sessions(), 10);
    drop(mailbox);
    rig.worker = real;
    for client in &mut clients {
        assert!(matches!(client.read(&mut [0; 8]), Ok(0) | Err(_)));
    }
    let (service, process) = rig.stop();
    assert_eq!((service.counters.totals().active(), process.active()), (0, 0));
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<crate::session::Session<super::real::Real>>() <= 256);
}

#[test]
fn what_arrives_after_the_end_of_all_ends_with_them() {
    let rig = rig();
    let (mut client, _backend) = rig.pair();
    rig.worker.order(Order::EndAll(End::Shutdown));
    expect_reset(&mut client);
    expect_reset(&mut rig.client_of(&rig.service));
    let (service, process) = rig.stop();
    assert_eq!((service.counters.totals().active(), process.active()), (0, 0));
    assert_eq!(service.counters.totals().ends[End::Shutdown as usize], 2);
}
