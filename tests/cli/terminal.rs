//! `lb top` on a terminal: what it shows, what its keys do, and that the terminal is given back however it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::super::common::{Backend, Balancer, Config, Process, Signal, eventually};
use super::{ADMIN, Asked, lb};

const LEAVES: &str = "\u{1b}[?1049l";

/// A terminal with a program on it.
struct Terminal {
    keyboard: File,
    line: File,
    screen: Arc<Mutex<String>>,
    program: Child,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let line = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&line, size).unwrap();
        let stream = || Stdio::from(line.try_clone().unwrap());
        command
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .env("TERM", "xterm");
        let program = command.spawn().unwrap();
        let keyboard = File::from(ours);
        let mut reader = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut piece) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        Self {
            keyboard,
            line,
            screen,
            program,
        }
    }

    fn press(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).unwrap();
    }

    fn written(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    fn wait_for(&self, text: &str) {
        eventually(
            &format!("{text:?} on the screen, on which stands {:?}", self.written()),
            || self.written().contains(text).then_some(()),
        );
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.line)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end; the terminal is as it was.
    fn expect_end(&mut self, code: i32) {
        let status = eventually("the end of lb top", || self.program.try_wait().unwrap());
        assert_eq!(status.code(), Some(code), "{}", self.written());
        assert!(!self.is_raw());
        self.wait_for(LEAVES);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended already can't be killed, and needn't be.
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

fn top(admin: &str) -> Terminal {
    let terminal = Terminal::start(lb(&["top", "--admin", admin]));
    terminal.wait_for("SERVICE, BACKEND");
    assert!(terminal.is_raw());
    terminal
}

#[test]
fn top_shows_backends_and_its_keys_change_them() {
    let a = Backend::named("a");
    let lb = Asked::start(&[("a", a.address())]);
    let mut terminal = top(&lb.admin);
    terminal.wait_for(&a.address().to_string());
    terminal.press("d");
    terminal.wait_for("select a backend first");
    let backend = || lb.json("backends echo")["backends"][0].clone();
    assert_eq!(backend()["state"], "up");
    terminal.press("jd");
    eventually("a is draining", || (backend()["state"] == "draining").then_some(()));
    terminal.press("r++-");
    eventually("a is up and weighs 2", || {
        (backend()["state"] == "up" && backend()["weight"] == 2).then_some(())
    });
    terminal.press("q");
    terminal.expect_end(0);
    lb.balancer.finish();
}

#[test]
fn a_signal_and_ctrl_c_give_the_terminal_back() {
    let a = Backend::named("a");
    let lb = Asked::start(&[("a", a.address())]);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut terminal = top(&lb.admin);
        rustix::process::kill_process(rustix::process::Pid::from_child(&terminal.program), signal).unwrap();
        terminal.expect_end(0);
    }
    let mut terminal = top(&lb.admin);
    terminal.press("\u{3}");
    terminal.expect_end(0);
    lb.balancer.finish();
}

#[test]
fn top_says_when_lb_is_gone_and_when_it_is_back() {
    let a = Backend::named("a");
    let config = Config::with_backends(&[("a", a.address())]);
    let balancer = Balancer::start(&config.clone().admin(ADMIN));
    let address = balancer.admin().address().to_string();
    let mut terminal = top(&address);
    let first: Process = balancer.process();
    balancer.finish();
    terminal.wait_for("without an answer");
    terminal.wait_for("connection refused");
    let again = Balancer::start(&config.admin(&format!("listen = \"{address}\"")));
    assert_ne!(again.process().0, first.0);
    let seen = terminal.written().len();
    eventually("running again", || {
        terminal.written()[seen..].contains("running").then_some(())
    });
    terminal.press("q");
    terminal.expect_end(0);
    again.finish();
}
