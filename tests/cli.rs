//! The commands of `lb` that ask a running one, as a person types them: what they print, what they change, how they exit.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use super::common::{Backend, Balancer, Config, Peer, Program, Refusing, eventually};

mod terminal;

const ADMIN: &str = "listen = \"127.0.0.1:0\"";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// `lb` with these arguments, and nothing of the environment that it heeds.
fn lb(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
    command
        .args(arguments)
        .env_remove("LB_ADMIN")
        .env_remove("LB_TOKEN_FILE");
    command
}

/// A running `lb`, asked by its commands.
struct Asked {
    balancer: Balancer,
    admin: String,
}

impl Asked {
    fn start(backends: &[(&str, std::net::SocketAddr)]) -> Self {
        let balancer = Balancer::start(&Config::with_backends(backends).admin(ADMIN));
        let admin = balancer.admin().address().to_string();
        Self { balancer, admin }
    }

    /// Exit code, what was printed, and what was said of a failure.
    fn ask(&self, line: &str) -> (Option<i32>, String, String) {
        let arguments: Vec<&str> = line.split(' ').chain(["--admin", &self.admin]).collect();
        outcome(lb(&arguments))
    }

    /// What a command prints that succeeds.
    fn done(&self, line: &str) -> String {
        let (code, printed, said) = self.ask(line);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{line}");
        printed
    }

    /// The one line of a command that `lb` refuses.
    fn refused(&self, line: &str) -> String {
        let (code, printed, said) = self.ask(line);
        assert_eq!(
            (code, printed.as_str(), said.lines().count()),
            (Some(1), "", 1),
            "{line}: {said}"
        );
        said
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{line} --json"))).unwrap()
    }
}

fn outcome(command: Command) -> (Option<i32>, String, String) {
    let mut program = Program::captured(command);
    let code = program.exit_code();
    (code, program.stdout().join("\n"), program.stderr().join("\n"))
}

#[test]
fn what_is_typed_is_done_and_seen() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let lb = Asked::start(&[("a", a.address())]);
    let client = || {
        let client = Peer::connect(lb.balancer.address());
        let name = client.line();
        client.fin().expect_eof();
        name
    };
    let added = lb.done(&format!("add echo b {} --weight 3", b.address()));
    assert_eq!(added, format!("echo/b: added, {}, weight 3, up", b.address()));
    assert_eq!(lb.done("weight echo a 0"), "echo/a: weight 0");
    assert_eq!((client(), client()), ("b".into(), "b".into()));
    assert_eq!(lb.done("drain echo b"), "echo/b: draining, 0 live connections");
    assert_eq!(lb.done("weight echo a 1"), "echo/a: weight 1");
    assert_eq!((client(), client()), ("a".into(), "a".into()));
    assert_eq!(lb.done("resume echo b"), "echo/b: up, 0 live connections");
    let status = lb.json("status");
    assert_eq!(status["services"][0]["backends"][1]["connections"]["total"], 2);
    let rows = lb.done("backends echo");
    let row = rows
        .lines()
        .nth(2)
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(row, format!("echo b {} up 3 0 2 50.0% 0 - api", b.address()));
    assert_eq!(lb.done("remove echo b"), "echo/b: removed");
    assert_eq!(lb.json("backends")[0]["backends"].as_array().unwrap().len(), 1);
    assert!(
        lb.done("status")
            .starts_with(&format!("lb {} is running, for ", env!("CARGO_PKG_VERSION")))
    );
    lb.balancer.finish();
}

#[test]
fn a_live_connection_is_seen_drained_and_ended() {
    let echo = Backend::echo();
    let lb = Asked::start(&[("a", echo.address())]);
    assert_eq!(lb.done("connections"), "no live connections");
    let client = Peer::connect(lb.balancer.address());
    client.send(b"hi").expect(b"hi");
    let live = lb.json("connections echo --backend a");
    let [live] = live["connections"].as_array().unwrap().as_slice() else {
        panic!("{live}");
    };
    assert_eq!(live["client"], client.local().to_string());
    assert!(lb.done("connections --limit 5").contains(&client.local().to_string()));
    let removed = lb.done("remove echo a --drain 1h");
    assert_eq!(
        removed,
        "echo/a: draining, 1 live connection; it is gone when they have ended"
    );
    client.send(b"still").expect(b"still");
    let id = live["id"].as_str().unwrap();
    assert_eq!(lb.done(&format!("end {id}")), format!("{id}: ended_by_operator"));
    client.expect_reset();
    eventually("the backend is gone", || {
        lb.json("backends echo")["backends"]
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    });
    assert!(lb.refused(&format!("end {id}")).contains(id));
    lb.balancer.finish();
}

#[test]
fn what_lb_refuses_exits_with_1_and_its_words() {
    let a = Backend::named("a");
    let lb = Asked::start(&[("a", a.address())]);
    for (line, words) in [
        ("backends nope", "no service is named \"nope\""),
        ("drain echo nope", "no backend named \"nope\""),
        ("weight echo a 1000", "found 1000, wanted a number from 0"),
        (
            "add echo b nowhere",
            "found \"nowhere\", wanted an IP address and a port",
        ),
        ("remove echo a --drain soon", "found \"soon\", wanted a duration"),
        ("drain echo nope --json", "no backend named \"nope\""),
    ] {
        let said = lb.refused(line);
        assert!(said.starts_with("lb: ") && said.contains(words), "{line}: {said}");
    }
    lb.balancer.finish();
}

#[test]
fn wrong_usage_exits_with_2() {
    for line in [
        "statsu",
        "drain echo",
        "weight echo a x",
        "check --json",
        "status --admin x",
        "top",
        "man nope",
    ] {
        let (code, printed, said) = outcome(lb(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{line}: {said}");
        assert!(!said.is_empty(), "{line}");
    }
    let (code, _, said) = outcome(lb(&["status", "--token-file", "/nowhere/token"]));
    assert_eq!(
        (code, said.contains("/nowhere/token: no such file")),
        (Some(2), true),
        "{said}"
    );
}

#[test]
fn nobody_there_exits_with_3_and_a_line_that_helps() {
    let nobody = Refusing::bind();
    let address = nobody.address().to_string();
    for line in ["status", "backends", "drain echo a", "connections", "top --json"] {
        let arguments: Vec<&str> = ["--admin", &address].into_iter().chain(line.split(' ')).collect();
        let (code, printed, said) = outcome(lb(&arguments));
        assert_eq!(
            (code, printed.as_str(), said.lines().count()),
            (Some(3), "", 1),
            "{line}: {said}"
        );
        for words in [&address, "connection refused", "--admin"] {
            assert!(said.contains(words), "{said}");
        }
    }
    let mut from_environment = lb(&["status"]);
    from_environment.env("LB_ADMIN", &address);
    let (code, _, said) = outcome(from_environment);
    assert_eq!((code, said.contains(&address)), (Some(3), true), "{said}");
}

#[test]
fn a_token_comes_from_the_balancers_own_file_or_from_the_environment() {
    let a = Backend::named("a");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, format!("# people\noperate:{TOKEN}\n")).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let lines = format!("{ADMIN}\ntoken_file = \"{}\"", file.display());
    let balancer = Balancer::start(&Config::with_backends(&[("a", a.address())]).admin(&lines));
    let admin = balancer.admin().address().to_string();
    let asked = |token_file: Option<&OsStr>| {
        let mut command = lb(&["drain", "echo", "a", "--admin", &admin]);
        if let Some(file) = token_file {
            command.env("LB_TOKEN_FILE", file);
        }
        outcome(command)
    };
    let (code, _, said) = asked(None);
    assert_eq!((code, said.contains("--token-file")), (Some(1), true), "{said}");
    assert_eq!(asked(Some("".as_ref())).0, Some(1));
    assert_eq!(asked(Some(file.as_os_str())).0, Some(0));
    let flags = [
        "--token-file",
        file.to_str().unwrap(),
        "--admin",
        &admin,
        "resume",
        "echo",
        "a",
    ];
    assert_eq!(outcome(lb(&flags)).0, Some(0));
    balancer.finish();
}

#[test]
fn a_socket_in_the_file_system_is_asked_too() {
    let a = Backend::named("a");
    let folder = tempfile::tempdir().unwrap();
    let place = format!("unix:{}", folder.path().join("admin").display());
    let lines = format!("listen = \"{place}\"");
    let balancer = Balancer::start(&Config::with_backends(&[("a", a.address())]).admin(&lines));
    let (code, printed, said) = outcome(lb(&["backends", "--admin", &place]));
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains(&a.address().to_string()), "{printed}");
    balancer.finish();
}

#[test]
fn completions_and_the_manual_are_printed_without_a_balancer() {
    for (line, words) in [
        ("completions bash", "complete -F _lb"),
        ("completions zsh", "#compdef lb"),
        ("man", ".TH lb 1"),
        ("man remove", "\\-\\-drain"),
    ] {
        let (code, printed, _) = outcome(lb(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!((code, printed.contains(words)), (Some(0), true), "{line}: {printed}");
    }
}
