//! Watching: signs of a release before the API has it, tags that move, claims that change, and
//! releases that are not complete.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;
use tests::{Scene, Signer, source};
use verifier::observation::{AlarmKind, Observation, ObservationKind};
use verifier::queue::{Job, JobState, Why};
use verifier::record::RecordStatus;
use verifier::world::{Announcement, Fault};

use crate::daemon::{
    FOR_EVER, TGZ, address, alarms, ask, assert_one_verdict, http, is_done, jobs, lists, serve,
    token, wait_for, wait_for_the_list, watched,
};

pub const LISTED: &str = "/ftp/python/9.1.0/Python-9.1.0.tgz";

/// What was observed of one kind, the last first.
pub fn observed(scene: &Scene, kind: ObservationKind) -> Vec<Observation> {
    let seen = scene.ask_store(|store| async move { store.observations(None, 99).await.unwrap() });
    seen.into_iter().map(|(_, seen)| seen).filter(|seen| seen.kind == kind).collect()
}

pub fn open_alarms(scene: &Scene, kind: AlarmKind) -> usize {
    alarms(scene).iter().filter(|alarm| alarm.kind == kind).count()
}

/// The published files of the scene's release.
fn files(scene: &Scene) -> [PathBuf; 2] {
    ["tgz", "tar.xz"].map(|kind| scene.fixture.published(&format!("Python-9.1.0.{kind}")))
}

/// A scene with a repository of its own, for tags.
pub fn with_own_repository() -> (Scene, PathBuf) {
    let mut scene = watched();
    let repository = scene.path("own.git");
    let (from, to) = (scene.fixture.repository(), repository.display().to_string());
    source::run("git", &["clone", "-q", "--bare", &from.display().to_string(), &to]).unwrap();
    scene.set("source.repository", to);
    (scene, repository)
}

pub fn tag(repository: &std::path::Path, arguments: &[&str]) {
    let repository = repository.display().to_string();
    source::run("git", &[&["-C", &repository, "tag"], arguments].concat()).unwrap();
}

/// A scene with one release, whose daemon reads the list each hour and glances all the time.
fn that_glances() -> Scene {
    let mut scene = Scene::empty(crate::PLACE);
    scene.set("feed.interval", "1h");
    scene.set("feed.glance", "200ms");
    scene.announce("9.0.9", &[]);
    let page = scene.path("README");
    fs::write(&page, "old").unwrap();
    scene.world.state().served.insert("/ftp/python/9.0.9/README".to_owned(), page);
    scene
}

#[test]
fn a_new_directory_makes_the_daemon_ask_early() {
    let scene = that_glances();
    let running = serve(&scene);
    wait_for(&scene, "a glance", |scene| {
        scene.world.state().requests.iter().any(|path| path == "/ftp/python/")
    });
    assert_eq!(lists(&scene), 1);
    scene.announce(source::VERSION, &files(&scene));
    wait_for(&scene, "a verdict, an hour early", is_done);
    assert_eq!(running.stop(), Some(0));
    assert_one_verdict(&scene, RecordStatus::Pass);
    assert_eq!((lists(&scene), jobs(&scene)[0].why), (2, Why::Release));
}

#[test]
fn an_announcement_makes_the_daemon_ask_early_and_nonsense_instead_changes_nothing() {
    const FEED: &str = "/downloads/feed.rss";
    let scene = that_glances();
    let running = serve(&scene);
    let looks =
        |scene: &Scene| scene.world.state().requests.iter().filter(|path| *path == FEED).count();
    let wait_for_looks = || {
        let seen = looks(&scene);
        wait_for(&scene, "two looks", |scene| looks(scene) >= seen + 2);
    };
    wait_for_looks();
    // Announced, but nothing of it is in any listing, and nobody has tagged it.
    scene.announce("9.1.1", &[]);
    wait_for(&scene, "an early list", |scene| lists(scene) == 2);
    wait_for_looks();
    assert_eq!(lists(&scene), 2, "what the API has told is no reason to ask it");
    let item = |title: &str| format!("<item><title>{title}</title></item>");
    let rss = |items: &str| format!("<rss><channel>{items}</channel></rss>");
    let entity = "<!DOCTYPE rss [<!ENTITY v \"Python 9.1.2\">]>";
    for fault in [
        Fault::Status(404, Vec::new()),
        Fault::Status(500, Vec::new()),
        Fault::Body(Vec::new()),
        Fault::Body(b"<html><body>Python 9.1.2</body></html>".to_vec()),
        Fault::Body(rss(&item("Python nonsense &amp; more")).into_bytes()),
        Fault::Body(format!("{entity}{}", rss(&item("&v;"))).into_bytes()),
        Fault::Body(rss(&item("Python 9.1.2").repeat(100_000)).into_bytes()),
        Fault::Body(rss(&item("Python 9.1.2")).replace("</channel>", "").into_bytes()),
        Fault::TenGigabytes,
    ] {
        scene.world.state().fail(FEED, fault, FOR_EVER);
        wait_for_looks();
        assert_eq!(lists(&scene), 2);
    }
    assert_eq!(alarms(&scene), []);
    scene.world.state().faults.clear();
    scene.announce("9.1.2", &[]);
    wait_for(&scene, "another early list", |scene| lists(scene) == 3);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_candidate_in_a_known_directory_and_a_new_tag_are_signs_too() {
    let (mut scene, repository) = with_own_repository();
    scene.set("feed.interval", "1h");
    scene.set("feed.glance", "200ms");
    scene.announce("9.2.0a1", &[]);
    let page = scene.path("README");
    fs::write(&page, "candidate").unwrap();
    let serve_file = |path: &str| {
        scene.world.state().served.insert(path.to_owned(), page.clone());
    };
    serve_file("/ftp/python/9.2.0/Python-9.2.0a1.tgz");
    let running = serve(&scene);
    wait_for(&scene, "a verdict", is_done);
    wait_for(&scene, "a glance", |scene| {
        let state = scene.world.state();
        state.requests.iter().any(|path| path == "/ftp/python/9.2.0/")
    });
    assert_eq!(lists(&scene), 1);
    serve_file("/ftp/python/9.2.0/Python-9.2.0a2.tgz");
    wait_for(&scene, "an early list", |scene| lists(scene) == 2);
    tag(&repository, &["v9.2.0a2", "v9.1.0^{}"]);
    wait_for(&scene, "another one", |scene| lists(scene) == 3);
    assert_eq!(running.stop(), Some(0));
    assert_eq!(alarms(&scene), []);
}

#[test]
fn signs_never_use_up_what_the_list_needs() {
    let mut scene = watched();
    scene.set("feed.interval", "1h");
    scene.set("feed.glance", "100ms");
    scene.set("feed.requests_per_day", 10);
    let page = scene.path("README");
    fs::write(&page, "x").unwrap();
    let running = serve(&scene);
    wait_for(&scene, "a verdict", is_done);
    for number in 0..9 {
        let seen = scene.world.state().requests.len();
        scene.world.state().served.insert(format!("/ftp/python/9.9.{number}/x"), page.clone());
        wait_for(&scene, "two glances", |scene| {
            let state = scene.world.state();
            state.requests[seen..].iter().filter(|path| *path == "/ftp/python/").count() >= 2
        });
    }
    assert_eq!(running.stop(), Some(0));
    let asked = scene.world.state().requests.iter().filter(|path| path.contains("/api/")).count();
    assert_eq!(asked, 5, "half is left for the list, and a fifth of the rest for jobs");
}

#[test]
fn a_tag_that_moves_or_vanishes_is_observed_once_and_raises_its_alarm() {
    let (scene, repository) = with_own_repository();
    tag(&repository, &["v9.0.1", "v9.1.0^{}"]);
    tag(&repository, &["v9.0.2", "v9.1.0^{}"]);
    let round = || scene.run(&["serve", "--once"]).exits(0).stderr.clone();
    let counts = |kind: ObservationKind, alarm: AlarmKind| {
        round();
        round();
        (observed(&scene, kind).len(), open_alarms(&scene, alarm))
    };
    assert_eq!(counts(ObservationKind::TagMoved, AlarmKind::TagMoved), (0, 0));
    tag(&repository, &["-f", "v9.0.1", "v9.1.0^{tree}"]);
    assert_eq!(counts(ObservationKind::TagMoved, AlarmKind::TagMoved), (1, 1));
    let moved = observed(&scene, ObservationKind::TagMoved).remove(0);
    assert_eq!(moved.version, Some("9.0.1".parse().unwrap()));
    assert!(moved.detail.starts_with("tag v9.0.1 named commit "), "{}", moved.detail);
    tag(&repository, &["-d", "v9.0.2"]);
    assert_eq!(counts(ObservationKind::TagVanished, AlarmKind::TagVanished), (1, 1));
    tag(&repository, &["v9.0.2", "v9.1.0^{}"]);
    assert_eq!(counts(ObservationKind::TagRestored, AlarmKind::TagVanished), (1, 0));
    // A repository that lists nothing at all is not believed.
    for name in ["v9.0.1", "v9.0.2", "v9.1.0"] {
        tag(&repository, &["-d", name]);
    }
    let said = round();
    assert!(said.contains("3 of 3 tags are missing") && said.contains("not believed"), "{said}");
    assert_eq!(open_alarms(&scene, AlarmKind::TagVanished), 0);
    assert_one_verdict(&scene, RecordStatus::Pass);
}

#[test]
fn a_release_whose_tag_moved_is_parked_until_somebody_asks_and_is_no_trouble_of_ours() {
    let (mut scene, repository) = with_own_repository();
    scene.run(&["serve", "--once"]).exits(0);
    let work = scene.path("work").display().to_string();
    let repository = repository.display().to_string();
    for arguments in [
        ["clone", "-q", "--", &repository, &work].as_slice(),
        &["-C", &work, "commit", "-q", "--allow-empty", "-m", "another one, the same tree"],
        &["-C", &work, "tag", "-f", "v9.1.0"],
        &["-C", &work, "push", "-q", "-f", "origin", "v9.1.0"],
    ] {
        source::run("git", arguments).unwrap();
    }
    scene.set("server.anonymous_requests", true);
    let mut running = serve(&scene);
    let place = address(&mut running);
    let asked = ask(&place, "");
    assert!(asked.starts_with("HTTP/1.1 202"), "{asked}");
    wait_for(&scene, "parking", |scene| jobs(scene)[0].state == JobState::Parked);
    let job = jobs(&scene).remove(0);
    let waiting = job.waiting.unwrap();
    assert!(waiting.starts_with("tag v9.1.0 named commit "), "{waiting}");
    assert_eq!((job.error, job.attempts), (None, 0));
    let page = http(&place, "GET", &format!("/jobs/{}", job.id), "", "");
    assert!(page.contains("Not checked until somebody has looked: tag v9.1.0 named "), "{page}");
    assert!(!page.to_lowercase().contains("trouble of ours"), "{page}");
    let kinds: Vec<AlarmKind> = alarms(&scene).iter().map(|alarm| alarm.kind).collect();
    assert_eq!(kinds, [AlarmKind::TagMoved]);
    scene.command(&["verify", source::VERSION, "--accept-moved-tag"]).output().unwrap();
    assert_eq!(scene.records().len(), 2);
    ask(&place, "");
    wait_for(&scene, "a verdict", |scene| jobs(scene)[0].state == JobState::Done);
    assert_eq!(running.stop(), Some(0));
    assert_eq!((jobs(&scene).len(), scene.records().len()), (2, 3));
}

#[test]
fn an_old_release_waits_long_for_its_tag_and_is_verified_as_soon_as_that_is_seen() {
    let (mut scene, repository) = with_own_repository();
    tag(&repository, &["v9.0.1", "v9.1.0^{}"]);
    tag(&repository, &["-d", "v9.1.0"]);
    scene.set("feed.glance", "200ms");
    let running = serve(&scene);
    wait_for(&scene, "waiting", |scene| jobs(scene).iter().any(|job| job.waiting.is_some()));
    let job = jobs(&scene).remove(0);
    assert_eq!(job.waiting.as_deref(), Some("the repository has no tag v9.1.0 yet"));
    let days = job.due.duration_since(Timestamp::now()).as_hours() / 24;
    assert_eq!(days, 6, "a week, but for the time since: {job:?}");
    let repository_name = repository.display().to_string();
    wait_for(&scene, "a glance", |scene| {
        let repository = repository_name.clone();
        scene.ask_store(|store| async move { store.has_tag(&repository, "v9.0.1").await.unwrap() })
    });
    tag(&repository, &["v9.1.0", "v9.0.1^{}"]);
    wait_for(&scene, "a verdict", is_done);
    assert_eq!(running.stop(), Some(0));
    assert_one_verdict(&scene, RecordStatus::Pass);
}

#[test]
fn a_young_release_waits_for_its_signature_and_an_old_one_does_not() {
    for signed in [true, false] {
        let mut scene = Scene::empty(crate::PLACE);
        scene.set("feed.since", "2025-01-01");
        scene.set("queue.wait", "100ms");
        scene.set("queue.unsigned", if signed { "1h" } else { "4s" });
        let version = source::VERSION.parse().unwrap();
        let date = Timestamp::now().to_string();
        let announcement = Announcement { version: &version, date: &date, files: &files(&scene) };
        scene.world.announce(&announcement).unwrap();
        let running = serve(&scene);
        let reason = "python.org announces no signature of Python-9.1.0.tgz yet";
        wait_for(&scene, reason, |scene| {
            jobs(scene).iter().any(|job| job.waiting.as_deref() == Some(reason))
        });
        assert_eq!(jobs(&scene)[0].attempts, 0, "waiting is no error");
        if signed {
            let mary = Signer::default();
            scene.trust(&mary, "mary@example.org", "https://example.org");
            for path in files(&scene) {
                let name = path.file_name().unwrap().to_str().unwrap();
                let signature = scene.path(&format!("{name}.asc"));
                fs::write(&signature, mary.sign(&fs::read(&path).unwrap())).unwrap();
                scene.world.state().accompany(name, ".asc", &signature);
            }
        }
        wait_for(&scene, "a verdict", is_done);
        assert_eq!(running.stop(), Some(0));
        assert_one_verdict(&scene, RecordStatus::Pass);
        assert_eq!(alarms(&scene), []);
    }
}

/// A verified scene whose claims are asked for again at every round.
fn verified() -> Scene {
    let mut scene = watched();
    scene.set("feed.refresh", "100ms");
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Pass);
    scene
}

fn rechecks(scene: &Scene) -> Vec<Job> {
    let mut jobs = jobs(scene);
    jobs.retain(|job| job.why == Why::Recheck);
    jobs
}

#[test]
fn a_claim_that_changes_is_an_alarm_and_the_release_is_verified_again() {
    let scene = verified();
    scene.world.state().row(TGZ).unwrap()["md5_sum"] = "0".repeat(32).into();
    scene.run(&["serve", "--once"]).exits(0);
    scene.run(&["serve", "--once"]).exits(0);
    let seen = observed(&scene, ObservationKind::ClaimChanged);
    assert_eq!((seen.len(), open_alarms(&scene, AlarmKind::ClaimChanged)), (1, 1), "{seen:?}");
    let rechecks = rechecks(&scene);
    assert_eq!((rechecks.len(), rechecks[0].state), (1, JobState::Done));
    assert_eq!(scene.records()[1].status, RecordStatus::Fail, "the bytes have another MD5");
}

#[test]
fn a_claim_that_changes_while_the_release_is_verified_is_verified_after_it() {
    let mut scene = verified();
    scene.set("feed.interval", "300ms");
    scene.set("feed.requests_per_day", 10_000);
    scene.set("server.anonymous_requests", true);
    let slow =
        format!("{}\n[[step]]\nname = \"slow\"\nrun = \"sleep 3\"\n", tests::fixture::RECIPE);
    scene.recipe(&slow);
    let mut running = serve(&scene);
    let place = address(&mut running);
    ask(&place, "");
    let journal = |scene: &Scene| scene.state().join(format!("jobs/{}.ndjson", jobs(scene)[0].id));
    wait_for(&scene, "a rebuild", |scene| {
        fs::read_to_string(journal(scene)).unwrap_or_default().contains("rebuild: slow")
    });
    scene.world.state().row(TGZ).unwrap()["md5_sum"] = "0".repeat(32).into();
    wait_for(&scene, "three verdicts", |scene| {
        scene.records().len() == 3 && jobs(scene).iter().all(|job| job.state == JobState::Done)
    });
    assert_eq!(running.stop(), Some(0));
    let found: Vec<RecordStatus> = scene.records().iter().map(|record| record.status).collect();
    assert_eq!(found, [RecordStatus::Pass, RecordStatus::Pass, RecordStatus::Fail]);
    let whys: Vec<Why> = jobs(&scene).iter().map(|job| job.why).collect();
    assert_eq!(whys, [Why::Recheck, Why::Request, Why::Backfill]);
}

#[test]
fn a_signature_that_appears_is_no_alarm_and_the_release_is_verified_again() {
    let scene = verified();
    let mary = Signer::default();
    scene.trust(&mary, "mary@example.org", "https://example.org");
    let signature = scene.path("signature.asc");
    fs::write(&signature, mary.sign(&fs::read(scene.fixture.published(TGZ)).unwrap())).unwrap();
    scene.world.state().accompany(TGZ, ".asc", &signature);
    scene.run(&["serve", "--once"]).exits(0);
    let seen = observed(&scene, ObservationKind::ClaimAdded);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].detail.contains("OpenPGP signature of Python-9.1.0.tgz"), "{seen:?}");
    assert_eq!(alarms(&scene), []);
    assert_eq!(rechecks(&scene).len(), 1);
    let [_, second] = &scene.records()[..] else { panic!("two records") };
    assert_eq!(second.status, RecordStatus::Pass);
}

#[test]
fn a_short_answer_about_files_changes_nothing_that_is_known() {
    let scene = verified();
    let all = scene.world.state().files.clone();
    let short: [Vec<(u64, Value)>; 2] = [Vec::new(), all[..1].to_vec()];
    for rows in short {
        scene.world.state().files = rows;
        scene.run(&["serve", "--once"]);
        let version = source::VERSION.parse().unwrap();
        let known = scene.ask_store(|store| async move { store.release(&version).await.unwrap() });
        assert_eq!(known.unwrap().files.len(), 2);
    }
    assert_eq!(alarms(&scene), []);
    assert_eq!(rechecks(&scene), []);
    assert_eq!(scene.records().len(), 1);
}

#[test]
fn a_release_that_no_recipe_covers_waits_without_alarm_until_one_does() {
    let scene = watched();
    let recipe = tests::fixture::RECIPE;
    scene.recipe(&recipe.replace(">=9", ">=10"));
    let token = token(&scene);
    let mut running = serve(&scene);
    wait_for(&scene, "waiting", |scene| {
        let reason = "no recipe covers 9.1.0: small covers >=10";
        let waits = |job: &Job| job.waiting.as_ref().is_some_and(|text| text.starts_with(reason));
        jobs(scene).iter().any(waits)
    });
    wait_for_the_list(&scene);
    let address = address(&mut running);
    let refused = ask(&address, &token);
    assert!(refused.starts_with("HTTP/1.1 422"), "{refused}");
    assert!(refused.contains("no recipe covers 9.1.0"), "{refused}");
    assert_eq!(running.stop(), Some(0));
    let job = jobs(&scene).remove(0);
    assert_eq!((job.state, job.attempts, job.error), (JobState::Queued, 0, None));
    assert!(job.due.duration_since(Timestamp::now()).as_hours() >= 23);
    assert_eq!(alarms(&scene), []);
    let asked = scene.world.state().requests.iter().any(|path| path == LISTED);
    assert!(!asked, "nothing is fetched for it");
    // A program that starts may bring new recipes, and python.org is not asked for that.
    scene.recipe(recipe);
    scene.run(&["serve", "--once"]).exits(0);
    assert_one_verdict(&scene, RecordStatus::Pass);
}
