//! The demo's dashboard: the daemon at work on the genuine release and on made-up ones, one for
//! every state that there is.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;

use crate::cli::print;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::line::Line;
use crate::operate;
use crate::progress::Progress;
use crate::queue::{Job, JobState};
use crate::record::Record;
use crate::store::{NOTICE, Store, notice_of};
use crate::version::Version;
use crate::world::{genuine, made_up};

/// What stands on every page.
const EVERYWHERE: &str = "A demo on this machine: python.org is a stand-in on loopback. Of its \
    releases 3.13.5 alone is genuine; those of series 3.99 are made up to show every state.";
/// The daemon looks back to this day: the genuine release is of 2025-06-11.
const SINCE: &str = "2025-06-01T00:00:00Z";
/// Progress is looked for this often.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Serves the dashboard until `interrupted`; gives the genuine release's record.
pub async fn dashboard(
    config: Config,
    progress: Progress,
    interrupted: impl Future<Output = &'static str>,
) -> anyhow::Result<Record> {
    let mut interrupted = std::pin::pin!(interrupted);
    let stage = tokio::select! {
        stage = super::set(config, progress) => stage?,
        signal = &mut interrupted => bail!("stopped by {signal}; nothing is judged"),
    };
    let mut line = stage.line.clone();
    let made = async {
        let repository = &stage.genuine.repository;
        let (line, environment) = (&stage.line, &stage.environment);
        made_up::announce(&stage.world, line, environment, repository, &stage.scratch).await
    };
    tokio::select! {
        made = made => made?,
        signal = &mut interrupted => bail!("stopped by {signal}; nothing is judged"),
    }
    line.config.feed.since = Some(SINCE.parse().context("read the demo's first day")?);
    // Whoever reaches loopback may try it.
    line.config.server.anonymous_requests = true;
    let store = line.store.clone();
    label(&store).await?;
    let record = shown(line, interrupted).await;
    store.close().await;
    record
}

/// Says of every release what it is.
async fn label(store: &Store) -> anyhow::Result<()> {
    store.set_fact(NOTICE, EVERYWHERE).await?;
    let genuine: Version = genuine::VERSION.parse().context("read the demo's version")?;
    let note = "the genuine release, as Debian's source package carries it";
    store.set_fact(&notice_of(&genuine), note).await?;
    for made_up in &made_up::ALL {
        let version: Version = made_up.version.parse().context("read a made-up version")?;
        store.set_fact(&notice_of(&version), made_up.note).await?;
    }
    Ok(())
}

/// The daemon and its server, and a line on the terminal for whatever comes out.
async fn shown(
    line: Line,
    interrupted: impl Future<Output = &'static str>,
) -> anyhow::Result<Record> {
    let store = line.store.clone();
    let daemon = Daemon::new(line).await?;
    let (stop, stopping) = watch::channel(false);
    let mut serving = std::pin::pin!(operate::served(&daemon, stopping));
    tokio::select! {
        ended = &mut serving => ended?,
        ended = narrate(&store) => ended?,
        _ = interrupted => {
            // Nobody listening is nobody to stop.
            let _ = stop.send(true);
            serving.await?;
        }
    }
    let version: Version = genuine::VERSION.parse().context("read the demo's version")?;
    let record = store.newest_of(&version).await?;
    record.with_context(|| format!("stopped before {version} was judged; nothing is judged"))
}

/// Says what every release came to, as it happens.
async fn narrate(store: &Store) -> anyhow::Result<()> {
    let mut seen = 0;
    let mut said: Vec<(String, String)> = Vec::new();
    let mut complete = false;
    loop {
        for change in store.changes(seen, 100).await? {
            seen = change.seq;
            say(&mut said, &change.version.to_string(), change.status.replace('_', " "))?;
        }
        let live = store.live_jobs(100).await?;
        for job in &live {
            if let Some(state) = paused(job) {
                say(&mut said, &job.version.to_string(), state)?;
            }
        }
        let genuine = said.iter().any(|(version, _)| version == genuine::VERSION);
        let settled = live.iter().all(|job| paused(job).is_some());
        if genuine && settled && !complete {
            complete = true;
            print("every state can be seen now; Ctrl-C ends the demo\n")?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What keeps a job from its verdict, other than its turn.
fn paused(job: &Job) -> Option<String> {
    let queued = matches!(job.state, JobState::Queued | JobState::Parked);
    let waiting = job.waiting.as_ref().map(|reason| format!("waiting: {reason}"));
    let trouble = || job.error.as_ref().map(|error| format!("trouble of ours: {error}"));
    waiting.or_else(trouble).filter(|_| queued)
}

/// One line a release and state, once each.
fn say(said: &mut Vec<(String, String)>, version: &str, state: String) -> anyhow::Result<()> {
    let line = (version.to_owned(), state);
    if said.contains(&line) {
        return Ok(());
    }
    print(&format!("  {:<8} {}\n", line.0, line.1))?;
    said.push(line);
    Ok(())
}
