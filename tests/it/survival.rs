//! The daemon under pressure: signals, clocks, full disks, locked stores, slow and many clients.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::{Scene, leftovers};
use verifier::queue::{Job, JobState};
use verifier::record::RecordStatus;
use verifier::world::Fault;

use crate::daemon::{assert_one_verdict, is_done, jobs, serve, wait_for, watched};

/// Everything that the journals of a scene's jobs say.
fn journals(scene: &Scene) -> String {
    let path = |job: &Job| scene.state().join(format!("jobs/{}.ndjson", job.id));
    jobs(scene).iter().map(|job| fs::read_to_string(path(job)).unwrap_or_default()).collect()
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
fn a_worker_back_from_the_dead_cannot_record() {
    let scene = watched();
    let slow =
        format!("{}\n[[step]]\nname = \"slow\"\nrun = \"sleep 6\"\n", tests::fixture::RECIPE);
    scene.recipe(&slow);
    let dead = serve(&scene);
    wait_for(&scene, "a job", |scene| jobs(scene).iter().any(|job| job.state == JobState::Running));
    dead.signal(Signal::SIGSTOP);
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

#[test]
fn a_clock_that_is_set_loses_and_doubles_nothing() {
    for seconds in ["86400", "-86400"] {
        let mut scene = watched();
        let clock = scene.path("clock");
        fs::write(&clock, "0").unwrap();
        scene.variables = vec![("UNDER_TEST_CLOCK".to_owned(), clock.display().to_string())];
        scene.set("queue.retry", "2s");
        scene.world.state().fail(
            "/ftp/python/9.1.0/Python-9.1.0.tgz",
            Fault::Status(503, Vec::new()),
            3,
        );
        let running = serve(&scene);
        wait_for(&scene, "a first failure", |scene| jobs(scene).iter().any(|job| job.attempts > 0));
        fs::write(&clock, seconds).unwrap();
        wait_for(&scene, "a verdict", is_done);
        assert_eq!(running.stop(), Some(0));
        assert_one_verdict(&scene, RecordStatus::Pass);
    }
}
