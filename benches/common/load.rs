//! The two ends of a measurement: `tcp_server`, which echoes, and `client`, which checks every byte and reports.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Failure;
use super::program::Program;

/// Starts a `tcp_server` with these arguments, its port among them; tells where it listens, on 127.0.0.1.
pub(crate) fn start_server(
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    log: &Path,
) -> Result<(Program, SocketAddr), Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcp_server"));
    let mut program = Program::start(command.args(arguments), log)?;
    let address = told_address(&mut program)?;
    Ok((program, address))
}

/// The address at the end of the next line.
pub(crate) fn told_address(program: &mut Program) -> Result<SocketAddr, Failure> {
    let line = program.next_line()?;
    let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| {
        let log = program.log_tail();
        format!("tcp_server said {line:?} instead of its address\n{log}")
    })?;
    Ok(([127, 0, 0, 1], port).into())
}

/// A `client` at work.
pub(crate) struct Load {
    program: Program,
    report: PathBuf,
}

impl Load {
    /// Starts it with these arguments; its report and log are in `folder`.
    pub(crate) fn start(
        target: SocketAddr,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let report = folder.join("report.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.args(["--target", &target.to_string()]).args(arguments);
        command.arg("--json").arg(&report);
        let program = Program::start(&mut command, &folder.join("client.log"))?;
        Ok(Self { program, report })
    }

    /// Waits for its report.
    pub(crate) fn finish(mut self) -> Result<Report, Failure> {
        let status = self.program.wait()?;
        let text = std::fs::read_to_string(&self.report).map_err(|error| {
            format!(
                "the client gave no report ({error}), {status}: {}",
                self.program.log_tail()
            )
        })?;
        Ok(Report(serde_json::from_str(&text)?))
    }

    /// Waits for its report; fails if any request did.
    pub(crate) fn finish_answered(self) -> Result<Report, Failure> {
        let report = self.finish()?;
        let failed = report.number("/requests/failed")?;
        if failed > 0.0 {
            let errors = report.0.pointer("/errors").unwrap_or(&Value::Null);
            return Err(format!("{failed} requests failed: {errors}").into());
        }
        Ok(report)
    }
}

/// What a client reports.
#[derive(Debug)]
pub(crate) struct Report(pub(crate) Value);

impl Report {
    /// The number at this place.
    pub(crate) fn number(&self, pointer: &str) -> Result<f64, Failure> {
        let found = self.0.pointer(pointer).and_then(Value::as_f64);
        found.ok_or_else(|| format!("the client's report has no {pointer}").into())
    }
}
