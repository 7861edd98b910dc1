//! Feeds as a feed reader sees them: an entry for a change of status, once, and for nothing else.

use feed_rs::model::{Feed, FeedType};
use verifier::record::{Record, RecordStatus, VerdictName};
use verifier::server::Settings;

use super::site::{Server, record};

async fn feed(server: &Server, path: &str) -> Feed {
    let answer = server.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/atom+xml");
    assert!(answer.header("cache-control").starts_with("public, max-age=300, "));
    // Readers that are strict read it, too.
    atom_syndication::Feed::read_from(answer.text.as_bytes()).unwrap();
    let feed = feed_rs::parser::parse(answer.text.as_bytes()).unwrap();
    assert_eq!(feed.feed_type, FeedType::Atom);
    feed
}

fn titles(feed: &Feed) -> Vec<&str> {
    feed.entries.iter().map(|entry| entry.title.as_ref().unwrap().content.as_str()).collect()
}

fn ids(feed: &Feed) -> Vec<&str> {
    feed.entries.iter().map(|entry| entry.id.as_str()).collect()
}

fn of_status(version: &str, status: RecordStatus) -> Record {
    let mut record = record(version);
    record.status = status;
    if status == RecordStatus::Fail {
        record.artifacts[0].verdict = VerdictName::Different;
    }
    record
}

#[tokio::test]
async fn a_change_of_status_is_an_entry_and_nothing_else_is() {
    let server = Server::start().await;
    let empty = feed(&server, "/feed.atom").await;
    assert!(empty.entries.is_empty() && empty.title.is_some() && empty.updated.is_some());
    server.announce(&["3.13.5", "3.13.6", "3.12.1"]).await;
    let mut records = Vec::new();
    for (version, status) in [
        ("3.13.5", RecordStatus::Pass),
        ("3.12.1", RecordStatus::Fail),
        ("3.13.5", RecordStatus::Pass),
        ("3.13.5", RecordStatus::Fail),
        ("3.13.5", RecordStatus::Fail),
    ] {
        let record = of_status(version, status);
        server.store.append(&record).await.unwrap();
        records.push(record);
    }
    let all = feed(&server, "/feed.atom").await;
    let expected =
        ["CPython 3.13.5: fail, was pass", "CPython 3.12.1: fail", "CPython 3.13.5: pass"];
    assert_eq!(titles(&all), expected);
    let urn = |index: usize| format!("urn:uuid:{}", records[index].id);
    assert_eq!(ids(&all), [urn(3), urn(1), urn(0)]);
    assert_eq!(all.updated, all.entries[0].updated);
    let text = all.entries[1].content.as_ref().unwrap().body.as_ref().unwrap();
    assert_eq!(text, "Python-3.12.1.tar.xz differs from what its tag produces.");
    let links: Vec<&str> = all.entries[0].links.iter().map(|link| link.href.as_str()).collect();
    let record = format!("http://127.0.0.1:8470/records/{}", records[3].id);
    assert_eq!(links, [record.as_str(), "http://127.0.0.1:8470/releases/3.13.5"]);
    let series = feed(&server, "/feed/3.13.atom").await;
    assert_eq!(ids(&series), [urn(3), urn(0)]);
    assert_ne!(series.id, all.id);
    assert!(feed(&server, "/feed/3.12.atom").await.entries.len() == 1);
    for nothing in ["/feed/3.11.atom", "/feed/nonsense.atom", "/feed/3.13", "/feed", "/feed/"] {
        server.get(nothing).await.problem(404);
    }
}

#[tokio::test]
async fn a_feed_has_an_end_and_says_where_it_is() {
    let settings = Settings {
        public_url: "https://verbatim.example.org/cpython/".parse().unwrap(),
        ..Settings::default()
    };
    let server = Server::with(settings).await;
    for round in 0..130 {
        let status = if round % 2 == 0 { RecordStatus::Pass } else { RecordStatus::Fail };
        server.store.append(&of_status("3.13.5", status)).await.unwrap();
    }
    let all = feed(&server, "/feed.atom").await;
    assert_eq!(all.entries.len(), 100);
    assert_eq!(all.id, "https://verbatim.example.org/cpython/feed.atom");
    assert!(
        all.links.iter().any(|link| link.rel.as_deref() == Some("self") && link.href == all.id)
    );
    let again = server.get("/feed.atom").await;
    assert_eq!(server.get("/feed.atom").await.text, again.text);
}
