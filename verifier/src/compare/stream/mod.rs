//! Compressed streams: one reader for gzip, xz, bzip2 and zstd that gives the unpacked bytes, holds
//! them to the limits, and notes on the way how the stream is framed. The framing explains why two
//! files differ that unpack to the same bytes.

mod codec;
pub(super) mod gzip;
pub(super) mod others;
pub(super) mod xz;

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::cause::grouped;
use super::difference::Format;
use super::limits::{Meter, Stop};
use codec::Codec;

/// Frames whose headers are kept; a file may consist of millions of empty gzip members.
const FRAMES_KEPT_MAX: usize = 64;
/// The last bytes of a frame that are kept: the index of an xz stream lies there.
const TAIL_BYTES: usize = 64 << 10;
const BUFFER_BYTES: usize = 64 << 10;

/// How a compressed stream is framed, as far as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Framing {
    /// Headers of the first frames (gzip members, xz or bzip2 streams, zstd frames).
    pub(super) frames: Vec<Frame>,
    /// How many frames there are.
    pub(super) frames_count: u64,
    /// Zeros between frames, which xz allows.
    pub(super) padding_bytes: u64,
    /// What follows the last frame.
    pub(super) trailing: Option<Trailing>,
    /// Why reading ended early.
    pub(super) stop: Option<Stop>,
    /// Compressed bytes that were read.
    pub(super) packed_bytes: u64,
    /// Bytes that they unpacked to.
    pub(super) unpacked_bytes: u64,
}

/// The header of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Gzip(gzip::Header),
    Xz(xz::Layout),
    Bzip2 { level: u8 },
    Zstd(others::ZstdHeader),
}

/// Bytes after the end of an archive or compressed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trailing {
    /// Where they begin.
    pub(super) offset: u64,
    /// How many there are.
    pub(super) bytes: u64,
    /// Whether all of them are zero.
    pub(super) zero: bool,
}

impl Trailing {
    pub(super) fn describe(&self) -> String {
        let zero = if self.zero { "all zero" } else { "not zero" };
        format!("{} bytes at offset {}, {zero}", grouped(self.bytes), grouped(self.offset))
    }
}

/// Gives the unpacked bytes of a compressed stream.
pub(super) struct Unpacker<'a> {
    input: Box<dyn Read + Send + 'a>,
    format: Format,
    meter: &'a Meter<'a>,
    framing: Arc<Mutex<Framing>>,
    buffer: Vec<u8>,
    start: usize,
    input_ended: bool,
    consumed: u64,
    unpacked: u64,
    phase: Phase,
    codec: Codec,
    head: Vec<u8>,
    tail: Vec<u8>,
    gzip_header: Option<gzip::Header>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Between,
    Body,
    Done,
}

impl<'a> Unpacker<'a> {
    /// Unpacks `input`, which is of `format`. The framing fills while the reader is read.
    pub(super) fn new(
        input: Box<dyn Read + Send + 'a>,
        format: Format,
        meter: &'a Meter<'a>,
    ) -> (Unpacker<'a>, Arc<Mutex<Framing>>) {
        let framing = Arc::new(Mutex::new(Framing::default()));
        let unpacker = Unpacker {
            input,
            format,
            meter,
            framing: Arc::clone(&framing),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            start: 0,
            input_ended: false,
            consumed: 0,
            unpacked: 0,
            phase: Phase::Between,
            codec: Codec::None,
            head: Vec::new(),
            tail: Vec::new(),
            gzip_header: None,
        };
        (unpacker, framing)
    }

    fn framing(&self) -> std::sync::MutexGuard<'_, Framing> {
        self.framing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes at least `wanted` bytes available, unless the input ends before.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.buffer.len() - self.start >= wanted || self.input_ended {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        while self.buffer.len() < wanted && !self.input_ended {
            let old = self.buffer.len();
            self.buffer.resize(BUFFER_BYTES.max(wanted), 0);
            let count = self.input.read(&mut self.buffer[old..])?;
            self.buffer.truncate(old + count);
            self.input_ended = count == 0;
        }
        Ok(())
    }

    fn available(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn consume(&mut self, count: usize) {
        if self.format == Format::Xz {
            let taken = &self.buffer[self.start..self.start + count];
            let room = xz::HEAD_BYTES.saturating_sub(self.head.len());
            self.head.extend_from_slice(&taken[..room.min(taken.len())]);
            self.tail.extend_from_slice(taken);
            if self.tail.len() > 4 * TAIL_BYTES {
                self.tail.drain(..self.tail.len() - TAIL_BYTES);
            }
        }
        self.start += count;
        self.consumed += count as u64;
    }

    /// The next byte of a header.
    fn byte(&mut self) -> io::Result<u8> {
        self.fill(1)?;
        let Some(&byte) = self.available().first() else {
            return Err(Stop::Corrupt("the header ends too early".into()).into_io());
        };
        self.consume(1);
        Ok(byte)
    }

    fn begin_frame(&mut self) -> io::Result<()> {
        self.fill(18)?;
        if self.available().is_empty() {
            if self.framing().frames_count == 0 {
                return Err(Stop::Corrupt("the data is empty".into()).into_io());
            }
            self.phase = Phase::Done;
            return Ok(());
        }
        let first = self.framing().frames_count == 0;
        if !first && self.format == Format::Xz && self.skip_xz_padding()? {
            return Ok(());
        }
        if !codec::is_frame(self.format, self.available()) {
            self.phase = Phase::Done;
            return self.read_trailing();
        }
        self.head.clear();
        self.tail.clear();
        match self.format {
            Format::Gzip => {
                self.gzip_header = Some(gzip::read_header(&mut || self.byte())?);
                self.codec = Codec::gzip();
            }
            Format::Xz => self.codec = Codec::xz()?,
            Format::Bzip2 => {
                let level = self.available().get(3).map_or(0, |digit| digit.wrapping_sub(b'0'));
                self.keep(Frame::Bzip2 { level });
                self.codec = Codec::bzip2();
            }
            _ => {
                let header = others::ZstdHeader::read(self.available());
                self.keep(Frame::Zstd(header));
                self.codec = Codec::zstd()?;
            }
        }
        self.framing().frames_count += 1;
        self.phase = Phase::Body;
        Ok(())
    }

    fn keep(&mut self, frame: Frame) {
        let mut framing = self.framing();
        if framing.frames.len() < FRAMES_KEPT_MAX {
            framing.frames.push(frame);
        }
    }

    /// Stream Padding of the .xz format, section 2.2: zeros, a multiple of four bytes.
    fn skip_xz_padding(&mut self) -> io::Result<bool> {
        let mut skipped = false;
        while self.available().len() >= 4 && self.available()[..4] == [0; 4] {
            self.consume(4);
            self.framing().padding_bytes += 4;
            skipped = true;
            self.fill(4)?;
        }
        Ok(skipped)
    }

    fn read_trailing(&mut self) -> io::Result<()> {
        let mut trailing = Trailing { offset: self.consumed, bytes: 0, zero: true };
        loop {
            self.fill(1)?;
            let rest = self.available();
            if rest.is_empty() {
                break;
            }
            self.meter.check_time().map_err(Stop::into_io)?;
            trailing.bytes += rest.len() as u64;
            trailing.zero &= rest.iter().all(|byte| *byte == 0);
            self.consume(self.available().len());
        }
        self.framing().trailing = Some(trailing);
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        match (self.format, self.gzip_header.take()) {
            (Format::Gzip, Some(header)) => {
                let mut trailer = [0; 8];
                for byte in &mut trailer {
                    *byte = self.byte()?;
                }
                self.codec.check_gzip_trailer(trailer).map_err(Stop::into_io)?;
                self.keep(Frame::Gzip(header));
            }
            (Format::Xz, _) => {
                let layout = xz::Layout::read(&self.head, &self.tail);
                self.keep(Frame::Xz(layout));
            }
            _ => {}
        }
        self.phase = Phase::Between;
        Ok(())
    }

    fn unpack(&mut self, output: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.phase {
                Phase::Done => return Ok(0),
                Phase::Between => self.begin_frame()?,
                Phase::Body => {
                    self.fill(1)?;
                    let input = &self.buffer[self.start..];
                    let step = self.codec.decode(input, output).map_err(Stop::into_io)?;
                    self.consume(step.consumed);
                    if step.ended {
                        self.end_frame()?;
                    }
                    if step.produced > 0 {
                        let bytes = step.produced as u64;
                        self.unpacked += bytes;
                        self.meter
                            .count(bytes, self.unpacked, self.consumed)
                            .map_err(Stop::into_io)?;
                        return Ok(step.produced);
                    }
                    if !step.ended && step.consumed == 0 && self.input_ended {
                        let text = format!("the {} data ends too early", self.format.as_str());
                        return Err(Stop::Corrupt(text).into_io());
                    }
                }
            }
        }
    }
}

impl Read for Unpacker<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if output.is_empty() {
            return Ok(0);
        }
        if let Some(stop) = &self.framing().stop {
            return Err(stop.clone().into_io());
        }
        let result = self.unpack(output);
        let mut framing = self.framing();
        framing.packed_bytes = self.consumed;
        framing.unpacked_bytes = self.unpacked;
        match result {
            Ok(count) => Ok(count),
            Err(error) => {
                let stop = Stop::of(error)?;
                framing.stop = Some(stop.clone());
                Err(stop.into_io())
            }
        }
    }
}

impl Framing {
    /// The first frame, if one was read.
    pub(super) fn first(&self) -> Option<&Frame> {
        self.frames.first()
    }
}
