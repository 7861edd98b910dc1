//! The first process inside the container: gives up everything, starts the command, reaps
//! orphans, and tells how the command ended.
//!
//! The command is not process 1 itself, because the kernel ignores signals without a handler that
//! process 1 gets from inside: a step that runs `kill -9 $$`, or a program that relies on SIGPIPE
//! or SIGALRM, would behave otherwise than on any other machine.
//!
//! Everything goes over one socket, which arrives as standard input. The host reads [`READY`]
//! when the container is up, may then put this process into a cgroup, and writes one byte. If the
//! host process dies instead, the socket closes and this process ends: the parent-death signal
//! alone leaves a gap before it is set. What follows is [`STARTED`] and a [`Report`], or
//! [`FAILED`] and a sentence.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use caps::CapSet;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{dup2_stdin, setsid};
use seccompiler::BpfProgram;

/// The container is mounted and waits for the host's byte.
pub const READY: u8 = b'R';
/// The command runs.
pub const STARTED: u8 = b'S';
/// The command could not be started; a sentence follows.
pub const FAILED: u8 = b'F';

/// The lowest of priorities.
const NICENESS: i32 = 19;

/// What process 1 is to do. It is made before the fork, so that nothing is looked up inside.
pub struct Plan {
    /// Program, found by `PATH` of `environment`, and its arguments.
    pub command: Vec<String>,
    /// All of the command's environment.
    pub environment: BTreeMap<String, String>,
    /// Working directory.
    pub directory: String,
    /// Path inside the container of the command's standard input.
    pub stdin: String,
    /// Upper bounds for soft and hard limit; never raised.
    pub rlimits: Vec<(Resource, u64)>,
    /// Whether every process of this machine goes before the command's.
    pub yields: bool,
    /// Installed last.
    pub seccomp: Vec<BpfProgram>,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Report {
    const LENGTH: usize = 5;

    fn encode(self) -> [u8; Report::LENGTH] {
        let (kind, value) = match self {
            Report::Exited(code) => (b'X', code),
            Report::Signalled(signal) => (b'K', signal),
        };
        let [a, b, c, d] = value.to_le_bytes();
        [kind, a, b, c, d]
    }

    /// What [`Plan::run`] wrote; `None` if that is not a report.
    pub fn decode(bytes: &[u8]) -> Option<Report> {
        let [kind, a, b, c, d] = *bytes else { return None };
        let value = i32::from_le_bytes([a, b, c, d]);
        match kind {
            b'X' => Some(Report::Exited(value)),
            b'K' => Some(Report::Signalled(value)),
            _ => None,
        }
    }
}

impl Plan {
    /// The whole life of process 1; its exit status says nothing.
    pub fn run(&self) -> i32 {
        match self.serve() {
            Ok(()) => 0,
            // The socket broke: the host is gone, and nobody is left to tell.
            Err(_) => 1,
        }
    }

    fn serve(&self) -> io::Result<()> {
        // Close-on-exec, so the command never holds it.
        let mut host = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        host.write_all(&[READY])?;
        let mut go = [0];
        host.read_exact(&mut go)?;

        let command = match self.prepare() {
            Ok(mut command) => command.spawn().map_err(|error| {
                let [program, ..] = &self.command[..] else { return "nothing to run".to_string() };
                format!("cannot run {program}: {error}")
            }),
            Err(sentence) => Err(sentence),
        };
        let command = match command {
            Ok(command) => command.id(),
            Err(sentence) => {
                host.write_all(&[FAILED])?;
                return host.write_all(sentence.as_bytes());
            }
        };
        host.write_all(&[STARTED])?;

        let report = loop {
            match wait()? {
                WaitStatus::Exited(pid, code) if pid.as_raw() as u32 == command => {
                    break Report::Exited(code);
                }
                WaitStatus::Signaled(pid, signal, _) if pid.as_raw() as u32 == command => {
                    break Report::Signalled(signal as i32);
                }
                _ => {} // an orphan
            }
        };
        host.write_all(&report.encode())
        // Process 1 returns, and the kernel kills whatever still runs in its namespace.
    }

    /// Everything given up here is inherited by the command.
    fn prepare(&self) -> Result<Command, String> {
        let failed = |action: &str, error: &dyn std::fmt::Display| format!("{action}: {error}");
        let stdin = File::open(&self.stdin).map_err(|e| failed(&self.stdin, &e))?;
        dup2_stdin(&stdin).map_err(|e| failed("dup2", &e))?;
        drop(stdin);
        setsid().map_err(|e| failed("setsid", &e))?;
        umask(Mode::from_bits_truncate(0o022));
        // A step must not read or steer this process through /proc/1.
        prctl::set_dumpable(false).map_err(|e| failed("set_dumpable", &e))?;
        for (resource, limit) in &self.rlimits {
            lower(*resource, *limit).map_err(|e| failed("setrlimit", &e))?;
        }
        if self.yields {
            rustix::process::nice(NICENESS).map_err(|e| failed("nice", &e))?;
        }
        // The bounding and ambient sets first: dropping from them needs capabilities.
        let sets = [
            CapSet::Bounding,
            CapSet::Ambient,
            CapSet::Inheritable,
            CapSet::Effective,
            CapSet::Permitted,
        ];
        for set in sets {
            clear_capabilities(set).map_err(|e| failed("drop capabilities", &e))?;
        }
        for program in &self.seccomp {
            seccompiler::apply_filter(program).map_err(|e| failed("seccomp", &e))?;
        }

        let [program, arguments @ ..] = &self.command[..] else {
            return Err("nothing to run".to_string());
        };
        #[expect(clippy::disallowed_methods, reason = "this is the container's one process")]
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.environment).current_dir(&self.directory);
        Ok(command)
    }
}

fn clear_capabilities(set: CapSet) -> Result<(), caps::errors::CapsError> {
    if !matches!(set, CapSet::Bounding) {
        return caps::clear(None, set);
    }
    // Only those that this kernel knows: an older one refuses to drop the others.
    for capability in caps::runtime::thread_all_supported() {
        caps::drop(None, set, capability)?;
    }
    Ok(())
}

/// Raising a hard limit needs CAP_SYS_RESOURCE in the first user namespace, so only lower.
fn lower(resource: Resource, limit: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let limit = limit.min(hard);
    setrlimit(resource, limit, limit)
}
