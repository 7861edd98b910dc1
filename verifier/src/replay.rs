//! Replay, for releases that were packed by hand: between compare and record.
//!
//! Where the recipe of a release declares it, and the comparison found nothing but other order,
//! times and owners (tier `contents`), the rebuilt archive is packed once more with those three of
//! the published one (`compare/replay.rs` says exactly what is taken), compressed in the pinned
//! environment, and compared. Only equal bytes make a verdict of it, of tier `replayed`.
//!
//! The rebuild is over by then and never sees any of it. The compressor sees the replayed tar and
//! nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rebuilder::{BuildDefinition, Digest, Limits, Network, Rebuild, ToolOrder};
use serde::{Deserialize, Serialize};

use crate::authenticate::AuthenticFile;
use crate::compare::{self, Comparison, ReplayError, Taken, Tier};
use crate::environment::Environment;
use crate::process::Program;
use crate::scratch::Scratch;
use crate::verdict::{Judged, Verdict};

/// How the replay of one published file went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// What compressed the replayed archive.
    pub command: String,
    /// What came out.
    #[serde(flatten)]
    pub outcome: ReplayOutcome,
}

/// What came out of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReplayOutcome {
    /// The published bytes.
    Identical(Taken),
    /// Other bytes.
    Different {
        #[serde(flatten)]
        taken: Taken,
        reason: String,
    },
    /// Nothing: the two archives differ in more than is replayed.
    Refused { reason: String },
}

impl fmt::Display for Replay {
    /// `identical once the order of … are taken from the published archive`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.outcome {
            ReplayOutcome::Identical(taken) => write!(
                f,
                "identical once {taken} are taken from the published archive; \
                 all else, with every content, is rebuilt"
            ),
            ReplayOutcome::Different { taken, reason } => {
                write!(f, "replayed with {taken} of the published archive, it is {reason}")
            }
            ReplayOutcome::Refused { reason } => write!(f, "not replayed: {reason}"),
        }
    }
}

/// What a replay needs besides the published files.
pub struct Bench<'a> {
    /// Compressing command by name of the output, as the recipe has it.
    pub commands: BTreeMap<String, String>,
    pub definition: &'a BuildDefinition,
    pub rebuild: &'a Rebuild,
    /// Where the rebuild left its files.
    pub work: &'a Path,
    pub environment: &'a Environment,
    pub program: &'a Program,
    pub scratch: &'a Scratch,
}

/// Replays what the recipe replays and only differs in that; other verdicts stay as they are.
pub async fn replay(
    bench: &Bench<'_>,
    published: &[AuthenticFile],
    judged: Vec<Judged>,
) -> anyhow::Result<Vec<Judged>> {
    let mut replayed = Vec::new();
    for (file, judged) in published.iter().zip(judged) {
        assert_eq!(file.announced.name.as_str(), judged.name, "verdicts are in the files' order");
        replayed.push(match bench.command(&judged).cloned() {
            Some(command) => {
                let name = judged.name.clone();
                let one = bench.one(file, judged, command).await;
                one.with_context(|| format!("replay {name}"))?
            }
            None => judged,
        });
    }
    Ok(replayed)
}

impl Bench<'_> {
    /// Whether any of `judged` is one that the recipe replays.
    pub fn is_called_for(&self, judged: &[Judged]) -> bool {
        judged.iter().any(|judged| self.command(judged).is_some())
    }

    fn command(&self, judged: &Judged) -> Option<&String> {
        match &judged.verdict {
            Verdict::Different(found) if found.tier == Tier::Contents => {
                self.commands.get(&judged.name)
            }
            _ => None,
        }
    }

    async fn one(
        &self,
        file: &AuthenticFile,
        mut judged: Judged,
        command: String,
    ) -> anyhow::Result<Judged> {
        let outcome = self.outcome(file, &judged.name, &command).await?;
        let replay = Replay { command, outcome };
        judged.verdict = match judged.verdict {
            Verdict::Different(mut comparison) => {
                conclude(&mut comparison, &replay);
                match replay.outcome {
                    ReplayOutcome::Identical(_) => Verdict::Replayed(comparison),
                    _ => Verdict::Different(comparison),
                }
            }
            other => other,
        };
        judged.replay = Some(replay);
        Ok(judged)
    }

    async fn outcome(
        &self,
        file: &AuthenticFile,
        name: &str,
        command: &str,
    ) -> anyhow::Result<ReplayOutcome> {
        let tar = self.scratch.file(&format!("{name}.replayed.tar"));
        let (published, payloads, into) = (file.path.clone(), self.payloads(), tar.clone());
        let packed = tokio::task::spawn_blocking(move || match unchanged(&payloads)? {
            Some(payload) => pack(&published, payload, &into),
            None => Ok(Err("a later step changed the archive before compression".to_owned())),
        });
        let taken = match packed.await.context("pack the archive again")?? {
            Ok(taken) => taken,
            Err(reason) => return Ok(ReplayOutcome::Refused { reason }),
        };
        let replayed = self.compress(name, &tar, command).await?;
        fs::remove_file(&tar).with_context(|| format!("remove {}", tar.display()))?;
        let published = (file.path.clone(), file.sha256);
        let told = tokio::task::spawn_blocking(move || -> anyhow::Result<Option<String>> {
            let (sha256, _) = Digest::of_file(&replayed).context("read the replayed file")?;
            if sha256 == published.1 {
                return Ok(None);
            }
            // The verdict is made; this only says what is left.
            let limits = compare::Limits::default();
            let rest = compare::compare(&published.0, &replayed, None, &limits)?;
            Ok(Some(rest.summary))
        });
        Ok(match told.await.context("compare the replayed file")?? {
            None => ReplayOutcome::Identical(taken),
            Some(reason) => ReplayOutcome::Different { taken, reason },
        })
    }

    /// The archives before compression, with the digests that the steps reported.
    fn payloads(&self) -> Vec<(PathBuf, Digest)> {
        let steps = &self.definition.internal_parameters.steps;
        let paths = steps.iter().filter_map(|step| step.payload.as_ref());
        let digests = self.rebuild.payloads.iter().map(|artifact| artifact.sha256);
        paths.map(|path| self.work.join(path)).zip(digests).collect()
    }

    /// Runs `command` on the tar; gives the path of what it wrote.
    async fn compress(&self, name: &str, tar: &Path, command: &str) -> anyhow::Result<PathBuf> {
        let place = self.scratch.directory(&format!("{name}.replay"))?;
        let replayed = place.join(name);
        let order = ToolOrder {
            root: self.environment.root.clone(),
            command: ["bash", "-euo", "pipefail", "-c", command].map(str::to_owned).to_vec(),
            environment: BTreeMap::new(),
            mounts: Vec::new(),
            work: self.scratch.directory(&format!("{name}.work"))?,
            network: Network::None,
            stdin: Some(tar.to_owned()),
            stdout: replayed.clone(),
            limits: Limits::default(),
        };
        let run = self.program.tool(&order).await.context("compress the replayed archive")?;
        if run.code != 0 {
            bail!("{command} exited {}: {}", run.code, run.stderr);
        }
        Ok(replayed)
    }
}

/// The first archive that is still what its step reported.
fn unchanged(payloads: &[(PathBuf, Digest)]) -> anyhow::Result<Option<&Path>> {
    for (path, digest) in payloads {
        let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if is_file && Digest::of_file(path).context("read the rebuilt archive")?.0 == *digest {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Packs the archive again; the inner `Err` says why it cannot be.
fn pack(published: &Path, rebuilt: &Path, tar: &Path) -> anyhow::Result<Result<Taken, String>> {
    let file = File::create(tar).with_context(|| format!("make {}", tar.display()))?;
    let mut output = BufWriter::new(file);
    match compare::replay(published, rebuilt, &mut output, &compare::Limits::default()) {
        Ok(taken) => {
            output.flush().with_context(|| format!("write {}", tar.display()))?;
            Ok(Ok(taken))
        }
        Err(ReplayError::Refused(reason)) => Ok(Err(reason)),
        Err(error @ (ReplayError::Read(_) | ReplayError::Write(_))) => Err(error.into()),
    }
}

fn conclude(comparison: &mut Comparison, replay: &Replay) {
    match replay.outcome {
        ReplayOutcome::Identical(_) => {
            comparison.tier = Tier::Replayed;
            comparison.summary = replay.to_string();
        }
        ReplayOutcome::Different { .. } | ReplayOutcome::Refused { .. } => {
            comparison.summary = format!("{}; {replay}", comparison.summary);
        }
    }
}
