//! `verbatim compare`: the compare room alone, for any two files or directories.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::compare::{Limits, Tier, compare, report};
use crate::config;

/// Bytes of one text report, which somebody scrolls through; JSON and HTML have
/// `Limits::report_bytes_max`.
const TEXT_BYTES_MAX: u64 = 256_000;

/// Compare two files or directories and say why they differ.
///
/// Exit status: 0 identical, 1 different, 2 trouble. FILE may be "-" for standard output; without
/// any report option, the text goes there.
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    /// The published file or directory
    published: PathBuf,
    /// The rebuilt file or directory
    rebuilt: PathBuf,
    /// Write the text report to FILE
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Write the JSON report to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the HTML report to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the Markdown report to FILE
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Show both sides of a text next to each other in the HTML report
    #[arg(long)]
    side_by_side: bool,
    /// Show everything, however large the reports become
    #[arg(long)]
    everything: bool,
}

/// Runs the command; the exit status.
pub fn run(args: &CompareArgs) -> i32 {
    match try_run(args) {
        Ok(Tier::Bitwise) => 0,
        Ok(_) => 1,
        Err(error) => {
            eprintln!("verbatim compare: {error:#}");
            2
        }
    }
}

fn try_run(args: &CompareArgs) -> anyhow::Result<Tier> {
    let mut limits = Limits::default();
    if args.everything {
        limits = limits.showing_everything();
    }
    let comparison = compare(&args.published, &args.rebuilt, None, &limits)?;
    let text_bytes_max = if args.everything { u64::MAX } else { TEXT_BYTES_MAX };
    if let Some(path) = &args.json {
        write(path, &report::json(&comparison, limits.report_bytes_max))?;
    }
    if let Some(path) = &args.html {
        let layout = match args.side_by_side {
            true => report::Layout::SideBySide,
            false => report::Layout::Unified,
        };
        write(path, &report::html(&comparison, layout, limits.report_bytes_max))?;
    }
    if let Some(path) = &args.markdown {
        let bytes_max = if args.everything { u64::MAX } else { report::COMMENT_BYTES_MAX };
        write(path, &report::markdown(&comparison, bytes_max))?;
    }
    if let Some(path) = &args.text {
        let style =
            if path == Path::new("-") { terminal_style() } else { report::Style::default() };
        write(path, &report::text(&comparison, style, text_bytes_max))?;
    }
    if is_without_report(args) {
        write(Path::new("-"), &report::text(&comparison, terminal_style(), text_bytes_max))?;
    }
    Ok(comparison.tier)
}

fn is_without_report(args: &CompareArgs) -> bool {
    [&args.text, &args.json, &args.html, &args.markdown].into_iter().all(Option::is_none)
}

/// Colours on a terminal, unless NO_COLOR says otherwise; see no-color.org.
fn terminal_style() -> report::Style {
    let colour = io::stdout().is_terminal() && !config::wants_no_colour();
    report::Style { colour, columns: config::columns().unwrap_or(80).clamp(40, 200) }
}

fn write(path: &Path, report: &str) -> anyhow::Result<()> {
    if path != Path::new("-") {
        return fs::write(path, report).with_context(|| format!("write {}", path.display()));
    }
    match io::stdout().lock().write_all(report.as_bytes()) {
        // A pager that was closed has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("write to standard output"),
    }
}
