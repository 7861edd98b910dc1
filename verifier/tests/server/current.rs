//! A release is what its newest record says only while that record is about what is served now.

use std::collections::BTreeMap;

use rebuilder::Digest;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use verifier::evidence::{Check, CheckOutcome, Evidence};
use verifier::queue::Why;
use verifier::record::{Record, RecordStatus, VerdictName};
use verifier::release::{PublishedFile, Release};
use verifier::source::{Source, TagMove};
use verifier::store::{FileLook, FileRow, FileStanding, Look, Store};

use super::badges::{judged, says};
use super::site::Server;
use super::stored::make_old;

const VERSION: &str = "3.13.5";
const TGZ: &str = "Python-3.13.5.tgz";
const TAR_XZ: &str = "Python-3.13.5.tar.xz";

/// A record whose files have digests of their own.
fn two_files(status: RecordStatus, verdicts: [VerdictName; 2]) -> Record {
    let mut record = judged(VERSION, status, verdicts);
    for artifact in &mut record.artifacts {
        artifact.published.sha256 = Digest::of(artifact.name.as_bytes());
    }
    record
}

fn passed() -> Record {
    two_files(RecordStatus::Pass, [VerdictName::Reproduced; 2])
}

async fn with(record: &Record) -> Server {
    let server = Server::start().await;
    server.announce(&[VERSION]).await;
    server.store.append(record).await.unwrap();
    server
}

/// What a look at a file of `record` found.
async fn look(server: &Server, record: &Record, name: &str, look: Look, found: FileLook) {
    let artifact = record.artifacts.iter().find(|artifact| artifact.name == name).unwrap();
    let file = FileRow {
        name: name.to_owned(),
        version: VERSION.parse().unwrap(),
        url: artifact.url.clone(),
        read: Some((artifact.published.sha256.to_string(), artifact.published.size)),
        modified: None,
        state: "ok".to_owned(),
    };
    server.store.looked(&file, look, &found).await.unwrap();
}

async fn replace(server: &Server, record: &Record, name: &str) {
    let detail = format!("{name} is now served with other bytes");
    look(server, record, name, Look::Hash, FileLook::Changed { detail }).await;
}

async fn restore(server: &Server, record: &Record, name: &str) {
    look(server, record, name, Look::Hash, FileLook::Same { modified: None }).await;
}

/// Of the badge, and of each file's.
async fn badges(server: &Server) -> [String; 3] {
    let name = |file: &str| format!("{VERSION}/{file}");
    let message = |text: String| text.split_once(": ").unwrap().1.to_owned();
    [
        message(says(server, VERSION).await),
        message(says(server, &name(TGZ)).await),
        message(says(server, &name(TAR_XZ)).await),
    ]
}

async fn page(server: &Server) -> String {
    server.get(&format!("/releases/{VERSION}")).await.text
}

async fn status(server: &Server) -> Value {
    let one = server.get(&format!("/api/v1/releases/{VERSION}")).await.json()["status"].clone();
    let list = server.get("/api/v1/releases").await.json();
    assert_eq!(list["items"][0]["status"], one);
    one
}

async fn changes(server: &Server) -> usize {
    server.get("/feed.atom").await.text.matches("<entry>").count()
}

#[tokio::test]
async fn a_pass_does_not_outlive_the_bytes_that_it_is_about() {
    let record = passed();
    let server = with(&record).await;
    assert_eq!(badges(&server).await, ["reproduced 2/2", "reproduced", "reproduced"]);
    assert_eq!(status(&server).await, "pass");
    replace(&server, &record, TGZ).await;
    assert_eq!(badges(&server).await, ["checking", "checking", "reproduced"]);
    assert_eq!(status(&server).await, Value::Null);
    let page = page(&server).await;
    assert!(page.contains("What is published now is not judged so far"), "{page}");
    assert_eq!(page.matches("Other bytes are served under this name since").count(), 1);
    let overview = server.get("/").await.text;
    assert!(!overview.contains("<td class=\"p\"><i>pass</i></td><td class=\"p\">"), "{overview}");
    assert!(overview.contains("<td class=\"q\"><i>pending</i></td>"), "{overview}");
    assert!(overview.contains("<td class=\"p\"><i>pass</i></td>"), "the other file is as it was");
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("verbatim_releases{status=\"not_checked\"} 1"), "{metrics}");
    restore(&server, &record, TGZ).await;
    assert_eq!(badges(&server).await, ["reproduced 2/2", "reproduced", "reproduced"]);
    assert_eq!((status(&server).await, changes(&server).await), ("pass".into(), 1));
}

/// A file that python.org lists.
fn listed(name: &str) -> PublishedFile {
    PublishedFile {
        name: name.parse().unwrap(),
        url: format!("https://www.python.org/ftp/python/{VERSION}/{name}").parse().unwrap(),
        size: Some(7),
        sha256: None,
        md5: None,
        sidecars: Default::default(),
    }
}

#[tokio::test]
async fn a_file_that_was_never_judged_is_no_part_of_a_pass() {
    let mut record = passed();
    let server = with(&record).await;
    let mut release = Release {
        version: VERSION.parse().unwrap(),
        announced: record.release.announced,
        files: vec![listed(TGZ), listed(TAR_XZ)],
        ignored: Vec::new(),
    };
    server.store.learn_files(&release).await.unwrap();
    assert_eq!(badges(&server).await[0], "reproduced 2/2");
    release.files.push(listed("Python-3.13.5.tar.bz2"));
    server.store.learn_files(&release).await.unwrap();
    assert_eq!(badges(&server).await, ["checking", "reproduced", "reproduced"]);
    let added = says(&server, &format!("{VERSION}/Python-3.13.5.tar.bz2")).await;
    assert_eq!(added, "Python-3.13.5.tar.bz2: checking");
    assert_eq!(status(&server).await, Value::Null);
    let page = page(&server).await;
    let (_, unjudged) = page.split_once("Files that were never judged").unwrap();
    assert!(unjudged.contains("Python-3.13.5.tar.bz2") && !unjudged.contains(TGZ), "{page}");
    let mut third = record.artifacts[0].clone();
    third.name = "Python-3.13.5.tar.bz2".to_owned();
    record.artifacts.push(third);
    record.id = passed().id;
    server.store.append(&record).await.unwrap();
    assert_eq!(badges(&server).await[0], "reproduced 3/3");
    assert_eq!(changes(&server).await, 1, "it passed before, and passes");
}

#[tokio::test]
async fn what_differs_still_differs_until_that_very_file_is_replaced() {
    use VerdictName::{Different, Reproduced};
    let record = two_files(RecordStatus::Fail, [Reproduced, Different]);
    let server = with(&record).await;
    assert_eq!(badges(&server).await, ["differs 1/2", "reproduced", "differs"]);
    replace(&server, &record, TGZ).await;
    assert_eq!(badges(&server).await, ["differs 1/2", "checking", "differs"]);
    assert_eq!(status(&server).await, "fail");
    replace(&server, &record, TAR_XZ).await;
    assert_eq!(badges(&server).await, ["checking", "checking", "checking"]);
    assert_eq!(status(&server).await, Value::Null);
    let broken = two_files(RecordStatus::NotBuilt, [VerdictName::NotBuilt; 2]);
    let server = with(&broken).await;
    replace(&server, &broken, TGZ).await;
    assert_eq!(badges(&server).await, ["not built", "checking", "not built"]);
}

#[tokio::test]
async fn a_file_whose_claims_disagree_passes_nowhere() {
    for (check, about, tar_xz) in
        [(Check::Witness, TGZ, "reproduced"), (Check::TagSignature, "v3.13.5", "claims disagree")]
    {
        let mut record = two_files(RecordStatus::Fail, [VerdictName::Reproduced; 2]);
        let detail = "mary keeps SHA-256 00ff".to_owned();
        record.evidence.push(Evidence::new(check, about, CheckOutcome::Disagrees, detail));
        let server = with(&record).await;
        assert_eq!(badges(&server).await, ["claims disagree", "claims disagree", tar_xz]);
        let page = page(&server).await;
        let about_it = page.matches("but a claim about it or its tag disagrees").count();
        let passing = page.matches("<span class=\"s p\">pass</span></h3>").count();
        let disputed = if tar_xz == "reproduced" { 1 } else { 2 };
        assert_eq!((about_it, passing), (disputed, 2 - disputed), "{page}");
        let overview = server.get("/").await.text;
        assert_eq!(overview.matches("<td class=\"p\"><i>pass</i></td>").count(), 2 - disputed);
        let feed = server.get("/feed.atom").await.text;
        assert_eq!(feed.matches("but a claim about it disagrees").count(), disputed);
    }
}

#[tokio::test]
async fn a_record_of_earlier_bytes_does_not_hide_that_they_were_replaced() {
    let mut record = passed();
    let server = with(&record).await;
    replace(&server, &record, TGZ).await;
    // An attempt that had fetched the file before.
    record.id = passed().id;
    server.store.append(&record).await.unwrap();
    assert_eq!(badges(&server).await[0], "checking");
    let due = server.store.files_due(Look::Hash, 10).await.unwrap();
    let due: Vec<&str> = due.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(due, [TGZ], "its bytes are looked at at once");
    restore(&server, &record, TGZ).await;
    assert_eq!(badges(&server).await[0], "reproduced 2/2");
    // A record of the new bytes is about what is served.
    replace(&server, &record, TGZ).await;
    record.id = passed().id;
    record.artifacts[0].published.sha256 = Digest::of(b"other bytes");
    server.store.append(&record).await.unwrap();
    assert_eq!(badges(&server).await[0], "reproduced 2/2");
}

/// The schema before it was known what is served now.
const OLD: i64 = 8;

/// A release of that schema with its one file, its record and maybe what python.org lists.
async fn insert_old(
    store: &mut SqliteConnection,
    number: i64,
    record: &Record,
    listed: Option<&str>,
) {
    let version = record.release.version.to_string();
    let status = serde_json::to_value(record.status).unwrap();
    let (status, id) = (status.as_str().unwrap(), &*record.id);
    let document = serde_json::to_string(record).unwrap();
    let artifact = &record.artifacts[0];
    let sha256 = artifact.published.sha256.to_string();
    for (query, values) in [
        (
            "INSERT INTO records (seq, id, version, status, document, finished)
             VALUES (?, ?, ?, ?, ?, '2026-01-01T00:00:00Z')",
            vec![id, &version, status, &document],
        ),
        (
            "INSERT INTO artifacts VALUES (?, 0, ?, 'reproduced', NULL, ?, 5, ?)",
            vec![&artifact.name, &sha256, &sha256],
        ),
        (
            "INSERT INTO releases (announced_ms, version, sort_key, series, record, status,
                 document, seen_ms) VALUES (?, ?, ?, '3.13', ?, ?, ?, 0)",
            vec![&version, &version, id, status, listed.unwrap_or("null")],
        ),
        (
            "INSERT INTO files (head_due_ms, hash_due_ms, bytes, name, version, url, sha256, state)
             VALUES (?1, 0, 5, ?2, ?3, 'https://example.org/', ?4, ?5)",
            vec![&artifact.name, &version, &sha256, if number == 2 { "changed" } else { "ok" }],
        ),
    ] {
        let mut query = sqlx::query(query).bind(number);
        for value in &values {
            query = query.bind((*value != "null").then(|| (*value).to_owned()));
        }
        query.execute(&mut *store).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_of_before_is_read_as_if_it_had_always_known() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = make_old(directory.path(), OLD).await;
    let listed = Release {
        version: "3.13.4".parse().unwrap(),
        announced: passed().release.announced,
        files: vec![listed(TGZ)],
        ignored: Vec::new(),
    };
    let listed = serde_json::to_string(&listed).unwrap();
    for number in 1..=4 {
        let mut one = super::site::record(&format!("3.13.{number}"));
        if number == 3 {
            one.status = RecordStatus::Fail;
            let file = one.artifacts[0].name.clone();
            let claim = Evidence::new(Check::Md5, &file, CheckOutcome::Disagrees, String::new());
            one.evidence.push(claim);
        }
        insert_old(&mut connection, number, &one, (number == 4).then_some(&listed)).await;
    }
    connection.close().await.unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    for (number, status, files) in [
        (1, Some(RecordStatus::Pass), vec![Some(FileStanding::Reproduced)]),
        (2, None, vec![None]),
        (3, Some(RecordStatus::Fail), vec![Some(FileStanding::Disputed)]),
        (4, None, vec![Some(FileStanding::Reproduced), None]),
    ] {
        let version = format!("3.13.{number}").parse().unwrap();
        let standing = store.standing(&version).await.unwrap().unwrap();
        let found: Vec<Option<FileStanding>> =
            standing.files.iter().map(|(_, file)| *file).collect();
        assert_eq!((standing.status, found), (status, files), "{version}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_pass_does_not_outlive_its_tag() {
    let mut record = passed();
    record.source.tag = format!("v{VERSION}");
    let server = with(&record).await;
    let tags = async |repository: &str, commit: &str| {
        let tags = BTreeMap::from([(record.source.tag.clone(), commit.to_owned())]);
        server.store.tags_seen(repository, &tags).await.unwrap();
        says(&server, VERSION).await.split_once(": ").unwrap().1.to_owned()
    };
    let repository = &record.source.repository;
    assert_eq!(tags(repository, &record.source.commit).await, "reproduced 2/2");
    assert_eq!(tags(repository, "another").await, "checking");
    assert_eq!(badges(&server).await, ["checking"; 3]);
    let overview = server.get("/").await.text;
    assert!(!overview.contains("<td class=\"p\"><i>pass</i></td>"), "{overview}");
    assert!(!page(&server).await.contains("<span class=\"s p\">pass</span></h3>"));
    // The last that was seen of a tag that is gone is that it had moved.
    let gone = BTreeMap::from([("v3.0.0".to_owned(), "some".to_owned())]);
    server.store.tags_seen(repository, &gone).await.unwrap();
    restore(&server, &record, TGZ).await;
    assert_eq!(badges(&server).await, ["checking"; 3]);
    assert_eq!(tags(repository, "another").await, "checking");
    assert_eq!(status(&server).await, Value::Null);
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    let moved = TagMove {
        repository: repository.clone(),
        tag: record.source.tag.clone(),
        recorded: record.source.commit.clone(),
        now: "another".to_owned(),
    };
    server.store.park_moved(&lease, &moved).await.unwrap();
    assert_eq!(badges(&server).await[0], "not checked");
    assert!(page(&server).await.contains("Not checked until somebody has looked"));
    let mut accepted = passed();
    accepted.source = Source { commit: "another".to_owned(), ..record.source.clone() };
    server.store.append(&accepted).await.unwrap();
    assert_eq!(badges(&server).await[0], "reproduced 2/2");
    assert_eq!(tags(repository, &record.source.commit).await, "checking", "moved back");
    // What another repository has says nothing about this one.
    assert_eq!(tags("elsewhere", "a third").await, "reproduced 2/2");
}

#[tokio::test]
async fn a_tag_that_moves_during_the_first_verification_is_looked_at_after_it() {
    let server = Server::start().await;
    server.announce(&[VERSION]).await;
    let mut record = passed();
    record.source.tag = format!("v{VERSION}");
    let job = server.store.enqueue(&VERSION.parse().unwrap(), Why::Release).await.unwrap();
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    let tags = BTreeMap::from([(record.source.tag.clone(), "another".to_owned())]);
    server.store.tags_seen(&record.source.repository, &tags).await.unwrap();
    server.store.settle(&lease, &record).await.unwrap();
    assert_eq!(badges(&server).await, ["checking"; 3]);
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    assert_ne!(lease.job, job.id);
    // Whatever comes of that: it does not go on for ever.
    record.id = passed().id;
    server.store.settle(&lease, &record).await.unwrap();
    assert_eq!(server.store.claim("the test").await.unwrap(), None);
}

#[tokio::test]
async fn a_look_that_took_long_says_nothing_about_other_bytes() {
    let record = passed();
    let server = with(&record).await;
    let mut newer = passed();
    newer.artifacts[0].published.sha256 = Digest::of(b"other bytes");
    server.store.append(&newer).await.unwrap();
    let due = server.store.files_due(Look::Hash, 10).await.unwrap();
    assert_eq!(due.len(), 1, "which of the two are served is looked at at once");
    // It began before that record.
    replace(&server, &record, TGZ).await;
    assert_eq!(badges(&server).await[0], "reproduced 2/2");
    assert_eq!(server.store.alarms().await.unwrap(), []);
}
