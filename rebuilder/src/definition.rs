//! All inputs of one build and nothing else, under the field names of SLSA v1.0 "Provenance"
//! (`buildDefinition`), so that anyone can run it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// What to run, on which source, in which environment. It names no path of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildDefinition {
    /// URI of the meaning of the parameters.
    pub build_type: String,
    /// What the requester chose.
    pub external_parameters: ExternalParameters,
    /// What the recipe adds.
    pub internal_parameters: InternalParameters,
    /// Source and environment, by digest.
    pub resolved_dependencies: Vec<ResolvedDependency>,
}

/// The release to build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalParameters {
    /// As python.org writes it: `3.13.5`.
    pub version: String,
    /// Where the tag was fetched from.
    pub repository: String,
    /// `v3.13.5`.
    pub tag: String,
}

/// The recipe's steps, their environment variables, their outputs and their limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InternalParameters {
    /// The recipe's name.
    pub recipe: String,
    /// SHA-256 of the recipe file.
    pub recipe_digest: Digest,
    /// Run in order; the first that does not exit 0 ends the rebuild.
    pub steps: Vec<Step>,
    /// Set for every step, beside the fixed ones of the container.
    pub environment: BTreeMap<String, String>,
    /// Names of the files in `/work/out` that the rebuild gives.
    pub outputs: Vec<String>,
    /// Directory below `/work` whose files are traced after each step; empty for none.
    pub traced: String,
    /// Upper bounds of the whole rebuild.
    pub limits: Limits,
}

/// One command of a recipe, run by `bash -euo pipefail` in `/work`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Short name: `export`.
    pub name: String,
    /// The script.
    pub run: String,
    /// A file below `/work` that is hashed and reported as soon as this step is done: the archive
    /// before it is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// SLSA `ResourceDescriptor`: an input by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResolvedDependency {
    /// `source` or `environment`.
    pub name: String,
    /// Where it comes from; empty if it has no place of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Algorithm to value: `gitCommit`, `gitTree`, `sha256`.
    pub digest: BTreeMap<String, String>,
}

/// Upper bounds of one rebuild. Reaching one is a [`crate::BuildFailure`], never silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall time of all steps together.
    pub wall_seconds: u64,
    /// Longest time without a byte of output *and* without a byte written to the work directory.
    pub silent_seconds: u64,
    /// Memory of the whole process tree, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads alive at once.
    pub processes: u64,
    /// Size of the largest file, in bytes.
    pub file_bytes: u64,
    /// Size of the whole work directory, in bytes.
    pub disk_bytes: u64,
    /// Bytes of log that are kept: half from its head, half from its tail.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            wall_seconds: 3600,
            silent_seconds: 900,
            memory_bytes: 4 << 30,
            processes: 512,
            file_bytes: 2 << 30,
            disk_bytes: 8 << 30,
            log_bytes: 4 << 20,
        }
    }
}

impl BuildDefinition {
    /// SHA-256 of the compact JSON form, whose key order is fixed by these types.
    pub fn digest(&self) -> Digest {
        // Invariant: strings, numbers and string-keyed maps always serialize to JSON.
        let json = serde_json::to_vec(self).expect("a definition serializes");
        Digest::of(&json)
    }
}
