//! Lays out the container: which directories of this machine appear where, read-only or not.
//!
//! Nothing that a command can replace is ever mounted by path. The work directory, the source and
//! the environment's tree are mounted at their roots, and `/tmp` has a directory of its own beside
//! the work directory: were it `/work/tmp`, a step could put a link to the host's root in its
//! place, and the next step's container would mount that.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Component, Path, PathBuf};

use hakoniwa::{Container, MountOptions, Namespace};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::disk::remove_tree;
use crate::error::While;
use crate::{Network, OperatingError};

/// User and group id inside, for every host user. Not 0: GNU tar as root restores owners, which
/// fails for ids that are not mapped, and programs behave differently for root and for others;
/// this way both kinds of host user see the same.
const USER: u32 = 1000;

/// Names in the root that come from here and never from the environment's tree.
const OWN_DIRECTORIES: [&str; 6] = ["dev", "proc", "sys", "tmp", "work", "source"];

/// What a container shows.
pub struct Layout<'a> {
    /// Tree that becomes the read-only root.
    pub root: &'a Path,
    /// Writable at `/work`.
    pub work: &'a Path,
    /// Further files and directories, read-only: (host path, path inside).
    pub mounts: Vec<(PathBuf, String)>,
    /// Which network is seen.
    pub network: Network,
}

/// Directory beside the work directory in which mount points are made; removed on drop. After a
/// kill -9 it stays, inside the directory that the caller made for the work directory.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes `<work>.container`, in place of what a killed run left there.
    pub fn beside(work: &Path) -> Result<Scratch, OperatingError> {
        let mut name = work
            .file_name()
            .ok_or_else(|| OperatingError::InvalidOrder(format!("{work:?} has no name")))?
            .to_os_string();
        name.push(".container");
        let scratch = Scratch { path: work.with_file_name(name) };
        scratch.fill().while_trying(|| format!("prepare {}", scratch.path.display()))?;
        Ok(scratch)
    }

    /// The directory at `/tmp`; kept from step to step.
    pub fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    fn fill(&self) -> io::Result<()> {
        if self.path.symlink_metadata().is_ok() {
            remove_tree(&self.path)?;
        }
        let mut private = fs::DirBuilder::new();
        private.mode(0o700).create(&self.path)?;
        for name in ["root", "dev", "tmp"] {
            fs::DirBuilder::new().mode(0o755).create(self.path.join(name))?;
        }
        let dev = self.path.join("dev");
        for device in DEVICES {
            fs::File::create(dev.join(device))?;
        }
        fs::File::create(dev.join("input"))?;
        symlink("/proc/self/fd", dev.join("fd"))?;
        for (number, name) in ["stdin", "stdout", "stderr"].iter().enumerate() {
            symlink(format!("/proc/self/fd/{number}"), dev.join(name))?;
        }
        // POSIX semaphores and shared memory, counted by the disk limit.
        symlink("/tmp", dev.join("shm"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be told here; the caller removes the directory around it anyway.
        let _ = remove_tree(&self.path);
    }
}

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// The container for one command.
pub fn container(layout: &Layout, scratch: &Scratch) -> Result<Container, OperatingError> {
    let mut container = Container::new();
    container
        .rootdir(scratch.path.join("root"))
        .hostname("verbatim")
        .uidmap(USER)
        .gidmap(USER)
        .unshare(Namespace::Uts)
        .unshare(Namespace::Ipc)
        .unshare(Namespace::Cgroup);
    match layout.network {
        Network::None => {
            container.unshare(Namespace::Network);
        }
        Network::Host => {}
    }
    // The whole of /proc is read-only: the host's root is this user's host id when root runs us,
    // and /proc/sys and /proc/sysrq-trigger ask for nothing but that id.
    let proc_options = MountOptions::NOSUID | MountOptions::NODEV | MountOptions::NOEXEC;
    container.mount("proc", "/proc", "proc", proc_options | MountOptions::RDONLY, None);

    mount_root(&mut container, layout, scratch)?;
    bind(&mut container, &scratch.path.join("dev"), "/dev", Access::Read)?;
    for device in DEVICES {
        let path = format!("/dev/{device}");
        // Read-only, or the owner's right would let a root-run step chmod the host's node.
        bind(&mut container, Path::new(&path), &path, Access::Device)?;
    }
    bind(&mut container, &scratch.temporary(), "/tmp", Access::Write)?;
    bind(&mut container, layout.work, "/work", Access::Write)?;
    for (host, inside) in &layout.mounts {
        check_target(layout.root, inside)?;
        bind(&mut container, host, inside, Access::Read)?;
    }
    Ok(container)
}

/// Each directory of the tree by itself. Not `Container::rootfs`: that binds recursively, and what
/// is mounted below a directory would stay writable.
fn mount_root(
    container: &mut Container,
    layout: &Layout,
    scratch: &Scratch,
) -> Result<(), OperatingError> {
    let reading = || format!("read {}", layout.root.display());
    for entry in fs::read_dir(layout.root).while_trying(reading)? {
        let entry = entry.while_trying(reading)?;
        let name = entry.file_name().into_string().map_err(|name| {
            OperatingError::InvalidOrder(format!("{name:?} in {} is not UTF-8", reading()))
        })?;
        if OWN_DIRECTORIES.contains(&name.as_str()) {
            continue;
        }
        let inside = format!("/{name}");
        let kind = entry.file_type().while_trying(reading)?;
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).while_trying(reading)?;
            container.symlink(&target.to_string_lossy(), &inside);
        } else if kind.is_dir() && name == "etc" && layout.network == Network::Host {
            let etc = etc_with_network(&entry.path(), scratch)
                .while_trying(|| format!("copy {}", entry.path().display()))?;
            bind(container, &etc, &inside, Access::Read)?;
        } else if kind.is_dir() {
            bind(container, &entry.path(), &inside, Access::Read)?;
        }
    }
    Ok(())
}

/// A copy of the tree's `/etc` with this machine's name resolution. Mounting single files over a
/// read-only directory would create their mount points in the tree itself.
fn etc_with_network(etc: &Path, scratch: &Scratch) -> io::Result<PathBuf> {
    let copy = scratch.path.join("etc");
    if !copy.exists() {
        copy_directory(etc, &copy)?;
        for name in ["resolv.conf", "hosts", "nsswitch.conf"] {
            let file = copy.join(name);
            // The tree's own may be a link that leads nowhere.
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            match fs::read(Path::new("/etc").join(name)) {
                Ok(content) => fs::write(&file, content)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(copy)
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Device,
}

/// Binds one directory or file, not what is mounted below it. All flags are computed here:
/// hakoniwa's `MountFallback` answers a refused remount by one without the read-only flag.
fn bind(
    container: &mut Container,
    host: &Path,
    inside: &str,
    access: Access,
) -> Result<(), OperatingError> {
    let trying = || format!("mount {} at {inside}", host.display());
    let host = fs::canonicalize(host).while_trying(trying)?;
    let Some(source) = host.to_str() else {
        return Err(OperatingError::InvalidOrder(format!("{host:?} is not UTF-8")));
    };
    let mut options = MountOptions::BIND | MountOptions::NOSUID;
    options |= match access {
        Access::Read => MountOptions::RDONLY | MountOptions::NODEV,
        Access::Write => MountOptions::NODEV,
        Access::Device => MountOptions::RDONLY | MountOptions::NOEXEC,
    };
    // A user namespace may not clear what the host's mount has set.
    let host_flags = statvfs(&host).while_trying(trying)?.flags();
    for (flag, option) in [
        (FsFlags::ST_NODEV, MountOptions::NODEV),
        (FsFlags::ST_NOEXEC, MountOptions::NOEXEC),
        (FsFlags::ST_RDONLY, MountOptions::RDONLY),
    ] {
        if host_flags.contains(flag) {
            options |= option;
        }
    }
    container.mount(source, inside, "", options, None);
    Ok(())
}

/// A mount point inside one of the tree's directories would be created in the tree if it is not
/// there, and change its digest.
fn check_target(root: &Path, inside: &str) -> Result<(), OperatingError> {
    let refuse = |why: &str| Err(OperatingError::InvalidOrder(format!("mount at {inside}: {why}")));
    let mut components = Path::new(inside).components();
    if components.next() != Some(Component::RootDir) {
        return refuse("the path must be absolute");
    }
    let Some(Component::Normal(first)) = components.next() else {
        return refuse("the path must name a directory below the root");
    };
    if components.any(|component| !matches!(component, Component::Normal(_))) {
        return refuse("the path must not contain . or ..");
    }
    if first == "work" || (first != "source" && OWN_DIRECTORIES.iter().any(|own| first == *own)) {
        // /dev/input is the one exception, made by `Scratch`.
        if inside != crate::run::INPUT {
            return refuse("this directory belongs to the container");
        }
        return Ok(());
    }
    if root.join(first).symlink_metadata().is_ok() && first != "source" {
        return refuse("the environment has a directory of that name");
    }
    Ok(())
}

/// The variables that every command sees, and then the definition's own.
///
/// Nothing comes from the host: `TAR_OPTIONS`, `XZ_OPT`, `GZIP`, `POSIXLY_CORRECT` and a
/// `~/.gitconfig` each change the bytes of an archive.
pub fn environment(home: &str, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fixed = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", home),
        ("TMPDIR", "/tmp"),
        // Times and sort order in archives.
        ("TZ", "UTC"),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        // Not even the environment's own /etc/gitconfig.
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        // git refuses repositories of other owners; /source may be one.
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
        ("GIT_TERMINAL_PROMPT", "0"),
    ];
    let mut environment: BTreeMap<String, String> =
        fixed.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    environment.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    environment
}
