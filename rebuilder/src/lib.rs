//! Runs foreign code: a [`BuildDefinition`] and its inputs in, a [`Rebuild`] out.
//!
//! This crate is the untrusted half of Verbatim. It runs in a process of its own (`verbatim
//! rebuild`, `verbatim tool`), enters a container for every command, and promises that the
//! container's whole process tree is gone when a door returns.
//!
//! It knows no published file or digest, no key, no database and no python.org, so a rebuild
//! cannot be faked by copying what is expected. It opens no socket itself; a [`ToolOrder`] may
//! let the tool inside the container use the host's network.

mod child;
mod rebuild;
mod tool;

mod definition;
mod digest;
mod error;
mod order;

mod container;
mod init;
mod run;
mod seccomp;
mod watch;

mod cgroup;
mod disk;
mod log;
mod processes;
mod trace;

pub use child::{rebuild_main, tool_main};
pub use definition::{
    BuildDefinition, ExternalParameters, InternalParameters, Limits, ResolvedDependency, Step,
};
pub use digest::{Artifact, Digest, HashingReader, InvalidDigest};
pub use disk::remove_tree;
pub use error::OperatingError;
pub use order::{
    BuildFailure, Event, Network, Outcome, Rebuild, RebuildOrder, StepRun, ToolOrder, ToolRun,
    Trace, Traced,
};
pub use rebuild::{rebuild, step_environment};
pub use tool::tool;
