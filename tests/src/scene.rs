//! One test's own corner: state directory, settings, definitions and a world with a release.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use toml::Table;
use verifier::environment::Environment;
use verifier::process::Program;
use verifier::record::Record;
use verifier::store::Store;
use verifier::version::Version;
use verifier::world::{Announcement, World};

use crate::fixture::{Fixture, Place, RECIPE};
use crate::ran::Ran;
use crate::{leftovers, source};

/// When the release was announced.
pub const ANNOUNCED: &str = "2025-06-15T18:00:00Z";

/// A machine that has verified nothing yet, and a world that announces one true release.
pub struct Scene {
    pub world: World,
    pub fixture: &'static Fixture,
    /// Set for the program, beside this process's own variables.
    pub variables: Vec<(String, String)>,
    /// Written to the configuration file before each run.
    pub settings: Table,
    directory: TempDir,
    runtime: Runtime,
}

impl Scene {
    /// The world announces [`source::VERSION`]; its repository is a path.
    pub fn new(place: Place) -> Scene {
        let scene = Scene::empty(place);
        let version = source::VERSION;
        let files = ["tgz", "tar.xz"].map(|kind| format!("Python-{version}.{kind}"));
        let files = files.map(|name| scene.fixture.published(&name));
        scene.announce(version, &files);
        scene
    }

    /// The world announces nothing.
    pub fn empty(place: Place) -> Scene {
        let fixture = Fixture::of(place);
        let directory = TempDir::with_prefix("verbatim-scene-").expect("make a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("start a runtime");
        let world = runtime.block_on(World::start()).expect("start the world");
        let settings = settings(&world, fixture, directory.path());
        let mut scene =
            Scene { world, fixture, variables: Vec::new(), settings, directory, runtime };
        scene.prepare();
        scene
    }

    fn prepare(&mut self) {
        let definitions = self.path("definitions");
        for place in [self.state(), definitions.join("recipes")] {
            fs::create_dir_all(place).expect("make a directory");
        }
        symlink(self.fixture.environments(), self.state().join("environments"))
            .expect("share the assembled environment");
        symlink(self.fixture.definitions().join("environments"), definitions.join("environments"))
            .expect("share the lock");
        self.recipe(RECIPE);
    }

    /// From now on the environment has to be assembled, from the archive that the world serves.
    pub fn forget_environment(&self) {
        fs::remove_file(self.state().join("environments")).expect("unshare the environment");
        self.fixture.serve_archive(&self.world);
    }

    /// A path in the scene's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file that sets the program's clock: as many seconds as it says, none at first.
    pub fn clock(&mut self) -> PathBuf {
        let clock = self.path("clock");
        fs::write(&clock, "0").expect("set the clock");
        self.variables = vec![("UNDER_TEST_CLOCK".to_owned(), clock.display().to_string())];
        clock
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Replaces the recipe.
    pub fn recipe(&self, text: &str) {
        let path = self.path("definitions/recipes/small.toml");
        fs::write(path, text).expect("write the recipe");
    }

    /// Puts a step in place of all the recipe's steps.
    pub fn only_step(&self, run: &str) {
        let head = RECIPE.split("[[step]]").next().unwrap_or_default();
        self.recipe(&format!("{head}[[step]]\nname = \"only\"\nrun = '''\n{run}\n'''\n"));
    }

    /// Announces and serves a release.
    pub fn announce(&self, version: &str, files: &[PathBuf]) {
        let version: Version = version.parse().expect("a version");
        let announcement = Announcement { version: &version, date: ANNOUNCED, files };
        self.world.announce(&announcement).expect("announce a release");
    }

    /// The published file `name` is these bytes from now on, with claims that fit.
    pub fn republish(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::write(&path, bytes).expect("write a published file");
        let mut state = self.world.state();
        let row = state.row(name).expect("the file is announced");
        row["filesize"] = bytes.len().into();
        row["md5_sum"] = "".into();
        let served = format!("/ftp/python/{}/{name}", source::VERSION);
        state.served.insert(served, path);
    }

    /// Sets a configuration key such as `source.repository`.
    pub fn set(&mut self, key: &str, value: impl Into<toml::Value>) {
        let mut table = &mut self.settings;
        let mut words: Vec<&str> = key.split('.').collect();
        let last = words.pop().expect("a key has a name");
        for word in words {
            let inner = table.entry(word).or_insert_with(|| Table::new().into());
            table = inner.as_table_mut().expect("a part of the configuration");
        }
        table.insert(last.to_owned(), value.into());
    }

    /// Serves the repository over HTTP too, and uses that.
    pub fn host_repository(&mut self, repository: &Path) {
        self.serve_repository(repository, &self.fixture.environment());
    }

    /// The same with the git of any environment.
    pub fn serve_repository(&mut self, repository: &Path, environment: &Environment) {
        let requests = self.path("git-hosting");
        fs::create_dir_all(&requests).expect("make a directory");
        let program = Program::at(&self.fixture.program);
        self.world.host_repository(repository, environment, &program, &requests);
        let url = self.world.repository();
        self.set("source.repository", url);
    }

    /// The program, ready to run on this scene.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let config = self.path("verbatim.toml");
        // All at once: another run of this scene may be reading it.
        let new = tempfile::NamedTempFile::new_in(self.directory.path()).expect("make a file");
        fs::write(new.path(), self.settings.to_string()).expect("write the configuration");
        new.persist(&config).expect("write the configuration");
        let mut command = Command::new(&self.fixture.program);
        command.arg("--config").arg(config).arg("--state").arg(self.state()).args(arguments);
        // The settings of whoever runs the tests are not the scene's.
        let own = std::env::vars_os().map(|(name, _)| name);
        for name in own.filter(|name| name.to_string_lossy().starts_with("VERBATIM_")) {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().cloned()).current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the program and does not wait.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("start the program")
    }

    /// Runs the program to its end; nothing may be left then.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("run the program");
        leftovers::assert_none(&self.state());
        Ran::of(output)
    }

    /// Runs `verify` of the scene's release.
    #[track_caller]
    pub fn verify(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["verify", source::VERSION], arguments].concat())
    }

    /// Runs `verify`, which must give up with a sentence that has `expected`, and record nothing.
    #[track_caller]
    pub fn refuses(&self, expected: &str) {
        let before = self.records().len();
        self.verify(&["--json"]).gives_up(expected);
        assert_eq!(self.records().len(), before, "nothing may be recorded");
    }

    /// What is on record for the scene's release.
    pub fn records(&self) -> Vec<Record> {
        self.records_of(source::VERSION)
    }

    /// What is on record for `version`.
    pub fn records_of(&self, version: &str) -> Vec<Record> {
        let version: Version = version.parse().expect("a version");
        self.runtime.block_on(async {
            let store = Store::open(&self.state().join("records.sqlite")).await;
            let store = store.expect("open the store");
            let records = store.of_version(&version).await.expect("read the store");
            store.close().await;
            records
        })
    }

    /// Asks the store something.
    pub fn ask_store<T, F: Future<Output = T>>(&self, ask: impl FnOnce(Store) -> F) -> T {
        self.runtime.block_on(async {
            let store = Store::open(&self.state().join("records.sqlite")).await;
            let store = store.expect("open the store");
            let answer = ask(store.clone()).await;
            store.close().await;
            answer
        })
    }

    /// Waits for what the test does with sockets or the store.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

fn settings(world: &World, fixture: &Fixture, directory: &Path) -> Table {
    let feed = world.feed().expect("the world has URLs");
    let text = |path: PathBuf| toml::Value::from(path.display().to_string());
    let part = |pairs: Vec<(&str, toml::Value)>| {
        let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), value));
        toml::Value::from(pairs.collect::<Table>())
    };
    let archive = format!("{}/debian", world.base());
    let parts = [
        (
            "feed",
            part(vec![
                ("api", feed.api.to_string().into()),
                ("files", feed.files.to_string().into()),
            ]),
        ),
        ("source", part(vec![("repository", text(fixture.repository()))])),
        (
            "environment",
            part(vec![("archives", vec![archive].into()), ("keyring", text(fixture.keyring()))]),
        ),
        ("server", part(vec![("listen", "127.0.0.1:0".into())])),
        ("rebuild", part(vec![("definitions", text(directory.join("definitions")))])),
    ];
    parts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
