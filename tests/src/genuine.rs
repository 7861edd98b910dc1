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
use verifier::world::Announcement;
use verifier::world::earlier::{self, Earlier, Published};
use verifier::world::genuine::{self, ANNOUNCED, Genuine, VERSION};

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
        let (prepared, _turn) = Prepared::in_turn(place);
        prepared
    }

    /// The same with an earlier release.
    pub fn with_earlier(place: Place, earlier: &Earlier) -> (Prepared, Published) {
        let (prepared, _turn) = Prepared::in_turn(place);
        let runtime = tokio::runtime::Runtime::new().expect("start a runtime");
        let published = runtime.block_on(async {
            let line = open_line(&prepared.state, &prepared.program).await;
            let published = earlier::prepare(&line, &prepared.environment, earlier).await;
            line.store.close().await;
            published.expect("the genuine release")
        });
        (prepared, published)
    }

    /// What is in place, and this test's turn to change it, which ends when it is dropped.
    fn in_turn(place: Place) -> (Prepared, File) {
        let state = Path::new(place.temporary).join("genuine");
        fs::create_dir_all(&state).expect("make the shared state directory");
        let turn = File::create(state.with_extension("lock")).expect("make a lock");
        turn.lock().expect("wait for the other tests");
        // Its store has nothing to keep, and may be of a state of the project that never was one of
        // `main`: no migration leads on from there.
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(state.join(format!("records.sqlite{end}")));
        }
        assemble(place.program, &state);
        let runtime = tokio::runtime::Runtime::new().expect("start a runtime");
        let program = Program::at(Path::new(place.program));
        let (environment, genuine) = runtime.block_on(async {
            let line = open_line(&state, &program).await;
            let environment = line.environment(ENVIRONMENT).await.expect("the environment");
            let genuine = genuine::prepare(&line, &environment).await.expect("the genuine release");
            line.store.close().await;
            (environment, genuine)
        });
        (Prepared { state, environment, genuine, program }, turn)
    }

    /// A scene that announces the genuine release with these files, by the shipped recipe.
    pub fn scene(&self, place: Place, files: &[PathBuf]) -> Scene {
        let version = VERSION.parse().expect("a version");
        let announcement = Announcement { version: &version, date: ANNOUNCED, files };
        self.scene_of(place, &announcement, &self.genuine.repository)
    }

    /// A scene that announces a release made from `repository`, by the shipped recipes.
    pub fn scene_of(&self, place: Place, announcement: &Announcement, repository: &Path) -> Scene {
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
        scene.world.announce(announcement).expect("announce the genuine release");
        scene.serve_repository(repository, &self.environment);
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
            mounts: vec![(self.genuine.tar_xz.clone(), "/input/tarball".to_owned())],
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

/// The line on the shared state directory, with the program under test.
async fn open_line(state: &Path, program: &Program) -> Line {
    let config = Config::load(Some(Path::new("/dev/null")), Some(state)).expect("settings");
    let line = Line::open(config, Progress::to_stderr()).await.expect("open the line");
    Line { program: program.clone(), ..line }
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
