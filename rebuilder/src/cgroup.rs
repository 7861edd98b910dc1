//! Limits on memory and processes by cgroup, version 1 or 2, where this user may make one.
//!
//! The container's first process enters the group; this process never does, so the kernel's
//! out-of-memory killer cannot choose the one that has to tell about it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::Limits;
use crate::processes::is_alive;

/// The groups of one container; they are removed when this is dropped.
pub struct Cgroups {
    /// Bounds the memory of the tree, if set.
    pub memory: Option<Group>,
    /// Bounds the number of processes, if set.
    pub processes: Option<Group>,
}

/// One directory of a cgroup hierarchy.
pub struct Group {
    directory: PathBuf,
    version: Version,
    controller: Controller,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    V1,
    V2,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Controller {
    Memory,
    Pids,
}

impl Cgroups {
    /// Makes the groups and sets their limits. What this machine refuses is `None`.
    pub fn create(limits: &Limits) -> Cgroups {
        let hierarchies = Hierarchies::read();
        let group = |controller, limit: u64| {
            hierarchies
                .parents(controller)
                .into_iter()
                .find_map(|(parent, version)| Group::create(&parent, version, controller, limit))
        };
        Cgroups {
            memory: group(Controller::Memory, limits.memory_bytes),
            // One more for the container's own first process.
            processes: group(Controller::Pids, limits.processes.saturating_add(1)),
        }
    }

    /// Puts the container's first process in. A group that refuses is given up.
    pub fn enter(&mut self, pid: u32) {
        for group in [&mut self.memory, &mut self.processes] {
            if group.as_ref().is_some_and(|group| group.enter(pid).is_err()) {
                *group = None;
            }
        }
    }
}

impl Group {
    fn create(
        parent: &Path,
        version: Version,
        controller: Controller,
        limit: u64,
    ) -> Option<Group> {
        remove_stale(parent, controller);
        // The two controllers may share one hierarchy.
        let name = format!("{}{}", prefix(controller), std::process::id());
        let directory = parent.join(name);
        let _ = fs::remove_dir(&directory);
        fs::create_dir(&directory).ok()?;
        let group = Group { directory, version, controller };
        group.set_limit(parent, limit).ok()?;
        Some(group)
    }

    fn set_limit(&self, parent: &Path, limit: u64) -> io::Result<()> {
        let file = match (self.controller, self.version) {
            (Controller::Memory, Version::V1) => "memory.limit_in_bytes",
            (Controller::Memory, Version::V2) => "memory.max",
            (Controller::Pids, _) => "pids.max",
        };
        if self.version == Version::V2 && !self.directory.join(file).exists() {
            // Refused unless the parent was delegated to us and has no process of its own.
            fs::write(parent.join("cgroup.subtree_control"), "+memory +pids")?;
        }
        fs::write(self.directory.join(file), limit.to_string())?;
        if self.controller == Controller::Memory {
            // Absent where the kernel has no swap accounting.
            let _ = match self.version {
                Version::V1 => {
                    fs::write(self.directory.join("memory.memsw.limit_in_bytes"), limit.to_string())
                }
                Version::V2 => fs::write(self.directory.join("memory.swap.max"), "0"),
            };
        }
        Ok(())
    }

    fn enter(&self, pid: u32) -> io::Result<()> {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string())
    }

    /// Whether the kernel has refused or killed something because of the limit.
    pub fn was_reached(&self) -> bool {
        let (file, key) = match (self.controller, self.version) {
            (Controller::Memory, Version::V1) => ("memory.oom_control", "oom_kill "),
            (Controller::Memory, Version::V2) => ("memory.events", "oom_kill "),
            (Controller::Pids, _) => ("pids.events", "max "),
        };
        let events = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        events
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok())
            .any(|count| count > 0)
    }

    /// For the record: `cgroup v1`.
    pub fn description(&self) -> &'static str {
        match self.version {
            Version::V1 => "cgroup v1",
            Version::V2 => "cgroup v2",
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last process is dead, but the kernel may take a moment to forget it.
        for _ in 0..200 {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    sleep(Duration::from_millis(5));
                }
                _ => return,
            }
        }
    }
}

fn prefix(controller: Controller) -> &'static str {
    match controller {
        Controller::Memory => "verbatim-memory-",
        Controller::Pids => "verbatim-pids-",
    }
}

/// Groups of runs that were killed. The kernel refuses to remove one that has a process.
fn remove_stale(parent: &Path, controller: Controller) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(prefix(controller)));
        let Some(owner) = owner.and_then(|owner| owner.parse::<u32>().ok()) else { continue };
        // A killed one may stay a zombie for as long as nobody looks after orphans here.
        if !is_alive(owner) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Where this process is in each hierarchy.
struct Hierarchies {
    /// (mount point, root inside the hierarchy, file system type, options of the super block).
    mounts: Vec<(PathBuf, String, String, String)>,
    /// (controllers, path) of `/proc/self/cgroup`.
    own: Vec<(String, String)>,
}

impl Hierarchies {
    fn read() -> Hierarchies {
        Hierarchies::parse(
            &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            &fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
        )
    }

    fn parse(mountinfo: &str, cgroup: &str) -> Hierarchies {
        let mounts = mountinfo.lines().filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, mount_point) = (left.next()?, left.next()?);
            let mut right = right.split(' ');
            let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
            kind.starts_with("cgroup").then(|| {
                (PathBuf::from(mount_point), root.into(), kind.into(), options.to_string())
            })
        });
        let own = cgroup.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            Some((controllers.to_string(), path.to_string()))
        });
        Hierarchies { mounts: mounts.collect(), own: own.collect() }
    }

    /// Directories in which a group with this controller may be made, best first.
    fn parents(&self, controller: Controller) -> Vec<(PathBuf, Version)> {
        let name = match controller {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        };
        for (mount_point, root, kind, options) in &self.mounts {
            if kind == "cgroup" && options.split(',').any(|option| option == name) {
                let own = self.own.iter().find(|(c, _)| c.split(',').any(|c| c == name));
                return own
                    .map(|(_, path)| (inside(mount_point, root, path), Version::V1))
                    .into_iter()
                    .collect();
            }
        }
        let unified = self.mounts.iter().find(|(_, _, kind, _)| kind == "cgroup2");
        let own = self.own.iter().find(|(controllers, _)| controllers.is_empty());
        let (Some((mount_point, root, _, _)), Some((_, path))) = (unified, own) else {
            return Vec::new();
        };
        let own = inside(mount_point, root, path);
        // A group with processes gives its children no controller, so systemd's way is a sibling.
        let beside = own.parent().filter(|parent| parent.starts_with(mount_point));
        let mut parents = vec![(own.clone(), Version::V2)];
        parents.extend(beside.map(|parent| (parent.to_path_buf(), Version::V2)));
        parents
    }
}

fn inside(mount_point: &Path, root: &str, path: &str) -> PathBuf {
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path));
    mount_point.join(below.strip_prefix("/").unwrap_or(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, cgroup: &str, expect: &[(&str, Version)]) {
        let expect: Vec<_> = expect.iter().map(|(path, v)| (PathBuf::from(path), *v)).collect();
        let hierarchies = Hierarchies::parse(mountinfo, cgroup);
        assert_eq!(hierarchies.parents(Controller::Memory), expect);
    }

    #[test]
    fn version_1_is_found_at_its_own_mount() {
        check(
            "31 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             39 25 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            "4:memory:/jobs/7\n0::/",
            &[("/sys/fs/cgroup/memory/jobs/7", Version::V1)],
        );
    }

    #[test]
    fn version_2_is_tried_below_and_beside_the_own_group() {
        check(
            "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate",
            "0::/system.slice/verbatim.service",
            &[
                ("/sys/fs/cgroup/system.slice/verbatim.service", Version::V2),
                ("/sys/fs/cgroup/system.slice", Version::V2),
            ],
        );
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_not_counted_twice() {
        check(
            "30 23 0:26 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
            "4:memory:/docker/ab/job",
            &[("/sys/fs/cgroup/memory/job", Version::V1)],
        );
    }

    #[test]
    fn a_machine_without_cgroups_has_none() {
        check("", "", &[]);
    }
}
