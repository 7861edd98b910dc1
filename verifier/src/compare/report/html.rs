//! The HTML report: one file, no script, nothing fetched. `<details>` open where something differs,
//! each member and line has an anchor, colours follow the reader's light or dark setting, and
//! nothing is told by colour alone.

use super::super::difference::{Change, Comparison, Detail, Difference, Hunk, Line, Note};
use super::escape::line as escaped;
use super::{
    cause_text, counts_text, formats_text, grouped, hex_rows, origin_text, sizes_text, tier_words,
};

/// Looks; kept beside this file so that it can be read and edited as what it is.
const STYLE_SHEET: &str = include_str!("report.css");
/// Members that are open at first; of many, the reader picks.
const OPEN_MAX: u64 = 20;

/// How a text difference is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Published and rebuilt lines in one column.
    Unified,
    /// Published left, rebuilt right.
    SideBySide,
}

/// The report, at most `bytes_max` long: members lose their content, then their line, and a note
/// counts them.
pub fn html(comparison: &Comparison, layout: Layout, bytes_max: u64) -> String {
    let mut page = Page { out: String::new(), layout, bytes_max, anchor: 0, cut: 0 };
    page.head(comparison);
    if let Some(node) = &comparison.difference {
        page.causes(node);
        page.notes(&node.notes);
        page.unexplained(comparison);
        if let Some(detail) = &node.detail {
            page.detail(detail, "whole");
        }
        page.children(node);
    }
    page.finish()
}

struct Page {
    out: String,
    layout: Layout,
    bytes_max: u64,
    anchor: u64,
    /// Members that did not fit.
    cut: u64,
}

impl Page {
    fn push(&mut self, html: &str) {
        self.out.push_str(html);
    }

    /// Whether `bytes` more leave room for the page's end.
    fn has_room(&self, bytes: usize) -> bool {
        ((self.out.len() + bytes) as u64).saturating_add(2_000) < self.bytes_max
    }

    fn head(&mut self, comparison: &Comparison) {
        let name = text(&comparison.published.name);
        let (words, tier) = (tier_words(comparison.tier), comparison.tier.as_str());
        self.push("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        self.push("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        self.push("<meta name=\"color-scheme\" content=\"light dark\">\n");
        // Nothing in here may load or run, whatever an archive managed to smuggle in.
        self.push(concat!(
            "<meta http-equiv=\"Content-Security-Policy\" ",
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        ));
        self.push(&format!("<title>{name}: {words}</title>\n<style>\n{STYLE_SHEET}</style>\n"));
        self.push("</head>\n<body>\n<main>\n");
        self.push(&format!("<h1><code>{name}</code></h1>\n"));
        self.push(&format!("<p class=\"verdict {tier}\">{words}</p>\n"));
        self.push(&format!("<p class=\"summary\">{}</p>\n", text(&comparison.summary)));
        self.push("<table class=\"sides\">\n<thead><tr><th scope=\"col\">side</th>");
        self.push(
            "<th scope=\"col\">bytes</th><th scope=\"col\">sha256</th></tr></thead>\n<tbody>\n",
        );
        for (side, artifact) in
            [("published", &comparison.published), ("rebuilt", &comparison.rebuilt)]
        {
            self.push(&format!(
                "<tr><th scope=\"row\">{side}</th><td class=\"number\">{}</td>\
                 <td><code>{}</code></td></tr>\n",
                grouped(artifact.size),
                artifact.sha256
            ));
        }
        self.push("</tbody></table>\n");
    }

    fn causes(&mut self, node: &Difference) {
        if node.causes.is_empty() {
            return;
        }
        self.push("<h2 id=\"causes\">Causes <small>published → rebuilt</small></h2>\n");
        self.cause_list(node);
    }

    fn cause_list(&mut self, node: &Difference) {
        self.push("<dl class=\"causes\">\n");
        for cause in &node.causes {
            self.push(&format!(
                "<div><dt><code title=\"{}\">{}</code></dt><dd>{}</dd></div>\n",
                text(cause.cause.meaning()),
                cause.cause.as_str(),
                text(&cause_text(cause))
            ));
        }
        self.push("</dl>\n");
    }

    fn notes(&mut self, notes: &[Note]) {
        for note in notes {
            let side = note.side.map_or(String::new(), |side| format!("{}: ", side.as_str()));
            self.push(&format!(
                "<p class=\"note\" role=\"note\">⚠ {side}{}</p>\n",
                text(&note.text)
            ));
        }
    }

    fn unexplained(&mut self, comparison: &Comparison) {
        const SHOWN_MAX: usize = 50;
        let count = comparison.unexplained.len() as u64 + comparison.unexplained_omitted;
        if count == 0 {
            return;
        }
        let why = match comparison.explanation {
            Some(_) => {
                "neither the tag nor a step of the recipe accounts for these published members"
            }
            None => "the rebuilt side does not have these published members like this",
        };
        self.push(&format!("<h2 id=\"unexplained\">Unexplained: {}</h2>\n", grouped(count)));
        self.push(&format!("<p>{why}</p>\n<ul class=\"unexplained\">\n"));
        for path in comparison.unexplained.iter().take(SHOWN_MAX) {
            self.push(&format!("<li><code>{}</code></li>\n", text(path)));
        }
        if count > SHOWN_MAX as u64 {
            self.push(&format!("<li>… {} more</li>\n", grouped(count - SHOWN_MAX as u64)));
        }
        self.push("</ul>\n");
    }

    fn children(&mut self, node: &Difference) {
        if node.children.is_empty() && node.children_omitted == 0 {
            return;
        }
        let total = node.children.len() as u64 + node.children_omitted;
        self.push(&format!("<h2 id=\"members\">Members that differ: {}</h2>\n", grouped(total)));
        for child in &node.children {
            self.child(child);
        }
        self.omitted(node.children_omitted, "members differ");
    }

    fn child(&mut self, node: &Difference) {
        let reserve = node.path.len() * 12 + 1_500;
        if !self.has_room(reserve) {
            self.cut += 1;
            return;
        }
        self.anchor += 1;
        let id = format!("m{}", self.anchor);
        let (word, class) = match &node.change {
            Change::OnlyPublished => ("only published", "published"),
            Change::OnlyRebuilt => ("only rebuilt", "rebuilt"),
            Change::Renamed(_) => ("renamed", "renamed"),
            Change::Changed | Change::Metadata => ("changed", "changed"),
        };
        let open = if self.anchor <= OPEN_MAX { " open" } else { "" };
        let mut title =
            format!("<span class=\"word {class}\">{word}</span> <code>{}</code>", text(&node.path));
        if let Change::Renamed(to) = &node.change {
            title.push_str(&format!(" → <code>{}</code>", text(to)));
        }
        if let Some(origin) = &node.origin {
            title.push_str(&format!(
                " <span class=\"origin\">{}</span>",
                text(&origin_text(origin))
            ));
        }
        let mut facts = vec![formats_text(&node.formats), sizes_text(node)];
        facts.extend(node.detail.as_ref().map(counts_text));
        facts.retain(|fact| !fact.is_empty());
        title.push_str(&format!(" <span class=\"facts\">{}</span>", text(&facts.join(", "))));
        // Beside the summary: that is a button, and assistive technology shows no link in a button.
        self.push(&format!(
            "<div class=\"member\"><a class=\"anchor\" href=\"#{id}\" \
             aria-label=\"link to this member\">#</a>\n"
        ));
        self.push(&format!("<details id=\"{id}\"{open}><summary>{title}</summary>\n"));
        if !node.causes.is_empty() {
            self.cause_list(node);
        }
        self.notes(&node.notes);
        if let Some(detail) = &node.detail {
            self.detail(detail, &id);
        }
        for child in &node.children {
            self.child(child);
        }
        self.omitted(node.children_omitted, "members differ");
        self.push("</details></div>\n");
    }

    fn omitted(&mut self, count: u64, noun: &str) {
        if count > 0 {
            self.push(&format!("<p class=\"note\">… {} more {noun}</p>\n", grouped(count)));
        }
    }

    fn detail(&mut self, detail: &Detail, id: &str) {
        match detail {
            Detail::Lines { hunks, omitted, .. } => {
                let mut left_out = *omitted;
                for hunk in hunks {
                    let rendered = match self.layout {
                        Layout::Unified => unified(hunk, id),
                        Layout::SideBySide => side_by_side(hunk, id),
                    };
                    if self.has_room(rendered.len()) {
                        self.push(&rendered);
                    } else {
                        let same = |line: &&Line| matches!(line, Line::Same(_));
                        let lines = hunk.lines.len() - hunk.lines.iter().filter(same).count();
                        left_out += lines as u64;
                    }
                }
                self.omitted(left_out, "changed lines");
            }
            Detail::Bytes { windows, omitted, .. } => {
                for window in windows {
                    let mut block = format!(
                        "<p class=\"place\">offset {}</p>\n<pre class=\"hex\">",
                        grouped(window.offset)
                    );
                    for (tag, mark, digits) in
                        [("del", '-', &window.published), ("ins", '+', &window.rebuilt)]
                    {
                        for row in hex_rows(digits) {
                            let line = format!("{mark} {:<39} {}", row.hex, row.ascii);
                            block.push_str(&format!("<{tag}>{}</{tag}>\n", text(&line)));
                        }
                    }
                    self.fitting(&format!("{block}</pre>\n"));
                }
                self.omitted(*omitted, "differing bytes");
            }
            Detail::Text { lines, omitted } => {
                let shown: Vec<String> = lines.iter().map(|line| text(line)).collect();
                self.fitting(&format!("<pre>{}</pre>\n", shown.join("\n")));
                self.omitted(*omitted, "lines");
            }
            Detail::Head { hex, omitted } => {
                let rows = hex_rows(hex).into_iter();
                let rows: Vec<String> =
                    rows.map(|row| text(&format!("{:<39} {}", row.hex, row.ascii))).collect();
                self.fitting(&format!("<pre class=\"hex\">{}</pre>\n", rows.join("\n")));
                self.omitted(*omitted, "bytes");
            }
            Detail::Omitted { count, unit } => {
                self.push(&format!(
                    "<p class=\"note\">… {} {unit} not shown</p>\n",
                    grouped(*count)
                ));
            }
        }
    }

    fn fitting(&mut self, block: &str) {
        match self.has_room(block.len()) {
            true => self.push(block),
            false => self.push("<p class=\"note\">… not shown: the report is full</p>\n"),
        }
    }

    fn finish(mut self) -> String {
        if self.cut > 0 {
            let cut = grouped(self.cut);
            self.push(&format!(
                "<p class=\"note\">… {cut} more members did not fit into this report</p>\n"
            ));
        }
        self.push("</main>\n</body>\n</html>\n");
        self.out
    }
}

/// One column: line numbers of both sides, a mark, the line.
fn unified(hunk: &Hunk, id: &str) -> String {
    let mut table = String::from(
        "<table class=\"diff\"><thead class=\"unseen\"><tr><th scope=\"col\">published line</th>\
         <th scope=\"col\">rebuilt line</th><th scope=\"col\">text</th></tr></thead><tbody>\n",
    );
    let (mut a, mut b) = (hunk.published_line, hunk.rebuilt_line);
    for line in &hunk.lines {
        let row = match line {
            Line::Same(content) => {
                a += 1;
                b += 1;
                format!(
                    "<tr>{}{}<td> {}</td></tr>\n",
                    anchor(id, 'a', a - 1),
                    anchor(id, 'b', b - 1),
                    text(content)
                )
            }
            Line::Published(content) => {
                a += 1;
                format!(
                    "<tr class=\"published\">{}<td></td><td>-<del>{}</del></td></tr>\n",
                    anchor(id, 'a', a - 1),
                    text(content)
                )
            }
            Line::Rebuilt(content) => {
                b += 1;
                format!(
                    "<tr class=\"rebuilt\"><td></td>{}<td>+<ins>{}</ins></td></tr>\n",
                    anchor(id, 'b', b - 1),
                    text(content)
                )
            }
        };
        table.push_str(&row);
    }
    table.push_str("</tbody></table>\n");
    table
}

fn anchor(id: &str, side: char, number: u64) -> String {
    format!(
        "<td class=\"number\">\
         <a id=\"{id}{side}{number}\" href=\"#{id}{side}{number}\">{number}</a></td>"
    )
}

/// Two columns: runs of published lines stand beside the rebuilt lines that follow them.
fn side_by_side(hunk: &Hunk, id: &str) -> String {
    let mut table = String::from(
        "<table class=\"diff sides\"><thead class=\"unseen\"><tr><th scope=\"col\">line</th>\
         <th scope=\"col\">published</th><th scope=\"col\">line</th>\
         <th scope=\"col\">rebuilt</th></tr></thead><tbody>\n",
    );
    let (mut a, mut b) = (hunk.published_line, hunk.rebuilt_line);
    let mut lines = hunk.lines.iter().peekable();
    while let Some(line) = lines.peek() {
        if let Line::Same(content) = line {
            let content = text(content);
            table.push_str(&format!(
                "<tr>{}<td>{content}</td>{}<td>{content}</td></tr>\n",
                anchor(id, 'a', a),
                anchor(id, 'b', b)
            ));
            a += 1;
            b += 1;
            lines.next();
            continue;
        }
        let (mut left, mut right) = (Vec::new(), Vec::new());
        while let Some(Line::Published(content)) = lines.peek() {
            left.push(content);
            lines.next();
        }
        while let Some(Line::Rebuilt(content)) = lines.peek() {
            right.push(content);
            lines.next();
        }
        for position in 0..left.len().max(right.len()) {
            let old = left.get(position).map(|content| {
                a += 1;
                format!(
                    "{}<td class=\"published\">-<del>{}</del></td>",
                    anchor(id, 'a', a - 1),
                    text(content)
                )
            });
            let new = right.get(position).map(|content| {
                b += 1;
                format!(
                    "{}<td class=\"rebuilt\">+<ins>{}</ins></td>",
                    anchor(id, 'b', b - 1),
                    text(content)
                )
            });
            let empty = || "<td></td><td></td>".to_owned();
            table.push_str(&format!(
                "<tr>{}{}</tr>\n",
                old.unwrap_or_else(empty),
                new.unwrap_or_else(empty)
            ));
        }
    }
    table.push_str("</tbody></table>\n");
    table
}

/// Text of an element or of a quoted attribute.
fn text(content: &str) -> String {
    let mut out = String::with_capacity(content.len());
    for character in escaped(content).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character => out.push(character),
        }
    }
    out
}
