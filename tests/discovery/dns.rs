//! Names of a real dnsmasq, and of a server that lies. Without Debian's dnsmasq-base the first are skipped, and said so.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::common::{PATIENCE, Signal};
use super::*;

fn config(port: u16, lines: &str) -> Config {
    Config::new().discovery(&format!(
        "kind = \"dns\"\nserver = \"127.0.0.1:{port}\"\ninterval_min = \"100ms\"\ninterval_max = \"200ms\"\n\
         timeout = \"1s\"\n{LOCAL}{lines}"
    ))
}

/// Backends at 127.0.0.2, 127.0.0.3, … with one port, as address records can tell them.
fn at_one_port(count: u8) -> (Vec<Backend>, u16) {
    let first = Backend::echo_at("127.0.0.2:0".parse().unwrap());
    let port = first.address().port();
    let more = (1..count).map(|number| Backend::echo_at((local(number), port).into()));
    (std::iter::once(first).chain(more).collect(), port)
}

fn local(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + number)
}

fn dnsmasq(port: u16, arguments: &[String]) -> Program {
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let mut command = Command::new("dnsmasq");
    command
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--pid-file=",
            "--log-facility=-",
        ])
        .args(["--listen-address=127.0.0.1", "--bind-interfaces", "--local-ttl=0"])
        // It would give up the rights that it needs to read the files of this test again.
        .arg(format!("--user={}", user.trim()))
        .arg(format!("--port={port}"))
        .args(arguments);
    let program = Program::captured(command);
    program.line("started, version");
    program
}

/// A dnsmasq that knows the addresses of db.test from a file.
struct Hosts {
    folder: TempDir,
    program: Program,
}

impl Hosts {
    fn start(port: u16, ips: &[IpAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::write(folder.path(), ips);
        let program = dnsmasq(
            port,
            &[format!("--addn-hosts={}", folder.path().join("hosts").display())],
        );
        Self { folder, program }
    }

    fn write(folder: &Path, ips: &[IpAddr]) {
        let lines = ips.iter().fold(String::new(), |mut lines, ip| {
            writeln!(lines, "{ip} db.test").unwrap();
            lines
        });
        std::fs::write(folder.join("hosts"), lines).unwrap();
    }

    fn become_these(&self, ips: &[IpAddr]) {
        Self::write(self.folder.path(), ips);
        self.program.signal(Signal::HUP);
    }
}

#[test]
fn address_records_are_followed_and_a_server_that_returns_is_asked_again() {
    if !has("dnsmasq", "dnsmasq-base", "names of a real DNS server") {
        return;
    }
    let ((servers, port), dns) = (at_one_port(3), free_port());
    let ips: Vec<IpAddr> = servers.iter().map(|server| server.address().ip()).collect();
    let mut hosts = Hosts::start(dns, &ips[..2]);
    let (lb, admin, _) = start(config(dns, &format!("name = \"db.test\"\nport = {port}")));
    wait_for(&admin, &addresses(&[&servers[0], &servers[1]]));
    assert_eq!(
        admin.json(SERVICE)["backends"][0]["name"],
        json!(format!("127.0.0.2-{port}"))
    );
    hosts.become_these(&ips[1..]);
    wait_for(&admin, &addresses(&[&servers[1], &servers[2]]));
    hosts.become_these(&[]);
    wait_for_error(&admin, "db.test.: ");
    assert_eq!(taking(&admin).len(), 2);
    hosts.program.kill();
    hosts = Hosts::start(dns, &ips[..1]);
    wait_for(&admin, &addresses(&[&servers[0]]));
    wait_for_success(&admin);
    drop(hosts);
    lb.finish();
}

#[test]
fn ipv6_records_are_followed() {
    if !has("dnsmasq", "dnsmasq-base", "AAAA records of a real DNS server") {
        return;
    }
    let server = Backend::echo_at("[::1]:0".parse().unwrap());
    let (dns, port) = (free_port(), server.address().port());
    let hosts = Hosts::start(dns, &["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
    let lines = format!("name = \"DB.test\"\nrecord = \"aaaa\"\nport = {port}");
    let text = config(dns, &lines).text().replace("[\"127.0.0.0/8\"]", "[\"::1/128\"]");
    assert!(text.contains("::1/128"));
    let config = Config::new().discovery(text.split("[service.discovery]\n").nth(1).unwrap());
    let (lb, admin, _) = start(config);
    wait_for(&admin, &[server.address()]);
    assert_eq!(admin.json(SERVICE)["backends"][0]["name"], json!(format!("--1-{port}")));
    let peer = Peer::connect(lb.address());
    peer.send(b"six").expect(b"six").fin().expect_eof();
    drop(hosts);
    lb.finish();
}

#[test]
fn srv_records_have_ports_weights_and_priorities() {
    if !has("dnsmasq", "dnsmasq-base", "SRV records of a real DNS server") {
        return;
    }
    let (servers, dns) = (echoes(3), free_port());
    let ports: Vec<u16> = servers.iter().map(|server| server.address().port()).collect();
    let record = |target: &str, port: u16, priority: u16, weight: u16| {
        format!("--srv-host=_db._tcp.test,{target}.test,{port},{priority},{weight}")
    };
    let hosts = ["one", "two"].map(|name| format!("--host-record={name}.test,127.0.0.1"));
    let mut arguments = vec![record("one", ports[0], 10, 3), record("two", ports[1], 10, 1)];
    arguments.extend(hosts);
    let mut server = dnsmasq(dns, &arguments);
    let (lb, admin, _) = start(config(dns, "name = \"_db._tcp.test\"\nrecord = \"srv\""));
    wait_for(&admin, &addresses(&[&servers[0], &servers[1]]));
    let one = admin.json(&format!("{SERVICE}/backends/one.test-{}", ports[0]));
    assert_eq!((&one["weight"], &one["backup"]), (&json!(3), &json!(false)));
    server.kill();
    arguments.push(record("two", ports[2], 20, 0));
    // Its target can't be found: the answer isn't followed.
    arguments.push(record("nowhere", 1, 10, 1));
    server = dnsmasq(dns, &arguments);
    wait_for_error(&admin, "nowhere.test.: ");
    assert_eq!(taking(&admin).len(), 2);
    server.kill();
    arguments.pop();
    server = dnsmasq(dns, &arguments);
    wait_for(&admin, &addresses(&[&servers[0], &servers[1], &servers[2]]));
    let spare = admin.json(&format!("{SERVICE}/backends/two.test-{}", ports[2]));
    assert_eq!((&spare["weight"], &spare["backup"]), (&json!(1), &json!(true)));
    drop(server);
    lb.finish();
}

/// What a server that lies answers.
#[derive(Clone, Debug)]
enum Lie {
    Addresses(Vec<Ipv4Addr>, u32),
    /// With a response code.
    Empty(u8),
    /// Cut short over UDP; over TCP this, or nothing.
    Truncated(Option<Vec<Ipv4Addr>>),
    /// Names that point to themselves.
    PointerLoop,
    /// Says that there are more records than it holds.
    Short,
    Noise,
    Silence,
}

/// A DNS server that says what it is told to say.
struct Liar {
    lie: Arc<Mutex<Lie>>,
    port: u16,
    is_over: Arc<AtomicBool>,
    _tcp: Backend,
}

impl Liar {
    fn start(lie: Lie) -> Self {
        let lie = Arc::new(Mutex::new(lie));
        let port = free_port();
        let udp = eventually("its port is still free", || UdpSocket::bind(("127.0.0.1", port)).ok());
        udp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, told) = (Arc::clone(&is_over), Arc::clone(&lie));
        std::thread::spawn(move || {
            let mut query = [0; 2048];
            while !over.load(SeqCst) {
                let Ok((length, from)) = udp.recv_from(&mut query) else {
                    continue; // nobody asks
                };
                let lie = told.lock().unwrap().clone();
                if let Some(answer) = answer(&query[..length], &lie, false) {
                    udp.send_to(&answer, from).unwrap();
                }
            }
        });
        let told = Arc::clone(&lie);
        let tcp = Backend::serve_at(([127, 0, 0, 1], port).into(), move |peer| {
            let length = peer.take(2);
            let query = peer.take(usize::from(u16::from_be_bytes([length[0], length[1]])));
            let lie = told.lock().unwrap().clone();
            if let Some(answer) = answer(&query, &lie, true) {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                peer.is_sent(&[&length[..], &answer].concat());
                peer.wait_for_end();
            }
        });
        Self {
            lie,
            port,
            is_over,
            _tcp: tcp,
        }
    }

    fn says(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}

/// An answer as RFC 1035, 4.1 lays it out: id, flags, counts, the question, records.
fn answer(query: &[u8], lie: &Lie, is_tcp: bool) -> Option<Vec<u8>> {
    let mut end = 12;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let question = &query[12..end + 5];
    let (mut flags, mut count, mut records) = ([0x81, 0x80], 0_u16, Vec::new());
    let mut add = |ips: &[Ipv4Addr], ttl: u32| {
        count = u16::try_from(ips.len()).unwrap();
        for ip in ips {
            // The name of the question, A, IN.
            records.extend([0xc0, 0x0c, 0, 1, 0, 1]);
            records.extend(ttl.to_be_bytes());
            records.extend([0, 4]);
            records.extend(ip.octets());
        }
    };
    match lie {
        Lie::Addresses(ips, _) if ips.len() > 20 && !is_tcp => flags[0] |= 2,
        Lie::Addresses(ips, ttl) => add(ips, *ttl),
        Lie::Empty(code) => flags[1] |= code,
        Lie::Truncated(_) if !is_tcp => {
            flags[0] |= 2;
            add(&[local(0)], 0);
        }
        Lie::Truncated(Some(ips)) => add(ips, 0),
        Lie::PointerLoop => {
            count = 1;
            // A name at this very place that points to itself.
            let here = 0xc000 | u16::try_from(12 + question.len()).unwrap();
            records.extend(here.to_be_bytes());
            records.extend([0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 9]);
        }
        Lie::Short => {
            add(&[local(0)], 0);
            count = 9;
        }
        Lie::Noise => return Some(vec![0xff; 300]),
        Lie::Truncated(None) | Lie::Silence => return None,
    }
    let counts = [0, 1, count.to_be_bytes()[0], count.to_be_bytes()[1], 0, 0, 0, 0];
    Some([&query[..2], &flags, &counts, question, &records].concat())
}

#[test]
fn whatever_a_server_says_the_last_good_backends_stay() {
    let (servers, port) = at_one_port(3);
    let [a, b] = [local(0), local(1)];
    let liar = Liar::start(Lie::Addresses(vec![a, b], 0));
    let lines = format!("name = \"db.test\"\nport = {port}\nmin_backends = 2\nmax_backends = 1000");
    let (lb, admin, _) = start(config(liar.port, &lines));
    let known = addresses(&[&servers[0], &servers[1]]);
    wait_for(&admin, &known);
    // As many as one message of 64 KiB holds.
    let thousands: Vec<Ipv4Addr> = (0..4_000_u32)
        .map(|number| Ipv4Addr::from(0x7f10_0000 + number))
        .collect();
    let before = updates(&admin, "changed");
    for (lie, wanted) in [
        (Lie::Empty(0), "the name has no such record"),
        (Lie::Empty(3), "NXDOMAIN"),
        (Lie::Empty(2), "db.test.: "),
        (Lie::Addresses(vec![a], 0), "1 backends found, at least 2"),
        (
            Lie::Addresses(vec![a, Ipv4Addr::new(169, 254, 169, 254)], 0),
            "is link-local",
        ),
        (
            Lie::Addresses(vec![a, Ipv4Addr::new(10, 0, 0, 1)], 0),
            "is in no network of `allow`",
        ),
        (Lie::Addresses(thousands, 0), "4000 backends found, at most 1000"),
        (Lie::Truncated(None), "db.test.: "),
        (Lie::PointerLoop, "db.test.: "),
        (Lie::Short, "db.test.: "),
        (Lie::Noise, "db.test.: "),
        (Lie::Silence, "db.test.: no answer"),
    ] {
        liar.says(Lie::Addresses(vec![b, a], 0));
        wait_for_success(&admin);
        liar.says(lie.clone());
        wait_for_error(&admin, wanted);
        assert_eq!(taking(&admin), known, "{lie:?}");
    }
    assert_eq!(
        updates(&admin, "changed"),
        before,
        "in another order it is the same answer"
    );
    // Cut short, and whole over TCP.
    liar.says(Lie::Truncated(Some(vec![a, b, local(2)])));
    wait_for(&admin, &addresses(&[&servers[0], &servers[1], &servers[2]]));
    wait_for_success(&admin);
    drop(liar);
    lb.finish();
}

#[test]
fn a_ttl_of_a_day_and_one_of_nothing_are_kept_within_bounds() {
    let (servers, port) = at_one_port(2);
    let liar = Liar::start(Lie::Addresses(vec![local(0)], 86_400));
    let (lb, admin, _) = start(config(liar.port, &format!("name = \"db.test\"\nport = {port}")));
    wait_for(&admin, &addresses(&[&servers[0]]));
    // Were it followed to the letter, this would be seen tomorrow.
    liar.says(Lie::Addresses(vec![local(1)], 0));
    wait_for(&admin, &addresses(&[&servers[1]]));
    let (before, began) = (updates(&admin, "unchanged"), Instant::now());
    eventually("ten more looks", || {
        (updates(&admin, "unchanged") >= before + 10).then_some(())
    });
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(900),
        "ten looks in {took:?}: interval_min is 100ms"
    );
    assert!(took < PATIENCE);
    drop(liar);
    lb.finish();
}

#[test]
fn records_that_flap_cut_nobody_and_the_last_ones_hold() {
    let (servers, port) = at_one_port(3);
    let liar = Liar::start(Lie::Addresses(vec![local(0)], 0));
    let began = Instant::now();
    let (lb, admin, _) = start(config(liar.port, &format!("name = \"db.test\"\nport = {port}")));
    wait_for(&admin, &addresses(&[&servers[0]]));
    under_traffic(lb.address(), || {
        for number in 0..10 {
            let before = updates(&admin, "changed");
            liar.says(Lie::Addresses(vec![local(0), local(1 + number % 2)], 0));
            eventually("it is seen", || (updates(&admin, "changed") > before).then_some(()));
        }
        wait_for(&admin, &addresses(&[&servers[0], &servers[2]]));
    });
    assert_paced(&lb, began);
    drop(liar);
    let closing = lb.finish();
    let ends: Vec<&String> = closing.service("echo").1.keys().collect();
    assert_eq!(ends, ["client_closed"]);
}
