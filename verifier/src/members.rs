//! The member list of an archive, one line a member, for people who want to look for themselves:
//! mode, uid/gid, size, time (UTC), SHA-256 of the content, path. It is written as it is read, and
//! has an end that says so.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use rebuilder::Digest;
use tar::EntryType;

use crate::compare::report::printable;
use crate::payload;

/// A longer list ends here: what is larger than 64 MiB is not served.
const LIST_BYTES_MAX: usize = 60 << 20;

/// Lists the compressed tar archive at `path`, in the archive's order, into `list`. A file that is
/// no archive has no members, and its list says why; an error is trouble with `list`.
pub fn write_list(path: &Path, list: &mut impl Write) -> io::Result<()> {
    write_list_within(path, list, LIST_BYTES_MAX)
}

fn write_list_within(path: &Path, list: &mut impl Write, bytes_max: usize) -> io::Result<()> {
    let mut bytes = 0;
    let mut written = Ok(());
    let ended = each_line(path, &mut |line| {
        bytes += line.len();
        if bytes <= bytes_max {
            written = list.write_all(line.as_bytes());
        }
        bytes <= bytes_max && written.is_ok()
    });
    written?;
    match ended {
        Ok(true) => Ok(()),
        Ok(false) => writeln!(list, "# There are more members. A list has {bytes_max} bytes."),
        Err(error) => writeln!(list, "# {error:#}"),
    }
}

/// Gives each line to `take`, until that does not want more; whether it wanted all.
fn each_line(path: &Path, take: &mut dyn FnMut(&str) -> bool) -> anyhow::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stream = payload::decompressed(&name, BufReader::new(File::open(path)?));
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().context("list members")? {
        let mut entry = entry.context("list members")?;
        let line = line(&mut entry).context("list members")?;
        if !take(&line) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn line(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<String> {
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
    Ok(format!("{mode:06o} {uid}/{gid} {size:>9} {time} {content:64} {path}\n"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn archive(members: usize) -> tempfile::TempPath {
        let file = tempfile::Builder::new().suffix(".tgz").tempfile().unwrap();
        let mut made = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
        for number in 0..members {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(4);
            made.append_data(&mut header, format!("Lib/{number:04}"), &b"text"[..]).unwrap();
        }
        let mut file = made.into_inner().unwrap().finish().unwrap();
        file.flush().unwrap();
        file.into_temp_path()
    }

    fn listed(path: &Path, bytes_max: usize) -> String {
        let mut list = Vec::new();
        write_list_within(path, &mut list, bytes_max).unwrap();
        String::from_utf8(list).unwrap()
    }

    #[test]
    fn a_list_has_an_end_and_says_so() {
        let path = archive(50);
        let whole = listed(&path, LIST_BYTES_MAX);
        assert_eq!(whole.lines().count(), 50);
        assert!(whole.lines().all(|line| line.contains(" Lib/") && !line.starts_with('#')));
        let part = listed(&path, 1_000);
        let (lines, end) = part.trim_end().rsplit_once('\n').unwrap();
        assert!(whole.starts_with(lines) && lines.len() < 1_000 && lines.lines().count() > 3);
        assert_eq!(end, "# There are more members. A list has 1000 bytes.");
    }

    #[test]
    fn what_is_no_archive_is_said_and_a_full_disk_is_trouble() {
        let none = tempfile::Builder::new().suffix(".tgz").tempfile().unwrap();
        std::fs::write(none.path(), "nonsense").unwrap();
        assert!(listed(none.path(), LIST_BYTES_MAX).starts_with("# list members: "));
        let mut full = File::create("/dev/full").unwrap();
        assert!(write_list(&archive(3), &mut full).is_err());
    }
}
