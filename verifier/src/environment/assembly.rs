//! Writes a tree, path by path, from archives that may be hostile.
//!
//! Every path is claimed in one map before it is written, and every parent of a claimed path is
//! claimed as a directory. So nothing is ever written through a symbolic link, in whatever order
//! the archives come: a link where a directory is needed, or a directory where a link is, is an
//! error, and so is a second claim on anything but a directory. That also makes the tree
//! independent of the order of unpacking, which is why archives may be unpacked at the same time.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use rebuilder::{Digest, HashingReader};

use super::definition::TreePath;
use crate::scratch::Scratch;
use super::tree::{self, Listing, Node, PATHS_MAX};

/// Modification time of everything, 1980-01-01: the earliest that a ZIP file can hold.
pub const MTIME_SECONDS: u64 = 315_532_800;
/// Most bytes a tree may hold.
const TREE_BYTES_MAX: u64 = 4 << 30;
/// Rank of a directory that only exists because something lies below it.
const RANK_IMPLIED: usize = usize::MAX;

/// A tree that is being written; removed when dropped before [`Assembly::install`].
#[derive(Debug)]
pub struct Assembly {
    scratch: Scratch,
    root: PathBuf,
    exclude: Vec<TreePath>,
    claims: Mutex<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    /// A file's node is complete once it is written.
    listing: Listing,
    /// Path to the rank of the archive that it is from. Of several that have the same directory,
    /// the lowest says its mode.
    ranks: BTreeMap<String, usize>,
    bytes: u64,
}

impl Assembly {
    /// An empty tree in the directory `environments`.
    pub fn new(environments: &Path, stem: &str, exclude: &[TreePath]) -> anyhow::Result<Assembly> {
        let scratch = Scratch::new(environments, stem)
            .with_context(|| format!("make a directory in {}", environments.display()))?;
        let root = scratch.path().join("root");
        fs::create_dir(&root)?;
        fs::set_permissions(&root, Permissions::from_mode(0o755))?;
        let claims = Mutex::default();
        Ok(Assembly { scratch, root, exclude: exclude.to_vec(), claims })
    }

    /// Where the tree is, for now.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory beside the tree, for files on their way; it goes away with it.
    pub fn beside(&self) -> &Path {
        self.scratch.path()
    }

    /// Whether the path is one that this environment leaves out.
    pub fn excludes(&self, path: &TreePath) -> bool {
        let path = path.as_str();
        self.exclude.iter().any(|excluded| {
            let below = path.strip_prefix(excluded.as_str());
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Paths and nodes of what has been written below `prefix`.
    pub fn below(&self, prefix: &str) -> Vec<(String, Node)> {
        let claims = self.claims();
        let from = claims.listing.range(prefix.to_owned()..);
        let below = from.take_while(|(path, _)| path.starts_with(prefix));
        below.map(|(path, node)| (path.clone(), node.clone())).collect()
    }

    /// Adds a directory; among several archives the one of lowest rank says its mode.
    pub fn directory(&self, path: &TreePath, mode: u32, rank: usize) -> anyhow::Result<()> {
        let mut claims = self.claims();
        self.claim_directory(&mut claims, path.as_str(), mode, rank)
    }

    /// Adds a regular file.
    pub fn file(
        &self,
        path: &TreePath,
        mode: u32,
        rank: usize,
        content: impl Read,
    ) -> anyhow::Result<()> {
        // Set-id bits mean another user in each tree; nobody without read permission can hash it.
        let mode = (mode & 0o777) | 0o600;
        let path = path.as_str();
        let placeholder = Node::File { mode, size: 0, sha256: Digest::of(b"") };
        let bytes_left = {
            let mut claims = self.claims();
            self.claim(&mut claims, path, placeholder)?;
            claims.ranks.insert(path.to_owned(), rank);
            TREE_BYTES_MAX.saturating_sub(claims.bytes)
        };
        let full = self.root.join(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&full)?;
        let mut content = HashingReader::new(content.take(bytes_left + 1));
        io::copy(&mut content, &mut file).with_context(|| format!("write {path}"))?;
        let (sha256, size) = content.finish();
        // Not the umask's business.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.set_times(FileTimes::new().set_modified(mtime()).set_accessed(mtime()))?;
        let mut claims = self.claims();
        claims.bytes += size;
        ensure!(claims.bytes <= TREE_BYTES_MAX, "the tree has more than {TREE_BYTES_MAX} bytes");
        claims.listing.insert(path.to_owned(), Node::File { mode, size, sha256 });
        Ok(())
    }

    /// Adds a symbolic link, which may point anywhere since it is never followed.
    pub fn link(&self, path: &TreePath, target: &str) -> anyhow::Result<()> {
        ensure!(!target.is_empty() && !target.contains('\0'), "{path} links to nothing");
        let node = Node::Link { target: target.to_owned() };
        let mut claims = self.claims();
        self.claim(&mut claims, path.as_str(), node)?;
        std::os::unix::fs::symlink(target, self.root.join(path.as_str()))?;
        Ok(())
    }

    /// Adds another name of a file that the same archive has given before. A file of another
    /// archive may or may not be there yet, so a link to one is refused.
    pub fn hard_link(
        &self,
        path: &TreePath,
        rank: usize,
        original: &TreePath,
    ) -> anyhow::Result<()> {
        let mut claims = self.claims();
        let is_ours = claims.ranks.get(original.as_str()) == Some(&rank);
        let node = match claims.listing.get(original.as_str()) {
            Some(node @ Node::File { .. }) if is_ours => node.clone(),
            _ => anyhow::bail!("it is a hard link to {original}, which is no file before it"),
        };
        claims.ranks.insert(path.as_str().to_owned(), rank);
        self.claim(&mut claims, path.as_str(), node)?;
        fs::hard_link(self.root.join(original.as_str()), self.root.join(path.as_str()))?;
        Ok(())
    }

    /// Sets modes and times of the directories and gives the finished tree's digest.
    pub fn finish(&self) -> anyhow::Result<Digest> {
        let claims = self.claims();
        for (path, node) in claims.listing.iter().rev() {
            let full = self.root.join(path);
            if let Node::Directory { mode } = node {
                fs::set_permissions(&full, Permissions::from_mode(*mode))?;
            }
            if !matches!(node, Node::File { .. }) {
                set_mtime(&full)?;
            }
        }
        set_mtime(&self.root)?;
        tree::digest(&claims.listing)
    }

    /// Moves the finished tree to `environments/<digest>` and its listing beside it. A tree that
    /// somebody else has put there meanwhile is kept if it is intact.
    pub fn install(&self, environments: &Path, digest: Digest) -> anyhow::Result<PathBuf> {
        let place = environments.join(digest.to_string());
        let listing = self.scratch.path().join("listing");
        let mut file = File::create(&listing)?;
        file.write_all(tree::listing_text(&self.claims().listing)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&listing, place.with_extension("tree"))?;
        let moved = fs::rename(&self.root, &place);
        if moved.is_ok() {
            tree::set_stamp(&place)?;
            return Ok(place);
        }
        if tree::is_intact(&place, digest)? {
            return Ok(place);
        }
        // A damaged one is in the way: it goes where the scratch directory goes.
        fs::rename(&place, self.scratch.path().join("damaged"))
            .with_context(|| format!("move the damaged {} away", place.display()))?;
        fs::rename(&self.root, &place)
            .with_context(|| format!("move the finished tree to {}", place.display()))?;
        tree::set_stamp(&place)?;
        Ok(place)
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        // A panic of another worker is reported by that worker; the map itself is whole.
        self.claims.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Claims `path` for something that is not a directory.
    fn claim(&self, claims: &mut Claims, path: &str, node: Node) -> anyhow::Result<()> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.claim_directory(claims, parent, 0o755, RANK_IMPLIED)?;
        }
        ensure!(!claims.listing.contains_key(path), "{path} is there already");
        ensure!(claims.listing.len() < PATHS_MAX, "the tree has more than {PATHS_MAX} paths");
        claims.listing.insert(path.to_owned(), node);
        Ok(())
    }

    fn claim_directory(
        &self,
        claims: &mut Claims,
        path: &str,
        mode: u32,
        rank: usize,
    ) -> anyhow::Result<()> {
        // The owner may always write, or the tree could not be removed again.
        let node = Node::Directory { mode: (mode & 0o1777) | 0o700 };
        match claims.listing.get(path) {
            Some(Node::Directory { .. }) => {}
            Some(_) => anyhow::bail!("{path} is needed as a directory, but is a file or link"),
            None => {
                self.claim(claims, path, node.clone())?;
                fs::create_dir(self.root.join(path))?;
                claims.ranks.insert(path.to_owned(), RANK_IMPLIED);
            }
        }
        if claims.ranks.get(path).is_some_and(|known| rank < *known) {
            claims.ranks.insert(path.to_owned(), rank);
            claims.listing.insert(path.to_owned(), node);
        }
        Ok(())
    }
}

fn mtime() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(MTIME_SECONDS)
}

fn set_mtime(path: &Path) -> anyhow::Result<()> {
    let time = TimeSpec::from(Duration::from_secs(MTIME_SECONDS));
    utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)
        .with_context(|| format!("set the time of {}", path.display()))
}
