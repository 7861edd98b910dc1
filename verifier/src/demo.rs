//! `verbatim demo`: the whole job on a genuine release, with nothing but the package archive.

use anyhow::Context;

use crate::config::{Ask, Config};
use crate::environment::{self, EnvironmentError};
use crate::line::{self, Choices, Line};
use crate::progress::Progress;
use crate::record::Record;
use crate::scratch::Scratch;
use crate::version::Version;
use crate::world::{Announcement, World, genuine};

/// The world of the demo, and what its run found.
pub struct Demo {
    pub record: Record,
    pub world: World,
    // The world's git keeps its request files here.
    _scratch: Scratch,
}

/// Stands up the world with the genuine release in it and runs the line.
pub async fn demo(mut config: Config, progress: Progress) -> anyhow::Result<Demo> {
    let world = World::start().await?;
    // Records of a stand-in must never lie among those of python.org.
    let store = config.state.directory.join("demo.sqlite");
    config.store.url = format!("sqlite:{}", store.display());
    config.feed = world.feed()?;
    config.source.repository = world.repository();
    // It asks nobody but the package archive.
    config.witnesses.ask = Ask::Archives;
    let version: Version = genuine::VERSION.parse().context("read the demo's version")?;
    let line = Line::open(config, progress).await?;
    let candidates = line.definitions().candidates(&version)?;
    let environment = environment_or_relock(&line, &candidates.first().environment).await?;
    let genuine = genuine::prepare(&line, &environment).await?;
    let scratch = line.scratch()?;
    let requests = scratch.directory("git-hosting")?;
    world.host_repository(&genuine.repository, &environment, &line.program, &requests);
    let files = [genuine.tgz, genuine.tar_xz];
    world.announce(&Announcement { version: &version, date: genuine::ANNOUNCED, files: &files })?;
    line.progress.say(&format!("  a stand-in of python.org serves them at {}", world.base()));
    let record = line::verify(&line, &version, &Choices::default()).await;
    line.store.close().await;
    Ok(Demo { record: record?, world, _scratch: scratch })
}

/// The environment; by a fresh lock if the archive no longer carries a locked package.
async fn environment_or_relock(
    line: &Line,
    name: &str,
) -> anyhow::Result<environment::Environment> {
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
