//! The dashboard in a real browser: what it shows is so, what is pressed is done, and nothing that is told to it becomes more than text.
//!
//! Where `chromedriver` isn't installed, these say that they are skipped.

use serde_json::{Value, json};

use super::common::{Balancer, Browser, Config, Http, Peer, Refusing, Signal, eventually, tcp_server};
use fake::{Fake, Script};

mod fake;

/// Quick checks, and a port of its own for the dashboard.
const ADMIN: &str = "listen = \"127.0.0.1:0\"";
const HEALTH: &str = "kind = \"tcp\"\ninterval = \"100ms\"\ntimeout = \"1s\"\nrise = 1\nfall = 1";

fn cell(backend: &str, class: &str) -> String {
    format!("[data-backend=\"{backend}\"] {class}")
}

/// The page has drawn all it draws: plotly is there, and each picture.
fn wait_for_pictures(browser: &Browser) {
    eventually("two pictures of each service", || {
        let drawn = browser.run(
            "const waiting = [...document.querySelectorAll('.service .plot:not(.js-plotly-plot)')];\
             waiting[0]?.scrollIntoView();\
             return globalThis.Plotly !== undefined && waiting.length === 0",
        );
        (drawn == true).then_some(())
    });
}

/// Nothing was refused, nothing went wrong; what the browser says of answers that didn't come is left out where there are none.
fn assert_no_complaints(browser: &Browser, is_gone: bool) {
    let complaints = browser.complaints();
    let unexpected: Vec<_> = complaints
        .iter()
        .filter(|line| !(is_gone && line.contains("net::ERR_")))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// What the page shows of each backend, by the columns of its table.
fn shown(browser: &Browser) -> Value {
    browser.run(
        "return [...document.querySelectorAll('tr[data-backend]')].map((row) => {\
           const text = (at) => row.querySelector(at).textContent;\
           const figure = (at) => Number(text(at).replaceAll(',', ''));\
           return {name: text('.name'), state: text('.state'), address: text('.address'), weight: figure('.weight'),\
                   active: figure('.active'), total: figure('.total'), error: text('.error')};\
         })",
    )
}

/// The same, of the API.
fn told(admin: &Http) -> Value {
    let status = admin.json("/api/v1/status");
    let services = status["services"].as_array().unwrap().iter();
    let backends = services.flat_map(|service| service["backends"].as_array().unwrap());
    let rows = backends.map(|backend| {
        json!({
            "name": backend["name"], "state": backend["state"], "address": backend["address"], "weight": backend["weight"],
            "active": backend["connections"]["active"], "total": backend["connections"]["total"],
            "error": backend["health"]["last_error"].as_str().unwrap_or_default(),
        })
    });
    rows.collect()
}

#[test]
fn the_page_shows_what_the_api_tells() {
    let Some(browser) = Browser::open("the_page_shows_what_the_api_tells") else {
        return;
    };
    let (_a, a) = tcp_server(&["0"]);
    let (_b, b) = tcp_server(&["0"]);
    let config = Config::with_backends(&[("a", a)])
        .backend("b", b, "weight = 3")
        .health(HEALTH)
        .admin(ADMIN);
    let lb = Balancer::start(&config);
    let admin = lb.admin();
    browser.go(&format!("http://{}/", admin.address()));
    let peers: Vec<Peer> = (0..12).map(|_| Peer::connect(lb.address())).collect();
    for peer in &peers {
        peer.send(b"hi").expect(b"hi");
    }
    drop(peers.into_iter().skip(5).collect::<Vec<_>>());
    eventually("the table says what the API says", || {
        let told = told(&admin);
        let total: u64 = told
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["total"].as_u64().unwrap())
            .sum();
        (total == 12 && shown(&browser) == told).then_some(())
    });
    let status = admin.json("/api/v1/status");
    browser.wait_for_text("#active", &status["connections"]["active"].to_string());
    browser.wait_for_text("#total", &format!("{} in all", status["connections"]["total"]));
    browser.wait_for_text("#state", "running");
    browser.wait_for_text("#link", "live");
    let about = browser.text("#about").unwrap();
    assert!(about.contains(status["version"].as_str().unwrap()), "{about}");
    assert_eq!(browser.text(&cell("b", ".share")).as_deref(), Some("75.0\u{a0}%"));
    wait_for_pictures(&browser);
    // Plotly's own would be one that the content policy has no word for.
    assert_eq!(browser.run("return document.querySelectorAll('style').length"), 0);
    assert_no_complaints(&browser, false);
    drop(browser);
}

#[test]
fn the_page_follows_a_backend_that_is_killed_and_comes_back() {
    let Some(browser) = Browser::open("the_page_follows_a_backend_that_is_killed_and_comes_back") else {
        return;
    };
    let (mut a, address) = tcp_server(&["0"]);
    let (_b, b) = tcp_server(&["0"]);
    let lb = Balancer::start(
        &Config::with_backends(&[("a", address), ("b", b)])
            .health(HEALTH)
            .admin(ADMIN),
    );
    browser.go(&format!("http://{}/", lb.admin().address()));
    let state = cell("a", ".state");
    let dot = |state: &str| {
        let of_dot =
            "getComputedStyle(document.querySelector(\"[data-backend='a'] .state\"), '::before').backgroundColor";
        let of_theme = format!("getComputedStyle(document.querySelector(\".ups\")).getPropertyValue('--{state}')");
        // Both as the browser resolves them: the variable by way of an element that has it for its colour.
        let script = format!(
            "const probe = document.createElement('i'); probe.style.color = {of_theme}; document.body.append(probe);\
             const wanted = getComputedStyle(probe).color; probe.remove(); return [{of_dot}, wanted]"
        );
        let colours = browser.run(&script);
        assert_eq!(colours[0], colours[1], "the dot is {state}");
    };
    browser.wait_for_text(&state, "up");
    dot("good");
    a.signal(Signal::KILL);
    browser.wait_for_text(&state, "down");
    dot("bad");
    a.wait();
    browser.wait_for_text(".ups", "1 of 2 up");
    let error = eventually("the error is told", || {
        browser.text(&cell("a", ".error")).filter(|text| !text.is_empty())
    });
    assert!(error.contains("refused"), "{error}");
    let changes = browser.text("#changes").unwrap();
    assert!(changes.contains("a of echo"), "{changes}");
    let _again = tcp_server(&[&address.port().to_string()]);
    browser.wait_for_text(&state, "up");
    dot("good");
    assert_no_complaints(&browser, false);
    drop(browser);
}

#[test]
fn a_click_drains_a_backend_and_another_resumes_it() {
    let Some(browser) = Browser::open("a_click_drains_a_backend_and_another_resumes_it") else {
        return;
    };
    let (_a, a) = tcp_server(&["0"]);
    let (_b, b) = tcp_server(&["0"]);
    let lb = Balancer::start(&Config::with_backends(&[("a", a), ("b", b)]).health(HEALTH).admin(ADMIN));
    let admin = lb.admin();
    browser.go(&format!("http://{}/", admin.address()));
    let (state, button) = (cell("a", ".state"), cell("a", "[data-act=\"state\"]"));
    browser.wait_for_text(&state, "up");
    browser.wait_for_text(&button, "Drain");
    browser.click(&button);
    assert_eq!(browser.text("dialog h2").as_deref(), Some("Drain a?"));
    assert_eq!(
        told(&admin)[0]["state"],
        "up",
        "nothing is done before the question is answered"
    );
    browser.click("dialog button.primary");
    browser.wait_for_text(&state, "draining");
    assert_eq!(told(&admin)[0]["state"], "draining");
    let total = |row: usize| told(&admin)[row]["total"].as_u64().unwrap();
    let before = total(0);
    for _ in 0..4 {
        Peer::connect(lb.address()).send(b"hi").expect(b"hi");
    }
    assert_eq!((total(0), total(1)), (before, 4));
    browser.wait_for_text(&button, "Resume");
    browser.click(&button);
    browser.click("dialog button.primary");
    browser.wait_for_text(&state, "up");
    assert_no_complaints(&browser, false);
    drop(browser);
}

#[test]
fn the_page_says_when_lb_is_gone_and_recovers() {
    let Some(browser) = Browser::open("the_page_says_when_lb_is_gone_and_recovers") else {
        return;
    };
    let (_a, a) = tcp_server(&["0"]);
    let config = Config::with_backends(&[("a", a)]).health(HEALTH);
    let mut lb = Balancer::start(&config.clone().admin(ADMIN));
    let admin = lb.admin();
    browser.go(&format!("http://{}/", admin.address()));
    browser.wait_for_text("#link", "live");
    assert_eq!(browser.text("#banner").as_deref(), Some(""));
    assert_no_complaints(&browser, false);
    lb.program_mut().kill();
    lb.forget();
    browser.wait_for_text("#state", "gone");
    let banner = browser.text("#banner").unwrap();
    assert!(banner.starts_with("lb doesn't answer."), "{banner}");
    eventually("the figures are greyed", || {
        let is_grey = browser.run("return Number(getComputedStyle(document.querySelector('main')).opacity) < 0.6");
        (is_grey == true).then_some(())
    });
    let lb = Balancer::start(&config.admin(&format!("listen = \"{}\"", admin.address())));
    browser.wait_for_text("#link", "live");
    browser.wait_for_text("#state", "running");
    browser.wait_for_text("#banner", "");
    Peer::connect(lb.address()).send(b"hi").expect(b"hi");
    browser.wait_for_text(&cell("a", ".total"), "1");
    assert_no_complaints(&browser, true);
    drop(browser);
}

const HOSTILE: [&str; 6] = [
    "<img src=x onerror=alert(1)>",
    "\"><script>alert(1)</script>",
    "<b>a</b>&amp;<a href=\"javascript:alert(1)\">b</a>",
    "%{label}<br>$x^2$",
    "__proto__",
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
];

/// A status in which whatever is text is hostile.
fn hostile_status() -> Value {
    let backends: Vec<Value> = HOSTILE.iter().map(|name| hostile_backend(name)).collect();
    json!({
        "version": HOSTILE[0], "pid": 1, "uptime_seconds": 5.0, "state": "running", "workers": 2,
        "connections": {"active": 6, "total": 60, "refused": 0},
        "services": [{
            "name": HOSTILE[0], "listen": [HOSTILE[1]], "balance": HOSTILE[2],
            "connections": {"active": 6, "total": 60, "failed": 0, "refused": 0},
            "bytes": {"to_backend": 1, "to_client": 1}, "backends": backends,
        }],
    })
}

fn hostile_backend(name: &str) -> Value {
    json!({
        "name": name, "address": HOSTILE[0], "weight": 1, "backup": false, "state": "up",
        "health": {"status": HOSTILE[0], "since": HOSTILE[1], "last_check": HOSTILE[2], "last_error": HOSTILE[1], "latency_seconds": null},
        "connections": {"active": 1, "total": 10, "failed": 0}, "bytes": {"to_backend": 1, "to_client": 1},
        "process": null, "origin": HOSTILE[0],
    })
}

/// The event `sample`, with so many connections of each backend.
fn hostile_sample(time: &str, total: u64) -> String {
    let backends = HOSTILE.iter().map(|name| {
        json!({
            "name": name, "state": "up", "connections": {"active": 1, "total": total, "failed": 0},
            "bytes": {"to_backend": 1, "to_client": 1}, "latency_seconds": null,
        })
    });
    json!({
        "time": time, "connections": {"active": 6, "total": 60, "refused": 0},
        "services": [{
            "name": HOSTILE[0], "connections": {"active": 6, "total": 60, "failed": 0, "refused": 0},
            "bytes": {"to_backend": 1, "to_client": 1}, "backends": backends.collect::<Vec<_>>(),
        }],
    })
    .to_string()
}

/// A balancer whose server has the page; the figures are the script's.
fn with_script(script: Script) -> (Balancer, Fake) {
    let nobody = Refusing::bind();
    let lb = Balancer::start(&Config::with_backends(&[("a", nobody.address())]).admin(ADMIN));
    let fake = Fake::start(lb.admin(), script);
    (lb, fake)
}

fn hostile_script() -> Script {
    Script {
        status: hostile_status(),
        history: json!({"interval_seconds": 2.0, "times": [], "services": {}}),
        role: "operate",
        ..Script::default()
    }
}

#[test]
fn hostile_names_stay_text() {
    let Some(browser) = Browser::open("hostile_names_stay_text") else {
        return;
    };
    let (_lb, fake) = with_script(hostile_script());
    browser.go(&fake.url());
    browser.wait_for_text("h2[title]", HOSTILE[0]);
    let event = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n").into_bytes();
    let change = json!({"time": "2026-01-01T00:00:00Z", "service": HOSTILE[0], "backend": HOSTILE[1], "state": HOSTILE[0], "reason": HOSTILE[2]});
    fake.send(&[
        &event("sample", &hostile_sample("2026-01-01T00:00:00Z", 10)),
        &event("sample", &hostile_sample("2026-01-01T00:00:02Z", 20)),
        &event("sample", &hostile_sample("2026-01-01T00:00:04Z", 40)),
        &event("backend", &change.to_string()),
        &event(
            "config",
            &json!({"time": "2026-01-01T00:00:00Z", "changes": HOSTILE}).to_string(),
        ),
    ]);
    eventually("the configuration's change is told", || {
        browser.text("#changes").filter(|text| text.contains("configuration"))
    });
    wait_for_pictures(&browser);
    let names =
        browser.run("return [...document.querySelectorAll('tr[data-backend] .name')].map((name) => name.textContent)");
    assert_eq!(names, json!(HOSTILE));
    // The card, the pictures' labels and the dialogs tell names too.
    browser.run(
        "for (const plot of document.querySelectorAll('.plot')) Plotly.Fx.hover(plot, [{curveNumber: 0, pointNumber: 0}]);\
         document.querySelector('tr[data-backend] .name').click()",
    );
    browser.wait_for_text("#card h3", HOSTILE[0]);
    browser.run("document.querySelector('[data-act=\"remove\"]').click()");
    browser.wait_for_text("dialog h2", &format!("Remove {}?", HOSTILE[0]));
    let strangers =
        "return document.querySelectorAll('img, iframe, object, embed, a[href^=\"javascript\"], [onerror], b').length";
    assert_eq!(browser.run(strangers), 0);
    let scripts = "return [...document.scripts].map((script) => new URL(script.src).pathname).sort()";
    assert_eq!(
        browser.run(scripts),
        json!(["/assets/main.js", "/assets/plotly.js", "/assets/theme.js"])
    );
    assert_eq!(
        browser.run("return document.documentElement.scrollWidth <= innerWidth"),
        true,
        "the page is too wide"
    );
    assert!(!browser.has_alert());
    assert_no_complaints(&browser, false);
    drop(browser);
}

#[test]
fn events_are_understood_however_they_are_cut() {
    let Some(browser) = Browser::open("events_are_understood_however_they_are_cut") else {
        return;
    };
    let (_lb, fake) = with_script(hostile_script());
    browser.go(&fake.url());
    browser.wait_for_text("#link", "live");
    let total = "tr[data-backend] .total";
    // One byte a piece, CR LF; data on two lines; a comment, an unknown event and half of one before a whole one, CR.
    let first = hostile_sample("2026-01-01T00:00:00Z", 11).replace("\"up\"", "\"up\",\"é\":1");
    let first = format!("event: sample\r\ndata: {first}\r\n\r\n");
    fake.send(&first.as_bytes().chunks(1).collect::<Vec<_>>());
    browser.wait_for_text(total, "11");
    let second = hostile_sample("2026-01-01T00:00:02Z", 22).replacen(',', ",\ndata:", 1);
    fake.send(&[b"event:sample\n", b"data:", second.as_bytes(), b"\n\n"]);
    browser.wait_for_text(total, "22");
    let third = hostile_sample("2026-01-01T00:00:04Z", 33);
    fake.send(&[
        b": alive\r\revent: other\rdata: {\r\revent: sample\rdata: {\"broken\r\revent: sample\r",
        b"data: ",
        third.as_bytes(),
        b"\r\r",
    ]);
    browser.wait_for_text(total, "33");
    assert_no_complaints(&browser, false);
    drop(browser);
}

#[test]
fn a_token_is_asked_for_and_one_that_may_only_read_hides_what_changes() {
    let Some(browser) = Browser::open("a_token_is_asked_for_and_one_that_may_only_read_hides_what_changes") else {
        return;
    };
    let (_lb, fake) = with_script(Script {
        token: "secret",
        role: "read",
        ..hostile_script()
    });
    browser.go(&fake.url());
    let give = |token: &str| {
        eventually("a token is asked for", || browser.text("dialog h2"));
        browser.run(&format!("document.getElementById('token').value = '{token}'"));
        browser.click("dialog button.primary");
    };
    give("wrong");
    browser.wait_for_text("dialog .problem", "the token isn't one of token_file");
    give("secret");
    browser.wait_for_text("#link", "live");
    let is_seen = |selector: &str| {
        browser.run(&format!(
            "return document.querySelector('{selector}').checkVisibility()"
        )) == true
    };
    let is_read_only = || is_seen("#read-only") && !is_seen("[data-act=\"state\"]");
    eventually("what changes something is hidden", || is_read_only().then_some(()));
    assert_eq!(
        browser.run("return [localStorage.length, sessionStorage.length]"),
        json!([0, 1])
    );
    fake.change(|script| script.role = "operate");
    let is_operating = || !is_seen("#read-only") && is_seen("[data-act=\"state\"]");
    eventually("what changes something is shown", || is_operating().then_some(()));
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|line| line.contains("401")), "{complaints:#?}");
    drop(browser);
}
