//! Assembles a locked tree: fetches and unpacks packages at the same time, then adds the files
//! that no package has, then the wheels.

use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use crate::http::Client;

use super::assembly::Assembly;
use super::definition::{Lock, LockedPackage, LockedWheel, Requirement};
use super::fetch::{self, Meter};
use super::{
    Cache, EnvironmentError, PipOrder, Progress, Settings, Stage, Tool, blocking, environments,
    package, supply, wheel,
};

/// Packages on their way at once; also a bound on memory, each is held whole while it is unpacked.
const FETCHES_MAX: usize = 8;
/// Rank of the first package; the files we supply come before.
const RANK_FIRST: usize = 1;

/// What every step of an assembly needs.
pub struct Assembler<'a> {
    settings: &'a Settings,
    client: &'a Client,
    tool: &'a Tool,
    progress: &'a (dyn Fn(Progress) + Sync),
    cache: Cache,
}

impl<'a> Assembler<'a> {
    /// Nothing is done yet.
    pub fn new(
        settings: &'a Settings,
        client: &'a Client,
        tool: &'a Tool,
        progress: &'a (dyn Fn(Progress) + Sync),
    ) -> Assembler<'a> {
        let cache = Cache::new(&settings.state);
        Assembler { settings, client, tool, progress, cache }
    }

    /// A new tree with all packages and the files that no package has.
    pub async fn packages(&self, lock: &Lock) -> Result<Arc<Assembly>, EnvironmentError> {
        let environments = environments(self.settings);
        let assembly = Assembly::new(&environments, lock.name.as_str(), &lock.exclude)?;
        let assembly = Arc::new(assembly);
        let scratch = self.cache.scratch().context("make a directory in the cache")?;
        let total = lock.packages.iter().map(|package| package.size).sum();
        let meter = Meter::new(Stage::Packages, total, self.progress);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let unpackers = Semaphore::new(threads);
        let mut ranked: Vec<_> = lock.packages.iter().zip(RANK_FIRST..).collect();
        // The largest first, so that no processor is left alone with it at the end. The order of
        // unpacking has no influence on the tree.
        ranked.sort_by_key(|(package, _)| std::cmp::Reverse(package.size));
        let steps = ranked.into_iter().map(|(locked, rank)| {
            let (assembly, meter, unpackers) = (&assembly, &meter, &unpackers);
            let scratch = scratch.path();
            async move {
                let archives = &self.settings.archives;
                let (client, cache) = (self.client, &self.cache);
                let fetched =
                    fetch::package(locked, &lock.name, archives, client, cache, scratch, meter);
                let bytes = fetched.await?;
                unpack(locked, rank, bytes, assembly, unpackers).await?;
                Ok::<(), EnvironmentError>(())
            }
        });
        // Not lazily: the compiler could not tell that the whole may change threads.
        let steps: Vec<_> = steps.collect();
        stream::iter(steps).buffer_unordered(FETCHES_MAX).try_collect::<()>().await?;
        supply::add(&assembly)?;
        Ok(assembly)
    }

    /// Asks pip which file satisfies the requirement.
    pub async fn resolve_wheel(
        &self,
        requirement: &Requirement,
        assembly: &Assembly,
    ) -> anyhow::Result<LockedWheel> {
        wheel::resolve(requirement, &self.pip(), assembly, &self.cache, self.tool).await
    }

    /// Adds the locked wheels.
    pub async fn wheels(&self, lock: &Lock, assembly: &Assembly) -> Result<(), EnvironmentError> {
        let rank_first = RANK_FIRST + lock.packages.len();
        for (wheel, rank) in lock.wheels.iter().zip(rank_first..) {
            wheel::add(wheel, rank, &self.pip(), assembly, &self.cache, self.tool).await?;
        }
        Ok(())
    }

    fn pip(&self) -> PipOrder<'a> {
        PipOrder { indexes: &self.settings.indexes, pip: &self.settings.pip }
    }
}

async fn unpack(
    locked: &LockedPackage,
    rank: usize,
    deb: Vec<u8>,
    assembly: &Arc<Assembly>,
    unpackers: &Semaphore,
) -> anyhow::Result<()> {
    let _turn = unpackers.acquire().await.context("wait for a processor")?;
    let assembly = Arc::clone(assembly);
    let unpacked = blocking(move || package::unpack(&deb, &assembly, rank)).await;
    unpacked.with_context(|| format!("unpack package {} {}", locked.name, locked.version))
}
