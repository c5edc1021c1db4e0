//! The page of metrics: what it says of a running lb, that Prometheus reads it, and that what is in `deploy/` fits it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lb::control::render_metrics;
use lb::observe::metrics::{Kind, METRICS};
use lb::observe::{End, METRICS_CONTENT_TYPE, ProcessCounters};
use serde_json::Value;

use super::common::{Backend, Balancer, Config, Http, Peer, Program, Refusing, eventually, expect_refusal, has};

mod made_up;

/// The samples of a page: series -> value. No series twice, every line one that this understands.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let before = samples.insert(series.to_owned(), value.parse().unwrap());
        assert_eq!(before, None, "twice: {series}");
    }
    samples
}

/// The sum of all series of `metric` whose labels hold `labels`.
fn sum(samples: &BTreeMap<String, f64>, metric: &str, labels: &str) -> f64 {
    let series = samples
        .iter()
        .filter(|(series, _)| series.split('{').next() == Some(metric) && series.contains(labels));
    series.map(|(_, value)| value).sum()
}

/// A running lb with an admin port.
fn start(config: Config) -> (Balancer, Http) {
    let lb = Balancer::start(&config.admin("listen = \"127.0.0.1:0\""));
    let admin = lb.admin();
    (lb, admin)
}

fn page(admin: &Http) -> String {
    let answer = admin.get("/metrics");
    assert_eq!(
        (answer.status, answer.header("Content-Type")),
        (200, Some(METRICS_CONTENT_TYPE))
    );
    answer.text()
}

/// Everything that promtool has to say of a page: nothing.
fn assert_no_complaint(page: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]);
    let mut promtool = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}\n{page}",
        String::from_utf8_lossy(&said)
    );
}

fn deploy(file: &str) -> String {
    std::fs::read_to_string(Path::new("deploy").join(file)).unwrap()
}

#[test]
fn a_page_of_everything_there_can_be_is_read_without_a_complaint() {
    let counters = Arc::new(ProcessCounters::default());
    let page = render_metrics(&made_up::services(), &counters, 3);
    let samples = samples(&page);
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let head = format!("# HELP {0} {1}\n# TYPE {0} {kind}\n{0}", metric.name, metric.help);
        assert_eq!(page.matches(&head).count(), 1, "with a sample behind it: {head}");
    }
    // A backslash, a quote and a newline, each behind a backslash.
    let odd = r#"lb_backend_up{service="odd",backend="a\\b\"c\nd"}"#;
    assert_eq!(samples.get(odd), Some(&1.0), "{page}");
    // One that is leaving, and another of its name.
    let again = r#"lb_backend_weight{service="odd",backend="again"}"#;
    assert_eq!(samples.get(again), Some(&7.0));
    let zeros = samples.iter().filter(|(series, value)| {
        **value == 0.0
            && (series.contains(",end=") || series.contains("_failures_total") || series.contains("result=\"i"))
    });
    assert_eq!(zeros.count(), 0);
    if has("promtool", "prometheus", "promtool check metrics") {
        assert_no_complaint(&page);
    }
}

#[test]
fn every_connection_that_ended_is_counted_once_and_at_its_backend() {
    let (echo, other) = (Backend::echo(), Backend::echo());
    let config = Config::with_backends(&[("a", echo.address()), ("b", other.address())]).service("max_connections = 3");
    let refusing = Refusing::bind();
    let config = config
        .and_service("dead")
        .service("connect_retries = 0")
        .backend("gone", refusing.address(), "");
    let (lb, admin) = start(config);
    for _ in 0..4 {
        let peer = Peer::connect(lb.address());
        peer.send(b"four").expect(b"four").fin().expect_eof();
    }
    let resetting = Peer::connect(lb.address());
    resetting.send(b"x").expect(b"x");
    resetting.reset();
    let dead = Peer::connect(lb.addresses_of("dead")[0]);
    dead.expect_reset();
    let read = || samples(&page(&admin));
    let ended = |count: f64| {
        eventually(&format!("{count} ends of echo"), || {
            let now = read();
            (sum(&now, "lb_connections_total", "service=\"echo\"") == count).then_some(now)
        });
    };
    ended(5.0);
    let peers: Vec<Peer> = (0..3).map(|_| Peer::connect(lb.address())).collect();
    for peer in &peers {
        peer.send(b"in").expect(b"in");
    }
    expect_refusal(lb.address());
    ended(6.0);
    let now = read();
    let of = |end: &str| sum(&now, "lb_connections_total", &format!("end=\"{end}\""));
    let ends = [
        of("client_closed"),
        of("client_reset"),
        of("refused"),
        of("connect_failed"),
    ];
    assert_eq!(ends, [4.0, 1.0, 1.0, 1.0]);
    for (end, count) in [("refused", 1.0), ("client_closed", 0.0)] {
        let labels = format!("service=\"echo\",backend=\"\",end=\"{end}\"");
        assert_eq!(sum(&now, "lb_connections_total", &labels), count, "{end}");
    }
    assert_eq!(sum(&now, "lb_connections_active", "service=\"echo\""), 3.0);
    assert_eq!(sum(&now, "lb_connections_active", "backend=\"\""), 0.0);
    assert_eq!(
        now["lb_connections_refused_total{service=\"echo\",reason=\"service_limit\"}"],
        1.0
    );
    let failures = "lb_connect_failures_total{service=\"dead\",backend=\"gone\",reason=\"refused\"}";
    assert_eq!(now.get(failures), Some(&1.0), "{now:#?}");
    assert_eq!(sum(&now, "lb_connect_seconds_count", "service=\"echo\""), 8.0);
    assert_eq!(sum(&now, "lb_connection_seconds_count", "service=\"echo\""), 5.0);
    assert_eq!(
        sum(&now, "lb_bytes_total", "direction=\"to_backend\""),
        4.0 * 4.0 + 1.0 + 3.0 * 2.0
    );
    assert_eq!(
        sum(&now, "lb_bytes_total", "direction=\"to_client\""),
        4.0 * 4.0 + 1.0 + 3.0 * 2.0
    );
    assert_eq!((now["lb_workers"], now["lb_faults_total"]), (2.0, 0.0));
    for peer in peers {
        peer.fin().expect_eof();
    }
    let closing = lb.finish();
    assert_eq!(closing.service("echo").0, 9);
}

#[test]
fn health_checks_are_counted_and_timed() {
    let (good, bad) = (Backend::echo(), Refusing::bind());
    let config = Config::with_backends(&[("good", good.address()), ("bad", bad.address())])
        .health("kind = \"tcp\"\ninterval = \"50ms\"\ntimeout = \"5s\"");
    let (lb, admin) = start(config);
    lb.line("bad is down");
    let now = eventually("five good checks", || {
        let now = samples(&page(&admin));
        (sum(&now, "lb_health_checks_total", "result=\"success\"") >= 5.0).then_some(now)
    });
    let of = |metric: &str, backend: &str| sum(&now, metric, &format!("backend=\"{backend}\""));
    assert_eq!((of("lb_backend_up", "good"), of("lb_backend_up", "bad")), (1.0, 0.0));
    assert!(of("lb_health_checks_total", "bad") >= 3.0);
    assert_eq!(
        sum(&now, "lb_health_checks_total", "backend=\"bad\",result=\"success\""),
        0.0
    );
    assert_eq!(
        of("lb_health_check_seconds_count", "good"),
        of("lb_health_checks_total", "good")
    );
    let status = admin.json("/api/v1/services/echo/backends/bad");
    let error = status["health"]["last_error"].as_str().unwrap();
    assert!(error.starts_with("connection refused by "), "{status}");
    assert!(status["health"]["last_check"].is_string(), "{status}");
}

#[test]
fn a_real_prometheus_scrapes_a_running_lb_by_the_file_in_deploy() {
    if !has("prometheus", "prometheus", "a scrape by a real Prometheus") {
        return;
    }
    let (up, down) = (Backend::echo(), Refusing::bind());
    let config = Config::with_backends(&[("a", up.address()), ("b", down.address())])
        .health("kind = \"tcp\"\ninterval = \"50ms\"\ntimeout = \"5s\"");
    let (lb, admin) = start(config);
    Peer::connect(lb.address()).send(b"hi").expect(b"hi").fin().expect_eof();
    lb.line("b is down");
    let text = page(&admin);
    samples(&text);
    assert_no_complaint(&text);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    let rewritten = deploy("prometheus.yml")
        .replace("127.0.0.1:8000", &admin.address().to_string())
        .replace("interval: 15s", "interval: 200ms");
    assert!(
        rewritten.contains(&admin.address().to_string()) && rewritten.contains("200ms"),
        "{rewritten}"
    );
    std::fs::write(&file, rewritten).unwrap();
    std::fs::write(folder.path().join("alerts.yml"), deploy("alerts.yml")).unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg("--web.listen-address=127.0.0.1:0");
    let program = Program::captured(command);
    let line = program.line("msg=\"Listening on\"");
    program.line("Server is ready to receive web requests");
    let prometheus = Http::new(line.rsplit_once("address=").unwrap().1.parse().unwrap());
    let value = |backend: &str| {
        let path = format!("/api/v1/query?query=lb_backend_up%7Bbackend%3D%22{backend}%22%7D");
        let answer = prometheus.json(&path);
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    eventually("lb_backend_up in Prometheus", || {
        (value("a").as_deref() == Some("1") && value("b").as_deref() == Some("0")).then_some(())
    });
    let target = prometheus.json("/api/v1/targets")["data"]["activeTargets"][0].clone();
    assert_eq!(
        (&target["health"], &target["lastError"]),
        (&"up".into(), &"".into()),
        "{target}"
    );
    let metadata = prometheus.json("/api/v1/metadata?metric=lb_connections_total");
    assert_eq!(
        metadata["data"]["lb_connections_total"][0]["type"], "counter",
        "{metadata}"
    );
    eventually("every rule evaluated", || {
        let rules = prometheus.json("/api/v1/rules")["data"]["groups"][0]["rules"].clone();
        let rules = rules.as_array()?;
        rules.iter().all(|rule| rule["health"] == "ok").then_some(())
    });
}

#[test]
fn what_is_in_deploy_is_valid_and_its_alerts_go_off_when_they_should() {
    if !has("promtool", "prometheus", "promtool check config") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("alerts.yml", deploy("alerts.yml")),
        ("prometheus.yml", deploy("prometheus.yml")),
        (
            "tests.yml",
            std::fs::read_to_string("tests/metrics/alerts.yml").unwrap(),
        ),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "tests.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

/// Names of metrics in an expression, as they stand in the table: without what a histogram appends.
fn names_in(expression: &str) -> Vec<String> {
    let words = expression.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let names = words.filter(|word| word.starts_with("lb_") || word.starts_with("process_"));
    names
        .map(|name| {
            let is_histogram = |base: &&str| METRICS.iter().any(|m| m.name == *base && m.kind == Kind::Histogram);
            let mut bases = ["_bucket", "_sum", "_count"]
                .into_iter()
                .filter_map(|end| name.strip_suffix(end));
            bases.find(is_histogram).unwrap_or(name).to_owned()
        })
        .collect()
}

/// Every string under a key of this name.
fn strings<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                found.extend(value.as_str().filter(|_| name == key));
                strings(value, key, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| strings(value, key, found)),
        _ => {}
    }
}

#[test]
fn dashboard_and_alerts_name_only_metrics_that_exist_and_the_dashboard_shows_them_all() {
    let board: Value = serde_json::from_str(&deploy("grafana-dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    strings(&board, "expr", &mut expressions);
    strings(&board, "definition", &mut expressions);
    assert!(expressions.len() > 30, "{}", expressions.len());
    let shown: Vec<String> = expressions.iter().flat_map(|expression| names_in(expression)).collect();
    // Of the alerts every word counts: names of metrics stand nowhere but in expressions.
    let told = names_in(&deploy("alerts.yml"));
    assert!(told.len() > 10, "{told:?}");
    for name in shown.iter().chain(&told) {
        assert!(
            METRICS.iter().any(|metric| metric.name == name),
            "no metric has the name {name}"
        );
    }
    for metric in METRICS {
        assert!(
            shown.iter().any(|name| name == metric.name),
            "{} isn't on the dashboard",
            metric.name
        );
    }
}
