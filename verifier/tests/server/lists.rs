//! Lists: every item once, in parts; cursors that nobody gave are refused.

use std::collections::BTreeSet;

use rebuilder::Digest;
use reqwest::Method;
use verifier::observation::AlarmKind;
use verifier::queue::Why;
use verifier::record::VerdictName;
use verifier::server::fresh_token;
use verifier::store::Scope;
use verifier::webhook::Webhook;

use super::site::{Server, record, sent};

/// The values of `key` of all items of a list, read in parts of three.
async fn all(server: &Server, path: &str, key: &str) -> Vec<String> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let first = format!("{path}{separator}limit=3");
    let mut url = first.clone();
    let mut found = Vec::new();
    loop {
        let answer = server.get(&url).await;
        assert_eq!(answer.status, 200, "{url}: {}", answer.text);
        let page = answer.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        found.extend(items.iter().map(|item| item[key].to_string().replace('"', "")));
        let Some(next) = page["next"].as_str() else { return found };
        assert_eq!(items.len(), 3, "only the last part is short");
        url = format!("{first}&cursor={next}");
    }
}

fn versions(count: u32) -> Vec<String> {
    (0..count).map(|micro| format!("3.13.{micro}")).collect()
}

#[tokio::test]
async fn every_list_shows_every_item_once_in_its_order() {
    let server = Server::start().await;
    let versions = versions(7);
    let announced: Vec<&str> = versions.iter().map(String::as_str).collect();
    server.announce(&announced).await;
    for version in &versions {
        server.store.enqueue(&version.parse().unwrap(), Why::Backfill).await.unwrap();
        server.store.append(&record(version)).await.unwrap();
        server.store.raise(AlarmKind::JobParked, version, "trouble").await.unwrap();
    }
    let newest_first: Vec<String> = versions.iter().rev().cloned().collect();
    assert_eq!(all(&server, "/api/v1/jobs", "version").await, newest_first);
    assert_eq!(all(&server, "/api/v1/records", "version").await, newest_first);
    assert_eq!(all(&server, "/api/v1/releases", "version").await, newest_first);
    assert_eq!(all(&server, "/api/v1/alarms", "subject").await, versions);
    let seen = all(&server, "/api/v1/observations", "version").await;
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
    // The same release, and so the same file, five times more.
    for _ in 0..5 {
        server.store.append(&record("3.13.0")).await.unwrap();
    }
    let file = format!("/api/v1/artifacts/{}", Digest::of(b"3.13.0"));
    let records = all(&server, &file, "record").await;
    assert_eq!(records.iter().collect::<BTreeSet<_>>().len(), 6);
    assert_eq!(records.len(), 6);
    let of_version = all(&server, "/api/v1/records?version=3.13.0", "id").await;
    assert_eq!(of_version, records);
    assert_eq!(all(&server, "/api/v1/jobs?state=queued", "id").await.len(), 7);
    assert!(all(&server, "/api/v1/jobs?state=done", "id").await.is_empty());
    assert!(all(&server, "/api/v1/releases?series=3.12", "version").await.is_empty());
    assert_eq!(all(&server, "/api/v1/releases?series=3.13", "version").await.len(), 7);
}

#[tokio::test]
async fn a_file_is_known_by_its_digest_and_the_newest_record_decides() {
    let server = Server::start().await;
    let path = format!("/api/v1/artifacts/{}", Digest::of(b"3.13.5"));
    let unknown = server.get(&path).await;
    assert_eq!(unknown.status, 200);
    assert!(unknown.json()["reproduced"].is_null() && unknown.json()["record"].is_null());
    let mut differs = record("3.13.5");
    differs.artifacts[0].verdict = VerdictName::Different;
    for (record, reproduced) in [(record("3.13.5"), true), (differs, false)] {
        server.store.append(&record).await.unwrap();
        let known = server.get(&path).await.json();
        assert_eq!(
            (&known["reproduced"], &known["record"]),
            (&reproduced.into(), &record.id.into())
        );
    }
    let known = server.get(&format!("{path}?limit=1")).await.json();
    let next = known["next"].as_str().unwrap();
    let older = server.get(&format!("{path}?cursor={next}")).await.json();
    assert_eq!(older["reproduced"], false, "the newest record decides on every part of the list");
    assert_eq!(older["items"][0]["verdict"], "reproduced");
}

#[tokio::test]
async fn what_no_list_understands_is_refused_with_a_sentence() {
    let server = Server::start().await;
    let jobs = hex::encode("jobs:5");
    let wrong = [
        "/api/v1/jobs?limit=0".to_owned(),
        "/api/v1/jobs?limit=101".to_owned(),
        "/api/v1/jobs?limit=many".to_owned(),
        "/api/v1/jobs?cursor=zz".to_owned(),
        "/api/v1/jobs?state=asleep".to_owned(),
        "/api/v1/jobs?colour=red".to_owned(),
        format!("/api/v1/jobs?cursor={}", hex::encode("jobs:five")),
        format!("/api/v1/records?cursor={jobs}"),
        "/api/v1/records?version=latest".to_owned(),
        "/api/v1/artifacts/abc".to_owned(),
        format!("/api/v1/artifacts/{}?cursor={}", Digest::of(b""), hex::encode("artifacts:1")),
    ];
    for path in wrong {
        assert!(!server.get(&path).await.problem(400).is_empty(), "{path}");
    }
}

#[tokio::test]
async fn the_log_of_deliveries_is_for_operators() {
    let server = Server::start().await;
    let webhook: Webhook = toml::from_str(
        "name = \"chat\"\nurl = \"https://a.example/hush\"\n\
         secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
    )
    .unwrap();
    server.store.append(&record("3.13.4")).await.unwrap();
    server.store.set_webhooks(&[webhook]).await.unwrap();
    for version in ["3.13.5", "3.13.6"] {
        server.store.append(&record(version)).await.unwrap();
    }
    let get = |token: &str| {
        sent(server.request(Method::GET, "/api/v1/deliveries?limit=1").bearer_auth(token))
    };
    server.get("/api/v1/deliveries").await.problem(401);
    let weak = fresh_token().unwrap();
    server.store.add_token("weak", Scope::Request, &weak).await.unwrap();
    get(&weak).await.problem(403);
    let strong = fresh_token().unwrap();
    server.store.add_token("strong", Scope::Operate, &strong).await.unwrap();
    let page = get(&strong).await;
    let shown = page.json();
    let first = &shown["items"][0];
    assert_eq!((&first["version"], &first["state"]), (&"3.13.6".into(), &"due".into()));
    assert_eq!((&first["webhook"], &first["attempts"]), (&"chat".into(), &0.into()));
    assert!(first["message"].as_str().unwrap().starts_with("msg_"));
    assert!(shown["next"].is_string() && !page.text.contains("hush"));
    let all = server.store.deliveries(None, 9).await.unwrap();
    assert_eq!(all.len(), 2, "what was before is not told");
}
