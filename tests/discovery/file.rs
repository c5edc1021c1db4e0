//! A list in a file that is put in the place of another, written in place, half written, linked, taken away.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::common::{expect_refusal, greeted_by, pass};
use super::*;

/// A list of TOML.
fn toml(backends: &[&Backend]) -> String {
    backends.iter().fold(String::new(), |mut text, backend| {
        writeln!(text, "[[backend]]\naddress = \"{}\"", backend.address()).unwrap();
        text
    })
}

/// Whole or not at all.
fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(&next, path).unwrap();
}

fn config(path: &Path, lines: &str) -> Config {
    Config::new().discovery(&format!(
        "kind = \"file\"\npath = \"{}\"\n{LOCAL}{lines}",
        path.display()
    ))
}

fn place(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

#[test]
fn a_list_is_followed_as_it_changes_and_shown() {
    let servers = echoes(3);
    let [a, b, c] = [&servers[0], &servers[1], &servers[2]];
    let (_folder, path) = place("list.toml");
    put(&path, &toml(&[a, b]));
    let (lb, admin, _) = start(config(&path, ""));
    wait_for(&admin, &addresses(&[a, b]));
    let discovery = wait_for_success(&admin);
    assert_eq!(
        (&discovery["kind"], &discovery["backends"]),
        (&json!("file"), &json!(2))
    );
    let told = status(&admin);
    assert!(told.contains("\n  discovery by file: found backends: 2\n"), "{told}");
    let service = admin.json(SERVICE);
    assert_eq!(service["backends"][0]["origin"], json!("discovery"));
    assert_eq!(service["differences"], Value::Null, "what was found isn't a difference");
    put(&path, &toml(&[b, c]));
    wait_for(&admin, &addresses(&[b, c]));
    // In place, and with a name and a weight.
    let text = format!(
        "[[backend]]\nname = \"c-1\"\naddress = \"{}\"\nweight = 7\nbackup = true\n",
        c.address()
    );
    fs::write(&path, text).unwrap();
    eventually("c has its name, its weight, and is spare", || {
        let backends = admin.json(SERVICE)["backends"].clone();
        let c = backends
            .as_array()
            .unwrap()
            .iter()
            .find(|backend| backend["name"] == json!("c-1"))?
            .clone();
        (c["weight"] == json!(7) && c["backup"] == json!(true)).then_some(())
    });
    assert!(updates(&admin, "changed") >= 3);
    lb.finish();
}

#[test]
fn what_can_not_be_followed_leaves_the_backends_and_is_told_once() {
    let servers = echoes(2);
    let [a, b] = [&servers[0], &servers[1]];
    let (_folder, path) = place("list.toml");
    put(&path, &toml(&[a, b]));
    let (lb, admin, _) = start(config(&path, "min_backends = 2\nmax_backends = 3"));
    wait_for(&admin, &addresses(&[a, b]));
    let whole = toml(&[a, b]);
    let many: String = (1..=4)
        .map(|port| format!("[[backend]]\naddress = \"127.0.0.1:{port}\"\n"))
        .collect();
    for (text, wanted) in [
        (whole[..whole.len() - 8].to_owned(), "list.toml:4:"),
        (String::new(), "no backend found"),
        (toml(&[a]), "1 backends found, at least 2 are wanted"),
        (many, "4 backends found, at most 3 are wanted"),
        (
            format!("{whole}[[backend]]\naddress = \"169.254.169.254:80\"\n"),
            "169.254.169.254:80 is link-local",
        ),
        (
            format!("{whole}[[backend]]\naddress = \"10.0.0.1:80\"\n"),
            "is in no network of `allow`",
        ),
        (
            whole.replacen("address", "adress = 1\naddress", 1),
            "backend[0].adress: unknown key; did you mean \"address\"?",
        ),
        ("x".repeat((8 << 20) + 1), "larger than 8 MiB"),
    ] {
        put(&path, &text);
        let discovery = wait_for_error(&admin, wanted);
        assert_eq!(
            (taking(&admin).len(), &discovery["backends"]),
            (2, &json!(2)),
            "{wanted}"
        );
    }
    fs::remove_file(&path).unwrap();
    wait_for_error(&admin, "no such file");
    let told = status(&admin);
    assert!(told.contains("no such file; found before: 2\n"), "{told}");
    let failed = updates(&admin, "failed");
    assert!(failed >= 9, "{failed}");
    // Nine reasons within a moment are not nine lines.
    lb.line("backends that stay as they were: 2");
    let told = lb.lines_with("backends that stay as they were: 2").len();
    assert!(told <= 3, "{told}");
    put(&path, &whole);
    wait_for_success(&admin);
    lb.finish();
}

#[test]
fn links_that_are_swapped_are_followed() {
    let servers = echoes(3);
    let [a, b, c] = [&servers[0], &servers[1], &servers[2]];
    let (folder, path) = place("list.json");
    let version = |name: &str, backend: &Backend| {
        fs::create_dir(folder.path().join(name)).unwrap();
        let list = json!([backend.address().to_string()]).to_string();
        fs::write(folder.path().join(name).join("list.json"), list).unwrap();
    };
    let swap = |to: &str| {
        symlink(to, folder.path().join("..next")).unwrap();
        fs::rename(folder.path().join("..next"), folder.path().join("..data")).unwrap();
    };
    // As Kubernetes puts a ConfigMap there.
    version("..v1", a);
    swap("..v1");
    symlink("..data/list.json", &path).unwrap();
    let (lb, admin, _) = start(config(&path, ""));
    wait_for(&admin, &addresses(&[a]));
    version("..v2", b);
    swap("..v2");
    wait_for(&admin, &addresses(&[b]));
    fs::remove_dir_all(folder.path().join("..v1")).unwrap();
    version("..v3", c);
    swap("..v3");
    wait_for(&admin, &addresses(&[c]));
    // In the folder that the link leads to.
    put(
        &folder.path().join("..v3/list.json"),
        &json!([a.address().to_string()]).to_string(),
    );
    wait_for(&admin, &addresses(&[a]));
    lb.finish();
}

#[test]
fn a_list_that_comes_later_is_found_and_so_is_its_folder() {
    let a = Backend::echo();
    let (folder, _) = place("x");
    let path = folder.path().join("later/list.toml");
    let (lb, admin, _) = start(config(&path, ""));
    wait_for_error(&admin, "no such file");
    expect_refusal(lb.address());
    fs::create_dir(folder.path().join("later")).unwrap();
    put(&path, &toml(&[&a]));
    wait_for(&admin, &addresses(&[&a]));
    fs::remove_dir_all(folder.path().join("later")).unwrap();
    wait_for_error(&admin, "no such file");
    let peer = Peer::connect(lb.address());
    peer.send(b"on").expect(b"on").fin().expect_eof();
    lb.finish();
}

#[test]
fn ten_changes_a_second_under_traffic_cut_nobody_and_the_last_one_holds() {
    let servers = echoes(4);
    let (_folder, path) = place("list.toml");
    put(&path, &toml(&[&servers[0]]));
    let began = Instant::now();
    let (lb, admin, _) = start(config(&path, ""));
    wait_for(&admin, &addresses(&[&servers[0]]));
    let changes = 30;
    under_traffic(lb.address(), || {
        for number in 0..changes {
            let other = &servers[1 + number % 3];
            // The one that is always there is the last state too, with another.
            put(&path, &toml(&[&servers[0], other]));
            pass(Duration::from_millis(100));
        }
        wait_for(&admin, &addresses(&[&servers[0], &servers[1 + (changes - 1) % 3]]));
    });
    assert_paced(&lb, began);
    let closing = lb.finish();
    let ends: Vec<&String> = closing.service("echo").1.keys().collect();
    assert_eq!(ends, ["client_closed"]);
}

#[test]
fn a_reload_brings_the_section_changes_it_and_takes_it_away() {
    let (own, a, b) = (Backend::named("own"), Backend::named("a"), Backend::named("b"));
    let (folder, one) = place("one.toml");
    let other = folder.path().join("other.toml");
    put(&one, &toml(&[&a]));
    put(&other, &toml(&[&b]));
    let bare = Config::with_backends(&[("own", own.address())]).runtime("workers = 2\nsandbox = \"off\""); // it opens a folder that it doesn't know when it starts
    let (lb, admin, bare) = start(bare);
    let with = |path: &Path, lines: &str| {
        let lines = format!("kind = \"file\"\npath = \"{}\"\n{LOCAL}{lines}", path.display());
        bare.clone().discovery(&lines)
    };
    assert_eq!(admin.json(SERVICE)["discovery"], Value::Null);
    assert_eq!(lb.reload(&admin, &with(&one, "")), ["echo: [service.discovery]"]);
    wait_for(&admin, &addresses(&[&own, &a]));
    assert!(lb.reload(&admin, &with(&one, "")).is_empty());
    lb.reload(&admin, &with(&other, ""));
    wait_for(&admin, &addresses(&[&own, &b]));
    // Stricter, so that the answer isn't followed any more: what was found stays.
    lb.reload(&admin, &with(&other, "min_backends = 2"));
    wait_for_error(&admin, "at least 2");
    assert_eq!(taking(&admin).len(), 2);
    let old = loop {
        let peer = Peer::connect(lb.address());
        if peer.line() == "b" {
            break peer;
        }
    };
    lb.reload(&admin, &bare);
    wait_for(&admin, &addresses(&[&own]));
    assert_eq!(admin.json(SERVICE)["discovery"], Value::Null);
    assert_eq!(greeted_by(lb.address()), "own");
    old.send(b"it has its time")
        .expect(b"it has its time")
        .fin()
        .expect_eof();
    lb.finish();
}

#[test]
fn a_service_that_goes_and_comes_back_has_what_was_found() {
    let a = Backend::named("a");
    let (_folder, path) = place("one.toml");
    put(&path, &toml(&[&a]));
    let with = config(&path, "");
    let (lb, admin, with) = start(with);
    wait_for(&admin, &addresses(&[&a]));
    let other = Config::with_backends(&[("x", a.address())]).admin(ADMIN).text();
    for _ in 0..5 {
        fs::write(lb.folder().join("lb.toml"), other.replace("\"echo\"", "\"another\"")).unwrap();
        assert_eq!(admin.ask("POST", "/api/v1/reload", &[], "").status, 200);
        assert_eq!(admin.get(SERVICE).status, 404);
        lb.reload(&admin, &with);
        wait_for(&admin, &addresses(&[&a]));
    }
    lb.finish();
}
