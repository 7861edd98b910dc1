//! SIGHUP: the configuration is read again. What can change while the daemon runs does; what
//! cannot is named in the log. A configuration with a mistake in it changes nothing.

use std::fmt;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch as signal_of;

use super::{Daemon, stopped};
use crate::config::Config;
use crate::logging::{self, Level};
use crate::supervisor;

/// How the configuration is read again.
pub struct Reload {
    /// As it was read when the program began.
    pub load: Box<dyn Fn() -> anyhow::Result<Config> + Send + Sync>,
    /// How often `-v` was given: it holds on.
    pub verbose: u8,
}

impl fmt::Debug for Reload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reload").field("verbose", &self.verbose).finish_non_exhaustive()
    }
}

/// From now on SIGHUP does not end the program.
pub fn hangups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("listen for SIGHUP")
}

/// Reads the configuration again whenever SIGHUP comes; ends when told to.
pub async fn follow(
    daemon: &Daemon,
    reload: &Reload,
    mut hangups: Signal,
    mut stop: signal_of::Receiver<bool>,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            Some(()) = hangups.recv() => {}
            () = stopped(&mut stop) => return Ok(()),
        }
        supervisor::reloading();
        if let Err(error) = again(daemon, reload) {
            tracing::error!("SIGHUP: nothing is changed: {error:#}");
        }
        supervisor::ready();
    }
}

fn again(daemon: &Daemon, reload: &Reload) -> anyhow::Result<()> {
    let reloaded = daemon.current().line.config.reloaded(&(reload.load)()?)?;
    logging::set_level(Level::of(reload.verbose, reloaded.config.log.level));
    daemon.gate.set(&reloaded.config.server);
    daemon.config.send_replace(reloaded.config);
    // What an operator did is said at every level but the quietest.
    for change in &reloaded.changed {
        tracing::warn!("SIGHUP: changed {change}");
    }
    for change in &reloaded.restart {
        tracing::warn!("SIGHUP: not changed, it needs a restart: {change}");
    }
    if reloaded.changed.is_empty() && reloaded.restart.is_empty() {
        tracing::warn!("SIGHUP: the configuration is what it was");
    }
    Ok(())
}
