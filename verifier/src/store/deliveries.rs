//! What webhooks are owed, and how it went. A change and what is owed because of it are written in
//! one transaction; a delivery that was taken and not ended is due again.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::records::change_row;
use super::{ChangeRow, Store, commit, name_of, named, time};
use crate::clock;
use crate::webhook::Webhook;

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be sent, for the first time or again.
    Due,
    /// The receiver took it.
    Delivered,
    /// It was tried for long enough.
    Failed,
}

/// A delivery in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its place: newer is greater.
    pub seq: i64,
    /// The webhook's name.
    pub webhook: String,
    /// What it tells.
    pub change: ChangeRow,
    /// How it stands.
    pub state: DeliveryState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Not before this time, if it is due.
    pub due: Timestamp,
    /// When it was delivered or given up.
    pub finished: Option<Timestamp>,
    /// What the last attempt came to.
    pub answer: Option<String>,
}

/// A delivery and its change, as `delivery_row` reads them.
const DELIVERY: &str = "SELECT deliveries.seq AS delivery, webhook, state, attempts, due_ms,
        finished_ms, answer, changes.seq AS seq, at_ms, version, was, status, record
    FROM deliveries JOIN changes ON changes.seq = deliveries.change";

impl Store {
    /// From now on changes are owed to these webhooks. What is still owed to others is given up.
    pub async fn set_webhooks(&self, webhooks: &[Webhook]) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        sqlx::query("DELETE FROM webhooks")
            .execute(&mut *writing)
            .await
            .context("forget the webhooks")?;
        for webhook in webhooks {
            sqlx::query("INSERT INTO webhooks (name, series) VALUES (?, ?)")
                .bind(&webhook.name)
                .bind(&webhook.series)
                .execute(&mut *writing)
                .await
                .context("keep a webhook")?;
        }
        sqlx::query(
            "UPDATE deliveries SET state = 'failed', finished_ms = ?,
                 answer = 'the webhook is no longer configured'
             WHERE state = 'due' AND webhook NOT IN (SELECT name FROM webhooks)",
        )
        .bind(clock::now_ms())
        .execute(&mut *writing)
        .await
        .context("give up what nobody waits for")?;
        writing.commit().await.context("keep the webhooks")
    }

    /// Takes the first delivery that is due to `webhook`: for `lease` it is nobody else's.
    pub async fn take_delivery(
        &self,
        webhook: &str,
        lease: SignedDuration,
    ) -> anyhow::Result<Option<DeliveryRow>> {
        let now = clock::now_ms();
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT seq FROM deliveries WHERE webhook = ? AND state = 'due' AND due_ms <= ?
             ORDER BY due_ms, seq LIMIT 1",
        )
        .bind(webhook)
        .bind(now)
        .fetch_optional(&self.readers)
        .await
        .context("look for a delivery")?;
        // Most looks find nothing, and do not ask for the right to write.
        let Some(seq) = due else { return Ok(None) };
        let mut writing = self.write().await?;
        let taken = sqlx::query(
            "UPDATE deliveries SET attempts = attempts + 1, due_ms = ?
             WHERE seq = ? AND state = 'due' AND due_ms <= ?",
        )
        .bind(now.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX)))
        .bind(seq)
        .bind(now)
        .execute(&mut *writing)
        .await
        .context("take a delivery")?;
        if taken.rows_affected() == 0 {
            return Ok(None);
        }
        commit(writing, "take_delivery", "take a delivery").await?;
        let query = format!("{DELIVERY} WHERE deliveries.seq = ?");
        let row = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(seq)
            .fetch_one(&self.readers)
            .await
            .context("read a delivery")?;
        delivery_row(&row).map(Some)
    }

    /// It did not arrive: it is sent again at `due`.
    pub async fn send_again(&self, seq: i64, answer: &str, due: Timestamp) -> anyhow::Result<()> {
        let query = "UPDATE deliveries SET answer = ?, due_ms = ? WHERE seq = ? AND state = 'due'";
        let mut writing = self.write().await?;
        sqlx::query(query)
            .bind(answer)
            .bind(due.as_millisecond())
            .bind(seq)
            .execute(&mut *writing)
            .await
            .context("note how a delivery went")?;
        commit(writing, "send_again", "note how a delivery went").await
    }

    /// It arrived, or it is given up.
    pub async fn end_delivery(
        &self,
        seq: i64,
        state: DeliveryState,
        answer: &str,
    ) -> anyhow::Result<()> {
        let query = "UPDATE deliveries SET state = ?, answer = ?, finished_ms = ?
            WHERE seq = ? AND state = 'due'";
        let mut writing = self.write().await?;
        sqlx::query(query)
            .bind(name_of(&state)?)
            .bind(answer)
            .bind(clock::now_ms())
            .bind(seq)
            .execute(&mut *writing)
            .await
            .context("note how a delivery went")?;
        commit(writing, "end_delivery", "note how a delivery went").await
    }

    /// Deliveries before the place `before`, newest first.
    pub async fn deliveries(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> anyhow::Result<Vec<DeliveryRow>> {
        let query =
            format!("{DELIVERY} WHERE deliveries.seq < ? ORDER BY deliveries.seq DESC LIMIT ?");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .context("list the deliveries")?;
        rows.iter().map(delivery_row).collect()
    }
}

/// The change is owed to every webhook that wants its series.
pub(super) async fn owe(
    writing: &mut Transaction<'static, Sqlite>,
    change: i64,
    series: &str,
) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO deliveries (webhook, change, state, due_ms)
         SELECT name, ?, 'due', ? FROM webhooks WHERE series IS NULL OR series = ? ORDER BY name",
    )
    .bind(change)
    .bind(clock::now_ms())
    .bind(series)
    .execute(&mut **writing)
    .await
    .context("keep what webhooks are owed")?;
    Ok(())
}

fn delivery_row(row: &SqliteRow) -> anyhow::Result<DeliveryRow> {
    let finished: Option<i64> = row.try_get("finished_ms")?;
    Ok(DeliveryRow {
        seq: row.try_get("delivery")?,
        webhook: row.try_get("webhook")?,
        change: change_row(row)?,
        state: named(row.try_get("state")?)?,
        attempts: row.try_get("attempts")?,
        due: time(row.try_get("due_ms")?)?,
        finished: finished.map(time).transpose()?,
        answer: row.try_get("answer")?,
    })
}
