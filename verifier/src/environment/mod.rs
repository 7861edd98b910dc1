//! The environment: a pinned Debian tree in which recipes and tools run.
//!
//! Three doors. [`lock`] resolves names against an archive index whose signature it checks;
//! [`build`] assembles the locked tree, or finds it assembled; [`export`] writes it as an OCI
//! image. The tree is the same on every machine, for root and ordinary users: the lock names its
//! digest, and [`build`] gives no other.
//!
//! It promises that no maintainer script and no file of a package runs on the host, that nothing
//! is used before its hash was checked, that two processes may work in one state directory at the
//! same time, and that a killed one leaves nothing that the next does not clean up.

mod archive;
mod assemble;
mod assembly;
mod cache;
mod closure;
mod definition;
mod fetch;
mod index;
mod machine;
mod oci;
mod package;
mod signature;
mod supply;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod wheel;

use std::path::{Path, PathBuf};
use std::pin::Pin;

use anyhow::Context;
use rebuilder::{Digest, ToolOrder, ToolRun};
use url::Url;

use crate::http::{Client, bare};
use crate::scratch;

pub use definition::{
    ArchivePath, EnvironmentSpec, InvalidText, Lock, LockedPackage, LockedWheel, Requirement,
    TreePath, WheelFile, Word,
};
pub use machine::{PipSettings, machine_archives, machine_pip};
pub use oci::export;

use assemble::Assembler;
use cache::Cache;
use fetch::Meter;
use wheel::PipOrder;

/// Directory of the assembled trees, below the state directory.
const ENVIRONMENTS: &str = "environments";

/// Where things come from and where they are kept; from the config file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URLs of Debian archives, tried in order.
    pub archives: Vec<Url>,
    /// Simple Python indexes; empty means what `pip` says.
    pub indexes: Vec<Url>,
    /// The host's own pip settings.
    pub pip: PipSettings,
    /// The archive's OpenPGP keyring.
    pub keyring: PathBuf,
    /// The state directory.
    pub state: PathBuf,
}

/// An assembled tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name: `debian-13`.
    pub name: String,
    /// Digest of the tree.
    pub digest: Digest,
    /// Where it is. Nobody may write below.
    pub root: PathBuf,
}

/// How far a door is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Bytes that are there.
    pub done_bytes: u64,
    /// Bytes that there will be.
    pub total_bytes: u64,
}

/// What a door is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Fetching the archive's index.
    Index,
    /// Fetching packages and unpacking them on the way.
    Packages,
}

/// Runs a command in a tree: the process door, `rebuilder::tool` in a process of its own.
pub type Tool = dyn Fn(ToolOrder) -> ToolFuture + Send + Sync;
/// What a [`Tool`] gives.
pub type ToolFuture = Pin<Box<dyn Future<Output = anyhow::Result<ToolRun>> + Send>>;

/// Why there is no environment. Always operating trouble, never a result.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// Archives drop a package when a newer version replaces it.
    #[error(
        "no archive has package {name} {version} of environment {environment} any more: make a \
         new lock with `verbatim environment lock {environment}`"
    )]
    Gone { name: Word, version: Word, environment: Word },
    /// Nothing that the keyring vouches for.
    #[error("the signature of {url} is refused: {reason} (keyring {})", keyring.display())]
    BadSignature { url: String, reason: String, keyring: PathBuf },
    /// No archive has the suite.
    #[error("none of the archives ({}) has {suite}: set environment.archives", join(archives))]
    NoSuite { suite: Word, archives: Vec<Url> },
    /// The lock was made by other rules of assembly, or by somebody else's archive.
    #[error(
        "environment {environment} assembles to {found}, but its lock says {locked}: make a new \
         lock with `verbatim environment lock {environment}`"
    )]
    OtherTree { environment: Word, locked: Digest, found: Digest },
    /// Everything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn join(urls: &[Url]) -> String {
    urls.iter().map(bare).collect::<Vec<_>>().join(", ")
}

/// Resolves the spec against the archive, assembles the tree and says what went into it.
pub async fn lock(
    spec: &EnvironmentSpec,
    settings: &Settings,
    client: &Client,
    tool: &Tool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Lock, EnvironmentError> {
    let (date, packages) = archive::packages(spec, settings, client, progress).await?;
    let mut lock = Lock {
        name: spec.name.clone(),
        suite: spec.suite.clone(),
        architecture: spec.architecture.clone(),
        date,
        // Not known before it is assembled.
        tree: Digest::of(b""),
        exclude: spec.exclude.clone(),
        packages: closure::resolve(spec, &packages)?,
        wheels: Vec::new(),
    };
    drop(packages);
    let assembler = Assembler::new(settings, client, tool, progress);
    let assembly = assembler.packages(&lock).await?;
    for requirement in &spec.wheels {
        lock.wheels.push(assembler.resolve_wheel(requirement, &assembly).await?);
    }
    for (directory, requirement) in &spec.beside {
        let wheel = assembler.resolve_wheel(requirement, &assembly).await?;
        lock.wheels.push(LockedWheel { directory: Some(directory.clone()), ..wheel });
    }
    lock.wheels.sort_by(|a, b| (&a.name, &a.directory).cmp(&(&b.name, &b.directory)));
    assembler.wheels(&lock, &assembly).await?;
    lock.tree = assembly.finish()?;
    assembly.install(&environments(settings), lock.tree)?;
    Ok(lock)
}

/// The locked tree: the one that is there, if it is intact, or else a newly assembled one.
pub async fn build(
    lock: &Lock,
    settings: &Settings,
    client: &Client,
    tool: &Tool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Environment, EnvironmentError> {
    let place = environments(settings).join(lock.tree.to_string());
    let environment = |root| Environment { name: lock.name.to_string(), digest: lock.tree, root };
    let (found, digest, state) = (place.clone(), lock.tree, settings.state.clone());
    let is_intact = blocking(move || {
        scratch::sweep(&state.join(ENVIRONMENTS)).context("sweep the environments")?;
        Cache::new(&state).sweep().context("sweep the cache")?;
        tree::is_intact(&found, digest)
    });
    if is_intact.await? {
        return Ok(environment(place));
    }
    let assembler = Assembler::new(settings, client, tool, progress);
    let assembly = assembler.packages(lock).await?;
    assembler.wheels(lock, &assembly).await?;
    let found = assembly.finish()?;
    if found != lock.tree {
        let (environment, locked) = (lock.name.clone(), lock.tree);
        return Err(EnvironmentError::OtherTree { environment, locked, found });
    }
    Ok(environment(assembly.install(&environments(settings), found)?))
}

/// Certificate authorities for a tool that uses the network: the host's bundle, which may hold one
/// of its own, or else the tree's. Gives what to mount, and the bundle's path inside.
pub fn certificates(host: Option<&Path>) -> (Vec<(PathBuf, String)>, &'static str) {
    const OF_THE_HOST: &str = "/host/ca-certificates.crt";
    match host {
        Some(bundle) => (vec![(bundle.to_owned(), OF_THE_HOST.to_owned())], OF_THE_HOST),
        None => (Vec::new(), "/etc/ssl/certs/ca-certificates.crt"),
    }
}

/// The bytes of any other file of the archive, by digest; kept in the same cache.
pub async fn fetch(
    file: &LockedPackage,
    settings: &Settings,
    client: &Client,
) -> Result<Vec<u8>, EnvironmentError> {
    let cache = Cache::new(&settings.state);
    let scratch = cache.scratch().context("make a directory for a download")?;
    let meter = Meter::new(Stage::Packages, file.size, &|_| {});
    fetch::package(file, &file.name, &settings.archives, client, &cache, scratch.path(), &meter)
        .await
}

/// The date of a suite's signed index and its Sources.xz, from the first archive that has the
/// suite; signature and digest are checked on the way.
pub async fn sources(
    suite: &Word,
    component: &Word,
    settings: &Settings,
    client: &Client,
) -> Result<(jiff::Timestamp, Vec<u8>), EnvironmentError> {
    archive::sources(suite, component, settings, client).await
}

fn environments(settings: &Settings) -> PathBuf {
    settings.state.join(ENVIRONMENTS)
}

/// Runs work that keeps a processor or a disk busy where it stops no other task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("work in the background")?
}
