//! The files of `config/witnesses`, described by the comments of those there.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use pep440_rs::VersionSpecifiers;
use serde::Deserialize;
use url::Url;

use crate::environment::Word;
use crate::http;
use crate::version::Version;

use super::formats::Format;

/// Longest sentence that says what a witness is, in bytes.
const ABOUT_BYTES_MAX: usize = 500;
/// Stands for the version in a URL or path.
const VERSION: &str = "{version}";
/// Every key of a file.
const KEYS: [&str; 8] = ["name", "about", "format", "url", "file", "suite", "component", "covers"];

/// Somebody who keeps records of published files.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Its name: `pyenv`.
    pub name: Word,
    /// Who that is and how they came by their records.
    pub about: String,
    /// How the record is written.
    pub format: Format,
    /// Where the record is.
    pub place: Place,
    covers: Vec<VersionSpecifiers>,
}

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the web, over https.
    Url(Template),
    /// On this machine.
    File(Template),
    /// The Sources index of a suite of the Debian archives that are configured.
    Suite { suite: Word, component: Word },
}

/// A URL or path, the same for all versions or with `{version}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// The URL or path for `version`.
    pub fn of(&self, version: &Version) -> String {
        self.0.replace(VERSION, &version.to_string())
    }

    /// Whether each version has a record of its own, which may not be there.
    pub fn is_of_one_version(&self) -> bool {
        self.0.contains(VERSION)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessFile {
    name: Word,
    about: String,
    format: Format,
    url: Option<String>,
    file: Option<String>,
    suite: Option<Word>,
    component: Option<Word>,
    #[serde(default)]
    covers: Vec<String>,
}

impl Witness {
    /// Parses the text of the file `name`, which lies in `directory` if it lies on disk.
    pub fn parse(name: &str, text: &str, directory: Option<&Path>) -> anyhow::Result<Witness> {
        parse(text, directory).with_context(|| format!("read {name}"))
    }

    /// Whether it can be expected to have a record of `version`.
    pub fn covers(&self, version: &Version) -> bool {
        let holds = |range: &VersionSpecifiers| range.contains(version.as_pep440());
        self.covers.is_empty() || self.covers.iter().any(holds)
    }
}

fn parse(text: &str, directory: Option<&Path>) -> anyhow::Result<Witness> {
    let table: toml::Table = text.parse()?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let near = KEYS.iter().max_by(|a, b| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key)));
        bail!("{key} is not a key; the nearest key is {}", near.unwrap_or(&"name"));
    }
    let file: WitnessFile = toml::from_str(text)?;
    let about = file.about.trim();
    let is_sentence = !about.is_empty() && about.len() <= ABOUT_BYTES_MAX;
    ensure!(
        is_sentence && !about.chars().any(char::is_control),
        "about is to be one sentence of at most {ABOUT_BYTES_MAX} bytes"
    );
    let range = |range: &String| {
        VersionSpecifiers::from_str(range).with_context(|| format!("read the range {range:?}"))
    };
    let covers = file.covers.iter().map(range).collect::<anyhow::Result<_>>()?;
    let place = place(&file, directory)?;
    Ok(Witness { about: about.to_owned(), name: file.name, format: file.format, place, covers })
}

fn place(file: &WitnessFile, directory: Option<&Path>) -> anyhow::Result<Place> {
    // What Debian's index says is Debian's only if its signature was checked, and what has no
    // signature has no use for a suite.
    let is_debian = file.format == Format::DebianSources;
    ensure!(file.component.is_none() || is_debian, "component belongs to a suite");
    match (&file.url, &file.file, &file.suite) {
        (None, None, Some(suite)) if is_debian => {
            let component = match &file.component {
                Some(component) => component.clone(),
                None => "main".parse()?,
            };
            Ok(Place::Suite { suite: suite.clone(), component })
        }
        _ if is_debian => bail!("the format debian-sources takes a suite, and no url or file"),
        (Some(url), None, None) => Ok(Place::Url(url_template(url)?)),
        (None, Some(path), None) => Ok(Place::File(file_template(path, directory)?)),
        _ => bail!("it is to have exactly one of url and file"),
    }
}

fn url_template(text: &str) -> anyhow::Result<Template> {
    let template = Template(text.to_owned());
    // Any version will do: it has no character that means something in a URL.
    let url: Url = template
        .of(&"3.13.5".parse()?)
        .parse()
        .with_context(|| format!("{text:?} is not a URL"))?;
    // Nothing but the transport says that the answer is the witness's own.
    let is_secure = url.scheme() == "https" || (url.scheme() == "http" && http::is_loopback(&url));
    ensure!(is_secure, "{text:?} is not an https URL");
    Ok(template)
}

fn file_template(text: &str, directory: Option<&Path>) -> anyhow::Result<Template> {
    let path = match directory {
        Some(directory) => directory.join(text),
        None => text.into(),
    };
    ensure!(path.is_absolute(), "{text:?} is not an absolute path");
    let path = path.to_str().with_context(|| format!("{text:?} lies below a path not in UTF-8"))?;
    Ok(Template(path.to_owned()))
}
