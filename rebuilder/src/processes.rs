//! The container's process tree as this machine sees it, in `/proc`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What the processes below one process use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Processes and their threads.
    pub threads: u64,
    /// Resident memory that is not shared with files.
    pub memory_bytes: u64,
}

struct Process {
    pid: u32,
    parent: u32,
    threads: u64,
}

/// The first child of `parent`.
pub fn child_of(parent: u32) -> io::Result<Option<u32>> {
    for process in all()? {
        let process = process?;
        if process.parent == parent {
            return Ok(Some(process.pid));
        }
    }
    Ok(None)
}

/// Sums over everything below `root`, without `root`. Orphans of a pid namespace become children
/// of its first process, so nothing that was started in there is missing. Once it has counted more
/// than `threads_max`, it looks no further: what multiplies is not waited for.
pub fn usage_below(root: u32, threads_max: u64) -> io::Result<TreeUsage> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    // The kernel lists a parent before the children it has, until its numbers begin anew.
    let mut inside = HashSet::from([root]);
    let mut usage = TreeUsage::default();
    for process in all()? {
        let process = process?;
        if inside.contains(&process.parent) {
            inside.insert(process.pid);
            usage.threads += process.threads;
            if usage.threads > threads_max {
                return Ok(usage);
            }
        }
        children.entry(process.parent).or_default().push(process);
    }
    usage.threads = 0;
    let mut waiting = children.remove(&root).unwrap_or_default();
    while let Some(process) = waiting.pop() {
        usage.threads += process.threads;
        usage.memory_bytes += private_bytes(process.pid);
        waiting.extend(children.remove(&process.pid).unwrap_or_default());
    }
    Ok(usage)
}

/// Ends `pid`; that it is gone already is fine.
pub fn end(pid: u32) -> nix::Result<()> {
    match kill(Pid::from_raw(pid as i32), Signal::SIGKILL) {
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    }
}

/// Whether there is a process of this number that is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    // The state is the first field after the name, which may itself contain parentheses.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

/// How often the kernel has killed a process because the machine ran out of memory.
pub fn machine_out_of_memory_kills() -> u64 {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    vmstat
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or_default()
}

/// In the order of their numbers, each as it is when its turn comes.
fn all() -> io::Result<impl Iterator<Item = io::Result<Process>>> {
    let read = |entry: io::Result<fs::DirEntry>| {
        let pid = match entry {
            Ok(entry) => entry.file_name().to_str()?.parse().ok()?,
            Err(error) => return Some(Err(error)),
        };
        // One that ended meanwhile is no longer of interest.
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(pid, &String::from_utf8_lossy(&stat)).map(Ok)
    };
    Ok(fs::read_dir("/proc")?.filter_map(read))
}

/// proc_pid_stat(5): after the name in parentheses come state (3), ppid (4), … num_threads (20).
fn parse_stat(pid: u32, stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    let threads = fields.nth(15)?.parse().ok()?;
    Some(Process { pid, parent, threads })
}

fn private_bytes(pid: u32) -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut fields = statm.split(' ').skip(1).map(|field| field.trim().parse().unwrap_or(0u64));
    let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
    resident.saturating_sub(shared) * PAGE_BYTES
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs a process to look at")]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_not_read_as_fields() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 5 0 1 0";
        let process = parse_stat(7, stat).unwrap();
        assert_eq!((process.parent, process.threads), (3, 5));
    }

    #[test]
    fn a_child_of_this_process_is_found_and_measured() {
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        assert!(usage_below(std::process::id(), 1000).unwrap().threads >= 1);
        let cut = usage_below(std::process::id(), 0).unwrap();
        assert!(cut.threads >= 1 && cut.memory_bytes == 0, "{cut:?}");
        assert!(is_alive(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
    }
}
