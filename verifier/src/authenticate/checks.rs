//! Every check of one release, as evidence: claims against bytes, signatures, the tag.

use std::fs::File;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use super::AuthenticFile;
use super::sidecars::Sidecar;
use super::signed::{self, Finding, Subject};
use super::trust::Trust;
use crate::evidence::{Check, CheckOutcome, Evidence};
use crate::release::{Md5, Release};
use crate::source::Source;

/// Signatures come after the files, but not later than this after the announcement.
const WAITING_HOURS_MAX: i64 = 48;

/// What evidence is judged with.
#[derive(Clone, Copy, Debug)]
pub struct Court<'a> {
    pub release: &'a Release,
    pub trust: &'a Trust,
    pub now: Timestamp,
}

impl Court<'_> {
    /// Everything that is claimed of a file but by its SBOM, which takes longer: `testimony.rs`.
    pub fn of_file(&self, file: &AuthenticFile) -> anyhow::Result<Vec<Evidence>> {
        let name = file.announced.name.as_str();
        let mut evidence = claims(file)?;
        for (check, finding) in [
            (Check::Sigstore, self.sigstore(file).context("check its Sigstore signature")),
            (Check::Openpgp, self.openpgp(file).context("check its OpenPGP signature")),
        ] {
            let Finding { outcome, detail } = finding.with_context(|| name.to_owned())?;
            evidence.push(Evidence::new(check, name, outcome, detail));
        }
        Ok(evidence)
    }

    /// Who signed the tag, and whether it is the tag of earlier records, oldest first.
    pub fn of_tag(
        &self,
        source: &Source,
        raw: Option<&[u8]>,
        earlier: &[Source],
    ) -> anyhow::Result<Vec<Evidence>> {
        let by = signed::tag(raw, source, &self.release.version, self.trust, self.now)
            .with_context(|| format!("check the signature of tag {}", source.tag))?;
        let same = unmoved(source, earlier);
        let evidence =
            |check, Finding { outcome, detail }| Evidence::new(check, &source.tag, outcome, detail);
        Ok(vec![evidence(Check::TagSignature, by), evidence(Check::Tag, same)])
    }

    fn sigstore(&self, file: &AuthenticFile) -> anyhow::Result<Finding> {
        let expected = self.trust.expects_sigstore(&self.release.version);
        let (bundle, subject) = (&file.sidecars.bundle, self.subject(file));
        let parts = (&file.sidecars.signature, &file.sidecars.certificate);
        match (bundle, parts) {
            (Sidecar::Bytes(bundle), _) => signed::bundle(bundle, subject, self.trust),
            (Sidecar::TooLarge, _) => Ok(Finding::too_large("bundle")),
            (_, (Sidecar::Bytes(signature), Sidecar::Bytes(certificate))) => {
                signed::detached(signature, certificate, subject, self.trust)
            }
            (Sidecar::Gone, _) => {
                Ok(self.absent(expected, "its bundle is announced, but not served"))
            }
            (Sidecar::None, _) => Ok(self.absent(expected, "")),
        }
    }

    fn openpgp(&self, file: &AuthenticFile) -> anyhow::Result<Finding> {
        let expected = self.trust.expects_openpgp(&self.release.version);
        match &file.sidecars.asc {
            Sidecar::Bytes(asc) => signed::asc(asc, self.subject(file), self.trust, self.now),
            Sidecar::TooLarge => Ok(Finding::too_large(".asc")),
            Sidecar::Gone => Ok(self.absent(expected, "its .asc is announced, but not served")),
            Sidecar::None => Ok(self.absent(expected, "")),
        }
    }

    fn subject<'f>(&'f self, file: &'f AuthenticFile) -> Subject<'f> {
        Subject { path: &file.path, sha256: file.sha256, version: &self.release.version }
    }

    fn absent(&self, is_expected: bool, detail: &str) -> Finding {
        absent(self.release, self.now, is_expected, detail)
    }
}

/// What it means that something is not there beside a file of `release`.
pub(super) fn absent(
    release: &Release,
    now: Timestamp,
    is_expected: bool,
    detail: &str,
) -> Finding {
    let waiting = SignedDuration::from_hours(WAITING_HOURS_MAX);
    let age = now.duration_since(release.announced);
    let outcome = match (is_expected, age < waiting) {
        (false, _) => CheckOutcome::NotExpected,
        (true, true) => CheckOutcome::NotYet,
        (true, false) => CheckOutcome::Missing,
    };
    Finding::new(outcome, detail)
}

/// Tag, commit and tree against the newest record; the older ones are mentioned where they differ.
fn unmoved(source: &Source, earlier: &[Source]) -> Finding {
    let same_place = |one: &&Source| one.is_same_place(source);
    let earlier: Vec<&Source> = earlier.iter().filter(same_place).collect();
    let Some(last) = earlier.last() else {
        let detail = "there is no earlier record of it to compare with";
        return Finding::new(CheckOutcome::NotExpected, detail);
    };
    if last.commit != source.commit || last.tree != source.tree {
        // The line stops here, unless the operator said that this is right.
        let detail = format!(
            "it moved from commit {} to {} since the last record, and the operator accepted that",
            last.commit, source.commit
        );
        return Finding::new(CheckOutcome::CannotCheck, detail);
    }
    let others = earlier.iter().filter(|one| one.commit != source.commit).count();
    let mut detail = match others {
        0 => format!("commit {} as in every earlier record", source.commit),
        _ => format!("commit {} as in the last record; it moved before that", source.commit),
    };
    if last.tag_object != source.tag_object {
        detail.push_str("; the tag object was made anew");
    }
    Finding::new(CheckOutcome::Agrees, detail)
}

/// The API's size and digests against the bytes.
fn claims(file: &AuthenticFile) -> anyhow::Result<Vec<Evidence>> {
    let AuthenticFile { announced, path, sha256, size, .. } = file;
    let about = || format!("read {}", path.display());
    let md5 = match announced.md5 {
        Some(_) => Some(Md5::of_reader(File::open(path).with_context(about)?).with_context(about)?),
        None => None,
    };
    let name = announced.name.as_str();
    Ok(vec![
        agree(Check::Size, name, announced.size, Some(*size)),
        agree(Check::Sha256, name, announced.sha256, Some(*sha256)),
        agree(Check::Md5, name, announced.md5, md5),
    ])
}

fn agree<T: PartialEq + std::fmt::Display>(
    check: Check,
    name: &str,
    claimed: Option<T>,
    fetched: Option<T>,
) -> Evidence {
    let (outcome, detail) = match (claimed, fetched) {
        (Some(claimed), Some(fetched)) if claimed != fetched => (
            CheckOutcome::Disagrees,
            format!("python.org's API claims {claimed}, the file has {fetched}"),
        ),
        (Some(_), _) => (CheckOutcome::Agrees, String::new()),
        (None, _) => (CheckOutcome::Missing, String::new()),
    };
    Evidence::new(check, name, outcome, detail)
}
