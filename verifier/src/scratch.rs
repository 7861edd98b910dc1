//! A directory for the work of one run, gone when the run is over, however it ended.
//!
//! Each run holds a lock on `NAME.lock` beside its directory `NAME`. The kernel lets go of the lock
//! when the process dies, so the next run can tell what a kill -9 left behind, and removes it.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// One run's own directory.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    lock_path: PathBuf,
    // Held until the directory is gone.
    _lock: File,
}

impl Scratch {
    /// A new empty directory below `<state>/scratch`; removes those of runs that died.
    pub fn new(state: &Path) -> anyhow::Result<Scratch> {
        let place = state.join("scratch");
        fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
        sweep(&place).with_context(|| format!("clean up {}", place.display()))?;
        loop {
            let directory = place.join(uuid::Uuid::now_v7().to_string());
            let lock_path = directory.with_extension("lock");
            let lock = File::create_new(&lock_path)
                .with_context(|| format!("make {}", lock_path.display()))?;
            // Another run's sweep may have taken the lock file between the two lines above.
            if lock.try_lock().is_err() || !names(&lock_path, &lock) {
                continue;
            }
            fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
            return Ok(Scratch { directory, lock_path, _lock: lock });
        }
    }

    /// Makes the subdirectory `name`.
    pub fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(name);
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// The path of a file `name`, which is not made.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run's sweep.
        if remove_tree(&self.directory).is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

/// Whether `path` still names the open file `file`.
fn names(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
        _ => false,
    }
}

fn sweep(place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        // Gone already: another run sweeps at the same time.
        let Ok(lock) = File::open(&lock_path) else { continue };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        remove_tree(&lock_path.with_extension(""))?;
        match fs::remove_file(&lock_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes a tree that hostile steps may have filled: directories without permissions included.
pub fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(directory)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::Scratch;

    #[test]
    fn a_finished_run_leaves_nothing() {
        let state = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(state.path()).unwrap();
        let work = scratch.directory("work").unwrap();
        fs::create_dir(work.join("closed")).unwrap();
        fs::write(work.join("closed/file"), "x").unwrap();
        fs::set_permissions(work.join("closed"), Permissions::from_mode(0o000)).unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(state.path().join("scratch")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_dead_run_left_is_swept_and_a_living_run_is_spared() {
        let state = tempfile::tempdir().unwrap();
        let living = Scratch::new(state.path()).unwrap();
        let place = state.path().join("scratch");
        File::create(place.join("dead.lock")).unwrap();
        fs::create_dir_all(place.join("dead/work/deep")).unwrap();
        let _next = Scratch::new(state.path()).unwrap();
        assert!(!place.join("dead").exists() && !place.join("dead.lock").exists());
        assert!(living.file("").exists());
    }
}
