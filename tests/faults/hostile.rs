//! Drills of what is said to lb: a full disk (T19), configurations (T20), the admin port (T22).

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::field::said;
use super::load::{Load, Plan};
use super::oracle;
use super::report::{Run, drill, millis};
use super::subject::{LB, Setup, Standing};
use crate::common::{Http, lb_command, pass};

/// A file system of 256 KiB, full to the last byte. Gone when dropped.
struct FullDisk(tempfile::TempDir);

impl FullDisk {
    fn make() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        said(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
                .arg(disk.path()),
        );
        disk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        // Lazily: lb may still have its log open.
        drop(Command::new("umount").arg("-l").arg(self.path()).output());
    }
}

#[test]
fn t19_a_full_disk_costs_lines_of_the_log_and_no_traffic() {
    drill(
        "T19",
        "disk full under log, history and configuration",
        LB,
        |run, field| {
            let _servers = field.serve_all();
            let disk = FullDisk::make();
            let at = |name: &str| disk.path().join(name).display().to_string();
            let setup = Setup {
                log: format!("access = \"{}\"", at("access.jsonl")),
                top: format!("\n[history]\ndirectory = \"{}\"", at("history")),
                ..Setup::default()
            };
            let standing = Standing::start(field, run.subject, &setup);
            let plan = Plan::short(8, run.size(300, 20_000));
            let before = Load::run(field, plan.clone());
            disk.fill();
            let full = Load::run(field, plan);
            run.claim(
                before.failed() + full.failed() == 0,
                "traffic doesn't notice",
                full.words(),
            );
            run.told("p99 with room", millis(before.answer(0.99)), "ms");
            run.told("p99 on a full disk", millis(full.answer(0.99)), "ms");
            // Lines are written behind the traffic.
            let dropped = || {
                let metrics = standing.ask(|http| http.get("/metrics").text());
                let lines = metrics
                    .lines()
                    .filter(|line| line.starts_with("lb_log_lines_dropped_total"));
                lines
                    .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
                    .sum::<f64>()
            };
            crate::common::eventually("lines that are lost are counted", || (dropped() > 0.0).then_some(()));
            run.claim(true, "lines that are lost are counted", "");
            run.told("lines lost", dropped(), "");
            // The next configuration is cut off in the middle: what runs goes on.
            let text = setup.lb(field).text();
            let (status, _) = reload(&standing, &text.as_bytes()[..text.len() / 2]);
            run.claim(
                status == 422,
                "a configuration that was cut off isn't put in force",
                status,
            );
            let (status, answer) = reload(&standing, text.as_bytes());
            run.claim(status == 200, "the whole one is", answer);
            oracle::end(run, standing);
        },
    );
}

/// Puts a file in place and has it read: the answer.
fn reload(standing: &Standing<'_>, text: &[u8]) -> (u16, String) {
    std::fs::write(standing.lb().folder().join("lb.toml"), text).unwrap();
    standing.ask(|http| {
        let answer = http.ask("POST", "/api/v1/reload", &[], "");
        (answer.status, answer.text())
    })
}

/// What `lb check` says of it: whether it is good, and all that it said.
fn check(folder: &Path, text: &[u8]) -> (bool, String) {
    std::fs::write(folder.join("lb.toml"), text).unwrap();
    let output = lb_command(folder).arg("check").stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        matches!(output.status.code(), Some(0 | 1)) && !said.contains("panicked"),
        "{:?}: {said}",
        output.status
    );
    (output.status.success(), said)
}

/// Values that stand where others are wanted.
const ODD: [&str; 14] = [
    "nan",
    "-1",
    "0",
    "65536",
    "1e400",
    "\"\"",
    "[]",
    "{}",
    "true",
    "99999999999999999999",
    "\"\\u0000\"",
    "[[[[[[[[]]]]]]]]",
    "\"10.231.8.21:0\"",
    "1979-05-27T07:32:00Z",
];

/// Another file, a little wrong. The line of the listener stays: a port that can't be had isn't the file's fault.
fn mutated(text: &str, rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    for _ in 0..=rng.usize(..3) {
        let place = rng.usize(..lines.len());
        let line = String::from_utf8_lossy(&lines[place]).into_owned();
        if line.starts_with("listen") {
            continue;
        }
        match rng.u8(..6) {
            0 => drop(lines.remove(place)),
            1 => lines.insert(place, lines[place].clone()),
            2 if !line.is_empty() => lines[place][rng.usize(..line.len())] = rng.u8(..),
            3 => lines.truncate(place + 1),
            4 => lines[place].truncate(line.len() / 2),
            _ => {
                if let Some((key, _)) = line.split_once('=') {
                    lines[place] = format!("{key}= {}", ODD[rng.usize(..ODD.len())]).into_bytes();
                }
            }
        }
    }
    lines.join(&b'\n')
}

#[test]
fn t20_no_malformed_file_is_put_in_force_and_check_and_reload_agree() {
    drill("T20", "malformed configurations", LB, |run, field| {
        let _servers = field.serve_all();
        let setup = Setup::default();
        let standing = Standing::start(field, run.subject, &setup);
        let load = Load::start(field, Plan::held(20));
        load.wait_for_live(20);
        let good = setup.lb(field).text();
        let folder = tempfile::tempdir().unwrap();
        let seed = 20;
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut bad, mut disagree, mut unplaced) = (0, Vec::new(), Vec::new());
        let count = run.size(60, 3000);
        for number in 0..count {
            let text = mutated(&good, &mut rng);
            let (is_good, said) = check(folder.path(), &text);
            if is_good {
                continue; // one that may be put in force would change what the sessions hang on
            }
            bad += 1;
            let (status, answer) = reload(&standing, &text);
            if status != 422 {
                disagree.push(format!("{seed}/{number}: {status} {answer}"));
            }
            if !said.contains("lb.toml") {
                unplaced.push(format!("{seed}/{number}: {said}"));
            }
        }
        run.told("files", count as f64, "");
        run.told("of them bad", bad as f64, "");
        run.claim(
            disagree.is_empty(),
            "what check refuses, reload refuses",
            disagree.join(" | "),
        );
        run.claim(unplaced.is_empty(), "each names the file", unplaced.join(" | "));
        monsters(run, &standing, folder.path(), &good);
        run.claim(load.live() == 20, "the old one stays in force", load.so_far().words());
        let outcome = load.stop();
        run.claim(outcome.failed() == 0, "sessions don't notice", outcome.words());
        let (status, answer) = reload(&standing, good.as_bytes());
        run.claim(status == 200, "the good one is taken again", answer);
        oracle::end(run, standing);
    });
}

/// What stands where the file should be, and how it comes there.
type Odd = (&'static str, fn(&Path));

/// Files that are too much of something.
fn monsters(run: &mut Run, standing: &Standing<'_>, folder: &Path, good: &str) {
    let deep = format!("{good}\n[x]\ny = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = format!("{good}\n{}", good.split_once("[[service]]").unwrap().1);
    let long = format!("{good}\n# {}", "x".repeat(run.size(1, 64) << 20));
    let many = (0..run.size(2000, 100_000)).fold(good.to_owned(), |text, number| {
        text + &format!("[[service.backend]]\nname = \"m{number}\"\naddress = \"10.231.8.21:0\"\n")
    });
    let dots = format!("{good}\n{} = 1", vec!["a"; 50_000].join("."));
    for (name, text) in [("deep", &deep), ("twice", &twice), ("many", &many), ("dots", &dots)] {
        let (is_good, said) = check(folder, text.as_bytes());
        let (status, _) = reload(standing, text.as_bytes());
        run.claim(
            !is_good && status == 422,
            "what is too much is refused",
            format!("{name}: {status}, {}", said.len()),
        );
    }
    // Long, but for the rest good: the two must agree, whatever they say.
    let (is_good, _) = check(folder, long.as_bytes());
    let (status, answer) = reload(standing, long.as_bytes());
    run.claim(
        is_good == (status == 200),
        "check and reload agree on a very long file",
        answer,
    );
    let path = standing.lb().folder().join("lb.toml");
    let odd: [Odd; 3] = [
        ("a folder", |path| std::fs::create_dir(path).unwrap()),
        ("a link to itself", |path| {
            std::os::unix::fs::symlink(path, path).unwrap()
        }),
        ("nothing", |_| {}),
    ];
    for (name, make) in odd {
        drop(std::fs::remove_file(&path));
        make(&path);
        let status = standing.ask(|http| http.ask("POST", "/api/v1/reload", &[], "").status);
        run.claim(
            status == 422,
            "a file that can't be read is refused",
            format!("{name}: {status}"),
        );
        drop(std::fs::remove_dir(&path));
    }
}

#[test]
fn t22_whatever_the_admin_port_is_sent_traffic_goes_on() {
    drill("T22", "admin port: malformed, endless, slow, idle", LB, |run, field| {
        let _servers = field.serve_all();
        let standing = Standing::start(field, run.subject, &Setup::default());
        let quiet = Load::run(field, Plan::short(8, run.size(200, 5000)));
        let mut paced = Plan::short(8, usize::MAX);
        paced.every = Duration::from_millis(2);
        let load = Load::start(field, paced);
        let count = run.size(200, 10_000);
        let statuses = standing.ask(|http| {
            // Idle ones hold their places all the while.
            let idle: Vec<_> = (0..run.size(100, 1000))
                .filter_map(|_| std::net::TcpStream::connect(http.address()).ok())
                .collect();
            let statuses = fuzz(http, count);
            slow(http);
            drop(idle);
            statuses
        });
        let wrong: Vec<&String> = statuses.iter().filter(|line| is_fault(line)).collect();
        run.told("requests", statuses.len() as f64, "");
        run.claim(wrong.is_empty(), "no answer of 500", wrong.len());
        let is_fine = standing.ask(|http| http.get("/api/v1/status").status == 200);
        run.claim(is_fine, "it still answers", "no 200");
        let outcome = load.stop();
        run.claim(outcome.failed() == 0, "traffic goes on", outcome.words());
        run.told("traffic's p99 before", millis(quiet.answer(0.99)), "ms");
        run.told("traffic's p99 meanwhile", millis(outcome.answer(0.99)), "ms");
        oracle::end(run, standing);
    });
}

fn is_fault(status_line: &str) -> bool {
    let status = status_line.split(' ').nth(1).unwrap_or_default();
    status.starts_with('5') && status != "503" && status != "505"
}

/// Requests that are a little wrong: the first line of each answer, or nothing where there was none.
fn fuzz(http: &Http, count: usize) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(22);
    let methods = ["GET", "POST", "PATCH", "PUT", "HEAD", "OPTIONS", "BREW", "get", ""];
    let paths = [
        "/api/v1/status",
        "/api/v1/services/echo/backends",
        "/api/v1/services/echo/backends/b0",
        "/api/v1/services/%00",
        "/metrics",
        "/api/v1/connections?limit=-1",
        "/api/v1/history?minutes=99999999999",
        "/../../etc/passwd",
        "//",
        "*",
        "/rep",
        "/add",
    ];
    let bodies = [
        "",
        "{",
        "{\"weight\":-1}",
        "{\"n\":1e99}",
        "[]",
        "null",
        "\u{0}",
        "{\"name\":\"<script>\",\"address\":\"x\"}",
    ];
    let headers = [
        "Content-Length: 99999999999999999999",
        "Content-Length: -1",
        "Transfer-Encoding: chunked",
        "Host: evil.example",
        "X: \u{1}",
        "Content-Type: application/json",
        "Expect: 100-continue",
        "Connection: upgrade",
        ": nothing",
    ];
    let answer = |_| {
        let (method, path, body) = (
            rng.choice(methods).unwrap(),
            rng.choice(paths).unwrap(),
            rng.choice(bodies).unwrap(),
        );
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            http.address()
        );
        for _ in 0..rng.usize(..3) {
            request += &format!("{}\r\n", rng.choice(headers).unwrap());
        }
        if rng.bool() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = format!("{request}\r\n{body}").into_bytes();
        if rng.u8(..4) == 0 {
            let place = rng.usize(..bytes.len());
            bytes[place] = rng.u8(..);
        }
        if rng.u8(..8) == 0 {
            bytes.truncate(rng.usize(..bytes.len()));
        }
        let stream = http.connect();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        first_line(stream, &bytes)
    };
    (0..count).map(answer).collect()
}

fn first_line(mut stream: std::net::TcpStream, request: &[u8]) -> String {
    let mut answer = [0; 512];
    // A half of a request has no answer, and nobody waits for it here.
    drop(stream.write_all(request));
    let length = std::io::Read::read(&mut stream, &mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// A byte now and then of a head that has no end, and a gigabyte of it at once.
fn slow(http: &Http) {
    let mut slow = http.connect();
    for byte in b"GET / HTTP/1.1\r\n" {
        drop(slow.write_all(&[*byte]));
        pass(Duration::from_millis(20));
    }
    let mut endless = http.connect();
    let mut sent = 0;
    while sent < 1 << 30 && endless.write_all(&[b'a'; 65_536]).is_ok() {
        sent += 65_536;
    }
    assert!(sent < 64 << 20, "it took {sent} bytes of a head");
}
