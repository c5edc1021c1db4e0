//! What may go wrong with a command that asks a running lb: a line for a person and an exit status for a script.

use std::io::{self, Write};
use std::process::ExitCode;

use super::text::{reason, shown};

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// lb said no; its own words, and each problem for itself where there are several.
    Refused { said: String, details: Vec<String> },
    /// What was typed, or a file that it names, can't be used.
    Usage(String),
    /// Nobody answered, or not as lb does: where, why, and what to do.
    Unreachable(String),
    /// The answer can't be printed.
    Output(io::Error),
}

impl Failure {
    /// In one line, whatever lb, or what answers in its place, said.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Refused { said: line, .. } | Self::Usage(line) | Self::Unreachable(line) => shown(line).into_owned(),
            Self::Output(error) => format!("can't print: {}", reason(error)),
        }
    }

    fn status(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    /// Says it on standard error; the exit status of the command.
    pub(super) fn report(&self) -> ExitCode {
        // With standard error gone there is nobody left to tell; the exit status still does.
        let mut stderr = io::stderr().lock();
        if let Self::Refused { details, .. } = self {
            for detail in details {
                drop(writeln!(stderr, "{}", shown(detail)));
            }
        }
        drop(writeln!(stderr, "lb: {}", self.line()));
        ExitCode::from(self.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_without_control_characters() {
        let failure = Failure::Refused {
            said: "no\n\u{1b}[2Jsuch".into(),
            details: Vec::new(),
        };
        assert_eq!(failure.line(), "no\\n\\u{1b}[2Jsuch");
    }
}
