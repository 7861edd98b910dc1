//! The JSON report, schema `verbatim.difference/1`: relative paths only, exact counts of everything
//! left out, the same bytes for the same comparison.

use std::io;

use serde::Serialize;

use super::super::difference::{Comparison, Difference, Tier};
use super::super::kept::strip;
use super::escape::is_unsafe;

/// Version of this document.
const SCHEMA: &str = "verbatim.difference/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    identical: bool,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// The report, at most `bytes_max` long: content goes first, then the nodes themselves, and their
/// number stays.
pub fn json(comparison: &Comparison, bytes_max: u64) -> String {
    let mut written = write(comparison);
    if written.len() as u64 <= bytes_max {
        return written;
    }
    let mut smaller = comparison.clone();
    while let Some(node) = smaller.difference.as_mut().filter(|_| written.len() as u64 > bytes_max)
    {
        if !shrink(node) {
            smaller.difference = None;
        }
        written = write(&smaller);
    }
    if written.len() as u64 > bytes_max {
        smaller.unexplained_omitted += smaller.unexplained.len() as u64;
        smaller.unexplained.clear();
        smaller.explanation = None;
        written = write(&smaller);
    }
    written
}

/// Takes out the second half of what is left; false when nothing is.
fn shrink(node: &mut Difference) -> bool {
    let detailed: Vec<usize> = (0..node.children.len())
        .filter(|index| {
            let child = &node.children[*index];
            !child.children.is_empty() || child.has_content()
        })
        .collect();
    if !detailed.is_empty() {
        for index in &detailed[detailed.len() / 2..] {
            strip(&mut node.children[*index]);
        }
        return true;
    }
    let kept = node.children.len() / 2;
    let dropped = node.children.len() - kept;
    node.children.truncate(kept);
    node.children_omitted += dropped as u64;
    if dropped > 0 {
        return true;
    }
    let had_content = node.has_content();
    strip(node);
    had_content
}

fn write(comparison: &Comparison) -> String {
    let identical = comparison.tier == Tier::Bitwise;
    let document = Document { schema: SCHEMA, identical, comparison };
    let mut bytes = Vec::new();
    let formatter = Safe(serde_json::ser::PrettyFormatter::new());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing to memory does not fail, and no map here has keys that are no strings.
    let written = document.serialize(&mut serializer).is_ok();
    debug_assert!(written, "a comparison serializes");
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes characters that terminals obey as `\u` escapes; the document's value is the same.
struct Safe(serde_json::ser::PrettyFormatter<'static>);

impl serde_json::ser::Formatter for Safe {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for part in fragment.split_inclusive(is_unsafe) {
            match part.chars().next_back().filter(|last| is_unsafe(*last)) {
                None => writer.write_all(part.as_bytes())?,
                Some(last) => {
                    writer.write_all(&part.as_bytes()[..part.len() - last.len_utf8()])?;
                    for unit in last.encode_utf16(&mut units) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}
