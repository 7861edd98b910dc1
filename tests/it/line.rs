//! The line as a whole: killed, stopped, run twice at once, run by other users.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, Executor, SqliteConnection};
use tests::fixture::RECIPE;
use tests::leftovers::{self, wait_until};
use tests::{Ran, Scene, source};
use verifier::world::Fault;

use crate::scene;

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

/// Starts `verify` and kills it once it is `at` the stage; the next one finds nothing in its way.
fn is_killed(scene: &Scene, at: impl Fn() -> bool) {
    let state = scene.state().display().to_string();
    let mut child = scene.start(&["verify", source::VERSION]);
    wait_until("the stage", at);
    let pids: Vec<u32> = leftovers::processes(&state).into_iter().map(|(pid, _)| pid).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the end of the dead run's processes", || leftovers::processes(&state).is_empty());
    assert_eq!(scene.records().len(), 0, "nothing was judged");
    scene.world.state().faults.clear();
    scene.recipe(RECIPE);
    scene.verify(&[]).exits(0);
    assert_eq!(leftovers::cgroups(&pids), Vec::<std::path::PathBuf>::new());
}

fn asked_for(scene: &Scene, path: &str) -> bool {
    scene.world.state().requests.iter().any(|request| request == path)
}

#[test]
fn killed_while_it_waits_for_a_socket_it_leaves_nothing() {
    for path in [
        "/api/v2/downloads/release/",
        "/api/v2/downloads/release_file/",
        "/ftp/python/9.1.0/Python-9.1.0.tgz",
        "/cpython.git/info/refs",
        "/cpython.git/git-upload-pack",
    ] {
        let mut scene = scene();
        let repository = scene.fixture.repository();
        scene.host_repository(&repository);
        scene.world.state().fail(path, Fault::Silence, u32::MAX);
        is_killed(&scene, || asked_for(&scene, path));
    }
}

#[test]
fn killed_while_the_environment_is_assembled_it_leaves_nothing() {
    let scene = scene();
    scene.forget_environment();
    let has_partial = |place: &Path| {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.iter().any(|name| name.to_string_lossy().contains("partial"))
    };
    is_killed(&scene, || has_partial(&scene.state().join("environments")));

    let scene = self::scene();
    scene.forget_environment();
    let package = "/debian/pool/host-tools.deb";
    scene.world.state().fail(package, Fault::Silence, u32::MAX);
    is_killed(&scene, || asked_for(&scene, package));
}

#[test]
fn killed_during_a_step_it_leaves_nothing() {
    let scene = scene();
    scene.only_step("trap '' TERM HUP\nsetsid sleep 4720.1 &\nchmod 0 out\nsleep 4720.2");
    is_killed(&scene, || leftovers::processes("sleep\x004720.2").len() == 1);
    assert_eq!(leftovers::processes("4720."), []);
}

#[test]
fn killed_before_the_record_is_written_it_leaves_none() {
    let scene = scene();
    assert_eq!(scene.records().len(), 0);
    let url = format!("sqlite:{}", scene.state().join("records.sqlite").display());
    let mut connection = scene.block_on(SqliteConnection::connect(&url)).unwrap();
    scene.block_on(connection.execute("BEGIN IMMEDIATE")).unwrap();
    let mut child = scene.start(&["verify", source::VERSION]);
    // The last thing before the record is the end of the compare stage; then it waits for us.
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "it waits for the store");
    child.kill().unwrap();
    child.wait().unwrap();
    scene.block_on(connection.close()).unwrap();
    assert_eq!(scene.records().len(), 0);
    scene.verify(&[]).exits(0);
    assert_eq!(scene.records().len(), 1);
}

#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    let scene = scene();
    let begun = Instant::now();
    scene.verify(&[]).exits(0);
    let whole = begun.elapsed();
    let state = scene.state().display().to_string();
    for part in 1..12 {
        let mut child = scene.start(&["verify", source::VERSION]);
        std::thread::sleep(whole * part / 12);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("the end of its processes", || leftovers::processes(&state).is_empty());
    }
    scene.verify(&[]).exits(0);
    assert!(scene.records().iter().all(|record| record.artifacts.len() == 2));
}

#[test]
fn a_rebuild_whose_process_is_killed_is_trouble_and_no_verdict() {
    let scene = scene();
    scene.only_step("sleep 4721.5");
    let child = scene.start(&["verify", source::VERSION]);
    wait_until("the step", || !leftovers::processes("sleep\x004721.5").is_empty());
    let rebuild: Vec<u32> = leftovers::processes(&scene.state().display().to_string())
        .into_iter()
        .filter(|(pid, command)| command.ends_with(" rebuild ") && *pid != child.id())
        .map(|(pid, _)| pid)
        .collect();
    let [outermost, ..] = rebuild.as_slice() else { panic!("no rebuild process") };
    kill(Pid::from_raw(*outermost as i32), Signal::SIGKILL).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    ran.gives_up("verbatim rebuild ended with signal: 9");
    leftovers::assert_none(&scene.state());
    assert_eq!(scene.records().len(), 0);
}

#[test]
fn a_signal_stops_it_within_seconds_and_leaves_nothing() {
    for (wanted, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "Ctrl-C")] {
        let scene = scene();
        scene.only_step("trap '' TERM INT HUP\nsetsid sleep 4722.1 &\nsleep 4722.2");
        let child = scene.start(&["verify", source::VERSION, "--json"]);
        wait_until("the step", || !leftovers::processes("sleep\x004722.2").is_empty());
        signal(&child, wanted);
        stops(&scene, child, name);
        assert_eq!(leftovers::processes("4722."), []);

        scene.world.state().fail("/api/v2/downloads/release/", Fault::Silence, 1);
        scene.world.state().requests.clear();
        let child = scene.start(&["verify", source::VERSION, "--json"]);
        wait_until("the question", || asked_for(&scene, "/api/v2/downloads/release/"));
        signal(&child, wanted);
        stops(&scene, child, name);
    }
}

fn stops(scene: &Scene, child: Child, name: &str) {
    let begun = Instant::now();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    ran.gives_up(&format!("stopped by {name}; nothing is judged"));
    leftovers::assert_none(&scene.state());
    assert_eq!(scene.records().len(), 0);
}

#[test]
fn two_runs_in_one_state_directory_do_not_disturb_each_other() {
    let scene = scene();
    scene.forget_environment();
    let children: Vec<Child> =
        (0..3).map(|_| scene.start(&["verify", source::VERSION, "--json"])).collect();
    for child in children {
        Ran::of(child.wait_with_output().unwrap()).exits(0);
    }
    leftovers::assert_none(&scene.state());
    let records = scene.records();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.artifacts == records[0].artifacts));
}

#[test]
fn an_ordinary_user_gets_the_same_bytes_as_root() {
    if !nix::unistd::geteuid().is_root() {
        println!("not root: every test here shows what an ordinary user gets");
        return;
    }
    const NOBODY: u32 = 65_534;
    let mut scene = scene();
    scene.verify(&[]).exits(0);
    let by_root = scene.records().remove(0);

    scene.forget_environment();
    fs::remove_dir_all(scene.state()).unwrap();
    fs::create_dir(scene.state()).unwrap();
    std::os::unix::fs::chown(scene.state(), Some(NOBODY), Some(NOBODY)).unwrap();
    // What root made may lie where nobody else may look.
    let copy = |from: &Path, name: &str| {
        let to = scene.path(name).display().to_string();
        source::run("cp", &["-rL", &from.display().to_string(), &to]).unwrap();
        to
    };
    let repository = copy(&scene.fixture.repository(), "source.git");
    let program = copy(&scene.fixture.program, "verbatim");
    fs::remove_file(scene.path("definitions/environments")).unwrap();
    copy(&scene.fixture.definitions().join("environments"), "definitions/environments");
    scene.set("source.repository", repository);

    let ordinary = scene.command(&["verify", source::VERSION, "--json"]);
    let all = scene.path("").display().to_string();
    source::run("chmod", &["-R", "a+rX", &all]).unwrap();
    fs::set_permissions(scene.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new(program);
    command.args(ordinary.get_args()).env_clear().env("HOME", "/nonexistent");
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    let ran = Ran::of(command.output().unwrap());
    ran.exits(0);
    leftovers::assert_none(&scene.state());
    let record = ran.json();
    let by_root = serde_json::to_value(by_root).unwrap();
    for same in ["environment", "recipe", "artifacts", "status"] {
        assert_eq!(record[same], by_root[same], "{same}");
    }
    assert_eq!(record["source"]["tree"], by_root["source"]["tree"]);
}

#[test]
fn no_proxy_stands_between_the_program_and_its_own_machine() {
    let mut scene = scene();
    let repository = scene.fixture.repository();
    scene.host_repository(&repository);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        scene.variables.push((name.to_owned(), "http://127.0.0.1:9".to_owned()));
    }
    scene.verify(&[]).exits(0);
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let scene = scene();
    fs::write(scene.path("file"), "in the way").unwrap();
    let state = scene.path("file/state").display().to_string();
    let mut command = std::process::Command::new(&scene.fixture.program);
    let output = command.args(["verify", "9.1.0", "--json", "--state", &state]).output().unwrap();
    Ran::of(output).gives_up(&format!("make {state}: Not a directory"));
}
