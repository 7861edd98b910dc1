//! Whether a release's newest record is about what is published now, and what its files come to.
//!
//! `releases.status` is the newest record's; `releases.current` is the same, or null while that
//! record is not about what is published: the tag names another commit now, a file was replaced, or
//! python.org lists one that was never judged. While the tag is the same, what does not build, and
//! a file that differs and was not replaced, stay what they are. Whatever may change this calls
//! [`refresh`] in its transaction.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};

use crate::version::Version;

/// How a file stands: its verdict, in which a replay and a false claim are words of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStanding {
    /// Bit for bit.
    Reproduced,
    /// Bit for bit once order, times and owners were taken from the published archive.
    Replayed,
    /// It came out, but a claim about it or about its tag disagrees.
    Disputed,
    Different,
    NotBuilt,
}

/// The word for a row `a` of `artifacts`, as [`FileStanding`] reads it.
macro_rules! standing_of_artifact {
    () => {
        "CASE WHEN a.verdict = 'reproduced' AND a.disputed THEN 'disputed'
             WHEN a.tier = 'replayed' THEN a.tier ELSE a.verdict END"
    };
}

/// The same of what is served now: null for a file that was replaced since. Where the tag moved,
/// nothing is known of any file; whoever shows this looks at `releases.moved`, too.
macro_rules! standing_now {
    () => {
        concat!(
            "CASE WHEN NOT EXISTS (SELECT 1 FROM files INDEXED BY files_replaced
                 WHERE files.name = a.name AND files.replaced)
             THEN ",
            $crate::store::current::standing_of_artifact!(),
            " END"
        )
    };
}

pub(super) use {standing_now, standing_of_artifact};

/// Works out whether the newest record of `version` is about what is published now.
pub(super) async fn refresh(
    writing: &mut Transaction<'static, Sqlite>,
    version: &Version,
) -> anyhow::Result<()> {
    const CURRENT: &str = concat!(
        "UPDATE releases SET current = CASE
             WHEN moved THEN NULL
             WHEN releases.status = 'not_built' THEN releases.status
             WHEN releases.status = 'fail' AND EXISTS (
                 SELECT 1 FROM artifacts AS a WHERE a.seq = n.seq
                     AND ",
        standing_now!(),
        " IN ('different', 'disputed')
             ) THEN releases.status
             WHEN EXISTS (
                 SELECT 1 FROM artifacts AS a WHERE a.seq = n.seq AND ",
        standing_now!(),
        " IS NULL
             ) THEN NULL
             WHEN releases.status = 'pass' AND EXISTS (
                 SELECT 1 FROM json_each(releases.document, '$.files') AS listed
                 WHERE listed.value ->> 'name'
                     NOT IN (SELECT name FROM artifacts AS a WHERE a.seq = n.seq)
             ) THEN NULL
             ELSE releases.status
         END
         FROM records AS n WHERE n.id = releases.record AND releases.version = ?"
    );
    // A tag that is gone was last seen as it stands there.
    const MOVED: &str = "UPDATE releases SET moved = EXISTS (
            SELECT 1 FROM tags WHERE tags.name = n.document -> 'source' ->> 'tag'
                AND tags.repository = n.document -> 'source' ->> 'repository'
                AND tags.commit_id <> n.document -> 'source' ->> 'commit')
        FROM records AS n WHERE n.id = releases.record AND releases.version = ?";
    for query in [MOVED, CURRENT] {
        sqlx::query(query)
            .bind(version.to_string())
            .execute(&mut **writing)
            .await
            .with_context(|| format!("keep how {version} stands"))?;
    }
    Ok(())
}

/// Whether the tag of `version` names another commit than that of its newest record.
pub(super) async fn is_moved(
    writing: &mut Transaction<'static, Sqlite>,
    version: &Version,
) -> anyhow::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM releases WHERE version = ? AND moved)";
    sqlx::query_scalar(query)
        .bind(version.to_string())
        .fetch_one(&mut **writing)
        .await
        .with_context(|| format!("read how {version} stands"))
}
