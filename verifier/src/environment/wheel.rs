//! Python wheels: fetched by the environment's own pip, checked by hash, unpacked like packages.
//!
//! pip knows its own index, so no index's host is written into the project; the host's pip
//! settings are passed in where there are any. pip is run from Debian's wheel of it, since the
//! package python3-pip would bring a compiler's worth of recommendations for nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rebuilder::{Digest, Limits, Network, ToolOrder};
use url::Url;

use super::assembly::Assembly;
use super::cache::Cache;
use super::definition::{LockedWheel, Requirement, TreePath, WheelFile};
use super::machine::PipSettings;
use super::{EnvironmentError, Tool};
use crate::http::without_secrets;

/// Largest wheel.
const WHEEL_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of one wheel after decompression.
const CONTENT_BYTES_MAX: u64 = 256 << 20;
/// Most members of one wheel.
const MEMBERS_MAX: usize = 20_000;
/// Where Debian's Python looks for modules.
const MODULES: &str = "usr/lib/python3/dist-packages";
const PIP: &str = "usr/share/python-wheels/pip-";

/// What pip needs to know about this machine.
#[derive(Clone, Debug)]
pub struct PipOrder<'a> {
    /// Simple indexes; the first is the main one. Empty: pip's own.
    pub indexes: &'a [Url],
    /// The host's own pip settings.
    pub pip: &'a PipSettings,
}

/// Asks pip for the wheel and puts it into the cache.
pub async fn resolve(
    requirement: &Requirement,
    order: &PipOrder<'_>,
    assembly: &Assembly,
    cache: &Cache,
    tool: &Tool,
) -> anyhow::Result<LockedWheel> {
    let path = fetch_wheel(requirement, order, assembly, tool).await?;
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let file: WheelFile = file.parse().with_context(|| format!("wheel {}", requirement.name))?;
    let (sha256, size) = Digest::of_file(&path)?;
    ensure!(size <= WHEEL_BYTES_MAX, "{file} has {size} bytes, more than {WHEEL_BYTES_MAX}");
    // pip checks a pinned hash too, but pip is foreign code.
    ensure!(requirement.sha256.is_none_or(|pinned| pinned == sha256), "{file} has another hash");
    fs::File::open(&path)?.sync_all()?;
    cache.admit(&path, sha256).context("write the cache")?;
    let Requirement { name, version, .. } = requirement.clone();
    Ok(LockedWheel { name, version, file, sha256, directory: None })
}

/// Puts a locked wheel into the tree, fetching it if the cache has lost it.
pub async fn add(
    wheel: &LockedWheel,
    rank: usize,
    order: &PipOrder<'_>,
    assembly: &Assembly,
    cache: &Cache,
    tool: &Tool,
) -> Result<(), EnvironmentError> {
    let load = || cache.load(wheel.sha256, WHEEL_BYTES_MAX).context("read the cache");
    let mut bytes = load()?;
    if bytes.is_none() {
        resolve(&wheel.into(), order, assembly, cache, tool).await?;
        bytes = load()?;
    }
    let bytes = bytes.context("the cache loses what it is given")?;
    let directory = wheel.directory.as_ref().map_or(MODULES, TreePath::as_str);
    let unpacked = unpack(&bytes, directory, assembly, rank);
    Ok(unpacked.with_context(|| format!("unpack {}", wheel.file))?)
}

/// Runs pip in the tree, with the host's network; gives the one file that it leaves.
async fn fetch_wheel(
    requirement: &Requirement,
    order: &PipOrder<'_>,
    assembly: &Assembly,
    tool: &Tool,
) -> anyhow::Result<PathBuf> {
    let work = assembly.beside().join(format!("pip-{}-{}", requirement.name, requirement.version));
    fs::create_dir_all(work.join("out"))?;
    fs::write(work.join("requirements.txt"), format!("{requirement}\n"))?;
    let wheels = assembly.below(PIP);
    let pip = wheels.iter().map(|(path, _)| path).find(|path| path.ends_with(".whl"));
    let pip = pip.context("the environment has no pip: add the package python3-pip-whl")?;
    let mut command = vec!["/usr/bin/python3".to_owned(), format!("/{pip}/pip")];
    let arguments =
        "download --no-deps --only-binary :all: --dest /work/out -r /work/requirements.txt";
    command.extend(arguments.split(' ').map(str::to_owned));
    let (mounts, bundle) = super::certificates(order.pip.bundle.as_deref());
    let tool_order = ToolOrder {
        root: assembly.root().to_owned(),
        command,
        environment: variables(order, bundle),
        mounts,
        work: work.clone(),
        network: Network::Host,
        stdin: None,
        stdout: assembly.beside().join(format!("pip-{}.log", requirement.name)),
        limits: Limits { wall_seconds: 300, file_bytes: WHEEL_BYTES_MAX, ..Limits::default() },
    };
    let run = tool(tool_order).await.context("run pip")?;
    if run.code != 0 {
        let said: Vec<&str> = run.stderr.lines().map(str::trim).collect();
        let said = said.join("; ");
        bail!("pip cannot fetch {requirement}: {}", without_secrets(&said));
    }
    only_file(&work.join("out")).with_context(|| format!("fetch {requirement} with pip"))
}

fn only_file(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        ensure!(entry.file_type()?.is_file(), "{:?} is not a file", entry.file_name());
        found.push(entry.path());
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        other => bail!("it left {} files instead of one", other.len()),
    }
}

fn variables(order: &PipOrder<'_>, bundle: &str) -> BTreeMap<String, String> {
    let mut variables = order.pip.variables.clone();
    if let Some((first, rest)) = order.indexes.split_first() {
        let rest: Vec<_> = rest.iter().map(Url::as_str).collect();
        variables.insert("PIP_INDEX_URL".to_owned(), first.to_string());
        variables.insert("PIP_EXTRA_INDEX_URL".to_owned(), rest.join(" "));
    }
    let fixed = [
        // Nothing of the host's but what we pass; no cache, no questions, no byte code.
        ("PIP_CONFIG_FILE", "/dev/null"),
        ("PIP_NO_CACHE_DIR", "1"),
        ("PIP_NO_INPUT", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("HOME", "/work"),
        ("TMPDIR", "/work"),
        ("SSL_CERT_FILE", bundle),
        ("PIP_CERT", bundle),
    ];
    variables.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    variables
}

fn unpack(wheel: &[u8], directory: &str, assembly: &Assembly, rank: usize) -> anyhow::Result<()> {
    let mut archive = zip::ZipArchive::new(Cursor::new(wheel)).context("read the ZIP archive")?;
    ensure!(archive.len() <= MEMBERS_MAX, "it has more than {MEMBERS_MAX} members");
    let mut bytes_left = CONTENT_BYTES_MAX;
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        let name = member.name()?.into_owned();
        if member.is_dir() {
            continue;
        }
        ensure!(!member.is_symlink(), "{name} is a symbolic link");
        // PEP 427: files below NAME.data go elsewhere: scripts, headers, compiled modules.
        let top = name.split('/').next().unwrap_or_default();
        ensure!(!top.ends_with(".data"), "{name}: only pure Python wheels are known here");
        let path: TreePath = name.parse()?;
        let path: TreePath = format!("{directory}/{path}").parse()?;
        let size = member.size();
        bytes_left = bytes_left.checked_sub(size).context("it has too many bytes")?;
        assembly.file(&path, 0o644, rank, member).with_context(|| format!("unpack {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::world::wheel_bytes;
    use super::*;

    fn check(wheel: &[u8], expected: Result<&str, &str>) {
        let state = tempfile::tempdir().unwrap();
        let assembly = Assembly::new(state.path(), "x", &[]).unwrap();
        match (unpack(wheel, MODULES, &assembly, 0), expected) {
            (Ok(()), Ok(path)) => assert!(assembly.root().join(MODULES).join(path).is_file()),
            (Err(error), Err(expected)) => {
                let error = format!("{error:#}");
                assert!(error.contains(expected), "{error}");
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn only_modules_below_the_module_directory_are_unpacked() {
        check(&wheel_bytes(&[("blurb/a.py", b"a")]), Ok("blurb/a.py"));
        let scripts = wheel_bytes(&[("blurb-2.0.0.data/scripts/blurb", b"a")]);
        check(&scripts, Err("only pure Python wheels"));
        for path in ["../a.py", "/a.py", "a/../../b.py", "a\\..\\b"] {
            check(&wheel_bytes(&[(path, b"a")]), Err("not a path relative to the root"));
        }
        check(&wheel_bytes(&[("a", b"a"), ("a/b", b"b")]), Err("is needed as a directory"));
        check(b"not a wheel", Err("read the ZIP archive"));
        let mut link = zip::ZipWriter::new(Cursor::new(Vec::new()));
        link.add_symlink("a", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
        check(&link.finish().unwrap().into_inner(), Err("is a symbolic link"));
    }

    #[test]
    fn a_wheel_whose_bytes_were_changed_is_refused() {
        let mut wheel = wheel_bytes(&[("blurb/a.py", &[b'a'; 5000])]);
        let middle = 50;
        wheel[middle] ^= 0x55;
        check(&wheel, Err("unpack blurb/a.py"));
    }

    #[test]
    fn the_configured_indexes_win_over_the_hosts() {
        let mut pip = PipSettings::default();
        pip.variables.insert("PIP_INDEX_URL".to_owned(), "https://host.example/".to_owned());
        let indexes = ["https://one.example/", "https://two.example/", "https://three.example/"];
        let indexes = indexes.map(|index| index.parse().unwrap());
        let own = variables(&PipOrder { indexes: &indexes, pip: &pip }, "/bundle.crt");
        assert_eq!(own["PIP_INDEX_URL"], "https://one.example/");
        assert_eq!(own["PIP_EXTRA_INDEX_URL"], "https://two.example/ https://three.example/");
        let hosts = variables(&PipOrder { indexes: &[], pip: &pip }, "/bundle.crt");
        assert_eq!(hosts["PIP_INDEX_URL"], "https://host.example/");
        assert!(!hosts.contains_key("PIP_EXTRA_INDEX_URL"));
    }
}
