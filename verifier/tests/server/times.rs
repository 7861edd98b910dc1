//! What is due when somebody sets the clock, while the daemon runs or before.

use jiff::{SignedDuration, Timestamp};
use sqlx::{Connection, Executor, SqliteConnection};

use verifier::queue::Why;
use verifier::store::{ApiRequest, Look, Store};

use super::site::record;

#[tokio::test]
async fn what_is_due_moves_with_the_clock() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let now = Timestamp::now();
    for version in ["3.9.1", "3.9.2"] {
        store.enqueue(&version.parse().unwrap(), Why::Request).await.unwrap();
    }
    let waits = store.claim("test").await.unwrap().unwrap();
    store.wait(&waits, "no tag yet", now + SignedDuration::from_mins(5)).await.unwrap();
    let runs = store.claim("test").await.unwrap().unwrap();
    for (name, value) in [("one", now.to_string()), ("other", String::new())] {
        store.set_fact(name, &value).await.unwrap();
    }
    let before = [&waits, &runs].map(|lease| lease.job.clone());
    let due = async |job: &String| store.job(job).await.unwrap().unwrap().due;
    let [first, second] = [due(&before[0]).await, due(&before[1]).await];
    let started = async |job: &String| store.job(job).await.unwrap().unwrap().started.unwrap();
    let [waited, begun] = [started(&before[0]).await, started(&before[1]).await];
    store.move_times(-86_400_000, &["one", "other", "none"]).await.unwrap();
    let day = SignedDuration::from_hours(24);
    assert_eq!([due(&before[0]).await, due(&before[1]).await], [first - day, second - day]);
    assert_eq!(started(&before[0]).await, waited, "that is history");
    assert_eq!(started(&before[1]).await, begun - day);
    assert_eq!(store.fact("one").await.unwrap(), Some((now - day).to_string()));
    assert_eq!(store.fact("other").await.unwrap(), Some(String::new()));
    assert_eq!(store.fact("none").await.unwrap(), None);
}

#[tokio::test]
async fn what_a_wrong_clock_wrote_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.sqlite");
    let store = Store::open(&path).await.unwrap();
    let version = "3.13.5".parse().unwrap();
    store.append(&record("3.13.5")).await.unwrap();
    let job = store.enqueue(&version, Why::Request).await.unwrap();
    assert!(store.take_api_request(ApiRequest::List, 1).await.unwrap());
    store.mend_times().await.unwrap();
    assert_eq!(store.job(&job.id).await.unwrap().unwrap().due, job.due, "nothing is wrong");
    assert_eq!(store.api_requests().await.unwrap(), 1);
    // As if all of it had happened in a year that is to come.
    let mut other = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    for query in [
        "UPDATE jobs SET due_ms = due_ms + 31536000000, error = 'no network'",
        "UPDATE api_requests SET at_ms = at_ms + 31536000000",
        "UPDATE files SET head_due_ms = head_due_ms + 31536000000,
            hash_due_ms = hash_due_ms + 31536000000",
    ] {
        other.execute(query).await.unwrap();
    }
    assert_eq!(store.claim("test").await.unwrap(), None);
    store.mend_times().await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    assert_eq!(lease.job, job.id);
    // The day's one request still counts, but for a day only.
    assert!(!store.take_api_request(ApiRequest::List, 1).await.unwrap());
    store.move_times(-86_400_000, &[]).await.unwrap();
    assert!(store.take_api_request(ApiRequest::List, 1).await.unwrap());
    for (look, days) in [(Look::Head, 1), (Look::Hash, 7)] {
        store.move_times(-days * 86_400_000, &[]).await.unwrap();
        assert_eq!(store.files_due(look, 9).await.unwrap().len(), 1, "{look:?}");
    }
    other.close().await.unwrap();
}
