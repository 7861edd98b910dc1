//! What a step sees of this machine: nothing.

use std::net::TcpListener;

use crate::world::{World, all_processes, inside};

#[test]
fn a_step_has_no_capability_and_can_gain_none() {
    let ran = inside("sed -n 's/:\\t/=/p' /proc/self/status");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(ran.value(set), "0000000000000000", "{set}");
    }
    assert_eq!(ran.value("NoNewPrivs"), "1");
    assert_eq!(ran.value("Seccomp"), "2");
}

#[test]
fn a_step_sees_the_same_fixed_world_everywhere() {
    let ran = inside(
        "echo zone=$(date -d @0 +%H:%M:%S%z); echo mask=$(umask); echo host=$(uname -n)
         echo locale=$LANG,$LC_ALL; echo user=$(id -u),$(id -g); echo home=$HOME
         echo directory=$(pwd); [ -d out ]; [ -w /tmp ]; [ -d $HOME ]; cat /source/HEAD",
    );
    assert_eq!(ran.value("zone"), "00:00:00+0000");
    assert_eq!(ran.value("mask"), "0022");
    assert_eq!(ran.value("host"), "verbatim");
    assert_eq!(ran.value("locale"), "C.UTF-8,C.UTF-8");
    assert_eq!(ran.value("user"), "1000,1000");
    assert_eq!(ran.value("home"), "/work/home");
    assert_eq!(ran.value("directory"), "/work");
}

#[test]
fn the_environment_is_the_fixed_one_and_the_definitions_own() {
    let mut world = World::new("env | sort | sed 's/^/env:/'");
    world
        .definition
        .internal_parameters
        .environment
        .insert("SOURCE_DATE_EPOCH".to_string(), "1749656217".to_string());
    let home = world.path("evil-home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join(".gitconfig"), "[core]\n\tautocrlf = true\n").unwrap();
    let hostile = [
        ("TAR_OPTIONS", "--owner=evil"),
        ("XZ_OPT", "-9"),
        ("XZ_DEFAULTS", "-T0"),
        ("GZIP", "-1"),
        ("POSIXLY_CORRECT", "1"),
        ("HOME", home.to_str().unwrap()),
        ("LC_ALL", "de_DE.UTF-8"),
        ("TZ", "Asia/Tokyo"),
        ("BASH_ENV", "/etc/passwd"),
        ("LD_PRELOAD", ""),
        ("GIT_DIR", "/evil"),
    ];
    world.host_environment =
        hostile.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let ran = world.run();
    ran.built();
    let names: Vec<_> = ran
        .log
        .lines()
        .filter_map(|line| line.strip_prefix("env:")?.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let expect = [
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_KEY_0",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_VALUE_0",
        "GIT_TERMINAL_PROMPT",
        "HOME",
        "LANG",
        "LC_ALL",
        "PATH",
        "PWD",
        "SHLVL",
        "SOURCE_DATE_EPOCH",
        "TMPDIR",
        "TZ",
        "WORLD_MARK",
        "_",
    ];
    assert_eq!(names, expect);
    assert!(ran.log.contains("env:SOURCE_DATE_EPOCH=1749656217\n"));
    assert!(ran.log.contains("env:HOME=/work/home\n"));
}

#[test]
fn there_is_no_network_not_even_to_this_machine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ran = inside(&format!(
        "echo interfaces=$(sed -n 's/:.*//p' /proc/net/dev | tr -d ' \\n')
         if (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; then echo connected; fi
         echo routes=$(sed 1d /proc/net/route | wc -l)"
    ));
    assert_eq!(ran.value("interfaces"), "lo");
    assert_eq!(ran.value("routes"), "0");
    assert!(!ran.log.contains("connected"));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn nothing_outside_the_work_directory_can_be_written() {
    let ran = inside(
        "for d in / /usr /usr/bin /etc /source /dev /proc /proc/sys/kernel /dev/..; do
           if touch $d/evil 2>/dev/null || mkdir $d/evil 2>/dev/null; then echo wrote $d; fi
         done
         for f in /etc/passwd /proc/sys/kernel/core_pattern /proc/sysrq-trigger /source/HEAD \\
                  /proc/sys/kernel/hostname /proc/1/mem /proc/1/oom_score_adj; do
           if (: >> $f) 2>/dev/null; then echo opened $f; fi
         done
         for f in /dev/null /dev/urandom /usr/bin/bash /etc /source; do
           if chmod 777 $f 2>/dev/null; then echo changed $f; fi
           if touch $f 2>/dev/null && [ $f != /dev/null ] && [ $f != /dev/urandom ]; then
             echo touched $f; fi
         done
         touch /work/fine /tmp/fine && echo end=reached",
    );
    for word in ["wrote", "opened", "changed", "touched"] {
        assert!(!ran.log.contains(word), "{}", ran.log);
    }
    assert_eq!(ran.value("end"), "reached");
}

#[test]
fn a_second_step_cannot_be_led_to_the_hosts_files() {
    // Whatever a step puts in place of directories of ours, nothing of it is mounted.
    let world = World::with_steps(&[
        (
            "lure",
            "rm -rf tmp home out; for n in tmp home out source; do ln -s / $n; done
                  rm -rf /tmp/* && ! rmdir /tmp 2>/dev/null; touch /tmp/kept",
        ),
        (
            "look",
            "ls /tmp; ls -a /work/tmp/ > listing; [ -e /tmp/kept ]; [ ! -e /tmp/etc ]
                  [ ! -e /work/tmp/root/.bashrc ]",
        ),
    ]);
    world.run().built();
}

#[test]
fn no_process_and_no_file_of_this_machine_is_seen() {
    let ran = inside(
        "echo processes=$(ls -d /proc/[0-9]* | wc -l); echo root=$(ls -A / | tr '\\n' ' ')
         kill -9 -1 2>/dev/null || true; echo alive=yes",
    );
    // Process 1, the shell, its subshell and the two commands of the pipe.
    assert!(ran.value("processes").parse::<usize>().unwrap() <= 5, "{}", ran.log);
    assert!(all_processes().len() > 5, "this machine has more to see");
    let root: Vec<_> =
        ran.value("root").split_whitespace().filter(|n| !n.starts_with('.')).collect();
    let expect = ["bin", "dev", "etc", "lib", "lib64", "proc", "source", "tmp", "usr", "work"];
    assert_eq!(root, expect);
    assert_eq!(ran.value("alive"), "yes");
}

#[test]
fn the_usual_devices_work_and_there_are_no_others() {
    let ran = inside(
        "echo x > /dev/null; [ $(head -c 4 /dev/zero | wc -c) = 4 ]
         [ $(head -c 4 /dev/urandom | wc -c) = 4 ]; [ $(head -c 4 /dev/random | wc -c) = 4 ]
         cat < /dev/null; echo a | cat /dev/stdin > /dev/stderr; cat <(echo substitution)
         if echo x 2>/dev/null > /dev/full; then exit 3; fi; : > /dev/shm/semaphore
         echo devices=$(ls -A /dev | tr '\\n' ' ')",
    );
    let expect = "fd full input null random shm stderr stdin stdout urandom zero";
    assert_eq!(ran.value("devices").trim(), expect);
}

/// Numbers of x86-64; perl because it is on every Debian and can make any system call.
#[cfg(target_arch = "x86_64")]
#[test]
fn system_calls_that_attack_the_kernel_are_refused() {
    const EPERM: &str = "1";
    const ENOSYS: &str = "38";
    let calls = [
        ("mount", "165, 0, 0, 0, 0, 0", EPERM),
        ("unshare(NEWUSER)", "272, 0x10000000", EPERM),
        ("clone(NEWUSER)", "56, 0x10000011, 0, 0, 0, 0", EPERM),
        ("clone3", "435, 0, 0", ENOSYS),
        ("setns", "308, 0, 0", EPERM),
        ("ptrace", "101, 0, 0, 0, 0", EPERM),
        ("bpf", "321, 0, 0, 0", EPERM),
        ("perf_event_open", "298, 0, 0, 0, 0, 0", EPERM),
        ("keyctl", "250, 0, 0, 0, 0, 0", EPERM),
        ("userfaultfd", "323, 0", EPERM),
        ("io_uring_setup", "425, 1, 0", EPERM),
        ("personality", "135, 0x0040000", EPERM),
        ("chroot", "161, 0", EPERM),
        ("open_by_handle_at", "304, 0, 0, 0", EPERM),
        ("socket(AF_PACKET)", "41, 17, 3, 0", EPERM),
        ("socket(AF_VSOCK)", "41, 40, 1, 0", EPERM),
        ("socket(AF_INET, SOCK_RAW)", "41, 2, 3, 1", EPERM),
        ("ioctl(TIOCSTI)", "16, 0, 0x5412, 0", EPERM),
        ("x32 getpid", "0x40000027", ENOSYS),
        ("x32 unshare", "0x40000110, 0x10000000", ENOSYS),
    ];
    let world = World::new("");
    if !world.root().join("usr/bin/perl").exists() {
        eprintln!("not tried: this machine has no perl, which makes the system calls");
        return;
    }
    let script: String = calls
        .iter()
        .map(|(name, call, _)| {
            format!(
                "perl -e '$! = 0; my $r = syscall({call});
                 print \"{name}=\", $r < 0 ? $!+0 : \"allowed\", \"\\n\"'\n"
            )
        })
        .collect();
    let ran = inside(&script);
    for (name, _, expect) in calls {
        assert_eq!(ran.value(name), expect, "{name}");
    }
    // And what programs need is not.
    inside("perl -e 'exit(syscall(41, 1, 1, 0) < 0)'; perl -e 'exit(syscall(41, 2, 1, 0) < 0)'");
}
