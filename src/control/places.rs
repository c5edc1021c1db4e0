//! Which files lb needs as long as it runs: what the sandbox lets it open.
//!
//! Folders, not files: an editor, an installer and whoever rotates logs put another file in a file's place. `/` is never one of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::{self, AdminListen, Config, DiscoverySource};
use crate::sys::FileRules;

/// Read whatever the file says: what the process is told of itself and of the machine (`/proc`; processors and memory of a container),
/// where a new lb finds its libraries.
const ALWAYS_READ: [&str; 3] = ["/proc", "/sys/fs/cgroup", "/etc/ld.so.cache"];
/// Written whatever the file says: standard input of what is started.
const ALWAYS_WRITTEN: [&str; 1] = ["/dev/null"];
/// Where names are looked up, if they are: `resolv.conf`, `hosts`.
const RESOLVER: &str = "/etc";
const RESOLVER_FILE: &str = "/etc/resolv.conf";

/// All that this configuration, read from `path`, needs.
pub(super) fn places(config: &Config, path: &Path) -> FileRules {
    let mut rules = FileRules::default();
    rules.read.extend(ALWAYS_READ.map(PathBuf::from));
    rules.write.extend(ALWAYS_WRITTEN.map(PathBuf::from));
    add(&mut rules.read, path);
    if let Some(path) = &config.admin.token_file {
        add(&mut rules.read, path);
    }
    for source in config.services.iter().filter_map(|service| service.discovery.as_ref()) {
        match &source.source {
            DiscoverySource::File { path } => add(&mut rules.read, path),
            DiscoverySource::Dns { server: None, .. } => {
                rules.read.push(PathBuf::from(RESOLVER));
                add(&mut rules.read, Path::new(RESOLVER_FILE)); // often a link to somewhere else
            }
            DiscoverySource::Dns { .. } | DiscoverySource::Http { .. } | DiscoverySource::Etcd { .. } => {}
        }
    }
    if let config::AccessLog::File(path) = &config.log.access {
        add(&mut rules.write, path);
    }
    if let Some(history) = &config.history {
        rules.write.push(absolute(&history.directory));
    }
    if let AdminListen::Unix(path) = &config.admin.listen {
        add(&mut rules.write, path);
    }
    for program in programs() {
        add(&mut rules.run, &program);
    }
    for library in libraries() {
        add(&mut rules.run, &library);
    }
    for places in [&mut rules.read, &mut rules.write, &mut rules.run] {
        places.sort();
        places.dedup();
    }
    rules
}

/// What of `needed` the rules of `granted` don't have; in words.
pub(super) fn beyond(needed: &FileRules, granted: &FileRules) -> Option<String> {
    let unread = needed.read.iter().find(|place| !granted.lets_read(place));
    let unwritten = needed.write.iter().find(|place| !granted.lets_write(place));
    let is_run = |place: &PathBuf| granted.run.iter().any(|granted| place.starts_with(granted));
    let unrun = needed.run.iter().find(|place| !is_run(place));
    let found = [
        (unread, "read"),
        (unwritten, "write to"),
        (unrun, "start programs from"),
    ];
    found
        .into_iter()
        .find_map(|(place, what)| Some(format!("{what} {}", place?.display())))
}

/// The folder of a file as it is named, and of the file that is meant; the file itself where that is no folder to be opened.
fn add(places: &mut Vec<PathBuf>, path: &Path) {
    let meant = path.canonicalize().ok();
    let is_special = meant
        .as_ref()
        .is_some_and(|meant| !meant.is_file() && !meant.is_dir() && !is_socket(meant));
    if let (true, Some(meant)) = (is_special, &meant) {
        return places.push(meant.clone()); // a device or a pipe: its folder is full of others
    }
    let named = absolute(path);
    for file in [Some(&named), meant.as_ref()].into_iter().flatten() {
        // A folder that isn't there yet: the one in which it will be.
        let folder = file.ancestors().skip(1).find(|folder| folder.is_dir());
        match folder {
            Some(folder) if folder.parent().is_some() => places.push(folder.to_owned()),
            _ => places.push(file.clone()),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// With the links of its folder followed, and without those of its own name.
fn absolute(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (
        full.parent().and_then(|folder| folder.canonicalize().ok()),
        full.file_name(),
    ) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => full,
    }
}

/// This program, and what an upgrade starts.
fn programs() -> Vec<PathBuf> {
    let own = std::env::current_exe().ok();
    let named = std::env::args_os().next().and_then(|name| found(&name));
    own.into_iter().chain(named).collect()
}

/// Where a program is that is typed so.
fn found(name: &OsString) -> Option<PathBuf> {
    if Path::new(name).components().count() > 1 {
        return Some(PathBuf::from(name));
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// What this program was loaded from beside its own file: the kernel opens the loader to start it, and that its libraries (ld.so(8)).
fn libraries() -> Vec<PathBuf> {
    let maps = procfs::process::Process::myself().and_then(|process| process.maps());
    let mut found: Vec<PathBuf> = maps
        .into_iter()
        .flatten()
        .filter_map(|map| match map.pathname {
            procfs::process::MMapPath::Path(path) => Some(path),
            _ => None,
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &str) -> Config {
        let text = format!(
            "{lines}\n[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n[[service.backend]]\nname = \"b\"\naddress = \"10.0.0.1:1\"\n"
        );
        config::parse("f", &text).unwrap()
    }

    #[test]
    fn folders_are_named_and_never_the_root_and_devices_stand_for_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let elsewhere = folder.join("releases");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("lb.toml"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.join("lb.toml"), folder.join("lb.toml")).unwrap();
        let rules = places(&config("[log]\naccess = \"/dev/full\""), &folder.join("lb.toml"));
        assert!(rules.lets_read(&folder.join("lb.toml")) && rules.lets_read(&elsewhere.join("x")));
        assert!(rules.lets_write(Path::new("/dev/full")) && !rules.lets_write(Path::new("/dev/zero")));
        assert!(!rules.lets_read(Path::new("/")) && !rules.lets_read(Path::new("/etc/passwd")));
        let rules = places(&config("[log]\naccess = \"/access.log\""), Path::new("/lb.toml"));
        assert!(rules.lets_read(Path::new("/lb.toml")) && rules.lets_write(Path::new("/access.log")));
        assert!(!rules.lets_read(Path::new("/")) && !rules.lets_write(Path::new("/other")));
        let own = std::env::current_exe().unwrap();
        assert!(rules.run.contains(&own.parent().unwrap().to_owned()));
    }

    #[test]
    fn what_is_needed_beyond_what_was_granted_is_named() {
        let at = Path::new("/etc/lb/lb.toml");
        let granted = places(&config("[log]\naccess = \"/tmp/a\""), at);
        assert_eq!(
            beyond(&places(&config("[log]\naccess = \"/tmp/b\""), at), &granted),
            None
        );
        assert_eq!(beyond(&places(&config(""), at), &granted), None);
        let other = places(&config("[log]\naccess = \"/usr/x\""), at);
        assert_eq!(beyond(&other, &granted).as_deref(), Some("write to /usr"));
        let other = places(&config("[admin]\ntoken_file = \"/usr/x\""), at);
        assert_eq!(beyond(&other, &granted).as_deref(), Some("read /usr"));
    }
}
