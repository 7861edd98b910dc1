//! What a job keeps of a rebuild whose verdict was no pass: it is recorded only if a second rebuild
//! of the same inputs is no pass either.

use std::collections::{BTreeMap, BTreeSet};

use rebuilder::Digest;
use serde::{Deserialize, Serialize};

use super::disputes::claim_name;
use crate::evidence::CheckOutcome;
use crate::record::{Record, RecordedArtifact, VerdictName};

/// What went into a rebuild, what came out, and which claims were false.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    inputs: Inputs,
    outputs: BTreeMap<String, Output>,
    /// `size of Python-3.13.5.tgz`.
    disputed: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Inputs {
    published: BTreeMap<String, Digest>,
    commit: String,
    environment: String,
    recipe: String,
    /// With the limits, which may end a rebuild.
    definition: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Output {
    verdict: VerdictName,
    rebuilt: Option<Digest>,
}

impl Rebuilt {
    /// What `record` says of its rebuild.
    pub fn of(record: &Record) -> Rebuilt {
        let published =
            |artifact: &RecordedArtifact| (artifact.name.clone(), artifact.published.sha256);
        let output = |artifact: &RecordedArtifact| {
            let rebuilt = artifact.rebuilt.map(|side| side.sha256);
            (artifact.name.clone(), Output { verdict: artifact.verdict, rebuilt })
        };
        let disagrees = record.evidence.iter().filter(|one| one.outcome == CheckOutcome::Disagrees);
        Rebuilt {
            inputs: Inputs {
                published: record.artifacts.iter().map(published).collect(),
                commit: record.source.commit.clone(),
                environment: record.environment.digest.clone(),
                recipe: record.recipe.digest.clone(),
                definition: record.rebuild.definition.clone(),
            },
            outputs: record.artifacts.iter().map(output).collect(),
            disputed: disagrees.map(|one| claim_name(one.check, &one.artifact)).collect(),
        }
    }

    /// As it is kept by a job. What an older version kept is taken as nothing: the job is rebuilt
    /// once more.
    pub fn read(text: &str) -> Option<Rebuilt> {
        serde_json::from_str(text).ok()
    }

    /// The claims that were false, as [`claim_name`] writes them.
    pub fn disputed(&self) -> impl Iterator<Item = &str> {
        self.disputed.iter().map(String::as_str)
    }

    /// Whether both were made from the same.
    pub fn is_of(&self, other: &Rebuilt) -> bool {
        self.inputs == other.inputs
    }

    /// The published files that had other bytes at the `second` rebuild: name, then and now.
    pub fn changed_files<'a>(
        &'a self,
        second: &'a Rebuilt,
    ) -> impl Iterator<Item = (&'a str, Digest, Digest)> {
        let both = self.inputs.published.iter().filter_map(|(name, was)| {
            Some((name.as_str(), *was, *second.inputs.published.get(name)?))
        });
        both.filter(|(_, was, now)| was != now)
    }

    /// The commits of the tag, if it named another one at the `second` rebuild: then and now.
    pub fn moved_tag<'a>(&'a self, second: &'a Rebuilt) -> Option<(&'a str, &'a str)> {
        let (was, now) = (self.inputs.commit.as_str(), second.inputs.commit.as_str());
        (was != now).then_some((was, now))
    }

    /// In words, how a `second` rebuild of the same inputs ended otherwise; none if it did not.
    pub fn unlike(&self, second: &Rebuilt) -> Option<String> {
        let mut words = Vec::new();
        for (name, first) in &self.outputs {
            match second.outputs.get(name) {
                Some(output) if output == first => {}
                Some(output) => {
                    words.push(format!("{name} {}, then {}", came(first), came(output)))
                }
                None => words.push(format!("{name} {}, then was not judged", came(first))),
            }
        }
        for claim in self.disputed.difference(&second.disputed) {
            words.push(format!("{claim} disagreed, then did not"));
        }
        (!words.is_empty()).then(|| words.join("; "))
    }
}

fn came(output: &Output) -> String {
    let verdict = match output.verdict {
        VerdictName::Reproduced => "was reproduced",
        VerdictName::Different => "was different",
        VerdictName::NotBuilt => "was not built",
    };
    match output.rebuilt {
        Some(sha256) => format!("{verdict} (rebuilt SHA-256 {sha256})"),
        None => verdict.to_owned(),
    }
}
