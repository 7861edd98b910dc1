//! The Markdown report: fits the comment of an issue, so it is short and folds its differences.

use super::super::difference::{Change, Comparison, Detail, Difference, Line, Tier};
use super::escape::line as escaped;
use super::{
    cause_text, counts_text, formats_text, grouped, hex_rows, origin_text, sizes_text, tier_words,
};

/// What code hosts accept as one comment.
pub const COMMENT_BYTES_MAX: u64 = 65_000;
/// Lines of one difference.
const DETAIL_LINES_MAX: usize = 60;
/// Room for the line that says what was left out.
const RESERVE_BYTES: usize = 200;

/// The report, at most `bytes_max` long.
pub fn markdown(comparison: &Comparison, bytes_max: u64) -> String {
    let name = inline(&comparison.published.name);
    let mut out = format!("### {name}: {}\n\n", tier_words(comparison.tier));
    out.push_str("| side | bytes | sha256 |\n|---|---:|---|\n");
    for (side, artifact) in [("published", &comparison.published), ("rebuilt", &comparison.rebuilt)]
    {
        out.push_str(&format!("| {side} | {} | `{}` |\n", grouped(artifact.size), artifact.sha256));
    }
    let Some(node) = &comparison.difference else { return out };
    if comparison.tier != Tier::Bitwise {
        out.push_str("\n| cause | published → rebuilt |\n|---|---|\n");
    }
    for cause in &node.causes {
        let text = inline(&cause_text(cause));
        out.push_str(&format!("| `{}` | {text} |\n", cause.cause.as_str()));
    }
    for note in &node.notes {
        let side = note.side.map_or("both sides", |side| side.as_str());
        out.push_str(&format!("\n**{side}**: {}\n", inline(&note.text)));
    }
    unexplained(comparison, &mut out);
    if let Some(detail) = &node.detail {
        out.push_str(&fenced(detail));
    }
    let room = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_sub(RESERVE_BYTES);
    let mut left_out = node.children_omitted;
    for child in &node.children {
        let section = member(child);
        if left_out == node.children_omitted && out.len() + section.len() <= room {
            out.push_str(&section);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        out.push_str(&format!("\n… {} more members differ.\n", grouped(left_out)));
    }
    cut(out, bytes_max)
}

fn unexplained(comparison: &Comparison, out: &mut String) {
    const SHOWN_MAX: usize = 20;
    let count = comparison.unexplained.len() as u64 + comparison.unexplained_omitted;
    if count == 0 {
        return;
    }
    out.push_str(&format!("\n**Unexplained** in the published file: {}\n\n", grouped(count)));
    for path in comparison.unexplained.iter().take(SHOWN_MAX) {
        out.push_str(&format!("- {}\n", code(path)));
    }
    if count > SHOWN_MAX as u64 {
        out.push_str(&format!("- … {} more\n", grouped(count - SHOWN_MAX as u64)));
    }
}

fn member(node: &Difference) -> String {
    let word = match &node.change {
        Change::OnlyPublished => "only published",
        Change::OnlyRebuilt => "only rebuilt",
        Change::Renamed(_) => "renamed",
        Change::Changed | Change::Metadata => "changed",
    };
    let mut title = format!("{word}: <code>{}</code>", inline(&node.path));
    if let Change::Renamed(to) = &node.change {
        title.push_str(&format!(" → <code>{}</code>", inline(to)));
    }
    if let Some(origin) = &node.origin {
        title.push_str(&format!(" — {}", inline(&origin_text(origin))));
    }
    let mut facts = vec![formats_text(&node.formats), sizes_text(node)];
    facts.extend(node.detail.as_ref().map(counts_text));
    facts.retain(|fact| !fact.is_empty());
    title.push_str(&format!(" ({})", facts.join(", ")));
    let mut body = String::new();
    for cause in &node.causes {
        body.push_str(&format!("- `{}` {}\n", cause.cause.as_str(), inline(&cause_text(cause))));
    }
    for note in &node.notes {
        body.push_str(&format!("- {}\n", inline(&note.text)));
    }
    body.push_str(&node.detail.as_ref().map(fenced).unwrap_or_default());
    for child in &node.children {
        body.push_str(&member(child));
    }
    if node.children_omitted > 0 {
        body.push_str(&format!("\n… {} more members differ.\n", grouped(node.children_omitted)));
    }
    match body.is_empty() {
        true => format!("\n- {title}\n"),
        false => format!("\n<details><summary>{title}</summary>\n\n{body}\n</details>\n"),
    }
}

/// A code block whose fence is longer than any run of backticks inside it.
fn fenced(detail: &Detail) -> String {
    let (language, lines, omitted) = detail_lines(detail);
    if lines.is_empty() {
        return String::new();
    }
    let hidden = lines.len().saturating_sub(DETAIL_LINES_MAX) as u64 + omitted;
    let shown: Vec<String> =
        lines.iter().take(DETAIL_LINES_MAX).map(|line| escaped(line)).collect();
    let longest = shown.iter().map(|line| longest_run(line)).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let mut block = format!("\n{fence}{language}\n{}\n{fence}\n", shown.join("\n"));
    if hidden > 0 {
        block.push_str(&format!("\n… {} more lines\n", grouped(hidden)));
    }
    block
}

fn detail_lines(detail: &Detail) -> (&'static str, Vec<String>, u64) {
    match detail {
        Detail::Lines { hunks, omitted, .. } => {
            let mut lines = Vec::new();
            for hunk in hunks {
                lines.push(format!("@@ -{} +{} @@", hunk.published_line, hunk.rebuilt_line));
                lines.extend(hunk.lines.iter().map(|line| match line {
                    Line::Same(text) => format!(" {text}"),
                    Line::Published(text) => format!("-{text}"),
                    Line::Rebuilt(text) => format!("+{text}"),
                }));
            }
            ("diff", lines, *omitted)
        }
        Detail::Bytes { windows, .. } => {
            let mut lines = Vec::new();
            for window in windows {
                lines.push(format!("@@ offset {} @@", window.offset));
                for (mark, digits) in [('-', &window.published), ('+', &window.rebuilt)] {
                    let rows = hex_rows(digits).into_iter();
                    lines.extend(rows.map(|row| format!("{mark}{:<39} {}", row.hex, row.ascii)));
                }
            }
            ("diff", lines, 0)
        }
        Detail::Text { lines, omitted } => ("text", lines.clone(), *omitted),
        Detail::Head { hex, .. } => {
            let rows = hex_rows(hex).into_iter();
            ("text", rows.map(|row| format!("{:<39} {}", row.hex, row.ascii)).collect(), 0)
        }
        Detail::Omitted { .. } => ("text", Vec::new(), 0),
    }
}

fn longest_run(line: &str) -> usize {
    line.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

/// Text between other Markdown or HTML: nothing in it marks anything up, mentions anybody or opens
/// a tag. Entities, because they mean the same inside and outside of HTML blocks (CommonMark,
/// section 2.5), where backslashes do not.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for character in escaped(text).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' | '@' | '#' | '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => {
                out.push_str(&format!("&#{};", u32::from(character)));
            }
            character => out.push(character),
        }
    }
    out
}

/// A code span, whatever backticks the text has.
fn code(text: &str) -> String {
    let text = escaped(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    match text.starts_with('`') || text.ends_with('`') {
        true => format!("{fence} {text} {fence}"),
        false => format!("{fence}{text}{fence}"),
    }
}

/// The last resort: causes alone can be too long when names are.
fn cut(mut out: String, bytes_max: u64) -> String {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if out.len() > bytes_max {
        let end = out.floor_char_boundary(bytes_max.saturating_sub(RESERVE_BYTES));
        out.truncate(end);
        out.push_str("\n\n… the rest of this report was left out.\n");
    }
    out
}
