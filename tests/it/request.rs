//! `verbatim request`: asking a daemon that runs, and following it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, ChildStderr};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Ran, Scene, source};
use verifier::queue::JobState;
use verifier::record::{Record, RecordStatus};
use verifier::world::Announcement;

use crate::daemon::{self, Running};
use crate::scene;

const TGZ: &str = "Python-9.1.0.tgz";

/// A daemon at a place that stays when it is started again, and a token for it in a file.
fn watched() -> (Scene, Running) {
    let mut scene = scene();
    // Of an address of this machine that nothing else uses: what was free a moment ago stays free.
    let free = TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap();
    scene.set("server.listen", free.to_string());
    scene.set("request.server", format!("http://{free}/"));
    scene.set("queue.lease", "2s");
    scene.set("queue.retry", "100ms");
    scene.set("queue.wait", "100ms");
    let token = scene.run(&["token", "add", "tester"]);
    fs::write(scene.path("token"), &token.exits(0).stdout).unwrap();
    scene.set("request.token_file", scene.path("token").display().to_string());
    let running = start(&scene);
    daemon::wait_for(&scene, "the list", |scene| {
        scene.ask_store(|store| async move {
            store.announced(&daemon::version()).await.unwrap().is_some()
        })
    });
    (scene, running)
}

/// Starts the daemon and waits until it listens.
fn start(scene: &Scene) -> Running {
    let mut running = daemon::serve(scene);
    daemon::address(&mut running);
    running
}

/// Asks and follows to the end.
fn request(scene: &Scene, arguments: &[&str]) -> Ran {
    let arguments = [&["request"], arguments].concat();
    Ran::of(scene.command(&arguments).output().unwrap())
}

/// A `verbatim request` that is at it, and what it says.
struct Following {
    child: Child,
    says: BufReader<ChildStderr>,
    said: String,
}

impl Following {
    fn start(scene: &Scene, version: &str) -> Following {
        let mut child = scene.start(&["request", version]);
        let says = BufReader::new(child.stderr.take().unwrap());
        Following { child, says, said: String::new() }
    }

    /// Waits until it says a line with `expected`; gives that line.
    #[track_caller]
    fn says(&mut self, expected: &str) -> String {
        loop {
            let before = self.said.len();
            self.says.read_line(&mut self.said).unwrap();
            let line = &self.said[before..];
            assert!(!line.is_empty(), "it ended without {expected:?}: {}", self.said);
            if line.contains(expected) {
                return line.trim().to_owned();
            }
        }
    }

    /// Waits until it has said it, before now or from now on.
    #[track_caller]
    fn has_said(&mut self, expected: &str) {
        if !self.said.contains(expected) {
            self.says(expected);
        }
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
    }

    /// How it ended, with everything it said.
    fn ends(mut self) -> Ran {
        std::io::Read::read_to_string(&mut self.says, &mut self.said).unwrap();
        let mut ran = Ran::of(self.child.wait_with_output().unwrap());
        ran.stderr = self.said;
        ran
    }
}

#[test]
fn a_request_is_followed_to_its_record() {
    let (scene, running) = watched();
    let ran = request(&scene, &[source::VERSION]);
    ran.exits(0);
    assert!(ran.stdout.starts_with("cpython 9.1.0  pass\n"), "{ran:?}");
    assert!(ran.stderr.contains("fetch Python-9.1.0.tgz"), "progress: {}", ran.stderr);
    assert!(ran.stderr.lines().any(|line| line.starts_with("    | ")), "log: {}", ran.stderr);
    assert_eq!(ran.stderr.matches("compare").count(), 2, "each line once: {}", ran.stderr);

    let json = request(&scene, &[source::VERSION, "--json"]);
    let record: Record = serde_json::from_value(json.exits(0).json()).unwrap();
    assert_eq!(record, *scene.records().last().unwrap());
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn its_exit_status_is_that_of_verify() {
    let (scene, running) = watched();
    let mut bytes = fs::read(scene.fixture.published(TGZ)).unwrap();
    bytes.push(0);
    scene.republish(TGZ, &bytes);
    let ran = request(&scene, &[source::VERSION]);
    ran.exits(1);
    assert!(ran.stdout.starts_with("cpython 9.1.0  fail\n"), "{ran:?}");
    assert_eq!(running.stop(), Some(0));
    scene.only_step("exit 9");
    let running = start(&scene);
    let ran = request(&scene, &[source::VERSION, "--json"]);
    assert_eq!(ran.exits(3).json()["status"], "not_built");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn what_is_refused_says_why() {
    let (mut scene, running) = watched();
    request(&scene, &["9.9.9"]).gives_up("python.org does not publish 9.9.9");
    let gone = "00000000-0000-7000-8000-000000000000";
    request(&scene, &["--cancel", gone]).gives_up("there is no request with this id");
    request(&scene, &["--cancel", "../jobs"]).gives_up("is no id");
    fs::write(scene.path("token"), "vbt_wrong\n").unwrap();
    let wrong = request(&scene, &[source::VERSION]);
    wrong.gives_up("not this token (this token is not known or revoked)");
    assert!(!wrong.stderr.contains("vbt_wrong"), "a token is never shown: {}", wrong.stderr);
    scene.set("request.token_file", "");
    request(&scene, &[source::VERSION]).gives_up("it wants a token");
    scene.set("request.server", "http://service.example");
    request(&scene, &[source::VERSION]).gives_up("only https is");
    assert_eq!(running.stop(), Some(0));
    scene.set("request.server", "");
    request(&scene, &[source::VERSION, "--server", "http://127.0.0.1:1"]).gives_up("cannot reach");
}

#[test]
fn ctrl_c_stops_the_following_and_not_the_job() {
    let (scene, running) = watched();
    let mut following = Following::start(&scene, source::VERSION);
    following.says("fetch Python-9.1.0.tgz");
    following.interrupt();
    let ran = following.ends();
    ran.gives_up("stopped following by Ctrl-C; job ");
    daemon::wait_for(&scene, "a verdict", daemon::is_done);
    assert_eq!(scene.records()[0].status, RecordStatus::Pass);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_daemon_that_is_killed_is_followed_on_when_it_is_back() {
    let (scene, mut running) = watched();
    let begin = "[[step]]\nname = \"wait\"\nrun = \"echo it has begun; sleep 5\"\n\n[[step]]";
    scene.recipe(&tests::fixture::RECIPE.replacen("[[step]]", begin, 1));
    let mut following = Following::start(&scene, source::VERSION);
    following.says("| it has begun");
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    scene.recipe(tests::fixture::RECIPE);
    let running = start(&scene);
    let ran = following.ends();
    ran.exits(0);
    assert!(ran.stdout.starts_with("cpython 9.1.0  pass\n"), "{ran:?}");
    assert_eq!(ran.stderr.matches("it has begun").count(), 1, "followed on: {}", ran.stderr);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn who_waits_is_told_where_and_for_what_and_can_take_it_back() {
    let (mut scene, running) = watched();
    // From now on it is known how long a job usually takes.
    request(&scene, &[source::VERSION]).exits(0);
    assert_eq!(running.stop(), Some(0));
    // So old that it is no news: nobody wants it verified but who asks.
    let (other, date) = ("9.0.9".parse().unwrap(), "2025-01-15T18:00:00Z");
    scene.world.announce(&Announcement { version: &other, date, files: &[] }).unwrap();
    scene.only_step("echo it has begun; sleep 600");
    let running = start(&scene);
    daemon::wait_for(&scene, "the list", |scene| {
        let other = other.clone();
        scene.ask_store(|store| async move { store.announced(&other).await.unwrap().is_some() })
    });
    let mut first = Following::start(&scene, source::VERSION);
    let cancel = first.says("--cancel");
    first.says("| it has begun");
    let mut second = Following::start(&scene, "9.0.9");
    let place = second.says("queued at place 1");
    assert!(place.contains("; expected to begin at 20"), "{place}");
    let id = cancel.rsplit(' ').next().unwrap();
    request(&scene, &["--cancel", id]).exits(0);
    first.ends().gives_up("was cancelled: nothing is judged");
    second.has_said("waiting: python.org announces no source file yet");
    second.interrupt();
    second.ends().gives_up("stopped following");
    assert_eq!(running.stop(), Some(0));
    scene.set("queue.park", "100ms");
    let fault = verifier::world::Fault::Status(503, Vec::new());
    scene.world.state().fail("/ftp/python/9.1.0/Python-9.1.0.tgz", fault, u32::MAX);
    let running = start(&scene);
    let parked = request(&scene, &[source::VERSION]);
    parked.gives_up("is parked until an operator has looked: ");
    assert!(daemon::jobs(&scene).iter().any(|job| job.state == JobState::Parked));
    assert_eq!(running.stop(), Some(0));
}
