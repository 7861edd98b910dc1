//! Commands of ours: git, pip, a script.

use std::fs;
use std::io::Read;
use std::net::TcpListener;

use rebuilder::Network;

use crate::world::World;

#[test]
fn a_tool_reads_its_input_and_writes_its_output() {
    let world = World::new("");
    fs::write(world.path("input"), "to upper case").unwrap();
    fs::create_dir(world.path("more")).unwrap();
    fs::write(world.path("more/file"), "").unwrap();
    let mut order = world.tool_order(
        &["bash", "-c", "tr a-z A-Z; ls /more; echo trouble >&2; touch made; exit 3"],
        Network::None,
    );
    order.stdin = Some(world.path("input"));
    order.mounts.push((world.path("more"), "/more".to_string()));
    let (tool_run, stdout) = world.run_tool(&order);
    let tool_run = tool_run.unwrap();
    assert_eq!((tool_run.code, tool_run.stderr.as_str()), (3, "trouble\n"));
    assert_eq!(stdout, "TO UPPER CASEfile\n");
    // Nothing else: what a tool leaves in its directory is its result.
    let names: Vec<_> = fs::read_dir(world.path("work"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["made"]);
}

#[test]
fn a_tool_reaches_the_network_only_if_it_may() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo hello >&3");
    let world = World::new("");

    let (refused, _) = world.run_tool(&world.tool_order(&["bash", "-c", &script], Network::None));
    assert_ne!(refused.unwrap().code, 0);

    let (reached, _) = world.run_tool(&world.tool_order(&["bash", "-c", &script], Network::Host));
    let reached = reached.unwrap();
    assert_eq!(reached.code, 0, "{}", reached.stderr);
    let mut said = String::new();
    listener.accept().unwrap().0.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello\n");
}

#[test]
fn a_tool_with_the_network_has_this_machines_name_resolution_and_no_unix_sockets() {
    let world = World::new("");
    let before = fs::read_dir(world.root().join("etc")).unwrap().count();
    let script = "cat /etc/hosts; cat /etc/passwd >/dev/null; touch /etc/x 2>/dev/null && echo bad
                  if [ -x /usr/bin/perl ]; then perl -e 'exit(syscall(41, 1, 1, 0) >= 0)'; fi";
    let (tool_run, stdout) =
        world.run_tool(&world.tool_order(&["bash", "-ec", script], Network::Host));
    let tool_run = tool_run.unwrap();
    assert_eq!(tool_run.code, 0, "{}", tool_run.stderr);
    assert_eq!(stdout, fs::read_to_string("/etc/hosts").unwrap());
    assert_eq!(fs::read_dir(world.root().join("etc")).unwrap().count(), before);
}

#[test]
fn a_tool_that_reaches_a_limit_or_is_not_there_is_an_error() {
    let mut world = World::new("");
    world.limits().wall_seconds = 1;
    world.limits().file_bytes = 1 << 20;
    for (command, expect) in [
        (vec!["sleep", "600"], "wall time limit of 1 s"),
        (vec!["head", "-c", "3000000", "/dev/zero"], "file size limit"),
        (vec!["no-such-program"], "cannot run no-such-program"),
        (vec![], "no command"),
    ] {
        let (tool_run, _) = world.run_tool(&world.tool_order(&command, Network::None));
        let sentence = tool_run.unwrap_err();
        assert!(sentence.contains(expect), "{sentence}");
    }
}

#[test]
fn a_mount_never_makes_a_directory_in_the_environment() {
    let world = World::new("");
    for inside in
        ["/usr/extra", "/etc/extra", "/work/extra", "relative", "/a/../usr/x", "/", "/dev/x"]
    {
        let mut order = world.tool_order(&["true"], Network::None);
        order.mounts.push((world.path("source"), inside.to_string()));
        let sentence = world.run_tool(&order).0.unwrap_err();
        assert!(sentence.contains("the order cannot be carried out"), "{inside}: {sentence}");
    }
    assert!(!world.root().join("usr/extra").exists());
}

#[test]
fn only_the_end_of_standard_error_is_kept() {
    let world = World::new("");
    let script = "yes noise | head -n 20000 >&2; echo reason >&2; exit 1";
    let (tool_run, _) = world.run_tool(&world.tool_order(&["bash", "-c", script], Network::None));
    let tool_run = tool_run.unwrap();
    assert!(tool_run.stderr.len() <= 8 << 10);
    assert!(tool_run.stderr.ends_with("noise\nreason\n"));
}
