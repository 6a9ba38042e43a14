//! Follows the folder: inotify says that something may have changed, and then everything is
//! looked at again. Events are only a hint: a lost one costs at most one slow look's time.

use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::scan::Scan;
use super::{Folder, Outcome, listable};

/// A folder and everything that is known of it.
pub(crate) struct Source {
    root: PathBuf,
    folder: Folder,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    hint: Arc<Notify>,
    look_again: Option<Duration>,
    /// The last scan.
    took: Duration,
}

impl Source {
    /// Reads the folder for the first time.
    ///
    /// # Errors
    /// When there is no such folder, or it can't be listed.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        listable(&root)?;
        let hint = Arc::new(Notify::new());
        let watcher = watcher(Arc::clone(&hint)).inspect_err(|error| warn!(%error, "the folder can't be watched")).ok();
        let folder = Folder::default();
        let mut source =
            Self { root, folder, watcher, watched: BTreeSet::new(), hint, look_again: None, took: Duration::ZERO };
        let scan = source.scan();
        source.take(scan);
        Ok(source)
    }

    /// What is in force and what is wrong.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Waits until something may have changed.
    pub(crate) async fn hinted(&self) {
        let watching = self.watcher.is_some() && self.root.is_dir();
        let slow = if watching { SLOW_LOOK } else { SLOW_LOOK_UNWATCHED };
        let patience = self.look_again.unwrap_or(slow);
        if timeout(patience, self.hint.notified()).await.is_err() {
            return;
        }
        // However often something changes, looking takes a fifth of a core at most.
        sleep(SETTLE.max(4 * self.took)).await;
    }

    /// Looks at everything again; blocks while it reads. Returns whether something has changed.
    ///
    /// What is new counts once it was seen twice: a file may be half written, and a look while files
    /// are moved may find one in neither place.
    pub(crate) fn look(&mut self) -> bool {
        let mut scan = self.scan();
        for _ in 0..MAX_LOOKS {
            if self.folder.knows(&scan) {
                break;
            }
            std::thread::sleep(QUIET);
            let before = mem::replace(&mut scan, self.scan());
            if before == scan {
                break;
            }
        }
        self.take(scan)
    }

    fn take(&mut self, scan: Scan) -> bool {
        let Outcome { changed, look_again } = self.folder.update(scan, Instant::now());
        self.look_again = look_again;
        changed
    }

    fn scan(&mut self) -> Scan {
        let began = Instant::now();
        let mut entered = BTreeSet::new();
        let watcher = &mut self.watcher;
        // What is watched already is watched again: a folder can have been replaced.
        let mut enter = |folder: &Path| {
            if entered.insert(folder.to_owned())
                && let Some(Err(error)) = watcher.as_mut().map(|w| w.watch(folder, RecursiveMode::NonRecursive))
            {
                warn!(folder = %folder.display(), %error, "expected to watch the folder; looking each second instead");
                *watcher = None;
            }
        };
        let scan = Scan::of(&self.root, None, &mut enter);
        self.forget_watches(entered);
        self.took = began.elapsed();
        scan
    }

    fn forget_watches(&mut self, entered: BTreeSet<PathBuf>) {
        for folder in self.watched.difference(&entered) {
            // When it is gone, so is its watch: an error says nothing new.
            let _ = self.watcher.as_mut().map(|watcher| watcher.unwatch(folder));
        }
        self.watched = entered;
    }
}

fn watcher(hint: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| is_reading(event.kind)) {
            return;
        }
        hint.notify_one();
    })
}

/// Our own looking makes these.
fn is_reading(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

/// Most edits are a few steps, one right after another.
const SETTLE: Duration = Duration::from_millis(10);
/// What is new is in force when it is still the same after this time.
const QUIET: Duration = Duration::from_millis(50);
/// A folder that never stands still is taken as it was found in the last of these looks.
const MAX_LOOKS: usize = 4;
/// What no event tells (network file systems) is seen after this time.
const SLOW_LOOK: Duration = Duration::from_secs(30);
/// Without a watch.
const SLOW_LOOK_UNWATCHED: Duration = Duration::from_secs(1);

#[cfg(test)]
impl Source {
    /// As where the folder can't be watched.
    pub(super) fn stop_watching(&mut self) {
        self.watcher = None;
    }

    /// An edit is told after a look that took so long.
    pub(super) fn has_taken(&mut self, took: Duration) {
        self.took = took;
        self.hint.notify_one();
    }
}
