//! The commands of an operator: `serve`, `export`, `token`, `alarm`, `config check`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::print;
use crate::compare::report::printable;
use crate::config::Config;
use crate::daemon::{self, Daemon, Reload};
use crate::line::Line;
use crate::progress::Progress;
use crate::publish::export;
use crate::server::{self, Gate, Local, Site};
use crate::store::{Scope, Store};
use crate::supervisor;

/// The longest name of a token's owner, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Every connection of the server, and as many files again.
const OPEN_FILES: u64 = 2_400;

/// `verbatim serve`: until `interrupted`.
pub async fn serve(
    config: Config,
    reload: Reload,
    interrupted: impl Future<Output = &'static str>,
) -> anyhow::Result<ExitCode> {
    allow_files()?;
    let daemon = Daemon::new(Line::open(config, Progress::to_stderr()).await?).await?;
    let hangups = daemon::hangups()?;
    until(interrupted, &daemon, |stopping| async {
        let reloads = daemon::follow_hangups(&daemon, &reload, hangups, stopping.clone());
        tokio::try_join!(served(&daemon, stopping), reloads)?;
        Ok(())
    })
    .await
}

/// `verbatim serve --once`: one round.
pub async fn serve_once(
    config: Config,
    interrupted: impl Future<Output = &'static str>,
) -> anyhow::Result<ExitCode> {
    let mut interrupted = std::pin::pin!(interrupted);
    let beginning = async { Daemon::new(Line::open(config, Progress::to_stderr()).await?).await };
    let daemon = tokio::select! {
        // Nothing is promised to anybody yet.
        _ = &mut interrupted => return Ok(ExitCode::SUCCESS),
        daemon = beginning => daemon?,
    };
    until(interrupted, &daemon, |stopping| daemon.once(stopping)).await
}

/// Does the work, and tells it to stop when somebody wants the program to end.
async fn until<W: Future<Output = anyhow::Result<()>>>(
    interrupted: impl Future<Output = &'static str>,
    daemon: &Daemon,
    work: impl FnOnce(watch::Receiver<bool>) -> W,
) -> anyhow::Result<ExitCode> {
    let (stop, stopping) = watch::channel(false);
    let mut work = std::pin::pin!(work(stopping));
    let ended = tokio::select! {
        // In this order: whoever hears that the daemon serves may end it at once.
        biased;
        signal = interrupted => {
            tracing::info!("{signal}: stopping");
            supervisor::stopping();
            // Nobody listening is nobody to stop.
            let _ = stop.send(true);
            work.await
        }
        ended = &mut work => ended,
    };
    daemon.line.store.close().await;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// A thousand clients are a thousand open files, and many machines allow 1,024 unless asked.
fn allow_files() -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("look at the limit of files")?;
    let wanted = OPEN_FILES.min(hard).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).context("raise the limit of open files")
}

/// The daemon with its server. Standard output says where it is, for whoever started it.
pub(crate) async fn served(daemon: &Daemon, stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
    let wanted = daemon.line.config.server.listen;
    let listener = TcpListener::bind(wanted)
        .await
        .with_context(|| format!("listen on server.listen {wanted}"))?;
    print(&format!("listening on http://{}\n", listener.local_addr()?))?;
    supervisor::ready();
    let mut told = stopping.clone();
    let shutdown = async move {
        // Nobody left who could tell it is the same as being told.
        let _ = told.wait_for(|stop| *stop).await;
    };
    let server = server::serve(daemon.site(), listener, shutdown);
    tokio::try_join!(server, daemon.run(stopping))?;
    Ok(())
}

/// `verbatim export`: may run while the daemon works.
pub async fn export(config: Config, directory: &Path) -> anyhow::Result<ExitCode> {
    let store = open(&config).await?;
    let state = &config.state.directory;
    let site = Site {
        store: store.snapshot().await?,
        journals: daemon::journals(state),
        reports: daemon::reports(state),
        elsewhere: config.elsewhere(),
        gate: Arc::new(Gate::new(&config.server)),
        settings: Arc::new(config.server.clone()),
        wake: Arc::default(),
        health: Arc::new(Vec::new),
        uncovered: Arc::new(|_| None),
        allowance: Arc::new(move || config.feed.requests_per_day),
    };
    let (shown, server) = (site.shown(), Local::new(site));
    let done = export::export(directory, &shown, async |path| server.get(path).await)
        .await
        .with_context(|| format!("export to {}", directory.display()))?;
    shown.store.close().await;
    store.close().await;
    print(&format!(
        "{} files written, {} the same as before, {} removed\n",
        done.written, done.same, done.removed
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// `verbatim config check`: a configuration that was read is right, but for what only using it
/// shows.
pub fn check(config: &Config) -> anyhow::Result<ExitCode> {
    config.store_path()?;
    for webhook in &config.webhooks {
        webhook.key()?;
    }
    let state = &config.state.directory;
    std::fs::create_dir_all(state)
        .with_context(|| format!("make state.directory {}", state.display()))?;
    tempfile::NamedTempFile::new_in(state)
        .with_context(|| format!("write to state.directory {}", state.display()))?;
    if config.environment.archives.is_empty() {
        bail!("environment.archives is empty, and this machine's apt names no archive");
    }
    print("the configuration is right\n")?;
    Ok(ExitCode::SUCCESS)
}

/// `verbatim token add`.
pub async fn add_token(config: &Config, name: &str, scope: Scope) -> anyhow::Result<ExitCode> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        bail!("a token's name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
    }
    let token = server::fresh_token()?;
    let store = open(config).await?;
    let id = store.add_token(name, scope, &token).await?;
    store.close().await;
    print(&format!("{token}\n"))?;
    tracing::info!("token {id} is kept");
    Ok(ExitCode::SUCCESS)
}

/// `verbatim token list`.
pub async fn list_tokens(config: &Config) -> anyhow::Result<ExitCode> {
    let store = open(config).await?;
    let mut text = String::new();
    for token in store.tokens().await? {
        let scope = match token.scope {
            Scope::Request => "request",
            Scope::Operate => "operate",
        };
        let until = token.revoked.map(|at| format!("  revoked {at:.0}")).unwrap_or_default();
        let name = printable(&token.name);
        text.push_str(&format!("{}  {scope}  {:.0}  {name}{until}\n", token.id, token.created));
    }
    store.close().await;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// `verbatim token revoke`.
pub async fn revoke_token(config: &Config, id: &str) -> anyhow::Result<ExitCode> {
    let store = open(config).await?;
    let known = store.revoke_token(id).await?;
    store.close().await;
    if !known {
        bail!("revoke token {id:?}: there is none with this id; see verbatim token list");
    }
    Ok(ExitCode::SUCCESS)
}

/// `verbatim alarm list`.
pub async fn list_alarms(config: &Config) -> anyhow::Result<ExitCode> {
    let store = open(config).await?;
    let mut text = String::new();
    for alarm in store.alarms().await? {
        let line = format!(
            "{}  {:.0}  {:?}  {}: {}",
            alarm.id, alarm.opened, alarm.kind, alarm.subject, alarm.detail
        );
        text.push_str(&(printable(&line) + "\n"));
    }
    store.close().await;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// `verbatim alarm clear`.
pub async fn clear_alarm(config: &Config, id: i64) -> anyhow::Result<ExitCode> {
    let store = open(config).await?;
    let open = store.clear_alarm(id).await?;
    store.close().await;
    if !open {
        bail!("clear alarm {id}: no such alarm is open; see verbatim alarm list");
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(config: &Config) -> anyhow::Result<Store> {
    Store::open(&config.store_path()?).await
}
