//! Reports: pure functions from a [`Comparison`] to text, JSON, Markdown and HTML. The same
//! comparison gives the same bytes. Names and content are hostile and escaped for each medium.

mod escape;
mod html;
mod json;
mod markdown;
mod text;

pub use escape::line as printable;
pub use html::{Layout, html};
pub use json::json;
pub use markdown::{COMMENT_BYTES_MAX, markdown};
pub use text::{Style, text};

pub use super::cause::grouped;
use super::cause::{Cause, CauseId};
use super::difference::{Detail, Difference, Format, Origin, Tier};

/// The tier for people.
pub(super) fn tier_words(tier: Tier) -> &'static str {
    match tier {
        Tier::Bitwise => "identical",
        Tier::Payload => "identical inside, other compression",
        Tier::Replayed => "identical once metadata is replayed",
        Tier::Contents => "same contents, other metadata",
        Tier::Different => "different",
    }
}

/// `1 member`, `2 members`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", grouped(number)),
    }
}

/// One line about a whole comparison.
pub(super) fn summary(tier: Tier, causes: &[Cause], members: u64) -> String {
    let lines: Vec<String> = causes.iter().map(brief).collect();
    let shown = match lines.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one}; {two}"),
        [one, two, rest @ ..] => {
            format!("{one}; {two}; {}", counted(rest.len() as u64, "more cause"))
        }
    };
    match tier {
        Tier::Bitwise => "identical".into(),
        Tier::Payload => format!("identical inside, only the compression differs: {shown}"),
        Tier::Replayed => format!("identical once metadata is replayed: {shown}"),
        Tier::Contents => {
            format!("the same {}, other metadata: {shown}", counted(members, "member"))
        }
        Tier::Different if shown.is_empty() => "the content differs".into(),
        Tier::Different => shown,
    }
}

fn brief(cause: &Cause) -> String {
    let text = cause_text(cause);
    match cause.cause {
        // These say in words what their ids say.
        CauseId::MemberRemoved
        | CauseId::MemberAdded
        | CauseId::MemberRenamed
        | CauseId::MemberChanged => text,
        id => format!("{} {text}", id.as_str()),
    }
}

/// The line of a cause without its id.
pub fn cause_text(cause: &Cause) -> String {
    let examples = match cause.examples.len() as u64 {
        0 => String::new(),
        shown if shown < cause.members => format!(": {}, …", cause.examples.join(", ")),
        _ => format!(": {}", cause.examples.join(", ")),
    };
    let members = grouped(cause.members);
    match cause.cause {
        CauseId::MemberRemoved | CauseId::MemberAdded | CauseId::MemberRenamed => {
            format!("{} {}{examples}", counted(cause.members, "member"), cause.detail)
        }
        CauseId::MemberChanged => format!("{members} {}{examples}", cause.detail),
        CauseId::TarOrder | CauseId::ZipOrder => {
            format!("{}: {members} of {} moved", cause.detail, counted(cause.of, "member"))
        }
        _ if cause.of == 0 => cause.detail.clone(),
        _ => {
            // Naming members helps while they are few.
            let few = cause.members <= 5 && cause.members < cause.of;
            let examples = if few { examples } else { String::new() };
            let of = grouped(cause.of);
            let detail = &cause.detail;
            let blank = if detail.is_empty() { "" } else { " " };
            format!("{detail}{blank}on {members} of {of} members{examples}")
        }
    }
}

/// `xz > tar`, `text`.
pub(super) fn formats_text(formats: &[Format]) -> String {
    formats.iter().map(|format| format.as_str()).collect::<Vec<_>>().join(" > ")
}

/// Where a published member comes from, in words.
pub(super) fn origin_text(origin: &Origin) -> String {
    match origin {
        Origin::Git => "as in git".into(),
        Origin::Step(step) => format!("made by step {step}"),
        Origin::RemovedBy(step) => format!("in git, removed by step {step}, yet published"),
        Origin::Unexplained => "UNEXPLAINED".into(),
    }
}

/// Sizes of both sides of a node.
pub(super) fn sizes_text(node: &Difference) -> String {
    let size = |bytes: u64| format!("{} bytes", grouped(bytes));
    match (&node.published, &node.rebuilt) {
        (Some(a), Some(b)) if a.size == b.size => size(a.size),
        (Some(a), Some(b)) => format!("{} → {}", grouped(a.size), size(b.size)),
        (Some(one), None) | (None, Some(one)) => size(one.size),
        (None, None) => String::new(),
    }
}

/// Counts of a detail: `1 line removed, 2 added`.
pub(super) fn counts_text(detail: &Detail) -> String {
    match detail {
        Detail::Lines { removed, added, .. } => {
            format!("−{} +{} lines", grouped(*removed), grouped(*added))
        }
        Detail::Bytes { changed, common_prefix, .. } => {
            format!(
                "{} differ, first at offset {}",
                counted(*changed, "byte"),
                grouped(*common_prefix)
            )
        }
        Detail::Text { lines, omitted } => counted(lines.len() as u64 + omitted, "line"),
        Detail::Head { .. } => String::new(),
        Detail::Omitted { count, unit } => format!("{} {unit} not shown", grouped(*count)),
    }
}

/// Sixteen bytes for a reader.
pub(super) struct HexRow {
    /// In groups of two bytes.
    pub(super) hex: String,
    /// Printable ASCII, dots for the rest.
    pub(super) ascii: String,
}

/// Splits hexadecimal digits into rows.
pub(super) fn hex_rows(digits: &str) -> Vec<HexRow> {
    let bytes = hex::decode(digits).unwrap_or_default();
    let rows = bytes.chunks(16).map(|row| {
        let groups: Vec<String> = row.chunks(2).map(hex::encode).collect();
        let ascii = row.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        });
        HexRow { hex: groups.join(" "), ascii: ascii.collect() }
    });
    rows.collect()
}
