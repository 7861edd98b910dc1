//! Claims that disagreed and that cannot be checked now: they block a pass until somebody can say
//! that they agree.

use std::collections::BTreeSet;

use anyhow::Context;

use super::Store;
use crate::evidence::{Check, CheckOutcome, Evidence};
use crate::record::{Record, RecordStatus};

/// Trouble of ours: who disagreed cannot be asked now, so nothing is judged.
#[derive(Debug, thiserror::Error)]
#[error(
    "{check} of {artifact} disagreed in record {record} and cannot be checked now ({why}): \
     without it there is no pass"
)]
pub struct Unsettled {
    check: &'static str,
    artifact: String,
    record: String,
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
        for (id, evidence) in self.evidence_since_pass(record).await? {
            let mut settled = Vec::new();
            for (claim, outcome, _) in claims(&evidence) {
                if !unchecked.contains(&claim) {
                    continue;
                }
                match outcome {
                    CheckOutcome::Disagrees => return Err(unsettled(record, claim, id).into()),
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
        }
        Ok(())
    }

    /// The evidence of each record of the release since its last pass, newest first. In a pass
    /// nothing disagreed, and nothing that had disagreed before was left unchecked.
    async fn evidence_since_pass(
        &self,
        record: &Record,
    ) -> anyhow::Result<Vec<(String, Vec<Evidence>)>> {
        let version = record.release.version.to_string();
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, document -> 'evidence' FROM records WHERE version = ?1 AND seq > (
                 SELECT COALESCE(MAX(seq), 0) FROM records
                 WHERE version = ?1 AND status = 'pass')
             ORDER BY seq DESC",
        )
        .bind(&version)
        .fetch_all(&self.readers)
        .await
        .with_context(|| format!("read what was claimed of {version}"))?;
        let read = |(id, text): (String, String)| {
            anyhow::Ok((id, serde_json::from_str(&text).context("read a record's evidence")?))
        };
        rows.into_iter().map(read).collect()
    }
}

/// What was checked of what, and how that ended.
fn claims(evidence: &[Evidence]) -> impl Iterator<Item = ((Check, &str), CheckOutcome, &str)> {
    evidence.iter().map(|one| ((one.check, one.artifact.as_str()), one.outcome, &*one.detail))
}

fn unsettled(record: &Record, (check, artifact): (Check, &str), id: String) -> Unsettled {
    let now = claims(&record.evidence).find(|(claim, outcome, _)| {
        *claim == (check, artifact) && *outcome == CheckOutcome::CannotCheck
    });
    Unsettled {
        check: check.as_str(),
        artifact: artifact.to_owned(),
        record: id,
        why: now.map(|(_, _, detail)| detail.to_owned()).unwrap_or_default(),
    }
}
