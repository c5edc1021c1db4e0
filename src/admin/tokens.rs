//! Who may do what: bearer tokens with roles, from a file, kept as digests.
//!
//! A line is `read:TOKEN` or `operate:TOKEN`, or `operate:sha256:HEX` with the digest of the token, so that the file itself opens
//! nothing. May not: keep a token in clear, log one, or compare one in a time that tells how much of it is right.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of the file: hundreds of tokens.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a token: fewer can be guessed. 32 hex digits, as `openssl rand -hex 16` prints them, are 128 bits.
const TOKEN_BYTES_MIN: usize = 16;
/// And at most, so that it fits into a header.
const TOKEN_BYTES_MAX: usize = 1024;

/// What somebody may do; who may do more may do less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// What everybody may: the health check, and the dashboard's own files.
    Nobody,
    /// Look.
    Read,
    /// Look and change.
    Operate,
}

impl Role {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

/// All tokens there are.
pub(super) struct Tokens(Vec<(Role, [u8; 32])>);

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, in one line that names the file and holds no token.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let said = |error: std::io::Error| format!("admin.token_file: {name}: {error}");
        // A pipe without a writer would hold up the start for ever: opened without waiting, and then refused.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(said)?;
        let metadata = file.metadata().map_err(said)?;
        if !metadata.is_file() {
            return Err(format!("admin.token_file: {name} is no file"));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(format!(
                "admin.token_file: {name} has mode {mode:o}: everybody on this machine may use it; chmod 600 {name}"
            ));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(said)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            return Err(format!(
                "admin.token_file: {name} is larger than 64 KiB, the most that lb reads"
            ));
        }
        Self::parse(&text).map_err(|(line, wrong)| format!("admin.token_file: {name}:{line}: {wrong}"))
    }

    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut tokens = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                tokens.push(entry(line).map_err(|wrong| (number, wrong))?);
            }
        }
        if tokens.is_empty() {
            return Err((1, "no token found, wanted a line like operate:TOKEN".to_owned()));
        }
        Ok(Self(tokens))
    }

    /// The role of a token. Every entry is compared, whichever fits.
    pub(super) fn role(&self, token: &[u8]) -> Role {
        let digest: [u8; 32] = Sha256::digest(token).into();
        self.0.iter().fold(Role::Nobody, |role, (of_entry, entry)| {
            if bool::from(entry.ct_eq(&digest)) {
                role.max(*of_entry)
            } else {
                role
            }
        })
    }
}

fn entry(line: &str) -> Result<(Role, [u8; 32]), String> {
    let (role, token) = line.split_once(':').ok_or("wanted role:token, one a line")?;
    let role = match role {
        "read" => Role::Read,
        "operate" => Role::Operate,
        _ => return Err("the role in front of the colon isn't known, wanted read or operate".to_owned()),
    };
    if let Some(hex) = token.strip_prefix("sha256:") {
        let digest = digest(hex).ok_or("wanted 64 hexadecimal digits behind sha256:")?;
        return Ok((role, digest));
    }
    if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(format!(
            "found a token of {} bytes, wanted {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} printable ASCII characters; openssl rand -hex 32 \
             makes one",
            token.len()
        ));
    }
    Ok((role, Sha256::digest(token.as_bytes()).into()))
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let nibbles: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = nibbles
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte: u8, nibble| byte << 4 | nibble))
        .collect();
    (nibbles.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn refused(text: &str) -> (usize, String) {
        Tokens::parse(text).unwrap_err()
    }

    #[test]
    fn a_token_has_its_role_and_nothing_else_has_one() {
        let tokens = Tokens::parse(&format!("# people\nread:{SECRET}x\n\noperate:{SECRET}y\n")).unwrap();
        assert_eq!(tokens.role(format!("{SECRET}x").as_bytes()), Role::Read);
        assert_eq!(tokens.role(format!("{SECRET}y").as_bytes()), Role::Operate);
        for other in [SECRET, "", "operate"] {
            assert_eq!(tokens.role(other.as_bytes()), Role::Nobody);
        }
        assert_eq!(format!("{tokens:?}"), "Tokens(2)");
    }

    #[test]
    fn a_digest_stands_for_its_token() {
        // printf abc | sha256sum, FIPS 180-4's own example
        let line = "read:sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Tokens::parse(line).unwrap().role(b"abc"), Role::Read);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_token() {
        for (text, line, word) in [
            ("", 1, "no token"),
            ("\nwrite:0123456789abcdef", 2, "read or operate"),
            ("operate:short", 1, "found a token of 5 bytes"),
            ("operate 0123456789abcdef", 1, "role:token"),
            ("read:sha256:12", 1, "64 hexadecimal"),
        ] {
            let (at, said) = refused(text);
            assert!(at == line && said.contains(word), "{text:?}: {at}: {said}");
            assert!(!said.contains("0123456789abcdef") && !said.contains("short"), "{said}");
        }
    }

    #[test]
    fn a_file_that_everybody_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, format!("operate:{SECRET}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(Tokens::load(&path).unwrap_err().contains("chmod 600"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(Tokens::load(&path).unwrap().role(SECRET.as_bytes()), Role::Operate);
        assert!(Tokens::load(folder.path()).unwrap_err().ends_with("is no file"));
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(Tokens::load(&pipe).unwrap_err().ends_with("is no file"));
        assert!(
            Tokens::load(Path::new("/nonexistent"))
                .unwrap_err()
                .contains("/nonexistent")
        );
    }
}
