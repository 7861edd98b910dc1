//! `verbatim diagnose VERSION`: when a rebuild does not match, which variation of the recipe does?
//!
//! It tries the known variations (config/variations.toml) one at a time and together, the smallest
//! sets first, and names the first that gives the published bytes. What the published files show is
//! asked first: a variation that cannot have left them so is not tried. The archive before
//! compression is looked for by itself, and each compressor then by itself, on that archive: their
//! variations do not depend on each other, so the smallest set of all is theirs together.
//!
//! It decides no verdict and records nothing.

mod command;
mod facts;
mod lab;
mod text;
mod variations;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use rebuilder::Digest;
use serde::Serialize;

use crate::line::{self, Choices, Line};
use crate::version::Version;

use facts::Subject;
use lab::Lab;
use variations::{PAYLOAD, Part, Set, Space};

pub use command::{DiagnoseArgs, run};
pub use text::text;

/// The value of `schema`.
pub const SCHEMA: &str = "verbatim.diagnosis/1";
/// Rebuilds that are tried at most.
const TRIALS_MAX: u64 = 500;

/// What was found, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// `verbatim.diagnosis/1`.
    pub schema: &'static str,
    /// The release.
    pub version: Version,
    /// The recipe that was varied.
    pub recipe: String,
    /// The conclusion.
    pub outcome: DiagnosisOutcome,
    /// Each published file.
    pub files: Vec<DiagnosedFile>,
    /// Rebuilds that were tried, the recipe's own among them.
    pub trials: u64,
    /// Sets of variations that the published files ruled out by themselves.
    pub ruled_out: u64,
    /// What is in the list of variations and was not tried, with the reason.
    pub left_out: Vec<String>,
    /// Why the search ended before everything was tried, or what went wrong in all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a diagnosis concludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiagnosisOutcome {
    /// The recipe gives the published bytes as it is.
    NothingToExplain,
    /// With some variations it does.
    Explained,
    /// No known variation gives the bytes of every file.
    NotExplained,
}

/// A published file, and what has to be varied to get it.
#[derive(Clone, Debug, Serialize)]
pub struct DiagnosedFile {
    /// File name.
    pub name: String,
    /// Whether its bytes came out.
    pub explained: bool,
    /// What is known to be otherwise than in the recipe. Also where the file as a whole is not
    /// explained: then these give the archive inside.
    pub variations: Vec<NamedVariation>,
    /// Why it is not explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One variation in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NamedVariation {
    /// `version of blurb`.
    pub choice: String,
    /// What it decides.
    pub part: Part,
    /// `1.1.0`.
    pub means: String,
    /// What the recipe has: `2.0.0`.
    pub instead_of: String,
}

/// Tries variations until the bytes are explained, or nothing is left, or `time` is over.
pub async fn diagnose(line: &Line, version: &Version, time: Duration) -> anyhow::Result<Diagnosis> {
    let scratch = line.scratch()?;
    let gathered = line::gather(line, version, &Choices::default(), &scratch).await?;
    let definitions = line.definitions();
    let text = definitions.variations()?;
    let is_there = |name: &str| line.has_lock(name);
    let space = Space::read(&text, &gathered.recipe, &is_there)?;
    let stage = line.progress.stage("read what the files show");
    let (files, era) = (gathered.authentic.files().to_vec(), gathered.era.clone());
    let subjects = tokio::task::spawn_blocking(move || {
        let packed = |name: &str| era.files.iter().find(|packed| packed.name == name);
        let read = |file| facts::read(file, packed(file_name(file)));
        files.iter().map(read).collect::<anyhow::Result<Vec<Subject>>>()
    });
    let subjects = subjects.await.context("read what the files show")??;
    stage.done(&format!("{} files", subjects.len()));
    let lab = Lab::new(line, &gathered, &scratch, version, TRIALS_MAX, time)?;
    let mut search = Search { lab, space: &space, ruled_out: 0 };
    let found = search.run(&subjects).await?;
    Ok(search.conclude(version, &gathered.recipe.name, &subjects, found))
}

fn file_name(file: &crate::authenticate::AuthenticFile) -> &str {
    file.announced.name.as_str()
}

/// How far a file is explained.
#[derive(Clone, Debug, Default)]
struct Found<'a> {
    /// What gives the archive inside it, and the work directory where that lies.
    payload: Option<(Set<'a>, PathBuf)>,
    /// What gives its bytes from there.
    compressor: Option<Set<'a>>,
}

struct Search<'a> {
    lab: Lab<'a>,
    space: &'a Space,
    ruled_out: u64,
}

impl<'a> Search<'a> {
    async fn run(&mut self, subjects: &[Subject]) -> anyhow::Result<Vec<Found<'a>>> {
        let mut found: Vec<Found> = vec![Found::default(); subjects.len()];
        self.find_payloads(subjects, &mut found).await?;
        let works: BTreeSet<PathBuf> =
            found.iter().filter_map(|one| Some(one.payload.as_ref()?.1.clone())).collect();
        for work in works {
            self.find_compressors(subjects, &mut found, work).await?;
        }
        Ok(found)
    }

    /// Looks for the archive before compression, the smallest sets first.
    async fn find_payloads(
        &mut self,
        subjects: &[Subject],
        found: &mut [Found<'a>],
    ) -> anyhow::Result<()> {
        let space = self.space;
        for size in 0..=space.size(PAYLOAD) {
            for set in space.sets(PAYLOAD, size) {
                let open = |(subject, one): &(&Subject, &Found)| {
                    subject.payload.is_ok() && one.payload.is_none()
                };
                let open: Vec<&Subject> =
                    subjects.iter().zip(&*found).filter(open).map(|(subject, _)| subject).collect();
                if open.is_empty() {
                    return Ok(());
                }
                if !open.iter().any(|subject| space.allows(PAYLOAD, &set, &subject.facts)) {
                    self.ruled_out += 1;
                    continue;
                }
                let wanted: Vec<Digest> =
                    open.iter().filter_map(|subject| subject.payload.clone().ok()).collect();
                let Some(trial) = self.lab.payload(&set, &wanted).await? else { return Ok(()) };
                let Some((digest, work)) = trial else { continue };
                for (subject, one) in subjects.iter().zip(&mut *found) {
                    if one.payload.is_none() && subject.payload.as_ref() == Ok(&digest) {
                        one.payload = Some((set.clone(), work.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks for the compressors of the files whose archive lies in `work`, all at once.
    async fn find_compressors(
        &mut self,
        subjects: &[Subject],
        found: &mut [Found<'a>],
        work: PathBuf,
    ) -> anyhow::Result<()> {
        let mut waiting: Vec<(usize, std::vec::IntoIter<Set<'a>>)> = Vec::new();
        for (index, subject) in subjects.iter().enumerate() {
            let is_here = |(_, place): &(Set, PathBuf)| *place == work;
            if found[index].payload.as_ref().is_some_and(is_here) {
                waiting.push((index, self.compressor_sets(subject).into_iter()));
            }
        }
        loop {
            let mut trying: Vec<(usize, Set)> = Vec::new();
            for (index, sets) in &mut waiting {
                if found[*index].compressor.is_none() {
                    trying.extend(sets.next().map(|set| (*index, set)));
                }
            }
            let Some((first, _)) = trying.first() else { return Ok(()) };
            let payload = found[*first].payload.clone();
            let payload = payload.map(|(set, _)| set).unwrap_or_default();
            let all: Set = trying.iter().flat_map(|(_, set)| set.clone()).collect();
            let wanted: Vec<(String, Digest)> = trying
                .iter()
                .map(|(index, _)| (subjects[*index].name.clone(), subjects[*index].sha256))
                .collect();
            let tried = self.lab.compress(&payload, &all, &work, &wanted).await?;
            let Some(tried) = tried else { return Ok(()) };
            for ((index, set), wanted) in trying.into_iter().zip(wanted) {
                let came_out = match &tried {
                    Some(names) => names.contains(&wanted.0),
                    // Whose variation it was that does not build is not known: each by itself.
                    None => {
                        let own = [wanted.clone()];
                        let tried = self.lab.compress(&payload, &set, &work, &own).await?;
                        let Some(tried) = tried else { return Ok(()) };
                        tried.is_some_and(|names| names.contains(&wanted.0))
                    }
                };
                if came_out {
                    found[index].compressor = Some(set);
                }
            }
        }
    }

    /// Every set of variations of the compressor that the file does not rule out.
    fn compressor_sets(&mut self, subject: &Subject) -> Vec<Set<'a>> {
        let (space, parts) = (self.space, [subject.part]);
        let all = (0..=space.size(&parts)).flat_map(|size| space.sets(&parts, size));
        let (possible, ruled_out): (Vec<Set>, Vec<Set>) =
            all.partition(|set| space.allows(&parts, set, &subject.facts));
        self.ruled_out += ruled_out.len() as u64;
        possible
    }

    fn conclude(
        self,
        version: &Version,
        recipe: &str,
        subjects: &[Subject],
        found: Vec<Found>,
    ) -> Diagnosis {
        let files: Vec<DiagnosedFile> =
            subjects.iter().zip(found).map(|(subject, one)| diagnosed(subject, one)).collect();
        let outcome = if files.iter().any(|file| !file.explained) {
            DiagnosisOutcome::NotExplained
        } else if files.iter().all(|file| file.variations.is_empty()) {
            DiagnosisOutcome::NothingToExplain
        } else {
            DiagnosisOutcome::Explained
        };
        Diagnosis {
            schema: SCHEMA,
            version: version.clone(),
            recipe: recipe.to_owned(),
            outcome,
            files,
            trials: self.lab.trials(),
            ruled_out: self.ruled_out,
            left_out: self.space.left_out.clone(),
            note: self.lab.note(),
        }
    }
}

fn diagnosed(subject: &Subject, found: Found) -> DiagnosedFile {
    let explained = found.compressor.is_some();
    let reason = match (&subject.payload, &found.payload) {
        _ if explained => None,
        (Err(reason), _) => Some(reason.clone()),
        (Ok(_), None) => Some("the archive inside came out otherwise every time".to_owned()),
        (Ok(_), Some(_)) => {
            Some("the archive inside came out, but never compressed like this".to_owned())
        }
    };
    let payload = found.payload.map(|(set, _)| set).unwrap_or_default();
    let sets = payload.into_iter().chain(found.compressor.unwrap_or_default());
    let variations = sets.map(|one| NamedVariation {
        choice: one.choice.name.clone(),
        part: one.choice.part,
        means: one.value.means.clone(),
        instead_of: one.choice.own_means(),
    });
    let variations = variations.collect();
    DiagnosedFile { name: subject.name.clone(), explained, variations, reason }
}

impl Diagnosis {
    /// 0 if the bytes are explained, 1 if not.
    pub fn exit_status(&self) -> u8 {
        match self.outcome {
            DiagnosisOutcome::NothingToExplain | DiagnosisOutcome::Explained => 0,
            DiagnosisOutcome::NotExplained => 1,
        }
    }
}
