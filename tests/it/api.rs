//! The API, asked by schemathesis whatever its own document allows and forbids.
//!
//! It runs where `SCHEMATHESIS` names that program: `tests/api/run` installs it and sets this.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Scene, leftovers, source};
use verifier::observation::{Alarm, AlarmKind};
use verifier::queue::{Job, JobState, Why};
use verifier::record::RecordStatus;
use verifier::version::Version;

use crate::scene;

/// For each of the three runs.
const SECONDS: u32 = 45;
const EIGHT_DAYS_SECONDS: &str = "691200";

#[test]
fn a_fuzzer_gets_no_answer_that_the_document_does_not_describe() {
    let Some(schemathesis) = std::env::var_os("SCHEMATHESIS") else {
        println!("skipped: it needs schemathesis, which tests/api/run installs");
        return;
    };
    let mut scene = lived_in();
    scene.set("server.anonymous_requests", true);
    // Few enough that the limit is met, too.
    scene.set("server.requests_per_hour_each", 100);
    scene.set("server.requests_per_hour_total", 1_000);
    let header = |scope: &str| {
        let token = scene.run(&["token", "add", "--scope", scope, "fuzzer"]);
        format!("Authorization: Bearer {}", token.exits(0).stdout.trim())
    };
    let (weak, strong) = (header("request"), header("operate"));
    let alarm = alarms(&scene)[0].id;
    let known = scene.path("schemathesis.toml");
    fs::write(&known, configuration(&scene)).unwrap();
    let daemon = Daemon::start(&scene);
    for authorization in [None, Some(weak), Some(strong)] {
        assert!(alarms(&scene).iter().any(|open| open.id == alarm), "no operator has cleared it");
        let mut command = Command::new(&schemathesis);
        command.arg("--config-file").arg(&known).args(["run", "--no-color"]);
        command.arg(format!("{}/api/openapi.json", daemon.base));
        // A cursor that no answer had is refused, and no schema can say which those are. A job that
        // an operator cancels is shown as cancelled from then on: it is not gone.
        let wrong = "positive_data_acceptance,use_after_free";
        command.args(["--checks", "all", "--exclude-checks", wrong]);
        command.args(["--max-time", &SECONDS.to_string()]);
        // The same questions in every run, and nothing kept from an earlier one.
        command.args(["--seed", "1", "--generation-database", "none", "--continue-on-failure"]);
        if let Some(authorization) = &authorization {
            command.args(["--header", authorization]);
        }
        // What it writes belongs to the scene.
        command.current_dir(scene.path(""));
        let before = jobs(&scene).len();
        let status = command.status().expect("run schemathesis");
        assert!(status.success(), "schemathesis found something, see above");
        assert!(jobs(&scene).len() > before, "none of its requests was taken");
    }
    assert!(alarms(&scene).iter().all(|open| open.id != alarm), "an operator has cleared it");
    daemon.stop();
    leftovers::assert_none(&scene.state());
}

/// A scene whose store has a pass, a failure and a tag that does not build, jobs that are done and
/// one that was cancelled, an observation and an alarm; a rebuild is quick from now on.
fn lived_in() -> Scene {
    let mut scene = scene();
    scene.set("feed.since", "2025-01-01");
    scene.set("feed.requests_per_day", 10_000);
    scene.run(&["serve", "--once"]).exits(0);
    let name = format!("Python-{}.tgz", source::VERSION);
    let mut bytes = fs::read(scene.fixture.published(&name)).unwrap();
    bytes.push(0);
    scene.republish(&name, &bytes);
    let clock = scene.clock();
    fs::write(&clock, EIGHT_DAYS_SECONDS).unwrap();
    // The changed file is seen in the first round.
    scene.run(&["serve", "--once"]).exits(0);
    scene.only_step("true");
    let version: Version = source::VERSION.parse().unwrap();
    let (request, _) = scene.ask_store(|store| {
        let version = version.clone();
        async move { store.request(&version, "the test").await.unwrap() }
    });
    scene.ask_store(|store| async move { store.cancel(&request).await.unwrap() });
    scene.ask_store(|store| {
        let version = version.clone();
        async move { store.enqueue(&version, Why::Recheck).await.unwrap() }
    });
    scene.run(&["serve", "--once"]).exits(0);
    let statuses: Vec<RecordStatus> = scene.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [RecordStatus::Pass, RecordStatus::Fail, RecordStatus::NotBuilt]);
    let alarms = alarms(&scene);
    assert!(alarms.iter().any(|alarm| alarm.kind == AlarmKind::FileChanged), "{alarms:?}");
    scene
}

fn jobs(scene: &Scene) -> Vec<Job> {
    let jobs = scene.ask_store(|store| async move { store.jobs(None, None, 9_999).await.unwrap() });
    jobs.into_iter().map(|(_, job)| job).collect()
}

fn alarms(scene: &Scene) -> Vec<Alarm> {
    scene.ask_store(|store| async move { store.alarms().await.unwrap() })
}

/// Half of the ids, versions and digests that are asked for are some that the store has.
fn configuration(scene: &Scene) -> String {
    let jobs = jobs(scene);
    assert!(jobs.iter().any(|job| job.state == JobState::Cancelled), "{jobs:?}");
    let jobs: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    let records = scene.records();
    let artifacts = records.iter().flat_map(|record| &record.artifacts);
    let digests: Vec<String> =
        artifacts.map(|artifact| artifact.published.sha256.to_string()).collect();
    let alarms: Vec<i64> = alarms(scene).iter().map(|alarm| alarm.id).collect();
    let records: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    let version = source::VERSION;
    format!(
        r#"
[dictionaries]
jobs = {{ values = {jobs:?} }}
records = {{ values = {records:?} }}
alarms = {{ values = {alarms:?} }}
digests = {{ values = {digests:?} }}
versions = {{ values = ["{version}"] }}

[parameters]
"path.version" = {{ dictionary = "versions", probability = 0.5 }}
"query.version" = {{ dictionary = "versions", probability = 0.5 }}
"body.version" = {{ dictionary = "versions", probability = 0.5 }}
"path.sha256" = {{ dictionary = "digests", probability = 0.5 }}

[[operations]]
include-path-regex = "^/api/v1/jobs/"
parameters = {{ "path.id" = {{ dictionary = "jobs", probability = 0.5 }} }}

[[operations]]
include-path-regex = "^/api/v1/alarms/"
parameters = {{ "path.id" = {{ dictionary = "alarms", probability = 0.5 }} }}

[[operations]]
include-path-regex = "^/api/v1/records/"
parameters = {{ "path.id" = {{ dictionary = "records", probability = 0.5 }} }}
"#
    )
}

/// A daemon that is ended with the test.
struct Daemon {
    child: Child,
    base: String,
}

impl Daemon {
    fn start(scene: &Scene) -> Daemon {
        let mut command = scene.command(&["serve"]);
        let log = fs::File::create(scene.path("log")).unwrap();
        let mut child = command.stderr(log).spawn().expect("start the daemon");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        Daemon { child, base }
    }

    fn stop(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
