//! The genuine 3.13.5 in the real environment: fetched and made once, kept for the next run.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rebuilder::{Limits, Network, ToolOrder};
use tempfile::TempDir;
use verifier::config::Config;
use verifier::environment::Environment;
use verifier::line::Line;
use verifier::process::Program;
use verifier::progress::Progress;
use verifier::world::genuine::{self, ANNOUNCED, Genuine, VERSION};
use verifier::world::{Announcement, World};

use crate::fixture::Place;
use crate::scene::Scene;

/// Name of the environment that the shipped recipe uses.
pub const ENVIRONMENT: &str = "debian-13";

/// What the slow tests share.
#[derive(Debug)]
pub struct Prepared {
    /// The state directory that holds packages, trees and published files.
    pub state: PathBuf,
    pub environment: Environment,
    pub genuine: Genuine,
    pub program: Program,
}

/// Whether slow tests are asked for; says so if not.
pub fn is_asked_for() -> bool {
    let asked = std::env::var_os("RUN_SLOW_TESTS").is_some_and(|value| value == "1");
    if !asked {
        println!("skipped: it takes minutes and a package archive; set RUN_SLOW_TESTS=1");
    }
    asked
}

impl Prepared {
    /// Fetches and makes what is not there yet, while all other tests wait.
    pub fn in_place(place: Place) -> Prepared {
        let state = Path::new(place.temporary).join("genuine");
        fs::create_dir_all(&state).expect("make the shared state directory");
        let turn = File::create(state.with_extension("lock")).expect("make a lock");
        turn.lock().expect("wait for the other tests");
        assemble(place.program, &state);
        let runtime = tokio::runtime::Runtime::new().expect("start a runtime");
        let program = Program::at(Path::new(place.program));
        let (environment, genuine) = runtime.block_on(async {
            let config =
                Config::load(Some(Path::new("/dev/null")), Some(&state)).expect("settings");
            let line = Line::open(config, Progress::to_stderr()).await.expect("open the line");
            let line = Line { program: program.clone(), ..line };
            let environment = line.environment(ENVIRONMENT).await.expect("the environment");
            let genuine = genuine::prepare(&line, &environment).await.expect("the genuine release");
            line.store.close().await;
            (environment, genuine)
        });
        Prepared { state, environment, genuine, program }
    }

    /// A scene that announces the genuine release with these files, by the shipped recipe.
    pub fn scene(&self, place: Place, files: &[PathBuf]) -> Scene {
        let mut scene = Scene::empty(place);
        for part in ["rebuild", "environment"] {
            scene.settings.remove(part);
        }
        let state = scene.state();
        fs::remove_file(state.join("environments")).expect("unshare the small environment");
        for name in ["environments", "locks"] {
            symlink(self.state.join(name), state.join(name)).expect("share the environment");
        }
        // The witnesses are the real ones: each of these tests would take an index of 10 MB.
        scene.set("witnesses.ask", "none");
        announce(&scene.world, files);
        scene.serve_repository(&self.genuine.repository, &self.environment);
        scene
    }

    /// Runs shell commands in the environment with the genuine .tar.xz at hand, and gives the path
    /// of the file `out` that they make, below `place`.
    pub fn make(&self, place: &Path, commands: &str) -> PathBuf {
        let work = TempDir::new_in(place).expect("make a directory").keep();
        let order = ToolOrder {
            root: self.environment.root.clone(),
            command: ["bash", "-euo", "pipefail", "-c", commands].map(str::to_owned).to_vec(),
            environment: Default::default(),
            mounts: vec![(self.genuine.tar_xz.clone(), "/input/tar.xz".to_owned())],
            work: work.clone(),
            network: Network::None,
            stdin: None,
            stdout: place.join("stdout"),
            limits: Limits::default(),
        };
        let runtime = tokio::runtime::Runtime::new().expect("start a runtime");
        let run = runtime.block_on(self.program.tool(&order)).expect("run the commands");
        assert_eq!(run.code, 0, "{}", run.stderr);
        work.join("out")
    }
}

fn announce(world: &World, files: &[PathBuf]) {
    let version = VERSION.parse().expect("a version");
    let announcement = Announcement { version: &version, date: ANNOUNCED, files };
    world.announce(&announcement).expect("announce the genuine release");
}

/// As `demo` does: where the archive no longer has what is locked, by a fresh lock.
fn assemble(program: &str, state: &Path) {
    let run = |command: &str| {
        let mut verbatim = Command::new(program);
        verbatim.args(["environment", command, ENVIRONMENT, "--config", "/dev/null", "--state"]);
        let output = verbatim.arg(state).output().expect("run the program");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (built, said) = run("build");
    if built {
        return;
    }
    assert!(said.contains("make a new lock with"), "{said}");
    println!("{said}so a fresh lock is made in {}", state.display());
    for command in ["lock", "build"] {
        let (done, said) = run(command);
        assert!(done, "{said}");
    }
}
