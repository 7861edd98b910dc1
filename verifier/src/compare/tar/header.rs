//! One 512-byte tar header block, raw.

use std::io;

use super::super::limits::Stop;
use super::fields::NameForm;
use super::{BLOCK, Kind, sparse};

/// A header block whose checksum is right.
pub(super) struct Header {
    block: [u8; BLOCK],
    pub(super) typeflag: u8,
    pub(super) size: u64,
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK], offset: u64) -> io::Result<Header> {
        if !checksum_is_right(block) {
            let text = format!("the checksum of the tar header at offset {offset} is wrong");
            return Err(Stop::Corrupt(text).into_io());
        }
        let Some(size) = number(&block[124..136]).and_then(|size| u64::try_from(size).ok()) else {
            let text = format!("the size in the tar header at offset {offset} is no number");
            return Err(Stop::Corrupt(text).into_io());
        };
        Ok(Header { block: *block, typeflag: block[156], size })
    }

    /// The name that the block itself carries.
    pub(super) fn name(&self) -> (String, NameForm) {
        let name = text(&self.block[..100]);
        let prefix = text(&self.block[345..500]);
        // In GNU headers the same bytes hold times and the sparse map.
        if self.magic() != *b"ustar\x0000" || prefix.is_empty() {
            return (name, NameForm::Plain);
        }
        (format!("{prefix}/{name}"), NameForm::Prefix)
    }

    pub(super) fn link(&self) -> String {
        text(&self.block[157..257])
    }

    pub(super) fn kind(&self, path: &str) -> Kind {
        match self.typeflag {
            // Before POSIX.1-1988, a trailing slash made a directory.
            0 | b'0' if path.ends_with('/') => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => Kind::Other(other),
        }
    }

    pub(super) fn magic(&self) -> [u8; 8] {
        self.field(257)
    }

    pub(super) fn devmajor(&self) -> [u8; 8] {
        self.field(329)
    }

    pub(super) fn devminor(&self) -> [u8; 8] {
        self.field(337)
    }

    fn field(&self, start: usize) -> [u8; 8] {
        let mut field = [0; 8];
        field.copy_from_slice(&self.block[start..start + 8]);
        field
    }

    pub(super) fn mode(&self) -> Option<i64> {
        number(&self.block[100..108])
    }

    pub(super) fn uid(&self) -> Option<i64> {
        number(&self.block[108..116])
    }

    pub(super) fn gid(&self) -> Option<i64> {
        number(&self.block[116..124])
    }

    pub(super) fn mtime(&self) -> Option<i64> {
        number(&self.block[136..148])
    }

    pub(super) fn uname(&self) -> String {
        text(&self.block[265..297])
    }

    pub(super) fn gname(&self) -> String {
        text(&self.block[297..329])
    }

    /// How each number is written, digits left out: `0000644\0` and `   644 \0` differ here.
    pub(super) fn number_style(&self) -> [u8; 6] {
        let ranges = [100..108, 108..116, 116..124, 124..136, 136..148, 148..156];
        ranges.map(|range| style(&self.block[range]))
    }

    /// GNU: four pieces at 386, the real size at 483.
    pub(super) fn sparse_map(&self) -> sparse::Map {
        let real_bytes = number(&self.block[483..495]).unwrap_or_default();
        let mut map = sparse::Map::new(u64::try_from(real_bytes).unwrap_or_default());
        map.extend_from_pairs(&self.block[386..386 + 4 * 24]);
        map
    }

    pub(super) fn sparse_continues(&self) -> bool {
        self.block[482] != 0
    }
}

/// The checksum is the sum of all bytes with the checksum field as blanks; some old programs
/// summed signed bytes.
pub(super) fn checksum_is_right(block: &[u8; BLOCK]) -> bool {
    let Some(stated) = number(&block[148..156]) else { return false };
    let outside = block[..148].iter().chain(&block[156..]);
    let unsigned: i64 = outside.clone().map(|byte| i64::from(*byte)).sum::<i64>() + 8 * 32;
    let signed: i64 = outside.map(|byte| i64::from(byte.cast_signed())).sum::<i64>() + 8 * 32;
    stated == unsigned || stated == signed
}

/// Octal with blanks and NULs around it, or base 256 if the first bit is set (GNU).
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Two's complement in the bits after the first.
        let mut value = i64::from((first << 1).cast_signed() >> 1);
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(i64::from(*byte))?;
        }
        return Some(value);
    }
    let text = field.trim_ascii_start();
    let end = text.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(text.len());
    let mut value: i64 = 0;
    for digit in &text[..end] {
        if !matches!(digit, b'0'..=b'7') {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(value)
}

fn style(field: &[u8]) -> u8 {
    if field[0] & 0x80 != 0 {
        return b'b';
    }
    let blanks_first = field[0] == b' ';
    let empty = field.iter().all(|byte| *byte == 0);
    let last_two = &field[field.len() - 2..];
    let ending = match last_two {
        _ if empty => b'e',
        [_, 0] if last_two[0] != b' ' && last_two[0] != 0 => b'0',
        [b' ', 0] => b's',
        [0, b' '] => b'z',
        [_, b' '] => b' ',
        [0, 0] => b'n',
        _ => b'd',
    };
    if blanks_first { ending.to_ascii_uppercase() } else { ending }
}

/// Up to the first NUL. Bytes that are not UTF-8 are written `\xNN`, so that every name is text.
pub(super) fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    super::super::member::name_of(&field[..end])
}
