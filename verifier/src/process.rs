//! The one module that starts processes: this program itself, as `verbatim rebuild` or `verbatim
//! tool`, which enters a container and runs one order.
//!
//! It promises that the child and its container are gone when the returned future ends or is
//! dropped, and never hands the child more than the order: no environment, no open file.

use std::path::{Path, PathBuf};
use std::process::Stdio;

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
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
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
        let status = child.wait().await.with_context(|| format!("wait for verbatim {command}"))?;
        if !status.success() {
            if complaint.is_empty() {
                bail!("verbatim {command} ended with {status} and said nothing");
            }
            bail!("{complaint}");
        }
        serde_json::from_slice(&answer).with_context(|| format!("read verbatim {command}'s answer"))
    }

    fn start(&self, command: &str, work: &Path) -> anyhow::Result<Child> {
        // The container's mount points are made in TMPDIR: beside the work directory, so that a
        // kill -9 leaves nothing outside the scratch directory.
        let temporary = work.parent().unwrap_or(work);
        #[expect(clippy::disallowed_methods, reason = "this is the one module that may")]
        let mut child = Command::new(&self.path);
        child
            .arg(command)
            .env_clear()
            .env("TMPDIR", temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {} {command}", self.path.display()))
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
