//! Runs one command in a container and watches it: everything that both doors share.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hakoniwa::Child;
use nix::sys::resource::Resource;
use rustix::process::{Pid, setpriority_process};
use seccompiler::BpfProgram;

use crate::cgroup::Cgroups;
use crate::container::{Layout, Scratch, container};
use crate::error::While;
use crate::init::{FAILED, Plan, READY, STARTED};
use crate::processes;
use crate::seccomp::{UnixSockets, programs};
use crate::watch::{Ended, Watch};
use crate::{Limits, Network, OperatingError};

/// Where standard input appears inside, if there is one.
pub const INPUT: &str = "/dev/input";

/// The kernel mounts and starts within milliseconds; only a machine in trouble needs longer.
const START_SECONDS_MAX: u64 = 60;
/// How long the kernel may take to end a tree that it was told to kill.
const END_SECONDS_MAX: u64 = 60;
/// The highest of priorities.
const FIRST: i32 = -20;

/// One command and its bounds.
pub struct Run<'a> {
    /// Step or program, for error sentences.
    pub name: &'a str,
    /// What is seen inside.
    pub layout: Layout<'a>,
    /// Mount points and `/tmp`.
    pub scratch: &'a Scratch,
    /// Program and arguments.
    pub command: Vec<String>,
    /// All of its environment.
    pub environment: std::collections::BTreeMap<String, String>,
    /// Whether [`INPUT`] is mounted.
    pub has_input: bool,
    /// Receives standard output; without it, both streams go to the sink, in order.
    pub stdout: Option<File>,
    /// Upper bounds.
    pub limits: &'a Limits,
    /// When the wall time is over.
    pub deadline: Instant,
    /// Directories whose sum is bounded by the disk limit.
    pub measured: Vec<PathBuf>,
}

/// How a run went.
pub struct Finished {
    /// What ended it.
    pub ended: Ended,
    /// How each limit was enforced.
    pub limits_in_force: Vec<String>,
}

/// Runs the command to its end. Whatever it started is gone when this returns.
pub fn run(
    run: Run,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Finished, OperatingError> {
    let mut started = start(&run)?;
    let watched = started.watch(&run, sink);
    let ended = started.end();
    let ended = match (watched, ended) {
        (Ok(watched), Ok(())) => watched,
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    // What the tree wrote before it died is in the pipe, and nobody can add to it any more.
    let drained = io::copy(&mut started.output, &mut SinkWriter(sink));
    match drained {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            return Err(error).while_trying(|| format!("read the output of {}", run.name));
        }
        _ => {}
    }
    Ok(Finished { ended, limits_in_force: started.limits_in_force(run.limits) })
}

struct SinkWriter<'a>(&'a mut dyn FnMut(&[u8]) -> io::Result<()>);

impl Write for SinkWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A container in which the command runs.
struct Started {
    /// hakoniwa's process, which waits for process 1 of the container.
    monitor: Child,
    /// Process 1 of the container, as this machine numbers it.
    init: u32,
    control: UnixStream,
    output: PipeReader,
    cgroups: Cgroups,
}

fn start(run: &Run) -> Result<Started, OperatingError> {
    let container = container(&run.layout, run.scratch)?;
    let plan = Plan {
        command: run.command.clone(),
        environment: run.environment.clone(),
        directory: "/work".to_string(),
        stdin: if run.has_input { INPUT } else { "/dev/null" }.to_string(),
        rlimits: Vec::new(),
        yields: false,
        seccomp: seccomp_programs(run.layout.network)?,
    };
    let cgroups = Cgroups::create(run.limits);
    let plan = Plan {
        rlimits: rlimits(run.limits, &cgroups),
        // Only polling is left to end a fork bomb, and it must get its turn among thousands.
        yields: cgroups.processes.is_none() && !process_rlimit_binds(),
        ..plan
    };

    let pipes = || "make the container's pipes".to_string();
    let (control, far_end) = UnixStream::pair().while_trying(pipes)?;
    let (output, writer) = io::pipe().while_trying(pipes)?;
    let stdout = match &run.stdout {
        Some(file) => OwnedFd::from(file.try_clone().while_trying(pipes)?),
        None => OwnedFd::from(writer.try_clone().while_trying(pipes)?),
    };
    // SAFETY: the closure runs in a child after fork(), where only the forking thread exists. The
    // doors of this crate are called from a process with a single thread, so no other thread can
    // hold a lock of the allocator or the standard library at that moment.
    #[allow(unsafe_code)]
    let mut command = unsafe { container.command_from_closure(move || plan.run()) };
    command.stdin(OwnedFd::from(far_end)).stdout(stdout).stderr(OwnedFd::from(writer));
    let monitor =
        command.spawn().map_err(|error| OperatingError::Container { reason: error.to_string() })?;
    drop(command);

    let mut started = Started { init: 0, monitor, control, output, cgroups };
    match started.open_gate() {
        Ok(()) => Ok(started),
        Err(error) => {
            let _ = started.end();
            Err(error)
        }
    }
}

impl Started {
    /// Takes process 1 from "mounted" to "the command runs".
    fn open_gate(&mut self) -> Result<(), OperatingError> {
        let talking = || "talk to the container".to_string();
        let timeout = Some(Duration::from_secs(START_SECONDS_MAX));
        self.control.set_read_timeout(timeout).while_trying(talking)?;
        if self.read_byte() != Some(READY) {
            return Err(self.start_failure());
        }
        let init = processes::child_of(self.monitor.id()).while_trying(talking)?;
        self.init = init.ok_or_else(|| self.start_failure())?;
        self.cgroups.enter(self.init);
        // If this machine runs out of memory all the same, the container goes first.
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", self.init), "500");
        self.control.write_all(b"g").while_trying(talking)?;
        match self.read_byte() {
            Some(STARTED) => Ok(()),
            Some(FAILED) => {
                let mut reason = String::new();
                let _ = (&self.control).take(4096).read_to_string(&mut reason);
                Err(OperatingError::Container { reason })
            }
            _ => Err(self.start_failure()),
        }
    }

    fn read_byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.control.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    /// What hakoniwa says about a container that did not come up.
    fn start_failure(&mut self) -> OperatingError {
        let _ = self.monitor.kill();
        let status = match self.monitor.wait() {
            Ok(status) => status.reason,
            Err(error) => error.to_string(),
        };
        let mut said = String::new();
        let _ = crate::watch::set_nonblocking(&self.output);
        let _ = (&self.output).take(4096).read_to_string(&mut said);
        let reason = match said.trim().strip_prefix("hakoniwa: ").unwrap_or(said.trim()) {
            "" => status,
            said => said.replace('\n', "; "),
        };
        if reason.contains("unshare(") {
            return OperatingError::UserNamespaces { reason };
        }
        OperatingError::Container { reason }
    }

    fn watch(
        &mut self,
        run: &Run,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Ended, OperatingError> {
        let mut watch = Watch {
            name: run.name,
            limits: run.limits,
            deadline: run.deadline,
            measured: &run.measured,
            stdout: run.stdout.as_ref(),
            init: self.init,
            cgroups: &self.cgroups,
            control: &self.control,
            output: &self.output,
        };
        watch.watch(sink)
    }

    /// Kills the tree and waits until the kernel has ended all of it.
    fn end(&mut self) -> Result<(), OperatingError> {
        let ending = || "end the container".to_string();
        if self.init != 0 {
            // Once killed it ends all the others: among thousands it must get its turn first.
            let _ = setpriority_process(Pid::from_raw(self.init as i32), FIRST);
            processes::end(self.init).while_trying(ending)?;
        } else {
            let _ = self.monitor.kill();
        }
        // The kernel lets process 1 be waited for only after every other process of its namespace
        // is gone; so when hakoniwa's process has ended by itself, the tree has.
        let give_up = Instant::now() + Duration::from_secs(END_SECONDS_MAX);
        let mut pause = Duration::from_micros(200);
        while Instant::now() < give_up {
            let waited = self.monitor.try_wait();
            let monitor_ended = match waited {
                Ok(status) => status.is_some(),
                // Already waited for, or killed before it could tell.
                Err(_) => true,
            };
            if monitor_ended && (self.init == 0 || !processes::is_alive(self.init)) {
                return Ok(());
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        Err(OperatingError::Container {
            reason: format!("process {} does not end although it was killed", self.init),
        })
    }

    fn limits_in_force(&self, limits: &Limits) -> Vec<String> {
        let memory = match &self.cgroups.memory {
            Some(group) => group.description(),
            None => "rlimit and polling",
        };
        let processes = match (&self.cgroups.processes, process_rlimit_binds()) {
            (Some(group), _) => group.description(),
            (None, true) => "rlimit and polling",
            (None, false) => "polling",
        };
        vec![
            format!("wall time: clock, {} s", limits.wall_seconds),
            format!("silence: output and work directory, {} s", limits.silent_seconds),
            format!("memory: {memory}, {} bytes", limits.memory_bytes),
            format!("processes: {processes}, {}", limits.processes),
            format!("file size: rlimit, {} bytes", limits.file_bytes),
            format!("disk: polling, {} bytes", limits.disk_bytes),
            format!("log: head and tail, {} bytes", limits.log_bytes),
        ]
    }
}

fn seccomp_programs(network: Network) -> Result<Vec<BpfProgram>, OperatingError> {
    let unix_sockets = match network {
        Network::None => UnixSockets::Allowed,
        Network::Host => UnixSockets::Denied,
    };
    programs(unix_sockets)
        .map_err(|error| OperatingError::Container { reason: format!("seccomp filter: {error}") })
}

fn rlimits(limits: &Limits, cgroups: &Cgroups) -> Vec<(Resource, u64)> {
    let mut rlimits = vec![(Resource::RLIMIT_CORE, 0), (Resource::RLIMIT_FSIZE, limits.file_bytes)];
    if cgroups.memory.is_none() {
        // Far above: polling must see the limit passed before an allocation is refused, or the
        // failure would look like the program's own.
        let address_bytes = limits.memory_bytes.saturating_mul(2).saturating_add(1 << 30);
        rlimits.push((Resource::RLIMIT_AS, address_bytes));
    }
    if cgroups.processes.is_none() && process_rlimit_binds() {
        // hakoniwa's process and process 1 count too, and one more lets polling see the excess.
        rlimits.push((Resource::RLIMIT_NPROC, limits.processes.saturating_add(3)));
    }
    rlimits
}

/// RLIMIT_NPROC never binds the host's root, and before Linux 5.14 it counted all processes of the
/// user on the whole machine.
fn process_rlimit_binds() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 14) && !nix::unistd::geteuid().is_root()
}

/// When a run that begins now has used its wall time.
pub fn deadline(limits: &Limits) -> Instant {
    // Far enough to be never, and no overflow of the clock.
    const SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;
    Instant::now() + Duration::from_secs(limits.wall_seconds.min(SECONDS_MAX))
}

/// The paths that a container writes to, beside the work directory.
pub fn measured(work: &Path, scratch: &Scratch) -> Vec<PathBuf> {
    vec![work.to_path_buf(), scratch.temporary()]
}
