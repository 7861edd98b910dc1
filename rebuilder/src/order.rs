//! What the doors take and give. These are the documents that pass between the `verbatim`
//! program and the process of its own in which this crate runs: JSON on standard input and output.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Artifact, BuildDefinition, Digest, Limits};

/// A definition, and where its inputs lie on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebuildOrder {
    /// What to run.
    pub definition: BuildDefinition,
    /// The environment's tree; the container's read-only root.
    pub root: PathBuf,
    /// Bare git repository with the one commit; read-only at `/source`.
    pub source: PathBuf,
    /// Empty directory of this rebuild; writable at `/work`.
    pub work: PathBuf,
    /// File that receives the log.
    pub log: PathBuf,
}

/// One line on the rebuild's standard error: what has happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A step begins.
    Started { step: String },
    /// A step exited 0; `payload` is the file that it was to report.
    Finished { step: String, milliseconds: u64, payload: Option<Artifact> },
}

/// One execution of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebuild {
    /// Digest of the definition that was executed.
    pub definition: Digest,
    /// What came out.
    pub outcome: Outcome,
    /// The steps that ran, in order.
    pub steps: Vec<StepRun>,
    /// The payloads that steps reported.
    pub payloads: Vec<Artifact>,
    /// Which step made or removed each file of the traced directory.
    pub trace: Trace,
    /// Bytes that the steps wrote to standard output and error.
    pub log_bytes: u64,
    /// Bytes of those that the log does not hold, cut from its middle.
    pub log_bytes_dropped: u64,
    /// How each limit was enforced: `memory: cgroup v1`, `processes: rlimit`, …
    pub limits_in_force: Vec<String>,
    /// When the first step began.
    pub started: Timestamp,
    /// When the last step ended.
    pub finished: Timestamp,
}

/// Outputs, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step exited 0 and every output is there, in `/work/out`.
    Built(Vec<Artifact>),
    /// The definition does not build.
    Failed(BuildFailure),
}

/// Why a definition did not build. Trouble of the machine (its disk is full, somebody else killed
/// the step) is an `Err` of the door, never one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "failure", rename_all = "snake_case", deny_unknown_fields)]
pub enum BuildFailure {
    #[error("step {step} exited {code}")]
    Exited { step: String, code: i32 },
    #[error("step {step} died of signal {signal}")]
    Signalled { step: String, signal: i32 },
    #[error("step {step} ran into the wall time limit of {seconds} s")]
    WallTime { step: String, seconds: u64 },
    #[error("step {step} gave no sign of life for {seconds} s")]
    Silent { step: String, seconds: u64 },
    #[error("step {step} ran into the memory limit of {bytes} bytes")]
    Memory { step: String, bytes: u64 },
    #[error("step {step} ran into the limit of {processes} processes")]
    Processes { step: String, processes: u64 },
    #[error("step {step} ran into the file size limit of {bytes} bytes")]
    FileSize { step: String, bytes: u64 },
    #[error("step {step} ran into the disk limit of {bytes} bytes")]
    Disk { step: String, bytes: u64 },
    #[error("every step exited 0, but output {name} is not there")]
    MissingOutput { name: String },
    #[error("output {name} is not a regular file")]
    NotAFile { name: String },
}

/// One step that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRun {
    /// The step's name.
    pub name: String,
    /// Wall time in milliseconds.
    pub milliseconds: u64,
}

/// Where every file of the traced directory comes from. Paths are relative to it and escaped as
/// JSON strings; a path that is not UTF-8 has its odd bytes replaced by U+FFFD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Path to content and the step that last wrote it.
    pub files: BTreeMap<String, Traced>,
    /// Path to the step that removed it.
    pub removed: BTreeMap<String, String>,
    /// There were more files than are traced, or one that its owner may not read.
    #[serde(default)]
    pub truncated: bool,
}

/// A file of the traced directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traced {
    /// SHA-256 of the content; of the target, for a symbolic link.
    pub sha256: Digest,
    /// Name of the step that made or last changed it.
    pub step: String,
}

/// One command of ours that runs in an environment's tree: git, pip, a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolOrder {
    /// The environment's tree; the container's read-only root.
    pub root: PathBuf,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Set beside the fixed variables of the container.
    pub environment: BTreeMap<String, String>,
    /// Host directories or files to show read-only: (host path, path inside).
    pub mounts: Vec<(PathBuf, String)>,
    /// Writable at `/work`, the current directory.
    pub work: PathBuf,
    /// Which network the tool sees.
    pub network: Network,
    /// File that becomes standard input; none is `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// File that receives standard output.
    pub stdout: PathBuf,
    /// Upper bounds; reaching one is an error.
    pub limits: Limits,
}

/// Which network a tool sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// An empty network namespace.
    None,
    /// The host's network, with its `/etc/resolv.conf`, `/etc/hosts` and `/etc/nsswitch.conf`.
    Host,
}

/// How a tool ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRun {
    /// Exit status; 128 + n after signal n.
    pub code: i32,
    /// The last of standard error, at most 8 KiB, for the error sentence.
    pub stderr: String,
}
