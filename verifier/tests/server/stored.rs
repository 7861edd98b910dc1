//! The store itself: its queue's order, and what it does with files of other versions or damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, SqliteConnection};

use verifier::feed::Announced;
use verifier::observation::ObservationKind;
use verifier::queue::{JobState, Why};
use verifier::release::Release;
use verifier::source::TagMove;
use verifier::store::Store;
use verifier::version::Version;

use super::site::record;

/// A store as it was at this version, in `records.sqlite`.
pub async fn make_old(directory: &Path, version: i64) -> SqliteConnection {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let old = directory.join("old");
    fs::create_dir(&old).unwrap();
    for file in fs::read_dir(&migrations).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        if name[..4].parse::<i64>().unwrap() <= version {
            fs::copy(file.path(), old.join(name)).unwrap();
        }
    }
    let mut connection = other(&directory.join("records.sqlite")).await;
    Migrator::new(old).await.unwrap().run(&mut connection).await.unwrap();
    connection
}

async fn other(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}?mode=rwc", path.display())).await.unwrap()
}

async fn claimed(store: &Store) -> Vec<String> {
    let mut versions = Vec::new();
    while let Some(lease) = store.claim("test").await.unwrap() {
        versions.push(lease.version.to_string());
    }
    versions
}

#[tokio::test]
async fn jobs_run_by_class_and_within_it_first_come_first_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    for (version, why) in [
        ("3.1.1", Why::Backfill),
        ("3.1.2", Why::Recheck),
        ("3.1.3", Why::Backfill),
        ("3.1.4", Why::Request),
        ("3.1.5", Why::Release),
        ("3.1.6", Why::Request),
        ("3.1.7", Why::Recheck),
        ("3.1.8", Why::Release),
        // Wanted again for a better reason: it is one job, of that class from now on.
        ("3.1.3", Why::Request),
    ] {
        store.enqueue(&version.parse().unwrap(), why).await.unwrap();
    }
    let expected = ["3.1.5", "3.1.8", "3.1.4", "3.1.6", "3.1.3", "3.1.2", "3.1.7", "3.1.1"];
    assert_eq!(claimed(&store).await, expected);
}

/// A release of this date.
fn dated(version: &str, date: &str) -> Announced {
    let date = format!("{date}T00:00:00Z").parse().unwrap();
    Announced { version: version.parse().unwrap(), date, key: 1 }
}

#[tokio::test]
async fn history_that_a_short_list_left_out_is_no_news() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    assert_eq!(store.learn(&[dated("3.9.9", "2021-11-15")], None).await.unwrap(), 0);
    let all = [
        dated("3.9.8", "2021-09-05"),
        dated("3.9.9", "2021-11-15"),
        dated("3.8.13", "2021-11-14"),
        dated("3.9.10", "2022-01-14"),
    ];
    assert_eq!(store.learn(&all, None).await.unwrap(), 2);
    assert_eq!(claimed(&store).await, ["3.9.10", "3.8.13"]);
}

#[tokio::test]
async fn a_date_to_come_makes_no_release_history() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let mut list = vec![dated("3.9.8", "2099-01-01")];
    assert_eq!(store.learn(&list, None).await.unwrap(), 0);
    // With nothing else to go by, the newest release is of today.
    list.push(dated("3.9.7", "2021-08-30"));
    assert_eq!(store.learn(&list, None).await.unwrap(), 0);
    list.extend([dated("3.9.9", "2021-11-15"), dated("3.8.13", "2021-06-14")]);
    assert_eq!(store.learn(&list, None).await.unwrap(), 1);
    assert_eq!(claimed(&store).await, ["3.9.9"]);
}

#[tokio::test]
async fn a_jobs_trouble_is_over_when_it_only_waits() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    store.enqueue(&"3.1.1".parse().unwrap(), Why::Request).await.unwrap();
    let now = jiff::Timestamp::now();
    let lease = store.claim("test").await.unwrap().unwrap();
    store.retry(&lease, "the disk is full", now).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    assert_eq!(lease.attempts, 1);
    store.wait(&lease, "no tag yet", now).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    assert_eq!(lease.attempts, 0);
}

#[tokio::test]
async fn a_tag_that_a_worker_sees_moved_is_observed_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let moved = TagMove {
        repository: "cpython.git".to_owned(),
        tag: "v3.1.1".to_owned(),
        recorded: "1".repeat(40),
        now: "2".repeat(40),
    };
    let tags = BTreeMap::from([(moved.tag.clone(), moved.recorded.clone())]);
    store.tags_seen(&moved.repository, &tags).await.unwrap();
    for _ in 0..2 {
        store.enqueue(&"3.1.1".parse().unwrap(), Why::Request).await.unwrap();
        let lease = store.claim("test").await.unwrap().unwrap();
        store.park_moved(&lease, &moved).await.unwrap();
        let job = store.job(&lease.job).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempts, job.error), (JobState::Parked, 0, None));
        let [was, now] = [&moved.recorded, &moved.now];
        let reason = format!("tag v3.1.1 named commit {was} and now names {now}");
        assert_eq!(job.waiting, Some(reason));
    }
    // Who asks for it has it tried again, with a place in the queue.
    let (_, job) = store.request(&"3.1.1".parse().unwrap(), "somebody").await.unwrap();
    assert_eq!((job.state, job.waiting, job.position), (JobState::Queued, None, Some(1)));
    let tags = BTreeMap::from([(moved.tag.clone(), moved.now.clone())]);
    assert!(store.tags_seen(&moved.repository, &tags).await.unwrap().moved.is_empty());
    let seen = store.observations(None, 9).await.unwrap();
    let [(_, seen)] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((seen.kind, seen.artifact.as_deref()), (ObservationKind::TagMoved, Some("v3.1.1")));
    assert_eq!(store.alarms().await.unwrap().len(), 1);
}

/// The jobs that wait for a worker.
async fn queued(store: &Store) -> Vec<Why> {
    let jobs = store.jobs(Some(JobState::Queued), None, 9).await.unwrap();
    jobs.into_iter().map(|(_, job)| job.why).collect()
}

#[tokio::test]
async fn an_input_that_changes_while_a_job_runs_is_verified_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let version: Version = "3.13.5".parse().unwrap();
    store.enqueue(&version, Why::Release).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    store.enqueue(&version, Why::Request).await.unwrap();
    store.enqueue(&version, Why::Recheck).await.unwrap();
    assert_eq!(queued(&store).await, []);
    store.settle(&lease, &record("3.13.5")).await.unwrap();
    assert_eq!(queued(&store).await, [Why::Recheck]);
    // Who asks while it runs joins it. What runs once more reads the inputs anew.
    let lease = store.claim("test").await.unwrap().unwrap();
    store.enqueue(&version, Why::Request).await.unwrap();
    store.enqueue(&version, Why::Recheck).await.unwrap();
    store.put_back(&lease).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    store.enqueue(&version, Why::Request).await.unwrap();
    store.settle(&lease, &record("3.13.5")).await.unwrap();
    assert_eq!(queued(&store).await, []);
}

#[tokio::test]
async fn a_claim_that_changes_while_the_first_job_runs_is_verified_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let claimed = |size: u64| -> Release {
        serde_json::from_value(json!({
            "version": "3.13.5", "announced": "2025-06-11T17:00:00Z", "ignored": [],
            "files": [{
                "name": "Python-3.13.5.tgz", "sha256": null, "md5": null, "size": size,
                "url": "https://www.python.org/ftp/python/3.13.5/Python-3.13.5.tgz",
            }],
        }))
        .unwrap()
    };
    store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    // What a job waits for may have come.
    store.learn_files(&claimed(0)).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    store.wait(&lease, "no signature yet", later).await.unwrap();
    store.learn_files(&claimed(0)).await.unwrap();
    assert_eq!(store.claim("test").await.unwrap(), None, "nothing came");
    store.learn_files(&claimed(1)).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    store.learn_files(&claimed(2)).await.unwrap();
    // That is what the worker itself begins with.
    store.learn_first(&claimed(3), &lease).await.unwrap();
    store.settle(&lease, &record("3.13.5")).await.unwrap();
    assert_eq!(queued(&store).await, []);
    store.enqueue(&"3.13.5".parse().unwrap(), Why::Request).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    store.learn_first(&claimed(3), &lease).await.unwrap();
    store.learn_files(&claimed(4)).await.unwrap();
    store.settle(&lease, &record("3.13.5")).await.unwrap();
    assert_eq!(queued(&store).await, [Why::Recheck]);
}

#[tokio::test]
async fn history_is_filled_in_from_the_newest_release_to_the_oldest() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let announced = [("3.9.1", 3), ("3.9.3", 9), ("3.9.2", 6), ("3.9.0", 1)];
    let announced = announced.map(|(version, month)| Announced {
        version: version.parse().unwrap(),
        date: format!("2021-0{month}-01T00:00:00Z").parse().unwrap(),
        key: month,
    });
    let since = "2021-02-01T00:00:00Z".parse().unwrap();
    assert_eq!(store.learn(&announced, Some(since)).await.unwrap(), 3);
    assert_eq!(claimed(&store).await, ["3.9.3", "3.9.2", "3.9.1"]);
}

#[tokio::test]
async fn a_request_that_was_taken_back_keeps_no_release_from_being_verified() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let date: jiff::Timestamp = "2021-06-01T00:00:00Z".parse().unwrap();
    let versions: [Version; 3] = ["3.9.1", "3.9.2", "3.9.3"].map(|text| text.parse().unwrap());
    let list = [0, 1, 2].map(|key: usize| Announced {
        version: versions[key].clone(),
        date,
        key: key as u64,
    });
    assert_eq!(store.learn(&list, None).await.unwrap(), 0);
    let (request, _) = store.request(&versions[0], "somebody").await.unwrap();
    store.cancel(&request).await.unwrap();
    let (_, job) = store.request(&versions[1], "somebody").await.unwrap();
    store.cancel_job(&job.id).await.unwrap();
    assert_eq!(store.learn(&list, Some(date)).await.unwrap(), 2);
    assert_eq!(claimed(&store).await, ["3.9.3", "3.9.1"]);
    // What an operator cancels stays so, round after round, until somebody asks.
    for (_, job) in store.jobs(Some(JobState::Running), None, 9).await.unwrap() {
        store.cancel_job(&job.id).await.unwrap();
    }
    assert_eq!(store.learn(&list, Some(date)).await.unwrap(), 0);
    let (_, job) = store.request(&versions[1], "somebody").await.unwrap();
    assert_eq!(job.state, JobState::Queued);
}

#[tokio::test]
async fn a_job_that_kills_every_worker_is_parked_and_keeps_no_other_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let job = store.enqueue(&"3.1.1".parse().unwrap(), Why::Release).await.unwrap().id;
    store.enqueue(&"3.1.2".parse().unwrap(), Why::Release).await.unwrap();
    let die = async || {
        let lease = store.claim("test").await.unwrap().unwrap();
        assert_eq!(lease.job, job);
        let beats = store.beats().await.unwrap();
        let (job, fence, beat) = beats.iter().find(|(id, _, _)| *id == job).unwrap();
        store.give_up(job, *fence, *beat).await.unwrap();
        // Whoever looked at the same time gives nobody up.
        store.give_up(job, *fence, *beat).await.unwrap();
    };
    for _ in 0..99 {
        die().await;
    }
    // An attempt that comes to its end is no death, whatever its end is.
    let lease = store.claim("test").await.unwrap().unwrap();
    store.retry(&lease, "no network", jiff::Timestamp::now()).await.unwrap();
    for _ in 0..100 {
        assert_eq!(store.alarms().await.unwrap(), []);
        die().await;
    }
    let parked = store.job(&job).await.unwrap().unwrap();
    let error = "100 workers died of it, one after the other";
    assert_eq!((parked.state, parked.error.as_deref()), (JobState::Parked, Some(error)));
    assert_eq!(store.alarms().await.unwrap()[0].detail, error);
    assert_eq!(claimed(&store).await, ["3.1.2"]);
    // Somebody has mended it, and asks.
    store.enqueue(&"3.1.1".parse().unwrap(), Why::Request).await.unwrap();
    die().await;
    assert_eq!(store.job(&job).await.unwrap().unwrap().state, JobState::Queued);
}

#[tokio::test]
async fn a_parked_job_that_is_cancelled_leaves_no_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    for by_operator in [false, true] {
        let (request, job) = store.request(&"3.1.1".parse().unwrap(), "somebody").await.unwrap();
        let lease = store.claim("test").await.unwrap().unwrap();
        store.park(&lease, "the disk is full").await.unwrap();
        assert_eq!(store.alarms().await.unwrap().len(), 1);
        let job = match by_operator {
            true => store.cancel_job(&job.id).await.unwrap(),
            false => store.cancel(&request).await.unwrap(),
        };
        assert_eq!(job.unwrap().state, JobState::Cancelled);
        assert_eq!(store.alarms().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.sqlite");
    Store::open(&path).await.unwrap().close().await;
    let mut connection = other(&path).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum,
        execution_time) VALUES (999, 'of tomorrow', 1, x'00', 0)";
    connection.execute(newer).await.unwrap();
    connection.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let error = format!("{:#}", Store::open(&path).await.unwrap_err());
    assert!(error.contains("written by a newer verbatim (schema 999, this one knows"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_store_of_an_older_version_is_copied_and_then_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.sqlite");
    make_old(directory.path(), 2).await.close().await.unwrap();
    let store = Store::open(&path).await.unwrap();
    store.append(&record("3.13.5")).await.unwrap();
    store.close().await;
    let mut copy = other(&directory.path().join("records.sqlite.schema-2")).await;
    let newest = "SELECT MAX(version) FROM _sqlx_migrations";
    let schema: i64 = sqlx::query_scalar(newest).fetch_one(&mut copy).await.unwrap();
    assert_eq!(schema, 2);
    copy.close().await.unwrap();
    // Up to date already: nothing is copied again.
    fs::remove_file(directory.path().join("records.sqlite.schema-2")).unwrap();
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.records(None, None, 9).await.unwrap().len(), 1);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "store, its log, old");
    store.close().await;
}

#[tokio::test]
async fn a_damaged_store_is_told_from_a_sound_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.sqlite");
    let store = Store::open(&path).await.unwrap();
    for _ in 0..50 {
        store.append(&record("3.13.5")).await.unwrap();
    }
    store.check_integrity().await.unwrap();
    store.close().await;
    let mut bytes = fs::read(&path).unwrap();
    // A page in which one of the documents begins.
    let begins = |text: &[u8]| text.starts_with(br#"{"schema":"#);
    let at = (0..bytes.len()).filter(|at| begins(&bytes[*at..])).nth(25).unwrap() / 4096 * 4096;
    bytes[at..at + 4096].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let store = Store::open(&path).await.unwrap();
    let error = format!("{:#}", store.check_integrity().await.unwrap_err());
    assert!(error.contains("the store") && error.contains("store is damaged"), "{error}");
    store.close().await;
}
