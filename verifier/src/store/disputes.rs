//! Claims that disagreed and that cannot be checked now: they block a pass until somebody can say
//! that they agree.

use std::collections::BTreeSet;

use anyhow::Context;
use futures_util::StreamExt;

use super::Store;
use crate::evidence::{Check, CheckOutcome, Evidence};
use crate::record::{Record, RecordStatus};

/// Trouble of ours: who disagreed cannot be asked now, so nothing is judged.
#[derive(Debug, thiserror::Error)]
#[error(
    "{claim} disagreed in {before} and cannot be checked now ({why}): without it there is no pass"
)]
pub struct Unsettled {
    /// `witness of Python-3.13.5.tgz`.
    claim: String,
    before: String,
    why: String,
}

impl Store {
    /// Refuses a pass that rests on not having been able to check what disagreed before.
    pub async fn refuse_unsettled(&self, record: &Record) -> anyhow::Result<()> {
        if record.status != RecordStatus::Pass {
            return Ok(());
        }
        let mut unchecked: BTreeSet<(Check, &str)> = claims(&record.evidence)
            .filter(|(_, outcome, _)| *outcome == CheckOutcome::CannotCheck)
            .map(|(claim, ..)| claim)
            .collect();
        if unchecked.is_empty() {
            return Ok(());
        }
        // In a pass nothing disagreed, and nothing that had disagreed before was left unchecked.
        let mut rows = sqlx::query_as(
            "SELECT id, document -> 'evidence' FROM records WHERE version = ?1 AND seq > (
                 SELECT COALESCE(MAX(seq), 0) FROM records
                 WHERE version = ?1 AND status = 'pass')
             ORDER BY seq DESC",
        )
        .bind(record.release.version.to_string())
        .fetch(&self.readers);
        // One after the other: a release that is often asked for has many.
        while let Some(row) = rows.next().await {
            let (id, evidence): (String, String) = row.context("read what was claimed before")?;
            let evidence: Vec<Evidence> =
                serde_json::from_str(&evidence).context("read a record's evidence")?;
            let mut settled = Vec::new();
            for (claim, outcome, _) in claims(&evidence) {
                if !unchecked.contains(&claim) {
                    continue;
                }
                match outcome {
                    CheckOutcome::Disagrees => {
                        let name = claim_name(claim.0, claim.1);
                        return refuse(record, &name, &format!("record {id}"));
                    }
                    CheckOutcome::CannotCheck => {}
                    CheckOutcome::Agrees
                    | CheckOutcome::Missing
                    | CheckOutcome::NotExpected
                    | CheckOutcome::NotYet => settled.push(claim),
                }
            }
            // Of several witnesses one may have disagreed where another one agreed.
            let is_open = |claim: &(Check, &str)| {
                claim.0 == Check::Witness
                    || !settled.iter().any(|(check, name)| (*check, *name) == *claim)
            };
            unchecked.retain(is_open);
            if unchecked.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// What was checked of what, and how that ended.
fn claims(evidence: &[Evidence]) -> impl Iterator<Item = ((Check, &str), CheckOutcome, &str)> {
    evidence.iter().map(|one| ((one.check, one.artifact.as_str()), one.outcome, &*one.detail))
}

/// Refuses the pass of `record` if one of the claims that were `disputed` in the first rebuild of
/// its job could not be checked in this one.
pub(super) fn refuse_unchecked<'a>(
    record: &Record,
    disputed: impl Iterator<Item = &'a str>,
) -> anyhow::Result<()> {
    if record.status != RecordStatus::Pass {
        return Ok(());
    }
    for claim in disputed {
        refuse(record, claim, "the rebuild before")?;
    }
    Ok(())
}

fn refuse(record: &Record, claim: &str, before: &str) -> anyhow::Result<()> {
    let is_unchecked = |((check, artifact), outcome, _): &((Check, &str), CheckOutcome, &str)| {
        *outcome == CheckOutcome::CannotCheck && claim_name(*check, artifact) == claim
    };
    let Some((_, _, why)) = claims(&record.evidence).find(is_unchecked) else { return Ok(()) };
    let (claim, before, why) = (claim.to_owned(), before.to_owned(), why.to_owned());
    Err(Unsettled { claim, before, why }.into())
}

/// A claim in words: `witness of Python-3.13.5.tgz`.
pub(super) fn claim_name(check: Check, artifact: &str) -> String {
    format!("{} of {artifact}", check.as_str())
}
