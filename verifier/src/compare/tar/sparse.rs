//! Sparse members (GNU tar manual, "Storing Sparse Files"): where the holes are.

use std::io;

use super::super::limits::{Meter, Stop};
use super::header::number;

/// Pieces of one map; a hostile map has one for every byte.
const PIECES_MAX: usize = 10_000;

/// Data pieces of a sparse file, by offset.
#[derive(Clone, Debug)]
pub(super) struct Map {
    real_bytes: u64,
    pieces: Vec<(u64, u64)>,
}

/// What the next bytes of a sparse file are.
pub(super) enum Piece {
    Hole(u64),
    Data(u64),
}

impl Map {
    pub(super) fn new(real_bytes: u64) -> Map {
        Map { real_bytes, pieces: Vec::new() }
    }

    pub(super) fn real_bytes(&self) -> u64 {
        self.real_bytes
    }

    pub(super) fn push(&mut self, offset: u64, bytes: u64) {
        self.pieces.push((offset, bytes));
    }

    /// GNU's 24-byte pairs of 12-byte numbers.
    pub(super) fn extend_from_pairs(&mut self, pairs: &[u8]) {
        for pair in pairs.chunks_exact(24) {
            let value = |field: &[u8]| number(field).and_then(|value| u64::try_from(value).ok());
            if let (Some(offset), Some(bytes)) = (value(&pair[..12]), value(&pair[12..]))
                && pair[0] != 0
            {
                self.push(offset, bytes);
            }
        }
    }

    /// An extension block of 21 pairs; whether another one follows.
    pub(super) fn extend_from_block(&mut self, block: &[u8; 512]) -> bool {
        self.extend_from_pairs(&block[..504]);
        block[504] != 0
    }

    /// Format 1.0: a count, then offsets and sizes, a line each. False while lines are missing.
    pub(super) fn extend_from_text(&mut self, text: &[u8]) -> bool {
        let mut numbers = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            let Some(value) = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok())
            else {
                break;
            };
            numbers.push(value);
            let wanted = numbers[0];
            if numbers.len() as u64 == u64::saturating_add(1, u64::saturating_mul(wanted, 2)) {
                self.pieces = numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                return true;
            }
        }
        false
    }

    pub(super) fn limit(&self) -> io::Result<()> {
        match self.pieces.len() > PIECES_MAX {
            true => Err(too_many()),
            false => Ok(()),
        }
    }

    pub(super) fn limit_text(&self, bytes: usize) -> io::Result<()> {
        match bytes > PIECES_MAX * 20 {
            true => Err(too_many()),
            false => Ok(()),
        }
    }

    /// Holes and data in order. Holes are counted like unpacked bytes: they take time to hash.
    pub(super) fn pieces(&self, meter: &Meter) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut position = 0;
        for (offset, bytes) in &self.pieces {
            let Some(hole) = offset.checked_sub(position) else {
                return Err(Stop::Corrupt("a sparse map is not in order".into()).into_io());
            };
            pieces.push(Piece::Hole(hole));
            pieces.push(Piece::Data(*bytes));
            position = offset.saturating_add(*bytes);
        }
        pieces.push(Piece::Hole(self.real_bytes.saturating_sub(position)));
        let holes = pieces.iter().fold(0_u64, |sum, piece| match piece {
            Piece::Hole(bytes) => sum.saturating_add(*bytes),
            Piece::Data(_) => sum,
        });
        meter.count(holes, holes, 1 << 20).map_err(Stop::into_io)?;
        Ok(pieces)
    }
}

fn too_many() -> io::Error {
    Stop::Limit(format!("a sparse map has more than {PIECES_MAX} pieces")).into_io()
}

/// Gives `bytes` zeros to `sink`.
pub(super) fn zeros(bytes: u64, sink: &mut dyn FnMut(&[u8])) {
    const ZEROS: [u8; 8192] = [0; 8192];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(ZEROS.len() as u64);
        sink(&ZEROS[..usize::try_from(count).unwrap_or(ZEROS.len())]);
        left -= count;
    }
}
