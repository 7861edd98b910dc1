//! What all tests share and nobody changes, made once and kept for the next run.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rebuilder::Digest;
use verifier::environment::{Environment, Lock};
use verifier::world::World;

use crate::{archive, source};

/// Where Cargo puts things for an integration test.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The program under test.
    pub program: &'static str,
    /// A directory that lasts from run to run.
    pub temporary: &'static str,
}

/// The shared things; read-only.
#[derive(Debug)]
pub struct Fixture {
    pub program: PathBuf,
    directory: PathBuf,
    /// Shared by all who use the directory, so that nobody removes it.
    _lock: File,
}

const ENVIRONMENT: &str = r#"
name = "host"
suite = "host"
architecture = "amd64"
components = ["main"]
packages = ["host-tools"]
"#;

/// config/recipes/cpython-source.toml, made small: no blurb and nothing to touch.
pub const RECIPE: &str = r#"
name = "small"
build_type = "urn:verbatim:recipe:small:1"
covers = [">=9"]
environment = "host"
outputs = ["Python-{version}.tgz", "Python-{version}.tar.xz"]
traced = "Python-{version}"

[variables]
REPOSITORY = "/source"
NOT_SHIPPED = "Misc/mypy"
TAR_ORDER = "--sort=name"
TAR_OWNER = "--owner=0 --group=0 --numeric-owner"
TAR_FORMAT = "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"
GZIP_LEVEL = "-9"
XZ_LEVEL = "-6"
XZ_THREADS = "-T1"

[[step]]
name = "export"
run = '''
git --git-dir="$REPOSITORY" archive --format=tar --prefix="Python-$VERSION/" "$COMMIT" | tar xf -
'''

[[step]]
name = "remove"
run = '''
cd "Python-$VERSION"
rm -rf .git .gitattributes .gitignore .github .azure-pipelines $NOT_SHIPPED
rm -rf Doc/build Doc/dist Doc/venv
find . -name __pycache__ -prune -exec rm -rf {} +
find . -name '*.py[co]' -delete
'''

[[step]]
name = "archive"
run = '''
tar cf "Python-$VERSION.tar" $TAR_ORDER --mtime="@$SOURCE_DATE_EPOCH" --clamp-mtime \
    $TAR_OWNER $TAR_FORMAT --mode=go+u,go-w "Python-$VERSION/"
'''
payload = "Python-{version}.tar"

[[step]]
name = "compress"
run = '''
gzip --no-name $GZIP_LEVEL < "Python-$VERSION.tar" > "out/Python-$VERSION.tgz" &
xz $XZ_LEVEL $XZ_THREADS < "Python-$VERSION.tar" > "out/Python-$VERSION.tar.xz"
wait $!
'''
"#;

impl Fixture {
    /// The fixture of this program; made by the first test that asks.
    pub fn of(place: Place) -> &'static Fixture {
        static FIXTURE: OnceLock<Result<Fixture, String>> = OnceLock::new();
        match FIXTURE.get_or_init(|| Fixture::open(place)) {
            Ok(fixture) => fixture,
            Err(sentence) => panic!("{sentence}"),
        }
    }

    fn open(place: Place) -> Result<Fixture, String> {
        let program = PathBuf::from(place.program);
        let key = key(&program)?;
        let temporary = Path::new(place.temporary);
        let directory = temporary.join(format!("fixture-{key}"));
        let failed = |error: std::io::Error| format!("lock {}: {error}", directory.display());
        fs::create_dir_all(temporary).map_err(failed)?;
        // Every test is a process of its own under nextest: the first makes it, the others wait.
        let maker = File::create(temporary.join("fixture.lock")).map_err(failed)?;
        maker.lock().map_err(failed)?;
        remove_unused(temporary, &directory).map_err(failed)?;
        if !directory.exists() {
            let making = directory.with_extension("making");
            let _ = fs::remove_dir_all(&making);
            make(&making, &program)?;
            fs::rename(&making, &directory).map_err(failed)?;
        }
        let lock = File::create(directory.with_extension("lock")).map_err(failed)?;
        lock.lock_shared().map_err(failed)?;
        Ok(Fixture { program, directory, _lock: lock })
    }

    /// The bare repository with the tag.
    pub fn repository(&self) -> PathBuf {
        self.directory.join("source.git")
    }

    /// The published file `name`.
    pub fn published(&self, name: &str) -> PathBuf {
        self.directory.join("published").join(name)
    }

    /// The assembled trees, to be used from other state directories.
    pub fn environments(&self) -> PathBuf {
        self.directory.join("state/environments")
    }

    /// `host.toml` and `host.lock`.
    pub fn definitions(&self) -> PathBuf {
        self.directory.join("definitions")
    }

    /// The keyring that signs the archive's index.
    pub fn keyring(&self) -> PathBuf {
        self.directory.join("keyring.pgp")
    }

    /// Serves the archive below `/debian`.
    pub fn serve_archive(&self, world: &World) {
        serve_archive(&self.directory, world);
    }

    /// The assembled environment.
    pub fn environment(&self) -> Environment {
        let path = self.definitions().join("environments/host.lock");
        let text = fs::read_to_string(&path).expect("the lock was made with the fixture");
        let digest = Lock::parse(&text).expect("the program writes locks that it can read").tree;
        let root = self.environments().join(digest.to_string());
        Environment { name: "host".to_owned(), digest, root }
    }
}

/// Everything that the fixture is made from: the host's programs, the program under test, its user.
fn key(program: &Path) -> Result<String, String> {
    let mut text = format!("{} {RECIPE}", nix::unistd::geteuid());
    for path in archive::inputs()?.iter().map(PathBuf::as_path).chain([program]) {
        let metadata = fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let times = (metadata.mtime(), metadata.mtime_nsec());
        text.push_str(&format!("{} {} {times:?}\n", path.display(), metadata.size()));
    }
    Ok(Digest::of(text.as_bytes()).to_string()[..16].to_owned())
}

/// Fixtures of earlier programs, unless somebody still uses them.
fn remove_unused(temporary: &Path, wanted: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_fixture = name.starts_with("fixture-") && !name.contains('.');
        if !is_fixture || path == wanted {
            continue;
        }
        let lock = File::create(path.with_extension("lock"))?;
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(&path)?;
            fs::remove_file(path.with_extension("lock"))?;
        }
    }
    Ok(())
}

fn make(directory: &Path, program: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("make {}: {error}", directory.display());
    archive::write(directory)?;
    for (path, text) in [("environments/host.toml", ENVIRONMENT), ("recipes/small.toml", RECIPE)] {
        let path = directory.join("definitions").join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory)).map_err(failed)?;
        fs::write(path, text).map_err(failed)?;
    }
    lock(directory, program)?;
    let repository = directory.join("source.git");
    source::make_repository(&repository, &directory.join("source"))?;
    source::publish(&repository, &directory.join("published"), source::HONEST)
}

/// The program under test pins and assembles the environment itself.
fn lock(directory: &Path, program: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("start a runtime: {error}"))?;
    let world = runtime.block_on(World::start()).map_err(|error| format!("{error:#}"))?;
    serve_archive(directory, &world);
    let output = Command::new(program)
        .args(["environment", "lock", "host"])
        .env("VERBATIM_STATE__DIRECTORY", directory.join("state"))
        .env("VERBATIM_REBUILD__DEFINITIONS", directory.join("definitions"))
        .env("VERBATIM_ENVIRONMENT__ARCHIVES", format!("[\"{}/debian\"]", world.base()))
        .env("VERBATIM_ENVIRONMENT__KEYRING", directory.join("keyring.pgp"))
        .output()
        .map_err(|error| format!("run {}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("environment lock host: {}", String::from_utf8_lossy(&output.stderr)))
}

fn serve_archive(directory: &Path, world: &World) {
    let files =
        ["dists/host/InRelease", "dists/host/main/binary-amd64/Packages.xz", "pool/host-tools.deb"];
    let mut state = world.state();
    for file in files {
        state.served.insert(format!("/debian/{file}"), directory.join("debian").join(file));
    }
}
