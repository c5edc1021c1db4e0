//! Drills inside the process: a thread that stalls (T25), system calls that fail (T28). Need strace.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::load::{Load, Plan};
use super::oracle;
use super::report::{Run, drill, millis};
use super::subject::{LB, Setup, Standing};
use super::{Traced, injected, sockets, stop_traced, traced_by};
use crate::common::{Backend, Balancer, Config, PATIENCE, Program, Signal, eventually, pass, tell};

fn has_strace(drill: &str) -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !found {
        tell(&format!("{drill}: skipped: strace isn't installed"));
    }
    found
}

#[test]
fn t25_a_worker_that_stalls_is_named_and_the_others_go_on() {
    drill("T25", "a worker stalls", LB, |run, field| {
        if !has_strace("T25") {
            return;
        }
        let _servers = field.serve_all();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        // As a service manager does: lb waits for one that reads nothing.
        let _manager = std::thread::spawn(move || {
            let mut word = [0; 256];
            while let Ok(length) = notify.recv(&mut word)
                && !word[..length].starts_with(b"STOPPING")
            {}
        });
        let standing = Standing::start_with(field, run.subject, &Setup::default(), |mut command| {
            command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "900000");
            command
        });
        let load = Load::start(field, Plan::held(40));
        load.wait_for_live(40);
        let stall = Duration::from_secs(run.size(2, 5) as u64);
        let from = Instant::now();
        let strace = stalled(&standing, "worker-0", stall);
        standing.lb().line("no answer from worker-0");
        run.told("the stall is told after", from.elapsed().as_secs_f64(), "s");
        run.claim(true, "the log names the worker that stalls", "");
        let before = load.so_far().answers.len();
        pass(stall / 4);
        let answered = load.so_far().answers.len() - before;
        run.told("records answered in a quarter of the stall", answered as f64, "");
        run.claim(answered > 0, "the other worker's sessions go on", answered);
        let fresh = Load::run(field, Plan::short(4, 40));
        run.claim(
            fresh.failed() == 0,
            "new connections are served, at the latest behind it",
            fresh.words(),
        );
        strace.signal(Signal::INT);
        eventually("the worker turns again", || {
            let before = load.so_far().answers.len();
            pass(Duration::from_millis(200));
            (load.so_far().answers.len() >= before + 40).then_some(())
        });
        let outcome = load.stop();
        run.claim(
            outcome.failed() == 0,
            "nobody is lost, its own neither",
            outcome.words(),
        );
        run.told("slowest answer", millis(outcome.answer(1.0)), "ms");
        drop(strace);
        oracle::end(run, standing);
    });
}

/// One turn of one thread takes so long.
fn stalled(standing: &Standing<'_>, thread: &str, stall: Duration) -> Program {
    let pid = standing.lb().process().0;
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    let is_it =
        |task: &std::path::PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread);
    let task = tasks.find(is_it).unwrap_or_else(|| panic!("no thread {thread}"));
    let calls = "epoll_wait,epoll_pwait,epoll_pwait2";
    let mut strace = Command::new("strace");
    strace.args([
        "-qq",
        "-p",
        task.file_name().unwrap().to_str().unwrap(),
        "-e",
        &format!("trace={calls}"),
        "-e",
    ]);
    strace.arg(format!("inject={calls}:delay_enter={}:when=1", stall.as_micros()));
    Program::captured(strace)
}

/// Nobody's fault: no session may fail for it.
// Not recvfrom or splice with EAGAIN: the kernel never says that while bytes are there, and who believes it waits for an event that was.
const HARMLESS: [&str; 10] = [
    "accept4:error=EAGAIN:when=2+3",
    "accept4:error=ENFILE:when=2+5",
    "accept4:error=EMFILE:when=2+5",
    "accept4:error=ENOMEM:when=2+5",
    "accept4:error=EPROTO:when=2+3",
    "accept4:error=EPERM:when=2+5",
    "splice:error=ENOMEM:when=2+3",
    "pipe2:error=EMFILE",
    "pipe2:error=ENFILE:when=1+2",
    "connect:error=EINTR:when=1+3",
];

/// Costs the session that it hits, at most.
const ONE_SESSION: [&str; 14] = [
    "recvfrom:error=ECONNRESET:when=9+11",
    "recvfrom:error=ETIMEDOUT:when=9+11",
    "recvfrom:error=EHOSTUNREACH:when=9+11",
    "sendto:error=EPIPE:when=9+11",
    "sendto:error=ECONNRESET:when=9+11",
    "sendto:error=ENOBUFS:when=9+11",
    // Some sixty of these a session.
    "splice:error=ECONNRESET:when=9+400",
    "splice:error=EPIPE:when=9+400",
    "connect:error=ECONNREFUSED:when=1+2",
    "connect:error=EADDRNOTAVAIL:when=1+2",
    "connect:error=ENETUNREACH:when=1+2",
    "connect:error=ENOBUFS:when=1+2",
    "socket:error=EMFILE:when=4+3",
    "shutdown:error=ENOTCONN:when=5+7",
];

#[test]
fn t28_a_system_call_that_fails_costs_its_own_session_at_most() {
    drill("T28", "system calls that fail, by strace", LB, |run, _| {
        if !has_strace("T28") {
            return;
        }
        // The short form takes what tests/faults.rs hasn't got, and a few of each.
        let (harmless, one) = (run.size(4, HARMLESS.len()), run.size(4, ONE_SESSION.len()));
        for inject in &HARMLESS[..harmless] {
            injection(run, inject, true);
        }
        for inject in ONE_SESSION.iter().step_by(if run.is_long { 1 } else { 4 }).take(one) {
            injection(run, inject, false);
        }
        run.told("system calls and errors", (harmless + one) as f64, "");
    });
}

fn injection(run: &mut Run, inject: &str, is_harmless: bool) {
    let backends = [Backend::echo(), Backend::echo()];
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    let config = Config::with_backends(&[("a", backends[0].address()), ("b", backends[1].address())]);
    let lb = Balancer::start_with(&config, |command| injected(inject, &calls, &command));
    let pid = eventually("the traced lb", || traced_by(lb.process().0));
    let _traced = Traced(pid);
    let before = sockets(pid);
    let mut plan = Plan::short(4, 24).patience(PATIENCE);
    plan.target = lb.address();
    plan.sizes = vec![100, 400_000]; // the second is spliced
    plan.records = 2;
    let outcome = Load::run_here(plan);
    let claim = if is_harmless {
        "what is nobody's fault costs no session"
    } else {
        "what hits a session costs no other a byte"
    };
    let holds = outcome.wrong() == 0 && (!is_harmless || outcome.failed() == 0) && outcome.failed() < 24;
    run.claim(holds, claim, format!("{inject}: {}", outcome.words()));
    eventually(&format!("{inject}: no session is left"), || {
        (sockets(pid) <= before).then_some(())
    });
    stop_traced(&lb, pid);
    lb.finish_stopped();
    let calls = std::fs::read_to_string(&calls).unwrap();
    run.claim(calls.contains("(INJECTED)"), "every injection hits", inject);
}
