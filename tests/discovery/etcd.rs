//! Keys of a real etcd, over its JSON gateway. Skipped, and said so, where Debian's etcd-server isn't installed.

use std::path::Path;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;

const PREFIX: &str = "/services/db/";

/// An etcd of one.
struct Etcd {
    program: Program,
    http: Http,
}

impl Etcd {
    fn start(data: &Path, port: u16) -> Self {
        let (client, peer) = (
            format!("http://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{}", free_port()),
        );
        let mut command = Command::new("etcd");
        command
            .env(
                "ETCD_UNSUPPORTED_ARCH",
                std::env::consts::ARCH.replace("aarch64", "arm64"),
            )
            .args(["--data-dir", data.to_str().unwrap()])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")]);
        let program = Program::captured(command);
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        eventually("etcd listens", || std::net::TcpStream::connect(address).ok().map(drop));
        let http = Http::new(address);
        eventually("etcd is healthy", || (http.get("/health").status == 200).then_some(()));
        Self { program, http }
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.send("POST", path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    fn put(&self, key: &str, value: &str) -> Value {
        let key = STANDARD.encode(format!("{PREFIX}{key}"));
        self.ask("/v3/kv/put", &json!({"key": key, "value": STANDARD.encode(value)}))
    }

    fn delete(&self, key: &str) {
        let key = STANDARD.encode(format!("{PREFIX}{key}"));
        let deleted = self.ask("/v3/kv/deleterange", &json!({"key": key}))["deleted"].clone();
        assert_eq!(deleted, json!("1"));
    }
}

/// Where an etcd keeps its data, and its port; `None`: there is no etcd here.
fn place(what: &str) -> Option<(TempDir, u16)> {
    has("etcd", "etcd-server", what).then(|| (tempfile::tempdir().unwrap(), free_port()))
}

fn config(port: u16) -> Config {
    Config::new().discovery(&format!(
        "kind = \"etcd\"\nurl = \"http://localhost:{port}\"\nprefix = \"{PREFIX}\"\ntimeout = \"5s\"\n{LOCAL}changes_per_second = 10"
    ))
}

fn text(backend: &Backend) -> String {
    backend.address().to_string()
}

#[test]
fn puts_and_deletes_are_followed_as_they_come() {
    let Some((data, port)) = place("keys of an etcd") else {
        return;
    };
    let servers = echoes(3);
    let [a, b, c] = [&servers[0], &servers[1], &servers[2]];
    let etcd = Etcd::start(data.path(), port);
    etcd.put("a", &text(a));
    // Of another prefix, just behind.
    let other = STANDARD.encode("/services/db0");
    etcd.ask(
        "/v3/kv/put",
        &json!({"key": other, "value": STANDARD.encode("nonsense")}),
    );
    let (lb, admin, _) = start(config(port));
    wait_for(&admin, &addresses(&[a]));
    assert_eq!(
        admin.json(SERVICE)["backends"][0]["name"],
        json!("a"),
        "the rest of the key"
    );
    let began = Instant::now();
    etcd.put(
        "b",
        &json!({"address": text(b), "weight": 5, "name": "named"}).to_string(),
    );
    wait_for(&admin, &addresses(&[a, b]));
    let put = began.elapsed();
    assert_eq!(admin.json(&format!("{SERVICE}/backends/named"))["weight"], json!(5));
    let began = Instant::now();
    etcd.delete("a");
    wait_for(&admin, &addresses(&[b]));
    tell(&format!(
        "etcd: a put took effect after {put:?}, a delete after {:?}",
        began.elapsed()
    ));
    // A bad value refuses all, and the last key alone never goes.
    etcd.put("c", "nonsense");
    wait_for_error(&admin, "/services/db/c: address: found \"nonsense\"");
    etcd.put("c", &text(c));
    wait_for(&admin, &addresses(&[b, c]));
    etcd.delete("b");
    etcd.delete("c");
    wait_for_error(&admin, "no backend found");
    assert!(!taking(&admin).is_empty());
    drop(etcd);
    wait_for_error(&admin, "etcd at 127.0.0.1");
    lb.finish();
}

#[test]
fn an_etcd_that_dies_and_returns_is_taken_up_where_it_broke() {
    let Some((data, port)) = place("an etcd that dies and returns") else {
        return;
    };
    let servers = echoes(2);
    let [a, b] = [&servers[0], &servers[1]];
    let (lb, admin, _) = start(config(port));
    wait_for_error(&admin, "refused");
    let mut etcd = Etcd::start(data.path(), port);
    etcd.put("a", &text(a));
    wait_for(&admin, &addresses(&[a]));
    wait_for_success(&admin);
    etcd.program.kill();
    wait_for_error(&admin, "etcd at");
    let client = Peer::connect(lb.address());
    client.send(b"on").expect(b"on").fin().expect_eof();
    // What changes while lb can't see it.
    let mut aside = Etcd::start(data.path(), free_port());
    aside.put("b", &text(b));
    aside.delete("a");
    aside.program.kill();
    assert_eq!(taking(&admin), addresses(&[a]));
    let mut etcd = Etcd::start(data.path(), port);
    wait_for(&admin, &addresses(&[b]));
    wait_for_success(&admin);
    etcd.program.kill();
    // An empty one in its place: none of the old changes will ever be told.
    wait_for_error(&admin, "etcd at");
    let fresh = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(fresh.path(), port);
    wait_for_error(&admin, "no backend found");
    etcd.put("a", &text(a));
    wait_for(&admin, &addresses(&[a]));
    drop(etcd);
    lb.finish();
}

#[test]
fn what_was_compacted_away_meanwhile_is_read_again() {
    let Some((data, port)) = place("an etcd that was compacted") else {
        return;
    };
    let servers = echoes(2);
    let [a, b] = [&servers[0], &servers[1]];
    let mut etcd = Etcd::start(data.path(), port);
    etcd.put("a", &text(a));
    let (lb, admin, _) = start(config(port));
    wait_for(&admin, &addresses(&[a]));
    etcd.program.kill();
    wait_for_error(&admin, "etcd at");
    let mut aside = Etcd::start(data.path(), free_port());
    aside.put("b", &text(b));
    aside.delete("a");
    let revision = aside.put("x", "")["header"]["revision"].clone();
    aside.delete("x");
    aside.ask("/v3/kv/compaction", &json!({"revision": revision, "physical": true}));
    aside.program.kill();
    let etcd = Etcd::start(data.path(), port);
    wait_for(&admin, &addresses(&[b]));
    wait_for_success(&admin);
    drop(etcd);
    lb.finish();
}
