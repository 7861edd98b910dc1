//! A store with as many records and jobs as wanted, written by SQL: the same rows that the store
//! writes, without a transaction for each.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use verifier::store::Store;

/// Records of one release.
const EACH: u32 = 10;

/// Ten records and ten jobs that are done for each of `records` / 10 releases, with two files; a
/// document has this many bytes.
pub async fn fill(path: &Path, records: u32, document_bytes: u32) -> anyhow::Result<()> {
    Store::open(path).await?.close().await;
    let options = SqliteConnectOptions::new().filename(path);
    // It is thrown away if the machine dies meanwhile.
    let mut store = options.pragma("synchronous", "OFF").connect().await?;
    let releases = records / EACH;
    execute(&mut store, RELEASES, releases).await?;
    let filler = format!("%0{document_bytes}d");
    execute(&mut store, &RECORDS.replace("FILLER", &filler), records).await?;
    execute(&mut store, ARTIFACTS, records).await?;
    execute(&mut store, JOBS, records).await?;
    execute(&mut store, REQUESTS, records).await?;
    execute(&mut store, OBSERVATIONS, releases).await?;
    execute(&mut store, NEWEST, 0).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut store).await?;
    store.close().await?;
    Ok(())
}

async fn execute(store: &mut SqliteConnection, sql: &str, count: u32) -> anyhow::Result<()> {
    let sql = sql.replace("VERSION(", "printf('9.%d.%d', ").replace(
        "NUMBERS",
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT ?)",
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    if count > 0 {
        query = query.bind(count);
    }
    query.execute(store).await?;
    Ok(())
}

/// The version of release number `i / 10` is `9.x.y` with a thousand releases a series.
const RELEASES: &str =
    "INSERT INTO releases (version, sort_key, series, announced_ms, api_key, seen_ms)
    NUMBERS SELECT VERSION(i / 1000, i % 1000),
        printf('%010d.%010d.%010d.z.%010d', 9, i / 1000, i % 1000, 0), printf('9.%d', i / 1000),
        1750000000000 + i * 1000, i + 1, 1750000000000 FROM n";
const RECORDS: &str = "INSERT INTO records (id, version, status, finished, document, seq)
    NUMBERS SELECT printf('019a%04x-%04x-7000-8000-%012x', i >> 16, i & 65535, i),
        VERSION(i / 10 / 1000, i / 10 % 1000), iif(i % 7, 'pass', 'fail'),
        '2026-01-01T00:00:00Z', printf('{\"filler\": \"FILLER\"}', i), i + 1 FROM n";
const ARTIFACTS: &str = "INSERT INTO artifacts
    NUMBERS SELECT i + 1, place, 'Python-' || VERSION(i / 10 / 1000, i / 10 % 1000) || ending,
        'reproduced', 'bitwise', printf('%064x', i / 10 * 2 + place), 20000000,
        printf('%064x', i / 10 * 2 + place), 0
    FROM n, (SELECT 0 AS place, '.tgz' AS ending UNION SELECT 1, '.tar.xz')";
const JOBS: &str = "INSERT INTO jobs (id, version, class, base_class, place, state, created_ms,
        due_ms, started_ms, finished_ms, fence, record)
    NUMBERS SELECT printf('019b%04x-%04x-7000-8000-%012x', i >> 16, i & 65535, i),
        VERSION(i / 10 / 1000, i / 10 % 1000), 3, 3, i + 1, 'done', 1750000000000 + i,
        1750000000000 + i, 1750000000000 + i, 1750000060000 + i, 1,
        printf('019a%04x-%04x-7000-8000-%012x', i >> 16, i & 65535, i) FROM n";
const REQUESTS: &str = "INSERT INTO requests (id, job, asked_by, at_ms)
    NUMBERS SELECT printf('019c%04x-%04x-7000-8000-%012x', i >> 16, i & 65535, i),
        printf('019b%04x-%04x-7000-8000-%012x', i >> 16, i & 65535, i), 'anonymous',
        1750000000000 + i FROM n";
const OBSERVATIONS: &str = "INSERT INTO observations (at_ms, kind, version, artifact, detail)
    NUMBERS SELECT 1750000000000 + i, 'release_announced', VERSION(i / 1000, i % 1000), NULL,
        'python.org announces it' FROM n";
const NEWEST: &str = "UPDATE releases SET (record, status) = (
    SELECT id, status FROM records WHERE records.version = releases.version
    ORDER BY seq DESC LIMIT 1)";
