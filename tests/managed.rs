//! Replicas that lb keeps alive: they come, serve, are replaced, go, and never outlive it. Everything here is the real program.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::common::{Backend, Balancer, Config, Peer, Process, eventually, free_ports, run_by, tell};
use scene::{ECHO, Family, Scene, config, section};

mod in_process;
mod scaling;
mod scene;
mod upgrade;

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Runs a program that echoes, and beside it one that nobody asked for, in the background.
const WITH_CHILD: &str = r#"["sh", "-c", "sleep 1000 & exec \"$(dirname $LB)/tcp_server\" {port}"]"#;
/// The same in a session of its own.
const WITH_RUNAWAY: &str = r#"["sh", "-c", "setsid sleep 1000 & exec \"$(dirname $LB)/tcp_server\" {port}"]"#;

fn where_lb_is() -> String {
    format!("env = {{ LB = \"{}\" }}", env!("CARGO_BIN_EXE_lb"))
}

#[test]
fn replicas_come_up_serve_and_go_with_lb() {
    let scene = Scene::start(ECHO, 3, "");
    let replicas = scene.wait_for(3);
    let names: Vec<&str> = replicas.iter().map(|replica| replica.name.as_str()).collect();
    assert_eq!(names, ["echo-1", "echo-2", "echo-3"]);
    (0..6).for_each(|_| scene.serves());
    let state = scene.state();
    for backend in state["backends"].as_array().unwrap() {
        assert_eq!(
            (&backend["origin"], &backend["connections"]["total"]),
            (&json!("managed"), &json!(2))
        );
    }
    assert_eq!(state["replicas"]["wanted"], 3);
    let used = eventually("what its process uses", || {
        let process = scene.state()["backends"][0]["process"].clone();
        process["cpu_percent"].is_number().then_some(process)
    });
    assert!(
        used["memory_bytes"].as_u64().unwrap() > 500_000 && used["uptime_seconds"].is_number(),
        "{used}"
    );
    scene.lb.line("echo: echo-1 | server-");
    assert_eq!(
        (
            scene.family().count("lb keep-replica echo/echo-"),
            scene.family().count("tcp_server")
        ),
        (3, 3)
    );
    scene.finish();
}

/// The descriptors of a process that another could hold too: sockets and files, not the pipe between a keeper and its replica.
fn shareable(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = entries.map(|entry| {
        std::fs::read_link(entry.unwrap().path())
            .unwrap()
            .to_string_lossy()
            .into_owned()
    });
    names
        .filter(|name| !name.starts_with("pipe:") && name != "/dev/null")
        .collect()
}

#[test]
fn keepers_and_replicas_inherit_neither_descriptors_nor_signals() {
    let ports = free_ports(12);
    let section = section(WITH_CHILD, &ports, 1, &where_lb_is());
    let scene = Scene::with_program(&section, ports, |command| {
        let mut env = run_by(&["env", "--ignore-signal=USR1", "--block-signal=USR2"], &command);
        env.env("LISTEN_FDS", "0").process_group(0);
        env
    });
    scene.wait_for(1);
    let of_lb = shareable(scene.lb.process().0);
    for (pid, _, command) in scene.family().0 {
        let own = shareable(pid);
        assert!(
            own.iter()
                .all(|name| !of_lb.contains(name) || name.starts_with("anon_inode")),
            "{command}: {own:?}"
        );
        if command.contains("keep-replica") {
            continue; // it has handlers of its own
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let signals = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let usr1_usr2 = 1 << 9 | 1 << 11;
        assert_eq!(
            (signals("SigBlk:"), signals("SigIgn:") & usr1_usr2),
            (0, 0),
            "{command}\n{status}"
        );
        let env = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        assert!(!env.contains("LISTEN_FDS"), "{command}");
    }
    scene.finish();
}

#[test]
fn a_replica_that_is_killed_under_load_is_replaced_and_no_client_goes_without() {
    let scene = Scene::start(ECHO, 3, "");
    let replicas = scene.wait_for(3);
    let (is_over, served, cut) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let address = scene.lb.address();
    let took = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let peer = Peer::new(TcpStream::connect(address).unwrap());
                    let counter = if peer.is_echoed(b"hello") { &served } else { &cut };
                    counter.fetch_add(1, Relaxed);
                }
            });
        }
        let killed_at = Instant::now();
        send(replicas[1].pid, Signal::KILL);
        scene.wait_for_another(&replicas[1], 3);
        let took = killed_at.elapsed();
        is_over.store(true, Relaxed);
        took
    });
    scene.lb.line("echo-2 was ended by signal 9");
    let (served, cut) = (served.into_inner(), cut.into_inner());
    tell(&format!(
        "a killed replica was replaced after {took:?}, its delay of 100ms among them; {served} served, {cut} cut"
    ));
    assert!(
        served > 0 && cut <= 8,
        "{served} served, {cut} were on it when it was killed"
    );
    let closing = scene.finish();
    assert_eq!(
        (closing.ended("connect_failed"), closing.ended("no_backend")),
        (0, 0),
        "{closing:?}"
    );
}

#[test]
fn one_that_hangs_is_replaced() {
    let scene = Scene::start(ECHO, 2, "replace_after = \"300ms\"\nstop_timeout = \"1s\"");
    let replicas = scene.wait_for(2);
    let family = scene.family();
    send(replicas[0].pid, Signal::STOP);
    scene
        .lb
        .line("echo-1 is down for 300ms and its process lives: it is replaced");
    let new = scene.wait_for_another(&replicas[0], 2);
    assert_eq!(new.restarts, 1);
    Family(
        family
            .0
            .into_iter()
            .filter(|(pid, _, _)| *pid == replicas[0].pid)
            .collect(),
    )
    .expect_none("it was replaced");
    scene.serves();
    scene.finish();
}

#[test]
fn a_command_that_ends_at_once_is_started_ever_more_rarely_and_the_others_live() {
    let ports = free_ports(12);
    let broken = section(r#"["sh", "-c", "echo no can do; exit 3", "{port}"]"#, &ports, 1, "");
    let others = free_ports(6);
    let both = config(&broken)
        .and_service("good")
        .health("kind = \"off\"")
        .managed(&section(ECHO, &others, 1, ""));
    let lb = Balancer::start(&both);
    lb.line("good: good-1 takes connections");
    // Pauses of 100, 200, 400 and 800 ms.
    lb.wait_for_lines(1, "ended with exit code 3 after");
    lb.line("it is started again in 800ms");
    let starts = lb.lines_with("echo: echo-1 started").len();
    assert!((4..=5).contains(&starts), "{starts}");
    lb.line("echo: echo-1 | no can do");
    Peer::connect(lb.addresses_of("good")[0])
        .send(b"x")
        .fin()
        .expect(b"x")
        .expect_eof();
    let family = Family::of(lb.process());
    lb.finish_with_replicas();
    family.expect_none("lb has stopped");
}

#[test]
fn a_program_or_user_that_is_not_there_is_told() {
    let scene = Scene::start(r#"["no-such-program", "{port}"]"#, 1, "");
    scene
        .lb
        .line("can't start no-such-program: it is neither beside lb nor in PATH; write its path");
    scene.finish();
    let scene = Scene::start(ECHO, 1, "user = \"no-such-user\"");
    scene.lb.line("user: nobody is named no-such-user on this machine");
    scene.finish();
    let scene = Scene::start(ECHO, 1, "working_directory = \"/no/such/place\"");
    scene.lb.line("working_directory: /no/such/place is no directory");
    scene.finish();
}

#[test]
fn a_replica_has_its_environment_its_directory_and_its_user() {
    let say = r#"["sh", "-c", "echo $WHO at $PWD as $(id -u); exec sleep 1000", "{port}"]"#;
    let is_root = rustix::process::geteuid().is_root();
    let user = if is_root { "user = \"nobody\"\n" } else { "" };
    let scene = Scene::start(
        say,
        1,
        &format!("{user}working_directory = \"/\"\nenv = {{ WHO = \"{{name}}:{{port}}\" }}"),
    );
    let id = if is_root {
        65534
    } else {
        rustix::process::geteuid().as_raw()
    };
    scene
        .lb
        .line(&format!("echo: echo-1 | echo-1:{} at / as {id}", scene.ports.start()));
    // Its parent's end still kills it, although its user is another.
    let family = scene.family();
    let keeper = family
        .0
        .iter()
        .find(|(_, _, command)| command.contains("keep-replica"))
        .unwrap()
        .0;
    send(keeper, Signal::KILL);
    family.expect_none("its keeper was killed");
    scene.finish();
}

#[test]
fn nothing_is_left_of_a_killed_lb_not_even_what_replicas_started() {
    for command in [WITH_CHILD, WITH_RUNAWAY] {
        let mut scene = Scene::start(command, 3, &where_lb_is());
        scene.wait_for(3);
        let family = scene.family();
        assert_eq!(
            (
                family.count("keep-replica"),
                family.count("tcp_server"),
                family.count("sleep 1000")
            ),
            (3, 3, 3)
        );
        let killed_at = Instant::now();
        scene.lb.program_mut().kill();
        family.expect_none("lb was killed");
        tell(&format!(
            "nothing was left of a killed lb after {:?}",
            killed_at.elapsed()
        ));
        scene.lb.forget();
    }
}

#[test]
fn one_that_ignores_that_it_is_to_end_is_killed_in_time_with_all_it_started() {
    let deaf = r#"["sh", "-c", "trap '' TERM; sleep 1000 & \"$(dirname $LB)/tcp_server\" {port}; sleep 1000"]"#;
    let scene = Scene::start(deaf, 1, &format!("{}\nstop_timeout = \"300ms\"", where_lb_is()));
    scene.wait_for(1);
    scene.finish();
    // A second signal doesn't wait for it.
    let mut scene = Scene::start(deaf, 1, &format!("{}\nstop_timeout = \"1h\"", where_lb_is()));
    scene.wait_for(1);
    let family = scene.family();
    scene.lb.signal(Signal::TERM);
    scene.lb.line("stopping 1 replicas");
    scene.lb.signal(Signal::TERM);
    assert_eq!(scene.lb.program_mut().exit_code(), Some(1));
    family.expect_none("lb was told twice to stop");
    scene.lb.forget();
}

#[test]
fn a_killed_keeper_takes_its_replica_along_and_both_are_replaced() {
    let scene = Scene::start(WITH_CHILD, 2, &where_lb_is());
    let replicas = scene.wait_for(2);
    let family = scene.family();
    let keeper = Family::of(scene.lb.process());
    let keeper = keeper
        .0
        .iter()
        .find(|(_, _, command)| command.ends_with("echo/echo-1"))
        .unwrap()
        .0;
    let taken: Vec<_> = Family::of(Process(keeper)).0;
    assert_eq!(taken.len(), 2, "{family:?}");
    send(keeper, Signal::KILL);
    scene.wait_for_another(&replicas[0], 2);
    Family(taken).expect_none("its keeper was killed");
    scene.lb.line("its keeper ended before it");
    scene.serves();
    scene.finish();
}

#[test]
fn ports_that_somebody_has_are_passed_over() {
    let ports = free_ports(12);
    let taken: Vec<TcpListener> = [0, 2]
        .map(|place| TcpListener::bind(("0.0.0.0", ports.start() + place)).unwrap())
        .into();
    let scene = Scene::with(&section(ECHO, &ports, 3, ""), ports.clone());
    let mut used: Vec<u16> = scene
        .wait_for(3)
        .iter()
        .map(|replica| replica.port - ports.start())
        .collect();
    used.sort_unstable();
    assert_eq!(used, [1, 3, 4]);
    drop(taken);
    scene.finish();
    let ports = free_ports(2);
    let taken = TcpListener::bind(("127.0.0.1", *ports.end())).unwrap();
    let scene = Scene::with(&section(ECHO, &ports, 2, ""), ports.clone());
    scene.lb.line(&format!(
        "no port from {} to {} is free for echo-2",
        ports.start(),
        ports.end()
    ));
    drop(taken);
    scene.wait_for(2);
    scene.finish();
}

#[test]
fn what_a_replica_writes_is_in_the_log_with_its_name_and_nothing_invisible() {
    let say = r#"["sh", "-c", "printf 'a\\033[31mb\\r\\nlast'; printf 'err\\n' >&2; head -c 3000 /dev/zero | tr '\\0' x; yes | head -20000; exit 0", "{port}"]"#;
    let scene = Scene::start(say, 1, "");
    scene.lb.line("echo: echo-1 | a\\u{1b}[31mb");
    scene.lb.line("echo: echo-1 | err");
    scene
        .lb
        .line(" lines are left out: it wrote faster than they are logged");
    scene.lb.line("echo-1 ended with exit code 0");
    let lines = scene.lb.lines_with("echo: echo-1 | ");
    assert!(lines.iter().all(|line| line.len() < 1200), "a line is bounded");
    scene.finish();
}

#[test]
fn a_reload_changes_the_number_the_program_and_whether_there_are_any() {
    let scene = Scene::start(ECHO, 2, "");
    scene.wait_for(2);
    let old = Peer::connect(scene.lb.address());
    old.send(b"1").expect(b"1");
    let reload = |config: &Config| drop(scene.lb.reload(&scene.admin, config));
    reload(&config(&section(ECHO, &scene.ports, 4, "")));
    let before = scene.wait_for(4);
    // Another program: one after the other, and somebody always serves.
    let is_over = AtomicBool::new(false);
    let address = scene.lb.address();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !is_over.load(Relaxed) {
                Peer::connect(address).send(b"x").fin().expect(b"x").expect_eof();
            }
        });
        let other = r#"["tcp_server", "{port}", "--delay", "1ms"]"#;
        reload(&config(&section(other, &scene.ports, 4, "")));
        eventually("every replica is another process", || {
            let running = scene.running();
            let is_new = |new: &scene::Replica| before.iter().all(|old| old.pid != new.pid);
            (running.len() == 4 && running.iter().all(is_new)).then_some(())
        });
        is_over.store(true, Relaxed);
        load.join().unwrap();
    });
    old.send(b"2").expect(b"2").fin().expect_eof();
    let names: Vec<String> = scene.running().into_iter().map(|replica| replica.name).collect();
    assert_eq!(names, ["echo-1", "echo-2", "echo-3", "echo-4"]);
    // A program that can't be started replaces nobody.
    reload(&config(&section(
        r#"["no-such-program", "{port}"]"#,
        &scene.ports,
        4,
        "",
    )));
    scene.lb.line("can't start no-such-program");
    assert_eq!(scene.wait_for(4).len(), 4);
    scene.serves();
    // Without the section they go, but not before their sessions.
    let held = Peer::connect(address);
    held.send(b"3").expect(b"3");
    let family = scene.family();
    let spare = Backend::echo();
    let without = Config::new()
        .admin("listen = \"127.0.0.1:0\"")
        .runtime("workers = 2\ndrain_timeout = \"20s\"")
        .backend("spare", spare.address(), "");
    reload(&without);
    eventually("only the one with a session is left", || {
        (family.left().len() == 2).then_some(())
    });
    held.send(b"4").expect(b"4").fin().expect_eof();
    family.expect_none("the section is gone");
    assert!(scene.state()["replicas"].is_null());
    // And again with it.
    reload(&config(&section(ECHO, &scene.ports, 1, "")));
    scene.wait_for(1);
    // The whole service goes.
    let family = scene.family();
    let other = Config::new()
        .admin("listen = \"127.0.0.1:0\"")
        .backend("spare", spare.address(), "");
    scene.lb.reload(&scene.admin, &other.renamed("other"));
    family.expect_none("the service is gone");
    scene.lb.signal(Signal::TERM);
    scene.lb.line("stopped");
    scene.lb.forget();
}

#[test]
fn with_as_many_replicas_as_ports_another_program_takes_their_places_one_by_one() {
    let ports = free_ports(2);
    let scene = Scene::with(&section(ECHO, &ports, 2, ""), ports.clone());
    let before = scene.wait_for(2);
    let other = r#"["tcp_server", "{port}", "--delay", "1ms"]"#;
    scene.lb.write(&config(&section(other, &ports, 2, "")));
    scene.lb.signal(Signal::HUP);
    eventually("both are other processes", || {
        let running = scene.running();
        assert!(scene.admin.get("/healthcheck").status == 200, "somebody serves");
        let is_new = |new: &scene::Replica| before.iter().all(|old| old.pid != new.pid);
        (running.len() == 2 && running.iter().all(is_new)).then_some(())
    });
    scene.finish();
}
