//! A real program, its output read line by line, ended with its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, kill_process};

use super::{Process, eventually, tell};

/// What can be sent to a program.
pub(crate) use rustix::process::Signal;

/// The lines of one stream, growing.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let into = lines.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                into.0.lock().unwrap().push(text);
                line.clear();
            }
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A program of this package, or one that becomes it by exec.
pub(crate) struct Program {
    child: Child,
    name: String,
    stdout: Lines,
    stderr: Lines,
}

impl Program {
    /// Starts `command`; streams that it doesn't set are captured.
    pub(crate) fn start(mut command: Command) -> Self {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).env_remove("RUST_LOG").env("NO_COLOR", "1");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = child.stdout.take().map(Lines::read).unwrap_or_default();
        let stderr = child.stderr.take().map(Lines::read).unwrap_or_default();
        Self {
            child,
            name,
            stdout,
            stderr,
        }
    }

    /// `command` with both streams captured.
    pub(crate) fn captured(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start(command)
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// The first line of either stream that holds `text`.
    pub(crate) fn line(&self, text: &str) -> String {
        eventually(
            &format!("a line with {text:?} of {}, which said {:#?}", self.name, self.stderr()),
            || {
                let lines = self.stderr().into_iter().chain(self.stdout());
                lines.into_iter().find(|line| line.contains(text))
            },
        )
    }

    /// Lines of either stream that hold `text`, so far.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.stderr().into_iter().chain(self.stdout());
        lines.filter(|line| line.contains(text)).collect()
    }

    /// Waits until as many lines as that hold `text`.
    pub(crate) fn wait_for_lines(&self, count: usize, text: &str) -> Vec<String> {
        eventually(&format!("{count} lines with {text:?} of {}", self.name), || {
            let lines = self.lines_with(text);
            (lines.len() >= count).then_some(lines)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status = eventually(&format!("{name} ends"), || self.child.try_wait().unwrap());
        self.finish_output();
        status
    }

    /// The exit code; `None` if a signal ended it.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.wait().code()
    }

    /// The readers have everything when they have dropped their ends.
    fn finish_output(&self) {
        for lines in [&self.stdout, &self.stderr] {
            eventually("the end of its output", || {
                (Arc::strong_count(&lines.0) == 1).then_some(())
            });
        }
    }

    /// `kill -9`, and its end awaited.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    pub(crate) fn story(&self) -> String {
        const LINES: usize = 60;
        let tail = |lines: Vec<String>| lines[lines.len().saturating_sub(LINES)..].join("\n");
        format!(
            "--- {}, standard error, the last {LINES} lines:\n{}\n--- standard output:\n{}\n--- status:\n{}",
            self.name,
            tail(self.stderr()),
            tail(self.stdout()),
            self.process().status()
        )
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already can't be killed, and needn't be.
        let killed = self.child.kill();
        drop(killed);
        let waited = self.child.wait();
        drop(waited);
    }
}

/// Whether a program is here; if not, it says so, past the capture of the test harness.
pub(crate) fn has(program: &str, package: &str, what: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        tell(&format!("skipped: {what}: no {program}; apt-get install {package}"));
    }
    found.is_ok()
}
