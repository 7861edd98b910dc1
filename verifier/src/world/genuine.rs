//! The genuine 3.13.5 where python.org cannot be reached: Debian's source package carries the
//! published .tar.xz unchanged; the .tgz is made again from its tar stream and checked against the
//! published digest; the git repository is remade by undoing the release's steps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rebuilder::{Digest, Limits, Network, ToolOrder};

use crate::environment::{self, Environment};
use crate::line::Line;
use crate::scratch::Scratch;

/// The version that is at hand.
pub const VERSION: &str = "3.13.5";
/// `release_date` of 3.13.5.
pub const ANNOUNCED: &str = "2025-06-11T17:00:00Z";

/// The source package's file that is the published .tar.xz.
const ORIG: &str = r#"
name = "python3.13"
version = "3.13.5"
path = "pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz"
size = 22856016
sha256 = "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640"
"#;
/// Its signature, which the source package carries as well.
const ASC: &str = r#"
name = "python3.13"
version = "3.13.5"
path = "pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz.asc"
size = 963
sha256 = "da6e013d98dcf8fc6696cdb2872b0051fc8fdeb632f73ef9f54d7b5a68647401"
"#;
/// As python.org published it.
const TGZ_SHA256: &str = "e6190f52699b534ee203d9f417bdbca05a92f23e35c19c691a50ed2942835385";
pub(super) const SCRIPT: &str = include_str!("source_repository.py");

/// The published files and the repository behind them. Beside the .tar.xz lies its .asc.
#[derive(Clone, Debug)]
pub struct Genuine {
    pub tgz: PathBuf,
    pub tar_xz: PathBuf,
    /// A bare repository with the tag v3.13.5.
    pub repository: PathBuf,
}

/// Fetches and makes what is not in the state directory yet.
pub async fn prepare(line: &Line, environment: &Environment) -> anyhow::Result<Genuine> {
    // What is made depends on the script and on what is fetched: others start anew.
    let key = &Digest::of(format!("{SCRIPT}{ASC}").as_bytes()).to_string()[..12];
    let place = line.config.state.directory.join("genuine").join(format!("{VERSION}-{key}"));
    let genuine = Genuine {
        tgz: place.join(format!("Python-{VERSION}.tgz")),
        tar_xz: place.join(format!("Python-{VERSION}.tar.xz")),
        repository: place.join("cpython.git"),
    };
    if !place.exists() {
        make(line, environment, &place).await?;
    }
    Ok(genuine)
}

async fn make(line: &Line, environment: &Environment, place: &Path) -> anyhow::Result<()> {
    let stage = line.progress.stage("fetch the genuine Python-3.13.5.tar.xz");
    let settings = line.config.environment_settings();
    let mut files = Vec::new();
    for place in [ORIG, ASC] {
        let package = toml::from_str(place).context("read the place of the genuine release")?;
        let bytes = environment::fetch(&package, &settings, &line.client).await;
        files.push(bytes.with_context(|| {
            format!("fetch the published {VERSION} from the Debian archive, which carries it")
        })?);
    }
    stage.done("from Debian's source package, digest as published");

    let stage = line.progress.stage("remake the .tgz and the git repository");
    let scratch = line.scratch()?;
    let name = format!("Python-{VERSION}");
    let fetched = scratch.file(&format!("{name}.tar.xz"));
    let signature = scratch.file(&format!("{name}.tar.xz.asc"));
    for (path, bytes) in [&fetched, &signature].into_iter().zip(&files) {
        fs::write(path, bytes).context("keep the genuine release")?;
    }
    let script = scratch.file("source_repository.py");
    fs::write(&script, SCRIPT).context("write the script")?;
    let repository = ["python3", "/input/source_repository.py", "/input/tarball", "cpython.git"];
    let compress = format!("xz -dc /input/tarball | gzip --no-name -9 > {name}.tgz");
    let shell = ["bash", "-euo", "pipefail", "-c", &compress];
    let task = |name, command| Task {
        name,
        command,
        variables: BTreeMap::new(),
        tarball: &fetched,
        script: &script,
    };
    let (repository, compress) = (task("repository", &repository), task("tgz", &shell));
    let (made, compressed) = tokio::try_join!(
        run(line, environment, &scratch, &repository),
        run(line, environment, &scratch, &compress),
    )?;
    let tgz = compressed.join(format!("{name}.tgz"));
    let (sha256, _) = Digest::of_file(&tgz).context("read the .tgz")?;
    if sha256.to_string() != TGZ_SHA256 {
        bail!("the remade {name}.tgz has digest {sha256}, not the published {TGZ_SHA256}");
    }
    keep(
        &scratch,
        &[
            (tgz, format!("{name}.tgz")),
            (fetched, format!("{name}.tar.xz")),
            (signature, format!("{name}.tar.xz.asc")),
            (made.join("cpython.git"), "cpython.git".to_owned()),
        ],
        place,
    )?;
    stage.done("digest of the .tgz as published");
    Ok(())
}

/// Moves files into the new directory `place` under their names, all or nothing: it appears only
/// when it is complete.
pub(super) fn keep(
    scratch: &Scratch,
    files: &[(PathBuf, String)],
    place: &Path,
) -> anyhow::Result<()> {
    let complete = scratch.directory("complete")?;
    for (path, name) in files {
        fs::rename(path, complete.join(name)).with_context(|| format!("keep {name}"))?;
    }
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    match fs::rename(&complete, place) {
        // Another process was faster, with the same files.
        Err(_) if place.exists() => Ok(()),
        renamed => renamed.with_context(|| format!("move {} into place", place.display())),
    }
}

/// A command that has a tarball and the script at hand, in /input.
pub(super) struct Task<'a> {
    pub(super) name: &'a str,
    pub(super) command: &'a [&'a str],
    pub(super) variables: BTreeMap<String, String>,
    pub(super) tarball: &'a Path,
    pub(super) script: &'a Path,
}

/// Runs it; gives its work directory.
pub(super) async fn run(
    line: &Line,
    environment: &Environment,
    scratch: &Scratch,
    task: &Task<'_>,
) -> anyhow::Result<PathBuf> {
    let Task { name, command, variables, tarball, script } = task;
    let work = scratch.directory(name)?;
    let order = ToolOrder {
        root: environment.root.clone(),
        command: command.iter().map(|word| word.to_string()).collect(),
        environment: variables.clone(),
        mounts: vec![
            (tarball.to_path_buf(), "/input/tarball".to_owned()),
            (script.to_path_buf(), "/input/source_repository.py".to_owned()),
        ],
        work: work.clone(),
        network: Network::None,
        stdin: None,
        stdout: scratch.file(&format!("{name}.stdout")),
        limits: Limits::default(),
    };
    let run = line.program.tool(&order).await?;
    if run.code != 0 {
        bail!("remake the genuine release: {} exited {}: {}", command[0], run.code, run.stderr);
    }
    Ok(work)
}
