//! What others say of the published bytes: the SPDX document beside a file, and the witnesses who
//! keep records of their own.
//!
//! To read every member of an archive and to ask others takes its time, so this runs beside the
//! rebuild and not before it. It gives evidence; only trouble of this machine is an error.

use anyhow::Context;
use jiff::Timestamp;

use super::AuthenticFile;
use super::checks::absent;
use super::sbom;
use super::sidecars::Sidecar;
use super::signed::Finding;
use super::witness::{self, Question, Witness};
use crate::compare::Limits;
use crate::environment;
use crate::evidence::{Check, Evidence};
use crate::http::Client;
use crate::release::Release;

/// Who is asked about which files.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    pub client: &'a Client,
    /// The archives whose indexes are witnesses, and who signs them.
    pub settings: &'a environment::Settings,
    pub witnesses: &'a [Witness],
    pub release: &'a Release,
    pub files: &'a [AuthenticFile],
}

/// Reads the documents and asks the witnesses, who are waited for no longer than `patience`.
pub async fn take(
    inquiry: Inquiry<'_>,
    patience: impl Future<Output = ()>,
) -> anyhow::Result<Vec<Evidence>> {
    let Inquiry { client, settings, witnesses, release, files } = inquiry;
    let (release_, files_) = (release.clone(), files.to_vec());
    let documents = tokio::task::spawn_blocking(move || of_documents(&release_, &files_));
    let file = |file: &AuthenticFile| (file.announced.name.to_string(), file.sha256);
    let asked: Vec<_> = files.iter().map(file).collect();
    let question = Question { client, settings, version: &release.version, files: &asked };
    let (documents, testimony) =
        tokio::join!(documents, witness::ask(question, witnesses, patience));
    let mut evidence = documents.context("check the SPDX documents")??;
    evidence.extend(testimony);
    Ok(evidence)
}

fn of_documents(release: &Release, files: &[AuthenticFile]) -> anyhow::Result<Vec<Evidence>> {
    files.iter().map(|file| of_document(release, file)).collect()
}

fn of_document(release: &Release, file: &AuthenticFile) -> anyhow::Result<Evidence> {
    let name = file.announced.name.as_str();
    let missing = |detail| {
        let is_expected = sbom::is_expected(&release.version);
        absent(release, Timestamp::now(), is_expected, detail)
    };
    let Finding { outcome, detail } = match &file.sidecars.sbom {
        Sidecar::Bytes(document) => {
            return sbom::check(document, name, file.sha256, &file.path, &Limits::default())
                .with_context(|| format!("check the SPDX document of {name}"));
        }
        Sidecar::TooLarge => return Ok(sbom::too_large(name)),
        Sidecar::Gone => missing("its SPDX document is announced, but not served"),
        Sidecar::None => missing(""),
    };
    Ok(Evidence::new(Check::Sbom, name, outcome, detail))
}
