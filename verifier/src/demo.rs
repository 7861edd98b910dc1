//! `verbatim demo`: the whole job on a genuine release, with nothing but the package archive.

mod dashboard;

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::{Ask, Config};
use crate::environment::{Environment, EnvironmentError};
use crate::line::{self, Choices, Line};
use crate::progress::Progress;
use crate::record::Record;
use crate::scratch::Scratch;
use crate::version::Version;
use crate::world::genuine::{self, Genuine};
use crate::world::{Announcement, World};

pub use dashboard::dashboard;

/// The stand-in of python.org with the genuine release in it, and a line that is set up for it.
struct Stage {
    line: Line,
    environment: Environment,
    genuine: Genuine,
    world: World,
    // What only this run needs; its own store among it.
    scratch: Scratch,
}

/// Runs the line once on the genuine release.
pub async fn once(config: Config, progress: Progress) -> anyhow::Result<Record> {
    let stage = set(config, progress).await?;
    let requests = stage.scratch.directory("git-hosting")?;
    let (line, repository) = (&stage.line, &stage.genuine.repository);
    stage.world.host_repository(repository, &stage.environment, &line.program, &requests);
    let record = line::verify(line, &version()?, &Choices::default()).await;
    line.store.close().await;
    record
}

/// Prepares the genuine release and announces it.
async fn set(mut config: Config, progress: Progress) -> anyhow::Result<Stage> {
    let place = config.state.directory.join("scratch");
    let scratch = Scratch::new(&place, "demo");
    let scratch = scratch.with_context(|| format!("make work in {}", place.display()))?;
    let world = World::start().await?;
    config.state.directory = state(&config.state.directory, &scratch)?;
    config.store.url = String::new();
    config.feed = world.feed()?;
    config.source.repository = world.repository();
    // It asks nobody but the package archive.
    config.witnesses.ask = Ask::Archives;
    let line = Line::open(config, progress).await?;
    let version = version()?;
    let candidates = line.definitions().candidates(&version)?;
    let environment = environment_or_relock(&line, &candidates.first().environment).await?;
    let genuine = genuine::prepare(&line, &environment).await?;
    let files = [genuine.tgz.clone(), genuine.tar_xz.clone()];
    world.announce(&Announcement { version: &version, date: genuine::ANNOUNCED, files: &files })?;
    line.progress.say(&format!("  a stand-in of python.org serves them at {}", world.base()));
    Ok(Stage { line, environment, genuine, world, scratch })
}

/// A state directory of its own: records of a stand-in must never lie among those of python.org.
/// What costs time to make is shared.
fn state(lasting: &Path, scratch: &Scratch) -> anyhow::Result<PathBuf> {
    let own = scratch.directory("state")?;
    for shared in ["cache", "environments", "genuine", "locks"] {
        let place = lasting.join(shared);
        std::fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
        std::os::unix::fs::symlink(&place, own.join(shared)).context("share what is made once")?;
    }
    Ok(own)
}

fn version() -> anyhow::Result<Version> {
    genuine::VERSION.parse().context("read the demo's version")
}

/// The environment; by a fresh lock if the archive no longer carries a locked package.
async fn environment_or_relock(line: &Line, name: &str) -> anyhow::Result<Environment> {
    let error = match line.environment(name).await {
        Ok(environment) => return Ok(environment),
        Err(error) => error,
    };
    let gone = error.chain().find_map(|cause| cause.downcast_ref::<EnvironmentError>());
    let Some(EnvironmentError::Gone { .. }) = gone else { return Err(error) };
    line.progress.say(&format!("  {error:#}"));
    line.progress.say("  so a fresh lock is made in the state directory");
    line.lock(name, None).await?;
    line.environment(name).await
}
