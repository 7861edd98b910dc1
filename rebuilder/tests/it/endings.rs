//! How a step may end, and what it may leave as its output.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rebuilder::{Artifact, BuildFailure, Digest, Event, Outcome};

use crate::world::{World, all_processes, is_root, wait_until};

fn step() -> String {
    "step".to_string()
}

#[test]
fn outputs_and_payloads_are_hashed_and_reported() {
    let mut world = World::with_steps(&[
        ("write", "printf abc > out/a; mkdir d; printf stream > d/payload"),
        ("compress", "printf defg > out/b"),
    ])
    .outputs(&["a", "b"]);
    world.definition.internal_parameters.steps[0].payload = Some("d/payload".to_string());
    let ran = world.run();
    let rebuild = ran.built();
    let artifact = |name: &str, content: &str| Artifact {
        name: name.to_string(),
        size: content.len() as u64,
        sha256: Digest::of(content.as_bytes()),
    };
    let outputs = vec![artifact("a", "abc"), artifact("b", "defg")];
    assert_eq!(rebuild.outcome, Outcome::Built(outputs));
    assert_eq!(rebuild.payloads, [artifact("payload", "stream")]);
    assert_eq!(rebuild.definition, world.definition.digest());
    assert_eq!(rebuild.steps.len(), 2);
    assert_eq!(ran.log, "=== step write\n=== step compress\n");

    let reported: Vec<_> = ran
        .events
        .iter()
        .map(|event| match event {
            Event::Started { step } => format!("{step} started"),
            Event::Finished { step, payload, .. } => {
                format!("{step} finished {:?}", payload.as_ref().map(|p| &p.name))
            }
        })
        .collect();
    let expect = [
        "write started",
        "write finished Some(\"payload\")",
        "compress started",
        "compress finished None",
    ];
    assert_eq!(reported, expect);
}

#[test]
fn a_step_that_exits_7_after_a_perfect_output_is_a_failure() {
    let world = World::with_steps(&[("step", "echo perfect > out/a; exit 7"), ("next", "true")]);
    let ran = world.outputs(&["a"]).run();
    assert_eq!(*ran.failure(), BuildFailure::Exited { step: step(), code: 7 });
    assert_eq!(ran.events.len(), 1, "{:?}", ran.events);
}

#[test]
fn a_failing_command_in_a_pipe_ends_the_step() {
    let ran = World::new("false | cat; echo not reached").run();
    assert_eq!(*ran.failure(), BuildFailure::Exited { step: step(), code: 1 });
    assert!(!ran.log.contains("not reached"));
}

#[test]
fn the_sandboxs_own_exit_codes_are_nothing_special() {
    for code in [2, 125, 126, 127] {
        let ran = World::new(&format!("exit {code}")).run();
        assert_eq!(*ran.failure(), BuildFailure::Exited { step: step(), code });
    }
}

#[test]
fn a_signal_from_inside_is_the_steps_own() {
    let ran = World::new("kill -TERM $$; sleep 5").run();
    assert_eq!(*ran.failure(), BuildFailure::Signalled { step: step(), signal: 15 });
}

#[test]
fn a_sigkill_that_is_not_ours_is_no_build_failure() {
    for run in ["kill -9 $$; sleep 5", "bash -c 'kill -9 $$'"] {
        let sentence = World::new(run).run().rebuild.unwrap_err();
        assert!(sentence.contains("was killed by something other than Verbatim"), "{sentence}");
    }
}

#[test]
fn an_administrators_kill_is_no_build_failure() {
    // Of the step, of process 1 of the container, and of hakoniwa's process that waits for it.
    for generations in 0..3 {
        let world = World::new("echo started; sleep 600");
        let child = world.start("rebuild", &world.order());
        wait_until("the step", || !world.processes().is_empty());
        let mut victim = world.processes()[0];
        for _ in 0..generations {
            victim = parent_of(victim);
        }
        kill(Pid::from_raw(victim as i32), Signal::SIGKILL).unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        world.assert_nothing_left(pid);
        assert_eq!(output.status.code(), Some(2));
        let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(sentence.contains("was killed by something other"), "{sentence}");
    }
}

fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_daemon_that_holds_the_output_delays_nothing() {
    let run = "(setsid sleep 600 &) ; (nohup sleep 600 &) ; setsid bash -c 'trap \"\" HUP TERM
               while :; do sleep 0.1; echo still here; done' & echo done > out/a";
    let ran = World::new(run).outputs(&["a"]).run_alone();
    ran.built();
    assert!(ran.took < Duration::from_secs(1), "{:?}", ran.took);
}

#[test]
fn orphans_are_reaped_while_the_step_runs() {
    let run = "for i in $(seq 30); do (true & ) ; done; sleep 0.3; \
               echo zombies=$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ')";
    let ran = World::new(&format!("{run} || true")).run();
    ran.built();
    assert_eq!(ran.value("zombies"), "0");
}

#[test]
fn an_output_must_be_a_regular_file_of_the_step() {
    let missing = BuildFailure::MissingOutput { name: "a".to_string() };
    let not_a_file = BuildFailure::NotAFile { name: "a".to_string() };
    for (run, failure) in [
        ("true", &missing),
        ("rm -r out", &missing),
        ("ln -s /etc/passwd out/a", &not_a_file),
        ("echo x > b; ln -s ../b out/a", &not_a_file),
        ("mkfifo out/a", &not_a_file),
        ("mkdir out/a", &not_a_file),
        ("rm -r out; ln -s /etc out", &not_a_file),
        ("echo x > out/a; mv out o; ln -s o out", &not_a_file),
        ("echo x > out/a; chmod 0 out/a", if is_root() { &missing } else { &not_a_file }),
    ] {
        if is_root() && run.contains("chmod") {
            continue; // root may read it
        }
        let ran = World::new(run).outputs(&["a"]).run();
        assert_eq!(ran.failure(), failure, "{run}");
    }
}

#[test]
fn a_payload_must_be_a_regular_file_too() {
    for run in ["ln -s /etc/passwd p", "mkfifo p", "mkdir q; mkfifo q/p; mv q/p p"] {
        let mut world = World::new(run);
        world.definition.internal_parameters.steps[0].payload = Some("p".to_string());
        assert_eq!(*world.run().failure(), BuildFailure::NotAFile { name: "p".to_string() });
    }
}

#[test]
fn a_kill_9_of_the_process_ends_everything() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let world = World::new("trap '' TERM; setsid sleep 600 & sleep 600 & echo up; wait");
        let mut child = world.start("rebuild", &world.order());
        wait_until("the step", || world.processes().len() >= 3);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        wait_until("the end of the container", || world.processes().is_empty());
        let names: Vec<_> = fs::read_dir(world.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            names.iter().all(|name| {
                ["work", "source", "log", "work.container"].contains(&name.as_str())
            })
        );

        // What was left is no obstacle, and goes away.
        rebuilder::remove_tree(&world.path("work")).unwrap();
        fs::create_dir(world.path("work")).unwrap();
        let mut again = world;
        again.definition.internal_parameters.steps[0].run = "true".to_string();
        again.run().built();
        wait_until("the end of the cgroups", || crate::world::cgroups_of(child.id()).is_empty());
    }
}

#[test]
fn a_reader_that_goes_away_ends_everything_before_the_process_itself() {
    let world = World::new("trap '' TERM; setsid sleep 600 & sleep 600 & echo up; wait");
    let mut child = world.start("rebuild", &world.order());
    wait_until("the step", || world.processes().len() >= 3);
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    world.assert_nothing_left(child.id());
}

#[test]
fn a_kill_9_of_the_parent_ends_everything() {
    let mut world = World::new("echo up; sleep 600");
    // The shell is the parent; a background command has no input unless it is told where.
    world.wrapper =
        ["sh", "-c", "exec 3<&0; \"$@\" <&3 & wait", "parent"].map(String::from).to_vec();
    let mut parent = world.start("rebuild", &world.order());
    wait_until("the step", || !world.processes().is_empty());
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the end of the container", || world.processes().is_empty());
    let command = world.path("").display().to_string();
    wait_until("the end of the rebuilder", || {
        !all_processes().iter().any(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains("rebuilder\0rebuild") && line.contains(&command))
        })
    });
}

#[test]
fn a_tree_without_a_shell_is_an_operating_error() {
    let world = World::new("true");
    let mut order = world.order();
    order.root = world.path("empty");
    fs::create_dir(&order.root).unwrap();
    let output = world.start("rebuild", &order).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(sentence.contains("cannot run /bin/bash"), "{sentence}");
}

#[test]
fn a_full_disk_of_this_machine_is_no_build_failure() {
    if !is_root() {
        eprintln!("not tried: only root can mount a small disk");
        return;
    }
    let mut world = World::new("head -c 50000000 /dev/zero > file");
    let mount = format!(
        "mount -t tmpfs -o size=20m none {0} && exec \"$0\" \"$@\"",
        world.path("work").display()
    );
    world.wrapper = ["unshare", "-m", "sh", "-c", &mount].map(String::from).to_vec();
    let sentence = world.run().rebuild.unwrap_err();
    assert!(sentence.contains("the disk that holds"), "{sentence}");
}

#[test]
fn a_mistake_in_the_order_is_named() {
    for (output, expect) in [("../a", "plain file name"), ("", "plain file name")] {
        let sentence = World::new("true").outputs(&[output]).run().rebuild.unwrap_err();
        assert!(sentence.contains(expect), "{sentence}");
    }
    let world = World::new("true");
    fs::write(world.path("work/old"), "").unwrap();
    let sentence = world.run().rebuild.unwrap_err();
    assert!(sentence.contains("is not empty"), "{sentence}");
}

#[test]
fn a_container_starts_in_a_few_milliseconds() {
    let steps = vec![("step", "true"); 20];
    let world = World::with_steps(&steps);
    let begun = Instant::now();
    let ran = world.run();
    ran.built();
    let each = begun.elapsed() / steps.len() as u32;
    eprintln!("{each:?} for each container");
    // Generous: the machine that runs the tests may be busy.
    assert!(each < Duration::from_millis(200), "{each:?}");
}
