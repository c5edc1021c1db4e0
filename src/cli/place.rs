//! Where a running lb is asked, and who asks: `--admin` and `--token-file`, checked.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hyper::header::HeaderValue;

use super::failure::Failure;
use super::text::reason;

/// A token file has a few lines; what is longer is another file.
const TOKEN_FILE_BYTES_MAX: u64 = 64 << 10;

/// Where lb's admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `ADDRESS:PORT`, or a name in place of the address.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Place {
    /// # Errors
    /// It is neither `ADDRESS:PORT` nor `unix:PATH`.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => return Ok(Self::Unix(path.into())),
            None if text.parse::<SocketAddr>().is_ok() || is_name_and_port(text) => return Ok(Self::Tcp(text.into())),
            _ => {}
        }
        Err(Failure::Usage(format!(
            "--admin (or LB_ADMIN): found \"{text}\", wanted ADDRESS:PORT, such as 127.0.0.1:8000, or unix:/path/to/socket"
        )))
    }

    /// What the `Host` header says of it.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp(address) => address,
            Self::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => out.write_str(address),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

fn is_name_and_port(text: &str) -> bool {
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    text.rsplit_once(':').is_some_and(|(name, port)| {
        !name.is_empty() && name.chars().all(is_of_name) && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// The `Authorization` header for the token in a file; none if the name of the file is empty, as in lb.toml.
///
/// # Errors
/// The file can't be read, or there is no token in it. The token itself is never told.
pub(super) fn authorization(token_file: &OsStr) -> Result<Option<HeaderValue>, Failure> {
    if token_file.is_empty() {
        return Ok(None);
    }
    let path = Path::new(token_file);
    let bad = |what: &str| Failure::Usage(format!("--token-file (or LB_TOKEN_FILE): {}: {what}", path.display()));
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| bad(&reason(&error)))?;
    let token = token(&text).ok_or_else(|| bad("no line holds a token; wanted TOKEN or role:TOKEN"))?;
    if token.starts_with("sha256:") {
        return Err(bad(
            "found the digest of a token, sha256:..., which lb alone can use; wanted the token itself",
        ));
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .ok()
        .filter(|_| token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| bad("a token is printable ASCII without spaces"))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

/// The first line that isn't empty and no comment, without the role that stands before it in lb's own file.
fn token(text: &str) -> Option<&str> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let bare = ["read:", "operate:"].iter().find_map(|role| line.strip_prefix(role));
    Some(bare.map_or(line, str::trim)).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn an_address_a_name_or_a_socket_is_a_place() {
        for (text, host) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("[::1]:8000", "[::1]:8000"),
            ("localhost:8000", "localhost:8000"),
            ("unix:/run/lb.sock", "localhost"),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!((place.host(), place.to_string().as_str()), (host, text));
        }
        for text in [
            "",
            "8000",
            "127.0.0.1",
            "unix:",
            "http://127.0.0.1:8000",
            "a:0",
            "a b:1",
            "::1:x",
            "a:99999",
        ] {
            let failure = Place::parse(text).unwrap_err();
            assert!(
                matches!(failure, Failure::Usage(_)) && failure.line().contains("wanted ADDRESS:PORT"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_first_line_that_is_no_comment_is_the_token() {
        for (text, found) in [
            ("secret\n", Some("secret")),
            ("# tokens\n\n  operate:secret  \nread:other\n", Some("secret")),
            ("a:b", Some("a:b")),
            ("read:", None),
            ("#\n", None),
        ] {
            assert_eq!(token(text), found, "{text:?}");
        }
    }

    #[test]
    fn a_token_file_is_read_and_its_token_never_told() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"operate:s3cret\n").unwrap();
        let header = authorization(file.path().as_os_str()).unwrap().unwrap();
        assert_eq!(header, "Bearer s3cret");
        assert!(!format!("{header:?}").contains("s3cret"));
        std::fs::write(file.path(), "operate:sha256:0123").unwrap();
        let failure = authorization(file.path().as_os_str()).unwrap_err().line();
        assert!(failure.contains("found the digest of a token"), "{failure}");
        std::fs::write(file.path(), "s3 cret").unwrap();
        let failure = authorization(file.path().as_os_str()).unwrap_err().line();
        assert!(
            failure.contains("without spaces") && !failure.contains("cret:") && !failure.contains("s3"),
            "{failure}"
        );
        assert_eq!(authorization("".as_ref()).unwrap(), None);
        let failure = authorization("/nowhere/token".as_ref()).unwrap_err();
        assert_eq!(
            failure.line(),
            "--token-file (or LB_TOKEN_FILE): /nowhere/token: no such file or directory"
        );
    }
}
