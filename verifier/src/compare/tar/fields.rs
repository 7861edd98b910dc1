//! The metadata of one tar member, raw enough that any byte of its headers that differs shows up
//! as a named field.

use std::collections::BTreeMap;

use super::super::cause::CauseId;
use super::super::member::{Delta, Value, add, name_of};
use super::super::packing::TarWriter;
use super::super::replay::Owner;
use super::extended::Extended;
use super::header::{Header, number};

/// Header fields of one member.
#[derive(Debug)]
pub(in crate::compare) struct TarFields {
    pub(in crate::compare) mode: u32,
    /// Bits of the mode field above the permissions; old tars wrote the file type there.
    mode_rest: i64,
    uid: i64,
    gid: i64,
    uname: String,
    gname: String,
    mtime_seconds: i64,
    mtime_nanoseconds: u32,
    magic: [u8; 8],
    typeflag: u8,
    devmajor: [u8; 8],
    devminor: [u8; 8],
    number_style: [u8; 6],
    name_form: NameForm,
    /// Records that are neither path nor link.
    records: BTreeMap<String, Vec<u8>>,
    /// Own names of the extension headers.
    extension_names: Vec<(u8, String)>,
    pub(in crate::compare) sparse: bool,
    /// Digest of all header blocks and the padding.
    pub(super) raw: [u8; 32],
}

/// Which mechanism carries the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameForm {
    Plain,
    Prefix,
    GnuLong,
    Pax,
}

impl NameForm {
    fn describe(self) -> &'static str {
        match self {
            NameForm::Plain => "name field",
            NameForm::Prefix => "ustar prefix field",
            NameForm::GnuLong => "gnu long name header",
            NameForm::Pax => "pax extended header",
        }
    }
}

impl TarFields {
    pub(super) fn new(
        header: &Header,
        extended: &Extended,
        global: &Extended,
        name_form: NameForm,
    ) -> TarFields {
        let mode = header.mode().unwrap_or(0);
        let number = |key: &str, field: Option<i64>| match extended.number(key, global) {
            Some(value) => i64::try_from(value).unwrap_or(i64::MAX),
            None => field.unwrap_or(0),
        };
        let (mtime_seconds, mtime_nanoseconds) =
            extended.time("mtime", global).unwrap_or((header.mtime().unwrap_or(0), 0));
        let mut records = extended.records().clone();
        for key in ["path", "linkpath", "GNU.sparse.map", "GNU.sparse.name"] {
            records.remove(key);
        }
        TarFields {
            // Masked to twelve bits, so it always fits.
            mode: u32::try_from(mode & 0o7777).unwrap_or(0),
            mode_rest: mode & !0o7777,
            uid: number("uid", header.uid()),
            gid: number("gid", header.gid()),
            uname: extended.text("uname", global).unwrap_or_else(|| header.uname()),
            gname: extended.text("gname", global).unwrap_or_else(|| header.gname()),
            mtime_seconds,
            mtime_nanoseconds,
            magic: header.magic(),
            typeflag: header.typeflag,
            devmajor: header.devmajor(),
            devminor: header.devminor(),
            number_style: header.number_style(),
            name_form,
            records,
            extension_names: extended.headers().to_vec(),
            sparse: false,
            raw: [0; 32],
        }
    }

    /// Which program the header is by. Device numbers of what is no device say nothing in the old
    /// GNU format, where every version leaves them empty.
    pub(in crate::compare) fn written_by(&self) -> TarWriter {
        let zeros = *b"0000000\0";
        match (&self.magic, self.devmajor, self.devminor) {
            (b"ustar  \x00", _, _) => TarWriter::GnuFormat,
            (b"ustar\x0000", major, minor) if major == zeros && minor == zeros => TarWriter::Tar134,
            (b"ustar\x0000", [0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]) => {
                TarWriter::Tar135
            }
            _ => TarWriter::Other,
        }
    }

    /// Whether user and group are 0.
    pub(in crate::compare) fn is_owned_by_root(&self) -> bool {
        self.uid == 0 && self.gid == 0
    }

    /// User and group.
    pub(in crate::compare) fn owner(&self) -> Owner {
        Owner { uid: self.uid, gid: self.gid, user: self.uname.clone(), group: self.gname.clone() }
    }

    /// Seconds and nanoseconds of the modification time.
    pub(in crate::compare) fn mtime(&self) -> (i64, u32) {
        (self.mtime_seconds, self.mtime_nanoseconds)
    }

    /// The fields that differ between `self`, published, and `rebuilt`. Never empty when the raw
    /// headers differ and `same_rest` says that path, link, size and type do not.
    pub(in crate::compare) fn deltas(&self, rebuilt: &TarFields, same_rest: bool) -> Vec<Delta> {
        let mut deltas = Vec::new();
        if self.raw == rebuilt.raw {
            return deltas;
        }
        self.metadata_deltas(rebuilt, &mut deltas);
        self.dialect_deltas(rebuilt, &mut deltas);
        if deltas.is_empty() && same_rest {
            let raw = |fields: &TarFields| Value::Text(hex::encode(&fields.raw[..4]));
            let field = "unused header bytes, digest";
            add(&mut deltas, CauseId::TarEncoding, field, raw(self), raw(rebuilt));
        }
        deltas
    }

    fn metadata_deltas(&self, rebuilt: &TarFields, deltas: &mut Vec<Delta>) {
        let (a, b) = (self, rebuilt);
        add(deltas, CauseId::TarMode, "mode", Value::Mode(a.mode), Value::Mode(b.mode));
        let (seconds_a, seconds_b) = (a.mtime_seconds, b.mtime_seconds);
        add(
            deltas,
            CauseId::TarMtime,
            "mtime",
            Value::Seconds(seconds_a),
            Value::Seconds(seconds_b),
        );
        if seconds_a == seconds_b {
            let fraction = |fields: &TarFields| Value::Number(fields.mtime_nanoseconds.into());
            add(deltas, CauseId::TarMtime, "mtime nanoseconds", fraction(a), fraction(b));
        }
        let owner = CauseId::TarOwner;
        add(deltas, owner, "uid", Value::Number(a.uid), Value::Number(b.uid));
        add(deltas, owner, "gid", Value::Number(a.gid), Value::Number(b.gid));
        let quoted = |name: &str| Value::Text(format!("{name:?}"));
        add(deltas, owner, "uname", quoted(&a.uname), quoted(&b.uname));
        add(deltas, owner, "gname", quoted(&a.gname), quoted(&b.gname));
    }

    fn dialect_deltas(&self, rebuilt: &TarFields, deltas: &mut Vec<Delta>) {
        let (a, b) = (self, rebuilt);
        add(deltas, CauseId::TarFormat, "magic", a.dialect(), b.dialect());
        let device = |major: [u8; 8], minor: [u8; 8]| Value::Text(device_name(major, minor));
        let (device_a, device_b) = (device(a.devmajor, a.devminor), device(b.devmajor, b.devminor));
        let cause = match a.is_no_device() && b.is_no_device() {
            true => CauseId::TarDevmajor,
            false => CauseId::TarDevice,
        };
        add(deltas, cause, "devmajor, devminor", device_a, device_b);
        let form = |form: NameForm| Value::Text(form.describe().into());
        add(deltas, CauseId::TarLongName, "name in", form(a.name_form), form(b.name_form));
        let sparse = |sparse: bool| {
            Value::Text(if sparse { "holes left out" } else { "holes stored" }.into())
        };
        add(deltas, CauseId::TarSparse, "storage", sparse(a.sparse), sparse(b.sparse));
        let (records_a, records_b) = (a.other_records(b), b.other_records(a));
        add(deltas, CauseId::TarPax, "records", records_a, records_b);
        let same_long_name = a.name_form == b.name_form;
        if same_long_name && a.extension_names != b.extension_names {
            let names = |fields: &TarFields| Value::Text(fields.extension_name());
            add(deltas, CauseId::TarPaxName, "extended header", names(a), names(b));
        }
        let style = |fields: &TarFields| Value::Text(fields.style_name());
        add(deltas, CauseId::TarEncoding, "numbers", style(a), style(b));
    }

    /// Records that `other` does not have like this; with their values only if it has others.
    fn other_records(&self, other: &TarFields) -> Value {
        let mut texts = Vec::new();
        for (key, value) in &self.records {
            match other.records.get(key) {
                Some(same) if same == value => {}
                Some(_) => texts.push(format!("{key}={}", name_of(value))),
                None => texts.push(key.clone()),
            }
        }
        Value::Text(if texts.is_empty() { "none".into() } else { texts.join(" ") })
    }

    fn dialect(&self) -> Value {
        let name = match &self.magic {
            b"ustar\x0000" => "posix: pax or ustar (magic \"ustar\\0\", version \"00\")".into(),
            b"ustar  \x00" => "gnu (magic \"ustar  \\0\")".into(),
            [0, 0, 0, 0, 0, 0, 0, 0] => "v7 (no magic)".into(),
            other => format!("magic {:?}", name_of(other)),
        };
        Value::Text(name)
    }

    fn is_no_device(&self) -> bool {
        !matches!(self.typeflag, b'3' | b'4')
    }

    /// The first extension header's name without the member's own, so that equal patterns add up.
    fn extension_name(&self) -> String {
        match self.extension_names.first() {
            None => "none".into(),
            Some((flag, name)) => {
                let parts: Vec<&str> = name.split('/').collect();
                let pattern = match parts.as_slice() {
                    [.., directory, _] => format!("…/{directory}/…"),
                    _ => name.clone(),
                };
                format!("{} {pattern}", char::from(*flag))
            }
        }
    }

    fn style_name(&self) -> String {
        let styles: String = self.number_style.iter().map(|style| char::from(*style)).collect();
        // Three ways to write "regular file"; other types are compared as what they are.
        let typeflag = match self.typeflag {
            0 => ", typeflag NUL",
            b'7' => ", typeflag '7'",
            _ => "",
        };
        format!("style {styles}, mode bits {:o}{typeflag}", self.mode_rest)
    }
}

fn device_name(major: [u8; 8], minor: [u8; 8]) -> String {
    let one = |field: [u8; 8]| match field {
        [0, 0, 0, 0, 0, 0, 0, 0] => "NUL".to_owned(),
        field => match (number(&field), field) {
            (Some(0), [b'0', b'0', b'0', b'0', b'0', b'0', b'0', 0]) => "0000000".into(),
            (Some(value), _) => format!("{value} ({:?})", name_of(&field)),
            (None, _) => format!("{:?}", name_of(&field)),
        },
    };
    let (major, minor) = (one(major), one(minor));
    match major == minor {
        true => major,
        false => format!("{major}, {minor}"),
    }
}
