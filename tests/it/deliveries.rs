//! Webhooks: a change of status reaches whoever is to be told, whatever happens on the way.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Receiver, Reply, Scene, source};
use toml::Table;
use verifier::observation::AlarmKind;
use verifier::store::{DeliveryRow, DeliveryState};
use verifier::webhook::{Message, Webhook};

use crate::scene;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A scene whose daemon back-fills the one release, and tries again soon.
fn watched() -> Scene {
    let mut scene = scene();
    scene.set("feed.since", "2025-01-01");
    scene.set("queue.retry", "100ms");
    scene
}

/// A webhook `name` to `url`, which may be on loopback.
fn to(name: &str, url: &str) -> Table {
    let mut table = Table::new();
    table.insert("name".to_owned(), name.into());
    table.insert("url".to_owned(), url.into());
    table.insert("secret".to_owned(), SECRET.into());
    table.insert("internal".to_owned(), true.into());
    table
}

fn set(scene: &mut Scene, webhooks: Vec<Table>) {
    let webhooks: Vec<toml::Value> = webhooks.into_iter().map(toml::Value::from).collect();
    scene.set("webhooks", webhooks);
}

/// The delivery log, oldest first.
fn log(scene: &Scene) -> Vec<DeliveryRow> {
    let mut rows =
        scene.ask_store(|store| async move { store.deliveries(None, 100).await.unwrap() });
    rows.reverse();
    rows
}

/// A daemon that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[track_caller]
fn wait_for(scene: &Scene, what: &str, holds: impl Fn(&[DeliveryRow]) -> bool) {
    let give_up = Instant::now() + Duration::from_secs(90);
    while !holds(&log(scene)) {
        assert!(Instant::now() < give_up, "{what} did not happen: {:#?}", log(scene));
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is_delivered(rows: &[DeliveryRow]) -> bool {
    rows.iter().any(|row| row.state == DeliveryState::Delivered)
}

#[test]
fn a_courier_that_panics_ends_the_daemon() {
    let receiver = Receiver::start(Vec::new());
    let mut scene = watched();
    set(&mut scene, vec![to("chat", &receiver.url("/"))]);
    let mark = scene.path("mark");
    scene.variables = vec![
        ("UNDER_TEST_FAULT".to_owned(), "panic deliver.before".to_owned()),
        ("UNDER_TEST_FAULT_MARK".to_owned(), mark.display().to_string()),
    ];
    let mut running = Running(scene.start(&["serve"]));
    let give_up = Instant::now() + Duration::from_secs(90);
    let ended = loop {
        if let Some(ended) = running.0.try_wait().unwrap() {
            break ended;
        }
        assert!(Instant::now() < give_up, "the daemon goes on; met: {}", mark.exists());
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(mark.exists());
    assert_eq!(ended.code(), Some(2), "a restart is the service manager's");
    // The next one delivers what is owed.
    let _again = Running(scene.start(&["serve"]));
    wait_for(&scene, "a delivery", is_delivered);
}

#[test]
fn a_change_is_told_once_signed_and_to_whom_it_concerns() {
    let receiver = Receiver::start(Vec::new());
    let mut scene = watched();
    let chat = to("chat", &receiver.url("/hush"));
    let mut series = to("series", &receiver.url("/series"));
    series.insert("series".to_owned(), "9.1".into());
    let mut other = to("other", &receiver.url("/other"));
    other.insert("series".to_owned(), "9.2".into());
    set(&mut scene, vec![chat.clone(), series, other]);
    scene.run(&["serve", "--once"]).exits(0);
    scene.run(&["serve", "--once"]).exits(0);
    let received = receiver.received();
    let lines: Vec<&str> = received.iter().map(|one| one.line.as_str()).collect();
    assert_eq!(lines, ["POST /hush HTTP/1.1", "POST /series HTTP/1.1"]);
    let record = scene.records().remove(0);
    let body: serde_json::Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!(body["type"], "release.status");
    let expected = serde_json::json!({
        "version": source::VERSION,
        "was": null,
        "status": "pass",
        "record": format!("http://127.0.0.1:8470/api/v1/records/{}", record.id),
        "page": format!("http://127.0.0.1:8470/releases/{}", source::VERSION),
    });
    assert_eq!(body["data"], expected);
    let key = chat.try_into::<Webhook>().unwrap().key().unwrap();
    let first = &received[0];
    let message = Message { id: format!("msg_{}", record.id), body: first.body.clone() };
    let sent = first.header("webhook-timestamp").parse().unwrap();
    for (name, value) in key.headers(&message, jiff::Timestamp::from_second(sent).unwrap()) {
        assert_eq!(first.header(name), value, "{name}");
    }
    assert!(log(&scene).iter().all(|row| row.state == DeliveryState::Delivered));
}

#[test]
fn a_webhook_that_is_configured_later_does_not_get_the_past() {
    let receiver = Receiver::start(Vec::new());
    let mut scene = watched();
    scene.run(&["serve", "--once"]).exits(0);
    set(&mut scene, vec![to("chat", &receiver.url("/"))]);
    scene.run(&["serve", "--once"]).exits(0);
    assert_eq!((receiver.connections(), log(&scene).len()), (0, 0));
    // A foreground run is a change like any other, and the next round tells it.
    let mut bytes = fs::read(scene.fixture.published("Python-9.1.0.tgz")).unwrap();
    bytes.push(0);
    scene.republish("Python-9.1.0.tgz", &bytes);
    scene.verify(&[]).exits(1);
    scene.run(&["serve", "--once"]).exits(0);
    let received = receiver.received();
    let body: serde_json::Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!((&body["data"]["was"], &body["data"]["status"]), (&"pass".into(), &"fail".into()));
    assert_eq!(received.len(), 1);
}

#[test]
fn what_a_receiver_does_not_take_is_sent_again_with_the_same_id() {
    // Nobody listens there at first.
    let address = Receiver::free_address();
    let mut scene = watched();
    set(&mut scene, vec![to("chat", &format!("http://{address}/hush"))]);
    let _running = Running(scene.start(&["serve"]));
    wait_for(&scene, "a first failure", |rows| {
        rows.iter().any(|row| row.answer.as_deref().is_some_and(|text| text.contains("reached")))
    });
    let later = Reply::Raw("HTTP/1.1 429 Said\r\nretry-after: 1\r\n\r\n".to_owned());
    let replies = vec![Reply::status(500), later, Reply::Silence, Reply::Raw("what?".to_owned())];
    let receiver = Receiver::at(address, replies);
    wait_for(&scene, "delivery", is_delivered);
    let received = receiver.received();
    assert_eq!(received.len(), 5, "{received:#?}");
    let id = received[0].header("webhook-id");
    assert!(received.iter().all(|one| one.header("webhook-id") == id));
    assert!(received.iter().all(|one| one.body == received[0].body));
    let [row] = &log(&scene)[..] else { panic!("one delivery") };
    assert_eq!(row.answer.as_deref(), Some("HTTP 204"));
    assert!(row.attempts >= 6);
}

#[test]
fn no_redirect_is_followed_and_in_the_end_somebody_has_to_look() {
    let elsewhere = Receiver::start(Vec::new());
    let redirects = vec![Reply::redirect(&elsewhere.url("/")); 100];
    let receiver = Receiver::start(redirects);
    let gone = Receiver::start(vec![Reply::status(410)]);
    let mut scene = watched();
    scene.set("queue.park", "500ms");
    set(&mut scene, vec![to("gone", &gone.url("/")), to("moved", &receiver.url("/"))]);
    let _running = Running(scene.start(&["serve"]));
    wait_for(&scene, "giving up", |rows| {
        rows.len() == 2 && rows.iter().all(|row| row.state == DeliveryState::Failed)
    });
    let rows = log(&scene);
    assert_eq!((rows[0].attempts, rows[0].answer.as_deref()), (1, Some("HTTP 410")));
    assert!(rows[1].answer.as_deref().unwrap().contains("redirects are not followed"));
    assert_eq!(elsewhere.connections(), 0);
    let alarms = scene.ask_store(|store| async move { store.alarms().await.unwrap() });
    let failed = alarms.iter().filter(|alarm| alarm.kind == AlarmKind::WebhookFailed);
    let mut subjects: Vec<&str> = failed.map(|alarm| alarm.subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["gone", "moved"]);
}

#[test]
fn without_leave_no_address_of_the_machine_or_its_network_is_connected_to() {
    let receiver = Receiver::start(Vec::new());
    let port = receiver.address.port();
    let hosts = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "0.0.0.0"];
    let mut scene = watched();
    let webhook = |(number, host): (usize, &&str)| {
        let mut table = to(&format!("hook{number}"), &format!("https://{host}:{port}/"));
        table.remove("internal");
        table
    };
    set(&mut scene, hosts.iter().enumerate().map(webhook).collect());
    scene.run(&["serve", "--once"]).exits(0);
    let rows = log(&scene);
    assert_eq!(rows.len(), hosts.len());
    for row in rows {
        let answer = row.answer.unwrap_or_default();
        assert!(answer.contains("no address of the internet"), "{}: {answer}", row.webhook);
        assert_eq!(row.state, DeliveryState::Due);
    }
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn a_sender_that_dies_before_it_is_delivered_delivers_once() {
    delivers_although_it_dies("deliver.before", 1, Vec::new());
}

#[test]
fn a_sender_that_dies_after_it_was_delivered_delivers_again_with_the_same_id() {
    delivers_although_it_dies("deliver.after", 2, Vec::new());
}

#[test]
fn a_sender_that_dies_when_it_takes_a_delivery_delivers_once() {
    delivers_although_it_dies("take_delivery.before", 1, Vec::new());
    delivers_although_it_dies("take_delivery.after", 1, Vec::new());
}

#[test]
fn a_sender_that_dies_when_it_notes_a_delivery_delivers_again_only_if_that_is_not_noted() {
    delivers_although_it_dies("end_delivery.before", 2, Vec::new());
    delivers_although_it_dies("end_delivery.after", 1, Vec::new());
}

#[test]
fn a_sender_that_dies_when_it_notes_a_refusal_sends_again() {
    delivers_although_it_dies("send_again.before", 2, vec![Reply::status(500)]);
    delivers_although_it_dies("send_again.after", 2, vec![Reply::status(500)]);
}

#[track_caller]
fn delivers_although_it_dies(point: &str, copies: usize, replies: Vec<Reply>) {
    let receiver = Receiver::start(replies);
    let mut scene = watched();
    set(&mut scene, vec![to("chat", &receiver.url("/"))]);
    let mark = scene.path("mark");
    scene.variables = vec![
        ("UNDER_TEST_FAULT".to_owned(), format!("kill {point}")),
        ("UNDER_TEST_FAULT_MARK".to_owned(), mark.display().to_string()),
    ];
    let mut dead = Running(scene.start(&["serve"]));
    dead.0.wait().unwrap();
    assert!(mark.exists());
    let _running = Running(scene.start(&["serve"]));
    wait_for(&scene, &format!("delivery after {point}"), is_delivered);
    let received = receiver.received();
    assert_eq!(received.len(), copies, "{point}");
    let record = scene.records().remove(0);
    let id = format!("msg_{}", record.id);
    assert!(received.iter().all(|one| one.header("webhook-id") == id));
}

#[test]
fn neither_the_secret_nor_the_path_of_a_webhook_is_logged_or_stored() {
    let receiver = Receiver::start(vec![Reply::status(500)]);
    let mut scene = watched();
    set(&mut scene, vec![to("chat", &receiver.url("/hush-hush"))]);
    let ran = scene.run(&["-vv", "serve", "--once"]);
    ran.exits(0);
    assert!(ran.stderr.contains("chat") && ran.stderr.contains("HTTP 500"), "{}", ran.stderr);
    let mut kept = ran.stderr.clone();
    for name in ["records.sqlite", "records.sqlite-wal"] {
        let bytes = fs::read(scene.state().join(name)).unwrap_or_default();
        kept.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(kept.contains("HTTP 500"));
    for secret in ["hush-hush", &SECRET[6..]] {
        assert!(!kept.contains(secret), "{secret} is written down");
    }
    let table = to("chat", &receiver.url("/hush-hush"));
    set(&mut scene, vec![table.clone(), table]);
    let refused = scene.run(&["config", "check"]);
    refused.gives_up("two webhooks are named chat");
    assert!(!refused.stderr.contains("hush-hush"), "{}", refused.stderr);
}
