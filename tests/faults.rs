//! Faults of the machine around it: a log that can't be written, nobody who reads it, backends that lie; and the drills, each a file here:
//! `field` is where they take place, `subject` who is put to the test, `load` and `frame` the traffic, `oracle` what holds in the end,
//! `report` where claims and figures go.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};

mod backends;
mod changes;
mod field;
mod frame;
mod hostile;
mod inside;
mod lies;
mod load;
mod oracle;
mod report;
mod resets;
mod shortage;
mod slow;
mod subject;
mod whole;

use super::common::{Backend, Balancer, Config, Peer, Program, Signal, at_once, eventually, lb_command, run_by};

/// Traffic that must not notice anything.
fn exchange(lb: std::net::SocketAddr) {
    at_once(4, |_| {
        for _ in 0..50 {
            Peer::connect(lb).send(b"hi").fin().expect(b"hi").expect_eof();
        }
    });
}

#[test]
fn an_access_log_on_a_full_disk_costs_lines_and_nothing_else() {
    let backend = Backend::echo();
    let config = Config::with_backends(&[("a", backend.address())]).log("access = \"/dev/full\"");
    let lb = Balancer::start(&config);
    exchange(lb.address());
    assert_eq!(lb.finish().ended("client_closed"), 200);
}

#[test]
fn an_access_log_nobody_reads_holds_up_nothing() {
    // Standard error is a pipe of which nobody reads: 64 KiB, then a write blocks. The lines are ten times that.
    let backend = Backend::echo();
    let port = free_port();
    let config = Config::with_backends(&[("a", backend.address())])
        .log("access = \"stderr\"")
        .listen(&format!("\"127.0.0.1:{port}\""));
    let (reader, writer) = std::io::pipe().unwrap();
    let mut lb = start_with_stderr(&config, writer.into());
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    wait_until_up(address);
    for _ in 0..15 {
        exchange(address);
    }
    lb.program.signal(Signal::TERM);
    assert_eq!(lb.program.exit_code(), Some(0), "a log that is stuck is left behind");
    drop(reader);
}

#[test]
fn a_closed_or_full_standard_error_is_no_reason_to_stop() {
    for full in [false, true] {
        let backend = Backend::echo();
        let port = free_port();
        let config = Config::with_backends(&[("a", backend.address())])
            .log("level = \"trace\"\naccess = \"stderr\"")
            .listen(&format!("\"127.0.0.1:{port}\""));
        let stderr = if full {
            OpenOptions::new().write(true).open("/dev/full").unwrap().into()
        } else {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader); // every write from now on is EPIPE
            writer.into()
        };
        let mut lb = start_with_stderr(&config, stderr);
        let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
        wait_until_up(address);
        exchange(address);
        lb.program.signal(Signal::TERM);
        assert_eq!(lb.program.exit_code(), Some(0));
    }
}

struct Blind {
    program: Program,
    _folder: tempfile::TempDir,
}

/// It can't tell its port, so it is given one.
fn start_with_stderr(config: &Config, stderr: Stdio) -> Blind {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lb.toml"), config.text()).unwrap();
    let mut command = lb_command(folder.path());
    command.stdout(Stdio::null()).stderr(stderr);
    Blind {
        program: Program::start(command),
        _folder: folder,
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn wait_until_up(address: std::net::SocketAddr) {
    drop(eventually("it listens", || std::net::TcpStream::connect(address).ok()));
}

#[test]
fn a_configuration_that_isnt_there_is_said_and_ends_it_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let mut lb = Program::captured(lb_command(folder.path()));
    assert_eq!(lb.exit_code(), Some(1));
    assert!(
        lb.stderr().len() == 1 && lb.stderr()[0].contains("lb.toml"),
        "{:?}",
        lb.stderr()
    );
}

#[test]
fn system_calls_that_fail_at_random_cost_no_session_a_byte() {
    // EINTR and EAGAIN at any call are nobody's fault: nothing may come of them.
    if Command::new("strace").arg("-V").output().is_err() {
        super::common::tell("system_calls_that_fail_at_random…: skipped: strace isn't installed");
        return;
    }
    for inject in [
        "accept4:error=EINTR:when=2+3",
        "accept4:error=ECONNABORTED:when=2+3",
        "recvfrom:error=EINTR:when=3+5",
        "sendto:error=EINTR:when=3+5",
        "splice:error=EINTR:when=2+3",
        "epoll_wait,epoll_pwait,epoll_pwait2:error=EINTR:when=2+3",
        "accept4:error=ENOBUFS:when=2+5",
        "splice:error=EINVAL",
    ] {
        let backend = Backend::echo();
        let folder = tempfile::tempdir().unwrap();
        let calls = folder.path().join("calls");
        let lb = Balancer::start_with(&Config::with_backends(&[("a", backend.address())]), |command| {
            injected(inject, &calls, &command)
        });
        let pid = eventually("the traced lb", || traced_by(lb.process().0));
        let _traced = Traced(pid);
        let before = sockets(pid);
        at_once(4, |number| {
            for seed in 0..5 {
                let client = Peer::connect(lb.address());
                let seed = seed + 100 * number as u64;
                std::thread::scope(|scope| {
                    scope.spawn(|| client.send_noise(seed, 300_000).fin());
                    client.expect_noise(seed, 300_000).expect_eof();
                });
            }
        });
        eventually("no session is left", || (sockets(pid) <= before).then_some(()));
        stop_traced(&lb, pid);
        assert_eq!(lb.finish_stopped().ended("client_closed"), 20, "{inject}");
        let calls = std::fs::read_to_string(&calls).unwrap();
        assert!(calls.contains("(INJECTED)"), "{inject}: no call failed");
    }
}

/// A process that would outlive strace, were a failed test to end that.
struct Traced(i32);

impl Drop for Traced {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let pid = rustix::process::Pid::from_raw(self.0).unwrap();
            // Gone already is as good.
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// The handler of the signal writes to a socket too, and that call may be the one that fails: then the signal is lost, and sent again.
fn stop_traced(lb: &Balancer, pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    for _ in 0..2 {
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while std::time::Instant::now() < patience {
            if !lb.lines_with("] stopping").is_empty() {
                return;
            }
            super::common::pass(std::time::Duration::from_millis(5));
        }
    }
}

/// The same command under strace, which makes some of its system calls fail.
fn injected(what: &str, told_to: &Path, command: &Command) -> Command {
    let (calls, _) = what.split_once(':').unwrap();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={what}"));
    let told_to = told_to.to_str().unwrap();
    run_by(
        &["strace", "-f", "-qq", "-o", told_to, "-e", &trace, "-e", &inject],
        command,
    )
}

fn traced_by(strace: u32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

fn sockets(pid: i32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}
