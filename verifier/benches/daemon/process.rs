//! A running `verbatim serve`: where it listens, what it takes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use verifier::config::Config;
use verifier::line::Line;
use verifier::process::Program;
use verifier::progress::Progress;

const PROGRAM: &str = env!("CARGO_BIN_EXE_verbatim");

/// The daemon; it is ended when this is dropped.
pub struct Daemon {
    child: Child,
    /// Where its server is.
    pub address: SocketAddr,
    /// From its start until it listened.
    pub start: Duration,
}

/// Resident memory, in kB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// With every page that is mapped.
    pub rss: u64,
    /// Pages that are shared counted in part.
    pub pss: u64,
    /// Not backed by a file: heap and stacks.
    pub anonymous: u64,
}

impl Daemon {
    /// Starts it with this configuration and waits until it listens.
    pub fn start(config: &Path, state: &Path) -> anyhow::Result<Daemon> {
        let begun = Instant::now();
        let log = fs::File::create(state.with_extension("log"))?;
        let mut child = Command::new(PROGRAM)
            .arg("--config")
            .arg(config)
            .arg("--state")
            .arg(state)
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("its output is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let said = fs::read_to_string(state.with_extension("log"))?;
            let _ = child.kill();
            bail!("the daemon did not start: {said}");
        };
        Ok(Daemon { child, address: address.parse()?, start: begun.elapsed() })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it takes now.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
            kilobytes.with_context(|| format!("no {name} of the process"))
        };
        let anonymous = field("Anonymous:")?;
        Ok(Memory { rss: field("Rss:")?, pss: field("Pss:")?, anonymous })
    }

    /// Ends it as a service manager does.
    pub fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the daemon ended with {status}");
        }
        Ok(())
    }
}

/// The environment is there before anything is measured.
pub async fn assemble(config: &Path, state: &Path) -> anyhow::Result<()> {
    let config = Config::load(Some(config), Some(state))?;
    let mut line = Line::open(config, Progress::to_stderr()).await?;
    line.program = Program::at(Path::new(PROGRAM));
    line.environment("debian-13").await?;
    line.store.close().await;
    Ok(())
}

/// CPU time that a process has used, with all its threads.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name, which may have spaces in it: state is the first field, utime the twelfth.
    let (_, fields) = text.rsplit_once(") ").context("read /proc/PID/stat")?;
    let fields = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    // Linux counts in hundredths of a second there, whatever its own clock is.
    Ok(Duration::from_millis(fields.sum::<u64>() * 10))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let megabytes = |kilobytes: u64| kilobytes as f64 / 1024.0;
        let [rss, pss, anonymous] = [self.rss, self.pss, self.anonymous].map(megabytes);
        write!(f, "RSS {rss:.1} MB, PSS {pss:.1} MB, of it heap and stacks {anonymous:.1} MB")
    }
}
