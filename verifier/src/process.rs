//! The one module that starts processes: this program itself, as `verbatim rebuild` or `verbatim
//! tool`, which enters a container and runs one order.
//!
//! It promises that the child and its container are gone when the returned future has ended or was
//! dropped, and never hands the child more than the order: no environment, no open file.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rebuilder::{Event, Rebuild, RebuildOrder, ToolOrder, ToolRun};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// The largest answer of a child: a trace of 200,000 files fits.
const ANSWER_BYTES_MAX: u64 = 128 << 20;
/// The most that is read of a child's standard error.
const EVENTS_BYTES_MAX: u64 = 16 << 20;
/// A child that nobody listens to any more ends its container and exits; this is many times longer
/// than it needs.
const ENDING_MAX: Duration = Duration::from_secs(3);
/// The kernel ends a killed process within milliseconds.
const KILLED_MAX: Duration = Duration::from_secs(1);

/// The `verbatim` program that is started for orders.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// The program that is running now.
    pub fn this() -> Program {
        // Not the name it was started by: that file may have been replaced by an upgrade since.
        Program { path: PathBuf::from("/proc/self/exe") }
    }

    /// The program at `path`.
    pub fn at(path: &Path) -> Program {
        Program { path: path.to_owned() }
    }

    /// Runs a definition in its container; `report` hears of every step.
    pub async fn rebuild(
        &self,
        order: &RebuildOrder,
        report: &mut (dyn FnMut(Event) + Send),
    ) -> anyhow::Result<Rebuild> {
        self.order("rebuild", order, &order.work, report).await
    }

    /// Runs one of our own commands in an environment's tree.
    pub async fn tool(&self, order: &ToolOrder) -> anyhow::Result<ToolRun> {
        self.order("tool", order, &order.work, &mut |_| {}).await
    }

    async fn order<O: Serialize, A: DeserializeOwned>(
        &self,
        command: &str,
        order: &O,
        work: &Path,
        report: &mut (dyn FnMut(Event) + Send),
    ) -> anyhow::Result<A> {
        let order = serde_json::to_vec(order).context("write an order")?;
        let mut child = self.start(command, work)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take())
        else {
            bail!("start verbatim {command}: its pipes are missing");
        };
        let talk = async {
            stdin.write_all(&order).await.context("hand over the order")?;
            drop(stdin);
            let (answer, complaint) = tokio::join!(read_answer(stdout), listen(stderr, report));
            anyhow::Ok((answer?, complaint))
        };
        let (answer, complaint) = talk.await?;
        let status =
            child.0.wait().await.with_context(|| format!("wait for verbatim {command}"))?;
        if !status.success() {
            if complaint.is_empty() {
                bail!("verbatim {command} ended with {status} and said nothing");
            }
            bail!("{complaint}");
        }
        serde_json::from_slice(&answer).with_context(|| format!("read verbatim {command}'s answer"))
    }

    fn start(&self, command: &str, work: &Path) -> anyhow::Result<Attended> {
        // The container's mount points are made in TMPDIR: beside the work directory, so that a
        // kill -9 leaves nothing outside the scratch directory.
        let temporary = work.parent().unwrap_or(work);
        #[expect(clippy::disallowed_methods, reason = "this is the one module that may")]
        let mut child = Command::new(&self.path);
        let child = child
            .arg(command)
            .env_clear()
            .env("TMPDIR", temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {} {command}", self.path.display()))?;
        Ok(Attended(child))
    }
}

/// A child that has ended, and its container with it, when this is dropped.
struct Attended(Child);

impl Attended {
    /// Whether it has ended by `give_up`.
    fn ended_by(&mut self, give_up: Instant) -> bool {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.0.try_wait() {
                Ok(None) if Instant::now() < give_up => {}
                Ok(status) => return status.is_some(),
                // It was waited for already.
                Err(_) => return true,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Drop for Attended {
    /// Waits, although it may hold up a thread of the runtime: the directories that the container
    /// writes to are removed next.
    fn drop(&mut self) {
        // Our ends of its pipes are closed by now, which tells it to end.
        if self.ended_by(Instant::now() + ENDING_MAX) {
            return;
        }
        // The parent-death signals take the container with it, soon but not at once.
        let killed = self.0.start_kill();
        if killed.is_err() || !self.ended_by(Instant::now() + KILLED_MAX) {
            tracing::warn!("a process that was started for an order does not end");
        }
    }
}

async fn read_answer(stdout: impl AsyncRead + Unpin) -> anyhow::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut bounded = stdout.take(ANSWER_BYTES_MAX + 1);
    bounded.read_to_end(&mut answer).await.context("read the answer")?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        bail!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
    }
    Ok(answer)
}

/// Passes events on; what is not an event is a complaint, returned in one line.
async fn listen(stderr: impl AsyncRead + Unpin, report: &mut (dyn FnMut(Event) + Send)) -> String {
    let mut lines = BufReader::new(stderr.take(EVENTS_BYTES_MAX)).lines();
    let mut complaints = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(event) => report(event),
            Err(_) => complaints.push(line),
        }
    }
    complaints.join(" ").trim().to_owned()
}
