//! Room 4, compare: pairs every published file with the rebuilt one and judges it.
//!
//! The verdict comes from the bytes of the two files; the trace of the rebuild only helps to say
//! which member of an archive nobody accounts for.

use std::panic::resume_unwind;
use std::path::Path;

use anyhow::Context;
use rebuilder::{BuildFailure, Outcome, Rebuild};
use url::Url;

use crate::authenticate::{AuthenticFile, AuthenticRelease};
use crate::compare::{self, Comparison, Explanation, Note, Side, Tier};
use crate::record::SizedDigest;
use crate::replay::Replay;

/// What the bytes of one published file say.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The rebuild gave the same bytes.
    Reproduced,
    /// It gave the same bytes once order, times and owners were taken from the published archive.
    /// The comparison says what they were without.
    Replayed(Box<Comparison>),
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
    /// Where every member of the published file comes from, as far as the rebuild came; none if the
    /// recipe traces nothing.
    pub explanation: Option<Explanation>,
    /// How a replay went, where the recipe has one and only order, times or owners differed.
    pub replay: Option<Replay>,
}

/// Judges every file of the release; `outputs` is the directory that the rebuild filled.
pub fn judge(
    authentic: &AuthenticRelease,
    rebuild: &Rebuild,
    outputs: &Path,
) -> anyhow::Result<Vec<Judged>> {
    std::thread::scope(|scope| {
        let judge = |file| scope.spawn(move || judge_file(file, rebuild, outputs));
        let judging: Vec<_> = authentic.files().iter().map(judge).collect();
        // A panic while judging is a bug, here as there.
        let judged = judging.into_iter().map(|judging| judging.join());
        judged.map(|judged| judged.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn judge_file(file: &AuthenticFile, rebuild: &Rebuild, outputs: &Path) -> anyhow::Result<Judged> {
    let name = file.announced.name.to_string();
    let limits = compare::Limits::default();
    let traced = !rebuild.trace.files.is_empty();
    let explain = || -> anyhow::Result<Option<Explanation>> {
        let explain = || compare::explain(&file.path, &rebuild.trace, &limits);
        traced.then(explain).transpose().with_context(|| format!("explain {name}"))
    };
    let judged = |rebuilt, verdict, explanation| Judged {
        name: name.clone(),
        url: file.announced.url.clone(),
        published: SizedDigest { sha256: file.sha256, size: file.size },
        rebuilt,
        verdict,
        explanation,
        replay: None,
    };
    let artifacts = match &rebuild.outcome {
        Outcome::Built(artifacts) => artifacts,
        Outcome::Failed(failure) => {
            let mut explanation = explain()?;
            if let Some(explanation) = &mut explanation {
                // What later steps would have made must not look like nobody's work.
                let text = format!("{failure}: what later steps make is not known");
                explanation.notes.push(Note { side: Some(Side::Rebuilt), text });
            }
            return Ok(judged(None, Verdict::NotBuilt(failure.clone()), explanation));
        }
    };
    let artifact = artifacts
        .iter()
        .find(|artifact| artifact.name == name)
        .with_context(|| format!("the recipe has no output named {name}"))?;
    let rebuilt = Some(SizedDigest { sha256: artifact.sha256, size: artifact.size });
    let trace = traced.then_some(&rebuild.trace);
    let comparison = compare::compare(&file.path, &outputs.join(&name), trace, &limits)
        .with_context(|| format!("compare {name}"))?;
    // Pair assertion: the bytes that were compared are those that were fetched and rebuilt.
    assert_eq!(comparison.published.sha256, file.sha256, "{name} changed after it was fetched");
    assert_eq!(comparison.rebuilt.sha256, artifact.sha256, "{name} changed after the rebuild");
    if comparison.tier == Tier::Bitwise {
        assert_eq!(file.sha256, artifact.sha256, "{name}: equal bytes have one digest");
        return Ok(judged(rebuilt, Verdict::Reproduced, explain()?));
    }
    let explanation = comparison.explanation.clone();
    Ok(judged(rebuilt, Verdict::Different(Box::new(comparison)), explanation))
}
