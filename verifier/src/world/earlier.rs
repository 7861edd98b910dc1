//! Genuine releases of era E0, packed by hand, that Debian's source packages carry unchanged: one
//! published file each, and the repository behind it, remade by undoing the release's steps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rebuilder::Digest;

use super::genuine::{SCRIPT, Task, keep, run};
use crate::environment::{self, Environment};
use crate::line::Line;

/// A release of which one published file is at hand.
#[derive(Clone, Copy, Debug)]
pub struct Earlier {
    pub version: &'static str,
    /// A `release_date`, to the day.
    pub announced: &'static str,
    /// Name that python.org gives the file.
    pub name: &'static str,
    /// The source package's file that it is.
    orig: &'static str,
}

/// Of Debian 12.
pub const V3_11_2: Earlier = Earlier {
    version: "3.11.2",
    announced: "2023-02-08T00:00:00Z",
    name: "Python-3.11.2.tgz",
    orig: r#"
name = "python3.11"
version = "3.11.2"
path = "pool/main/p/python3.11/python3.11_3.11.2.orig.tar.gz"
size = 26437858
sha256 = "2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849"
"#,
};

/// Of Debian 11.
pub const V3_9_2: Earlier = Earlier {
    version: "3.9.2",
    announced: "2021-02-19T18:00:00Z",
    name: "Python-3.9.2.tar.xz",
    orig: r#"
name = "python3.9"
version = "3.9.2"
path = "pool/main/p/python3.9/python3.9_3.9.2.orig.tar.xz"
size = 18889164
sha256 = "3c2034c54f811448f516668dce09d24008a0716c3a794dd8639b5388cbde247d"
"#,
};

/// The published file, and the repository behind it.
#[derive(Clone, Debug)]
pub struct Published {
    pub file: PathBuf,
    /// A bare repository with the tag.
    pub repository: PathBuf,
}

/// Fetches and makes what is not in the state directory yet.
pub async fn prepare(
    line: &Line,
    environment: &Environment,
    earlier: &Earlier,
) -> anyhow::Result<Published> {
    let Earlier { version, name, orig, .. } = earlier;
    // What is made depends on the script and on what is fetched: others start anew.
    let key = &Digest::of(format!("{SCRIPT}{orig}").as_bytes()).to_string()[..12];
    let place = line.config.state.directory.join("genuine").join(format!("{version}-{key}"));
    if !place.exists() {
        make(line, environment, earlier, &place).await?;
    }
    Ok(Published { file: place.join(name), repository: place.join("cpython.git") })
}

async fn make(
    line: &Line,
    environment: &Environment,
    earlier: &Earlier,
    place: &Path,
) -> anyhow::Result<()> {
    let name = earlier.name;
    let stage = line.progress.stage(&format!("fetch the genuine {name}"));
    let settings = line.config.environment_settings();
    let package = toml::from_str(earlier.orig).context("read the place of the genuine release")?;
    let bytes = environment::fetch(&package, &settings, &line.client).await.with_context(|| {
        format!("fetch the published {name} from the Debian archive, which carries it")
    })?;
    stage.done("from Debian's source package");

    let stage = line.progress.stage("remake the git repository");
    let scratch = line.scratch()?;
    let (tarball, script) = (scratch.file(name), scratch.file("source_repository.py"));
    fs::write(&tarball, bytes).context("keep the genuine release")?;
    fs::write(&script, SCRIPT).context("write the script")?;
    // blurb as in the recipe of E0; Misc/mypy was not removed at the time.
    let script_in = "/input/source_repository.py";
    let task = Task {
        name: "repository",
        command: &["python3", script_in, "/input/tarball", "cpython.git", "Misc/mypy"],
        variables: BTreeMap::from([("PYTHONPATH".to_owned(), "/usr/lib/blurb-1.1.0".to_owned())]),
        tarball: &tarball,
        script: &script,
    };
    let made = run(line, environment, &scratch, &task).await?;
    let repository = (made.join("cpython.git"), "cpython.git".to_owned());
    keep(&scratch, &[(tarball, name.to_owned()), repository], place)?;
    stage.done("by undoing the steps of the release");
    Ok(())
}
