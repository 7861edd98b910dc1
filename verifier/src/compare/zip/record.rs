//! One central directory header (APPNOTE 4.3.12), and the decoders of entries.

use std::io::{self, Read};

use super::super::limits::{Meter, Stop};
use super::fields::ZipFields;

/// End of central directory record without its comment.
pub(super) const END_BYTES: u64 = 22;

/// A central header, raw, with what its local header says.
pub(super) struct Central {
    pub(super) name: Vec<u8>,
    made_by: u16,
    needed: u16,
    flags: u16,
    pub(super) method: u16,
    time: u16,
    date: u16,
    crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) unpacked_bytes: u64,
    internal: u16,
    external: u32,
    extra: Vec<u8>,
    comment: Vec<u8>,
    pub(super) header_offset: u64,
    pub(super) data_offset: u64,
    pub(super) local: [u8; 32],
    pub(super) local_name_differs: bool,
}

impl Central {
    /// The first header of `bytes` and how long it is. `shift` is added to its offset.
    pub(super) fn parse(bytes: &[u8], shift: u64) -> Option<(Central, usize)> {
        let fixed = bytes.get(..46).filter(|fixed| fixed.starts_with(b"PK\x01\x02"))?;
        let name_end = 46 + usize::from(u16_at(fixed, 28));
        let extra_end = name_end + usize::from(u16_at(fixed, 30));
        let comment_end = extra_end + usize::from(u16_at(fixed, 32));
        let mut central = Central {
            name: bytes.get(46..name_end)?.to_vec(),
            made_by: u16_at(fixed, 4),
            needed: u16_at(fixed, 6),
            flags: u16_at(fixed, 8),
            method: u16_at(fixed, 10),
            time: u16_at(fixed, 12),
            date: u16_at(fixed, 14),
            crc: u32_at(fixed, 16),
            packed_bytes: u32_at(fixed, 20).into(),
            unpacked_bytes: u32_at(fixed, 24).into(),
            internal: u16_at(fixed, 36),
            external: u32_at(fixed, 38),
            extra: bytes.get(name_end..extra_end)?.to_vec(),
            comment: bytes.get(extra_end..comment_end)?.to_vec(),
            header_offset: u32_at(fixed, 42).into(),
            data_offset: 0,
            local: [0; 32],
            local_name_differs: false,
        };
        central.read_zip64();
        central.header_offset = central.header_offset.checked_add(shift)?;
        Some((central, comment_end))
    }

    /// Section 4.5.3: sizes and offset that do not fit are in the extra field 1, in this order.
    fn read_zip64(&mut self) {
        let Some(mut values) = extra_field(&self.extra, 1) else { return };
        let places = [&mut self.unpacked_bytes, &mut self.packed_bytes, &mut self.header_offset];
        for place in places {
            if *place == u64::from(u32::MAX)
                && let Some((value, rest)) = values.split_first_chunk::<8>()
            {
                *place = u64::from_le_bytes(*value);
                values = rest;
            }
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & 1 != 0
    }

    /// What is compared; `packed` is the digest of the compressed bytes.
    pub(super) fn fields(&self, packed: [u8; 32]) -> ZipFields {
        ZipFields {
            made_by: self.made_by,
            needed: self.needed,
            flags: self.flags,
            method: self.method,
            time: self.time,
            date: self.date,
            crc: self.crc,
            packed_bytes: self.packed_bytes,
            packed,
            internal: self.internal,
            external: self.external,
            extra: self.extra.clone(),
            comment: self.comment.clone(),
            local: self.local,
            local_name_differs: self.local_name_differs,
        }
    }
}

/// The extra field with this id (section 4.5.1).
fn extra_field(mut extra: &[u8], wanted: u16) -> Option<&[u8]> {
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let body = extra.get(4..4 + length)?;
        if id == wanted {
            return Some(body);
        }
        extra = &extra[4 + length..];
    }
    None
}

/// Unpacks an entry. What no decoder here knows, and what is encrypted, stays packed: its bytes
/// still compare.
pub(super) fn unpack<'r>(
    raw: impl Read + Send + 'r,
    entry: &Central,
    meter: &'r Meter<'r>,
) -> io::Result<Box<dyn Read + Send + 'r>> {
    let unpacked: Box<dyn Read + Send + 'r> = match entry.method {
        _ if entry.is_encrypted() => return Ok(Box::new(raw)),
        8 => Box::new(flate2::read::DeflateDecoder::new(raw)),
        12 => Box::new(bzip2::read::BzDecoder::new(raw)),
        93 => Box::new(zstd::stream::read::Decoder::new(raw)?),
        95 => Box::new(liblzma::read::XzDecoder::new(raw)),
        _ => return Ok(Box::new(raw)),
    };
    let packed = entry.packed_bytes;
    Ok(Box::new(Metered { inner: unpacked, meter, packed, unpacked: 0 }))
}

/// Holds what a decoder gives to the limits.
struct Metered<'r> {
    inner: Box<dyn Read + Send + 'r>,
    meter: &'r Meter<'r>,
    packed: u64,
    unpacked: u64,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self
            .inner
            .read(buffer)
            .map_err(|error| Stop::Corrupt(format!("a zip entry: {error}")).into_io())?;
        self.unpacked += count as u64;
        self.meter.count(count as u64, self.unpacked, self.packed).map_err(Stop::into_io)?;
        Ok(count)
    }
}

/// Little-endian numbers. Callers have checked that the bytes are there; zero if they are not.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |two| u16::from_le_bytes(*two))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |eight| u64::from_le_bytes(*eight))
}
