//! What is due when somebody sets the clock.
//!
//! While the daemon runs it sees that, and everything moves along. What a clock wrote that was
//! wrong before is found by its distance: nothing waits so long.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use sqlx::{Sqlite, Transaction};

use super::Store;
use crate::clock;

const DAY_MS: i64 = 24 * 3600 * 1000;

const MOVE: &[&str] = &[
    // What runs may be put back as it was; and when it began says when the next one will.
    "UPDATE jobs SET due_ms = due_ms + ?1,
             started_ms = CASE state WHEN 'running' THEN started_ms + ?1 ELSE started_ms END
         WHERE state IN ('queued', 'running', 'parked') AND state != 'parked'",
    "UPDATE api_requests SET at_ms = at_ms + ?1",
    "UPDATE deliveries SET due_ms = due_ms + ?1 WHERE state = 'due'",
    "UPDATE files SET head_due_ms = head_due_ms + ?1, hash_due_ms = hash_due_ms + ?1",
    "UPDATE releases SET document_ms = document_ms + ?1",
];

/// With the time now, and a day. A job waits a week at most, a delivery some hours; a file is
/// looked at each day and read each week; and nobody has asked anything after now.
const MEND: &[&str] = &[
    "UPDATE jobs SET due_ms = ?1
         WHERE state IN ('queued', 'running', 'parked') AND due_ms > ?1 + 8 * ?2",
    "UPDATE api_requests SET at_ms = ?1 WHERE at_ms > ?1",
    "UPDATE deliveries SET due_ms = ?1 WHERE state = 'due' AND due_ms > ?1 + ?2",
    "UPDATE files SET head_due_ms = MIN(head_due_ms, ?1 + ?2),
             hash_due_ms = MIN(hash_due_ms, ?1 + 7 * ?2)
         WHERE head_due_ms > ?1 + ?2 OR hash_due_ms > ?1 + 7 * ?2",
    "UPDATE releases SET document_ms = ?1 WHERE document_ms > ?1",
];

impl Store {
    /// The wall clock was set by so much: what is due moves along, and so do the `facts` that are
    /// times.
    pub async fn move_times(&self, milliseconds: i64, facts: &[&str]) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        for query in MOVE {
            sqlx::query(*query)
                .bind(milliseconds)
                .execute(&mut *writing)
                .await
                .context("move what is due with the clock")?;
        }
        for name in facts {
            move_fact(&mut writing, name, SignedDuration::from_millis(milliseconds)).await?;
        }
        mend(&mut writing).await?;
        writing.commit().await.context("move what is due with the clock")
    }

    /// The clock may have been wrong before the daemon began: what is due at a time that no wait
    /// explains is due now, or as soon as it is usually looked at.
    pub async fn mend_times(&self) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        mend(&mut writing).await?;
        writing.commit().await.context("move what is due with the clock")
    }
}

async fn mend(writing: &mut Transaction<'static, Sqlite>) -> anyhow::Result<()> {
    let now = clock::now_ms();
    for query in MEND {
        sqlx::query(*query)
            .bind(now)
            .bind(DAY_MS)
            .execute(&mut **writing)
            .await
            .context("mend what a wrong clock wrote")?;
    }
    Ok(())
}

/// One that is no time, or leaves the calendar, stays as it is: it would be no better moved.
async fn move_fact(
    writing: &mut Transaction<'static, Sqlite>,
    name: &str,
    by: SignedDuration,
) -> anyhow::Result<()> {
    let value: Option<String> = sqlx::query_scalar("SELECT value FROM facts WHERE name = ?")
        .bind(name)
        .fetch_optional(&mut **writing)
        .await
        .with_context(|| format!("read {name}"))?;
    let at = value.and_then(|text| text.parse::<Timestamp>().ok());
    let Some(moved) = at.and_then(|at| at.checked_add(by).ok()) else { return Ok(()) };
    sqlx::query("UPDATE facts SET value = ? WHERE name = ?")
        .bind(moved.to_string())
        .bind(name)
        .execute(&mut **writing)
        .await
        .with_context(|| format!("move {name}"))?;
    Ok(())
}
