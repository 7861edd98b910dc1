//! The other door: runs one command of ours in an environment's tree.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::PathBuf;

use crate::container::{Layout, Scratch, environment};
use crate::error::While;
use crate::rebuild::failure_of;
use crate::run::{INPUT, Run, deadline, measured, run};
use crate::watch::Ended;
use crate::{OperatingError, ToolOrder, ToolRun};

/// Of standard error, this much is kept.
const STDERR_BYTES_MAX: usize = 8 << 10;

/// Runs `order.command` in `/work`. That it exits with another status than 0 is for the caller to
/// judge; that it reaches a limit is an error.
///
/// Beside `order.work` appears `<work>.container` for as long as this runs. To be called from a
/// process with a single thread, see [`crate::tool_main`].
pub fn tool(order: &ToolOrder) -> Result<ToolRun, OperatingError> {
    let Some(program) = order.command.first() else {
        return Err(OperatingError::InvalidOrder("the tool has no command".to_string()));
    };
    let scratch = Scratch::beside(&order.work)?;
    let stdout = File::create(&order.stdout)
        .while_trying(|| format!("create {}", order.stdout.display()))?;
    let mut mounts = order.mounts.clone();
    mounts.extend(order.stdin.as_ref().map(checked_input).transpose()?);

    let mut stderr = VecDeque::new();
    let tool_run = Run {
        name: program,
        layout: Layout { root: &order.root, work: &order.work, mounts, network: order.network },
        scratch: &scratch,
        command: order.command.clone(),
        // Not below /work: what is there afterwards is the tool's result and nothing else.
        environment: environment("/tmp", &order.environment),
        has_input: order.stdin.is_some(),
        stdout: Some(stdout),
        limits: &order.limits,
        deadline: deadline(&order.limits),
        measured: measured(&order.work, &scratch),
    };
    let finished = run(tool_run, &mut |bytes| {
        stderr.extend(bytes);
        let excess = stderr.len().saturating_sub(STDERR_BYTES_MAX);
        stderr.drain(..excess);
        Ok(())
    })?;

    let stderr = String::from_utf8_lossy(stderr.make_contiguous()).into_owned();
    match finished.ended {
        Ended::Exited(code) => Ok(ToolRun { code, stderr }),
        Ended::Signalled(signal) => Ok(ToolRun { code: 128 + signal, stderr }),
        Ended::Reached(_) => Err(match failure_of(program, finished.ended, &order.limits) {
            Some(failure) => OperatingError::ToolLimit { program: program.clone(), failure },
            None => OperatingError::Killed { command: program.clone() },
        }),
    }
}

fn checked_input(path: &PathBuf) -> Result<(PathBuf, String), OperatingError> {
    let metadata = fs::metadata(path).while_trying(|| format!("read {}", path.display()))?;
    if !metadata.is_file() {
        return Err(OperatingError::InvalidOrder(format!("{} is not a file", path.display())));
    }
    Ok((path.clone(), INPUT.to_string()))
}
