//! Text: what is one, and in which lines two of them differ. A text is UTF-8 or else Latin-1, and a
//! late odd byte does not turn a text into a lump of bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

use super::cause::{Cause, CauseId};
use super::difference::{Detail, Hunk, Line};
use super::limits::Meter;

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;
/// Characters of a line that are shown: minified files have one line.
const LINE_CHARS_MAX: usize = 1_000;
/// Time for one difference; `similar` gives a larger one, still a true one, when it is over.
const DIFF_TIME_MAX: Duration = Duration::from_secs(5);

/// Whether `content` is a text: no NUL, hardly any other control character.
pub(super) fn is_text(content: &[u8]) -> bool {
    if content.contains(&0) {
        return false;
    }
    let is_odd = |byte: &&u8| matches!(byte, 1..=7 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f);
    let odd = content.iter().filter(is_odd).count();
    if std::str::from_utf8(content).is_ok() {
        return odd * 10 <= content.len();
    }
    let high = content.iter().filter(|byte| **byte >= 0x80).count();
    odd * 50 <= content.len() && high * 10 <= content.len() * 4
}

/// Compares two different texts.
pub(super) fn compare(published: &[u8], rebuilt: &[u8], meter: &Meter) -> (Vec<Cause>, Detail) {
    let mut causes = Vec::new();
    let (a, b) = (without_mark(published), without_mark(rebuilt));
    if a.len() + rebuilt.len() != b.len() + published.len() {
        let name = |marked: bool| if marked { "byte order mark" } else { "none" };
        let detail =
            format!("{} → {}", name(a.len() < published.len()), name(b.len() < rebuilt.len()));
        causes.push(Cause::whole(CauseId::TextEncoding, detail));
    }
    let encoding =
        |text: &[u8]| if std::str::from_utf8(text).is_ok() { "UTF-8" } else { "Latin-1" };
    if encoding(a) != encoding(b) {
        let detail = format!("{} → {}", encoding(a), encoding(b));
        causes.push(Cause::whole(CauseId::TextEncoding, detail));
    }
    let (endings_a, endings_b) = (Endings::of(a), Endings::of(b));
    let mut old: Vec<&[u8]> = a.split_inclusive(|byte| *byte == b'\n').collect();
    let mut new: Vec<&[u8]> = b.split_inclusive(|byte| *byte == b'\n').collect();
    if endings_a.name() != endings_b.name() && endings_a.lines > 0 && endings_b.lines > 0 {
        let lines = endings_a.lines.max(endings_b.lines);
        let detail = format!("{} → {} in {lines} lines", endings_a.name(), endings_b.name());
        causes.push(Cause::whole(CauseId::TextLineEndings, detail));
        // Said once, line endings are left out of the lines, or every line would differ.
        old = old.into_iter().map(without_ending).collect();
        new = new.into_iter().map(without_ending).collect();
    }
    if ends_open(a) != ends_open(b) {
        let name = |open: bool| if open { "no newline at the end" } else { "newline at the end" };
        let detail = format!("{} → {}", name(ends_open(a)), name(ends_open(b)));
        causes.push(Cause::whole(CauseId::TextFinalNewline, detail));
    }
    causes.extend(pattern(&old, &new));
    let detail = compare_lines(&old, &new, meter);
    (causes, detail)
}

/// What all changes have in common.
fn pattern(old: &[&[u8]], new: &[&[u8]]) -> Option<Cause> {
    let same_but_endings = old.iter().zip(new).all(|(a, b)| without_ending(a) == without_ending(b));
    if old.len() != new.len() || same_but_endings {
        return None;
    }
    if old.iter().zip(new).all(|(a, b)| a.trim_ascii_end() == b.trim_ascii_end()) {
        return Some(Cause::whole(CauseId::TextWhitespace, "only blanks at the end of lines"));
    }
    let (mut sorted_old, mut sorted_new) = (old.to_vec(), new.to_vec());
    sorted_old.sort_unstable();
    sorted_new.sort_unstable();
    match sorted_old == sorted_new {
        true => Some(Cause::whole(CauseId::TextOrder, "the same lines in another order")),
        false => None,
    }
}

fn compare_lines(old: &[&[u8]], new: &[&[u8]], meter: &Meter) -> Detail {
    // Numbers compare faster than lines, and `similar` compares lines often.
    let mut numbers: HashMap<&[u8], usize> = HashMap::new();
    let mut number = |line| {
        let next = numbers.len();
        *numbers.entry(line).or_insert(next)
    };
    let old_numbers: Vec<usize> = old.iter().map(|line| number(*line)).collect();
    let new_numbers: Vec<usize> = new.iter().map(|line| number(*line)).collect();
    drop(numbers);
    let own_deadline = Instant::now() + DIFF_TIME_MAX;
    let deadline = meter.limits.deadline.map_or(own_deadline, |given| given.min(own_deadline));
    let ops =
        capture_diff_slices_deadline(Algorithm::Myers, &old_numbers, &new_numbers, Some(deadline));
    let (mut removed, mut added) = (0, 0);
    for op in &ops {
        if op.tag() != DiffTag::Equal {
            removed += op.old_range().len() as u64;
            added += op.new_range().len() as u64;
        }
    }
    let mut shown = Shown {
        lines_left: meter.limits.detail_lines_max,
        bytes_left: meter.limits.detail_bytes_max,
        changes: 0,
        full: false,
    };
    let mut hunks = Vec::new();
    for group in group_diff_ops(ops, CONTEXT_LINES) {
        if shown.full {
            break;
        }
        hunks.extend(hunk(&group, old, new, &mut shown));
    }
    Detail::Lines { removed, added, hunks, omitted: removed + added - shown.changes }
}

/// What may still be shown of one difference.
struct Shown {
    lines_left: u64,
    bytes_left: u64,
    changes: u64,
    full: bool,
}

impl Shown {
    fn take(&mut self, line: &str) -> bool {
        let bytes = line.len() as u64 + 1;
        if self.lines_left == 0 || self.bytes_left < bytes {
            self.full = true;
            return false;
        }
        self.lines_left -= 1;
        self.bytes_left -= bytes;
        true
    }
}

fn hunk(group: &[DiffOp], old: &[&[u8]], new: &[&[u8]], shown: &mut Shown) -> Option<Hunk> {
    let first = group.first()?;
    let mut hunk = Hunk {
        published_line: first.old_range().start as u64 + 1,
        rebuilt_line: first.new_range().start as u64 + 1,
        lines: Vec::new(),
    };
    for op in group {
        let equal = op.tag() == DiffTag::Equal;
        for line in &old[op.old_range()] {
            let line = show(line);
            if !shown.take(&line) {
                return Some(hunk);
            }
            shown.changes += u64::from(!equal);
            hunk.lines.push(if equal { Line::Same(line) } else { Line::Published(line) });
        }
        if equal {
            continue;
        }
        for line in &new[op.new_range()] {
            let line = show(line);
            if !shown.take(&line) {
                return Some(hunk);
            }
            shown.changes += 1;
            hunk.lines.push(Line::Rebuilt(line));
        }
    }
    Some(hunk)
}

/// The first lines of a text that only one side has.
pub(super) fn excerpt(content: &[u8], meter: &Meter) -> Detail {
    let limits = meter.limits;
    let mut shown = Shown {
        lines_left: limits.detail_lines_max / 4,
        bytes_left: limits.detail_bytes_max / 4,
        changes: 0,
        full: false,
    };
    let mut lines = Vec::new();
    let mut omitted = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if shown.full {
            omitted += 1;
            continue;
        }
        let line = show(line);
        match shown.take(&line) {
            true => lines.push(line),
            false => omitted += 1,
        }
    }
    Detail::Text { lines, omitted }
}

/// A line without its newline, as UTF-8 or else Latin-1.
fn show(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let text = match std::str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        Err(_) => line.iter().map(|byte| char::from(*byte)).collect(),
    };
    match text.char_indices().nth(LINE_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}… ({} bytes in this line)", &text[..end], line.len()),
    }
}

fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn without_ending(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn ends_open(text: &[u8]) -> bool {
    !text.is_empty() && !text.ends_with(b"\n")
}

/// How the lines of a text end.
struct Endings {
    lines: usize,
    with_return: usize,
}

impl Endings {
    fn of(text: &[u8]) -> Endings {
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        let with_return = text.windows(2).filter(|two| two == b"\r\n").count();
        Endings { lines, with_return }
    }

    fn name(&self) -> &'static str {
        match self.with_return {
            0 => "LF",
            count if count == self.lines => "CRLF",
            _ => "mixed",
        }
    }
}
