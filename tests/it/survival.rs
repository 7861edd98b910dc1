//! The daemon under pressure: signals, clocks, full disks, locked stores, slow and many clients.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use sqlx::{Connection, Executor, SqliteConnection};
use tests::{Scene, leftovers, source};
use verifier::observation::AlarmKind;
use verifier::queue::{Job, JobState};
use verifier::record::RecordStatus;
use verifier::world::Fault;

use crate::daemon::{
    FOR_EVER, Running, address, alarms, ask, assert_one_verdict, http, is_done, jobs, serve,
    version, wait_for, wait_for_the_list, watched,
};

/// Everything that the journals of a scene's jobs say.
fn journals(scene: &Scene) -> String {
    let path = |job: &Job| scene.state().join(format!("jobs/{}.ndjson", job.id));
    jobs(scene).iter().map(|job| fs::read_to_string(path(job)).unwrap_or_default()).collect()
}

#[test]
fn a_single_round_ends_at_once_whatever_it_is_at() {
    // An answer of the API, a file or the tags that does not come.
    for path in ["/api/v2/downloads/release/", "/ftp/python/", "/cpython.git/info/refs"] {
        let mut scene = watched();
        scene.host_repository(&scene.fixture.repository());
        scene.world.state().fail(path, Fault::Silence, FOR_EVER);
        let running = Running(scene.start(&["serve", "--once"]));
        wait_for(&scene, path, |scene| {
            scene.world.state().requests.iter().any(|seen| seen == path)
        });
        let told = Instant::now();
        assert_eq!(running.stop(), Some(0), "{path}");
        assert!(told.elapsed() < Duration::from_secs(5), "{path}: {:?}", told.elapsed());
        leftovers::assert_none(&scene.state());
        assert_eq!(scene.records().len(), 0);
        scene.world.state().faults.clear();
        scene.run(&["serve", "--once"]).exits(0);
        assert_one_verdict(&scene, RecordStatus::Pass);
    }
}

#[test]
fn sigterm_at_any_stage_of_a_job_ends_it_soon_and_the_job_resumes() {
    for stage in ["running", "fetch tag", "commit", "the step is at work"] {
        let scene = watched();
        scene.only_step("echo the step is at work; sleep 600");
        let running = serve(&scene);
        wait_for(&scene, stage, |scene| journals(scene).contains(stage));
        let begun = Instant::now();
        assert_eq!(running.stop(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
        // At once: the daemon has waited for what it started.
        assert_eq!(leftovers::of(&scene.state()), [""; 0], "{stage}");
        let job = jobs(&scene).remove(0);
        assert_eq!((job.state, job.attempts), (JobState::Queued, 0), "{stage}");
        scene.recipe(tests::fixture::RECIPE);
        scene.run(&["serve", "--once"]).exits(0);
        assert_one_verdict(&scene, RecordStatus::Pass);
    }
}

#[test]
fn a_kill_at_any_stage_of_a_job_loses_and_doubles_nothing() {
    let stages =
        ["running", "fetch Python", "fetch tag", "was packed", "rebuild: export", "compare"];
    for stage in stages {
        let scene = watched();
        let running = serve(&scene);
        let give_up = Instant::now() + Duration::from_secs(60);
        while !live_journal(&scene).contains(stage) {
            assert!(Instant::now() < give_up, "{stage} did not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        running.signal(Signal::SIGKILL);
        drop(running);
        scene.run(&["serve", "--once"]).exits(0);
        assert_one_verdict(&scene, RecordStatus::Pass);
        assert_eq!(leftovers::of(&scene.state()), [""; 0], "{stage}");
    }
}

/// What the journals say, read without the store.
fn live_journal(scene: &Scene) -> String {
    let files = fs::read_dir(scene.state().join("jobs")).into_iter().flatten().flatten();
    files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
}

#[test]
fn a_worker_back_from_the_dead_cannot_record() {
    let scene = watched();
    let slow =
        format!("{}\n[[step]]\nname = \"slow\"\nrun = \"sleep 6\"\n", tests::fixture::RECIPE);
    scene.recipe(&slow);
    let dead = serve(&scene);
    wait_for(&scene, "a job", |scene| jobs(scene).iter().any(|job| job.state == JobState::Running));
    // Not in the middle of a write: that would be a store that another process locks.
    dead.signal(Signal::SIGSTOP);
    while !scene.block_on(can_be_written(&scene)) {
        dead.signal(Signal::SIGCONT);
        std::thread::sleep(Duration::from_millis(20));
        dead.signal(Signal::SIGSTOP);
    }
    let alive = serve(&scene);
    wait_for(&scene, "a verdict of the other worker", is_done);
    dead.signal(Signal::SIGCONT);
    // Long enough for its own rebuild to end.
    std::thread::sleep(Duration::from_secs(8));
    assert_one_verdict(&scene, RecordStatus::Pass);
    assert_eq!(dead.stop(), Some(0));
    assert_eq!(alive.stop(), Some(0));
    assert_one_verdict(&scene, RecordStatus::Pass);
}

/// When the list of releases is asked for next, as far as the store says.
fn next_check(scene: &Scene) -> Option<Timestamp> {
    let fact = scene.ask_store(|store| async move { store.fact("feed.next_check").await.unwrap() });
    fact.map(|text| text.parse().unwrap())
}

#[test]
fn a_clock_that_is_set_loses_and_doubles_nothing() {
    for seconds in ["86400", "-86400"] {
        let mut scene = watched();
        let clock = scene.clock();
        scene.set("queue.retry", "2s");
        scene.world.state().fail(
            "/ftp/python/9.1.0/Python-9.1.0.tgz",
            Fault::Status(503, Vec::new()),
            3,
        );
        let mut running = serve(&scene);
        let place = address(&mut running);
        wait_for(&scene, "a first failure", |scene| jobs(scene).iter().any(|job| job.attempts > 0));
        wait_for(&scene, "the next check", |scene| next_check(scene).is_some());
        let before = next_check(&scene).unwrap();
        fs::write(&clock, seconds).unwrap();
        wait_for(&scene, "a verdict", is_done);
        wait_for(&scene, "the alarm", |scene| {
            alarms(scene).iter().any(|alarm| alarm.kind == AlarmKind::ClockJumped)
        });
        let moved = next_check(&scene).unwrap().duration_since(before).as_secs()
            - seconds.parse::<i64>().unwrap();
        assert!(moved.abs() < 60, "{moved}");
        // The list was read a moment ago, whatever the clock says.
        wait_for(&scene, "readiness", |_| {
            http(&place, "GET", "/readyz", "", "").starts_with("HTTP/1.1 200 ")
        });
        assert_eq!(running.stop(), Some(0));
        assert_one_verdict(&scene, RecordStatus::Pass);
    }
}

#[test]
fn a_clock_that_is_set_forward_parks_no_job() {
    let mut scene = watched();
    let clock = scene.clock();
    scene.set("queue.park", "1h");
    // Whoever looks for dead workers has time until then; the clock is looked at every second.
    scene.set("queue.lease", "10m");
    let trouble = Fault::Status(503, Vec::new());
    scene.world.state().fail("/ftp/python/9.1.0/Python-9.1.0.tgz", trouble, 9);
    let running = serve(&scene);
    wait_for(&scene, "a first failure", |scene| jobs(scene).iter().any(|job| job.attempts > 0));
    fs::write(&clock, "86400").unwrap();
    wait_for(&scene, "the alarm", |scene| !alarms(scene).is_empty());
    wait_for(&scene, "a verdict", is_done);
    assert_eq!(running.stop(), Some(0));
    assert_one_verdict(&scene, RecordStatus::Pass);
    let kinds: Vec<AlarmKind> = alarms(&scene).iter().map(|alarm| alarm.kind).collect();
    assert_eq!(kinds, [AlarmKind::ClockJumped]);
    assert!(journals(&scene).contains("trouble of ours"));
}

/// A scene of which anybody may ask as often as they like.
fn open_to_all() -> Scene {
    let mut scene = watched();
    scene.set("feed.since", "");
    scene.set("server.anonymous_requests", true);
    scene.set("server.requests_per_hour_each", 10_000);
    scene.set("server.requests_per_hour_total", 10_000);
    scene
}

fn post(address: &str) -> String {
    let wanted = format!("{{\"version\": \"{}\"}}", source::VERSION);
    format!(
        "POST /api/v1/requests HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{wanted}",
        wanted.len()
    )
}

/// Whether nobody is about to write to the store.
async fn can_be_written(scene: &Scene) -> bool {
    let mut connection = other(scene).await;
    connection.execute("PRAGMA busy_timeout = 100").await.unwrap();
    let free = connection.execute("BEGIN IMMEDIATE").await.is_ok();
    connection.close().await.unwrap();
    free
}

/// Another process that works on the store.
async fn other(scene: &Scene) -> SqliteConnection {
    let url = format!("sqlite:{}", scene.state().join("records.sqlite").display());
    SqliteConnection::connect(&url).await.unwrap()
}

#[test]
fn a_store_that_another_process_locks_delays_and_loses_nothing() {
    // Many times the lease, and the signs of life cannot be written all the while.
    let held = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 30 } else { 6 };
    let mut scene = watched();
    let slow =
        format!("{}\n[[step]]\nname = \"slow\"\nrun = \"sleep 2\"\n", tests::fixture::RECIPE);
    scene.recipe(&slow);
    scene.set("server.anonymous_requests", true);
    let mut running = serve(&scene);
    let place = address(&mut running);
    wait_for(&scene, "a job", |scene| jobs(scene).iter().any(|job| job.state == JobState::Running));
    let mut connection = scene.block_on(other(&scene));
    scene.block_on(connection.execute("BEGIN IMMEDIATE")).unwrap();
    let (asked, shown) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&place, ""));
        std::thread::sleep(Duration::from_secs(held));
        // Reading goes on.
        let shown = http(&place, "GET", "/api/v1/jobs", "", "");
        scene.block_on(connection.execute("COMMIT")).unwrap();
        (asking.join().unwrap(), shown)
    });
    assert!(shown.contains("\"running\""), "{shown}");
    assert!(asked.starts_with("HTTP/1.1 202"), "{asked}");
    wait_for(&scene, "a verdict", is_done);
    wait_for(&scene, "an idle daemon", |scene| jobs(scene).iter().all(|job| job.state.is_over()));
    assert_eq!(running.stop(), Some(0));
    // The request came before the verdict, so that it is the same job.
    assert_one_verdict(&scene, RecordStatus::Pass);
    assert_eq!(jobs(&scene)[0].attempts, 0);
}

#[test]
fn a_feed_that_alternates_between_nonsense_and_truth_changes_nothing_that_is_known() {
    let mut scene = watched();
    scene.set("feed.interval", "100ms");
    scene.set("feed.glance", "100ms");
    scene.set("feed.refresh", "100ms");
    scene.set("feed.requests_per_day", 100_000);
    let running = serve(&scene);
    wait_for(&scene, "a verdict", is_done);
    let last_error = |scene: &Scene| {
        scene.ask_store(|store| async move { store.fact("feed.last_error").await.unwrap() })
    };
    let nonsense = ["[]", "", "{}", "<html>", "[{\"name\": \"Python 9.9.9\"}]", "[1, 2"];
    for body in nonsense {
        let lie = || Fault::Body(body.into());
        {
            let mut state = scene.world.state();
            for path in ["release/", "release_file/"] {
                state.fail(&format!("/api/v2/downloads/{path}"), lie(), FOR_EVER);
            }
            state.fail("/ftp/python/", lie(), FOR_EVER);
        }
        wait_for(&scene, "an error", |scene| {
            last_error(scene).is_some_and(|text| !text.is_empty())
        });
        scene.world.state().faults.clear();
        wait_for(&scene, "its end", |scene| last_error(scene).is_some_and(|text| text.is_empty()));
    }
    assert_eq!(running.stop(), Some(0));
    assert_one_verdict(&scene, RecordStatus::Pass);
    assert_eq!(alarms(&scene), []);
    let known = scene.ask_store(|store| async move {
        (store.announced(&version()).await.unwrap(), store.release(&version()).await.unwrap())
    });
    assert!(known.0.is_some());
    assert_eq!(known.1.unwrap().files.len(), 2);
}

#[test]
fn of_a_thousand_requests_at_once_none_is_lost_even_if_the_daemon_dies_then() {
    let scene = open_to_all();
    scene.only_step("sleep 600");
    let mut running = serve(&scene);
    let place = address(&mut running);
    wait_for_the_list(&scene);
    let mut streams: Vec<TcpStream> =
        (0..1000).map(|_| TcpStream::connect(&place).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(post(&place).as_bytes()).unwrap();
    }
    for stream in &mut streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    let count = "SELECT COUNT(*) FROM requests";
    let kept: i64 = scene
        .block_on(async { sqlx::query_scalar(count).fetch_one(&mut other(&scene).await).await })
        .unwrap();
    assert_eq!(kept, 1000);
    scene.recipe(tests::fixture::RECIPE);
    let running = serve(&scene);
    wait_for(&scene, "a verdict", is_done);
    assert_eq!(running.stop(), Some(0));
    assert_one_verdict(&scene, RecordStatus::Pass);
}

/// Sockets that a process has open.
fn sockets(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// A client that asks and reads nothing.
fn unread(scene: &Scene, place: &str, asks: &str) -> TcpStream {
    let connect = async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(place.parse().unwrap()).await.unwrap().into_std().unwrap()
    };
    let mut stream = scene.block_on(connect);
    stream.set_nonblocking(false).unwrap();
    stream.write_all(asks.as_bytes()).unwrap();
    stream
}

/// Memory that a process holds, in bytes.
fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn many_slow_readers_of_one_long_log_take_little_memory() {
    const READERS: u64 = 400;
    let scene = watched();
    let mut running = serve(&scene);
    let place = address(&mut running);
    wait_for(&scene, "a verdict", is_done);
    let id = jobs(&scene).remove(0).id;
    let path = scene.state().join(format!("jobs/{id}.ndjson"));
    let line = format!("{{\"at\":\"t\",\"kind\":\"log\",\"text\":\"{}\"}}\n", "x".repeat(200));
    fs::write(path, line.repeat(30_000)).unwrap();
    let get = format!("GET /api/v1/jobs/{id}/log HTTP/1.1\r\nHost: {place}\r\n\r\n");
    let read = http(&place, "GET", &format!("/api/v1/jobs/{id}/log"), "", "");
    assert_eq!(read.lines().filter(|line| line.ends_with("xxx")).count(), 30_000);
    let before = resident_bytes(running.0.id());
    let slow: Vec<TcpStream> = (0..READERS).map(|_| unread(&scene, &place, &get)).collect();
    // What is not read any more fills the buffers on the way.
    std::thread::sleep(Duration::from_secs(3));
    let each = resident_bytes(running.0.id()).saturating_sub(before) / READERS;
    assert!(each < 150 << 10, "a slow reader takes {each} bytes");
    drop(slow);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn clients_that_do_not_read_hold_up_nobody_and_are_cut_off() {
    const CLIENTS: usize = 50;
    let scene = open_to_all();
    let mut running = serve(&scene);
    let place = address(&mut running);
    wait_for_the_list(&scene);
    let before = sockets(running.0.id());
    // More answers than the buffers on the way take in.
    let get = format!("GET /api/openapi.json HTTP/1.1\r\nHost: {place}\r\n\r\n").repeat(50);
    let slow: Vec<TcpStream> = (0..CLIENTS).map(|_| unread(&scene, &place, &get)).collect();
    wait_for(&scene, "slow clients", |_| sockets(running.0.id()) >= before + CLIENTS);
    let answer = ask(&place, "");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    wait_for(&scene, "a verdict", is_done);
    wait_for(&scene, "their end", |_| sockets(running.0.id()) < before + 10);
    drop(slow);
    assert_eq!(running.stop(), Some(0));
    assert_one_verdict(&scene, RecordStatus::Pass);
}

/// The daemon with a state directory on a disk of its own, which only it can see.
fn serve_on_small_disk(scene: &Scene) -> Running {
    let plain = scene.command(&["serve"]);
    let state = scene.state().display().to_string();
    let environments = scene.fixture.environments().display().to_string();
    let script = format!(
        "mount -t tmpfs -o size=48m none {state} && ln -s {environments} {state}/environments && \
         exec \"$0\" \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(plain.get_current_dir().expect("a scene has a place"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Running(command.spawn().expect("start the program on a disk of its own"))
}

#[test]
fn a_full_disk_loses_nothing_and_gives_no_verdict() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tried: only root can mount a small disk");
        return;
    }
    let scene = open_to_all();
    let mut running = serve_on_small_disk(&scene);
    let place = address(&mut running);
    let get = |path: &str| http(&place, "GET", path, "", "");
    let wait = |what: &str, holds: &dyn Fn() -> bool| wait_for(&scene, what, |_| holds());
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    wait("the list", &|| status(&get("/api/v1/releases/9.1.0")) == "200");
    let filler = format!("/proc/{}/root{}/filler", running.0.id(), scene.state().display());
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let first = ask(&place, "");
    assert!(["202", "500"].contains(&status(&first).as_str()), "{first}");
    let ready = get("/readyz");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("disk"), "{ready}");
    if status(&first) == "202" {
        wait("trouble", &|| !get("/api/v1/jobs").contains("\"attempts\":0"));
    }
    assert!(get("/api/v1/records").contains("\"items\":[]"), "{}", get("/api/v1/records"));
    fs::remove_file(&filler).unwrap();
    // Whoever was told that it failed asks again.
    wait("a request", &|| status(&ask(&place, "")) == "202");
    wait("a verdict", &|| get("/api/v1/jobs").contains("\"done\""));
    let records = get("/api/v1/records");
    assert_eq!(records.matches("\"status\":\"pass\"").count(), 1, "{records}");
    assert_eq!(get("/api/v1/jobs").matches("\"why\"").count(), 1, "one job");
    assert_eq!(running.stop(), Some(0));
}
