//! A machine's corner in which one rebuild runs, and the check that nothing of it is left.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use rebuilder::{
    BuildDefinition, BuildFailure, Digest, Event, ExternalParameters, InternalParameters, Limits,
    Network, Outcome, Rebuild, RebuildOrder, Step, ToolOrder, ToolRun,
};
use tempfile::TempDir;

use crate::host_tree;

/// Held by whatever runs: shared by most, by one alone whose time is taken.
static RUNS: RwLock<()> = RwLock::new(());

/// One rebuild's directories, and a tree to run in that all worlds share.
pub struct World {
    tree: Arc<TempDir>,
    pub directory: TempDir,
    pub definition: BuildDefinition,
    /// Set for the process that runs the rebuild.
    pub host_environment: Vec<(String, String)>,
    /// Program and arguments that start the process, for tests that take something away first.
    pub wrapper: Vec<String>,
}

/// A process that runs a rebuild, as the parent saw it.
#[derive(Debug)]
pub struct Ran {
    pub rebuild: Result<Rebuild, String>,
    pub events: Vec<Event>,
    pub log: String,
    pub took: Duration,
}

impl World {
    /// With one step.
    pub fn new(run: &str) -> World {
        World::with_steps(&[("step", run)])
    }

    pub fn with_steps(steps: &[(&str, &str)]) -> World {
        let directory = TempDir::with_prefix("verbatim-test-").unwrap();
        for name in ["work", "source"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("source/HEAD"), "ref: refs/heads/main\n").unwrap();
        let steps = steps.iter().map(|(name, run)| Step {
            name: name.to_string(),
            run: run.to_string(),
            payload: None,
        });
        let mark = ("WORLD_MARK".to_string(), directory.path().display().to_string());
        let definition = BuildDefinition {
            build_type: "https://example.org/test".to_string(),
            external_parameters: ExternalParameters {
                version: "3.13.5".to_string(),
                repository: "https://example.org/repository".to_string(),
                tag: "v3.13.5".to_string(),
            },
            internal_parameters: InternalParameters {
                recipe: "test".to_string(),
                recipe_digest: Digest::of(b"test"),
                steps: steps.collect(),
                environment: BTreeMap::from([mark]),
                outputs: Vec::new(),
                traced: String::new(),
                limits: Limits { wall_seconds: 60, ..Limits::default() },
            },
            resolved_dependencies: Vec::new(),
        };
        World {
            tree: shared_tree(),
            directory,
            definition,
            host_environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    pub fn limits(&mut self) -> &mut Limits {
        &mut self.definition.internal_parameters.limits
    }

    pub fn outputs(mut self, outputs: &[&str]) -> World {
        let outputs = outputs.iter().map(|name| name.to_string()).collect();
        self.definition.internal_parameters.outputs = outputs;
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.tree.path()
    }

    pub fn order(&self) -> RebuildOrder {
        RebuildOrder {
            definition: self.definition.clone(),
            root: self.root().to_path_buf(),
            source: self.path("source"),
            work: self.path("work"),
            log: self.path("log"),
        }
    }

    pub fn start(&self, command: &str, order: &impl serde::Serialize) -> Child {
        let rebuilder = env!("CARGO_BIN_EXE_rebuilder").to_string();
        let words: Vec<_> = self.wrapper.iter().chain([&rebuilder]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg(command)
            .envs(self.host_environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let json = serde_json::to_vec(order).unwrap();
        child.stdin.take().unwrap().write_all(&json).unwrap();
        child
    }

    /// Runs the rebuild to its end; nothing may be left then.
    pub fn run(&self) -> Ran {
        let _beside_others = RUNS.read().unwrap_or_else(PoisonError::into_inner);
        self.run_now()
    }

    /// The same with no other `run` or tool beside it, for tests that say how long it may take.
    pub fn run_alone(&self) -> Ran {
        let _alone = RUNS.write().unwrap_or_else(PoisonError::into_inner);
        self.run_now()
    }

    fn run_now(&self) -> Ran {
        let begun = Instant::now();
        let child = self.start("rebuild", &self.order());
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        let took = begun.elapsed();
        self.assert_nothing_left(pid);

        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_event = |line: &&str| line.starts_with('{');
        let events = stderr.lines().filter(is_event);
        let events = events.map(|line| serde_json::from_str(line).unwrap()).collect();
        let log = fs::read(self.path("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let rebuild = result(&output, &stderr);
        Ran { rebuild, events, log, took }
    }

    pub fn tool_order(&self, command: &[&str], network: Network) -> ToolOrder {
        ToolOrder {
            root: self.root().to_path_buf(),
            command: command.iter().map(|word| word.to_string()).collect(),
            environment: self.definition.internal_parameters.environment.clone(),
            mounts: Vec::new(),
            work: self.path("work"),
            network,
            stdin: None,
            stdout: self.path("stdout"),
            limits: self.definition.internal_parameters.limits.clone(),
        }
    }

    /// Runs a tool to its end: how it ended, and its standard output.
    pub fn run_tool(&self, order: &ToolOrder) -> (Result<ToolRun, String>, String) {
        let _beside_others = RUNS.read().unwrap_or_else(PoisonError::into_inner);
        let child = self.start("tool", order);
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        self.assert_nothing_left(pid);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let stdout = fs::read_to_string(&order.stdout).unwrap_or_default();
        (result(&output, &stderr), stdout)
    }

    /// Processes that a step of this world started and that still run.
    pub fn processes(&self) -> Vec<u32> {
        let mark = format!("WORLD_MARK={}\0", self.directory.path().display()).into_bytes();
        let marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(mark.len()).any(|window| window == mark)
        };
        all_processes().into_iter().filter(marked).collect()
    }

    pub fn assert_nothing_left(&self, pid: u32) {
        assert_eq!(self.processes(), Vec::<u32>::new(), "processes of the step");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.directory.path().display().to_string()), "{mounts}");
        assert_eq!(cgroups_of(pid), Vec::<PathBuf>::new());
        let scratch = self.path("work.container");
        assert!(!scratch.exists(), "{scratch:?}");
    }
}

fn result<T: serde::de::DeserializeOwned>(output: &Output, stderr: &str) -> Result<T, String> {
    match output.status.code() {
        Some(0) => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        Some(2) => Err(stderr.lines().last().unwrap_or_default().to_string()),
        code => panic!("exit status {code:?}, standard error: {stderr}"),
    }
}

impl Ran {
    pub fn rebuild(&self) -> &Rebuild {
        self.rebuild.as_ref().unwrap_or_else(|sentence| panic!("{sentence}\n{}", self.log))
    }

    /// Panics with the log if the definition did not build.
    pub fn built(&self) -> &Rebuild {
        let rebuild = self.rebuild();
        assert!(
            matches!(rebuild.outcome, Outcome::Built(_)),
            "{:?}\n{}",
            rebuild.outcome,
            self.log
        );
        rebuild
    }

    pub fn failure(&self) -> &BuildFailure {
        match &self.rebuild().outcome {
            Outcome::Failed(failure) => failure,
            Outcome::Built(_) => panic!("it was built:\n{}", self.log),
        }
    }

    /// The line of the log after `key=`.
    pub fn value(&self, key: &str) -> &str {
        let prefix = format!("{key}=");
        let line = self.log.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {key}= in the log:\n{}", self.log))
    }
}

/// Runs one step that must end well, and gives what it wrote.
pub fn inside(run: &str) -> Ran {
    let ran = World::new(run).run();
    ran.built();
    ran
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Control groups made by the process `pid`.
pub fn cgroups_of(pid: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("verbatim-") && name.ends_with(&format!("-{pid}")) {
                found.push(entry.path());
            }
            waiting.push(entry.path());
        }
    }
    found
}

/// Waits up to ten seconds for `condition`.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < give_up, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Made by the first test and removed after the last one that uses it.
fn shared_tree() -> Arc<TempDir> {
    static TREE: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = TREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(tree) = shared.upgrade() {
        return tree;
    }
    let tree = Arc::new(TempDir::with_prefix("verbatim-tree-").unwrap());
    host_tree::build(tree.path(), &["perl", "git", "python3"]).unwrap();
    *shared = Arc::downgrade(&tree);
    tree
}
