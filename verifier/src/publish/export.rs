//! `verbatim export`: what is published, as files for a web server or a content delivery network.
//!
//! It promises: each file has the bytes that the server sends for its URL; a file whose bytes are
//! the same is not touched; readers see the old file or the new one; nothing is replaced or
//! removed that it did not write itself, and what an export that was killed left half written is
//! removed by the next one. Everything is of one moment of the store, so it may run while the
//! daemon works.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::paths::paths;
use super::site::Shown;
use super::{UNFINISHED, write};

/// What this command wrote into a directory.
const MANIFEST: &str = ".verbatim-export.json";
const SCHEMA: &str = "verbatim.export/1";
/// Pages that a cache has kept may name an asset of an older program: they are not removed.
const LASTING: &str = "assets/";

/// How an export went, in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Written, because they were not there or not the same.
    pub written: usize,
    /// Left as they were.
    pub same: usize,
    /// Removed, because nothing is at their URL any more.
    pub removed: usize,
}

#[derive(Default, Serialize, Deserialize)]
struct Manifest {
    schema: String,
    files: BTreeSet<String>,
}

/// Writes everything that `shown` has into `directory`. `get` gives the bytes of a path, none if
/// nothing is there.
pub async fn export(
    directory: &Path,
    shown: &Shown,
    get: impl AsyncFn(&str) -> anyhow::Result<Option<Vec<u8>>>,
) -> anyhow::Result<Exported> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let _turn = turn(directory)?;
    let own = read_manifest(directory)?;
    let paths = paths(shown).await?;
    let mut now: BTreeSet<String> = paths.iter().map(|path| file_of(path)).collect();
    // Said before it is done: what a run that is killed has written is still known to be ours.
    let all: BTreeSet<String> = own.union(&now).cloned().collect();
    sweep(directory, &all)?;
    write_manifest(directory, all)?;
    let mut exported = Exported::default();
    for path in &paths {
        let file = file_of(path);
        let Some(bytes) = get(path).await? else {
            // A byproduct that was removed meanwhile.
            now.remove(&file);
            continue;
        };
        match put(directory, &file, &bytes, own.contains(&file))? {
            true => exported.written += 1,
            false => exported.same += 1,
        }
    }
    let gone = own.difference(&now).filter(|file| !file.starts_with(LASTING));
    for file in gone {
        exported.removed += usize::from(remove(&directory.join(file))?);
    }
    let lasting = own.into_iter().filter(|file| file.starts_with(LASTING));
    now.extend(lasting);
    write_manifest(directory, now)?;
    Ok(exported)
}

/// The file of a URL's path: a page is the `index.html` of a directory, a document of the API the
/// `index.json` of one; what has a file's name keeps it.
pub fn file_of(path: &str) -> String {
    let inner = path.trim_matches('/');
    let parts: Vec<&str> = inner.split('/').collect();
    let is_file = match parts.as_slice() {
        ["badge" | "feed" | "assets", ..] | ["records", _, "reports", _] => true,
        ["records", _, "steps.sh"] => true,
        [.., last] => last.ends_with(".atom") || last.ends_with(".json"),
        [] => false,
    };
    match parts.as_slice() {
        _ if is_file => inner.to_owned(),
        ["api", "v1", ..] => format!("{inner}/index.json"),
        [""] => "index.html".to_owned(),
        _ => format!("{inner}/index.html"),
    }
}

/// One export at a time; ours until the file is closed.
fn turn(directory: &Path) -> anyhow::Result<File> {
    let lock = File::open(directory).with_context(|| format!("open {}", directory.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!("another export writes to {}: wait for its end", directory.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock {}", directory.display()))
        }
    }
}

fn read_manifest(directory: &Path) -> anyhow::Result<BTreeSet<String>> {
    let path = directory.join(MANIFEST);
    let reading = || format!("read {}", path.display());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    let manifest: Manifest = serde_json::from_str(&text).with_context(reading)?;
    let leaves = |file: &String| file.split('/').any(|part| matches!(part, "" | "." | ".."));
    if manifest.schema != SCHEMA || manifest.files.iter().any(leaves) {
        bail!("{} is not what verbatim export writes: choose another directory", path.display());
    }
    Ok(manifest.files)
}

fn write_manifest(directory: &Path, files: BTreeSet<String>) -> anyhow::Result<()> {
    let manifest = Manifest { schema: SCHEMA.to_owned(), files };
    let text = serde_json::to_string_pretty(&manifest).context("list the files")? + "\n";
    put(directory, MANIFEST, text.as_bytes(), true)?;
    Ok(())
}

/// Writes a file unless it is the same already; true if it was written.
fn put(directory: &Path, file: &str, bytes: &[u8], is_ours: bool) -> anyhow::Result<bool> {
    let path = directory.join(file);
    match fs::read(&path) {
        Ok(found) if found == bytes => return Ok(false),
        Ok(_) if !is_ours => bail!(
            "{} is in the way, and verbatim export did not write it: remove it, or choose another \
             directory",
            path.display()
        ),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    }
    let parent = path.parent().unwrap_or(directory);
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    write(&path, bytes)?;
    Ok(true)
}

/// Removes what a run that was killed left half written, beside any of these files: only one run
/// writes at a time, and it is this one.
fn sweep(directory: &Path, files: &BTreeSet<String>) -> anyhow::Result<()> {
    let beside = |file: &String| directory.join(file).parent().map(Path::to_path_buf);
    let mut places: BTreeSet<PathBuf> = files.iter().filter_map(beside).collect();
    places.insert(directory.to_path_buf());
    for place in places {
        let listing = || format!("list {}", place.display());
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(listing),
        };
        for entry in entries {
            let entry = entry.with_context(listing)?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// True if it was there.
fn remove(path: &Path) -> anyhow::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("remove {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::file_of;

    #[test]
    fn every_url_has_a_file_of_its_own() {
        for (path, file) in [
            ("/", "index.html"),
            ("/about", "about/index.html"),
            ("/api", "api/index.html"),
            ("/api/openapi.json", "api/openapi.json"),
            ("/api/v1/releases", "api/v1/releases/index.json"),
            ("/api/v1/releases/3.13.5", "api/v1/releases/3.13.5/index.json"),
            ("/api/v1/records/1/reports", "api/v1/records/1/reports/index.json"),
            ("/releases/3.13.5", "releases/3.13.5/index.html"),
            ("/records/1", "records/1/index.html"),
            ("/records/1/definition.json", "records/1/definition.json"),
            ("/records/1/steps.sh", "records/1/steps.sh"),
            ("/records/1/reports/build.log", "records/1/reports/build.log"),
            (
                "/badge/cpython/3.13.5/Python-3.13.5.tgz.svg",
                "badge/cpython/3.13.5/Python-3.13.5.tgz.svg",
            ),
            ("/feed.atom", "feed.atom"),
            ("/feed/3.13.atom", "feed/3.13.atom"),
            ("/assets/style-0.css", "assets/style-0.css"),
        ] {
            assert_eq!(file_of(path), file);
        }
    }
}
