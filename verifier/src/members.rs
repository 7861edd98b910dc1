//! The member list of an archive, one line a member, for people who want to look for themselves:
//! mode, uid/gid, size, time (UTC), SHA-256 of the content, path.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;
use rebuilder::Digest;
use tar::EntryType;

use crate::compare::report::printable;
use crate::payload;

const LIST_BYTES_MAX: usize = 256 << 20;

/// Lists the compressed tar archive at `path`, in the archive's order.
pub fn list(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stream = payload::decompressed(&name, BufReader::new(File::open(path)?));
    let mut archive = tar::Archive::new(stream);
    let mut list = String::new();
    for entry in archive.entries().context("list members")? {
        let mut entry = entry.context("list members")?;
        line(&mut entry, &mut list).context("list members")?;
        if list.len() > LIST_BYTES_MAX {
            bail!("the member list is longer than {LIST_BYTES_MAX} bytes");
        }
    }
    Ok(list)
}

fn line(entry: &mut tar::Entry<'_, impl Read>, list: &mut String) -> io::Result<()> {
    let header = entry.header();
    let (kind, mode) = (header.entry_type(), header.mode()?);
    let (uid, gid, size) = (header.uid()?, header.gid()?, header.size()?);
    let seconds = i64::try_from(header.mtime()?).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).map_or("?".to_owned(), |time| time.to_string());
    let path = printable(&String::from_utf8_lossy(&entry.path_bytes()));
    let content = match kind {
        EntryType::Directory => "directory".to_owned(),
        EntryType::Symlink | EntryType::Link => {
            let target = entry.link_name_bytes().unwrap_or_default();
            format!("-> {}", printable(&String::from_utf8_lossy(&target)))
        }
        _ => Digest::of_reader(entry)?.0.to_string(),
    };
    writeln!(list, "{mode:06o} {uid}/{gid} {size:>9} {time} {content:64} {path}")
        .map_err(io::Error::other)
}
