//! Requests for rebuilds: who may ask for what, and how often.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use reqwest::Method;
use verifier::observation::AlarmKind;
use verifier::queue::Why;
use verifier::server::{Settings, fresh_token};
use verifier::store::Scope;

use super::site::{Server, UNCOVERED, record, sent};

#[tokio::test]
async fn a_request_with_a_token_queues_a_job_and_wakes_the_worker() {
    let server = Server::start().await;
    server.announce(&["3.13.5", "3.13.6"]).await;
    let token = fresh_token().unwrap();
    let id = server.store.add_token("somebody", Scope::Request, &token).await.unwrap();
    let first = sent(server.ask("3.13.6").bearer_auth(&token)).await;
    assert_eq!(first.status, 202, "{}", first.text);
    assert!(server.wake.notified().now_or_never().is_some(), "the worker is woken");
    let asked = sent(server.ask("3.13.5").bearer_auth(&token)).await;
    let taken = asked.json();
    let job = taken["job"].as_str().unwrap();
    assert_eq!(asked.header("location"), format!("/api/v1/jobs/{job}"));
    assert_eq!(taken["page"], format!("http://127.0.0.1:8470/jobs/{job}"));
    assert_eq!(taken["position"], 2);
    let shown = server.get(asked.header("location")).await.json();
    assert_eq!((&shown["state"], &shown["why"]), (&"queued".into(), &"request".into()));
    let again = sent(server.ask("3.13.5").bearer_auth(&token)).await.json();
    assert_eq!((&again["job"], again["request"] == taken["request"]), (&taken["job"], false));
    assert!(server.store.revoke_token(&id).await.unwrap());
    let refused = sent(server.ask("3.13.5").bearer_auth(&token)).await;
    refused.problem(401);
    assert_eq!(refused.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn a_wrong_token_is_refused_even_where_none_is_needed() {
    let server = Server::open().await;
    server.announce(&["3.13.5"]).await;
    let known = fresh_token().unwrap();
    server.store.add_token("somebody", Scope::Operate, &known).await.unwrap();
    let mut other = known.clone();
    other.replace_range(4..5, if &known[4..5] == "0" { "1" } else { "0" });
    for value in [format!("Bearer {other}"), "Bearer".to_owned(), format!("Basic {known}")] {
        sent(server.ask("3.13.5").header("authorization", value)).await.problem(401);
    }
    assert_eq!(sent(server.ask("3.13.5").bearer_auth(&known)).await.status, 202);
    assert_eq!(sent(server.ask("3.13.5")).await.status, 202);
    let closed = Server::start().await;
    closed.announce(&["3.13.5"]).await;
    assert!(sent(closed.ask("3.13.5")).await.problem(401).contains("token"));
    assert!(closed.store.live_jobs(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_what_python_org_publishes_can_be_asked_for() {
    let server = Server::open().await;
    server.announce(&["3.13.5"]).await;
    let refused = sent(server.ask("3.99.1")).await.problem(404);
    assert!(refused.contains("python.org does not publish 3.99.1"), "{refused}");
    sent(server.ask("https://example.org/evil")).await.problem(422);
    let post = || server.request(Method::POST, "/api/v1/requests");
    sent(post().body(r#"{"version":"3.13.5"}"#)).await.problem(415);
    let json = || post().header("content-type", "application/json");
    sent(json().body("{")).await.problem(400);
    sent(json().body(r#"{"version":5}"#)).await.problem(422);
    sent(json().body(r#"{"version":"3.13.5","url":"https://example.org"}"#)).await.problem(422);
    assert!(server.store.live_jobs(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_version_that_nobody_can_rebuild_is_refused_and_not_queued() {
    let server = Server::open().await;
    server.announce(&[UNCOVERED]).await;
    let refused = sent(server.ask(UNCOVERED)).await.problem(422);
    assert!(refused.contains("no recipe covers 3.0.1"), "{refused}");
    assert!(server.store.live_jobs(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_knows_a_request_can_take_it_back() {
    let server = Server::open().await;
    server.announce(&["3.13.5"]).await;
    let one = sent(server.ask("3.13.5")).await.json();
    let two = sent(server.ask("3.13.5")).await.json();
    let take_back = |request: &serde_json::Value| {
        let path = format!("/api/v1/requests/{}", request["request"].as_str().unwrap());
        sent(server.request(Method::DELETE, &path))
    };
    assert_eq!(take_back(&one).await.json()["state"], "queued");
    assert_eq!(take_back(&two).await.json()["state"], "cancelled");
    assert_eq!(take_back(&two).await.json()["state"], "cancelled");
    sent(server.request(Method::DELETE, "/api/v1/requests/none")).await.problem(404);
}

#[tokio::test]
async fn somebody_without_a_token_may_ask_only_so_often() {
    let settings = Settings {
        anonymous_requests: true,
        requests_per_hour_each: 2,
        requests_per_hour_total: 3,
        ..Settings::default()
    };
    let server = Server::with(settings).await;
    server.announce(&["3.13.5"]).await;
    let from = |address: &'static str| {
        sent(server.ask("3.13.5").header("x-forwarded-for", format!("192.0.2.99, {address}")))
    };
    assert_eq!(from("192.0.2.1").await.status, 202);
    assert_eq!(from("192.0.2.1").await.status, 202);
    let refused = from("192.0.2.1").await;
    assert!(refused.problem(429).contains("your address"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 60);
    assert_eq!(from("192.0.2.2").await.status, 202);
    assert!(from("192.0.2.3").await.problem(429).contains("without a token"));
    let token = fresh_token().unwrap();
    server.store.add_token("somebody", Scope::Request, &token).await.unwrap();
    assert_eq!(sent(server.ask("3.13.5").bearer_auth(&token)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_requests_at_once_none_is_lost() {
    let settings = Settings {
        anonymous_requests: true,
        requests_per_hour_each: 900,
        requests_per_hour_total: 2_000,
        ..Settings::default()
    };
    let server = Arc::new(Server::with(settings).await);
    let versions: Vec<String> = (0..50).map(|micro| format!("3.13.{micro}")).collect();
    server.announce(&versions.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let asked = (0..1_000).map(|number| sent(server.ask(&versions[number % 50])));
    let answers = join_all(asked).await;
    let taken: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    // A request may be let in again while the others are answered: one every four seconds.
    assert_eq!(taken.len() + refused, 1_000);
    assert!((900..1_000).contains(&taken.len()), "{} were taken", taken.len());
    let ids: BTreeSet<String> =
        taken.iter().map(|answer| answer.json()["request"].to_string()).collect();
    assert_eq!(ids.len(), taken.len());
    let jobs = server.store.live_jobs(1_000).await.unwrap();
    assert_eq!(jobs.len(), 50, "one job a release");
    for id in ids {
        let known = server.store.cancel(id.trim_matches('"')).await.unwrap();
        assert!(known.is_some(), "{id} was answered and is in the store");
    }
    assert!(server.store.live_jobs(1_000).await.unwrap().is_empty());
}

#[tokio::test]
async fn operators_clear_alarms_and_cancel_any_job() {
    let server = Server::start().await;
    let job = server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    server.store.raise(AlarmKind::JobParked, "3.13.4", "trouble").await.unwrap();
    let alarm = server.store.alarms().await.unwrap().remove(0).id;
    let (weak, strong) = (fresh_token().unwrap(), fresh_token().unwrap());
    server.store.add_token("weak", Scope::Request, &weak).await.unwrap();
    server.store.add_token("strong", Scope::Operate, &strong).await.unwrap();
    let delete =
        |path: String, token: &str| sent(server.request(Method::DELETE, &path).bearer_auth(token));
    let paths = [format!("/api/v1/alarms/{alarm}"), format!("/api/v1/jobs/{}", job.id)];
    for path in &paths {
        sent(server.request(Method::DELETE, path)).await.problem(401);
        assert!(delete(path.clone(), &weak).await.problem(403).contains("operate"));
    }
    assert_eq!(server.store.alarms().await.unwrap().len(), 1);
    assert_eq!(delete(paths[0].clone(), &strong).await.status, 204);
    delete(paths[0].clone(), &strong).await.problem(404);
    assert!(server.store.alarms().await.unwrap().is_empty());
    // Even while it runs: what its worker finds is dropped.
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    for _ in 0..2 {
        assert_eq!(delete(paths[1].clone(), &strong).await.json()["state"], "cancelled");
    }
    assert!(server.store.settle(&lease, &record("3.13.5")).await.is_err());
    server.store.enqueue(&"3.13.6".parse().unwrap(), Why::Release).await.unwrap();
    server.settle("3.13.6").await;
    let done = server.store.jobs(None, None, 1).await.unwrap().remove(0).1;
    delete(format!("/api/v1/jobs/{}", done.id), &strong).await.problem(409);
    delete("/api/v1/jobs/none".to_owned(), &strong).await.problem(404);
}

#[tokio::test]
async fn a_release_that_waits_stands_before_nobody() {
    let server = Server::open().await;
    server.announce(&["3.13.5", "3.13.6"]).await;
    server.store.enqueue(&"3.13.4".parse().unwrap(), Why::Release).await.unwrap();
    server.settle("3.13.4").await;
    server.store.enqueue(&"3.13.6".parse().unwrap(), Why::Release).await.unwrap();
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    let due = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(6);
    server.store.wait(&lease, "no recipe covers it", due).await.unwrap();
    let asked = sent(server.ask("3.13.5")).await;
    assert_eq!(asked.header("retry-after"), "5");
    assert_eq!(asked.json()["position"], 1);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5);
    let begins = |job: &serde_json::Value| {
        job["expected_start"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
    };
    assert!(begins(&asked.json()) < soon);
    let shown = server.get(asked.header("location")).await.json();
    assert_eq!((&shown["position"], begins(&shown) < soon), (&1.into(), true));
    let waits = server.get(&format!("/api/v1/jobs/{}", lease.job)).await;
    assert_eq!(waits.header("retry-after"), "300");
    let waits = waits.json();
    assert_eq!((waits["position"].as_u64(), begins(&waits) > soon), (None, true));
    let page = server.get("/queue").await.text;
    assert!(page.contains("<td>1</td>") && !page.contains("<td>2</td>"), "{page}");
    // What is tried again at once, because somebody asks for it, has its place again.
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    server.store.retry(&lease, "trouble", due).await.unwrap();
    let live = server.store.live_jobs(9).await.unwrap();
    assert!(live.len() == 2 && live.iter().all(|job| job.position.is_none()), "{live:?}");
    let (_, job) = server.store.request(&lease.version, "somebody else").await.unwrap();
    assert_eq!((job.position, job.due < soon), (Some(1), true));
}

#[tokio::test]
async fn who_waits_is_told_the_place_and_when_to_look_again() {
    let server = Server::open().await;
    server.announce(&["3.13.5", "3.13.6"]).await;
    // It took no time at all: the next one begins at once.
    server.store.enqueue(&"3.13.4".parse().unwrap(), Why::Release).await.unwrap();
    server.settle("3.13.4").await;
    server.store.enqueue(&"3.13.6".parse().unwrap(), Why::Release).await.unwrap();
    let asked = sent(server.ask("3.13.5")).await;
    assert_eq!(asked.header("retry-after"), "5");
    let taken = asked.json();
    assert_eq!(taken["position"], 2);
    assert!(taken["expected_start"].is_string());
    let shown = server.get(asked.header("location")).await;
    assert_eq!(shown.header("retry-after"), "5");
    assert_eq!(shown.json()["position"], 2);
    assert!(shown.json()["expected_start"].is_string());
    let listed = server.get("/api/v1/jobs?state=queued").await.json();
    let positions: Vec<_> = listed["items"].as_array().unwrap().iter().collect();
    let positions: Vec<_> = positions.iter().map(|job| job["position"].as_u64()).collect();
    assert_eq!(positions, [Some(2), Some(1)], "newest first");
    let metrics = server.get("/metrics").await.text;
    for line in [
        "# TYPE verbatim_job_duration_seconds histogram",
        "verbatim_job_duration_seconds_bucket{le=\"10\"} 1",
        "verbatim_job_duration_seconds_bucket{le=\"+Inf\"} 1",
        "verbatim_job_duration_seconds_count 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}
