//! What a person sees while the line runs: one line a stage, on standard error.
//!
//! On a terminal each stage is a line with bytes, rate and time that is redrawn; elsewhere a plain
//! line when it ends. Nothing is ever written to standard output here. The daemon's jobs are shown
//! in their journals instead.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::http::without_secrets;
use crate::journal::{Journal, Kind};

/// Where stages are shown.
#[derive(Clone, Debug)]
pub struct Progress {
    bars: Option<Arc<MultiProgress>>,
    journal: Option<Journal>,
}

/// One stage; a line of its own.
#[derive(Debug)]
pub struct Stage {
    name: String,
    progress: Progress,
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Progress {
    /// Redrawn lines on a terminal, plain ones elsewhere.
    pub fn to_stderr() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress { bars: terminal.then(|| Arc::new(MultiProgress::new())), journal: None }
    }

    /// Lines of a journal.
    pub fn to_journal(journal: Journal) -> Progress {
        Progress { bars: None, journal: Some(journal) }
    }

    /// Does `work`, and shows what appears in `log` meanwhile where that is wanted.
    pub async fn following<T>(&self, log: &Path, work: impl Future<Output = T>) -> T {
        match &self.journal {
            Some(journal) => journal.following(log, work).await,
            None => work.await,
        }
    }

    /// Begins a stage.
    pub fn stage(&self, name: &str) -> Stage {
        if let Some(journal) = &self.journal {
            journal.write(Kind::Stage, name);
        }
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::no_length());
            bar.set_style(style("{spinner} {prefix:<38} {elapsed:>5} {msg}"));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Stage { name: name.to_owned(), progress: self.clone(), bar, started: Instant::now() }
    }

    /// Says one thing between the stages.
    pub fn say(&self, text: &str) {
        let text = &*without_secrets(text);
        match (&self.journal, &self.bars) {
            (Some(journal), _) => journal.write(Kind::Stage, text.trim()),
            (None, Some(bars)) => {
                // A terminal that went away is no reason to stop.
                let _ = bars.println(text);
            }
            (None, None) => eprintln!("{text}"),
        }
    }
}

impl Stage {
    /// The stage will see `bytes`.
    pub fn total(&self, bytes: u64) {
        let Some(bar) = &self.bar else { return };
        bar.set_length(bytes);
        bar.set_style(style(
            "{spinner} {prefix:<38} {elapsed:>5} {binary_bytes}/{binary_total_bytes} \
             {binary_bytes_per_sec}",
        ));
    }

    /// It has seen `bytes` so far.
    pub fn bytes(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }

    /// What it is at.
    pub fn at(&self, text: &str) {
        if let Some(journal) = &self.progress.journal {
            journal.write(Kind::Stage, &format!("{}: {text}", self.name));
        }
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// It is over; `text` says how it went.
    pub fn done(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let line = format!("  {:<38} {seconds:>6.1} s  {text}", self.name);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        // Above the lines that are still redrawn: there it stays.
        self.progress.say(&line);
    }
}

fn style(template: &str) -> ProgressStyle {
    // Invariant: the templates are the literals of this file.
    ProgressStyle::with_template(template).expect("a built-in template parses")
}
