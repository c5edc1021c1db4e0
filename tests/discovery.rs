//! `[service.discovery]`: backends that are found, over real sockets, files and servers, with traffic under way.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use serde_json::{Value, json};

use super::common::{Backend, Balancer, Config, Http, Peer, Program, at_once, eventually, has, tell};

mod dns;
mod etcd;
mod file;
mod http;

const ADMIN: &str = "listen = \"127.0.0.1:0\"";
const SERVICE: &str = "/api/v1/services/echo";
/// What every test allows: everything here is on this machine.
const LOCAL: &str = "allow = [\"127.0.0.0/8\"]\n";

fn start(config: Config) -> (Balancer, Http, Config) {
    let config = config.admin(ADMIN);
    let lb = Balancer::start(&config);
    let admin = lb.admin();
    (lb, admin, config)
}

/// The addresses of the backends that take connections, sorted.
fn taking(admin: &Http) -> Vec<SocketAddr> {
    let service = admin.json(SERVICE);
    let takes = |backend: &&Value| backend["state"] != json!("draining");
    let backends = service["backends"].as_array().unwrap().iter().filter(takes);
    let mut addresses: Vec<SocketAddr> = backends
        .map(|backend| backend["address"].as_str().unwrap().parse().unwrap())
        .collect();
    addresses.sort_unstable();
    addresses
}

/// Waits until exactly these take connections.
fn wait_for(admin: &Http, wanted: &[SocketAddr]) {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    eventually(&format!("the backends {wanted:?}"), || {
        (taking(admin) == wanted).then_some(())
    });
}

/// A port that is free now, for UDP too.
fn free_port() -> u16 {
    eventually("a port that is free for TCP and UDP", || {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        std::net::UdpSocket::bind(("127.0.0.1", port)).ok().map(|_| port)
    })
}

/// Waits until the API says that something is wrong, and `text` is in what it says.
fn wait_for_error(admin: &Http, text: &str) -> Value {
    eventually(&format!("an error with {text:?}, not {}", admin.json(SERVICE)), || {
        let discovery = admin.json(SERVICE)["discovery"].clone();
        let is_wanted = discovery["last_error"]
            .as_str()
            .is_some_and(|error| error.contains(text));
        is_wanted.then_some(discovery)
    })
}

/// What `lb status` prints.
fn status(admin: &Http) -> String {
    let mut lb = Command::new(env!("CARGO_BIN_EXE_lb"));
    let output = lb
        .args(["--admin", &admin.address().to_string(), "status"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until nothing is wrong.
fn wait_for_success(admin: &Http) -> Value {
    eventually("all is well with discovery", || {
        let discovery = admin.json(SERVICE)["discovery"].clone();
        (discovery["last_error"].is_null() && discovery["last_success"].is_string()).then_some(discovery)
    })
}

/// Says when it is over, however it ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Changes with `change` while three clients stay and others come and go: none may be cut or get a wrong byte.
fn under_traffic(address: SocketAddr, change: impl Fn() + Sync) {
    let is_over = AtomicBool::new(false);
    let served = at_once(4, |thread| {
        if thread == 0 {
            // Also if it fails: the others would go on for ever.
            let _over = Over(&is_over);
            change();
            return 1;
        }
        let (mut count, staying) = (0, Peer::connect(address));
        while !is_over.load(SeqCst) {
            // One that rests for longer than anybody's patience would be ended by the backends of these tests.
            staying.send(b"again").expect(b"again");
            let coming = Peer::connect(address);
            coming.send(b"whole").expect(b"whole").fin().expect_eof();
            count += 1;
        }
        staying.send(b"still").expect(b"still").fin().expect_eof();
        count
    });
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
}

/// Two changes a second are put in force since then, and the first, however many there were.
fn assert_paced(lb: &Balancer, began: Instant) {
    let most = began.elapsed().as_secs_f64() * 2.0 + 2.0;
    let times = lb.lines_with(" added, ").len();
    assert!(times as f64 <= most, "{times} times, at most {most}");
}

/// `count` backends that send back what comes.
fn echoes(count: usize) -> Vec<Backend> {
    (0..count).map(|_| Backend::echo()).collect()
}

fn addresses(backends: &[&Backend]) -> Vec<SocketAddr> {
    backends.iter().map(|backend| backend.address()).collect()
}

/// A metric's sample of the service `echo` whose labels hold `label`.
fn updates(admin: &Http, result: &str) -> u64 {
    let page = admin.get("/metrics").text();
    let series = format!("lb_discovery_updates_total{{service=\"echo\",result=\"{result}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    line.map_or(0, |count| count.parse().unwrap())
}
