//! The daemon: it notices, verifies, survives.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Scene, source};
use verifier::observation::{Alarm, AlarmKind, ObservationKind};
use verifier::queue::{Job, JobState, Why};
use verifier::record::RecordStatus;
use verifier::version::Version;
use verifier::world::Fault;

use crate::scene;

pub(crate) const TGZ: &str = "Python-9.1.0.tgz";
pub(crate) const FOR_EVER: u32 = u32::MAX;

/// A scene whose daemon back-fills the one release, and loses patience quickly.
pub(crate) fn watched() -> Scene {
    let mut scene = scene();
    scene.set("feed.since", "2025-01-01");
    scene.set("queue.lease", "2s");
    scene.set("queue.retry", "100ms");
    scene.set("queue.wait", "100ms");
    scene
}

pub(crate) fn version() -> Version {
    source::VERSION.parse().unwrap()
}

/// The jobs of all times, the last one first.
pub(crate) fn jobs(scene: &Scene) -> Vec<Job> {
    let jobs = scene.ask_store(|store| async move { store.jobs(None, None, 100).await.unwrap() });
    jobs.into_iter().map(|(_, job)| job).collect()
}

pub(crate) fn alarms(scene: &Scene) -> Vec<Alarm> {
    scene.ask_store(|store| async move { store.alarms().await.unwrap() })
}

/// A daemon that is ended with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Its exit status after SIGTERM.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.0.wait().unwrap().code()
    }
}

/// Where a daemon that has just been started listens; asked once.
pub(crate) fn address(running: &mut Running) -> String {
    let mut line = String::new();
    let stdout = running.0.stdout.take().expect("nobody has read its output");
    BufReader::new(stdout).read_line(&mut line).unwrap();
    line.trim().strip_prefix("listening on http://").expect("an address").to_owned()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn serve(scene: &Scene) -> Running {
    Running(scene.start(&["serve"]))
}

/// How often the list of releases was asked for.
pub(crate) fn lists(scene: &Scene) -> usize {
    scene.world.state().requests.iter().filter(|path| path.ends_with("/release/")).count()
}

/// Waits until the store says so; a minute is what a dead worker may cost.
#[track_caller]
pub(crate) fn wait_for(scene: &Scene, what: &str, holds: impl Fn(&Scene) -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !holds(scene) {
        assert!(Instant::now() < give_up, "{what} did not happen: {:#?}", jobs(scene));
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn is_done(scene: &Scene) -> bool {
    jobs(scene).iter().any(|job| job.state == JobState::Done)
}

/// Waits until the daemon knows that python.org announces the release.
#[track_caller]
pub(crate) fn wait_for_the_list(scene: &Scene) {
    wait_for(scene, "the list", |scene| {
        scene.ask_store(|store| async move { store.announced(&version()).await.unwrap().is_some() })
    });
}

/// A token that allows requests.
pub(crate) fn token(scene: &Scene) -> String {
    let added = scene.run(&["token", "add", "tester"]);
    added.exits(0);
    added.stdout.trim().to_owned()
}

/// One exchange with the daemon's server, as far as it got; without a token if that is empty.
pub(crate) fn http(address: &str, method: &str, path: &str, token: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let authorization = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A daemon that dies says no more.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Asks for the scene's release.
pub(crate) fn ask(address: &str, token: &str) -> String {
    let wanted = format!("{{\"version\": \"{}\"}}", source::VERSION);
    http(address, "POST", "/api/v1/requests", token, &wanted)
}

/// Exactly one job, one record, and the journal and report that go with it.
#[track_caller]
pub(crate) fn assert_one_verdict(scene: &Scene, status: RecordStatus) {
    let records = scene.records();
    let [record] = records.as_slice() else { panic!("{} records", records.len()) };
    assert_eq!(record.status, status);
    let jobs = jobs(scene);
    let [job] = jobs.as_slice() else { panic!("{jobs:#?}") };
    assert_eq!((job.state, job.record.as_deref()), (JobState::Done, Some(record.id.as_str())));
    assert!(scene.state().join(format!("reports/{}/record.json", record.id)).exists());
    assert!(scene.state().join(format!("jobs/{}.ndjson", job.id)).exists());
}

#[test]
fn one_round_verifies_what_is_announced_and_the_next_finds_nothing_to_do() {
    let scene = watched();
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Pass);
    assert_eq!(jobs(&scene)[0].why, Why::Backfill);
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Pass);
    assert_eq!(lists(&scene), 2, "one list a round");
    let files = scene.world.state().requests.iter().filter(|r| r.contains("release_file")).count();
    assert_eq!(files, 1, "files are asked for once");
}

#[test]
fn what_is_out_already_is_left_alone_and_what_appears_later_is_verified() {
    let mut scene = Scene::empty(crate::PLACE);
    scene.set("queue.retry", "100ms");
    scene.announce("9.0.9", &[]);
    scene.run(&["serve", "--once"]).exits(0);
    assert_eq!(jobs(&scene), []);
    let files = ["tgz", "tar.xz"].map(|kind| format!("Python-9.1.0.{kind}"));
    scene.announce(source::VERSION, &files.map(|name| scene.fixture.published(&name)));
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Pass);
    assert_eq!(jobs(&scene)[0].why, Why::Release);
    let seen = scene.ask_store(|store| async move { store.observations(None, 9).await.unwrap() });
    assert!(seen.iter().any(|(_, seen)| seen.kind == ObservationKind::ReleaseAnnounced));
}

#[test]
fn a_difference_is_rebuilt_once_more_before_it_is_recorded() {
    let scene = watched();
    let mut bytes = fs::read(scene.fixture.published(TGZ)).unwrap();
    bytes.push(0);
    scene.republish(TGZ, &bytes);
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Fail);
    let journal = scene.state().join(format!("jobs/{}.ndjson", jobs(&scene)[0].id));
    let journal = fs::read_to_string(journal).unwrap();
    assert_eq!(journal.matches("\"running\"").count(), 2, "{journal}");
    assert_eq!(journal.matches("\"judged\"").count(), 1, "{journal}");
    let first = journal.split("once more").next().unwrap();
    assert!(!first.contains("match") && !first.contains("differ"), "{first}");
    let reports = fs::read_dir(scene.state().join("reports")).unwrap().count();
    assert_eq!(reports, 1, "nothing is left of the first rebuild");
}

#[test]
fn a_release_without_its_tag_waits_and_is_verified_when_it_is_there() {
    let mut scene = watched();
    let repository = scene.fixture.repository();
    let later = scene.path("later.git");
    scene.set("source.repository", later.display().to_string());
    scene.set("feed.glance", "200ms");
    tests::source::copy_without_tags(&repository, &later);
    let running = serve(&scene);
    wait_for(&scene, "waiting", |scene| {
        jobs(scene).iter().any(|job| {
            job.waiting.as_deref().is_some_and(|reason| reason.contains("no tag v9.1.0"))
        })
    });
    assert_eq!(jobs(&scene)[0].attempts, 0, "waiting is no error");
    fs::remove_dir_all(&later).unwrap();
    std::os::unix::fs::symlink(&repository, &later).unwrap();
    wait_for(&scene, "a verdict", is_done);
    assert_eq!(running.stop(), Some(0));
    assert_one_verdict(&scene, RecordStatus::Pass);
}

#[test]
fn a_program_that_is_started_often_asks_for_files_no_more_often() {
    let mut scene = Scene::empty(crate::PLACE);
    scene.set("feed.since", "2025-01-01");
    scene.announce("9.0.9", &[]);
    for _ in 0..3 {
        scene.run(&["serve", "--once"]).exits(0);
    }
    let files = |path: &String| path.contains("release_file");
    let asked = scene.world.state().requests.iter().filter(|path| files(path)).count();
    assert_eq!((lists(&scene), asked), (3, 1));
    let reason = Some("python.org announces no source file yet".to_owned());
    assert_eq!(jobs(&scene)[0].waiting, reason);
}

#[test]
fn trouble_of_ours_is_no_verdict_and_parks_in_the_end() {
    let mut scene = watched();
    scene.set("queue.park", "1s");
    scene.world.state().fail(
        "/ftp/python/9.1.0/Python-9.1.0.tgz",
        Fault::Status(503, Vec::new()),
        FOR_EVER,
    );
    let running = serve(&scene);
    wait_for(&scene, "parking", |scene| {
        jobs(scene).iter().any(|job| job.state == JobState::Parked)
    });
    assert_eq!(scene.records(), []);
    let open = alarms(&scene);
    assert!(open.iter().any(|alarm| alarm.kind == AlarmKind::JobParked), "{open:?}");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_feed_that_talks_nonsense_changes_nothing_that_is_known() {
    let scene = watched();
    scene.run(&["serve", "--once"]).exits(0);
    for fault in
        [Fault::Body("[]".into()), Fault::Body("<html>".into()), Fault::Status(500, Vec::new())]
    {
        scene.world.state().fail("/api/v2/downloads/release/", fault, 3);
        scene.run(&["serve", "--once"]).gives_up("/api/v2/downloads/release/");
        assert_one_verdict(&scene, RecordStatus::Pass);
        scene.world.state().faults.clear();
        scene.run(&["serve", "--once"]).exits(0);
    }
    let announced =
        scene.ask_store(|store| async move { store.announced(&version()).await.unwrap() });
    assert!(announced.is_some());
}

#[test]
fn a_list_that_is_shorter_than_before_changes_nothing_that_is_known() {
    let scene = scene();
    scene.announce("9.0.9", &[]);
    scene.run(&["serve", "--once"]).exits(0);
    scene.verify(&[]).exits(0);
    let known = |scene: &Scene| {
        let versions: [Version; 2] = ["9.0.9", source::VERSION].map(|text| text.parse().unwrap());
        let known = scene.ask_store(|store| async move {
            let [one, other] = versions;
            (store.announced(&one).await.unwrap(), store.announced(&other).await.unwrap())
        });
        assert!(known.0.is_some() && known.1.is_some(), "{known:?}");
        format!("{known:?}")
    };
    let before = known(&scene);
    let all = scene.world.state().releases.clone();
    for kept in &all {
        scene.world.state().releases = vec![kept.clone()];
        scene.run(&["serve", "--once"]).exits(0);
        assert_eq!(known(&scene), before);
    }
    // And what is there again is not new.
    scene.world.state().releases = all;
    scene.run(&["serve", "--once"]).exits(0);
    assert_eq!(known(&scene), before);
    assert_eq!((jobs(&scene), alarms(&scene)), (Vec::new(), Vec::new()));
    assert_eq!(scene.records().len(), 1);
}

#[test]
fn a_feed_that_fails_for_long_makes_the_daemon_unready_until_it_is_read_again() {
    let mut scene = scene();
    scene.set("feed.interval", "300ms");
    scene.set("feed.requests_per_day", 10_000);
    scene.set("queue.lease", "2s");
    let mut running = serve(&scene);
    let address = address(&mut running);
    let ready = || http(&address, "GET", "/readyz", "", "");
    let is_open =
        |scene: &Scene| alarms(scene).iter().any(|alarm| alarm.kind == AlarmKind::FeedStale);
    wait_for(&scene, "ready", |_| ready().starts_with("HTTP/1.1 200"));
    let list = "/api/v2/downloads/release/";
    scene.world.state().fail(list, Fault::Status(500, Vec::new()), FOR_EVER);
    wait_for(&scene, "its alarm", is_open);
    wait_for(&scene, "unready", |_| {
        let answer = ready();
        let says_why = answer.contains("python.org was not read for too long")
            && answer.contains("answered HTTP 500");
        answer.starts_with("HTTP/1.1 503") && says_why
    });
    scene.world.state().faults.clear();
    wait_for(&scene, "ready again", |scene| !is_open(scene) && ready().starts_with("HTTP/1.1 200"));
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn the_days_requests_to_the_api_are_never_exceeded() {
    let mut scene = watched();
    scene.set("feed.requests_per_day", 5);
    scene.set("feed.interval", "100ms");
    let running = serve(&scene);
    wait_for(&scene, "a verdict", is_done);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(running.stop(), Some(0));
    let asked = scene.world.state().requests.iter().filter(|r| r.contains("/api/")).count();
    assert_eq!(asked, 5);
}

#[test]
fn a_round_that_was_killed_leaves_its_job_to_the_next_one() {
    let scene = watched();
    scene.only_step("sleep 4723.1");
    let mut killed = scene.start(&["serve", "--once"]);
    wait_for(&scene, "a job", |scene| jobs(scene).iter().any(|job| job.state == JobState::Running));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(jobs(&scene)[0].state, JobState::Running);
    scene.recipe(tests::fixture::RECIPE);
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Pass);
}

#[test]
fn what_the_api_refuses_is_asked_for_once_and_its_wait_outlives_the_process() {
    let mut scene = watched();
    let clock = scene.clock();
    let list = "/api/v2/downloads/release/";
    scene.world.state().fail(list, Fault::Status(500, Vec::new()), 1);
    scene.run(&["serve", "--once"]).gives_up("answered HTTP 500");
    assert_eq!(lists(&scene), 1, "what is counted is sent once");
    for (times, status) in [(2, 429), (3, 503)] {
        let wait = vec![("retry-after".to_owned(), "3600".to_owned())];
        scene.world.state().fail(list, Fault::Status(status, wait), 1);
        scene.run(&["serve", "--once"]).gives_up("wants to be left alone: try again in 3600 s");
        scene.run(&["serve", "--once"]).gives_up("wants to be left alone: try again in 35");
        assert_eq!(lists(&scene), times);
        fs::write(&clock, ((times - 1) * 3600).to_string()).unwrap();
    }
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Pass);
}

#[test]
fn a_wait_that_the_api_asks_a_worker_for_holds_for_every_request() {
    let scene = watched();
    let files = "/api/v2/downloads/release_file/";
    let wait = vec![("retry-after".to_owned(), "3600".to_owned())];
    scene.world.state().fail(files, Fault::Status(429, wait), 1);
    scene.run(&["serve", "--once"]).exits(0);
    let asked = |scene: &Scene| {
        scene.world.state().requests.iter().filter(|path| path.contains("/api/")).count()
    };
    assert_eq!((lists(&scene), asked(&scene)), (1, 2));
    let job = jobs(&scene).remove(0);
    assert!(job.due.duration_since(jiff::Timestamp::now()).as_secs() > 3_500, "{job:?}");
    scene.run(&["serve", "--once"]).gives_up("wants to be left alone: try again in 35");
    assert_eq!(asked(&scene), 2);
}

#[test]
fn back_fill_leaves_the_list_what_it_needs() {
    let mut scene = watched();
    scene.set("feed.interval", "12h");
    scene.set("feed.requests_per_day", 6);
    for number in 1..9 {
        scene.announce(&format!("9.0.{number}"), &[]);
    }
    for _ in 0..2 {
        scene.run(&["serve", "--once"]).exits(0);
    }
    assert_eq!(lists(&scene), 2);
    let state = scene.world.state();
    let files = state.requests.iter().filter(|path| path.contains("release_file")).count();
    assert_eq!(files, 4, "two of six are the list's");
}
