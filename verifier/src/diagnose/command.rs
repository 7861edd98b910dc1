//! The command: what it is asked, and where the answer goes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::{diagnose, text};
use crate::cli::print;
use crate::config::Config;
use crate::line::Line;
use crate::progress::Progress;
use crate::version::Version;

/// What `verbatim diagnose` is asked.
#[derive(Args, Debug)]
pub struct DiagnoseArgs {
    version: Version,
    /// Print the diagnosis as JSON
    #[arg(long)]
    json: bool,
    /// Begin no trial after so many minutes
    #[arg(long, value_name = "N", default_value_t = 60)]
    minutes: u64,
}

/// Runs it: exit 0 explained or nothing to explain, 1 not explained.
pub async fn run(config: Config, args: &DiagnoseArgs) -> anyhow::Result<ExitCode> {
    let line = Line::open(config, Progress::to_stderr()).await?;
    let time = Duration::from_secs(args.minutes.saturating_mul(60));
    let diagnosis = diagnose(&line, &args.version, time).await;
    line.store.close().await;
    let diagnosis = diagnosis?;
    if args.json {
        let json = serde_json::to_string_pretty(&diagnosis).context("write the diagnosis")?;
        print(&(json + "\n"))?;
    } else {
        print(&text(&diagnosis))?;
    }
    Ok(ExitCode::from(diagnosis.exit_status()))
}
