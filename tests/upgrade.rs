//! Another lb takes over: nobody is refused, what was learned stays, and a new one that fails changes nothing.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::process::{Pid, Signal as Number, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::common::{
    Backend, Balancer, Config, Http, PATIENCE, Peer, Process, Refusing, Signal, at_once, eventually, exchanges_until,
    greeted_by, is_full_run, lb_command, tell,
};

const ADMIN: &str = "listen = \"127.0.0.1:0\"";
const STATUS: &str = "/api/v1/status";

/// The lb that a test upgraded to: nobody's child. Dropped, it is told to stop, and its end awaited.
struct Successor(u32);

impl Successor {
    fn signal(&self, signal: Number) {
        kill_process(Pid::from_raw(i32::try_from(self.0).unwrap()).unwrap(), signal).unwrap();
    }

    fn wait(self) {
        let pid = self.0;
        std::mem::forget(self);
        eventually(&format!("process {pid} ends"), || (!is_alive(pid)).then_some(()));
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let pid = self.0;
        if !is_alive(pid) {
            return;
        }
        if std::thread::panicking() {
            return self.signal(Number::KILL);
        }
        self.signal(Number::TERM);
        eventually(&format!("process {pid} ends"), || (!is_alive(pid)).then_some(()));
    }
}

/// A zombie isn't: nobody is there who would bury it.
fn is_alive(pid: u32) -> bool {
    let status = Process(pid).status();
    status.contains("State") && !status.contains("Z (zombie)")
}

/// lb by a path whose program can be exchanged.
struct Exchangeable {
    path: PathBuf,
    _folder: TempDir,
}

impl Exchangeable {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lb");
        symlink(env!("CARGO_BIN_EXE_lb"), &path).unwrap();
        Self { path, _folder: folder }
    }

    fn start(&self, config: &Config) -> Balancer {
        Balancer::start_with(config, |command| {
            let mut by_path = Command::new(&self.path);
            by_path.current_dir(command.get_current_dir().unwrap());
            by_path.stdout(Stdio::piped()).stderr(Stdio::piped());
            by_path
        })
    }

    /// Puts a shell script in its place, as an installer would: at once.
    fn exchange(&self, script: &str, mode: u32) {
        let next = self.path.with_extension("next");
        std::fs::write(&next, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&next, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(&next, &self.path).unwrap();
    }

    fn bring_back(&self) {
        let next = self.path.with_extension("next");
        symlink(env!("CARGO_BIN_EXE_lb"), &next).unwrap();
        std::fs::rename(&next, &self.path).unwrap();
    }
}

fn upgrade(admin: &Http) -> Successor {
    let answer = admin.ask("POST", "/api/v1/upgrade", &[], "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let pid = answer.json()["pid"].as_u64().unwrap();
    let successor = Successor(u32::try_from(pid).unwrap());
    // The old one may answer its last request a moment longer.
    eventually("the new one answers", || {
        (admin.json(STATUS)["pid"] == json!(pid)).then_some(())
    });
    successor
}

/// How many connections each lb had, in the order in which they ended; all of them by their clients.
fn served_by_each(mut lb: Balancer) -> Vec<u64> {
    lb.program_mut().wait();
    let told = lb.lines_with("echo: ").into_iter().filter_map(|line| {
        let (_, said) = line.split_once("echo: ")?;
        let (count, ends) = said.split_once(" connections, 0 still there (")?;
        let count = count.parse().unwrap();
        let wanted = if count == 0 {
            ")".to_owned()
        } else {
            format!("client_closed {count})")
        };
        assert_eq!(ends, wanted, "{line}");
        Some(count)
    });
    let told = told.collect();
    lb.finish_stopped();
    told
}

fn backend(admin: &Http, name: &str) -> Value {
    let backends = admin.json("/api/v1/services/echo/backends");
    let found = backends
        .as_array()
        .unwrap()
        .iter()
        .find(|backend| backend["name"] == name);
    found.cloned().unwrap_or(Value::Null)
}

#[test]
fn the_new_one_has_the_same_sockets_and_all_that_was_learned_and_the_old_one_finishes() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let dead = Refusing::bind();
    let config = Config::new()
        .admin(ADMIN)
        .service("[service.sticky]")
        .health("kind = \"tcp\"\ninterval = \"100ms\"\nfall = 1")
        .backend("a", a.address(), "")
        .backend("b", b.address(), "")
        .backend("dead", dead.address(), "");
    let mut lb = Balancer::start(&config);
    let admin = lb.admin();
    let body = json!({"name": "c", "address": c.address().to_string(), "weight": 7});
    let added = admin.send("POST", "/api/v1/services/echo/backends", &body);
    assert_eq!(added.status, 201, "{}", added.text());
    let drained = admin.send(
        "PATCH",
        "/api/v1/services/echo/backends/b",
        &json!({"state": "draining"}),
    );
    assert_eq!(drained.status, 200, "{}", drained.text());
    eventually("dead is down", || {
        (backend(&admin, "dead")["state"] == "down").then_some(())
    });
    let mine = greeted_by(lb.address());
    let session = Peer::connect(lb.address());
    assert_eq!(session.line(), mine, "clients keep their backends");

    let successor = upgrade(&admin);
    assert_eq!(backend(&admin, "b")["state"], "draining");
    assert_eq!(backend(&admin, "dead")["state"], "down", "before any check of its own");
    assert_eq!(
        (
            backend(&admin, "c")["weight"].clone(),
            backend(&admin, "c")["origin"].clone()
        ),
        (json!(7), json!("api"))
    );
    for _ in 0..8 {
        assert_eq!(greeted_by(lb.address()), mine, "and keep them over an upgrade");
    }
    session.send(b"still here").expect(b"still here");
    lb.line("has taken over");
    assert!(!lb.program_mut().has_ended(), "one session is still there");
    session.fin().expect_eof();
    eventually("the old one ends", || lb.program_mut().has_ended().then_some(()));
    assert_eq!(greeted_by(lb.address()), mine);
    drop(successor);
    assert_eq!(served_by_each(lb), [2, 9]);
}

#[test]
fn a_file_that_says_something_new_is_followed_and_a_bad_one_changes_nothing() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let config = Config::new().admin(ADMIN).backend("a", a.address(), "");
    let lb = Balancer::start(&config);
    let admin = lb.admin();
    lb.write(&config.clone().service("wieght = 1"));
    let refused = admin.ask("POST", "/api/v1/upgrade", &[], "");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("exit status: 1"), "{}", refused.text());
    assert_eq!(greeted_by(lb.address()), "a");
    lb.write(&config.backend("b", b.address(), ""));
    let successor = upgrade(&admin);
    let names = [greeted_by(lb.address()), greeted_by(lb.address())];
    assert!(names.contains(&"b".to_owned()), "{names:?}");
    drop(successor);
    lb.finish_stopped();
}

#[test]
fn under_load_upgrade_after_upgrade_fails_nobody() {
    let backend = Backend::echo();
    let rounds = if is_full_run("50 upgrades") { 50 } else { 2 };
    let config = Config::new().admin(ADMIN).backend("a", backend.address(), "");
    let lb = Balancer::start(&config);
    let admin = lb.admin();
    let is_over = AtomicBool::new(false);
    let served = at_once(5, |thread| {
        if thread == 0 {
            let mut generations = Vec::new();
            for round in 1..=rounds {
                generations.push(upgrade(&admin));
                // Within its own trial a new lb isn't followed by another.
                let again = admin.ask("POST", "/api/v1/upgrade", &[], "");
                assert_eq!(again.status, 503, "{}", again.text());
                lb.wait_for_lines(round, "has taken over");
                eventually("its trial is over", || {
                    let uptime = admin.json(STATUS)["uptime_seconds"].as_f64().unwrap();
                    (uptime > 5.0).then_some(())
                });
            }
            is_over.store(true, SeqCst);
            // Each has followed the one before it, and all but the last end by themselves.
            let last = generations.pop();
            generations.into_iter().for_each(Successor::wait);
            drop(last);
            return 0;
        }
        exchanges_until(&is_over, lb.address())
    });
    let served: u64 = served.iter().sum();
    assert!(served > 100, "{served}");
    tell(&format!("{rounds} upgrades, {served} connections, all served"));
    let told = served_by_each(lb);
    assert_eq!((told.len(), told.iter().sum::<u64>()), (rounds + 1, served));
}

#[test]
fn a_new_one_that_fails_changes_nothing() {
    let a = Backend::named("a");
    let program = Exchangeable::new();
    // Within the sandbox no shell is started.
    let runtime = "workers = 2\nsandbox = \"off\"";
    let config = Config::new().admin(ADMIN).runtime(runtime);
    let lb = program.start(&config.backend("a", a.address(), ""));
    let admin = lb.admin();
    let pid = admin.json(STATUS)["pid"].clone();
    let session = Peer::connect(lb.address());
    assert_eq!(session.line(), "a");
    for (script, mode, said) in [
        ("exit 7", 0o755, "exit status: 7"),
        ("exec tail -f /dev/null", 0o755, "wasn't ready within 4.5 s"),
        ("exit 0", 0o644, "can't be started"),
    ] {
        program.exchange(script, mode);
        let refused = admin.ask("POST", "/api/v1/upgrade", &[], "");
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.text().contains(said), "{said}: {}", refused.text());
        assert_eq!(admin.json(STATUS)["pid"], pid);
        assert_eq!(greeted_by(lb.address()), "a");
        // And it can be changed again.
        let weight = admin.send("PATCH", "/api/v1/services/echo/backends/a", &json!({"weight": 3}));
        assert_eq!(weight.status, 200, "{}", weight.text());
    }
    session.send(b"on").expect(b"on").fin().expect_eof();
    program.bring_back();
    drop(upgrade(&admin));
    let mut served = served_by_each(lb);
    served.sort_unstable(); // told to stop at once, either may be the first to end
    assert_eq!(served, [0, 4]);
}

#[test]
fn a_new_one_that_dies_when_it_served_gives_everything_back() {
    let a = Backend::named("a");
    let lb = Balancer::start(&Config::new().admin(ADMIN).backend("a", a.address(), ""));
    let admin = lb.admin();
    let pid = admin.json(STATUS)["pid"].clone();
    let successor = upgrade(&admin);
    successor.signal(Number::KILL);
    lb.line("takes connections again");
    successor.wait();
    assert_eq!(greeted_by(lb.address()), "a");
    eventually("the old one answers", || {
        (admin.json(STATUS)["pid"] == pid).then_some(())
    });
    drop(upgrade(&admin));
    lb.finish_stopped();
}

#[test]
fn told_to_stop_the_new_one_takes_the_old_one_with_it() {
    let a = Backend::named("a");
    let lb = Balancer::start(&Config::new().admin(ADMIN).backend("a", a.address(), ""));
    let address = lb.address();
    let successor = upgrade(&lb.admin());
    successor.signal(Number::TERM);
    successor.wait();
    lb.finish_stopped();
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens");
}

#[test]
fn a_signal_starts_an_upgrade_too_and_the_admin_socket_goes_along() {
    let a = Backend::named("a");
    let config = Config::new()
        .admin("listen = \"unix:admin.sock\"")
        .backend("a", a.address(), "");
    let mut lb = Balancer::start(&config);
    let folder = lb.folder().to_owned();
    let socket = folder.join("admin.sock");
    lb.signal(Signal::USR2);
    let line = lb.line("serves; no new connections here");
    let pid = line.split_once("process ").unwrap().1.split(' ').next().unwrap();
    let successor = Successor(pid.parse().unwrap());
    lb.line("has taken over");
    let asks = || {
        let mut command = lb_command(&folder);
        command.args(["status", "--json", "--admin", "unix:admin.sock"]);
        let output = command.output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["pid"].to_string()
    };
    eventually("the new one answers", || (asks() == pid).then_some(()));
    eventually("the old one ends", || lb.program_mut().has_ended().then_some(()));
    assert_eq!(asks(), pid, "the old one has left the socket alone");
    drop(successor);
    assert!(!socket.exists(), "the last one removes it");
    lb.finish_stopped();
}

#[test]
fn systemd_is_told_what_it_wants_to_know() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let notify = UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let expect = |wanted: &str| {
        eventually(&format!("{wanted:?} is told"), || {
            let mut message = [0; 512];
            let length = notify.recv(&mut message).unwrap();
            let told = String::from_utf8_lossy(&message[..length]).into_owned();
            told.lines().any(|line| line == wanted).then_some(())
        });
    };
    let a = Backend::named("a");
    let config = Config::new().admin(ADMIN).backend("a", a.address(), "");
    let lb = Balancer::start_with(&config, |mut command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
        command
    });
    expect("READY=1");
    expect("WATCHDOG=1");
    expect("WATCHDOG=1");
    lb.signal(Signal::HUP);
    expect("RELOADING=1");
    expect("READY=1");
    let successor = upgrade(&lb.admin());
    expect(&format!("MAINPID={}", successor.0));
    expect("WATCHDOG=1");
    drop(successor);
    expect("STOPPING=1");
    lb.finish_stopped();
}

#[test]
fn sockets_that_somebody_else_opened_are_used_and_others_are_said_and_closed() {
    let a = Backend::named("a");
    let given = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [service, admin, nobodys] = [0, 1, 2].map(|place: usize| given[place].local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new()
        .admin(&format!("listen = \"{admin}\""))
        .listen(&format!("\"{service}\""))
        .backend("a", a.address(), "");
    std::fs::write(folder.path().join("lb.toml"), config.text()).unwrap();
    let mut command = lb_command(folder.path());
    command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG");
    // A client that comes before lb does waits in the queue.
    let early = Peer::connect(service);
    let sockets = given.map(|listener| lb::sys::InheritedSocket {
        name: "any".to_owned(),
        socket: listener.into(),
    });
    let mut child = lb::sys::spawn_with(command, sockets.into()).unwrap();
    let _guard = Successor(child.id());
    assert_eq!(early.line(), "a");
    assert_eq!(greeted_by(service), "a");
    assert_eq!(Http::new(admin).json(STATUS)["pid"], json!(child.id()));
    assert!(std::net::TcpStream::connect(nobodys).is_err());
    early.fin().expect_eof();
    kill_process(Pid::from_child(&child), Number::TERM).unwrap();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut told).unwrap();
    assert!(child.wait().unwrap().success(), "{told}");
    assert!(told.contains(&format!("listener {nobodys} closed")), "{told}");
}

#[test]
fn who_is_told_to_stop_while_both_run_stops_both_and_cuts_nobody() {
    let a = Backend::named("a");
    let lb = Balancer::start(&Config::new().admin(ADMIN).backend("a", a.address(), ""));
    let address = lb.address();
    let before = Peer::connect(address);
    assert_eq!(before.line(), "a");
    let successor = upgrade(&lb.admin());
    let after = Peer::connect(address);
    assert_eq!(after.line(), "a");
    // The first process: to systemd it is the service still.
    lb.signal(Signal::TERM);
    lb.line("is told to stop too");
    after.send(b"on").expect(b"on").fin().expect_eof();
    lb.line("the lb before this one has connections still");
    assert!(is_alive(successor.0), "it waits for the old one");
    before.send(b"on").expect(b"on").fin().expect_eof();
    successor.wait();
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens");
    assert_eq!(served_by_each(lb), [1, 1]);
}

#[test]
fn backends_that_nobody_brings_any_more_do_not_stay() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.json");
    std::fs::write(&list, format!("[{{\"name\":\"b\",\"address\":\"{}\"}}]", b.address())).unwrap();
    let config = Config::new().admin(ADMIN).backend("a", a.address(), "");
    let section = format!("[service.discovery]\nkind = \"file\"\npath = {list:?}\nallow = [\"127.0.0.0/8\"]");
    let lb = Balancer::start(&config.clone().service(&section));
    let admin = lb.admin();
    eventually("b is found", || (backend(&admin, "b") != Value::Null).then_some(()));
    lb.write(&config);
    let successor = upgrade(&admin);
    assert_eq!(backend(&admin, "b"), Value::Null);
    assert_eq!(greeted_by(lb.address()), "a");
    drop(successor);
    lb.finish_stopped();
}

#[test]
fn a_new_one_that_fails_late_leaves_the_admin_socket_where_it_is() {
    let a = Backend::named("a");
    let config = Config::new()
        .admin("listen = \"unix:admin.sock\"")
        .backend("a", a.address(), "");
    let lb = Balancer::start(&config);
    let socket = lb.folder().join("admin.sock");
    // Found only when everything else is open: what the file says can't be listened on.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("\"127.0.0.1:0\", \"{}\"", taken.local_addr().unwrap());
    lb.write(&config.clone().listen(&format!("[{more}]")));
    lb.signal(Signal::USR2);
    lb.line("nothing is changed");
    assert!(socket.exists());
    assert_eq!(greeted_by(lb.address()), "a");
    lb.finish();
    assert!(!socket.exists());
}
