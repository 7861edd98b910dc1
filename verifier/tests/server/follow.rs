//! Following a job: news as they happen, on again after the last one seen, to the job's end.

use std::time::Duration;

use reqwest::Method;
use verifier::queue::Why;

use super::site::{Server, sent};

/// `id event text` of each event of an answer.
fn events(answer: &str) -> Vec<[String; 3]> {
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default().to_owned()
    };
    let whole = answer.split("\n\n").filter(|event| event.contains("event: "));
    whole.map(|event| ["id", "event", "data"].map(|name| field(event, name))).collect()
}

#[tokio::test]
async fn a_client_that_was_cut_off_goes_on_where_it_was() {
    let server = Server::start().await;
    let job = server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    let path = format!("/api/v1/jobs/{}/events", job.id);
    let mut live = server.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    server.journal(&job.id, &[("stage", "fetch"), ("log", "one\ntwo")]);
    let mut text = String::new();
    while events(&text).len() < 3 {
        let part = tokio::time::timeout(Duration::from_secs(30), live.chunk()).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&part.unwrap().unwrap()));
    }
    drop(live);
    let mut first = events(&text);
    let place = first.remove(0);
    assert_eq!(place[1], "queue");
    assert!(place[2].contains("\"position\":1") && place[2].contains("place 1 in the queue"));
    assert_eq!(first[0][1], "stage");
    assert!(first[1][2].contains(r#""text":"one\ntwo""#), "{first:?}");
    server.journal(&job.id, &[("log", "three")]);
    let record = server.settle("3.13.5").await;
    let on = |seen: &str| sent(server.request(Method::GET, &path).header("last-event-id", seen));
    let rest = events(&on(&first[0][0]).await.text);
    let kinds: Vec<&str> = rest.iter().map(|event| event[1].as_str()).collect();
    assert_eq!(kinds, ["log", "log", "state"]);
    assert!(rest[1][2].contains("three") && rest[2][2].contains(&record.id));
    // A browser asks again after the end, until it is told that there is nothing.
    assert_eq!(on(&rest[2][0]).await.status, 204);
    assert_eq!(events(&on("nonsense").await.text).len(), 4);
    assert_eq!(events(&on("7").await.text).len(), 4);
    server.get("/api/v1/jobs/none/events").await.problem(404);
}

#[tokio::test]
async fn the_last_line_of_a_journal_comes_before_the_end() {
    let server = Server::start().await;
    let job = server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    server.journal(&job.id, &[("state", "running"), ("stage", "rebuild")]);
    let path = format!("/api/v1/jobs/{}/events", job.id);
    let live = server.request(Method::GET, &path).send().await.unwrap();
    // The store says that the job is over before its worker can write that.
    server.settle("3.13.5").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.journal(&job.id, &[("state", "judged")]);
    let told = std::time::Instant::now();
    let mut news = events(&live.text().await.unwrap());
    assert!(told.elapsed() < Duration::from_secs(2), "the end comes with the last word");
    news.retain(|event| event[1] != "queue");
    let [.., judged, end] = &news[..] else { panic!("{news:?}") };
    assert!(judged[2].contains("judged") && end[0].ends_with("-end"), "{news:?}");
    assert_eq!(news.len(), 4, "{news:?}");
}

#[tokio::test]
async fn a_journal_without_a_last_word_ends_all_the_same() {
    let server = Server::start().await;
    let job = server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    server.journal(&job.id, &[("state", "running")]);
    server.settle("3.13.5").await;
    let news = events(&server.get(&format!("/api/v1/jobs/{}/events", job.id)).await.text);
    assert!(news.last().unwrap()[0].ends_with("-end"), "{news:?}");
}

#[tokio::test]
async fn a_server_that_stops_lets_followers_go() {
    let mut server = Server::start().await;
    let job = server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    let path = format!("/api/v1/jobs/{}/events", job.id);
    let live = server.request(Method::GET, &path).send().await.unwrap();
    server.stop().await;
    let news = events(&live.text().await.unwrap());
    assert!(news.iter().all(|event| event[1] == "queue"), "{news:?}");
    let gone = server.request(Method::GET, "/healthz").send().await;
    assert!(gone.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_follower_hears_of_each_place_in_the_queue_once() {
    let server = Server::start().await;
    let first = server.store.enqueue(&"3.13.4".parse().unwrap(), Why::Release).await.unwrap();
    let job = server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Backfill).await.unwrap();
    let path = format!("/api/v1/jobs/{}/events", job.id);
    let mut live = server.request(Method::GET, &path).send().await.unwrap();
    let mut text = String::new();
    let mut written = 0;
    while !text.contains("place 1 in the queue") {
        let part = tokio::time::timeout(Duration::from_secs(30), live.chunk()).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&part.unwrap().unwrap()));
        if written == 0 {
            // Something is written that changes nothing of the queue, and then something that does.
            server.store.set_fact("some", "thing").await.unwrap();
            server.store.cancel_job(&first.id).await.unwrap();
        }
        written += 1;
    }
    let places: Vec<String> = events(&text).into_iter().map(|[_, kind, _]| kind).collect();
    assert_eq!(places, ["queue", "queue"], "{text}");
}
