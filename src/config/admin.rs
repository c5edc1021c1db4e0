//! `[admin]`, and the `metrics` of a backend: from tables to values.
//!
//! May not: open the socket or the file of tokens; `admin` does, and says what is wrong with them.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ADMIN_HOSTS_MAX;
use super::problems::{Findings, quoted};
use super::reader::{Field, Table};
use super::scalars::{self, Use};
use super::values::{Admin, AdminListen};
use super::whole::Whole;
use crate::types::HttpUrl;

/// `[admin]`.
pub(super) fn admin(table: &Table, whole: &mut Whole, findings: &mut Findings) -> Admin {
    let listen = match table.get("listen") {
        Some(field) => {
            let listen = listen(&field, findings).unwrap_or(AdminListen::DEFAULT);
            if let AdminListen::Tcp(address) = listen {
                whole.listener(address, &field, findings);
            }
            listen
        }
        None => {
            if let AdminListen::Tcp(address) = AdminListen::DEFAULT {
                whole.default_listener(address, "admin.listen");
            }
            AdminListen::DEFAULT
        }
    };
    let token_file = table
        .get("token_file")
        .and_then(|field| scalars::path(&field, "the path of a file, or \"\" for none", findings));
    if let (AdminListen::Tcp(address), None) = (&listen, &token_file)
        && !address.ip().to_canonical().is_loopback()
    {
        let hint = "anything but loopback or a unix socket needs token_file";
        match table.get("listen") {
            Some(field) => field.refuse("a loopback address, or a token_file beside it", hint, findings),
            None => table.missing("token_file", "a file of tokens", findings),
        }
    }
    let hosts = table
        .get("hosts")
        .map_or_else(Vec::new, |field| hosts(&field, findings));
    Admin {
        listen,
        token_file,
        hosts,
    }
}

fn listen(field: &Field, findings: &mut Findings) -> Option<AdminListen> {
    const WANTED: &str = "an IP address and port like \"127.0.0.1:8000\", \"unix:/path/of/a/socket\" or \"off\"";
    let text = field.string(WANTED, findings)?;
    if text == "off" {
        return Some(AdminListen::Off);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        // sun_path has 108 bytes, the last of them NUL (unix(7)).
        if path.is_empty() || path.contains('\0') || path.len() > 107 {
            field.refuse(WANTED, "the path of a socket has 1 to 107 bytes", findings);
            return None;
        }
        return Some(AdminListen::Unix(PathBuf::from(path)));
    }
    scalars::address(field, Use::Listen, findings).map(AdminListen::Tcp)
}

fn hosts(field: &Field, findings: &mut Findings) -> Vec<String> {
    const WANTED: &str = "a host name as a browser's address line has it, without port, like \"lb.example.com\"";
    let fields = field.one_or_many();
    if fields.len() > ADMIN_HOSTS_MAX {
        field.refuse(&format!("at most {ADMIN_HOSTS_MAX} host names"), "", findings);
    }
    let mut hosts = Vec::new();
    for field in fields {
        let Some(text) = field.string(WANTED, findings) else {
            continue;
        };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if text.is_empty() || text.len() > 253 || !text.bytes().all(is_allowed) {
            field.refuse(WANTED, "", findings);
        } else {
            hosts.push(text.to_ascii_lowercase());
        }
    }
    hosts
}

/// `metrics` of a backend: where its process tells of itself.
pub(super) fn metrics(field: &Field, findings: &mut Findings) -> Option<HttpUrl> {
    const WANTED: &str = "a URL like \"http://127.0.0.1:9101/metrics\", or \"\" for none";
    let text = field.string(WANTED, findings)?;
    if text.is_empty() {
        return None;
    }
    let url = url(text);
    if url.is_none() {
        let hint = match text.split_once("://") {
            Some(("http", _)) => "an IP address and a port, then a path without spaces",
            Some(_) => "only http is spoken here",
            None => "it starts with http://",
        };
        field.refuse(WANTED, hint, findings);
    }
    url
}

/// `http://`, an IP address and a port, and a path.
pub(super) fn url(text: &str) -> Option<HttpUrl> {
    let rest = text.strip_prefix("http://")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let address: SocketAddr = authority.parse().ok()?;
    let is_path = path.len() <= super::HTTP_PATH_BYTES_MAX && path.bytes().all(|byte| byte.is_ascii_graphic());
    (address.port() != 0 && is_path).then(|| HttpUrl {
        address,
        path: path.into(),
    })
}

/// As lb.toml has it.
impl std::fmt::Display for AdminListen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => out.write_str("off"),
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "unix:{}", quoted(&path.display().to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_and_a_path() {
        let found = url("http://127.0.0.1:9101/metrics").map(|url| (url.address.to_string(), url.path.to_string()));
        assert_eq!(found, Some(("127.0.0.1:9101".to_owned(), "/metrics".to_owned())));
        assert_eq!(
            url("http://[::1]:1").map(|url| url.path.to_string()),
            Some("/".to_owned())
        );
        for bad in [
            "https://127.0.0.1:1/",
            "127.0.0.1:1/",
            "http://127.0.0.1/",
            "http://localhost:1/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:1/a b",
            "http://127.0.0.1:1/\r\nHost: x",
            "http://u@127.0.0.1:1/",
        ] {
            assert!(url(bad).is_none(), "{bad}");
        }
    }
}
