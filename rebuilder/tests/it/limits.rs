//! Every limit, reached.

use rebuilder::{BuildFailure, Limits};

use crate::world::{Ran, World, is_root};

/// Runs alone: what takes all it can get takes it from others, and they from its time.
fn limited(run: &str, set: impl FnOnce(&mut Limits)) -> Ran {
    let mut world = World::new(run);
    set(world.limits());
    world.run_alone()
}

fn step() -> String {
    "step".to_string()
}

#[test]
fn wall_time_ends_a_step_that_is_busy_and_talks() {
    let ran = limited("while :; do echo busy; done", |limits| limits.wall_seconds = 1);
    assert_eq!(*ran.failure(), BuildFailure::WallTime { step: step(), seconds: 1 });
    assert!(ran.took.as_secs_f64() < 2.0, "{:?}", ran.took);
}

#[test]
fn wall_time_is_for_all_steps_together() {
    let mut world = World::with_steps(&[("one", "sleep 0.7"), ("two", "sleep 0.7")]);
    world.limits().wall_seconds = 1;
    let two = "two".to_string();
    assert_eq!(*world.run_alone().failure(), BuildFailure::WallTime { step: two, seconds: 1 });
}

#[test]
fn a_step_that_ignores_every_signal_is_ended_all_the_same() {
    let run = "trap '' TERM INT HUP QUIT; (trap '' TERM; sleep 600) & while :; do sleep 1; done";
    let ran = limited(run, |limits| limits.wall_seconds = 1);
    assert_eq!(*ran.failure(), BuildFailure::WallTime { step: step(), seconds: 1 });
    assert!(ran.took.as_secs_f64() < 2.0, "{:?}", ran.took);
}

#[test]
fn silence_ends_a_step() {
    let ran = limited("echo last words; sleep 600", |limits| limits.silent_seconds = 1);
    assert_eq!(*ran.failure(), BuildFailure::Silent { step: step(), seconds: 1 });
    assert!(ran.took.as_secs_f64() < 2.5, "{:?}", ran.took);
    assert!(ran.log.contains("last words"));
}

#[test]
fn output_and_written_files_are_signs_of_life() {
    let run = "for i in 1 2 3 4 5 6; do sleep 0.4; echo $i; done
               for i in 1 2 3 4 5 6; do sleep 0.4; echo $i >> file; done";
    limited(run, |limits| limits.silent_seconds = 1).built();
}

#[test]
fn a_memory_hog_is_ended() {
    let run = "head -c 600000000 /dev/zero | tail | wc -c";
    let ran = limited(run, |limits| limits.memory_bytes = 100 << 20);
    assert_eq!(*ran.failure(), BuildFailure::Memory { step: step(), bytes: 100 << 20 });
}

#[test]
fn a_memory_hog_that_hides_behind_true_is_ended() {
    let run = "(head -c 600000000 /dev/zero | tail | wc -c) || true";
    let ran = limited(run, |limits| limits.memory_bytes = 100 << 20);
    assert_eq!(*ran.failure(), BuildFailure::Memory { step: step(), bytes: 100 << 20 });
}

#[test]
fn a_fork_bomb_is_ended() {
    let run = "bomb() { bomb | bomb & }; bomb; sleep 60";
    let ran = limited(run, |limits| limits.processes = 50);
    assert_eq!(*ran.failure(), BuildFailure::Processes { step: step(), processes: 50 });
    assert!(ran.took.as_secs_f64() < 10.0, "{:?}", ran.took);
}

#[test]
fn as_many_processes_as_allowed_are_fine() {
    let run = "for i in $(seq 40); do sleep 0.5 & done; wait";
    limited(run, |limits| limits.processes = 50).built();
}

#[test]
fn a_file_that_is_too_large_is_a_failure() {
    for run in [
        "head -c 3000000 /dev/zero > file",
        "head -c 3000000 /dev/zero > file || true",
        "exec head -c 3000000 /dev/zero > file",
        "printf '%3000000d' 0 > file",
    ] {
        let ran = limited(run, |limits| limits.file_bytes = 1 << 20);
        assert_eq!(*ran.failure(), BuildFailure::FileSize { step: step(), bytes: 1 << 20 });
    }
}

#[test]
fn the_disk_limit_is_for_the_whole_work_directory() {
    for run in [
        "for i in $(seq 100); do head -c 1000000 /dev/zero > file$i; sleep 0.02; done; sleep 60",
        // Below /tmp, in a directory that cannot be listed, and all at the very end.
        "for i in $(seq 100); do head -c 1000000 /dev/zero > /tmp/file$i; done; sleep 60",
        "mkdir d; for i in $(seq 100); do head -c 1000000 /dev/zero > d/$i; done; chmod 0 d",
        "for i in $(seq 100); do head -c 1000000 /dev/zero > file$i; done",
    ] {
        let ran = limited(run, |limits| limits.disk_bytes = 20_000_000);
        assert_eq!(*ran.failure(), BuildFailure::Disk { step: step(), bytes: 20_000_000 });
        assert!(ran.took.as_secs_f64() < 10.0, "{:?}", ran.took);
    }
}

#[test]
fn of_a_flood_the_log_keeps_head_and_tail() {
    let run = "echo first; (yes flood || true) | head -n 8000000; echo last";
    let ran = limited(run, |limits| limits.log_bytes = 10_000);
    let rebuild = ran.built();
    assert!(ran.log.starts_with("=== step step\nfirst\nflood\n"), "{:.100}", ran.log);
    assert!(ran.log.ends_with("flood\nlast\n"));
    assert!(ran.log.len() < 10_100);
    assert_eq!(rebuild.log_bytes, 48_000_011);
    let heading = "=== step step\n".len() as u64;
    assert_eq!(rebuild.log_bytes_dropped, 48_000_011 + heading - 10_000);
    let marker = format!("\n=== {} bytes of log are not kept here\n", rebuild.log_bytes_dropped);
    assert!(ran.log.contains(&marker));
}

#[test]
fn the_record_says_how_each_limit_was_enforced() {
    let ran = World::new("true").run();
    let in_force = ran.built().limits_in_force.join("\n");
    for limit in ["wall time: clock", "silence: ", "file size: rlimit", "disk: polling", "log: "] {
        assert!(in_force.contains(limit), "{in_force}");
    }
    for ways in [
        ["memory: cgroup v1", "memory: cgroup v2", "memory: rlimit and polling"],
        ["processes: cgroup v1", "processes: cgroup v2", "processes: "],
    ] {
        assert!(ways.iter().any(|way| in_force.contains(way)), "{in_force}");
    }
}

/// Root without a cgroup is the hardest case: no rlimit binds its number of processes.
#[test]
fn without_cgroups_root_is_bounded_by_polling() {
    if !is_root() {
        eprintln!("not tried: the other tests show polling for an ordinary user");
        return;
    }
    let hide = "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "-m", "sh", "-c", hide].map(String::from).to_vec();
    let cases: [(&str, BuildFailure); 2] = [
        (
            "bomb() { bomb | bomb & }; bomb; sleep 60",
            BuildFailure::Processes { step: step(), processes: 50 },
        ),
        (
            "head -c 600000000 /dev/zero | tail | wc -c",
            BuildFailure::Memory { step: step(), bytes: 100 << 20 },
        ),
    ];
    for (run, failure) in cases {
        let mut world = World::new(run);
        world.limits().processes = 50;
        world.limits().memory_bytes = 100 << 20;
        world.wrapper = wrapper.clone();
        let ran = world.run_alone();
        assert_eq!(*ran.failure(), failure);
        // Thousands of processes want the two processors meanwhile.
        assert!(ran.took.as_secs_f64() < 20.0, "{:?}", ran.took);
        let in_force = ran.rebuild().limits_in_force.join("\n");
        assert!(in_force.contains("processes: polling"), "{in_force}");
        assert!(in_force.contains("memory: rlimit and polling"), "{in_force}");
    }
}
