//! Limits of lengths and counts: what just fits is taken, one more refused.

use std::path::Path;
use std::time::Duration;

use lb::config::{self, ACCESS_NETWORKS_MAX, ADMIN_HOSTS_MAX, ALLOWED_NETWORKS_MAX, AdminListen};

/// The key that a problem of this file names, or none.
fn refused(text: &str) -> Option<String> {
    let problems = config::parse("f", text).err()?;
    let all = problems.to_string();
    let key = all.split(": ").nth(1).unwrap_or_default();
    Some(key.to_owned())
}

/// A file with these lines in a section `[before]`, in its service and in its backend.
fn file(before: &str, of_service: &str, of_backend: &str) -> String {
    format!(
        "{before}\n[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n{of_service}\n\
         [[service.backend]]\nname = \"b\"\naddress = \"127.0.0.1:1\"\n{of_backend}\n"
    )
}

fn strings(number: usize, each: impl Fn(usize) -> String) -> String {
    let all: Vec<String> = (0..number).map(|index| format!("\"{}\"", each(index))).collect();
    format!("[{}]", all.join(", "))
}

fn letters(number: usize) -> String {
    "x".repeat(number)
}

fn network(index: usize) -> String {
    format!("10.{}.{}.{}/32", index >> 16, index >> 8 & 255, index & 255)
}

#[test]
fn what_just_fits_is_taken_and_one_more_refused() {
    type Row = (&'static str, usize, Box<dyn Fn(usize) -> String>);
    let program = "[service.managed]\nports = \"9101-9102\"\n";
    let discovery = "[service.discovery]\nkind = \"etcd\"\nurl = \"http://127.0.0.1:2379\"\n";
    let rows: Vec<Row> = vec![
        (
            "admin.listen",
            107,
            Box::new(|number| file(&format!("[admin]\nlisten = \"unix:{}\"", letters(number)), "", "")),
        ),
        (
            "admin.hosts",
            ADMIN_HOSTS_MAX,
            Box::new(|number| {
                file(
                    &format!("[admin]\nhosts = {}", strings(number, |index| format!("h{index}"))),
                    "",
                    "",
                )
            }),
        ),
        (
            "admin.hosts[0]",
            253,
            Box::new(|number| file(&format!("[admin]\nhosts = [\"{}\"]", letters(number)), "", "")),
        ),
        (
            "service[0].backend[0].metrics",
            config::HTTP_PATH_BYTES_MAX,
            Box::new(|number| {
                let path = letters(number - 1);
                file("", "", &format!("metrics = \"http://127.0.0.1:9101/{path}\""))
            }),
        ),
        (
            "service[0].backend[0].name",
            config::NAME_BYTES_MAX,
            Box::new(|number| file("", "", "").replace("\"b\"", &format!("\"{}\"", letters(number)))),
        ),
        (
            "service[0].health.path",
            config::HTTP_PATH_BYTES_MAX,
            Box::new(|number| {
                let path = letters(number - 1);
                file(
                    "",
                    &format!("[service.health]\nkind = \"http\"\npath = \"/{path}\""),
                    "",
                )
            }),
        ),
        (
            "service[0].health.expect",
            config::EXPECT_BYTES_MAX,
            Box::new(|number| {
                let expect = letters(number);
                file(
                    "",
                    &format!("[service.health]\nkind = \"expect\"\nexpect = \"{expect}\""),
                    "",
                )
            }),
        ),
        (
            "service[0].health.send",
            config::EXPECT_BYTES_MAX,
            Box::new(|number| {
                let send = letters(number);
                file(
                    "",
                    &format!("[service.health]\nkind = \"expect\"\nexpect = \"y\"\nsend = \"{send}\""),
                    "",
                )
            }),
        ),
        (
            "service[0].access.deny[100000]",
            ACCESS_NETWORKS_MAX,
            Box::new(|number| {
                file(
                    "",
                    &format!("[service.access]\ndeny = {}", strings(number, network)),
                    "",
                )
            }),
        ),
        (
            "service[0].proxy_protocol.trusted[256]",
            ALLOWED_NETWORKS_MAX,
            Box::new(|number| {
                let trusted = strings(number, network);
                file(
                    "",
                    &format!("[service.proxy_protocol]\naccept = true\ntrusted = {trusted}"),
                    "",
                )
            }),
        ),
        (
            "service[0].managed.command",
            config::COMMAND_WORDS_MAX,
            Box::new(move |number| {
                managed(&format!(
                    "{program}command = {}",
                    strings(number, |_| "{port}".to_owned())
                ))
            }),
        ),
        (
            "service[0].managed.command",
            config::COMMAND_BYTES_MAX,
            Box::new(move |number| {
                let word = letters(number - "{port}".len());
                managed(&format!("{program}command = [\"{word}\", \"{{port}}\"]"))
            }),
        ),
        (
            "service[0].discovery.prefix",
            config::ETCD_PREFIX_BYTES_MAX,
            Box::new(move |number| managed(&format!("{discovery}prefix = \"{}\"", letters(number)))),
        ),
    ];
    let mut wrong = String::new();
    for (key, most, text) in rows {
        let (fits, too_much) = (refused(&text(most)), refused(&text(most + 1)));
        if fits.is_some() || too_much.as_deref() != Some(key) {
            wrong += &format!("{key}: {most} fit: refused for {fits:?}; one more: {too_much:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A service whose backends come from elsewhere.
fn managed(section: &str) -> String {
    format!("[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n{section}\n")
}

#[test]
fn a_file_of_the_greatest_size_is_read_and_one_byte_more_is_not() {
    let mut text = file("", "", "");
    text += "#";
    text += &letters(config::FILE_BYTES_MAX - text.len());
    assert_eq!(refused(&text), None, "{} bytes", text.len());
    text.push('x');
    let problems = config::parse("f", &text).expect_err("too long").to_string();
    assert!(problems.contains("8 MiB"), "{problems}");
}

#[test]
fn a_path_of_a_socket_holds_no_nul() {
    let text = file("[admin]\nlisten = \"unix:/run/a\\u0000b\"", "", "");
    assert_eq!(refused(&text).as_deref(), Some("admin.listen"));
}

#[test]
fn where_admin_listens_is_shown_as_the_file_has_it() {
    let shown = |listen: AdminListen| listen.to_string();
    assert_eq!(shown(AdminListen::Off), "off");
    assert_eq!(
        shown(AdminListen::Tcp(super::address("127.0.0.1:8000"))),
        "127.0.0.1:8000"
    );
    assert_eq!(
        shown(AdminListen::Unix(Path::new("/run/lb").into())),
        "unix:\"/run/lb\""
    );
}

#[test]
fn history_keeps_a_week_in_a_gibibyte_unless_the_file_says_otherwise() {
    let config = config::parse("f", &file("[history]\ndirectory = \"/var/lib/lb\"", "", "")).expect("a good file");
    let history = config.history.expect("history");
    assert_eq!(history.keep, Duration::from_hours(24 * 7));
    assert_eq!(history.bytes_max, 1_073_741_824);
}
