//! What a run may leave behind: nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Everything of a run below `state` that is still there, in words.
pub fn of(state: &Path) -> Vec<String> {
    let mark = state.display().to_string();
    let mut found: Vec<String> = processes(&mark)
        .into_iter()
        .map(|(pid, command)| format!("process {pid}: {command}"))
        .collect();
    found.extend(mounts(&mark).into_iter().map(|line| format!("mount {line}")));
    found.extend(names_in(&state.join("scratch")).into_iter().map(|n| format!("scratch/{n}")));
    for place in ["cache", "environments"] {
        // A link leads to what all tests share: others may be at work there.
        if state.join(place).is_symlink() {
            continue;
        }
        let half = names_in(&state.join(place)).into_iter().filter(|name| name.contains("partial"));
        found.extend(half.map(|name| format!("{place}/{name}")));
    }
    found
}

/// Panics if anything of a run below `state` is still there after a moment.
#[track_caller]
pub fn assert_none(state: &Path) {
    // A killed process is a zombie until its parent looks, and a group goes after its last one.
    let give_up = Instant::now() + Duration::from_secs(5);
    loop {
        let left = of(state);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < give_up, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Processes that `mark` occurs in: in their command, their variables, or what they see mounted.
pub fn processes(mark: &str) -> Vec<(u32, String)> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_marked = |pid: &u32| {
        ["cmdline", "environ", "mountinfo"].iter().any(|file| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(mark)
        })
    };
    let command = |pid: u32| {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    pids.filter(|pid| *pid != own).filter(is_marked).map(|pid| (pid, command(pid))).collect()
}

fn mounts(mark: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect()
}

/// Control groups that the processes `pids` made.
pub fn cgroups(pids: &[u32]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix("verbatim-").and_then(|rest| rest.rsplit('-').next());
            if owner.is_some_and(|owner| pids.iter().any(|pid| pid.to_string() == owner)) {
                found.push(entry.path());
            }
            waiting.push(entry.path());
        }
    }
    found
}

/// Waits until `condition` holds, at most ten seconds.
#[track_caller]
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < give_up, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
