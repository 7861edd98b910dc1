//! Which step made, changed or removed each file of the traced directory.
//!
//! Nothing runs in the container while this looks, but what it left there is hostile: links are
//! read and never followed, and only regular files are opened.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use nix::sys::stat::{FileStat, SFlag};

use crate::disk::{Entry, WalkError, open_directory_below, walk};
use crate::{Digest, Trace, Traced};

/// More files than this are not traced; [`Trace::truncated`] says so.
pub const FILES_MAX: usize = 200_000;

/// Follows one directory from step to step.
#[derive(Default)]
pub struct Tracer {
    trace: Trace,
    /// What identifies the content without reading it.
    seen: HashMap<String, Identity>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    size: i64,
    modified: (i64, i64),
    /// A program can set the modification time; this one only the kernel sets.
    changed: (i64, i64),
}

impl Identity {
    fn of(stat: &FileStat) -> Identity {
        Identity {
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Tracer {
    /// Notes what `step` did to `<work>/<traced>`.
    pub fn look(&mut self, work: &Path, traced: &Path, step: &str) -> io::Result<()> {
        let mut present = HashMap::with_capacity(self.seen.len());
        match open_directory_below(work, traced) {
            Ok(directory) => self.read(directory, step, &mut present)?,
            // Not there yet, no longer, or not a directory: no files.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
        for path in self.seen.keys().filter(|path| !present.contains_key(*path)) {
            self.trace.files.remove(path);
            self.trace.removed.insert(path.clone(), step.to_string());
        }
        self.seen = present;
        Ok(())
    }

    /// What is known after the last step.
    pub fn finish(self) -> Trace {
        self.trace
    }

    fn read(
        &mut self,
        directory: std::os::fd::OwnedFd,
        step: &str,
        present: &mut HashMap<String, Identity>,
    ) -> io::Result<()> {
        let walked = walk(directory, &mut |entry| {
            if !matches!(entry.kind(), SFlag::S_IFREG | SFlag::S_IFLNK) {
                return Ok(());
            }
            if present.len() >= FILES_MAX {
                return Err(WalkError::Stopped);
            }
            let path = String::from_utf8_lossy(entry.path).into_owned();
            let identity = Identity::of(&entry.stat);
            if self.seen.get(&path) != Some(&identity) {
                self.note(&path, entry, step).map_err(WalkError::Io)?;
            }
            present.insert(path, identity);
            Ok(())
        });
        match walked {
            Ok(()) => Ok(()),
            Err(WalkError::Unbounded | WalkError::Stopped) => {
                self.trace.truncated = true;
                Ok(())
            }
            Err(WalkError::Io(error)) => Err(error),
        }
    }

    fn note(&mut self, path: &str, entry: &Entry, step: &str) -> io::Result<()> {
        let sha256 = if entry.kind() == SFlag::S_IFLNK {
            Digest::of(&entry.link_target()?)
        } else {
            match entry.open() {
                Ok(file) => Digest::of_reader(file)?.0,
                // Its owner may not read it, so nothing can be said of its content.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.trace.truncated = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        };
        self.trace.removed.remove(path);
        match self.trace.files.get_mut(path) {
            // Written anew with the same bytes, or only given another mode.
            Some(traced) if traced.sha256 == sha256 => {}
            _ => {
                let traced = Traced { sha256, step: step.to_string() };
                self.trace.files.insert(path.to_string(), traced);
            }
        }
        Ok(())
    }
}

fn is_absent(error: &io::Error) -> bool {
    use nix::libc::{EACCES, ELOOP, ENOENT, ENOTDIR};
    matches!(error.raw_os_error(), Some(ENOENT | ENOTDIR | ELOOP | EACCES))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_file_names_the_step_that_last_changed_it() {
        let work = tempfile::tempdir().unwrap();
        let tree = work.path().join("tree");
        let mut tracer = Tracer::default();
        let mut look = |step: &str| tracer.look(work.path(), Path::new("tree"), step).unwrap();

        fs::create_dir_all(tree.join("sub")).unwrap();
        for name in ["kept", "changed", "sub/removed", "touched"] {
            fs::write(tree.join(name), name).unwrap();
        }
        symlink("/etc/passwd", tree.join("link")).unwrap();
        look("first");
        fs::write(tree.join("changed"), "CHANGED").unwrap();
        fs::write(tree.join("touched"), "touched").unwrap();
        fs::write(tree.join("new"), "new").unwrap();
        fs::remove_dir_all(tree.join("sub")).unwrap();
        look("second");

        let trace = tracer.finish();
        let steps: Vec<_> =
            trace.files.iter().map(|(path, t)| (path.as_str(), t.step.as_str())).collect();
        let expect = [
            ("changed", "second"),
            ("kept", "first"),
            ("link", "first"),
            ("new", "second"),
            ("touched", "first"),
        ];
        assert_eq!(steps, expect);
        assert_eq!(trace.files["link"].sha256, Digest::of(b"/etc/passwd"));
        assert_eq!(trace.removed["sub/removed"], "second");
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_not_followed() {
        let work = tempfile::tempdir().unwrap();
        symlink("/etc", work.path().join("tree")).unwrap();
        let mut tracer = Tracer::default();
        tracer.look(work.path(), Path::new("tree"), "step").unwrap();
        assert_eq!(tracer.finish(), Trace::default());
    }
}
