//! What a tree holds, as a canonical listing, and the digest that names it.
//!
//! The listing has one JSON line per path in byte order: path, kind, mode, and size and SHA-256 of
//! a file or target of a link. Owners and times are not part of it, so root and ordinary users
//! arrive at the same digest on every machine.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use rebuilder::Digest;
use serde::Serialize;

/// Most paths a tree may hold.
pub const PATHS_MAX: usize = 200_000;

/// One path of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Node {
    /// A directory.
    Directory { mode: u32 },
    /// A regular file, or one more name of it.
    File { mode: u32, size: u64, sha256: Digest },
    /// A symbolic link; it is never followed.
    Link { target: String },
}

/// Paths below the root, without leading slash, and what is there. The root itself is implied.
pub type Listing = BTreeMap<String, Node>;

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(flatten)]
    node: &'a Node,
}

/// The canonical text of a listing.
pub fn listing_text(listing: &Listing) -> anyhow::Result<String> {
    let mut text = String::from("verbatim.tree/1\n");
    for (path, node) in listing {
        text.push_str(&serde_json::to_string(&Line { path, node })?);
        text.push('\n');
    }
    Ok(text)
}

/// The digest that names a tree.
pub fn digest(listing: &Listing) -> anyhow::Result<Digest> {
    Ok(Digest::of(listing_text(listing)?.as_bytes()))
}

/// Reads a whole tree from disk and hashes every file.
pub fn scan(root: &Path) -> anyhow::Result<Listing> {
    let mut listing = Listing::new();
    let mut files = Vec::new();
    for (path, metadata) in walk(root)? {
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            listing.insert(path, Node::Directory { mode });
        } else if metadata.is_symlink() {
            let target = fs::read_link(root.join(&path))?;
            let target = target.into_os_string().into_string();
            let target = target.map_err(|_| anyhow::anyhow!("{path} links to odd bytes"))?;
            listing.insert(path, Node::Link { target });
        } else if metadata.is_file() {
            files.push((path, mode));
        } else {
            anyhow::bail!("{path} is neither file, directory nor link");
        }
    }
    listing.extend(hash_files(root, files)?);
    Ok(listing)
}

/// Hashes on every processor: this is the slow part of checking a tree.
fn hash_files(root: &Path, files: Vec<(String, u32)>) -> anyhow::Result<Listing> {
    let next = AtomicUsize::new(0);
    let hashed = Mutex::new(Listing::new());
    let work = || -> anyhow::Result<()> {
        while let Some((path, mode)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let full = root.join(path);
            let (sha256, size) =
                Digest::of_file(&full).with_context(|| format!("read {}", full.display()))?;
            let node = Node::File { mode: *mode, size, sha256 };
            hashed
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .insert(path.clone(), node);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(hashed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Every path below `root` with its metadata, in byte order of the path.
fn walk(root: &Path) -> anyhow::Result<BTreeMap<String, Metadata>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![String::new()];
    while let Some(directory) = pending.pop() {
        let full = root.join(&directory);
        let entries = fs::read_dir(&full).with_context(|| format!("list {}", full.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string();
            let name = name.map_err(|name| anyhow::anyhow!("odd file name {name:?}"))?;
            let path = match directory.as_str() {
                "" => name,
                parent => format!("{parent}/{name}"),
            };
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                pending.push(path.clone());
            }
            found.insert(path, metadata);
            anyhow::ensure!(
                found.len() <= PATHS_MAX,
                "more than {PATHS_MAX} paths in {}",
                root.display()
            );
        }
    }
    Ok(found)
}

/// Whether the tree at `root` is the one that `digest` names.
///
/// Hashing everything takes a fraction of a second, which is too long before every rebuild. So a
/// tree that was found intact gets a stamp: a digest over inode, mode, size, modification and
/// *change* time of every path. The kernel moves the change time on every write, chmod or rename
/// and no program can set it back, so an equal stamp means untouched files. The stamp also holds
/// the boot id: after a crash of the machine, data may be lost that the metadata still describes,
/// so the first use after a boot hashes everything again, and so does a copied tree.
pub fn is_intact(root: &Path, digest: Digest) -> anyhow::Result<bool> {
    if !root.is_dir() {
        return Ok(false);
    }
    let current = match stamp(root) {
        Ok(current) => current,
        Err(error) => {
            tracing::warn!("{} is damaged: {error:#}", root.display());
            return Ok(false);
        }
    };
    if fs::read_to_string(stamp_path(root)).is_ok_and(|stored| stored == current) {
        return Ok(true);
    }
    let intact = match scan(root) {
        Ok(listing) => self::digest(&listing)? == digest,
        Err(error) => {
            tracing::warn!("{} is damaged: {error:#}", root.display());
            false
        }
    };
    if intact {
        write_stamp(root, &current)?;
    }
    Ok(intact)
}

/// Records that the tree at `root` is intact now; to be called right after it was written.
pub fn set_stamp(root: &Path) -> anyhow::Result<()> {
    write_stamp(root, &stamp(root)?)
}

fn write_stamp(root: &Path, stamp: &str) -> anyhow::Result<()> {
    let path = stamp_path(root);
    // Neither synced nor renamed: half a stamp fits nothing, and costs one more hashing.
    fs::write(&path, stamp).with_context(|| format!("write {}", path.display()))
}

fn stamp_path(root: &Path) -> std::path::PathBuf {
    root.with_extension("stamp")
}

fn stamp(root: &Path) -> anyhow::Result<String> {
    let mut text = boot_id().context("read the boot id")?;
    for (path, metadata) in walk(root)? {
        let times =
            (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
        let shape = (metadata.dev(), metadata.ino(), metadata.mode(), metadata.size());
        text.push_str(&format!("{path:?} {shape:?} {times:?}\n"));
    }
    Ok(Digest::of(text.as_bytes()).to_string())
}

fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}
