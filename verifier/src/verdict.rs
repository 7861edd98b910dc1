//! Room 4, compare: pairs every published file with the rebuilt one and judges it.
//!
//! The verdict comes from the bytes of the two files; the trace of the rebuild only helps to say
//! which member of an archive nobody accounts for.

use std::path::Path;

use anyhow::Context;
use rebuilder::{BuildFailure, Outcome, Rebuild};
use url::Url;

use crate::authenticate::{AuthenticFile, AuthenticRelease};
use crate::compare::{self, Comparison, Tier};
use crate::record::SizedDigest;

/// What the bytes of one published file say.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The rebuild gave the same bytes.
    Reproduced,
    /// It gave other bytes.
    Different(Box<Comparison>),
    /// It gave none.
    NotBuilt(BuildFailure),
}

/// A published file and its verdict.
#[derive(Clone, Debug)]
pub struct Judged {
    pub name: String,
    pub url: Url,
    pub published: SizedDigest,
    pub rebuilt: Option<SizedDigest>,
    pub verdict: Verdict,
}

/// Judges every file of the release; `outputs` is the directory that the rebuild filled.
pub fn judge(
    authentic: &AuthenticRelease,
    rebuild: &Rebuild,
    outputs: &Path,
) -> anyhow::Result<Vec<Judged>> {
    authentic.files().iter().map(|file| judge_file(file, rebuild, outputs)).collect()
}

fn judge_file(file: &AuthenticFile, rebuild: &Rebuild, outputs: &Path) -> anyhow::Result<Judged> {
    let name = file.announced.name.to_string();
    let judged = |rebuilt, verdict| Judged {
        name: name.clone(),
        url: file.announced.url.clone(),
        published: SizedDigest { sha256: file.sha256, size: file.size },
        rebuilt,
        verdict,
    };
    let artifacts = match &rebuild.outcome {
        Outcome::Built(artifacts) => artifacts,
        Outcome::Failed(failure) => return Ok(judged(None, Verdict::NotBuilt(failure.clone()))),
    };
    let artifact = artifacts
        .iter()
        .find(|artifact| artifact.name == name)
        .with_context(|| format!("the recipe has no output named {name}"))?;
    let rebuilt = Some(SizedDigest { sha256: artifact.sha256, size: artifact.size });
    let comparison = compare::compare(
        &file.path,
        &outputs.join(&name),
        Some(&rebuild.trace),
        &compare::Limits::default(),
    )
    .with_context(|| format!("compare {name}"))?;
    // Pair assertion: the bytes that were compared are those that were fetched and rebuilt.
    assert_eq!(comparison.published.sha256, file.sha256, "{name} changed after it was fetched");
    assert_eq!(comparison.rebuilt.sha256, artifact.sha256, "{name} changed after the rebuild");
    if comparison.tier == Tier::Bitwise {
        assert_eq!(file.sha256, artifact.sha256, "{name}: equal bytes have one digest");
        return Ok(judged(rebuilt, Verdict::Reproduced));
    }
    Ok(judged(rebuilt, Verdict::Different(Box::new(comparison))))
}
