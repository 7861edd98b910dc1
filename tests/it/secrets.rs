//! Users and passwords in the operator's URLs: they are used, and shown to nobody.

use std::fs;
use std::io::Read;
use std::path::Path;

use nix::sys::signal::Signal;
use tests::{Scene, source};
use verifier::record::RecordStatus;
use verifier::world::Fault;

use crate::daemon::{
    FOR_EVER, Running, address, alarms, assert_one_verdict, http, is_done, jobs, serve, wait_for,
    watched,
};

const USER: &str = "niemand";
const PASSWORD: &str = "geheim";

fn with_secret(url: &str) -> String {
    url.replacen("://", &format!("://{USER}:{PASSWORD}@"), 1)
}

#[track_caller]
fn assert_none(what: &str, bytes: &[u8]) {
    for secret in [USER, PASSWORD] {
        let place = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
        let Some(place) = place else { continue };
        let around = &bytes[place.saturating_sub(200)..bytes.len().min(place + 200)];
        panic!("{what} has {secret}: {}", String::from_utf8_lossy(around));
    }
}

/// Everything that is kept: the store, journals, reports.
#[track_caller]
fn assert_none_below(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        // Nobody writes to the assembled environments, which all tests share.
        if path.is_symlink() {
            continue;
        }
        match path.is_dir() {
            true => assert_none_below(&path),
            false => assert_none(&path.display().to_string(), &fs::read(&path).unwrap()),
        }
    }
}

/// What the daemon said on standard error, once it was stopped.
fn log(mut running: Running) -> String {
    running.signal(Signal::SIGTERM);
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    log
}

#[track_caller]
fn assert_none_in_answers(scene: &Scene, address: &str) {
    let ids = jobs(scene).into_iter().map(|job| format!("jobs/{}", job.id));
    let mut paths: Vec<String> =
        ids.flat_map(|id| [format!("/{id}"), format!("/api/v1/{id}")]).collect();
    for path in [
        "/",
        "/about",
        "/queue",
        "/readyz",
        "/metrics",
        "/releases/9.1.0",
        "/feed.atom",
        "/api/v1/status",
        "/api/v1/jobs",
        "/api/v1/alarms",
        "/api/v1/observations",
        "/api/v1/releases",
        "/api/v1/records",
    ] {
        paths.push(path.to_owned());
    }
    for path in paths {
        let answer = http(address, "GET", &path, "", "");
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
        assert_none(&path, answer.as_bytes());
    }
}

#[test]
fn a_password_of_an_archive_an_index_or_the_api_is_in_no_answer_page_log_or_journal() {
    let mut scene = watched();
    scene.set("queue.park", "1s");
    scene.set("feed.interval", "1s");
    scene.set("log.level", "info");
    scene.forget_environment();
    let base = scene.world.base().to_owned();
    let archive = with_secret(&format!("{base}/debian"));
    scene.set("environment.archives", vec![archive]);
    scene.set("environment.indexes", vec![with_secret(&format!("{base}/simple"))]);
    scene.set("feed.api", with_secret(&format!("{base}/api/v2/downloads")));
    let fail = |path: &str, fault| scene.world.state().fail(path, fault, FOR_EVER);
    fail("/debian/pool/host-tools.deb", Fault::Status(500, Vec::new()));
    let mut running = serve(&scene);
    let address = address(&mut running);
    wait_for(&scene, "a job with an error that is parked", |scene| {
        let said = |text: &str| text.contains("/debian/pool/host-tools.deb answered HTTP 500");
        let alarms = alarms(scene);
        let told = alarms.iter().any(|alarm| said(&alarm.detail));
        told && jobs(scene).iter().any(|job| job.error.as_deref().is_some_and(said))
    });
    // From now on the API answers nonsense.
    fail("/api/v2/downloads/release/", Fault::Body(b"nonsense".to_vec()));
    let not_read = |text: &str| http(&address, "GET", "/readyz", "", "").contains(text);
    wait_for(&scene, "an API that is stale", |_| {
        not_read("is not the list that the API documents")
    });
    assert_none_in_answers(&scene, &address);
    // Settings that were changed are told.
    scene.set("environment.indexes", vec![with_secret(&format!("{base}/other"))]);
    drop(scene.command(&["config", "check"])); // It writes the settings.
    running.signal(Signal::SIGHUP);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let log = log(running);
    for expected in ["answered HTTP 500", "is not the list that the API documents", "/other"] {
        assert!(log.contains(expected), "{log}");
    }
    assert_none("the log", log.as_bytes());
    assert_none_below(&scene.state());
    // Mistakes are told by name, and so is what the foreground says.
    let ran = scene.run(&["environment", "build", "host"]);
    ran.gives_up("answered HTTP 500");
    assert_none("the sentence", ran.stderr.as_bytes());
    scene.set("feed.api", format!("http://{USER}:{PASSWORD}/x@{base}"));
    let ran = scene.run(&["config", "check"]);
    ran.gives_up("feed.api is wrong");
    assert_none("the mistake", ran.stderr.as_bytes());
}

#[test]
fn a_password_of_the_repository_is_in_no_record_and_a_moved_tag_is_still_noticed() {
    let mut scene = watched();
    let repository = scene.path("own.git");
    let (from, to) = (scene.fixture.repository(), repository.display().to_string());
    source::run("git", &["clone", "-q", "--bare", &from.display().to_string(), &to]).unwrap();
    source::run("git", &["-C", &to, "tag", "v9.0.1", "v9.1.0^{}"]).unwrap();
    scene.host_repository(&repository);
    let plain = scene.world.repository();
    scene.run(&["serve", "--once"]).exits(0);
    scene.set("source.repository", with_secret(&plain));
    let ran = scene.verify(&["--json"]);
    ran.exits(0);
    assert_none("the record", ran.stdout.as_bytes());
    assert_eq!(ran.json()["source"]["repository"], plain);
    // A password makes no other repository of it: all its tags are known.
    let script = "cd \"$1\" && other=$(git commit-tree -m other 'v9.1.0^{tree}') && \
        git tag -f v9.0.1 \"$other\" && git tag -f v9.1.0 \"$other\"";
    source::run("bash", &["-c", script, "move", &to]).unwrap();
    scene.refuses("has moved");
    let mut running = serve(&scene);
    let address = address(&mut running);
    wait_for(&scene, "an alarm", |scene| {
        alarms(scene).iter().any(|alarm| alarm.subject == "v9.0.1")
    });
    // What git says of a repository that is not there names it.
    scene.world.state().fail("/cpython.git/info/refs", Fault::Status(500, Vec::new()), FOR_EVER);
    assert_none_in_answers(&scene, &address);
    assert_none("the log", log(running).as_bytes());
    let ran = scene.verify(&[]);
    ran.gives_up("cannot reach the repository http://127.0.0.1:");
    assert_none("the sentence", ran.stderr.as_bytes());
    assert_none_below(&scene.state());
    assert!(is_done(&scene));
    assert!(scene.records().iter().all(|record| record.status == RecordStatus::Pass));
}

#[test]
fn a_password_that_every_record_would_show_is_refused() {
    let mut scene = watched();
    let files = format!("{}/ftp/python", scene.world.base());
    scene.set("feed.files", with_secret(&files));
    for arguments in [&["config", "check"][..], &["serve", "--once"]] {
        let ran = scene.run(arguments);
        ran.gives_up("feed.files is wrong: it has a user or a password");
        assert_none("the sentence", ran.stderr.as_bytes());
    }
    scene.set("feed.files", files);
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Pass);
}
