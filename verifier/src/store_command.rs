//! `verbatim store`: a copy of the store, and one put in its place.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use crate::cli::print;
use crate::config::Config;
use crate::store;

/// What `verbatim store` is told.
#[derive(Subcommand, Debug)]
pub enum StoreCommand {
    /// Write the whole store to a new file, checked and consistent; the daemon may run
    Backup { file: PathBuf },
    /// Put a backup in the store's place, which is kept beside it; the daemon must not run
    Restore { file: PathBuf },
}

/// Runs it.
pub async fn run(config: &Config, command: &StoreCommand) -> anyhow::Result<ExitCode> {
    let path = config.store_path()?;
    match command {
        StoreCommand::Backup { file } => {
            let copied = store::back_up(&path, file).await;
            let copied = copied.with_context(|| format!("back up to {}", file.display()))?;
            print(&format!("{} records, {} bytes\n", copied.records, copied.bytes))?;
        }
        StoreCommand::Restore { file } => {
            let (copied, kept) = store::restore(file, &path).await.context("restore the store")?;
            print(&format!("{} records, {} bytes\n", copied.records, copied.bytes))?;
            if let Some(kept) = kept {
                print(&format!("the store before it is {}\n", kept.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
