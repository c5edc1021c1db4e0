//! Beside HAProxy and nginx, in front of lb and behind it: what one says, the other hears.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::super::common::{Backend, Balancer, Config, Peer, Program, eventually, free_ports, has};
use super::{TRUSTING, config, header, records};
use lb::proxy_protocol::Version;

const HAPROXY: &str = "/usr/sbin/haproxy";
const NGINX: &str = "/usr/sbin/nginx";
const SENDS: [&str; 2] = ["send = \"v1\"", "send = \"v2\""];

pub(super) fn has_haproxy(what: &str) -> bool {
    has(HAPROXY, "haproxy", what)
}

fn has_nginx(what: &str) -> bool {
    has(NGINX, "nginx libnginx-mod-stream", what)
}

pub(super) fn free_address() -> SocketAddr {
    ([127, 0, 0, 1], *free_ports(1).start()).into()
}

/// HAProxy with these sections, once it listens at `address`.
pub(super) fn haproxy(folder: &Path, address: SocketAddr, sections: &str) -> Program {
    let file = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 200\n  nbthread 1\ndefaults\n  timeout connect 10s\n  timeout client 20s\n  timeout server 20s\n{sections}"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(HAPROXY);
    command.args(["-db", "-f"]).arg(&file);
    listening(Program::captured(command), address)
}

/// nginx with these sections, the same.
fn nginx(folder: &Path, address: SocketAddr, sections: &str) -> Program {
    let file = folder.join("nginx.conf");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};\n", folder.join(name).display()))
        .concat();
    // A module of its own where Debian packs it, and part of the program elsewhere.
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    let load = if module.exists() {
        format!("load_module {};\n", module.display())
    } else {
        String::new()
    };
    let text = format!(
        "{load}daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{ worker_connections 64; }}\n{}",
        folder.join("nginx.pid").display(),
        sections.replace("TEMPORARY", &temporary),
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(NGINX);
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file)
        .args(["-e", "stderr"]);
    listening(Program::captured(command), address)
}

fn listening(mut program: Program, address: SocketAddr) -> Program {
    eventually(&format!("somebody listens at {address}"), || {
        assert!(!program.has_ended(), "{:#?}", program.stderr());
        // Not by a connection: that would be one more that it passes on.
        let tables = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let wanted = format!(": 0100007F:{:04X} 00000000:0000 0A ", address.port());
        tables.contains(&wanted).then_some(())
    });
    program
}

/// Asks by HTTP through lb, from a client that a header names (v1, v2) or that connects itself; what the other end of the connection
/// saw is the last line of the answer.
fn assert_seen(backend: SocketAddr) {
    for send in SENDS {
        let lb = Balancer::start(&config(backend, send));
        let client = Peer::connect(lb.address());
        let wanted = format!("seen {} {}", client.local(), lb.address());
        assert_eq!(answer(&client), wanted, "{send}");
        let lb = Balancer::start(&config(backend, &format!("{TRUSTING}\n{send}")));
        for version in [Version::V1, Version::V2] {
            let client = Peer::connect(lb.address());
            client.send(&header(version));
            assert_eq!(
                answer(&client),
                "seen 203.0.113.7:4711 203.0.113.80:443",
                "{send}, {version:?}"
            );
        }
        let client = Peer::connect(lb.address());
        client.send(b"PROXY TCP6 2001:db8::7 2001:db8::80 4711 443\r\n");
        let seen = answer(&client).replace(['[', ']'], "");
        assert_eq!(seen, "seen 2001:db8::7:4711 2001:db8::80:443", "{send}");
    }
}

fn answer(client: &Peer) -> String {
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    loop {
        let line = client.line();
        if line.starts_with("seen ") {
            return line;
        }
    }
}

#[test]
fn haproxy_behind_lb_sees_who_the_client_is() {
    if !has_haproxy("HAProxy behind lb") {
        return;
    }
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let sections = format!(
        "frontend f\n  mode http\n  bind {address} accept-proxy\n  http-request return status 200 content-type text/plain \
         lf-string \"seen %[src]:%[src_port] %[dst]:%[dst_port]\\n\"\n"
    );
    let _haproxy = haproxy(folder.path(), address, &sections);
    assert_seen(address);
}

#[test]
fn nginx_behind_lb_sees_who_the_client_is() {
    if !has_nginx("nginx behind lb") {
        return;
    }
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let sections = format!(
        "http {{\nTEMPORARY access_log off;\nserver {{ listen {address} proxy_protocol;\nreturn 200 \"seen \
         $proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port\\n\"; }} }}\n"
    );
    let _nginx = nginx(folder.path(), address, &sections);
    assert_seen(address);
}

/// Connects to a proxy in front of lb, and finds the client's address in lb's access log.
fn assert_told(lb: &Balancer, proxy: SocketAddr, count: usize) {
    let client = Peer::connect(proxy);
    client
        .send_noise(3, 100_000)
        .fin()
        .expect_noise(3, 100_000)
        .expect_eof();
    let line = records(lb, count).pop().unwrap();
    assert_eq!(line["client"], client.local().to_string(), "{line}");
    assert!(line["proxied_by"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert_eq!(line["bytes_to_backend"], 100_000, "{line}");
}

#[test]
fn haproxy_in_front_of_lb_says_who_the_client_is() {
    if !has_haproxy("HAProxy in front of lb") {
        return;
    }
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    let options = [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl",
    ];
    let mut told = 0;
    for option in options {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let sections = format!(
            "listen l\n  mode tcp\n  bind {address}\n  unique-id-format %pid-%ts-%rt\n  server lb {} {option}\n",
            lb.address()
        );
        let _haproxy = haproxy(folder.path(), address, &sections);
        told += 1;
        assert_told(&lb, address, told);
    }
}

#[test]
fn checks_of_haproxy_are_taken() {
    if !has_haproxy("checks of HAProxy") {
        return;
    }
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    for option in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"] {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let sections = format!(
            "listen l\n  mode tcp\n  bind {address}\n  option tcp-check\n  tcp-check connect send-proxy\n  tcp-check send ping\n  \
             tcp-check expect string ping\n  server lb {} {option} check inter 100ms rise 1 fall 1\n",
            lb.address()
        );
        let before = backend.accepted();
        let _haproxy = haproxy(folder.path(), address, &sections);
        eventually(&format!("checks with {option} reach the backend"), || {
            (backend.accepted() >= before + 3).then_some(())
        });
    }
    assert_eq!(lb.lines_with(" refused: "), [""; 0]);
}

#[test]
fn nginx_in_front_of_lb_says_who_the_client_is() {
    if !has_nginx("nginx in front of lb") {
        return;
    }
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    // Its half-closed connections need a word (`proxy_half_close`, since 1.21.4).
    let sections = format!(
        "stream {{ server {{ listen {address}; proxy_pass {}; proxy_protocol on; proxy_half_close on; }} }}\n",
        lb.address()
    );
    let _nginx = nginx(folder.path(), address, &sections);
    assert_told(&lb, address, 1);
}

#[test]
fn two_balancers_in_a_row_pass_the_client_on() {
    let backend = Backend::echo();
    let inner = Balancer::start(&config(backend.address(), TRUSTING));
    for (send, count) in SENDS.into_iter().zip(1..) {
        let outer = Balancer::start(&Config::with_backends(&[("inner", inner.address())]).proxy_protocol(send));
        assert_told(&inner, outer.address(), count);
    }
}
