//! The bytes of a configuration file: opened, measured, decoded. Called by `cli` and `control`.
//!
//! May not: wait for a file that never ends (it stops at the limit), or print.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::problems::Problems;
use super::values::Config;
use super::{FILE_BYTES_MAX, parse};

/// Reads and checks a file. It blocks on the disk; a pipe (`/dev/stdin`) is read to its end.
///
/// # Errors
/// One problem without a line if the file can't be read; else as [`parse`].
pub fn load(path: &Path) -> Result<Config, Problems> {
    let file_name = path.display().to_string();
    let bytes = read(path).map_err(|error| Problems::of_file(&file_name, &cannot_read(&error)))?;
    parse_bytes(&file_name, &bytes)
}

/// What is said of a file over the limit.
pub(super) fn too_large() -> String {
    format!(
        "larger than {} MiB, the most that lb reads; is it the right file?",
        FILE_BYTES_MAX >> 20
    )
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too large" from "just fits".
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn cannot_read(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file; write one, or name another with --config FILE".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "may not be read by this user; change its permissions (chmod, chown) or run lb as another user".to_owned()
        }
        io::ErrorKind::IsADirectory => "is a directory, wanted a file; name one with --config FILE".to_owned(),
        _ => format!("can't be read: {error}; name another with --config FILE"),
    }
}

fn parse_bytes(file_name: &str, bytes: &[u8]) -> Result<Config, Problems> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Problems::of_file(file_name, &too_large()));
    }
    std::str::from_utf8(bytes).map_or_else(
        |error| Err(not_utf8(file_name, bytes, error.valid_up_to())),
        |text| parse(file_name, text),
    )
}

/// The place of the first byte that isn't text: the valid part before it is, so its lines can be counted.
fn not_utf8(file_name: &str, bytes: &[u8], at: usize) -> Problems {
    let found = bytes.get(at).copied().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default()).into_owned();
    let said = format!(
        "found the byte {}, wanted UTF-8 text; save the file as UTF-8",
        quoted_byte(found, at)
    );
    Problems::at_end_of(file_name, &text, said)
}

fn quoted_byte(byte: u8, at: usize) -> String {
    format!("0x{byte:02x} (byte {} of the file)", at.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(result: Result<Config, Problems>) -> String {
        result.expect_err("must be refused").to_string()
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("nope.toml");
        assert_eq!(
            said(load(&path)),
            format!(
                "{}: no such file; write one, or name another with --config FILE",
                path.display()
            )
        );
    }

    #[test]
    fn a_directory_is_named_as_one() {
        let folder = tempfile::tempdir().expect("folder");
        let said = said(load(folder.path()));
        assert!(
            said.ends_with(": is a directory, wanted a file; name one with --config FILE"),
            "{said}"
        );
    }

    #[test]
    fn a_file_that_never_ends_is_refused_at_the_limit() {
        assert_eq!(
            said(load(Path::new("/dev/zero"))),
            "/dev/zero: larger than 8 MiB, the most that lb reads; is it the right file?"
        );
    }

    #[test]
    fn a_byte_that_is_no_text_is_told_with_its_line() {
        let said = said(parse_bytes("lb.toml", b"[runtime]\nworkers = \xff\n"));
        assert_eq!(
            said,
            "lb.toml:2:11: found the byte 0xff (byte 21 of the file), wanted UTF-8 text; save the file as UTF-8"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(parse_bytes("lb.toml", &bytes).is_err());
        }
    }
}
