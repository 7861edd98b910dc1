//! The gzip header, every field (RFC 1952, section 2.3), and why two of them differ.

use std::io;

use super::super::cause::{Cause, CauseId};
use super::super::limits::Stop;
use super::{Frame, Framing};

/// Bytes of a name, comment or extra field that are kept; the rest is skipped and counted.
const TEXT_BYTES_MAX: usize = 4096;

/// One gzip member's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compare) struct Header {
    flags: u8,
    mtime: u32,
    level: u8,
    os: u8,
    extra: Vec<u8>,
    name: Option<String>,
    comment: Option<String>,
}

impl Header {
    /// XFL, which tells the level.
    pub(in crate::compare) fn level(&self) -> u8 {
        self.level
    }
}

/// Reads a header, byte by byte.
pub(super) fn read_header(byte: &mut dyn FnMut() -> io::Result<u8>) -> io::Result<Header> {
    let mut fixed = [0; 10];
    for place in &mut fixed {
        *place = byte()?;
    }
    let [_, _, method, flags, m0, m1, m2, m3, level, os] = fixed;
    if method != 8 {
        let text = format!("gzip compression method {method} is not deflate");
        return Err(Stop::Corrupt(text).into_io());
    }
    let mut extra = Vec::new();
    if flags & 4 != 0 {
        let length = u16::from_le_bytes([byte()?, byte()?]);
        for _ in 0..length {
            extra.push(byte()?);
        }
    }
    let name = if flags & 8 != 0 { Some(read_text(byte)?) } else { None };
    let comment = if flags & 16 != 0 { Some(read_text(byte)?) } else { None };
    if flags & 2 != 0 {
        // CRC16 of the header; a wrong one does not keep any decoder from unpacking.
        byte()?;
        byte()?;
    }
    let mtime = u32::from_le_bytes([m0, m1, m2, m3]);
    Ok(Header { flags, mtime, level, os, extra, name, comment })
}

/// A zero-terminated ISO 8859-1 text.
fn read_text(byte: &mut dyn FnMut() -> io::Result<u8>) -> io::Result<String> {
    let mut text = String::new();
    loop {
        match byte()? {
            0 => return Ok(text),
            letter if text.len() < TEXT_BYTES_MAX => text.push(char::from(letter)),
            _ => {}
        }
    }
}

/// Why two gzip files differ that unpack to the same bytes.
pub(in crate::compare) fn explain(published: &Framing, rebuilt: &Framing) -> Vec<Cause> {
    let mut causes = Vec::new();
    if published.frames_count != rebuilt.frames_count {
        let detail = format!(
            "{} → {} gzip members in one file",
            published.frames_count, rebuilt.frames_count
        );
        causes.push(Cause::whole(CauseId::GzipMembers, detail));
    }
    if let (Some(Frame::Gzip(a)), Some(Frame::Gzip(b))) = (published.first(), rebuilt.first()) {
        explain_headers(a, b, &mut causes);
    }
    causes
}

fn explain_headers(a: &Header, b: &Header, causes: &mut Vec<Cause>) {
    if a.level != b.level {
        let detail = format!("{} → {}", level_name(a.level), level_name(b.level));
        causes.push(Cause::whole(CauseId::GzipLevel, detail));
    }
    if a.mtime != b.mtime {
        let why = match a.mtime == 0 || b.mtime == 0 {
            true => ": one side was made with gzip --no-name or from a pipe",
            false => "",
        };
        let detail = format!("{} → {}{why}", mtime_name(a.mtime), mtime_name(b.mtime));
        causes.push(Cause::whole(CauseId::GzipMtime, detail));
    }
    if a.name != b.name {
        let detail = format!("{} → {}", text_name(&a.name), text_name(&b.name));
        causes.push(Cause::whole(CauseId::GzipName, detail));
    }
    if a.comment != b.comment {
        let detail = format!("{} → {}", text_name(&a.comment), text_name(&b.comment));
        causes.push(Cause::whole(CauseId::GzipComment, detail));
    }
    if a.os != b.os {
        let detail = format!("{} → {}", os_name(a.os), os_name(b.os));
        causes.push(Cause::whole(CauseId::GzipOs, detail));
    }
    // The name and comment bits only repeat what was said above.
    let other_bits = (a.flags ^ b.flags) & !0b11000;
    if other_bits != 0 || a.extra != b.extra {
        let detail = format!(
            "flags {:#04x}, extra {} bytes → {:#04x}, {} bytes",
            a.flags,
            a.extra.len(),
            b.flags,
            b.extra.len()
        );
        causes.push(Cause::whole(CauseId::GzipFlags, detail));
    }
}

/// GNU gzip and zlib write 2 for -9, 4 for -1 and 0 for what lies between.
fn level_name(level: u8) -> String {
    match level {
        0 => "gzip -2 to -8 (XFL 0)".into(),
        2 => "gzip -9 (XFL 2)".into(),
        4 => "gzip -1 (XFL 4)".into(),
        other => format!("XFL {other}"),
    }
}

fn mtime_name(mtime: u32) -> String {
    match mtime {
        0 => "none".into(),
        seconds => match jiff::Timestamp::from_second(i64::from(seconds)) {
            Ok(time) => time.to_string(),
            Err(_) => seconds.to_string(),
        },
    }
}

fn text_name(text: &Option<String>) -> String {
    match text {
        None => "none".into(),
        Some(text) => format!("{text:?}"),
    }
}

fn os_name(os: u8) -> String {
    match os {
        0 => "FAT (0)".into(),
        3 => "Unix (3)".into(),
        11 => "NTFS (11)".into(),
        255 => "unknown (255; so do Python and Go)".into(),
        other => format!("OS {other}"),
    }
}
