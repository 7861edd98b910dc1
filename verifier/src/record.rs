//! The stored fact: what was announced, rebuilt and found. The schema is `verbatim.record/1`.
//!
//! A record is made once, from verdicts, and never changed. `verify --json`, the store and the API
//! give the same document.

use jiff::Timestamp;
use rebuilder::{BuildDefinition, BuildFailure, Digest, Outcome, Rebuild, StepRun};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::authenticate::AuthenticRelease;
use crate::compare::{Cause, Explanation, Tier};
use crate::era::EraFinding;
use crate::evidence::{Check, CheckOutcome, Evidence};
use crate::replay::Replay;
use crate::source::Source;
use crate::verdict::{Judged, Verdict};
use crate::version::Version;

/// The value of `schema`.
pub const SCHEMA: &str = "verbatim.record/1";

/// One verification of one release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `verbatim.record/1`.
    pub schema: String,
    /// UUID version 7 (RFC 9562): sorts by time.
    pub id: String,
    /// What was announced.
    pub release: RecordedRelease,
    /// The conclusion from all artifacts.
    pub status: RecordStatus,
    /// The tagged commit.
    pub source: Source,
    /// Where the steps ran.
    pub environment: Named,
    /// Which steps ran.
    pub recipe: Named,
    /// When the verification began.
    pub started: Timestamp,
    /// When the last verdict was known.
    pub finished: Timestamp,
    /// One entry a published source file.
    pub artifacts: Vec<RecordedArtifact>,
    /// The checks of the authenticate room.
    pub evidence: Vec<Evidence>,
    /// How the published files were packed; none in records from before this was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub era: Option<EraFinding>,
    /// All inputs of the build: with it anyone can run it again.
    pub definition: BuildDefinition,
    /// How the one execution of it went.
    pub rebuild: RecordedRebuild,
}

/// The release of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedRelease {
    /// `cpython`.
    pub project: String,
    /// `3.13.5`.
    pub version: Version,
    /// The date that python.org gives.
    pub announced: Timestamp,
}

/// What a record concludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// Every artifact was reproduced, and no claim disagrees.
    Pass,
    /// Some artifact differs, or some claim disagrees: see the evidence.
    Fail,
    /// The tag does not build.
    NotBuilt,
}

/// An input by name and digest (`sha256:…`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub name: String,
    pub digest: String,
}

/// One published file and its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedArtifact {
    /// File name.
    pub name: String,
    /// Where it was fetched from.
    pub url: Url,
    /// `reproduced`, `different` or `not_built`.
    pub verdict: VerdictName,
    /// How close; null when not built. `replayed` is reproduced with what `replay` says.
    pub tier: Option<Tier>,
    /// The bytes that python.org serves.
    pub published: SizedDigest,
    /// The bytes that the recipe gave, before any replay; null when not built.
    pub rebuilt: Option<SizedDigest>,
    /// One line for people.
    pub summary: String,
    /// Why the bytes differ, aggregated.
    pub causes: Vec<Cause>,
    /// Paths that neither the tag nor a step of the recipe accounts for.
    pub unexplained: Vec<String>,
    /// Where every member of the published file comes from; null if nothing was traced.
    pub explanation: Option<RecordedExplanation>,
    /// How the replay went, for a release that was packed by hand; absent for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

impl RecordedArtifact {
    /// How many paths nobody accounts for: [`RecordedArtifact::unexplained`] has the first of them.
    pub fn unexplained_total(&self) -> u64 {
        let counted =
            self.explanation.as_ref().map_or(0, |explanation| explanation.map.unexplained);
        counted.max(self.unexplained.len() as u64)
    }
}

/// An [`Explanation`], bounded: a hostile archive may have a million members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedExplanation {
    /// Exact counts, and the first paths of each list.
    #[serde(flatten)]
    pub map: Explanation,
    /// Paths that the lists had before they were cut to [`EXPLAINED_PATHS_MAX`].
    pub others_total: u64,
    pub removed_total: u64,
    pub missing_total: u64,
}

/// The longest list of paths in a record.
pub const EXPLAINED_PATHS_MAX: usize = 2_000;

/// A verdict without what explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictName {
    Reproduced,
    Different,
    NotBuilt,
}

/// Digest and size of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizedDigest {
    pub sha256: Digest,
    pub size: u64,
}

/// The parts of a [`Rebuild`] that a record keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedRebuild {
    /// Why it did not build, if it did not.
    pub failure: Option<BuildFailure>,
    /// SHA-256 of the definition.
    pub definition: String,
    /// The steps that ran, with their wall time.
    pub steps: Vec<StepRun>,
    /// How each limit was enforced.
    pub limits_in_force: Vec<String>,
    /// When the first step began.
    pub started: Timestamp,
    /// When the last step ended.
    pub finished: Timestamp,
}

/// What a record is made from.
pub struct Findings<'a> {
    pub started: Timestamp,
    pub authentic: &'a AuthenticRelease,
    /// What was found beside the rebuild.
    pub testimony: Vec<Evidence>,
    pub era: EraFinding,
    pub environment: Named,
    pub recipe: Named,
    pub definition: &'a BuildDefinition,
    pub rebuild: &'a Rebuild,
    pub judged: &'a [Judged],
}

impl Record {
    /// Puts the findings of one verification on record.
    pub fn new(findings: Findings) -> Record {
        let Findings { started, authentic, testimony, era, definition, rebuild, judged, .. } =
            findings;
        let release = authentic.release();
        let artifacts: Vec<RecordedArtifact> = judged.iter().map(recorded).collect();
        let evidence = [authentic.evidence(), &testimony].concat();
        Record {
            schema: SCHEMA.to_owned(),
            id: uuid::Uuid::now_v7().to_string(),
            release: RecordedRelease {
                project: "cpython".to_owned(),
                version: release.version.clone(),
                announced: release.announced,
            },
            status: conclude(&artifacts, &evidence),
            source: authentic.source().clone(),
            environment: findings.environment,
            recipe: findings.recipe,
            started,
            finished: Timestamp::now(),
            artifacts,
            evidence,
            era: Some(era),
            definition: definition.clone(),
            rebuild: RecordedRebuild {
                failure: match &rebuild.outcome {
                    Outcome::Built(_) => None,
                    Outcome::Failed(failure) => Some(failure.clone()),
                },
                definition: sha256(rebuild.definition),
                steps: rebuild.steps.clone(),
                limits_in_force: rebuild.limits_in_force.clone(),
                started: rebuild.started,
                finished: rebuild.finished,
            },
        }
    }

    /// Whether a claim about the file `name`, or about the tag that it should come from, disagrees.
    pub fn is_disputed(&self, name: &str) -> bool {
        let is_about_it = |one: &Evidence| match one.check {
            Check::Tag | Check::TagSignature => true,
            Check::Size
            | Check::Sha256
            | Check::Md5
            | Check::Sigstore
            | Check::Openpgp
            | Check::Sbom
            | Check::Witness => one.artifact == name,
        };
        let mut disagreeing =
            self.evidence.iter().filter(|one| one.outcome == CheckOutcome::Disagrees);
        disagreeing.any(is_about_it)
    }
}

/// `sha256:` and the digits, as OCI and SLSA write it.
pub fn sha256(digest: Digest) -> String {
    format!("sha256:{digest}")
}

fn recorded(judged: &Judged) -> RecordedArtifact {
    let base = RecordedArtifact {
        name: judged.name.clone(),
        url: judged.url.clone(),
        verdict: VerdictName::Reproduced,
        tier: Some(Tier::Bitwise),
        published: judged.published,
        rebuilt: judged.rebuilt,
        summary: String::new(),
        causes: Vec::new(),
        unexplained: Vec::new(),
        explanation: judged.explanation.clone().map(bounded),
        replay: judged.replay.clone(),
    };
    match &judged.verdict {
        Verdict::Reproduced => RecordedArtifact {
            summary: format!(
                "identical, {} bytes",
                crate::compare::report::grouped(judged.published.size)
            ),
            ..base
        },
        Verdict::Replayed(comparison) => RecordedArtifact {
            tier: Some(comparison.tier),
            summary: comparison.summary.clone(),
            causes: comparison.causes.clone(),
            unexplained: comparison.unexplained.clone(),
            ..base
        },
        Verdict::Different(comparison) => RecordedArtifact {
            verdict: VerdictName::Different,
            tier: Some(comparison.tier),
            summary: comparison.summary.clone(),
            causes: comparison.causes.clone(),
            unexplained: comparison.unexplained.clone(),
            ..base
        },
        Verdict::NotBuilt(failure) => RecordedArtifact {
            verdict: VerdictName::NotBuilt,
            tier: None,
            summary: failure.to_string(),
            ..base
        },
    }
}

fn bounded(mut map: Explanation) -> RecordedExplanation {
    let (others, removed, missing) = (map.others.len(), map.removed.len(), map.missing.len());
    // What nobody accounts for comes first, and is not what is cut.
    map.others.sort_by(|(path_a, a), (path_b, b)| b.cmp(a).then_with(|| path_a.cmp(path_b)));
    map.others.truncate(EXPLAINED_PATHS_MAX);
    map.removed.truncate(EXPLAINED_PATHS_MAX);
    map.missing.truncate(EXPLAINED_PATHS_MAX);
    RecordedExplanation {
        map,
        others_total: others as u64,
        removed_total: removed as u64,
        missing_total: missing as u64,
    }
}

/// `pass` only if there is an artifact, every one was reproduced, and no claim disagrees.
fn conclude(artifacts: &[RecordedArtifact], evidence: &[Evidence]) -> RecordStatus {
    let any = |name| artifacts.iter().any(|artifact| artifact.verdict == name);
    // An empty list would be a pass of nothing; the authenticate room refuses it.
    assert!(!artifacts.is_empty(), "a record needs an artifact");
    if any(VerdictName::Different) {
        return RecordStatus::Fail;
    }
    if any(VerdictName::NotBuilt) {
        return RecordStatus::NotBuilt;
    }
    if evidence.iter().any(|one| one.outcome == CheckOutcome::Disagrees) {
        return RecordStatus::Fail;
    }
    RecordStatus::Pass
}
