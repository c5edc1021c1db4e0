//! The description of the admin API, held against the real server by a tool that makes up requests from it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::common::{Backend, Balancer, Config, tell};

#[test]
fn the_server_does_what_its_description_says() {
    let found = Command::new("schemathesis")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return tell("skipped: schemathesis isn't installed (pip install schemathesis)");
    }
    let backend = Backend::echo();
    let ports = super::common::free_ports(12);
    let config = Config::with_backends(&[("a", backend.address())])
        .and_service("kept")
        .managed(&format!(
            "command = [\"tcp_server\", \"{{port}}\"]\nports = \"{}-{}\"",
            ports.start(),
            ports.end()
        ));
    let lb = Balancer::start(&config.admin("listen = \"127.0.0.1:0\""));
    let folder = tempfile::tempdir().unwrap();
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/schemathesis.toml");
    let output = Command::new("timeout")
        .current_dir(folder.path())
        .args(["180", "schemathesis", "--config-file"])
        .arg(settings)
        .args(["run", "--checks", "all", "--no-color"])
        .arg(format!("http://{}/api/v1/openapi.json", lb.admin().address()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    lb.finish_with_replicas();
}
