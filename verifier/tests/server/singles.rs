//! Single things, health and numbers; conditional requests; the OpenAPI document.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Method;
use verifier::queue::Why;
use verifier::server::Settings;
use verifier::store::ApiRequest;

use super::site::{Server, record, sent};

#[tokio::test]
async fn a_record_is_served_as_it_was_stored() {
    let server = Server::start().await;
    let record = record("3.13.5");
    server.store.append(&record).await.unwrap();
    let answer = server.get(&format!("/api/v1/records/{}", record.id)).await;
    assert_eq!(Some(&answer.text), server.store.document(&record.id).await.unwrap().as_ref());
    assert!(answer.header("cache-control").contains("immutable"));
    assert!(server.get("/api/v1/records/none").await.problem(404).contains("no record"));
    let release = server.get("/api/v1/releases/3.13.5").await.json();
    assert_eq!((&release["status"], &release["record"]), (&"pass".into(), &record.id.into()));
    assert!(release["files"].is_null());
    server.get("/api/v1/releases/3.13.6").await.problem(404);
    server.get("/api/v1/releases/nonsense").await.problem(404);
}

#[tokio::test]
async fn evidence_is_shown_with_every_outcome_that_there_is() {
    use verifier::evidence::{Check, CheckOutcome as Outcome, Evidence};
    let server = Server::start().await;
    let outcomes = [
        (Outcome::Agrees, "agrees"),
        (Outcome::Disagrees, "disagrees"),
        (Outcome::Missing, "missing"),
        (Outcome::NotExpected, "not_expected"),
        (Outcome::NotYet, "not_yet"),
        (Outcome::CannotCheck, "cannot_check"),
    ];
    let mut record = record("3.13.5");
    record.evidence = outcomes
        .iter()
        .map(|(outcome, name)| Evidence::new(Check::Openpgp, "f", *outcome, (*name).to_owned()))
        .collect();
    server.store.append(&record).await.unwrap();
    let shown = server.get(&format!("/api/v1/records/{}", record.id)).await.json();
    for (evidence, (_, name)) in shown["evidence"].as_array().unwrap().iter().zip(outcomes) {
        assert_eq!((&evidence["outcome"], &evidence["detail"]), (&name.into(), &name.into()));
    }
    assert_eq!(shown["evidence"].as_array().unwrap().len(), outcomes.len());
}

#[tokio::test]
async fn a_document_that_the_client_has_is_not_sent_again() {
    let server = Server::start().await;
    let first = server.get("/api/v1/jobs").await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && first.header("cache-control") == "no-cache");
    let again = |method, known: String| {
        sent(server.request(method, "/api/v1/jobs").header("if-none-match", known))
    };
    let same = again(Method::GET, format!("\"other\", W/{tag}")).await;
    assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
    assert_eq!(same.header("etag"), tag);
    assert_eq!(again(Method::HEAD, tag.clone()).await.status, 304);
    assert_eq!(again(Method::GET, "\"other\"".to_owned()).await.status, 200);
    server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    let changed = again(Method::GET, tag).await;
    assert_eq!(
        (changed.status.as_u16(), changed.header("etag") == first.header("etag")),
        (200, false)
    );
    let head = sent(server.request(Method::HEAD, "/api/v1/jobs")).await;
    assert_eq!((head.header("etag"), head.text.as_str()), (changed.header("etag"), ""));
}

#[tokio::test]
async fn a_log_is_text_that_no_browser_takes_for_anything_else() {
    let server = Server::start().await;
    let job = server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    let path = format!("/api/v1/jobs/{}/log", job.id);
    assert!(server.get(&path).await.problem(404).contains("no log"));
    server.journal(&job.id, &[("stage", "fetch"), ("log", "<script>")]);
    let log = server.get(&path).await;
    assert_eq!(log.text, "2026-01-01T00:00:00Z fetch\n2026-01-01T00:00:00Z <script>\n");
    assert_eq!(log.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(log.header("x-content-type-options"), "nosniff");
    assert!(log.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(log.headers.get("set-cookie").is_none());
    for nothing in ["..%2Frecords.sqlite", "..", "%00"] {
        server.get(&format!("/api/v1/jobs/{nothing}/log")).await.problem(404);
    }
}

#[tokio::test]
async fn the_service_says_whether_it_is_ready_and_why_not() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.text, "alive\n");
    assert_eq!(server.get("/readyz").await.text, "ready\n");
    *server.reasons.lock().unwrap() = vec!["the feed is stale".into(), "the disk is full".into()];
    let reasons = server.get("/readyz").await.problem(503);
    assert_eq!(reasons, "the feed is stale; the disk is full");
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn status_and_metrics_say_what_the_store_holds() {
    let server = Server::start().await;
    server.announce(&["3.13.5", "3.13.6"]).await;
    server.store.set_fact("feed.last_success", "2026-01-01T00:00:00Z").await.unwrap();
    server.store.take_api_request(ApiRequest::List, 100).await.unwrap();
    server.store.append(&record("3.13.5")).await.unwrap();
    server.store.enqueue(&"3.13.6".parse().unwrap(), Why::Release).await.unwrap();
    let status = server.get("/api/v1/status").await.json();
    assert_eq!(status["feed"]["last_success"], "2026-01-01T00:00:00Z");
    assert_eq!(status["feed"]["requests_left"], 99);
    assert_eq!((&status["queue"]["queued"], &status["alarms"]), (&1.into(), &0.into()));
    let metrics = server.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "# TYPE verbatim_queue_jobs gauge",
        "verbatim_queue_jobs{state=\"queued\"} 1",
        "verbatim_records_total 1",
        "verbatim_releases{status=\"pass\"} 1",
        "verbatim_releases{status=\"not_checked\"} 1",
        "verbatim_feed_requests_a_day 1",
    ] {
        assert!(metrics.text.lines().any(|found| found == line), "{line}: {}", metrics.text);
    }
    assert!(metrics.text.contains("verbatim_feed_age_seconds "));
}

#[tokio::test]
async fn the_requests_that_are_left_are_those_of_the_allowance_that_holds_now() {
    let allowance = Arc::new(AtomicU32::new(20));
    let now = allowance.clone();
    let server = Server::changed(Settings::default(), |site| {
        site.allowance = Arc::new(move || now.load(Ordering::SeqCst));
    })
    .await;
    let left = async || server.get("/api/v1/status").await.json()["feed"]["requests_left"].clone();
    assert_eq!(left().await, 20);
    for _ in 0..3 {
        server.store.take_api_request(ApiRequest::List, 20).await.unwrap();
    }
    assert_eq!(left().await, 17);
    // The operator changed it while the server runs.
    allowance.store(250, Ordering::SeqCst);
    assert_eq!(left().await, 247);
    allowance.store(2, Ordering::SeqCst);
    assert_eq!(left().await, 0);
}

#[tokio::test]
async fn the_committed_description_of_the_api_is_the_one_that_is_served() {
    let server = Server::start().await;
    let served = server.get("/api/openapi.json").await.json();
    let text = serde_json::to_string_pretty(&served).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text, "run this test with UPDATE_OPENAPI=1 and look at the change");
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    // Whoever reads the description can ask for everything in it.
    for (path, methods) in served["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().values() {
            assert!(method["responses"]["500"].is_object(), "{path}: errors are described");
            assert!(method["responses"]["default"].is_null(), "{path}: one by one");
        }
        if methods["get"].is_object() && !path.contains('{') {
            let secured = !methods["get"]["security"].is_null();
            let expected = if secured { 401 } else { 200 };
            assert_eq!(server.get(path).await.status, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn reports_of_a_record_are_served_so_that_no_browser_runs_them() {
    let server = Server::start().await;
    let record = record("3.13.5");
    server.store.append(&record).await.unwrap();
    let list = format!("/api/v1/records/{}/reports", record.id);
    assert_eq!(server.get(&list).await.json()["reports"], serde_json::json!([]));
    let long = "a line\n".repeat(100_000);
    let files = [("build.log", long.as_str()), ("a.html", "<p>a"), ("a.json", "{}")];
    for (name, text) in files {
        server.report(&record.id, name, text);
    }
    let kinds = ["text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"];
    // Compressed in between: nobody notices.
    for _ in 0..2 {
        let listed = server.get(&list).await.json();
        let reports = listed["reports"].as_array().unwrap();
        let names: Vec<&str> = reports.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a.html", "a.json", "build.log"]);
        for (one, kind) in reports.iter().zip(kinds) {
            let name = one["name"].as_str().unwrap();
            let url = one["url"].as_str().unwrap();
            assert_eq!(url, format!("http://127.0.0.1:8470{list}/{name}"));
            let report = server.get(&format!("{list}/{name}")).await;
            let (_, text) = files.iter().find(|(file, _)| *file == name).unwrap();
            assert!(report.text == *text, "{name}");
            assert_eq!(
                (report.header("content-type"), one["media_type"].as_str().unwrap()),
                (kind, kind)
            );
            assert_eq!(report.header("x-content-type-options"), "nosniff");
            assert!(report.header("content-security-policy").starts_with("default-src 'none';"));
            let known = report.header("etag").to_owned();
            let request = server.request(Method::GET, &format!("{list}/{name}"));
            assert_eq!(sent(request.header("if-none-match", known)).await.status, 304);
        }
        for (name, _) in files {
            let path = server.reports.join(&record.id).join(name);
            if path.exists() {
                verifier::retention::compress(&path).unwrap();
            }
        }
    }
    let request = server.request(Method::GET, &format!("{list}/build.log"));
    let response = request.header("accept-encoding", "gzip, zstd").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    assert_eq!(response.headers()["vary"], "accept-encoding");
    let bytes = response.bytes().await.unwrap();
    assert!(bytes.len() < 2_000 && zstd::decode_all(&bytes[..]).unwrap() == long.as_bytes());
    for nothing in ["..%2F..%2Frecords.sqlite", "..", "%00", "build.log.zst", "none"] {
        server.get(&format!("{list}/{nothing}")).await.problem(404);
    }
    for id in ["..", "none", "01890a5d-ac96-774b-bcce-b302099a8057"] {
        server.get(&format!("/api/v1/records/{id}/reports/build.log")).await.problem(404);
    }
}

#[tokio::test]
async fn where_nothing_is_a_browser_gets_a_page_and_a_program_a_problem() {
    let server = Server::start().await;
    for path in ["/releases/3.77.1", "/nothing", "/records/%00"] {
        let asked = server.request(Method::GET, path);
        let page = sent(asked.header("accept", "text/html,application/xhtml+xml;q=0.9")).await;
        assert_eq!(page.status, 404, "{path}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(page.header("vary"), "accept");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'; style"));
        assert!(page.text.contains("<h1>No such page</h1>"), "{}", page.text);
        let sentence = server.get(path).await.problem(404);
        assert_eq!(sentence, "nothing is served at this path");
    }
    let asked = server.request(Method::GET, "/api/v1/jobs/x").header("accept", "text/html");
    sent(asked).await.problem(404);
}
