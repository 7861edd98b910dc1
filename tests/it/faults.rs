//! Every write of the daemon, failed and not persisted, failed but persisted: by an error and by a
//! kill -9. Whatever was accepted ends in exactly one verdict.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tests::{Scene, source};
use verifier::fault;
use verifier::observation::{AlarmKind, ObservationKind};
use verifier::queue::{JobState, Why};
use verifier::record::RecordStatus;
use verifier::world::Fault;

use crate::daemon::{
    FOR_EVER, Running, TGZ, address, alarms, ask, assert_one_verdict, http, is_done, jobs, lists,
    serve, token, version, wait_for, wait_for_the_list, watched,
};

/// Met by every job.
const ALWAYS: &[&str] = &["api_request", "learn", "files", "tags", "claim", "reports", "settle"];
/// Met where the test of the same name leads.
const SOMETIMES: &[&str] = &[
    "observe",
    "request",
    "cancel",
    "cancel_job",
    "release",
    "wait",
    "retry",
    "park",
    "give_up",
    "append",
];
/// Met in `deliveries.rs` and `retention.rs`.
const ELSEWHERE: &[&str] = &["deliver", "take_delivery", "send_again", "end_delivery", "compress"];

/// How a write is hit.
#[derive(Clone, Copy, Debug)]
struct Hit {
    /// `kill` or `fail`.
    what: &'static str,
    write: &'static str,
    /// `before` or `after`.
    side: &'static str,
}

impl Hit {
    /// All four of a write; two where slow tests are not asked for.
    fn all(write: &'static str) -> impl Iterator<Item = Hit> {
        let sides = |what| ["before", "after"].into_iter().map(move |side| (what, side));
        // Dying is the harder half; that an error is one as well is left to the slow run.
        let slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
        let kinds = if slow { &["kill", "fail"][..] } else { &["kill"] };
        let all = kinds.iter().copied().flat_map(sides);
        all.map(move |(what, side)| Hit { what, write, side })
    }

    /// The program of this scene meets it once, from now on.
    fn aim(&self, scene: &mut Scene) -> PathBuf {
        let mark = scene.path("mark");
        let Hit { what, write, side } = self;
        scene.variables.extend([
            ("UNDER_TEST_FAULT".to_owned(), format!("{what} {write}.{side}")),
            ("UNDER_TEST_FAULT_MARK".to_owned(), mark.display().to_string()),
        ]);
        mark
    }

    fn kills(&self) -> bool {
        self.what == "kill"
    }

    /// Whether what was to be written is there afterwards.
    fn persists(&self) -> bool {
        self.side == "after"
    }

    /// Waits until it was met; a daemon that died of it is started again.
    fn survive(&self, scene: &Scene, mark: &Path, mut running: Running) -> Running {
        wait_for(scene, &format!("{self:?}"), |_| mark.exists());
        if !self.kills() {
            return running;
        }
        running.0.wait().expect("wait for the daemon");
        let before = lists(scene);
        let successor = serve(scene);
        wait_for(scene, "its successor", |scene| lists(scene) > before);
        successor
    }
}

/// One verdict, now and after another round.
#[track_caller]
fn ends_in_one_verdict(scene: &Scene, running: Running, hit: Hit) {
    wait_for(scene, &format!("a verdict after {hit:?}"), is_done);
    assert_eq!(running.stop(), Some(0), "{hit:?}");
    assert_one_verdict(scene, RecordStatus::Pass);
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(scene, RecordStatus::Pass);
}

/// A scene that looks at python.org again soon, even if the first look is what fails.
fn impatient() -> Scene {
    let mut scene = watched();
    scene.set("feed.interval", "300ms");
    scene.set("feed.requests_per_day", 10_000);
    scene
}

#[test]
fn every_write_is_hit_by_a_test() {
    let mut tested = [ALWAYS, SOMETIMES, ELSEWHERE].concat();
    let mut all = fault::WRITES.to_vec();
    tested.sort_unstable();
    all.sort_unstable();
    assert_eq!(tested, all);
}

#[test]
fn a_daemon_that_dies_at_any_write_of_a_job_comes_to_exactly_one_verdict() {
    for hit in ALWAYS.iter().copied().flat_map(Hit::all) {
        let mut scene = impatient();
        let mark = hit.aim(&mut scene);
        let running = serve(&scene);
        let running = hit.survive(&scene, &mark, running);
        ends_in_one_verdict(&scene, running, hit);
    }
}

#[test]
fn a_job_that_waits_is_not_lost() {
    for hit in Hit::all("wait") {
        let mut scene = impatient();
        let repository = scene.fixture.repository();
        let later = scene.path("later.git");
        scene.set("source.repository", later.display().to_string());
        scene.set("feed.glance", "200ms");
        source::copy_without_tags(&repository, &later);
        let mark = hit.aim(&mut scene);
        let running = hit.survive(&scene, &mark, serve(&scene));
        wait_for(&scene, "waiting", |scene| jobs(scene).iter().any(|job| job.waiting.is_some()));
        fs::rename(&later, scene.path("earlier.git")).unwrap();
        std::os::unix::fs::symlink(&repository, &later).unwrap();
        ends_in_one_verdict(&scene, running, hit);
    }
}

#[test]
fn a_job_in_trouble_is_not_lost() {
    for hit in Hit::all("retry") {
        let mut scene = impatient();
        let trouble = Fault::Status(503, Vec::new());
        scene.world.state().fail("/ftp/python/9.1.0/Python-9.1.0.tgz", trouble, 3);
        let mark = hit.aim(&mut scene);
        let running = hit.survive(&scene, &mark, serve(&scene));
        ends_in_one_verdict(&scene, running, hit);
    }
}

#[test]
fn a_job_is_parked_with_its_alarm_or_not_at_all() {
    for hit in Hit::all("park") {
        let mut scene = impatient();
        scene.set("queue.park", "100ms");
        let trouble = Fault::Status(503, Vec::new());
        scene.world.state().fail("/ftp/python/9.1.0/Python-9.1.0.tgz", trouble, FOR_EVER);
        let mark = hit.aim(&mut scene);
        let running = serve(&scene);
        let has_alarm =
            |scene: &Scene| alarms(scene).iter().any(|alarm| alarm.kind == AlarmKind::JobParked);
        let parked = |scene: &Scene| {
            let had_alarm = has_alarm(scene);
            let parked = jobs(scene).iter().any(|job| job.state == JobState::Parked);
            assert!(parked || !had_alarm, "{hit:?}: an alarm without a parked job");
            assert!(!parked || has_alarm(scene), "{hit:?}: a parked job without its alarm");
            parked
        };
        let running = hit.survive(&scene, &mark, running);
        wait_for(&scene, "parking", parked);
        scene.world.state().faults.clear();
        scene.ask_store(|store| async move {
            store.enqueue(&version(), Why::Request).await.unwrap();
        });
        ends_in_one_verdict(&scene, running, hit);
        let open = alarms(&scene);
        assert!(open.iter().all(|alarm| alarm.kind != AlarmKind::JobParked), "{open:?}");
    }
}

#[test]
fn a_job_that_is_put_back_is_not_lost() {
    for hit in Hit::all("release") {
        let mut scene = impatient();
        scene.only_step("sleep 600");
        let mark = hit.aim(&mut scene);
        let mut running = serve(&scene);
        wait_for(&scene, "a job", |scene| {
            jobs(scene).iter().any(|job| job.state == JobState::Running)
        });
        running.signal(Signal::SIGTERM);
        let status = running.0.wait().unwrap();
        assert_eq!(status.code(), (!hit.kills()).then_some(0), "{hit:?}");
        assert!(mark.exists());
        let state = jobs(&scene)[0].state;
        let expected = if hit.persists() { JobState::Queued } else { JobState::Running };
        assert_eq!(state, expected, "{hit:?}");
        scene.recipe(tests::fixture::RECIPE);
        let running = serve(&scene);
        ends_in_one_verdict(&scene, running, hit);
    }
}

#[test]
fn a_job_whose_worker_died_is_given_up_once() {
    for hit in Hit::all("give_up") {
        let mut scene = impatient();
        scene.only_step("sleep 600");
        let mut dead = serve(&scene);
        wait_for(&scene, "a job", |scene| {
            jobs(scene).iter().any(|job| job.state == JobState::Running)
        });
        dead.0.kill().unwrap();
        dead.0.wait().unwrap();
        scene.recipe(tests::fixture::RECIPE);
        let mark = hit.aim(&mut scene);
        let running = hit.survive(&scene, &mark, serve(&scene));
        ends_in_one_verdict(&scene, running, hit);
    }
}

#[test]
fn an_accepted_request_ends_in_one_verdict() {
    for hit in Hit::all("request").chain(Hit::all("settle").filter(Hit::kills)) {
        let mut scene = impatient();
        scene.set("feed.since", "");
        let token = token(&scene);
        let mark = hit.aim(&mut scene);
        let mut running = serve(&scene);
        let place = address(&mut running);
        wait_for_the_list(&scene);
        let refused = ask(&place, "vbt_wrong");
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
        let answer = ask(&place, &token);
        let accepted = answer.starts_with("HTTP/1.1 202");
        assert_eq!(accepted, hit.write != "request", "{hit:?}: {answer}");
        let mut running = hit.survive(&scene, &mark, running);
        if hit.write == "request" {
            assert_eq!(jobs(&scene).len(), usize::from(hit.persists()), "{hit:?}");
            // Whoever was not answered asks again.
            let place = if hit.kills() { address(&mut running) } else { place };
            let answer = ask(&place, &token);
            assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        }
        ends_in_one_verdict(&scene, running, hit);
        assert_eq!(jobs(&scene)[0].why, Why::Request);
    }
}

#[test]
fn a_request_that_was_taken_back_comes_to_no_verdict() {
    for hit in Hit::all("cancel") {
        let mut scene = impatient();
        scene.set("feed.since", "");
        scene.only_step("sleep 600");
        let token = token(&scene);
        let mark = hit.aim(&mut scene);
        let mut running = serve(&scene);
        let mut place = address(&mut running);
        wait_for_the_list(&scene);
        let answer = ask(&place, &token);
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let taken: serde_json::Value = serde_json::from_str(body).expect(&answer);
        let path = format!("/api/v1/requests/{}", taken["request"].as_str().unwrap());
        let answer = http(&place, "DELETE", &path, &token, "");
        assert!(!answer.starts_with("HTTP/1.1 200"), "{hit:?}: {answer}");
        let mut running = hit.survive(&scene, &mark, running);
        let cancelled = jobs(&scene)[0].state == JobState::Cancelled;
        assert_eq!(cancelled, hit.persists(), "{hit:?}");
        if hit.kills() {
            place = address(&mut running);
        }
        let answer = http(&place, "DELETE", &path, &token, "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{hit:?}: {answer}");
        assert_eq!(running.stop(), Some(0));
        assert_eq!(jobs(&scene)[0].state, JobState::Cancelled);
        assert_eq!(scene.records(), []);
    }
}

#[test]
fn a_job_that_an_operator_cancels_comes_to_no_verdict() {
    for hit in Hit::all("cancel_job") {
        let mut scene = impatient();
        scene.only_step("sleep 600");
        let added = scene.run(&["token", "add", "--scope", "operate", "on-call"]);
        let token = added.exits(0).stdout.trim().to_owned();
        let mark = hit.aim(&mut scene);
        let mut running = serve(&scene);
        let mut place = address(&mut running);
        wait_for(&scene, "a job", |scene| {
            jobs(scene).iter().any(|job| job.state == JobState::Running)
        });
        let path = format!("/api/v1/jobs/{}", jobs(&scene)[0].id);
        let answer = http(&place, "DELETE", &path, &token, "");
        assert!(!answer.starts_with("HTTP/1.1 200"), "{hit:?}: {answer}");
        let mut running = hit.survive(&scene, &mark, running);
        let cancelled = jobs(&scene)[0].state == JobState::Cancelled;
        assert_eq!(cancelled, hit.persists(), "{hit:?}");
        if hit.kills() {
            place = address(&mut running);
        }
        let answer = http(&place, "DELETE", &path, &token, "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{hit:?}: {answer}");
        assert_eq!(running.stop(), Some(0));
        assert_eq!(jobs(&scene)[0].state, JobState::Cancelled);
        assert_eq!(scene.records(), []);
    }
}

#[test]
fn a_changed_file_is_observed_once() {
    for hit in Hit::all("observe") {
        let mut scene = impatient();
        scene.run(&["serve", "--once"]).exits(0);
        let mut bytes = fs::read(scene.fixture.published(TGZ)).unwrap();
        bytes.push(0);
        scene.republish(TGZ, &bytes);
        // Two days later, when every file is due.
        let clock = scene.clock();
        fs::write(&clock, "172800").unwrap();
        let mark = hit.aim(&mut scene);
        let ran = scene.command(&["serve", "--once"]).output().unwrap();
        assert!(mark.exists(), "{hit:?}: {ran:?}");
        scene.run(&["serve", "--once"]).exits(0);
        let seen =
            scene.ask_store(|store| async move { store.observations(None, 99).await.unwrap() });
        let changed = seen.iter().filter(|(_, seen)| seen.kind == ObservationKind::FileChanged);
        assert_eq!(changed.count(), 1, "{hit:?}: {seen:?}");
        let open = alarms(&scene);
        let about = open.iter().filter(|alarm| alarm.kind == AlarmKind::FileChanged);
        assert_eq!(about.count(), 1, "{hit:?}: {open:?}");
        let rechecks = jobs(&scene).iter().filter(|job| job.why == Why::Recheck).count();
        assert_eq!(rechecks, 1, "{hit:?}");
    }
}

#[test]
fn a_record_of_the_foreground_is_there_or_it_is_not() {
    for hit in Hit::all("append") {
        let mut scene = impatient();
        let mark = hit.aim(&mut scene);
        let output = scene.command(&["verify", source::VERSION]).output().unwrap();
        assert!(mark.exists());
        assert_ne!(output.status.code(), Some(0), "{hit:?}");
        assert_eq!(scene.records().len(), usize::from(hit.persists()), "{hit:?}");
        scene.verify(&[]).exits(0);
        assert_eq!(scene.records().len(), 1 + usize::from(hit.persists()), "{hit:?}");
    }
}
