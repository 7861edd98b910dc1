//! Directories for unfinished work, named `….partial-<unique>`, that never outlive their process.
//!
//! Each is held by an advisory lock on the directory itself, which the kernel drops when the
//! process dies, however it dies. Whoever makes the next one removes those that nobody holds, so
//! `kill -9` leaves nothing behind for longer than until the next run. Two processes at once never
//! remove each other's.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

const MARK: &str = ".partial-";
/// How long is tried to remove a directory that is still being written to.
const REMOVING_MAX: Duration = Duration::from_secs(1);

/// A directory of this process; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Keeps the directory from being swept.
    _held: File,
}

impl Scratch {
    /// Makes `parent/stem.partial-<unique>` and removes what dead processes left in `parent`.
    pub fn new(parent: &Path, stem: &str) -> io::Result<Scratch> {
        fs::create_dir_all(parent)?;
        sweep(parent)?;
        loop {
            let unique = uuid::Uuid::now_v7().simple();
            let path = parent.join(format!("{stem}{MARK}{unique}"));
            fs::create_dir(&path)?;
            // Another process may sweep between these two lines: then start again.
            if let Some(held) = hold(&path)? {
                return Ok(Scratch { path, _held: held });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the subdirectory `name`.
    pub fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.file(name);
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// The path of the file `name`, which is not made.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    /// Again and again for a while: when work is dropped, a write that its threads had begun may
    /// still put a file into a directory that is being emptied.
    fn drop(&mut self) {
        let give_up = Instant::now() + REMOVING_MAX;
        while let Err(error) = remove(&self.path) {
            if Instant::now() >= give_up {
                tracing::warn!("cannot remove {}: {error}", self.path.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Removes a tree that may be gone already.
pub fn remove(path: &Path) -> io::Result<()> {
    // Steps may have taken their directories' permissions away.
    match rebuilder::remove_tree(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Locks the directory, unless somebody else holds it or has replaced it.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let directory = match File::open(path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let still_there = match fs::symlink_metadata(path) {
        Ok(found) => found.ino() == directory.metadata()?.ino(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    Ok(still_there.then_some(directory))
}

/// Removes what dead processes left in `parent`, which need not exist.
pub fn sweep(parent: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let is_partial = entry.file_name().to_string_lossy().contains(MARK);
        if !is_partial || !entry.file_type()?.is_dir() {
            continue;
        }
        // What another user left cannot be removed, and is not in the way either.
        if let Err(error) = sweep_one(&entry.path()) {
            tracing::warn!("cannot remove {}: {error}", entry.path().display());
        }
    }
    Ok(())
}

fn sweep_one(path: &Path) -> io::Result<()> {
    let Some(_held) = hold(path)? else { return Ok(()) };
    tracing::info!("removing {}, left by a process that died", path.display());
    remove(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_permissions_is_removed_too() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(parent.path(), "run").unwrap();
        let closed = scratch.directory("work").unwrap().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_living_one_uses_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("x.partial-1");
        fs::create_dir_all(dead.join("deep")).unwrap();
        let other = parent.path().join("finished");
        fs::create_dir(&other).unwrap();
        let living = Scratch::new(parent.path(), "x").unwrap();
        let second = Scratch::new(parent.path(), "x").unwrap();
        assert!(!dead.exists());
        assert!(other.exists() && living.path().exists() && second.path().exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists() && second.path().exists());
    }
}
