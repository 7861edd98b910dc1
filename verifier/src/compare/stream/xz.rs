//! The xz container (The .xz File Format 1.2, sections 2 to 4): check, blocks, filters and
//! dictionary, read from the first and last bytes of a stream, and why two of them differ.

use super::super::cause::{Cause, CauseId, grouped};
use super::{Frame, Framing};

/// Stream header (12 bytes) and the largest block header (1,024 bytes), and the first LZMA2
/// chunk's.
pub(super) const HEAD_BYTES: usize = 12 + 1024 + 6;

/// What the container of one xz stream says about how it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::compare) struct Layout {
    check: Option<u8>,
    /// Uncompressed sizes of the blocks; `None` if the index was too large to keep or damaged.
    blocks: Option<Vec<u64>>,
    /// Whether the first block's header states sizes; only multi-threaded encoders know them then.
    sizes_stated: bool,
    /// Filter ids of the first block with their properties.
    filters: Vec<(u64, Vec<u8>)>,
    /// The literal/position byte of the first LZMA2 chunk that has one.
    properties: Option<u8>,
}

impl Layout {
    /// From the first and the last bytes of a stream.
    pub(super) fn read(head: &[u8], tail: &[u8]) -> Layout {
        let mut layout = Layout { check: head.get(7).map(|flags| flags & 15), ..Layout::default() };
        layout.blocks = read_index(tail);
        if layout.blocks.as_ref().is_none_or(|blocks| !blocks.is_empty()) {
            layout.read_block_header(head.get(12..).unwrap_or_default());
        }
        layout
    }

    /// Section 3.1. A header that is not as expected leaves the fields empty: the decoder has
    /// already said that the stream is good.
    fn read_block_header(&mut self, bytes: &[u8]) -> Option<()> {
        let size = (usize::from(*bytes.first()?) + 1) * 4;
        let flags = *bytes.get(1)?;
        let mut rest = bytes.get(2..size)?;
        self.sizes_stated = flags & 0xc0 != 0;
        for bit in [0x40, 0x80] {
            if flags & bit != 0 {
                number(&mut rest)?;
            }
        }
        for _ in 0..=(flags & 3) {
            let id = number(&mut rest)?;
            let length = usize::try_from(number(&mut rest)?).ok()?;
            let properties = rest.get(..length)?.to_vec();
            rest = rest.get(length..)?;
            self.filters.push((id, properties));
        }
        // LZMA2 chunk: control byte 0xc0 and up brings new properties at offset 5.
        let chunk = bytes.get(size..)?;
        if *chunk.first()? >= 0xc0 {
            self.properties = chunk.get(5).copied();
        }
        Some(())
    }

    /// Whether the first block's header says its sizes.
    pub(in crate::compare) fn sizes_stated(&self) -> bool {
        self.sizes_stated
    }

    pub(in crate::compare) fn dictionary_bytes(&self) -> Option<u64> {
        let (_, properties) = self.filters.iter().find(|(id, _)| *id == 0x21)?;
        let bits = u32::from(*properties.first()?);
        match bits {
            0..40 => Some((2 | u64::from(bits & 1)) << (bits / 2 + 11)),
            _ => None,
        }
    }
}

/// Section 4: the index, found by the Backward Size of the footer (section 2.1.2.2).
fn read_index(tail: &[u8]) -> Option<Vec<u64>> {
    let footer = tail.get(tail.len().checked_sub(12)?..)?;
    let backward = u32::from_le_bytes(footer.get(4..8)?.try_into().ok()?);
    let size = (usize::try_from(backward).ok()? + 1) * 4;
    let start = tail.len().checked_sub(12 + size)?;
    let mut index = tail.get(start + 1..)?;
    let count = number(&mut index)?;
    let mut blocks = Vec::new();
    for _ in 0..count {
        number(&mut index)?;
        blocks.push(number(&mut index)?);
    }
    Some(blocks)
}

/// Multibyte integer, section 1.2.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Why two xz files differ that unpack to the same bytes.
pub(in crate::compare) fn explain(published: &Framing, rebuilt: &Framing) -> Vec<Cause> {
    let mut causes = Vec::new();
    if (published.frames_count, published.padding_bytes)
        != (rebuilt.frames_count, rebuilt.padding_bytes)
    {
        let detail = format!(
            "{} streams, {} bytes of padding → {} streams, {} bytes",
            published.frames_count,
            published.padding_bytes,
            rebuilt.frames_count,
            rebuilt.padding_bytes
        );
        causes.push(Cause::whole(CauseId::XzStreams, detail));
    }
    if let (Some(Frame::Xz(a)), Some(Frame::Xz(b))) = (published.first(), rebuilt.first()) {
        explain_layouts(a, b, &mut causes);
    }
    causes
}

fn explain_layouts(a: &Layout, b: &Layout, causes: &mut Vec<Cause>) {
    if a.check != b.check {
        let detail = format!("{} → {}", check_name(a.check), check_name(b.check));
        causes.push(Cause::whole(CauseId::XzCheck, detail));
    }
    // The size of a single block is the size of the data, which is compared elsewhere.
    let cut = |layout: &Layout| match layout.blocks.as_deref() {
        Some([first, _, ..]) => layout.blocks.as_ref().map(|blocks| (blocks.len(), *first)),
        Some(blocks) => Some((blocks.len(), 0)),
        None => None,
    };
    if cut(a) != cut(b) {
        let detail = format!("{} → {}{}", blocks_name(a), blocks_name(b), threads_hint(a, b));
        causes.push(Cause::whole(CauseId::XzBlocks, detail));
    }
    if a.sizes_stated != b.sizes_stated {
        let stated = |layout: &Layout| match layout.sizes_stated {
            true => "in block headers (multi-threaded)",
            false => "not in block headers (one thread, -T1)",
        };
        let detail = format!("sizes {} → {}", stated(a), stated(b));
        causes.push(Cause::whole(CauseId::XzSizes, detail));
    }
    let (dictionary_a, dictionary_b) = (a.dictionary_bytes(), b.dictionary_bytes());
    if dictionary_a != dictionary_b {
        let detail = format!("{} → {}", preset_name(dictionary_a), preset_name(dictionary_b));
        causes.push(Cause::whole(CauseId::XzDictionary, detail));
    }
    let ids = |layout: &Layout| layout.filters.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    if ids(a) != ids(b) || a.properties != b.properties {
        let detail = format!("{} → {}", filters_name(a), filters_name(b));
        causes.push(Cause::whole(CauseId::XzFilters, detail));
    }
}

fn check_name(check: Option<u8>) -> String {
    match check {
        Some(0) => "none".into(),
        Some(1) => "CRC32".into(),
        Some(4) => "CRC64 (xz's default)".into(),
        Some(10) => "SHA-256".into(),
        Some(other) => format!("check {other}"),
        None => "unknown".into(),
    }
}

fn blocks_name(layout: &Layout) -> String {
    match &layout.blocks {
        None => "an unknown number of blocks".into(),
        Some(blocks) if blocks.len() == 1 => "1 block".into(),
        Some(blocks) => {
            let first = blocks.first().copied().unwrap_or_default();
            format!("{} blocks of {} bytes", blocks.len(), grouped(first))
        }
    }
}

fn threads_hint(a: &Layout, b: &Layout) -> &'static str {
    match a.sizes_stated != b.sizes_stated {
        true => " (multi-threaded on one side: -T0, or xz 5.6 and later without -T1)",
        false => "",
    }
}

/// Dictionary sizes of the presets, xz(1).
fn preset_name(dictionary_bytes: Option<u64>) -> String {
    let Some(bytes) = dictionary_bytes else { return "unknown".into() };
    let preset = match bytes >> 10 {
        256 => "xz -0",
        1024 => "xz -1",
        2048 => "xz -2",
        4096 => "xz -3 or -4",
        8192 => "xz -5 or -6",
        16384 => "xz -7",
        32768 => "xz -8",
        65536 => "xz -9",
        _ => "no preset",
    };
    match bytes >> 20 {
        0 => format!("{} KiB ({preset})", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB ({preset})"),
    }
}

fn filters_name(layout: &Layout) -> String {
    let names: Vec<String> = layout
        .filters
        .iter()
        .map(|(id, _)| match id {
            0x03 => "delta".into(),
            0x04 => "x86".into(),
            0x21 => "lzma2".into(),
            other => format!("filter {other:#x}"),
        })
        .collect();
    match layout.properties {
        // lc + 9 * (lp + 5 * pb), as in LZMA.
        Some(byte) => {
            let (lc, lp, pb) = (byte % 9, byte / 9 % 5, byte / 45);
            format!("{} lc={lc} lp={lp} pb={pb}", names.join(" "))
        }
        None => names.join(" "),
    }
}
