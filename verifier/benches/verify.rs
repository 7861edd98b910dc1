//! `cargo bench --bench verify`: the whole `verify` of the genuine 3.13.5 with a warm environment,
//! in pairs with the longest step that cannot be avoided, `xz -6 -T1` of its tar alone; peak memory
//! of our own processes; the environment from the network and from a warm cache; a container's
//! start.
//!
//! Needs the package archive. Prints a table; ratios of a pair, because machines are noisy.

#![allow(clippy::disallowed_methods, reason = "a benchmark times whole programs")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rebuilder::{Limits, Network, ToolOrder};
use verifier::config::{Ask, Config};
use verifier::environment::Environment;
use verifier::line::Line;
use verifier::process::Program;
use verifier::progress::Progress;
use verifier::version::Version;
use verifier::world::genuine::{self, Genuine};
use verifier::world::{Announcement, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_verbatim");
const PAIRS: usize = 3;
const STARTS: usize = 30;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(bench())
}

async fn bench() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let mut config = Config::load(None, Some(&state))?;
    let world = World::start().await?;
    config.feed = world.feed()?;
    config.source.repository = world.repository();
    config.witnesses.ask = Ask::None;
    let mut line = Line::open(config, Progress::to_stderr()).await?;
    line.program = Program::at(Path::new(PROGRAM));

    let from_network = environment(&line).await?;
    println!("environment from the network      {from_network:>8.2?}   (aim: under 30 s)");
    for _ in 0..PAIRS {
        fs::remove_dir_all(state.join("environments"))?;
        let from_cache = environment(&line).await?;
        println!("environment from a warm cache     {from_cache:>8.2?}   (aim: under 2 s)");
    }
    let tree = line.environment("debian-13").await?;
    println!("container start, median of {STARTS}     {:>8.2?}   (aim: under 50 ms)", {
        start(&line, &tree, directory.path()).await?
    });

    let genuine = genuine::prepare(&line, &tree).await?;
    announce(&world, &line, &tree, &genuine, directory.path())?;
    for _ in 0..PAIRS {
        pair(&world, &line, &tree, &genuine, directory.path()).await?;
    }
    line.store.close().await;
    Ok(())
}

async fn environment(line: &Line) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    line.environment("debian-13").await?;
    Ok(begun.elapsed())
}

fn announce(
    world: &World,
    line: &Line,
    tree: &Environment,
    genuine: &Genuine,
    directory: &Path,
) -> anyhow::Result<()> {
    let requests = directory.join("git-hosting");
    fs::create_dir(&requests)?;
    world.host_repository(&genuine.repository, tree, &line.program, &requests);
    let version: Version = genuine::VERSION.parse()?;
    let files = [genuine.tgz.clone(), genuine.tar_xz.clone()];
    world.announce(&Announcement { version: &version, date: genuine::ANNOUNCED, files: &files })
}

/// One verify, then one xz of the same tar.
async fn pair(
    world: &World,
    line: &Line,
    tree: &Environment,
    genuine: &Genuine,
    directory: &Path,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let peak = verify(world, &line.config.state.directory).await?;
    let verify = begun.elapsed();

    let inputs = vec![(genuine.tar_xz.clone(), "/input/tar.xz".to_owned())];
    let unpack = "if ! [ -e tar ]; then xz -dc /input/tar.xz > tar; fi";
    tool(line, tree, directory, unpack, inputs).await?;
    let begun = Instant::now();
    tool(line, tree, directory, "xz -6 -T1 < tar > tar.xz", Vec::new()).await?;
    let xz = begun.elapsed();

    println!(
        "verify {verify:>8.2?}   xz alone {xz:>8.2?}   ratio {:.3} (aim: at most 1.15)   \
         peak {} MB (aim: at most 250)",
        verify.as_secs_f64() / xz.as_secs_f64(),
        peak >> 20,
    );
    Ok(())
}

/// Runs `verbatim verify`; gives the sum of the highest resident sets of our processes in bytes.
async fn verify(world: &World, state: &Path) -> anyhow::Result<u64> {
    let feed = world.feed()?;
    let mut child = Command::new(PROGRAM)
        .args(["verify", genuine::VERSION, "--json", "--state"])
        .arg(state)
        .env("VERBATIM_FEED__API", feed.api.as_str())
        .env("VERBATIM_FEED__FILES", feed.files.as_str())
        .env("VERBATIM_SOURCE__REPOSITORY", world.repository())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut peaks = BTreeMap::new();
    let status = loop {
        look(&child, &mut peaks);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    if !status.success() {
        bail!("verify ended with {status}");
    }
    Ok(peaks.values().sum())
}

/// Remembers the peak of the program and of the children that are the same program: the processes
/// inside the container are the compressors and the like.
fn look(child: &Child, peaks: &mut BTreeMap<u32, u64>) {
    let Ok(program) = fs::canonicalize(PROGRAM) else { return };
    let mut pids = vec![child.id()];
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten();
    for thread in threads.flatten() {
        let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        pids.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    for pid in pids {
        if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
            peaks.insert(pid, kilobytes.unwrap_or(0u64) << 10);
        }
    }
}

async fn start(line: &Line, tree: &Environment, directory: &Path) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        tool(line, tree, directory, "true", Vec::new()).await?;
        times.push(begun.elapsed());
    }
    times.sort();
    times.get(STARTS / 2).copied().context("no start was timed")
}

async fn tool(
    line: &Line,
    tree: &Environment,
    directory: &Path,
    script: &str,
    mounts: Vec<(PathBuf, String)>,
) -> anyhow::Result<()> {
    let work = directory.join("tool");
    fs::create_dir_all(&work)?;
    let order = ToolOrder {
        root: tree.root.clone(),
        command: ["bash", "-c", script].map(str::to_owned).to_vec(),
        environment: BTreeMap::new(),
        mounts,
        work,
        network: Network::None,
        stdin: None,
        stdout: directory.join("stdout"),
        limits: Limits::default(),
    };
    let run = line.program.tool(&order).await?;
    if run.code != 0 {
        bail!("{script} exited {}: {}", run.code, run.stderr);
    }
    Ok(())
}
