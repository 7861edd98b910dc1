//! Bearer tokens: kept by their SHA-256 only, so that the store gives none of them away.

use anyhow::Context;
use jiff::Timestamp;
use rebuilder::Digest;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, name_of, named, time};
use crate::clock;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To ask for rebuilds.
    Request,
    /// To clear alarms and cancel any job, too.
    Operate,
}

/// A token as it is listed. The token itself is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// By which it is revoked.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// SHA-256 of the token.
    pub sha256: String,
    /// When it was made.
    pub created: Timestamp,
    /// Since when it is worth nothing.
    pub revoked: Option<Timestamp>,
}

impl Store {
    /// Keeps a new token; gives the id by which it is revoked.
    pub async fn add_token(&self, name: &str, scope: Scope, token: &str) -> anyhow::Result<String> {
        let id = uuid::Uuid::now_v7().to_string();
        sqlx::query(
            "INSERT INTO tokens (id, name, scope, sha256, created_ms) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&id)
        .bind(name)
        .bind(name_of(&scope)?)
        .bind(Digest::of(token.as_bytes()).to_string())
        .bind(clock::now_ms())
        .execute(&self.writer)
        .await
        .context("keep a token")?;
        Ok(id)
    }

    /// From now on the token is worth nothing; false if there is no such token.
    pub async fn revoke_token(&self, id: &str) -> anyhow::Result<bool> {
        let query = "UPDATE tokens SET revoked_ms = COALESCE(revoked_ms, ?) WHERE id = ?";
        let done = sqlx::query(query).bind(clock::now_ms()).bind(id).execute(&self.writer);
        Ok(done.await.context("revoke a token")?.rows_affected() == 1)
    }

    /// Every token, oldest first.
    pub async fn tokens(&self) -> anyhow::Result<Vec<TokenRow>> {
        let rows = sqlx::query("SELECT * FROM tokens ORDER BY created_ms, id")
            .fetch_all(&self.readers)
            .await
            .context("list the tokens")?;
        rows.iter().map(token).collect()
    }
}

fn token(row: &SqliteRow) -> anyhow::Result<TokenRow> {
    let revoked: Option<i64> = row.try_get("revoked_ms")?;
    Ok(TokenRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        scope: named(row.try_get("scope")?)?,
        sha256: row.try_get("sha256")?,
        created: time(row.try_get("created_ms")?)?,
        revoked: revoked.map(time).transpose()?,
    })
}
