//! A real browser, driven over the W3C WebDriver protocol (https://www.w3.org/TR/webdriver2/): headless Chromium by `chromedriver`.
//!
//! The protocol is JSON over HTTP/1, one call at a time: what `http.rs` does for the admin port is all it takes.

use std::io::ErrorKind;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{Http, Program, eventually, tell};

/// A window. Dropped, it is closed, and the browser ended.
pub(crate) struct Browser {
    driver: Http,
    session: String,
    /// Ends the driver, after the window.
    _program: Program,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Opens a window of 1280 x 900. `None`: there is no browser on this machine, and that is told.
    pub(crate) fn open(test: &str) -> Option<Self> {
        match Command::new("chromedriver").arg("--version").output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tell(&format!(
                    "skipped: {test}: chromedriver isn't installed; apt-get install chromium-driver"
                ));
                return None;
            }
            found => assert!(found.unwrap().status.success(), "chromedriver --version"),
        }
        // One at a time: a browser keeps a small machine busy for seconds, and what the others wait for has deadlines.
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let program = Program::captured(command);
        let line = program.line("started successfully on port ");
        let (_, port) = line.rsplit_once(' ').unwrap();
        let address = format!("127.0.0.1:{}", port.trim_end_matches('.'));
        let driver = Http::new(address.parse().unwrap());
        let arguments = [
            "--headless=new",
            "--no-sandbox", // root has none
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
            "unhandledPromptBehavior": "ignore",
        }}});
        let answer = driver.send("POST", "/session", &wanted).json();
        let session = answer["value"]["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {answer}"));
        Some(Self {
            driver,
            session: session.to_owned(),
            _program: program,
            _turn: turn,
        })
    }

    pub(crate) fn go(&self, url: &str) {
        self.call("url", &json!({"url": url}));
    }

    /// What the body of a function returns in the page.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.call("execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of the first element that fits, as it is in the document.
    pub(crate) fn text(&self, selector: &str) -> Option<String> {
        let script = format!(
            "return document.querySelector({})?.textContent ?? null",
            json!(selector)
        );
        self.run(&script).as_str().map(str::to_owned)
    }

    /// Waits until the text of an element is this.
    pub(crate) fn wait_for_text(&self, selector: &str, wanted: &str) {
        let mut last = None;
        let what = format!("{selector} says {wanted:?}");
        eventually(&what, || {
            last = self.text(selector);
            (last.as_deref() == Some(wanted)).then_some(())
        });
    }

    /// Presses an element as a pointer does: it has to be seen, and nothing may cover it.
    pub(crate) fn click(&self, selector: &str) {
        let found = self.call("element", &json!({"using": "css selector", "value": selector}));
        let element = found
            .as_object()
            .and_then(|found| found.values().next())
            .and_then(Value::as_str);
        let element = element.unwrap_or_else(|| panic!("no element for {selector}"));
        self.call(&format!("element/{element}/click"), &json!({}));
    }

    /// Whether the page has opened an alert.
    pub(crate) fn has_alert(&self) -> bool {
        let path = format!("/session/{}/alert/text", self.session);
        self.driver.get(&path).status == 200
    }

    /// Warnings and errors of the console since the last call, the browser's own among them: a breach of the content policy, say.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let lines = self.call("se/log", &json!({"type": "browser"}));
        let lines = lines.as_array().unwrap().iter();
        lines
            .filter(|line| matches!(line["level"].as_str(), Some("SEVERE" | "WARNING")))
            .map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    fn call(&self, command: &str, parameters: &Value) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        let mut answer = self.driver.send("POST", &path, parameters).json();
        assert!(
            answer["value"]["error"].is_null(),
            "{command} {parameters}: {}",
            answer["value"]
        );
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.session,
            self.driver.address()
        );
        // Whatever it says: the driver takes the browser with it.
        self.driver.exchange(request.as_bytes());
    }
}
