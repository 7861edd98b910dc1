//! Reads what a container left behind, or is still changing, without ever following a link.
//!
//! The work directory is hostile: links may lead to the host's files, pipes would block a reader,
//! and a directory may turn into a link between two system calls. So every name is opened
//! relative to an open directory, with `O_NOFOLLOW`, and only regular files are read.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

/// Deeper directories than this are not looked into.
pub const DEPTH_MAX: usize = 256;
/// More entries than this are not looked at.
pub const ENTRIES_MAX: u64 = 2_000_000;

/// An entry that [`walk`] found.
pub struct Entry<'a> {
    /// The open directory that holds it.
    pub directory: &'a OwnedFd,
    /// Its name there.
    pub name: &'a CStr,
    /// Its path below the directory at which the walk began.
    pub path: &'a [u8],
    /// What `lstat` says.
    pub stat: FileStat,
}

impl Entry<'_> {
    /// What kind of file this is.
    pub fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.stat.st_mode & libc::S_IFMT)
    }

    /// The target of a symbolic link.
    pub fn link_target(&self) -> io::Result<Vec<u8>> {
        Ok(readlinkat(self.directory, self.name)?.as_bytes().to_vec())
    }

    /// Opens a regular file for reading.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Ok(File::from(openat(self.directory, self.name, flags, Mode::empty())?))
    }
}

/// What stopped a walk before its end.
#[derive(Debug)]
pub enum WalkError {
    /// Deeper than [`DEPTH_MAX`], more than [`ENTRIES_MAX`], or a directory that its own owner may
    /// not read: nobody can say how much is in there.
    Unbounded,
    /// The visitor had enough.
    Stopped,
    /// The system refused.
    Io(io::Error),
}

/// Calls `visit` for everything below `directory`, directories before what is in them. Entries
/// that vanish meanwhile are passed over.
pub fn walk(
    directory: OwnedFd,
    visit: &mut dyn FnMut(&Entry) -> Result<(), WalkError>,
) -> Result<(), WalkError> {
    let mut entries = 0;
    walk_below(directory, &mut Vec::new(), 0, &mut entries, visit)
}

fn walk_below(
    directory: OwnedFd,
    path: &mut Vec<u8>,
    depth: usize,
    entries: &mut u64,
    visit: &mut dyn FnMut(&Entry) -> Result<(), WalkError>,
) -> Result<(), WalkError> {
    if depth > DEPTH_MAX {
        return Err(WalkError::Unbounded);
    }
    let listing = directory.try_clone().map_err(WalkError::Io)?;
    let mut listing = Dir::from_fd(listing).map_err(|error| WalkError::Io(error.into()))?;
    for found in listing.iter() {
        let found = found.map_err(|error| WalkError::Io(error.into()))?;
        let name = found.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        *entries += 1;
        if *entries > ENTRIES_MAX {
            return Err(WalkError::Unbounded);
        }
        let stat = match fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => continue,
            Err(error) => return Err(WalkError::Io(error.into())),
        };
        let length = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let entry = Entry { directory: &directory, name, path, stat };
        let is_directory = entry.kind() == SFlag::S_IFDIR;
        visit(&entry)?;
        if is_directory {
            match openat(&directory, name, directory_flags(), Mode::empty()) {
                Ok(below) => walk_below(below, path, depth + 1, entries, visit)?,
                // Gone, or something else by now.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(Errno::EACCES) => return Err(WalkError::Unbounded),
                Err(error) => return Err(WalkError::Io(error.into())),
            }
        }
        path.truncate(length);
    }
    Ok(())
}

fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// Opens a directory that is not inside a container.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Opens the directory `below` a trusted one, following no link on the way.
pub fn open_directory_below(directory: &Path, below: &Path) -> io::Result<OwnedFd> {
    let mut current = open_directory(directory)?;
    for component in below.components() {
        current = openat(&current, plain(component)?, directory_flags(), Mode::empty())?;
    }
    Ok(current)
}

/// A file that a container was to make.
pub enum Found {
    /// It is there.
    File(File),
    /// There is nothing of that name.
    Missing,
    /// A link, pipe, socket or directory, or behind a link.
    NotAFile,
}

/// Opens the file `below` a trusted directory; only if it is a regular file, following no link
/// and never blocking on a pipe.
pub fn open_file_below(directory: &Path, below: &Path) -> io::Result<Found> {
    let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = match open_directory_below(directory, parent) {
        Ok(directory) => directory,
        Err(error) => return not_found(error),
    };
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(&directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(error) => return not_found(error.into()),
    };
    let stat = fstat(file.as_fd())?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Ok(Found::NotAFile);
    }
    Ok(Found::File(File::from(file)))
}

fn not_found(error: io::Error) -> io::Result<Found> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => Ok(Found::Missing),
        // ENXIO: a socket. EACCES: its owner may not read it, so it cannot be an output.
        Some(Errno::ELOOP | Errno::ENOTDIR | Errno::ENXIO | Errno::EACCES) => Ok(Found::NotAFile),
        _ => Err(error),
    }
}

fn plain(component: Component<'_>) -> io::Result<&OsStr> {
    match component {
        Component::Normal(name) => Ok(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// How much a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Disk blocks of everything, in bytes, plus 512 for each entry: names cost space as well.
    pub bytes: u64,
    /// Size of the largest file.
    pub largest_file_bytes: u64,
    /// Mixed from sizes and times: differs when anything was written.
    pub fingerprint: u64,
}

/// Measures `directory`, while a container may be changing it. `None`: more than can be counted.
pub fn usage(directory: &Path) -> io::Result<Option<Usage>> {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    let measured = walk(open_directory(directory)?, &mut |entry| {
        let stat = &entry.stat;
        usage.bytes += 512;
        if stat.st_nlink < 2 || linked.insert(stat.st_ino) {
            usage.bytes += stat.st_blocks as u64 * 512;
        }
        if entry.kind() == SFlag::S_IFREG {
            usage.largest_file_bytes = usage.largest_file_bytes.max(stat.st_size as u64);
        }
        for value in [stat.st_ino as i64, stat.st_size, stat.st_ctime, stat.st_ctime_nsec] {
            usage.fingerprint = usage.fingerprint.rotate_left(5) ^ value as u64;
            usage.fingerprint = usage.fingerprint.wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        Ok(())
    });
    match measured {
        Ok(()) => Ok(Some(usage)),
        Err(WalkError::Unbounded | WalkError::Stopped) => Ok(None),
        Err(WalkError::Io(error)) => Err(error),
    }
}

/// Removes a tree that a container wrote, even if it took its own rights away. Nothing may run in
/// it any more.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        other => return other,
    }
    make_directories_writable(path, 0)?;
    std::fs::remove_dir_all(path)
}

fn make_directories_writable(directory: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_directories_writable(&entry.path(), depth + 1)?;
        }
    }
    Ok(())
}
