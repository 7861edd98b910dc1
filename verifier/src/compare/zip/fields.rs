//! The metadata of one zip entry and of the archive around the entries.

use rebuilder::Digest;

use super::super::cause::{Cause, CauseId};
use super::super::member::{Delta, Value, add, name_of};

/// Fields of one entry.
#[derive(Debug)]
pub(in crate::compare) struct ZipFields {
    pub(super) made_by: u16,
    pub(super) needed: u16,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) time: u16,
    pub(super) date: u16,
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    /// Digest of the compressed bytes.
    pub(super) packed: [u8; 32],
    pub(super) internal: u16,
    pub(super) external: u32,
    pub(super) extra: Vec<u8>,
    pub(super) comment: Vec<u8>,
    /// Digest of the local header.
    pub(super) local: [u8; 32],
    pub(super) local_name_differs: bool,
}

/// What a zip holds besides entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::compare) struct Frame {
    pub(super) comment: Vec<u8>,
    pub(super) prefix_bytes: u64,
    /// Bytes between entries that no header accounts for; data descriptors are among them.
    pub(super) gap_bytes: u64,
    pub(super) trailing_bytes: u64,
    pub(super) zip64: bool,
    /// Digests of the bytes before the first entry and after the end.
    pub(super) prefix: Option<Digest>,
    pub(super) trailing: Option<Digest>,
}

impl ZipFields {
    /// Unix permissions, which are the upper half of the external attributes.
    pub(in crate::compare) fn mode(&self) -> u32 {
        (self.external >> 16) & 0o7777
    }

    pub(super) fn file_type(&self) -> u32 {
        (self.external >> 16) & 0o170000
    }

    /// The fields that differ between `self`, published, and `rebuilt`.
    pub(in crate::compare) fn deltas(&self, rebuilt: &ZipFields, same_rest: bool) -> Vec<Delta> {
        let (a, b) = (self, rebuilt);
        let mut deltas = Vec::new();
        let seconds = |fields: &ZipFields| Value::Seconds(dos_seconds(fields.date, fields.time));
        add(&mut deltas, CauseId::ZipMtime, "mtime", seconds(a), seconds(b));
        let mode = |fields: &ZipFields| Value::Text(format!("{:#010x}", fields.external));
        add(&mut deltas, CauseId::ZipMode, "external attributes", mode(a), mode(b));
        let method = |fields: &ZipFields| Value::Text(method_name(fields.method));
        add(&mut deltas, CauseId::ZipCompression, "method", method(a), method(b));
        let same_content = a.crc == b.crc && a.method == b.method;
        if same_content && a.packed != b.packed {
            let data = |fields: &ZipFields| Value::Text(format!("{} bytes", fields.packed_bytes));
            let (data_a, data_b) = (data(a), data(b));
            let field = "data of another level or implementation";
            match data_a == data_b {
                false => add(&mut deltas, CauseId::ZipCompression, field, data_a, data_b),
                true => {
                    let digest = |fields: &ZipFields| Value::Text(hex::encode(&fields.packed[..4]));
                    add(&mut deltas, CauseId::ZipCompression, field, digest(a), digest(b));
                }
            }
        }
        let flags = |fields: &ZipFields| Value::Text(format!("{:#06x}", fields.flags));
        add(&mut deltas, CauseId::ZipFlags, "flags", flags(a), flags(b));
        let made_by = |fields: &ZipFields| Value::Text(version_name(fields.made_by));
        add(&mut deltas, CauseId::ZipVersion, "made by", made_by(a), made_by(b));
        let needed = |fields: &ZipFields| Value::Text(version_name(fields.needed));
        add(&mut deltas, CauseId::ZipVersion, "needed", needed(a), needed(b));
        let extra = |fields: &ZipFields| Value::Text(extra_name(&fields.extra));
        add(&mut deltas, CauseId::ZipExtra, "extra fields", extra(a), extra(b));
        let comment = |fields: &ZipFields| Value::Text(format!("{:?}", name_of(&fields.comment)));
        add(&mut deltas, CauseId::ZipComment, "entry comment", comment(a), comment(b));
        self.header_deltas(rebuilt, &mut deltas);
        if deltas.is_empty() && same_rest {
            let local = |fields: &ZipFields| Value::Text(hex::encode(&fields.local[..4]));
            add(&mut deltas, CauseId::ZipHeaders, "local header, digest", local(a), local(b));
        }
        deltas
    }

    fn header_deltas(&self, rebuilt: &ZipFields, deltas: &mut Vec<Delta>) {
        let (a, b) = (self, rebuilt);
        let internal = |fields: &ZipFields| Value::Number(fields.internal.into());
        add(deltas, CauseId::ZipHeaders, "internal attributes", internal(a), internal(b));
        let name = |fields: &ZipFields| {
            Value::Text(if fields.local_name_differs { "another" } else { "the same" }.into())
        };
        add(deltas, CauseId::ZipHeaders, "name in the local header", name(a), name(b));
    }
}

impl Frame {
    /// Why the archives around equal entries differ.
    pub(in crate::compare) fn causes(&self, rebuilt: &Frame) -> Vec<Cause> {
        let (a, b) = (self, rebuilt);
        let mut causes = Vec::new();
        let mut add = |cause, same: bool, detail: String| {
            if !same {
                causes.push(Cause::whole(cause, detail));
            }
        };
        let comment = format!("archive {:?} → {:?}", name_of(&a.comment), name_of(&b.comment));
        add(CauseId::ZipComment, a.comment == b.comment, comment);
        let prefix =
            format!("{} → {} bytes before the first entry", a.prefix_bytes, b.prefix_bytes);
        add(CauseId::ArchivePrefix, a.prefix == b.prefix, prefix);
        let gaps = format!("{} → {} bytes between entries", a.gap_bytes, b.gap_bytes);
        add(CauseId::ArchivePrefix, a.gap_bytes == b.gap_bytes, gaps);
        let trailing = format!("{} → {} bytes after the end", a.trailing_bytes, b.trailing_bytes);
        add(CauseId::ArchiveTrailing, a.trailing == b.trailing, trailing);
        let zip64 = format!("zip64 end record: {} → {}", a.zip64, b.zip64);
        add(CauseId::ZipVersion, a.zip64 == b.zip64, zip64);
        causes
    }

    /// The bytes that lie where no reader looks.
    pub(in crate::compare) fn hidden(&self) -> (Option<Digest>, Option<Digest>) {
        (self.prefix, self.trailing)
    }
}

/// An MS-DOS date and time as if it were UTC; only distances between two matter.
fn dos_seconds(date: u16, time: u16) -> i64 {
    let (year, month, day) = (1980 + (date >> 9), date >> 5 & 15, date & 31);
    let (hour, minute, second) = (time >> 11, time >> 5 & 63, (time & 31) * 2);
    let civil = jiff::civil::Date::new(
        i16::try_from(year).unwrap_or(1980),
        i8::try_from(month).unwrap_or(0),
        i8::try_from(day).unwrap_or(0),
    );
    let days = match civil {
        Ok(date) => date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map(|zoned| zoned.timestamp().as_second())
            .unwrap_or_default(),
        // Month or day 0: the raw value still tells two of them apart.
        Err(_) => i64::from(date),
    };
    days + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
}

fn method_name(method: u16) -> String {
    match method {
        0 => "stored".into(),
        8 => "deflate".into(),
        12 => "bzip2".into(),
        14 => "lzma".into(),
        93 => "zstd".into(),
        95 => "xz".into(),
        other => format!("method {other}"),
    }
}

fn version_name(version: u16) -> String {
    let system = match version >> 8 {
        0 => "FAT".into(),
        3 => "Unix".into(),
        10 => "NTFS".into(),
        19 => "macOS".into(),
        other => format!("system {other}"),
    };
    format!("{system} {}.{}", (version & 255) / 10, (version & 255) % 10)
}

fn extra_name(extra: &[u8]) -> String {
    match extra.len() {
        0 => "none".into(),
        1..=48 => hex::encode(extra),
        bytes => format!("{}… ({bytes} bytes)", hex::encode(&extra[..48])),
    }
}
