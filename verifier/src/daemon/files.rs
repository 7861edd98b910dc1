//! Looks again, for ever, whether published files stay what they are.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Daemon;
use crate::http::{Get, HttpError, Transport};
use crate::scratch::Scratch;
use crate::store::{FileLook, FileRow, Look};

/// Files looked at in one go: some thousands a day.
const HEADS_AT_ONCE: u32 = 10;
const HASHES_AT_ONCE: u32 = 1;
/// Ten times today's .tgz.
const FILE_BYTES_MAX: u64 = 300 << 20;
const FILE_SECONDS_MAX: u64 = 1800;
/// A round that has taken so long begins no further look: the list of releases comes first.
const ROUND_MAX: Duration = Duration::from_secs(60);

/// Looks again at the published files that are due.
pub async fn look(daemon: &Daemon) -> anyhow::Result<()> {
    let store = &daemon.line.store;
    let begun = Instant::now();
    for (look, count) in [(Look::Head, HEADS_AT_ONCE), (Look::Hash, HASHES_AT_ONCE)] {
        for file in store.files_due(look, count).await? {
            let found = match look {
                Look::Head => head(daemon, &file).await,
                Look::Hash => hash(daemon, &file).await,
            };
            match found {
                Ok(found) => {
                    if store.looked(&file, look, &found).await? {
                        daemon.wake.notify_one();
                    }
                }
                // Trouble on the way says nothing about the file, and must not keep others waiting.
                Err(error) => {
                    tracing::warn!("look at {} again: {error:#}", file.name);
                    store.look_later(&file, look).await?;
                }
            }
            if begun.elapsed() > ROUND_MAX {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn get(file: &FileRow) -> Get {
    Get {
        url: file.url.clone(),
        size_bytes_max: FILE_BYTES_MAX,
        seconds_max: FILE_SECONDS_MAX,
        transport: Transport::Secure,
    }
}

/// Size and date, as the server gives them without sending the file. Others than before prove
/// nothing, for a server errs about them: the bytes do.
async fn head(daemon: &Daemon, file: &FileRow) -> anyhow::Result<FileLook> {
    let head = match daemon.line.client.head(&get(file)).await {
        Ok(head) => head,
        Err(error) => return vanished(file, error),
    };
    let bytes = file.read.as_ref().map(|(_, bytes)| *bytes);
    let resized = bytes.is_some() && head.size.is_some_and(|size| Some(size) != bytes);
    let redated = file.modified.is_some() && head.modified != file.modified;
    match resized || redated {
        true => hash(daemon, file).await,
        false => Ok(FileLook::Same { modified: head.modified }),
    }
}

/// Every byte.
async fn hash(daemon: &Daemon, file: &FileRow) -> anyhow::Result<FileLook> {
    let place = daemon.line.config.state.directory.join("scratch");
    let scratch = Scratch::new(&place, "look").context("make room for a file")?;
    let path = scratch.file("file");
    let (sha256, bytes) = match daemon.line.client.download(&get(file), &path, &|_| {}).await {
        Ok(found) => found,
        Err(error) => return vanished(file, error),
    };
    // No release is empty: the server or what is in between is in trouble.
    if bytes == 0 {
        bail!("{} is served without a byte: that is not believed", file.url);
    }
    if let Some((was, _)) = file.read.as_ref().filter(|(was, _)| *was != sha256.to_string()) {
        let detail = format!(
            "{} had the SHA-256 {was} and is now served with {sha256} ({bytes} bytes)",
            file.name
        );
        return Ok(FileLook::Changed { detail });
    }
    let modified = daemon.line.client.head(&get(file)).await?.modified;
    Ok(match file.read {
        Some(_) => FileLook::Same { modified },
        None => FileLook::First { sha256: sha256.to_string(), bytes, modified },
    })
}

/// A file that is not there any more, if it ever was: one that was never read may still come.
fn vanished(file: &FileRow, error: HttpError) -> anyhow::Result<FileLook> {
    match (error, &file.read) {
        (HttpError::NotFound { url, status }, Some(_)) => {
            let detail = format!("{} is not served any more: {url}, {status}", file.name);
            Ok(FileLook::Vanished { detail })
        }
        (error, _) => Err(error.into()),
    }
}
