//! Witnesses: of the small release, through the program; and for the genuine 3.13.5 those that this
//! machine's package archive can play.

use std::fs;

use rebuilder::Digest;
use serde_json::Value;
use tests::Scene;
use tests::genuine::{Prepared, is_asked_for};
use verifier::authenticate::witness::{self, Question};
use verifier::config::Config;
use verifier::definitions::Definitions;
use verifier::evidence::CheckOutcome;
use verifier::http::Client;
use verifier::observation::{AlarmKind, ObservationKind};
use verifier::version::Version;
use verifier::world::Fault;

use crate::authenticate::{evidence, finds};
use crate::{PLACE, scene};

const TGZ: &str = "Python-9.1.0.tgz";
const TAR_XZ: &str = "Python-9.1.0.tar.xz";
const FOR_EVER: u32 = u32::MAX;

/// The lines that sha256sum prints of the published files.
fn true_list(scene: &Scene) -> String {
    let line = |name| {
        let (sha256, _) = Digest::of_file(&scene.fixture.published(name)).unwrap();
        format!("{sha256}  {name}\n")
    };
    line(TGZ) + &line(TAR_XZ)
}

/// From now on `list` is what the witness at the world's `/list` keeps.
fn keeps(scene: &Scene, list: &str) {
    let path = scene.path("list");
    fs::write(&path, list).unwrap();
    scene.world.state().served.insert("/list".to_owned(), path);
}

/// Makes Mary a witness, at a URL of the world.
fn add_mary(scene: &Scene, url: &str) {
    let place = scene.path("definitions/witnesses");
    fs::create_dir_all(&place).unwrap();
    let text = format!(
        "name = 'mary'\nabout = 'She builds from it.'\nformat = 'sha256sum'\nurl = '{}{url}'\n",
        scene.world.base()
    );
    fs::write(place.join("mary.toml"), text).unwrap();
}

fn with_mary() -> Scene {
    let scene = scene();
    add_mary(&scene, "/list");
    keeps(&scene, &true_list(&scene));
    scene
}

#[test]
fn a_witness_agrees_disagrees_or_is_silent_each_with_its_date() {
    let scene = with_mary();
    let record = finds(&scene, "witness", TGZ, "agrees", "mary keeps the same SHA-256; asked 2");
    assert_eq!(evidence(&record, "witness", TAR_XZ).0, "agrees");
    assert_eq!(scene.world.state().requests.iter().filter(|path| *path == "/list").count(), 1);

    let wrong = "0".repeat(64);
    keeps(&scene, &format!("{wrong}  {TGZ}\n"));
    let (sha256, _) = Digest::of_file(&scene.fixture.published(TGZ)).unwrap();
    let detail =
        format!("mary keeps SHA-256 {wrong} for {TGZ}, and this file has {sha256}; asked 2");
    let record = finds(&scene, "witness", TGZ, "disagrees", &detail);
    assert_eq!(record["artifacts"][0]["verdict"], "reproduced");
    let (outcome, detail) = evidence(&record, "witness", TAR_XZ);
    assert_eq!(outcome, "missing");
    assert!(detail.starts_with(&format!("mary says nothing about {TAR_XZ}; asked 2")), "{detail}");
    let text = scene.verify(&[]).exits(1).stdout.clone();
    let head = format!("cpython 9.1.0  fail: witness of {TGZ} disagrees\n");
    assert!(text.starts_with(&head), "{text}");
}

#[test]
fn a_witness_in_trouble_says_nothing_for_or_against() {
    let scene = with_mary();
    let cannot = |detail: &str| finds(&scene, "witness", TGZ, "cannot_check", detail);
    let fail = |fault| scene.world.state().fail("/list", fault, FOR_EVER);
    fail(Fault::Status(503, Vec::new()));
    cannot("mary cannot be asked: ");
    fail(Fault::Status(404, Vec::new()));
    cannot("does not exist (HTTP 404)");
    fail(Fault::Body(b"<html>try again later</html>".to_vec()));
    cannot("its record cannot be read: line 1 is no line of sha256sum");
    fail(Fault::TenGigabytes);
    cannot("sends more than the 67108864 bytes that are allowed");
    fail(Fault::Redirect("https://evil.example/list".to_owned()));
    cannot("is refused");
    // It is not waited for much longer than the rebuild takes.
    fail(Fault::Silence);
    cannot("mary cannot be asked: it had not answered when the rebuild was over; asked 2");
    scene.world.state().faults.clear();
    add_mary(&scene, "/of/{version}");
    finds(&scene, "witness", TGZ, "missing", "mary says nothing about Python-9.1.0.tgz");
}

#[test]
fn only_those_are_asked_who_should_be() {
    let mut scene = with_mary();
    keeps(&scene, &format!("{}  {TGZ}\n", "0".repeat(64)));
    for (ask, code) in [("none", 0), ("archives", 0), ("all", 1)] {
        scene.set("witnesses.ask", ask);
        let record = scene.verify(&["--json"]).exits(code).json();
        let is_witness = |one: &&Value| one["check"] == "witness";
        let count = record["evidence"].as_array().unwrap().iter().filter(is_witness).count();
        assert_eq!(count, if ask == "all" { 2 } else { 0 }, "{ask}");
    }
    let place = scene.path("definitions/witnesses");
    fs::write(place.join("mary.toml"), "name = 'mary'\n").unwrap();
    scene.refuses("read witnesses/mary.toml");
}

#[test]
fn a_disagreement_is_an_alarm_until_nothing_disagrees() {
    let mut scene = with_mary();
    scene.set("feed.since", "2025-01-01");
    keeps(&scene, &format!("{}  {TGZ}\n", "0".repeat(64)));
    scene.run(&["serve", "--once"]).exits(0);
    let records = scene.records();
    let [disagreeing] = records.as_slice() else { panic!("{} records", records.len()) };
    let alarms = || scene.ask_store(|store| async move { store.alarms().await.unwrap() });
    let open = alarms();
    let [alarm] = open.as_slice() else { panic!("{open:#?}") };
    assert_eq!((alarm.kind, alarm.subject.as_str()), (AlarmKind::ClaimDisagrees, TGZ));
    let detail = format!("witness of {TGZ} disagrees: mary keeps SHA-256 0000");
    assert!(alarm.detail.starts_with(&detail), "{alarm:?}");
    let observed =
        scene.ask_store(|store| async move { store.observations(None, 100).await.unwrap() });
    let disagrees = |kind: ObservationKind| kind == ObservationKind::ClaimDisagrees;
    assert_eq!(observed.iter().filter(|(_, one)| disagrees(one.kind)).count(), 1, "{observed:#?}");

    // A witness who disagreed and cannot be asked any more clears nothing, and lets nothing pass.
    scene.world.state().fail("/list", Fault::Status(404, Vec::new()), 1);
    let refused = scene.verify(&[]).exits(2).stderr.clone();
    let sentence = format!("witness of {TGZ} disagreed in record {} and cannot", disagreeing.id);
    assert!(refused.contains(&sentence), "{refused}");
    assert_eq!((alarms().len(), scene.records().len()), (1, 1));
    keeps(&scene, &true_list(&scene));
    scene.verify(&[]).exits(0);
    assert_eq!(alarms(), []);
}

#[test]
fn debian_keeps_the_digest_of_the_genuine_archive() {
    if !is_asked_for() {
        return;
    }
    let genuine = Prepared::in_place(PLACE).genuine;
    let mut witnesses = Definitions::BuiltIn.witnesses().unwrap();
    witnesses.retain(|witness| witness.name.as_str() == "debian-13");
    let version: Version = "3.13.5".parse().unwrap();
    let (sha256, _) = Digest::of_file(&genuine.tar_xz).unwrap();
    let names = ["Python-3.13.5.tar.xz", "Python-3.13.5.tgz"];
    let files = names.map(|name| (name.to_owned(), sha256));
    let settings = Config::default().environment_settings();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new().unwrap();
    let question =
        Question { client: &client, settings: &settings, version: &version, files: &files };
    let asked = witness::ask(question, &witnesses, std::future::pending());
    let evidence = runtime.block_on(asked);
    println!("{evidence:#?}");
    let outcomes: Vec<_> = evidence.iter().map(|evidence| evidence.outcome).collect();
    assert_eq!(outcomes, [CheckOutcome::Agrees, CheckOutcome::Missing]);
    assert!(evidence[0].detail.contains("its record is of 2"), "{evidence:?}");
}
