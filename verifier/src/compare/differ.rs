//! The recursion: two sources in, how close they are and the node that explains it out. Peels
//! compressions off, hands archives to [`Archive`](super::archive::Archive) and the rest to
//! [`content`](super::content).

use std::io;
use std::sync::Arc;

use rebuilder::Digest;

use super::archive::Archive;
use super::bytes;
use super::cause::{Cause, CauseId};
use super::container::Container;
use super::content;
use super::difference::{Change, Content, Difference, Format, Note, Side, Tier};
use super::limits::{Meter, Stop, read_bounded};
use super::source::{Inner, Layer, Peeled, Source};
use super::stream::{Framing, others};

/// A zip inside a compressed stream is held in memory.
const SPOOL_BYTES_MAX: u64 = 32 << 20;

/// Compares sources; shared by both threads of every archive.
#[derive(Clone, Copy)]
pub(super) struct Differ<'a> {
    pub(super) meter: &'a Meter<'a>,
}

/// What comparing two sources came to. The tier is that of two files that are not bitwise equal.
pub(super) struct Found {
    pub(super) tier: Tier,
    pub(super) node: Difference,
    /// Published members that the rebuilt side does not account for, full paths made relative.
    pub(super) unexplained: Vec<String>,
    /// Published members that were looked at.
    pub(super) members: u64,
}

/// A node without anything found yet.
pub(super) fn empty_node(path: &str, change: Change) -> Difference {
    Difference {
        path: path.to_owned(),
        change,
        formats: Vec::new(),
        published: None,
        rebuilt: None,
        origin: None,
        causes: Vec::new(),
        detail: None,
        children: Vec::new(),
        children_omitted: 0,
        notes: Vec::new(),
    }
}

/// A note about what stopped the reading of one side, and the cause that goes with it.
pub(super) fn note_stop(node: &mut Difference, side: Side, stop: &Stop) {
    let cause = match stop {
        Stop::Limit(_) => CauseId::Limit,
        Stop::Corrupt(_) => CauseId::Corrupt,
    };
    let text = stop.to_string();
    let known = node.notes.iter().any(|note| note.side == Some(side) && note.text == text);
    if known {
        return;
    }
    node.causes.push(Cause::whole(cause, format!("{}: {text}", side.as_str())));
    node.notes.push(Note { side: Some(side), text });
}

impl<'a> Differ<'a> {
    /// Compares two sources whose bytes differ.
    pub(super) fn compare(
        &self,
        path: &str,
        published: &Source,
        rebuilt: &Source,
        depth: u32,
    ) -> io::Result<Found> {
        let mut node = empty_node(path, Change::Changed);
        if depth > self.meter.limits.depth_max {
            let bound = self.meter.limits.depth_max;
            let stop = Stop::Limit(format!("archives are nested deeper than {bound}"));
            note_stop(&mut node, Side::Published, &stop);
            return self.plain(node, published, rebuilt);
        }
        let opened = (Peeled::open(published, self.meter), Peeled::open(rebuilt, self.meter));
        let (a, b) = match opened {
            (Ok(a), Ok(b)) => (a, b),
            (a, b) => {
                for (side, result) in [(Side::Published, a), (Side::Rebuilt, b)] {
                    if let Err(error) = result {
                        note_stop(&mut node, side, &Stop::of(error)?);
                    }
                }
                return self.plain(node, published, rebuilt);
            }
        };
        match (a.inner, b.inner) {
            (Inner::Tar, Inner::Tar) => {
                let layers = (a.layers, b.layers);
                node.formats = formats(&layers.0, Format::Tar);
                let containers =
                    [Container::Tar(published.clone()), Container::Tar(rebuilt.clone())];
                let archive = Archive::new(*self, depth, containers);
                let found = archive.compare(node, Some([a.reader, b.reader]))?;
                Ok(explain_layers(found, &layers.0, &layers.1))
            }
            (Inner::Zip, Inner::Zip) => {
                let [source_a, source_b] =
                    match self.zip_sources(&mut node, [published, rebuilt], [a, b])? {
                        Some(sources) => sources,
                        None => return self.plain(node, published, rebuilt),
                    };
                let containers = [Container::Zip(source_a), Container::Zip(source_b)];
                Archive::new(*self, depth, containers).compare(node, None)
            }
            _ => self.unpacked(node, [published, rebuilt], a, b),
        }
    }

    /// Zips are read from their end, so one inside a stream is taken into memory.
    fn zip_sources(
        &self,
        node: &mut Difference,
        sources: [&Source; 2],
        peeled: [Peeled; 2],
    ) -> io::Result<Option<[Source; 2]>> {
        let [a, b] = peeled;
        node.formats = formats(&a.layers, Format::Zip);
        let mut spooled = Vec::new();
        for (side, (source, peeled)) in
            [Side::Published, Side::Rebuilt].into_iter().zip(sources.into_iter().zip([a, b]))
        {
            if peeled.layers.is_empty() {
                spooled.push(source.clone());
                continue;
            }
            match read_bounded(peeled.reader, SPOOL_BYTES_MAX) {
                Ok((bytes, false)) => spooled.push(Source::Bytes(Arc::new(bytes))),
                Ok((_, true)) => {
                    let text = format!("a nested zip is larger than {SPOOL_BYTES_MAX} bytes");
                    note_stop(node, side, &Stop::Limit(text));
                    return Ok(None);
                }
                Err(error) => {
                    note_stop(node, side, &Stop::of(error)?);
                    return Ok(None);
                }
            }
        }
        Ok(<[Source; 2]>::try_from(spooled).ok())
    }

    /// Compares what is under the compressions, if it has no members.
    fn unpacked(
        &self,
        mut node: Difference,
        sources: [&Source; 2],
        a: Peeled,
        b: Peeled,
    ) -> io::Result<Found> {
        if a.layers.is_empty() && b.layers.is_empty() {
            describe_formats(&mut node, &a, &b);
            return self.plain(node, sources[0], sources[1]);
        }
        describe_formats(&mut node, &a, &b);
        let (mut reader_a, mut reader_b) = (a.reader, b.reader);
        let bytes_max = self.meter.limits.member_bytes_max;
        let mut heads = Vec::new();
        for (side, reader) in [(Side::Published, &mut reader_a), (Side::Rebuilt, &mut reader_b)] {
            match read_bounded(reader, bytes_max) {
                Ok((bytes, false)) => heads.push(bytes),
                Ok((_, true)) => {}
                Err(error) => note_stop(&mut node, side, &Stop::of(error)?),
            }
        }
        drop((reader_a, reader_b));
        let mut tier = Tier::Different;
        if let [content_a, content_b] = heads.as_slice() {
            match content_a == content_b {
                true => tier = Tier::Payload,
                false => self.describe_content(&mut node, content_a, content_b),
            }
        } else if node.notes.is_empty() {
            let streams =
                (Peeled::open(sources[0], self.meter)?, Peeled::open(sources[1], self.meter)?);
            let (mut reader_a, mut reader_b) = (streams.0.reader, streams.1.reader);
            match bytes::compare_streams(&mut reader_a, &mut reader_b, self.meter) {
                Ok(streams) if streams.equal => tier = Tier::Payload,
                Ok(streams) => node.detail = Some(streams.detail),
                Err(error) => note_stop(&mut node, Side::Published, &Stop::of(error)?),
            }
        }
        let found = Found { tier, node, unexplained: Vec::new(), members: 0 };
        Ok(explain_layers(found, &a.layers, &b.layers))
    }

    /// Compares bytes as they are.
    fn plain(
        &self,
        mut node: Difference,
        published: &Source,
        rebuilt: &Source,
    ) -> io::Result<Found> {
        let bytes_max = self.meter.limits.member_bytes_max;
        let (a, more_a) = read_bounded(published.open(self.meter)?, bytes_max)?;
        let (b, more_b) = read_bounded(rebuilt.open(self.meter)?, bytes_max)?;
        if more_a || more_b {
            drop((a, b));
            let (mut a, mut b) = (published.open(self.meter)?, rebuilt.open(self.meter)?);
            let streams = bytes::compare_streams(&mut a, &mut b, self.meter)?;
            node.detail = Some(streams.detail);
            node.published = Some(Content { size: streams.bytes_a, sha256: None });
            node.rebuilt = Some(Content { size: streams.bytes_b, sha256: None });
            if node.formats.is_empty() {
                node.formats.push(Format::Bytes);
            }
        } else {
            self.describe_content(&mut node, &a, &b);
        }
        Ok(Found { tier: Tier::Different, node, unexplained: Vec::new(), members: 0 })
    }

    fn describe_content(&self, node: &mut Difference, published: &[u8], rebuilt: &[u8]) {
        let compared = content::compare(&node.path, published, rebuilt, self.meter);
        if node.causes.iter().any(|cause| cause.cause == CauseId::FormatChanged) {
            // An archive on one side and none on the other: the formats say it all.
            node.formats.push(Format::Bytes);
            return;
        }
        node.formats.push(compared.format);
        node.causes.extend(compared.causes);
        node.detail = compared.detail;
    }

    /// A node for two contents in memory, with their sizes and digests.
    pub(super) fn compare_bodies(
        &self,
        path: &str,
        published: Vec<u8>,
        rebuilt: Vec<u8>,
        depth: u32,
    ) -> io::Result<Difference> {
        let sources = (Source::Bytes(Arc::new(published)), Source::Bytes(Arc::new(rebuilt)));
        Ok(self.compare(path, &sources.0, &sources.1, depth)?.node)
    }
}

/// Size and digest, as nodes have them.
pub(super) fn content_of(size: u64, sha256: Digest) -> Option<Content> {
    Some(Content { size, sha256: Some(sha256) })
}

fn formats(layers: &[Layer], inner: Format) -> Vec<Format> {
    layers.iter().map(|layer| layer.format).chain([inner]).collect()
}

fn inner_name(inner: Inner) -> &'static str {
    match inner {
        Inner::Tar => "tar",
        Inner::Zip => "zip",
        Inner::Plain => "plain content",
    }
}

fn describe_formats(node: &mut Difference, a: &Peeled, b: &Peeled) {
    node.formats = a.layers.iter().map(|layer| layer.format).collect();
    let name = |peeled: &Peeled| {
        let layers = peeled.layers.iter().rev().map(|layer| layer.format.as_str());
        let names: Vec<&str> = [inner_name(peeled.inner)].into_iter().chain(layers).collect();
        names.join(" in ")
    };
    if a.inner != b.inner {
        let detail = format!("{} → {}", name(a), name(b));
        node.causes.push(Cause::whole(CauseId::FormatChanged, detail));
    }
}

/// Adds why the compressions differ. Bytes hidden behind a compressed stream are no matter of
/// compression, so they take the tier away.
fn explain_layers(mut found: Found, published: &[Layer], rebuilt: &[Layer]) -> Found {
    let names = |layers: &[Layer]| match layers {
        [] => "none".to_owned(),
        _ => layers.iter().map(|layer| layer.format.as_str()).collect::<Vec<_>>().join(" in "),
    };
    let same_formats = published.len() == rebuilt.len()
        && published.iter().zip(rebuilt).all(|(a, b)| a.format == b.format);
    let mut causes = Vec::new();
    let framings = |layers: &[Layer]| layers.iter().map(Layer::framing).collect::<Vec<Framing>>();
    let (framings_a, framings_b) = (framings(published), framings(rebuilt));
    if same_formats {
        for (layer, (a, b)) in published.iter().zip(framings_a.iter().zip(&framings_b)) {
            causes.extend(others::explain(layer.format, a, b));
        }
        if causes.is_empty()
            && found.tier == Tier::Payload
            && let (Some(layer), [a, ..], [b, ..]) =
                (published.first(), framings_a.as_slice(), framings_b.as_slice())
        {
            causes.push(others::unexplained_data(layer.format, a, b));
        }
    } else {
        let detail = format!("{} → {}", names(published), names(rebuilt));
        causes.push(Cause::whole(CauseId::CompressionFormat, detail));
    }
    let hidden = |framings: &[Framing]| -> Vec<_> {
        let trailing = framings.iter().filter_map(|framing| framing.trailing.clone());
        trailing.filter(|trailing| !trailing.zero).collect()
    };
    if hidden(&framings_a) != hidden(&framings_b) {
        found.tier = Tier::Different;
    }
    for (side, framings) in [(Side::Published, &framings_a), (Side::Rebuilt, &framings_b)] {
        for stop in framings.iter().filter_map(|framing| framing.stop.as_ref()) {
            note_stop(&mut found.node, side, stop);
        }
    }
    causes.append(&mut found.node.causes);
    found.node.causes = causes;
    found
}
