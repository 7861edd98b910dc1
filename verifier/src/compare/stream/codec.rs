//! The four decompressors behind one call. They are the C and Rust libraries that everybody uses;
//! only their framing is looked at elsewhere.

use std::io;

use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use super::super::difference::Format;
use super::super::limits::Stop;

/// Memory that one xz decoder may take: preset -9 needs 65 MiB, a hostile header could ask for
/// 4 GiB.
const XZ_MEMORY_BYTES_MAX: u64 = 80 << 20;
/// Largest zstd window, as a power of two: 32 MiB. Level 19 needs 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// One decompressor in the middle of one frame.
pub(super) enum Codec {
    None,
    Gzip { inflate: flate2::Decompress, crc: flate2::Crc },
    Xz(liblzma::stream::Stream),
    Bzip2(bzip2::Decompress),
    Zstd(ZstdDecoder<'static>),
}

/// What one call did.
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) produced: usize,
    pub(super) ended: bool,
}

impl Codec {
    pub(super) fn gzip() -> Codec {
        Codec::Gzip { inflate: flate2::Decompress::new(false), crc: flate2::Crc::new() }
    }

    pub(super) fn xz() -> io::Result<Codec> {
        let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES_MAX, 0)
            .map_err(io::Error::other)?;
        Ok(Codec::Xz(stream))
    }

    pub(super) fn bzip2() -> Codec {
        Codec::Bzip2(bzip2::Decompress::new(false))
    }

    pub(super) fn zstd() -> io::Result<Codec> {
        let mut decoder = ZstdDecoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Codec::Zstd(decoder))
    }

    /// Decodes some of `input` into `output`.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Stop> {
        match self {
            Codec::None => Ok(Step { consumed: 0, produced: 0, ended: true }),
            Codec::Gzip { inflate, crc } => {
                let (old_in, old_out) = (inflate.total_in(), inflate.total_out());
                let status = inflate
                    .decompress(input, output, flate2::FlushDecompress::None)
                    .map_err(|_| Stop::Corrupt("the deflate data is damaged".into()))?;
                let produced = as_count(inflate.total_out() - old_out);
                crc.update(&output[..produced]);
                Ok(Step {
                    consumed: as_count(inflate.total_in() - old_in),
                    produced,
                    ended: status == flate2::Status::StreamEnd,
                })
            }
            Codec::Xz(stream) => decode_xz(stream, input, output),
            Codec::Bzip2(decoder) => {
                let (old_in, old_out) = (decoder.total_in(), decoder.total_out());
                let status = decoder
                    .decompress(input, output)
                    .map_err(|error| Stop::Corrupt(format!("bzip2: {error}")))?;
                Ok(Step {
                    consumed: as_count(decoder.total_in() - old_in),
                    produced: as_count(decoder.total_out() - old_out),
                    ended: status == bzip2::Status::StreamEnd,
                })
            }
            Codec::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, output).map_err(|error| {
                    let text = error.to_string();
                    match text.contains("too much memory") {
                        true => Stop::Limit(format!("zstd window above 32 MiB: {text}")),
                        false => Stop::Corrupt(format!("zstd: {text}")),
                    }
                })?;
                Ok(Step {
                    consumed: status.bytes_read,
                    produced: status.bytes_written,
                    ended: status.remaining == 0,
                })
            }
        }
    }

    /// RFC 1952, 2.3.1: CRC32 and ISIZE after the deflate data.
    pub(super) fn check_gzip_trailer(&self, trailer: [u8; 8]) -> Result<(), Stop> {
        let Codec::Gzip { crc, .. } = self else { return Ok(()) };
        let [c0, c1, c2, c3, s0, s1, s2, s3] = trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != crc.sum() {
            return Err(Stop::Corrupt("the gzip trailer's CRC32 is not the data's".into()));
        }
        if u32::from_le_bytes([s0, s1, s2, s3]) != crc.amount() {
            return Err(Stop::Corrupt("the gzip trailer's size is not the data's".into()));
        }
        Ok(())
    }
}

fn decode_xz(
    stream: &mut liblzma::stream::Stream,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, Stop> {
    let (old_in, old_out) = (stream.total_in(), stream.total_out());
    // liblzma reports "no progress possible" as an error when the input has ended; that is told
    // apart by the caller, which knows whether it has.
    let status = match stream.process(input, output, liblzma::stream::Action::Run) {
        Ok(status) => status,
        Err(liblzma::stream::Error::MemLimit) => {
            return Err(Stop::Limit("xz dictionary larger than preset -9's".into()));
        }
        Err(error) => return Err(Stop::Corrupt(format!("xz: {error}"))),
    };
    Ok(Step {
        consumed: as_count(stream.total_in() - old_in),
        produced: as_count(stream.total_out() - old_out),
        ended: status == liblzma::stream::Status::StreamEnd,
    })
}

/// Whether `head` begins a frame of `format`.
pub(super) fn is_frame(format: Format, head: &[u8]) -> bool {
    match format {
        Format::Gzip => head.starts_with(&[0x1f, 0x8b]),
        Format::Xz => head.starts_with(b"\xfd7zXZ\0"),
        Format::Bzip2 => head.starts_with(b"BZh") && matches!(head.get(3), Some(b'1'..=b'9')),
        Format::Zstd => {
            // RFC 8878, 3.1: frames, and the sixteen magic numbers of skippable frames.
            head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
                || (matches!(head.first(), Some(0x50..=0x5f))
                    && head.get(1..4) == Some(&[0x2a, 0x4d, 0x18]))
        }
        _ => false,
    }
}

/// The counters never exceed the slices that were passed in.
fn as_count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
