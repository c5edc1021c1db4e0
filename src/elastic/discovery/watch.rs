//! Who wants to know when something changes in which folder: one watcher of the kernel's (inotify(7)) for all files.
//!
//! Folders are watched, not files: a file that another takes the place of is another one, and a watch on the old one would hear
//! nothing any more. Every folder counts through which the path leads by a symbolic link: it may be the link that is changed.
//!
//! May not: fail. Without a watcher (there are 128 a user by default) files are still looked at, only later.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// As many links as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Who listens to which folder.
type Listeners = HashMap<PathBuf, Vec<Arc<Notify>>>;

/// The watcher, and who listens.
#[derive(Clone, Default)]
pub(super) struct Watches(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// There while somebody listens.
    watcher: RefCell<Option<RecommendedWatcher>>,
    /// Shared with the watcher's own thread; never with one of traffic.
    listeners: Arc<Mutex<Listeners>>,
}

/// A place of one who listens; dropped, it is free.
pub(super) struct Seat {
    watches: Watches,
    path: PathBuf,
    folders: BTreeSet<PathBuf>,
    bell: Arc<Notify>,
}

impl Watches {
    /// A place of who wants to know of one file; it listens from now on.
    pub(super) fn seat(&self, path: &Path) -> Seat {
        let mut seat = Seat {
            watches: self.clone(),
            path: path.to_owned(),
            folders: BTreeSet::new(),
            bell: Arc::new(Notify::new()),
        };
        seat.look();
        seat
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a folder, again too: it may be another one of the same name by now.
    fn watch(&self, folder: &Path) {
        let mut watcher = self.0.watcher.borrow_mut();
        if watcher.is_none() {
            let listeners = Arc::clone(&self.0.listeners);
            let ring = move |event: notify::Result<Event>| ring(&listeners, event);
            match RecommendedWatcher::new(ring, notify::Config::default()) {
                Ok(opened) => *watcher = Some(opened),
                Err(error) => return log::debug!("discovery: no watcher for files: {error}"),
            }
        }
        if let Some(Err(error)) = watcher
            .as_mut()
            .map(|watcher| watcher.watch(folder, RecursiveMode::NonRecursive))
        {
            log::debug!("discovery: {} can't be watched: {error}", folder.display());
        }
    }

    fn forget(&self, folder: &Path, bell: &Arc<Notify>) {
        let mut listeners = self.listeners();
        let Some(bells) = listeners.get_mut(folder) else {
            return;
        };
        bells.retain(|other| !Arc::ptr_eq(other, bell));
        if !bells.is_empty() {
            return;
        }
        listeners.remove(folder);
        let is_last = listeners.is_empty();
        drop(listeners); // the watcher's thread may want them before it does what it is told here
        let mut watcher = self.0.watcher.borrow_mut();
        if is_last {
            *watcher = None;
        } else if let Some(Err(error)) = watcher.as_mut().map(|watcher| watcher.unwatch(folder)) {
            // The folder is gone, and its watch with it.
            log::debug!("discovery: {}: {error}", folder.display());
        }
    }
}

/// Wakes whoever listens to the folders of an event; after an error, everybody.
fn ring(listeners: &Mutex<Listeners>, event: notify::Result<Event>) {
    let listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(event) = event else {
        return listeners.values().flatten().for_each(|bell| bell.notify_one());
    };
    match event.kind {
        // Reading is no change, and this thread reads too.
        EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write) => return,
        _ => {}
    }
    if event.need_rescan() {
        return listeners.values().flatten().for_each(|bell| bell.notify_one());
    }
    for path in &event.paths {
        let folders = [Some(path.as_path()), path.parent()];
        let bells = folders.into_iter().flatten().filter_map(|folder| listeners.get(folder));
        bells.flatten().for_each(|bell| bell.notify_one());
    }
}

impl Seat {
    /// Listens where the path leads now.
    pub(super) fn look(&mut self) {
        let folders = folders(&self.path);
        for folder in &folders {
            if !self.folders.contains(folder) {
                let mut listeners = self.watches.listeners();
                listeners
                    .entry(folder.clone())
                    .or_default()
                    .push(Arc::clone(&self.bell));
            }
            self.watches.watch(folder);
        }
        let before = std::mem::replace(&mut self.folders, folders);
        for folder in before.difference(&self.folders) {
            self.watches.forget(folder, &self.bell);
        }
    }

    /// Something may have changed since the last time.
    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        for folder in &self.folders {
            self.watches.forget(folder, &self.bell);
        }
    }
}

/// The folders in which a change can make another file of a path: where it lies, and where each link lies that leads there.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut left: VecDeque<OsString> = parts(&whole);
    let (mut here, mut links) = (PathBuf::from("/"), 0_usize);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let link = std::fs::read_link(&next).ok();
        if link.is_some() || left.is_empty() {
            folders.insert(existing(&here));
        }
        match link {
            Some(target) => {
                links = links.saturating_add(1);
                if links > LINKS_MAX {
                    break;
                }
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    left.push_front(part);
                }
            }
            None => here = next,
        }
    }
    folders
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.collect()
}

/// The folder, or the nearest above it that is there: in it the missing one appears.
fn existing(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|folder| folder.is_dir());
    found.unwrap_or_else(|| Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_folder_with_a_link_on_the_way_is_watched() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        // As Kubernetes puts a ConfigMap there.
        std::fs::create_dir(root.join("..v1")).unwrap();
        std::fs::write(root.join("..v1/list.toml"), "").unwrap();
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/list.toml", root.join("list.toml")).unwrap();
        let found = folders(&root.join("list.toml"));
        assert_eq!(found, [root.clone(), root.join("..v1")].into());
        // Where the file will be, or the folder that is missing.
        assert_eq!(folders(&root.join("later.toml")), [root.clone()].into());
        assert_eq!(folders(&root.join("a/b/later.toml")), [root.clone()].into());
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(
            folders(&root.join("a")),
            [root].into(),
            "links that lead to each other end"
        );
    }

    #[test]
    fn the_last_who_leaves_takes_the_watcher_along() {
        let folder = tempfile::tempdir().unwrap();
        let watches = Watches::default();
        let (one, other) = (
            watches.seat(&folder.path().join("a")),
            watches.seat(&folder.path().join("b")),
        );
        drop(one);
        assert!(watches.0.watcher.borrow().is_some());
        drop(other);
        assert!(watches.0.watcher.borrow().is_none() && watches.listeners().is_empty());
    }
}
