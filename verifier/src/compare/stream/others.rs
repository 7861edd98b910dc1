//! Headers of bzip2 and zstd, and why two of them differ; and what can be said of any format.

use super::super::cause::{Cause, CauseId, grouped};
use super::super::difference::Format;
use super::{Frame, Framing, gzip, xz};

/// The frame header of zstd (RFC 8878, section 3.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::compare) struct ZstdHeader {
    window_bytes: Option<u64>,
    size_stated: bool,
    checksum: bool,
}

impl ZstdHeader {
    /// From the first bytes of a frame; a short or skippable one gives an empty header.
    pub(super) fn read(head: &[u8]) -> ZstdHeader {
        let descriptor = head.get(4).copied().unwrap_or_default();
        let single_segment = descriptor & 0x20 != 0;
        let window_bytes = match (single_segment, head.get(5)) {
            (false, Some(window)) => {
                let base = 1_u64 << (10 + (window >> 3));
                Some(base + base / 8 * u64::from(window & 7))
            }
            _ => None,
        };
        ZstdHeader {
            window_bytes,
            size_stated: single_segment || descriptor >> 6 != 0,
            checksum: descriptor & 4 != 0,
        }
    }

    fn describe(&self) -> String {
        let window = match self.window_bytes {
            Some(bytes) => format!("window {} KiB", bytes >> 10),
            None => "single segment".into(),
        };
        let size = if self.size_stated { "size stated" } else { "size not stated (from a pipe)" };
        let checksum = if self.checksum { "checksum" } else { "no checksum" };
        format!("{window}, {size}, {checksum}")
    }
}

/// Why two compressed files differ that unpack to the same bytes. Never empty when their bytes
/// differ: what no header tells is said in so many words.
pub(in crate::compare) fn explain(
    format: Format,
    published: &Framing,
    rebuilt: &Framing,
) -> Vec<Cause> {
    let mut causes = match format {
        Format::Gzip => gzip::explain(published, rebuilt),
        Format::Xz => xz::explain(published, rebuilt),
        Format::Bzip2 => explain_bzip2(published, rebuilt),
        _ => explain_zstd(published, rebuilt),
    };
    if published.trailing != rebuilt.trailing {
        let describe = |framing: &Framing| match &framing.trailing {
            None => "nothing".into(),
            Some(trailing) => trailing.describe(),
        };
        let detail = format!("{} → {}", describe(published), describe(rebuilt));
        causes.push(Cause::whole(CauseId::ArchiveTrailing, detail));
    }
    causes
}

/// The cause for compressed data that differs although no header does.
pub(in crate::compare) fn unexplained_data(
    format: Format,
    published: &Framing,
    rebuilt: &Framing,
) -> Cause {
    let hint = match format {
        Format::Gzip => "a level between -2 and -8, or another implementation than GNU gzip",
        Format::Xz => "-5 or -6, -3 or -4, -e, or an encoder of another version",
        Format::Bzip2 => "another implementation",
        _ => "another level or version",
    };
    let detail = format!(
        "equal {} headers, other compressed data ({} → {} bytes): {hint}",
        format.as_str(),
        grouped(published.packed_bytes),
        grouped(rebuilt.packed_bytes)
    );
    Cause::whole(CauseId::CompressionData, detail)
}

fn explain_bzip2(published: &Framing, rebuilt: &Framing) -> Vec<Cause> {
    let mut causes = count_cause(CauseId::Bzip2Streams, "streams", published, rebuilt);
    if let (Some(Frame::Bzip2 { level: a }), Some(Frame::Bzip2 { level: b })) =
        (published.first(), rebuilt.first())
        && a != b
    {
        causes.push(Cause::whole(CauseId::Bzip2Level, format!("bzip2 -{a} → -{b}")));
    }
    causes
}

fn explain_zstd(published: &Framing, rebuilt: &Framing) -> Vec<Cause> {
    let mut causes = count_cause(CauseId::ZstdFrames, "frames", published, rebuilt);
    if let (Some(Frame::Zstd(a)), Some(Frame::Zstd(b))) = (published.first(), rebuilt.first())
        && a != b
    {
        let detail = format!("{} → {}", a.describe(), b.describe());
        causes.push(Cause::whole(CauseId::ZstdFrame, detail));
    }
    causes
}

fn count_cause(id: CauseId, noun: &str, published: &Framing, rebuilt: &Framing) -> Vec<Cause> {
    let (a, b) = (published.frames_count, rebuilt.frames_count);
    match a == b {
        true => Vec::new(),
        false => vec![Cause::whole(id, format!("{a} → {b} {noun}"))],
    }
}
