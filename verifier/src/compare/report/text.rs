//! The text report, for terminals of 80 columns and less.

use super::super::difference::{Change, Comparison, Detail, Difference, Line, Note, Tier};
use super::escape::line as escaped;
use super::{cause_text, counts_text, formats_text, grouped, origin_text, sizes_text};

/// How a text report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to colour with ANSI escapes.
    pub colour: bool,
    /// Columns to wrap causes at.
    pub columns: usize,
}

impl Default for Style {
    fn default() -> Style {
        Style { colour: false, columns: 80 }
    }
}

#[derive(Clone, Copy)]
enum Ink {
    Plain,
    Bold,
    Red,
    Green,
    Cyan,
    Yellow,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Ink::Plain => "0",
            Ink::Bold => "1",
            Ink::Red => "31",
            Ink::Green => "32",
            Ink::Cyan => "36",
            Ink::Yellow => "33",
        }
    }
}

/// The report, at most `bytes_max` long: what does not fit is counted on its last line.
pub fn text(comparison: &Comparison, style: Style, bytes_max: u64) -> String {
    let mut page = Page { out: String::new(), style, bytes_max, dropped_lines: 0 };
    page.head(comparison);
    if let Some(node) = &comparison.difference {
        page.causes(node);
        page.notes(&node.notes, 0);
        page.origins(comparison);
        if let Some(detail) = &node.detail {
            page.line(Ink::Plain, 0, "");
            page.detail(detail, 0);
        }
        page.children(node, 0);
    }
    page.finish()
}

struct Page {
    out: String,
    style: Style,
    bytes_max: u64,
    dropped_lines: u64,
}

impl Page {
    fn finish(mut self) -> String {
        if self.dropped_lines > 0 {
            let count = grouped(self.dropped_lines);
            self.out.push_str(&format!("… {count} lines of this report were left out\n"));
        }
        self.out
    }

    fn line(&mut self, ink: Ink, indent: usize, line: &str) {
        if (self.out.len() + indent + line.len()) as u64 + 80 > self.bytes_max {
            self.dropped_lines += 1;
            return;
        }
        if !line.is_empty() {
            self.out.push_str(&" ".repeat(indent));
        }
        match (self.style.colour, ink) {
            (false, _) | (true, Ink::Plain) => self.out.push_str(line),
            (true, ink) => self.out.push_str(&format!("\x1b[{}m{line}\x1b[0m", ink.code())),
        }
        self.out.push('\n');
    }

    /// Breaks at blanks; what has none stays whole, so that names can be copied.
    fn wrapped(&mut self, ink: Ink, indent: usize, hanging: usize, text: &str) {
        let mut current = String::new();
        let mut indent_now = indent;
        for word in text.split(' ') {
            let width = indent_now + current.chars().count() + 1 + word.chars().count();
            if !current.is_empty() && width > self.style.columns {
                self.line(ink, indent_now, &current);
                current.clear();
                indent_now = hanging;
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        self.line(ink, indent_now, &current);
    }

    fn head(&mut self, comparison: &Comparison) {
        let (word, ink) = match comparison.tier {
            Tier::Bitwise => ("identical", Ink::Green),
            Tier::Payload => ("identical inside", Ink::Yellow),
            Tier::Replayed => ("identical once replayed", Ink::Yellow),
            Tier::Contents => ("same contents", Ink::Yellow),
            Tier::Different => ("different", Ink::Red),
        };
        let name = escaped(&comparison.published.name);
        self.line(ink, 0, &format!("{name}: {word} (tier {})", comparison.tier.as_str()));
        for (side, artifact) in
            [("published", &comparison.published), ("rebuilt  ", &comparison.rebuilt)]
        {
            let sha256 = artifact.sha256.to_string();
            let line =
                format!("{side}  {:>12} bytes  sha256 {}…", grouped(artifact.size), &sha256[..32]);
            self.line(Ink::Plain, 2, &line);
        }
        if comparison.tier != Tier::Bitwise {
            self.line(Ink::Plain, 0, "");
            self.wrapped(Ink::Bold, 0, 2, &escaped(&comparison.summary));
        }
    }

    fn causes(&mut self, node: &Difference) {
        if node.causes.is_empty() {
            return;
        }
        self.line(Ink::Plain, 0, "");
        self.line(Ink::Bold, 0, "causes (published → rebuilt)");
        for cause in &node.causes {
            let line = format!("{:<17} {}", cause.cause.as_str(), escaped(&cause_text(cause)));
            self.wrapped(Ink::Plain, 2, 20, &line);
        }
    }

    fn notes(&mut self, notes: &[Note], indent: usize) {
        for note in notes {
            let side = note.side.map_or("", |side| side.as_str());
            let colon = if side.is_empty() { "" } else { ": " };
            let line = format!("! {side}{colon}{}", escaped(&note.text));
            self.wrapped(Ink::Yellow, indent + 2, indent + 4, &line);
        }
    }

    fn origins(&mut self, comparison: &Comparison) {
        let count = comparison.unexplained.len() as u64 + comparison.unexplained_omitted;
        if count == 0 {
            return;
        }
        const SHOWN_MAX: usize = 10;
        self.line(Ink::Plain, 0, "");
        let traced = match comparison.explanation {
            Some(_) => "neither the tag nor a step of the recipe accounts for them",
            None => "the rebuilt side does not have them like this",
        };
        self.wrapped(
            Ink::Red,
            0,
            2,
            &format!("unexplained: {} published, {traced}", grouped(count)),
        );
        for path in comparison.unexplained.iter().take(SHOWN_MAX) {
            self.line(Ink::Plain, 2, &escaped(path));
        }
        if count > SHOWN_MAX as u64 {
            let more = grouped(count - SHOWN_MAX as u64);
            self.line(Ink::Plain, 2, &format!("… {more} more"));
        }
    }

    fn children(&mut self, node: &Difference, indent: usize) {
        for child in &node.children {
            self.line(Ink::Plain, 0, "");
            self.child(child, indent);
        }
        if node.children_omitted > 0 {
            let line = format!("… {} more members differ", grouped(node.children_omitted));
            self.line(Ink::Yellow, indent, &line);
        }
    }

    fn child(&mut self, node: &Difference, indent: usize) {
        let (word, ink) = match &node.change {
            Change::OnlyPublished => ("only published", Ink::Red),
            Change::OnlyRebuilt => ("only rebuilt", Ink::Green),
            Change::Renamed(_) => ("renamed", Ink::Cyan),
            Change::Changed | Change::Metadata => ("changed", Ink::Bold),
        };
        let mut title = format!("{word}: {}", escaped(&node.path));
        if let Change::Renamed(to) = &node.change {
            title.push_str(&format!(" → {}", escaped(to)));
        }
        if let Some(origin) = &node.origin {
            title.push_str(&format!("  [{}]", escaped(&origin_text(origin))));
        }
        self.line(ink, indent, &title);
        let mut facts = vec![formats_text(&node.formats), sizes_text(node)];
        facts.extend(node.detail.as_ref().map(counts_text));
        facts.retain(|fact| !fact.is_empty());
        if !facts.is_empty() {
            self.wrapped(Ink::Plain, indent + 2, indent + 4, &facts.join(", "));
        }
        for cause in &node.causes {
            let line = format!("{} {}", cause.cause.as_str(), escaped(&cause_text(cause)));
            self.wrapped(Ink::Plain, indent + 2, indent + 4, &line);
        }
        self.notes(&node.notes, indent);
        if let Some(detail) = &node.detail {
            self.detail(detail, indent + 2);
        }
        self.children(node, indent + 2);
    }

    fn detail(&mut self, detail: &Detail, indent: usize) {
        match detail {
            Detail::Lines { hunks, omitted, .. } => {
                for hunk in hunks {
                    let title = format!(
                        "@@ published {}, rebuilt {} @@",
                        hunk.published_line, hunk.rebuilt_line
                    );
                    self.line(Ink::Cyan, indent, &title);
                    for line in &hunk.lines {
                        match line {
                            Line::Same(text) => {
                                self.line(Ink::Plain, indent, &format!(" {}", escaped(text)))
                            }
                            Line::Published(text) => {
                                self.line(Ink::Red, indent, &format!("-{}", escaped(text)))
                            }
                            Line::Rebuilt(text) => {
                                self.line(Ink::Green, indent, &format!("+{}", escaped(text)))
                            }
                        }
                    }
                }
                self.omitted(*omitted, "changed lines", indent);
            }
            Detail::Bytes { windows, omitted, .. } => {
                for window in windows {
                    self.line(
                        Ink::Cyan,
                        indent,
                        &format!("@@ offset {} @@", grouped(window.offset)),
                    );
                    self.hex(Ink::Red, '-', &window.published, indent);
                    self.hex(Ink::Green, '+', &window.rebuilt, indent);
                }
                self.omitted(*omitted, "differing bytes", indent);
            }
            Detail::Text { lines, omitted } => {
                for line in lines {
                    self.line(Ink::Plain, indent, &format!("| {}", escaped(line)));
                }
                self.omitted(*omitted, "lines", indent);
            }
            Detail::Head { hex, omitted } => {
                self.hex(Ink::Plain, '|', hex, indent);
                self.omitted(*omitted, "bytes", indent);
            }
            // The counts above the detail have said it.
            Detail::Omitted { .. } => {}
        }
    }

    fn omitted(&mut self, count: u64, noun: &str, indent: usize) {
        if count > 0 {
            self.line(Ink::Yellow, indent, &format!("… {} more {noun}", grouped(count)));
        }
    }

    /// Sixteen bytes a line, as hexadecimal and as ASCII: 68 columns.
    fn hex(&mut self, ink: Ink, mark: char, hex: &str, indent: usize) {
        for row in super::hex_rows(hex) {
            self.line(ink, indent, &format!("{mark} {:<39} {}", row.hex, row.ascii));
        }
    }
}
