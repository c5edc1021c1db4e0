//! `lb.toml`: files in `configs/bad` with the messages they must bring, files in `configs/good`, and files nobody would write.
//!
//! A bad file tells its messages in lines `# expect: ...`, without the folder: `# expect: name.toml:2:1: ...`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use lb::config::{self, AccessLog, AdminListen, Balance, Check, Config, Problems, RingHash};

mod every_key;
mod hostile;
mod limits;

/// Every file of `tests/configs/{folder}`, sorted.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("name").to_string_lossy().into_owned()
}

fn expected(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# expect: "))
        .map(str::to_owned)
        .collect()
}

fn parse_file(path: &Path) -> (String, Result<Config, Problems>) {
    let text = fs::read_to_string(path).expect("a readable file");
    let config = config::parse(&name_of(path), &text);
    (text, config)
}

/// The real program.
fn lb(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
    command.args(arguments).current_dir(folder).output().expect("lb starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("utf-8")
}

#[test]
fn every_bad_file_brings_exactly_the_messages_it_tells() {
    let files = files("bad");
    assert!(files.len() >= 40, "only {} files in configs/bad", files.len());
    let mut wrong = String::new();
    for path in files {
        let (text, config) = parse_file(&path);
        let found = config.err().map(|problems| problems.to_string()).unwrap_or_default();
        let wanted = expected(&text).join("\n");
        if found != wanted || wanted.is_empty() {
            wrong += &format!("--- {}, wanted:\n{wanted}\n--- found:\n{found}\n", name_of(&path));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn messages_are_lower_case_lines() {
    for path in files("bad") {
        for line in expected(&fs::read_to_string(&path).expect("a readable file")) {
            let said = line.rsplit_once("]: ").map_or(line.as_str(), |(_, said)| said);
            assert!(!said.starts_with(char::is_uppercase), "{line}");
            assert!(!line.ends_with('.'), "{line}");
        }
    }
}

#[test]
fn every_good_file_is_accepted() {
    let files = files("good");
    assert!(files.len() >= 4, "only {} files in configs/good", files.len());
    for path in files {
        let (_, config) = parse_file(&path);
        assert!(config.is_ok(), "{}", config.expect_err("checked"));
    }
}

/// What `lb.toml` and an `lb.toml` without any optional key mean, as the documentation says.
#[test]
fn the_file_of_the_repository_holds_the_documented_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lb.toml");
    let config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.runtime.workers, None);
    assert_eq!(config.runtime.connections_max, None);
    assert_eq!(config.runtime.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.log.level, log::LevelFilter::Info);
    assert_eq!(config.log.access, AccessLog::Off);
    let [service] = config.services.as_slice() else {
        panic!("{} services", config.services.len())
    };
    assert_eq!(service.name, "echo");
    assert_eq!(service.listen, ["127.0.0.1:9000".parse().expect("address")]);
    assert_eq!(service.balance, Balance::RoundRobin);
    assert_eq!(service.connections_max, None);
    assert_eq!(service.connect_timeout, Duration::from_secs(2));
    assert_eq!(service.connect_retries, 2);
    assert_eq!(service.hedge_after, Some(Duration::from_millis(200)));
    assert_eq!(service.idle_timeout, Duration::from_secs(300));
    assert_eq!(service.half_close_timeout, Duration::from_secs(30));
    assert_eq!(service.health.check, Check::Tcp);
    // The example looks more often than a file that says nothing: whoever kills a backend is watching.
    assert_eq!(service.health.interval, Duration::from_secs(1));
    assert_eq!(service.health.timeout, Duration::from_secs(1));
    assert_eq!(
        (service.health.rise, service.health.fall, service.health.port),
        (2, 3, None)
    );
    let backends: Vec<String> = service
        .backends
        .iter()
        .map(|b| {
            format!(
                "{} {} {} {:?} {}",
                b.name, b.address, b.weight, b.connections_max, b.backup
            )
        })
        .collect();
    assert_eq!(config.admin.listen, AdminListen::DEFAULT);
    let metrics = |place: usize| service.backends[place].metrics.as_ref().map(|url| url.address.port());
    assert_eq!([0, 1, 2].map(metrics), [9101, 9102, 9103].map(Some));
    let wanted = [9001, 9002, 9003].map(|port| format!("server-{port} 127.0.0.1:{port} 1 None false"));
    assert_eq!(backends, wanted);
}

/// `lb.toml` with the comments of these keys and sections taken as lines of its own, and how many there were.
fn uncommented(is_wanted: impl Fn(&str) -> bool) -> (String, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lb.toml");
    let written = fs::read_to_string(path).expect("a readable file");
    let mut count = 0;
    let lines = written.lines().map(|line| {
        let key = line.strip_prefix("# ").map(|key| (key, key.split([' ', '=']).next()));
        match key {
            Some((key, Some(name))) if (key.contains(" = ") || name.starts_with('[')) && is_wanted(name) => {
                count += 1;
                key
            }
            _ => line,
        }
    });
    (lines.collect::<Vec<_>>().join("\n"), count)
}

fn parsed(text: &str) -> Config {
    config::parse("explicit", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Keys that belong to one policy each, and to a section that isn't there.
const OF_MAGLEV: [&str; 2] = ["load_factor", "slots"];
const OF_RING: [&str; 3] = ["load_factor", "hash", "virtual_nodes"];
const OF_FENCES: [&str; 8] = [
    "[service.access]",
    "allow",
    "deny",
    "[service.limits]",
    "per_source",
    "rate_per_source",
    "tcp_backlog",
    "max_session",
];
const OF_STICKY: [&str; 3] = ["[service.sticky]", "ttl", "size"];
const OF_MANAGED: [&str; 9] = [
    "[service.managed]",
    "command",
    "ports",
    "replicas",
    "restart_delay",
    "replace_after",
    "start_timeout",
    "stop_timeout",
    "env",
];

const OF_SCALE: [&str; 6] = [
    "[service.managed.scale]",
    "max",
    "target_connections",
    "min",
    "cooldown",
    "predict",
];

/// The comments of `lb.toml` tell the defaults: with all of them taken as keys, the file means the same.
#[test]
fn the_commented_keys_of_lb_toml_show_their_defaults() {
    // These have no default, or belong to another kind of check.
    let without = [
        // [service.discovery] has no defaults that all its kinds share, nor has [service.proxy_protocol], which is two: their keys
        // stand further in.
        "[service.proxy_protocol]",
        "[service.discovery]",
        "",
        "port",
        "path",
        "expect_status",
        "send",
        "expect",
        "working_directory",
        "user",
        // They go with another value of `predict` and of `rate_per_source`.
        "season",
        "burst",
        "A",
        "Needed",
        "and",
        "`lb",
    ];
    let others = [&OF_MAGLEV[..], &OF_RING, &OF_STICKY, &OF_FENCES, &OF_MANAGED, &OF_SCALE].concat();
    let (explicit, count) = uncommented(|name| !without.contains(&name) && !others.contains(&name));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lb.toml");
    assert_eq!(parsed(&explicit), config::load(&path).expect("a good file"));
    assert_eq!(count, 31);
}

#[test]
fn the_commented_keys_of_each_policy_and_of_sticky_show_their_defaults() {
    let balance = |text: &str, policy: &str| text.replacen("name =", &format!("balance = \"{policy}\"\nname ="), 1);
    let (bare, _) = uncommented(|_| false);
    for (policy, keys) in [("maglev", &OF_MAGLEV[..]), ("ring", &OF_RING)] {
        let (explicit, count) = uncommented(|name| keys.contains(&name));
        assert_eq!(parsed(&balance(&explicit, policy)), parsed(&balance(&bare, policy)));
        assert_eq!(count, keys.len());
    }
    let (explicit, count) = uncommented(|name| OF_FENCES.contains(&name));
    assert_eq!(parsed(&explicit), parsed(&bare));
    assert_eq!(count, OF_FENCES.len());
    let (explicit, count) = uncommented(|name| OF_STICKY.contains(&name));
    let (section, _) = uncommented(|name| name == OF_STICKY[0]);
    assert_eq!(parsed(&explicit), parsed(&section));
    assert!(parsed(&section).services[0].sticky.is_some());
    assert_eq!(count, OF_STICKY.len());
    let (explicit, count) = uncommented(|name| OF_MANAGED.contains(&name));
    let (section, _) = uncommented(|name| OF_MANAGED[..3].contains(&name));
    assert_eq!(parsed(&explicit), parsed(&section));
    assert!(parsed(&section).services[0].managed.is_some());
    assert_eq!(count, OF_MANAGED.len());
    let with = |keys: &'static [&str]| move |name: &str| OF_MANAGED.contains(&name) || keys.contains(&name);
    let (explicit, count) = uncommented(with(&OF_SCALE));
    let (section, _) = uncommented(with(&OF_SCALE[..3]));
    assert_eq!(parsed(&explicit), parsed(&section));
    let managed = parsed(&section).services[0].managed.clone();
    assert!(managed.unwrap().scale.is_some());
    assert_eq!(count, OF_MANAGED.len() + OF_SCALE.len());
}

fn good(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/configs/good")
        .join(name);
    config::load(&path).unwrap_or_else(|problems| panic!("{problems}"))
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn each_policy_has_its_own_keys_and_defaults() {
    let balances: Vec<Balance> = good("every_balance.toml")
        .services
        .into_iter()
        .map(|service| service.balance)
        .collect();
    let ring = |hash, load_thousandths| Balance::Ring { hash, load_thousandths };
    let maglev = |slots, load_thousandths| Balance::Maglev {
        slots,
        load_thousandths,
    };
    let quadratic = RingHash::Quadratic {
        slots: 512,
        virtual_nodes: 9,
    };
    assert_eq!(
        balances,
        [
            Balance::RoundRobin,
            Balance::RandomTwo,
            Balance::Fastest,
            maglev(65_537, Some(1_250)),
            maglev(251, None),
            ring(RingHash::Xxh3 { virtual_nodes: 2_048 }, Some(1_250)),
            ring(quadratic, Some(1_001)),
        ]
    );
}

#[test]
fn each_service_has_its_own_check() {
    let checks: Vec<Check> = good("two_services.toml")
        .services
        .into_iter()
        .map(|service| service.health.check)
        .collect();
    let expect = Check::Expect {
        send: b"EHLO lb\r\n".to_vec(),
        expect: b"220 ".to_vec(),
    };
    assert_eq!(checks, [expect, Check::Off]);
}

#[test]
fn two_files_that_mean_the_same_are_equal_and_others_are_not() {
    let plain = "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n[[service.backend]]\nname = \"b\"\naddress = \"127.0.0.1:1\"\n";
    let inline = "service = [{ listen = [\"127.0.0.1:0\"], name = 'a', backend = [{ name = \"b\", address = \"127.0.0.1:1\", weight = 0x1 }] }]";
    let parse = |text: &str| config::parse("f", text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(parse(plain), parse(inline));
    assert_ne!(parse(plain), parse(&plain.replace(":1\"", ":2\"")));
}

#[test]
fn check_prints_ok_and_counts_on_standard_output() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = lb(&["check"], root);
    let said = text(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "lb.toml: ok (1 service, 3 backends)");
    assert!(
        lines[1].starts_with("rights: ") && lines[2].starts_with("sandbox: ") && lines.len() == 3,
        "{said}"
    );
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)));
}

#[test]
fn check_prints_every_problem_on_standard_error_and_exits_1() {
    for path in files("bad").iter().step_by(7) {
        let wanted = expected(&fs::read_to_string(path).expect("a readable file")).join("\n") + "\n";
        let output = lb(&["check", "--config", &name_of(path)], path.parent().expect("folder"));
        assert_eq!(text(&output.stderr), wanted);
        assert_eq!(
            (text(&output.stdout).as_str(), output.status.code()),
            ("", Some(1)),
            "{}",
            path.display()
        );
    }
}

#[test]
fn run_refuses_a_bad_file_with_the_same_messages() {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("lb.toml"), "x = 1\n").expect("written");
    let [run, none, check] = [&["run"][..], &[], &["check"]].map(|arguments| lb(arguments, folder.path()));
    assert_eq!(text(&run.stderr), text(&check.stderr));
    assert_eq!(text(&none.stderr), text(&check.stderr));
    assert_eq!((run.status.code(), none.status.code()), (Some(1), Some(1)));
}

#[test]
fn a_missing_file_and_wrong_usage_have_their_own_exit_status() {
    let folder = tempfile::tempdir().expect("folder");
    let missing = lb(&["check"], folder.path());
    assert_eq!(
        text(&missing.stderr),
        "lb.toml: no such file; write one, or name another with --config FILE\n"
    );
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(lb(&["chekc"], folder.path()).status.code(), Some(2));
    assert_eq!(lb(&["--help"], folder.path()).status.code(), Some(0));
}
