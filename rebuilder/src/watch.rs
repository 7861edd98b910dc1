//! Watches a running container: reads its output, and ends the wait when a limit is reached.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::statvfs::statvfs;

use crate::cgroup::Cgroups;
use crate::disk::{Usage, usage};
use crate::error::While;
use crate::init::Report;
use crate::processes::{machine_out_of_memory_kills, usage_below};
use crate::{Limits, OperatingError};

const TICK: Duration = Duration::from_millis(25);
/// Looking must not cost more than a twentieth of the time.
const PAUSE_PER_COST: u32 = 20;
/// Beyond this, looking may cost more: processes would multiply unseen.
const TREE_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Beyond this, looking may cost more: the disk would fill unseen.
const DISK_PAUSE_MAX: Duration = Duration::from_secs(5);
const SIGXFSZ: i32 = nix::libc::SIGXFSZ;
const SIGKILL: i32 = nix::libc::SIGKILL;

/// What ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited.
    Exited(i32),
    /// A signal that it or a program in the container sent.
    Signalled(i32),
    /// It was stopped, or is judged, because of this limit.
    Reached(Reached),
}

/// The limits that a run can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// `wall_seconds`.
    WallTime,
    /// `silent_seconds`.
    Silent,
    /// `memory_bytes`.
    Memory,
    /// `processes`.
    Processes,
    /// `file_bytes`.
    FileSize,
    /// `disk_bytes`.
    Disk,
}

/// A running container and its bounds.
pub struct Watch<'a> {
    /// Step or program, for error sentences.
    pub name: &'a str,
    /// Upper bounds.
    pub limits: &'a Limits,
    /// When the wall time is over.
    pub deadline: Instant,
    /// Directories whose sum is bounded.
    pub measured: &'a [PathBuf],
    /// Standard output, if it is a file.
    pub stdout: Option<&'a File>,
    /// Process 1 of the container.
    pub init: u32,
    /// Its cgroups.
    pub cgroups: &'a Cgroups,
    /// Where process 1 reports.
    pub control: &'a UnixStream,
    /// What the command writes.
    pub output: &'a PipeReader,
}

impl Watch<'_> {
    /// Until the command ends or a limit is reached; the container still stands then.
    pub fn watch(
        &mut self,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Ended, OperatingError> {
        let watching = || format!("watch {}", self.name);
        set_nonblocking(self.output).while_trying(watching)?;
        let kills_before = machine_out_of_memory_kills();
        let mut disk = DiskWatch::new(self);
        let mut tree = TreeWatch { next: Instant::now() };
        let report = loop {
            if self.wait_for_output(disk.pause()).while_trying(watching)? {
                let count = self.read_output(sink).while_trying(watching)?;
                disk.saw_output(count);
            }
            if let Some(report) = self.read_report().while_trying(watching)? {
                break report;
            }
            let reached = match self.over_time(&disk) {
                Some(reached) => Some(reached),
                None => tree.look(self).while_trying(watching)?,
            };
            if let Some(reached) = reached {
                return Ok(Ended::Reached(reached));
            }
            if let Some(reached) = disk.look(self).while_trying(watching)? {
                return Ok(Ended::Reached(reached));
            }
        };
        self.judge(report, &mut disk, kills_before)
    }

    /// True if the output can be read; false after a report or the pause. An error once nobody
    /// reads our standard error any more: whoever ordered this has dropped it.
    fn wait_for_output(&self, pause: Duration) -> io::Result<bool> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let milliseconds = TICK.min(left).min(pause).as_millis() as u16;
        let stderr = io::stderr();
        let mut waiting = [
            PollFd::new(self.output.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
            // Hang-ups are always reported.
            PollFd::new(stderr.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut waiting, milliseconds.max(1)) {
            Ok(_) if waiting[2].any().unwrap_or(false) => Err(io::ErrorKind::BrokenPipe.into()),
            Ok(_) => Ok(waiting[0].any().unwrap_or(false)),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read_output(&self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<usize> {
        let mut buffer = [0; 64 << 10];
        let mut output = self.output;
        match output.read(&mut buffer) {
            Ok(count) => {
                sink(&buffer[..count])?;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The outer `Some`: process 1 has spoken, or is gone without a word.
    fn read_report(&self) -> io::Result<Option<Option<Report>>> {
        self.control.set_nonblocking(true)?;
        let mut buffer = [0; 16];
        let mut control = self.control;
        match control.read(&mut buffer) {
            Ok(count) => Ok(Some(Report::decode(&buffer[..count]))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Some(None)),
            Err(error) => Err(error),
        }
    }

    fn over_time(&self, disk: &DiskWatch) -> Option<Reached> {
        if Instant::now() >= self.deadline {
            return Some(Reached::WallTime);
        }
        let silent = disk.last_sign.elapsed() >= Duration::from_secs(self.limits.silent_seconds);
        // A sign on the disk counts, so the disk was looked at since.
        (silent && disk.last_look > disk.last_sign).then_some(Reached::Silent)
    }

    /// From how process 1 says that the command ended to what that means.
    fn judge(
        &self,
        report: Option<Report>,
        disk: &mut DiskWatch,
        kills_before: u64,
    ) -> Result<Ended, OperatingError> {
        if self.cgroups.memory.as_ref().is_some_and(|group| group.was_reached()) {
            return Ok(Ended::Reached(Reached::Memory));
        }
        if self.cgroups.processes.as_ref().is_some_and(|group| group.was_reached()) {
            return Ok(Ended::Reached(Reached::Processes));
        }
        disk.next = Instant::now();
        let reached = disk.look(self).while_trying(|| format!("watch {}", self.name))?;
        if report != Some(Report::Exited(0)) && disk.host_was_full {
            return Err(OperatingError::DiskFull { path: self.measured[0].clone() });
        }
        if let Some(reached) = reached {
            return Ok(Ended::Reached(reached));
        }
        let killed = || Err(OperatingError::Killed { command: self.name.to_string() });
        // A shell turns a signal of its child into 128 + n.
        match report {
            None => killed(),
            Some(Report::Signalled(SIGXFSZ)) => Ok(Ended::Reached(Reached::FileSize)),
            Some(Report::Exited(code)) if code == 128 + SIGXFSZ => {
                Ok(Ended::Reached(Reached::FileSize))
            }
            _ if disk.largest_file_bytes >= self.limits.file_bytes => {
                Ok(Ended::Reached(Reached::FileSize))
            }
            // Nothing of ours sent it. A wrong "does not build" would be published; a step that
            // kills itself is only tried again.
            Some(Report::Signalled(SIGKILL)) => killed(),
            Some(Report::Exited(code)) if code == 128 + SIGKILL => killed(),
            Some(Report::Exited(0)) => Ok(Ended::Exited(0)),
            _ if machine_out_of_memory_kills() != kills_before => killed(),
            Some(Report::Exited(code)) => Ok(Ended::Exited(code)),
            Some(Report::Signalled(signal)) => Ok(Ended::Signalled(signal)),
        }
    }
}

/// Looks at the process tree where no cgroup does, and at the cgroups' event counts.
struct TreeWatch {
    next: Instant,
}

impl TreeWatch {
    fn look(&mut self, watch: &Watch) -> io::Result<Option<Reached>> {
        let begun = Instant::now();
        if begun < self.next {
            return Ok(None);
        }
        let reached = self.compare(watch)?;
        let now = Instant::now();
        self.next = now + ((now - begun) * PAUSE_PER_COST).clamp(TICK, TREE_PAUSE_MAX);
        Ok(reached)
    }

    fn compare(&self, watch: &Watch) -> io::Result<Option<Reached>> {
        let Cgroups { memory, processes } = watch.cgroups;
        if memory.as_ref().is_some_and(|group| group.was_reached()) {
            return Ok(Some(Reached::Memory));
        }
        if processes.as_ref().is_some_and(|group| group.was_reached()) {
            return Ok(Some(Reached::Processes));
        }
        if memory.is_some() && processes.is_some() {
            return Ok(None);
        }
        // Where a cgroup counts processes, all are looked at for their memory.
        let most = if processes.is_none() { watch.limits.processes } else { u64::MAX };
        let usage = usage_below(watch.init, most)?;
        // First, because a fork bomb soon takes all memory as well.
        if processes.is_none() && usage.threads > watch.limits.processes {
            return Ok(Some(Reached::Processes));
        }
        if memory.is_none() && usage.memory_bytes > watch.limits.memory_bytes {
            return Ok(Some(Reached::Memory));
        }
        Ok(None)
    }
}

/// Measures the writable directories now and then.
///
/// BUG: a file that was deleted while open is not seen; each is bounded by `file_bytes`, and a
/// full disk of the host is noticed and is nobody's build failure.
struct DiskWatch {
    next: Instant,
    last_look: Instant,
    last_sign: Instant,
    last_seen: Vec<Usage>,
    stdout_bytes: u64,
    largest_file_bytes: u64,
    host_was_full: bool,
}

impl DiskWatch {
    fn new(watch: &Watch) -> DiskWatch {
        let now = Instant::now();
        DiskWatch {
            next: now + TICK,
            last_look: now,
            last_sign: now,
            last_seen: vec![Usage::default(); watch.measured.len()],
            stdout_bytes: 0,
            largest_file_bytes: 0,
            host_was_full: false,
        }
    }

    fn pause(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    fn saw_output(&mut self, count: usize) {
        if count > 0 {
            self.last_sign = Instant::now();
        }
    }

    fn look(&mut self, watch: &Watch) -> io::Result<Option<Reached>> {
        let begun = Instant::now();
        if begun < self.next {
            return Ok(None);
        }
        let mut seen = Vec::new();
        for directory in watch.measured {
            self.host_was_full |= is_full(directory)?;
            match usage(directory)? {
                Some(usage) => seen.push(usage),
                None => return Ok(Some(Reached::Disk)),
            }
        }
        let stdout_bytes = watch.stdout.map_or(Ok(0), |file| file.metadata().map(|m| m.size()))?;
        if seen != self.last_seen || stdout_bytes != self.stdout_bytes {
            self.last_sign = begun;
        }
        for usage in &seen {
            self.largest_file_bytes = self.largest_file_bytes.max(usage.largest_file_bytes);
        }
        self.largest_file_bytes = self.largest_file_bytes.max(stdout_bytes);
        let bytes: u64 = seen.iter().map(|usage| usage.bytes).sum();
        (self.last_seen, self.stdout_bytes) = (seen, stdout_bytes);
        let now = Instant::now();
        self.last_look = now;
        let pause = (now - begun) * PAUSE_PER_COST;
        self.next = now + pause.clamp(TICK * 4, DISK_PAUSE_MAX);
        Ok((bytes > watch.limits.disk_bytes).then_some(Reached::Disk))
    }
}

/// Less than a hundredth, or 16 MiB of a large disk, is left.
fn is_full(directory: &std::path::Path) -> io::Result<bool> {
    const LEFT_BYTES_MIN: u64 = 16 << 20;
    let disk = statvfs(directory)?;
    let left = disk.blocks_available() as u64 * disk.fragment_size() as u64;
    let all = disk.blocks() as u64 * disk.fragment_size() as u64;
    let no_files_left = disk.files() > 0 && disk.files_available() == 0;
    Ok(left < LEFT_BYTES_MIN.min(all / 100) || no_files_left)
}

/// Makes reads of `file` return at once.
pub fn set_nonblocking(file: impl AsFd) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}
