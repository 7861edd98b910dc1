//! Plain content: decides what kind of bytes two members hold and has them compared as that.

use super::cause::{Cause, CauseId};
use super::difference::{Detail, Format};
use super::limits::Meter;
use super::{bytes, json, text};

/// What is there to say about two contents.
pub(super) struct Compared {
    pub(super) format: Format,
    pub(super) causes: Vec<Cause>,
    pub(super) detail: Option<Detail>,
}

/// Compares two different contents. `path` only hints at JSON.
pub(super) fn compare(path: &str, published: &[u8], rebuilt: &[u8], meter: &Meter) -> Compared {
    let (format_a, format_b) = (format_of(path, published), format_of(path, rebuilt));
    let mut causes = Vec::new();
    let format = match (format_a, format_b) {
        (a, b) if a == b => a,
        // An empty file is an empty text or an empty lump of bytes, whatever the other side is.
        (Format::Empty, other) | (other, Format::Empty) => other,
        (Format::Json | Format::Text, Format::Json | Format::Text) => Format::Text,
        (a, b) => {
            let detail = format!("{} → {}", a.as_str(), b.as_str());
            causes.push(Cause::whole(CauseId::FormatChanged, detail));
            Format::Bytes
        }
    };
    if format == Format::Json
        && let Some((json_causes, detail)) = json::compare(published, rebuilt, meter)
    {
        causes.extend(json_causes);
        return Compared { format, causes, detail };
    }
    match format {
        Format::Json | Format::Text => {
            let (text_causes, detail) = text::compare(published, rebuilt, meter);
            causes.extend(text_causes);
            Compared { format, causes, detail: Some(detail) }
        }
        _ => {
            let detail = Some(bytes::compare(published, rebuilt));
            Compared { format, causes, detail }
        }
    }
}

/// What `content` is.
pub(super) fn format_of(path: &str, content: &[u8]) -> Format {
    if content.is_empty() {
        return Format::Empty;
    }
    if !text::is_text(content) {
        return Format::Bytes;
    }
    match path.ends_with(".json") {
        true => Format::Json,
        false => Format::Text,
    }
}

/// The start of a content that only one side has.
pub(super) fn excerpt(path: &str, content: &[u8], size: u64, meter: &Meter) -> (Format, Detail) {
    let format = format_of(path, content);
    let detail = match format {
        Format::Json | Format::Text => text::excerpt(content, meter),
        _ => bytes::excerpt(content, size),
    };
    (format, detail)
}
