//! A drill of a source of backends that lies (T23).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::load::{Load, Plan};
use super::oracle;
use super::report::{Run, drill};
use super::subject::{LB, Setup, Standing};
use crate::common::{Backend, pass};

#[test]
fn t23_lies_of_discovery_change_nothing_and_cut_nobody() {
    drill(
        "T23",
        "discovery lies: empty, cut off, huge, foreign, silent, flapping",
        LB,
        |run, field| {
            let _servers = field.serve_all();
            let list = |numbers: &[usize]| {
                let entries: Vec<String> = numbers
                    .iter()
                    .map(|number| format!("\"{}\"", field.backend(*number)))
                    .collect();
                format!("[{}]", entries.join(","))
            };
            let page: Arc<Mutex<String>> = Arc::new(Mutex::new(answer("200 OK", &list(&[0, 1, 2]))));
            let asked = Arc::new(AtomicUsize::new(0));
            let (said, counted) = (Arc::clone(&page), Arc::clone(&asked));
            let source = field.balancer.within(|| {
                Backend::serve_at("127.0.0.1:0".parse().unwrap(), move |peer| {
                    peer.request_head();
                    let text = said.lock().unwrap().clone();
                    counted.fetch_add(1, SeqCst);
                    peer.is_sent(text.as_bytes());
                    peer.wait_for_end();
                })
            });
            let setup = Setup {
                discovery: Some(format!(
                    "kind = \"http\"\nurl = \"http://{}/db\"\ninterval = \"200ms\"\ntimeout = \"300ms\"\nallow = [\"10.231.8.0/24\"]",
                    source.address()
                )),
                ..Setup::default()
            };
            let standing = Standing::start(field, run.subject, &setup);
            let load = Load::start(field, Plan::held(30));
            load.wait_for_live(30);
            lies(run, &standing, &page, &asked, &list(&[0, 1, 2]));
            // Ten times a second another list, all of them true: whoever stays is never cut.
            let is_over = AtomicBool::new(false);
            let stays = std::thread::scope(|scope| {
                scope.spawn(|| {
                    for number in 0.. {
                        *page.lock().unwrap() =
                            answer("200 OK", &list(if number % 2 == 0 { &[0, 1] } else { &[0, 1, 2] }));
                        pass(Duration::from_millis(100));
                        if is_over.load(SeqCst) {
                            return;
                        }
                    }
                });
                let outcome = Load::run(field, Plan::short(8, run.size(300, 20_000)));
                is_over.store(true, SeqCst);
                outcome
            });
            run.claim(
                stays.failed() == 0,
                "while the list flaps no new connection fails",
                stays.words(),
            );
            *page.lock().unwrap() = answer("200 OK", &list(&[0, 1, 2]));
            let outcome = load.stop();
            run.claim(outcome.failed() == 0, "no session is cut", outcome.words());
            drop(source);
            pass(Duration::from_millis(300));
            let alone = Load::run(field, Plan::short(8, 50));
            run.claim(
                alone.failed() == 0,
                "without a source the last good list serves",
                alone.words(),
            );
            oracle::end(run, standing);
        },
    );
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Each is told for as long as it takes lb to ask twice; after each the backends are those from before.
fn lies(run: &mut Run, standing: &Standing<'_>, page: &Mutex<String>, asked: &AtomicUsize, truth: &str) {
    let huge: Vec<String> = (0..10_000)
        .map(|number| format!("\"10.231.8.{}:{}\"", number % 250 + 1, 1000 + number))
        .collect();
    let told = [
        answer("200 OK", "[]"),
        answer("200 OK", ""),
        answer("200 OK", &truth[..truth.len() / 2]),
        answer("500 Oops", truth),
        answer("404 Not Found", ""),
        answer("200 OK", &format!("[{}]", huge.join(","))),
        answer("200 OK", "[\"169.254.169.254:80\"]"),
        answer("200 OK", "[\"192.0.2.1:80\"]"),
        answer("200 OK", "[\"127.0.0.1:8000\"]"),
        answer("200 OK", "[{\"address\":\"10.231.8.21:99999\"}]"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{truth}"),
        "nonsense\r\n\r\n".to_owned(),
        String::new(),
    ];
    for lie in told {
        lie.clone_into(&mut page.lock().unwrap());
        let before = asked.load(SeqCst);
        crate::common::eventually("it asks again", || (asked.load(SeqCst) >= before + 2).then_some(()));
        let status = standing.ask(|http| http.json("/api/v1/status"));
        let backends = status["services"][0]["backends"].as_array().unwrap();
        let are_there = backends.iter().filter(|backend| backend["state"] == "up").count();
        let first = lie
            .lines()
            .last()
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect::<String>();
        run.claim(
            are_there == 3 && backends.len() == 3,
            "a lie changes nothing",
            format!("{first}: {backends:?}"),
        );
    }
    *page.lock().unwrap() = answer("200 OK", truth);
}
