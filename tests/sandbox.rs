//! lb gives up root's rights and shuts itself in: what of it the kernel says, thread by thread, and that everything still works inside.
//!
//! That the sandbox holds is tried by lb itself at each start, from inside; here it is read what came of it. All this is for root.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::common::{
    Backend, Balancer, Config, Http, Peer, Signal, at_once, children_of, eventually, free_ports, greeted_by, has,
    is_full_run, tell,
};

const ADMIN: &str = "listen = \"127.0.0.1:0\"";
const STATUS: &str = "/api/v1/status";
const AS_NOBODY: &str = "workers = 2\nuser = \"nobody\"\nsandbox = \"required\"";
/// What lb says of a sandbox that holds.
const HOLDS: &str = "tried: a file elsewhere (refused), another program (refused), a forbidden call (refused)";

/// Where `nobody` may start lb, and write.
struct Place(tempfile::TempDir);

impl Place {
    /// `None`, told: there is no root here, or no kernel that can do it.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            tell("skipped: giving up root's rights needs root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_lb"), folder.path().join("lb")).unwrap();
        let place = Self(folder);
        let check = Command::new(place.lb())
            .arg("check")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        let said = String::from_utf8(check.unwrap().stdout).unwrap();
        if !said.contains(HOLDS) {
            tell(&format!("skipped: this kernel has no Landlock, or no seccomp: {said}"));
            return None;
        }
        Some(place)
    }

    fn lb(&self) -> PathBuf {
        self.0.path().join("lb")
    }

    fn start(&self, config: &Config) -> Balancer {
        self.start_by(config, |command| command)
    }

    /// `change` may put another program before it.
    fn start_by(&self, config: &Config, change: impl FnOnce(Command) -> Command) -> Balancer {
        Balancer::start_with(config, |command| {
            let folder = command.get_current_dir().unwrap().to_owned();
            fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(&folder, Some(nobody()), None).unwrap();
            let mut own = Command::new(self.lb());
            own.current_dir(folder);
            let mut own = change(own);
            own.stdout(Stdio::piped()).stderr(Stdio::piped());
            own
        })
    }
}

fn nobody() -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find_map(|line| line.strip_prefix("nobody:")).unwrap();
    line.split(':').nth(1).unwrap().parse().unwrap()
}

/// The fields of a status(5) of each thread of a process, by the thread's name.
fn threads(pid: u32) -> Vec<(String, BTreeMap<String, String>)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let fields = tasks.filter_map(|task| {
        let status = fs::read_to_string(task.unwrap().path().join("status")).ok()?;
        let fields: BTreeMap<String, String> = status
            .lines()
            .filter_map(|line| line.split_once(":\t"))
            .map(|(name, value)| {
                (
                    name.to_owned(),
                    value.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
                )
            })
            .collect();
        Some((fields["Name"].clone(), fields))
    });
    fields.collect()
}

/// Of every thread: no right of root's, no way to get one; and those of traffic make few system calls.
fn assert_confined(pid: u32) {
    let ids = vec![nobody().to_string(); 4].join(" ");
    let threads = threads(pid);
    for (name, fields) in &threads {
        assert_eq!(fields["Uid"], ids, "{name}");
        let groups: Vec<&str> = fields["Gid"].split(' ').collect();
        assert!(
            groups.iter().all(|group| *group == groups[0]) && groups[0] != "0",
            "{name}: {groups:?}"
        );
        assert_eq!(fields["Groups"], groups[0], "{name}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(fields[set], "0000000000000000", "{name}: {set}");
        }
        assert_eq!(fields["NoNewPrivs"], "1", "{name}");
        let moves_bytes = name.starts_with("worker-") || ["acceptor", "health"].contains(&name.as_str());
        let wanted = if moves_bytes { ("2", "1") } else { ("0", "0") };
        let filters = (fields["Seccomp"].as_str(), fields["Seccomp_filters"].as_str());
        assert_eq!(filters, wanted, "{name}");
    }
    let names: Vec<&str> = threads.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "lb", "lines", "signals", "worker-0", "worker-1", "acceptor", "health", "admin",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
}

fn refused(lb: &Balancer, admin: &Http, config: &Config, said: &str) {
    lb.write(config);
    let answer = admin.ask("POST", "/api/v1/reload", &[], "");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains(said), "{said}: {}", answer.text());
}

#[test]
fn every_thread_has_given_up_its_rights_and_traffic_logs_samples_metrics_and_reload_work() {
    let Some(place) = Place::new() else { return };
    let a = Backend::named("a");
    let admin = format!("{ADMIN}\n[history]\ndirectory = \"history\"");
    let config = |runtime: &str, weight: u32| {
        let config = Config::new()
            .runtime(runtime)
            .admin(&admin)
            .log("access = \"access.jsonl\"");
        config
            .health("kind = \"tcp\"\ninterval = \"100ms\"")
            .backend("a", a.address(), &format!("weight = {weight}"))
    };
    let lb = place.start(&config(AS_NOBODY, 1));
    lb.line(HOLDS);
    assert_confined(lb.process().0);
    at_once(8, |_| assert_eq!(greeted_by(lb.address()), "a"));
    let admin = lb.admin();
    let page = admin.get("/metrics").text();
    for metric in [
        "process_open_fds ",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
    ] {
        assert!(page.contains(metric), "{metric}");
    }
    let folder = lb.folder().to_owned();
    for file in ["history", "access.jsonl"] {
        assert_eq!(fs::metadata(folder.join(file)).unwrap().uid(), nobody(), "{file}");
    }
    eventually("a sample on disk", || {
        let file = fs::read_dir(folder.join("history")).unwrap().next()?.unwrap().path();
        fs::read_to_string(file).unwrap().contains("\"time\"").then_some(())
    });
    eventually("a line for each connection", || {
        let lines = fs::read_to_string(folder.join("access.jsonl")).unwrap().lines().count();
        (lines == 8).then_some(())
    });
    // Who rotates logs has moved the file away.
    fs::rename(folder.join("access.jsonl"), folder.join("access.jsonl.1")).unwrap();
    assert_eq!(
        lb.reload(&admin, &config(AS_NOBODY, 3)),
        ["echo: backend a: weight 3 instead of 1"]
    );
    assert!(folder.join("access.jsonl").exists());
    let words = lb.reload(&admin, &config("workers = 2", 3));
    assert_eq!(
        words,
        ["[runtime] user, group, sandbox: need a restart, nothing is changed"]
    );
    assert_confined(lb.process().0);
    lb.finish();
}

#[test]
fn what_needs_the_rights_that_are_gone_is_refused_by_a_reload_and_says_why() {
    let Some(place) = Place::new() else { return };
    let a = Backend::named("a");
    let elsewhere = tempfile::Builder::new()
        .prefix("lb-elsewhere")
        .tempdir_in("/var/tmp")
        .unwrap();
    fs::set_permissions(elsewhere.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let base = || {
        Config::with_backends(&[("a", a.address())])
            .runtime(AS_NOBODY)
            .admin(ADMIN)
    };
    let lb = place.start(&base());
    let admin = lb.admin();
    let log = format!("access = \"{}\"", elsewhere.path().join("log").display());
    refused(&lb, &admin, &base().log(&log), "it shut itself in when it started");
    assert!(!elsewhere.path().join("log").exists());
    let list = elsewhere.path().join("list.toml");
    fs::write(&list, "").unwrap();
    let file = base().discovery(&format!("kind = \"file\"\npath = {list:?}"));
    refused(&lb, &admin, &file, "can't read");
    let managed = base()
        .runtime("workers = 2\nuser = \"nobody\"")
        .and_service("more")
        .managed("command = [\"tcp_server\", \"{port}\"]\nports = \"9101\"");
    refused(&lb, &admin, &managed, "can't start programs");
    let least = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if least.trim() == "1024" {
        let low = base().listen("\"127.0.0.1:1\"");
        refused(
            &lb,
            &admin,
            &low,
            "which [runtime] user gave up at the start: restart lb",
        );
    } else {
        tell(&format!("skipped: everybody may listen on ports from {least} on here"));
    }
    assert_eq!(greeted_by(lb.address()), "a");
    lb.finish();
}

#[test]
fn a_port_of_roots_is_open_for_nobody_and_an_upgrade_takes_all_of_it_along() {
    let Some(place) = Place::new() else { return };
    let a = Backend::named("a");
    let low = (700..1024)
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .unwrap();
    let listen = format!("\"{}\"", low.local_addr().unwrap());
    drop(low);
    let config = Config::with_backends(&[("a", a.address())])
        .runtime(AS_NOBODY)
        .admin(ADMIN)
        .listen(&listen);
    let mut lb = place.start(&config);
    let (admin, address) = (lb.admin(), lb.address());
    assert_eq!(greeted_by(address), "a");
    let session = Peer::connect(address);
    assert_eq!(session.line(), "a");
    // A kernel takes 16 rule sets on top of each other: were each lb to add its own, the last ones could not start.
    let rounds = if is_full_run("18 upgrades within the sandbox") {
        18
    } else {
        2
    };
    let mut pid = u64::from(lb.process().0);
    for _ in 0..rounds {
        let answer = eventually("the one before is settled", || {
            let answer = admin.ask("POST", "/api/v1/upgrade", &[], "");
            (!matches!(answer.status, 409 | 503)).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{}", answer.text());
        pid = answer.json()["pid"].as_u64().unwrap();
        eventually("the new one answers", || {
            (admin.json(STATUS)["pid"] == json!(pid)).then_some(())
        });
        assert_confined(u32::try_from(pid).unwrap());
        assert_eq!(greeted_by(address), "a");
    }
    lb.line("files as for the lb before this one");
    session.send(b"on").expect(b"on").fin().expect_eof();
    let last = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(last, Signal::TERM).unwrap();
    lb.program_mut().wait();
    eventually("the last one ends", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    lb.forget();
}

#[test]
fn replicas_are_nobodys_too() {
    let Some(place) = Place::new() else { return };
    fs::copy(env!("CARGO_BIN_EXE_tcp_server"), place.0.path().join("tcp_server")).unwrap();
    let ports = free_ports(4);
    let managed = format!(
        "command = [\"tcp_server\", \"{{port}}\"]\nports = \"{}-{}\"\nreplicas = 2",
        ports.start(),
        ports.end()
    );
    let config = Config::new()
        .runtime("workers = 2\nuser = \"nobody\"")
        .admin(ADMIN)
        .managed(&managed);
    let lb = place.start(&config);
    lb.line("files open, as replicas need theirs");
    let admin = lb.admin();
    eventually("two replicas", || {
        let state = admin.json("/api/v1/services/echo");
        let up = state["backends"]
            .as_array()?
            .iter()
            .filter(|backend| backend["state"] == "up");
        (up.count() == 2).then_some(())
    });
    let peer = Peer::connect(lb.address());
    peer.send(b"hi").expect(b"hi").fin().expect_eof();
    let keepers = children_of(lb.process().0);
    let replicas: Vec<u32> = keepers
        .iter()
        .flat_map(|keeper| children_of(keeper.pid))
        .map(|found| found.pid)
        .collect();
    assert_eq!((keepers.len(), replicas.len()), (2, 2));
    for pid in replicas {
        let (_, fields) = threads(pid).swap_remove(0);
        assert!(fields["Uid"].starts_with(&nobody().to_string()), "{fields:?}");
        assert_eq!(
            (fields["NoNewPrivs"].as_str(), fields["CapBnd"].as_str()),
            ("1", "0000000000000000")
        );
    }
    lb.finish_with_replicas();
}

fn run(program: &Path, folder: &Path, config: &Config, change: impl FnOnce(&mut Command)) -> (Option<i32>, String) {
    fs::write(folder.join("lb.toml"), config.text()).unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder);
    change(&mut command);
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn who_is_not_root_or_nobody_at_all_is_refused_and_so_is_a_file_that_could_not_be_read_again() {
    let Some(place) = Place::new() else { return };
    let folder = place.0.path();
    let a = Backend::named("a");
    let base = |runtime: &str| Config::with_backends(&[("a", a.address())]).runtime(runtime);
    let (code, said) = run(&place.lb(), folder, &base(AS_NOBODY), |command| {
        command.uid(nobody() - 1);
    });
    assert!(
        code == Some(1) && said.contains("runtime.user: only root can become user nobody"),
        "{said}"
    );
    for arguments in [&[][..], &["check"]] {
        let nobody_knows = base("user = \"no-such-user\"");
        let (code, said) = run(&place.lb(), folder, &nobody_knows, |command| {
            command.args(arguments);
        });
        assert!(
            code == Some(1) && said.contains("nobody is named no-such-user"),
            "{said}"
        );
    }
    fs::set_permissions(folder.join("lb.toml"), PermissionsExt::from_mode(0o600)).unwrap();
    let (code, said) = run(&place.lb(), folder, &base(AS_NOBODY), |_| {});
    assert!(
        code == Some(1) && said.contains("lb.toml can't be read by user nobody"),
        "{said}"
    );
}

#[test]
fn a_kernel_that_can_not_do_it_is_told_once_and_refused_only_where_it_is_required() {
    let Some(place) = Place::new() else { return };
    if !has("strace", "strace", "a kernel without Landlock and seccomp") {
        return;
    }
    let a = Backend::named("a");
    let without = |call: &'static str, program: &Path| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
        strace.arg(format!("inject={call}:error=ENOSYS")).arg(program);
        strace
    };
    for (call, said) in [
        (
            "landlock_create_ruleset",
            "this kernel has no Landlock: files stay open",
        ),
        ("seccomp", "this kernel takes no list of system calls (seccomp)"),
    ] {
        let config = Config::with_backends(&[("a", a.address())]);
        let lb = place.start_by(&config, |command| {
            let mut strace = without(call, Path::new(command.get_program()));
            strace.current_dir(command.get_current_dir().unwrap());
            strace
        });
        assert_eq!(lb.lines_with(said).len(), 1, "{:?}", lb.stderr());
        assert_eq!(greeted_by(lb.address()), "a");
        // Not strace itself, which would take lb along in its own way.
        let traced = children_of(lb.process().0)[0].pid;
        let traced = rustix::process::Pid::from_raw(i32::try_from(traced).unwrap()).unwrap();
        rustix::process::kill_process(traced, Signal::TERM).unwrap();
        lb.finish_stopped();
        let required = config.runtime("sandbox = \"required\"");
        let folder = place.0.path();
        fs::write(folder.join("lb.toml"), required.text()).unwrap();
        let output = without(call, &place.lb()).current_dir(folder).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && text.contains(said), "{text}");
    }
}

#[test]
fn what_is_off_is_off() {
    let Some(place) = Place::new() else { return };
    let a = Backend::named("a");
    let config = Config::with_backends(&[("a", a.address())]).runtime("workers = 1\nsandbox = \"off\"");
    let lb = place.start(&config);
    for (name, fields) in threads(lb.process().0) {
        let found = (fields["NoNewPrivs"].as_str(), fields["Seccomp"].as_str());
        assert_eq!(found, ("0", "0"), "{name}");
    }
    assert!(lb.lines_with("sandbox: ").is_empty());
    lb.finish();
}
