//! The units in `deploy/`: what systemd itself thinks of them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::common::tell;

/// `None`: there is no systemd-analyze.
fn analyze(arguments: &[&str], folder: &Path) -> Option<Output> {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    if output.is_err() {
        tell("skipped: systemd-analyze isn't installed (Debian: systemd)");
    }
    output.ok()
}

fn units(folder: &Path) {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for name in ["lb.service", "lb.socket"] {
        let text = std::fs::read_to_string(deploy.join(name)).unwrap();
        // Where the program is on this machine.
        let text = text.replace("/usr/local/bin/lb", env!("CARGO_BIN_EXE_lb"));
        std::fs::write(folder.join(name), text).unwrap();
    }
}

#[test]
fn the_units_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    units(folder.path());
    let Some(output) = analyze(&["verify", "./lb.service", "./lb.socket"], folder.path()) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_service_is_fenced_in() {
    let folder = tempfile::tempdir().unwrap();
    units(folder.path());
    // In tenths: an exposure of 2.0 at most.
    let arguments = [
        "security",
        "--offline=true",
        "--no-pager",
        "--threshold=20",
        "./lb.service",
    ];
    let Some(output) = analyze(&arguments, folder.path()) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("Overall exposure level"),
        "{said}"
    );
}
