//! Bytes that are no text: where they differ, exactly counted, and windows around the first places.

use std::io::{self, Read};

use super::difference::{Detail, Window};
use super::limits::{Meter, Stop};

/// Bytes of one window, a side.
const WINDOW_BYTES: usize = 64;
/// Windows of one difference.
const WINDOWS_MAX: usize = 8;
/// Bytes of a member that only one side has.
const EXCERPT_BYTES: usize = 256;

/// Compares two contents position by position.
pub(super) fn compare(published: &[u8], rebuilt: &[u8]) -> Detail {
    let mut scan = Scan::default();
    scan.feed(published, rebuilt);
    let prefix = usize::try_from(scan.common_prefix).unwrap_or(usize::MAX);
    let rest = published.len().min(rebuilt.len()).saturating_sub(prefix);
    let from_end = published.iter().rev().zip(rebuilt.iter().rev());
    let suffix = from_end.take(rest).take_while(|(a, b)| a == b).count();
    scan.finish(published.len() as u64, rebuilt.len() as u64, suffix as u64)
}

/// Compares two streams that are too large to hold; says nothing of their common end.
pub(super) fn compare_streams(
    published: &mut dyn Read,
    rebuilt: &mut dyn Read,
    meter: &Meter,
) -> io::Result<Streams> {
    let mut scan = Scan::default();
    let (mut a, mut b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let (mut bytes_a, mut bytes_b) = (0, 0);
    loop {
        meter.check_time().map_err(Stop::into_io)?;
        let count_a = fill(published, &mut a)?;
        let count_b = fill(rebuilt, &mut b)?;
        bytes_a += count_a as u64;
        bytes_b += count_b as u64;
        scan.feed(&a[..count_a], &b[..count_b]);
        if count_a == 0 && count_b == 0 {
            break;
        }
    }
    let equal = scan.changed == 0 && bytes_a == bytes_b;
    Ok(Streams { equal, bytes_a, bytes_b, detail: scan.finish(bytes_a, bytes_b, 0) })
}

/// What [`compare_streams`] found.
pub(super) struct Streams {
    pub(super) equal: bool,
    pub(super) bytes_a: u64,
    pub(super) bytes_b: u64,
    pub(super) detail: Detail,
}

fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..])? {
            0 => break,
            read => count += read,
        }
    }
    Ok(count)
}

/// The start of a content that only one side has.
pub(super) fn excerpt(content: &[u8], size: u64) -> Detail {
    let shown = &content[..content.len().min(EXCERPT_BYTES)];
    Detail::Head { hex: hex::encode(shown), omitted: size.saturating_sub(shown.len() as u64) }
}

#[derive(Default)]
struct Scan {
    position: u64,
    changed: u64,
    shown: u64,
    common_prefix: u64,
    differed: bool,
    windows: Vec<Window>,
}

impl Scan {
    fn feed(&mut self, a: &[u8], b: &[u8]) {
        let common = a.len().min(b.len());
        let mut start = 0;
        while start < common {
            let end = common.min(start + WINDOW_BYTES);
            let (window_a, window_b) = (&a[start..end], &b[start..end]);
            if window_a != window_b {
                self.window(start, a, b, end);
            } else if !self.differed {
                self.common_prefix += (end - start) as u64;
            }
            start = end;
        }
        if a.len() != b.len() {
            self.differed = true;
            if self.windows.is_empty() {
                // One side is the start of the other: show where it goes on.
                self.push(common, a, b, common + WINDOW_BYTES);
            }
        }
        self.position += a.len().max(b.len()) as u64;
    }

    fn window(&mut self, start: usize, a: &[u8], b: &[u8], end: usize) {
        let pairs = a[start..end].iter().zip(&b[start..end]);
        let changed = pairs.clone().filter(|(a, b)| a != b).count() as u64;
        if !self.differed {
            self.common_prefix += pairs.take_while(|(a, b)| a == b).count() as u64;
            self.differed = true;
        }
        self.changed += changed;
        if self.windows.len() < WINDOWS_MAX {
            self.shown += changed;
            self.push(start, a, b, end);
        }
    }

    fn push(&mut self, start: usize, a: &[u8], b: &[u8], end: usize) {
        let part = |bytes: &[u8]| hex::encode(&bytes[start.min(bytes.len())..end.min(bytes.len())]);
        let offset = self.position + start as u64;
        self.windows.push(Window { offset, published: part(a), rebuilt: part(b) });
    }

    fn finish(self, _bytes_a: u64, _bytes_b: u64, common_suffix: u64) -> Detail {
        Detail::Bytes {
            changed: self.changed,
            common_prefix: self.common_prefix,
            common_suffix,
            windows: self.windows,
            omitted: self.changed - self.shown,
        }
    }
}
