//! Configuration: defaults, then one TOML file, then the environment (`VERBATIM_FEED__API`).
//!
//! The one module that reads environment variables of the program. An unknown key is an error
//! that names the nearest key. The meaning of each key is said in `config/verbatim.toml`.

#![expect(clippy::disallowed_methods, reason = "this is the one module that reads the environment")]

mod elsewhere;
mod mistake;
mod reload;
mod written;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use rebuilder::Limits;
use serde::{Deserialize, Deserializer};
use url::Url;

use self::written::Written;
use crate::authenticate::witness::{Place, Witness};
use crate::http::{has_secrets, place_without_secrets};
use crate::webhook::{self, Webhook};
use crate::{environment, logging, retention, server};

pub use reload::Reloaded;

/// Where a configuration file is looked for when `--config` names none.
const PLACES: [&str; 2] = ["verbatim.toml", "/etc/verbatim/verbatim.toml"];

/// All settings, checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub feed: Feed,
    pub source: Source,
    pub environment: Environment,
    pub state: State,
    pub store: Store,
    pub rebuild: Rebuild,
    pub witnesses: Witnesses,
    pub queue: Queue,
    pub server: server::Settings,
    /// How long byproducts are kept.
    pub retention: retention::Policy,
    /// Who is told of changes.
    #[serde(deserialize_with = "webhook::webhooks")]
    pub webhooks: Vec<Webhook>,
    pub request: Request,
    pub log: Log,
    /// What was written, of which all this was made.
    #[serde(skip)]
    written: Written,
}

/// Which daemon `verbatim request` asks, and by what right.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Where it serves; none means `server.public_url`.
    #[serde(deserialize_with = "optional_url")]
    pub server: Option<Url>,
    /// A bearer token; meant for the environment.
    token: String,
    /// A file that holds one; empty for none.
    token_file: PathBuf,
}

impl fmt::Debug for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token: it is a secret.
        out.debug_struct("Request").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Request {
    /// The token; empty for none.
    pub fn token(&self) -> anyhow::Result<String> {
        if !self.token.is_empty() || self.token_file.as_os_str().is_empty() {
            return Ok(self.token.trim().to_owned());
        }
        let place = &self.token_file;
        let text = written::text_of(place)
            .with_context(|| format!("read request.token_file {}", place.display()))?;
        Ok(text.trim().to_owned())
    }
}

/// What the log on standard error says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least serious news that are still said; `-v` takes the place of it.
    pub level: logging::Level,
}

/// How the daemon works its queue off.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// A worker that shows no sign of life for so long is given up.
    #[serde(deserialize_with = "interval")]
    pub lease: SignedDuration,
    /// The first wait after trouble of ours; it doubles with every attempt, up to four hours.
    #[serde(deserialize_with = "interval")]
    pub retry: SignedDuration,
    /// Trouble of ours that lasts so long parks a job until an operator has looked.
    #[serde(deserialize_with = "interval")]
    pub park: SignedDuration,
    /// How long until a release that is not complete yet is looked at again, if it is a new one.
    #[serde(deserialize_with = "interval")]
    pub wait: SignedDuration,
    /// So long after its announcement a release without a signature is waited for.
    #[serde(deserialize_with = "interval")]
    pub unsigned: SignedDuration,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            lease: SignedDuration::from_secs(40),
            retry: SignedDuration::from_secs(30),
            park: SignedDuration::from_hours(24),
            wait: SignedDuration::from_mins(5),
            unsigned: SignedDuration::from_hours(24),
        }
    }
}

/// Where releases are announced and served.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    /// Base URL of the downloads API, without a slash at its end.
    #[serde(deserialize_with = "base_url")]
    pub api: Url,
    /// Base URL of the published files; a file anywhere else is refused. It has no user and no
    /// password, since every record shows it.
    #[serde(deserialize_with = "shown_url")]
    pub files: Url,
    /// How long from one look at the list of releases to the next.
    #[serde(deserialize_with = "interval")]
    pub interval: SignedDuration,
    /// How long from one look at the listing of files, the RSS of releases and the repository's
    /// tags to the next.
    #[serde(deserialize_with = "interval")]
    pub glance: SignedDuration,
    /// The longest time until a release's files and claims are asked for again.
    #[serde(deserialize_with = "interval")]
    pub refresh: SignedDuration,
    /// Releases announced since this day are verified, too; none means only new ones.
    #[serde(deserialize_with = "day")]
    pub since: Option<Timestamp>,
    /// Requests to the downloads API within 24 hours.
    pub requests_per_day: u32,
}

/// Where the tags are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Any URL or path that git can fetch.
    pub repository: String,
}

/// Where packages come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Environment {
    /// Base URLs of Debian archives, tried in order.
    pub archives: Vec<Url>,
    /// Simple Python indexes, tried in order; none means the machine's own pip settings.
    pub indexes: Vec<Url>,
    /// OpenPGP keyring that signs the archive's index.
    pub keyring: PathBuf,
}

/// Where everything that lasts is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    pub directory: PathBuf,
}

/// The store of records.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite:` and a path; empty for `records.sqlite` in the state directory.
    #[serde(deserialize_with = "store_url")]
    pub url: String,
}

/// How rebuilds run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rebuild {
    pub runtime: Runtime,
    /// Upper bounds of one rebuild.
    pub limits: Limits,
    /// Directory with `recipes/`, `environments/`, `witnesses/` and what should replace files of
    /// `trust/`; empty for the built-in ones.
    pub definitions: PathBuf,
}

/// Who is asked whether they keep the same digests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Witnesses {
    pub ask: Ask,
}

/// Which witnesses are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// All of the definitions.
    #[default]
    All,
    /// Only those that need nothing but the package archives and this machine's own files.
    Archives,
    /// None.
    None,
}

impl Ask {
    /// Whether `witness` is asked.
    pub fn includes(self, witness: &Witness) -> bool {
        match (self, &witness.place) {
            (Ask::All, _) => true,
            (Ask::Archives, Place::Suite { .. } | Place::File(_)) => true,
            (Ask::Archives, Place::Url(_)) | (Ask::None, _) => false,
        }
    }
}

/// What runs the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// This program itself.
    #[default]
    Embedded,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed {
            api: known_url("https://www.python.org/api/v2/downloads"),
            files: known_url("https://www.python.org/ftp/python"),
            interval: SignedDuration::from_mins(30),
            glance: SignedDuration::from_mins(5),
            refresh: SignedDuration::from_hours(30 * 24),
            since: None,
            requests_per_day: 100,
        }
    }
}

impl Default for Source {
    fn default() -> Source {
        Source { repository: "https://github.com/python/cpython".to_owned() }
    }
}

impl Default for Environment {
    fn default() -> Environment {
        Environment {
            archives: environment::machine_archives(),
            indexes: Vec::new(),
            keyring: PathBuf::from("/usr/share/keyrings/debian-archive-keyring.gpg"),
        }
    }
}

impl Default for State {
    fn default() -> State {
        State { directory: default_state_directory() }
    }
}

/// `/var/lib/verbatim` for root; `$XDG_STATE_HOME/verbatim` or `~/.local/state/verbatim` otherwise
/// (XDG Base Directory Specification 0.8).
fn default_state_directory() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/verbatim");
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let xdg = absolute("XDG_STATE_HOME");
    let state = xdg.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    // A relative path is refused by `load`, with a sentence that names the key.
    state.map(|state| state.join("verbatim")).unwrap_or_default()
}

impl Config {
    /// Reads `file`, or the first file of the usual places, and the environment; `state` takes the
    /// place of `state.directory`.
    pub fn load(file: Option<&Path>, state: Option<&Path>) -> anyhow::Result<Config> {
        let usual = PLACES.iter().map(Path::new).find(|place| place.exists());
        let written = Written::read(file.or(usual))?;
        let mut config = Config::of(written)?;
        config.state.directory = absolute(state.unwrap_or(&config.state.directory))?;
        if !config.rebuild.definitions.as_os_str().is_empty() {
            config.rebuild.definitions = absolute(&config.rebuild.definitions)?;
        }
        Ok(config)
    }

    fn of(written: Written) -> anyhow::Result<Config> {
        match written.figment().extract::<Config>() {
            Ok(config) => Ok(Config { written, ..config }),
            Err(error) => Err(mistake::explained(error, &written)),
        }
    }

    /// The path of the store's file.
    pub fn store_path(&self) -> anyhow::Result<PathBuf> {
        if self.store.url.is_empty() {
            return Ok(self.state.directory.join("records.sqlite"));
        }
        match self.store.url.strip_prefix("sqlite:") {
            Some(path) => Ok(PathBuf::from(path.trim_start_matches("//"))),
            None => bail!("store.url {:?} is not understood: write sqlite:PATH", self.store.url),
        }
    }

    /// The environment room's settings.
    pub fn environment_settings(&self) -> environment::Settings {
        environment::Settings {
            archives: self.environment.archives.clone(),
            indexes: self.environment.indexes.clone(),
            pip: environment::machine_pip(&|name| std::env::var(name).ok()),
            keyring: self.environment.keyring.clone(),
            state: self.state.directory.clone(),
        }
    }
}

/// The proxy variables of this machine, for tools that use its network. Its own loopback is never
/// reached through a proxy.
pub fn proxies() -> Vec<(String, String)> {
    let set = |name: &str| std::env::var(name).ok();
    let names = ["http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"];
    let proxies = names.iter().filter_map(|name| Some((name.to_string(), set(name)?)));
    let without = set("no_proxy").or_else(|| set("NO_PROXY")).unwrap_or_default();
    let without = ("no_proxy".to_owned(), format!("127.0.0.1,localhost,::1,{without}"));
    proxies.chain([without]).collect()
}

/// Whether NO_COLOR is set; see no-color.org.
pub fn wants_no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some()
}

/// The width that COLUMNS gives the terminal.
pub fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    if path.as_os_str().is_empty() {
        bail!("there is no state directory: set state.directory, --state or HOME");
    }
    std::path::absolute(path).with_context(|| format!("make {} absolute", path.display()))
}

fn known_url(text: &str) -> Url {
    // Invariant: only called with the URLs written in this file.
    Url::parse(text).expect("a built-in URL parses")
}

/// A URL without a slash at its end, so that `join`ing is always `base/rest`.
fn base_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = Url::parse(text.trim_end_matches('/'));
    let text = place_without_secrets(&text);
    let url = parsed
        .map_err(|error| serde::de::Error::custom(format!("{text:?} is not a URL: {error}")))?;
    if url.host_str().is_none() {
        return Err(serde::de::Error::custom(format!("{text:?} names no host")));
    }
    Ok(url)
}

/// The same for a URL that everybody is shown.
fn shown_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let url = base_url(deserializer)?;
    if has_secrets(&url) {
        let said = "it has a user or a password, which every record would show: leave them out";
        return Err(serde::de::Error::custom(said));
    }
    Ok(url)
}

/// The URL of a store that is understood, or nothing.
fn store_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || text.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty()) {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format!("{text:?} is not understood: write sqlite:PATH")))
}

/// A URL, or an empty text for none.
fn optional_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let shown = place_without_secrets(&text);
    let wrong = |error| serde::de::Error::custom(format!("{shown:?} is not a URL: {error}"));
    Url::parse(&text).map(Some).map_err(wrong)
}

/// A time span as people write it (`30m`, `1h 30m`), from 100 milliseconds to 30 days.
fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span: SignedDuration = text
        .parse()
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is no time span such as 30m")))?;
    let sensible = SignedDuration::from_millis(100)..=SignedDuration::from_hours(30 * 24);
    if !sensible.contains(&span) {
        return Err(serde::de::Error::custom(format!("{text:?} is not from 100ms to 720h")));
    }
    Ok(span)
}

/// A day as people write it (`2025-04-08`), at its beginning in UTC; empty for none.
fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let midnight = format!("{text}T00:00:00Z").parse();
    midnight
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is no day such as 2025-04-08")))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Config;

    fn load(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load(Some(file.path()), None).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shipped_file_is_the_defaults() {
        let shipped = load(include_str!("../../config/verbatim.toml")).unwrap();
        let built_in = Config::default();
        assert_eq!(format!("{:?}", shipped.feed), format!("{:?}", built_in.feed));
        assert_eq!(format!("{:?}", shipped.rebuild), format!("{:?}", built_in.rebuild));
        assert_eq!(format!("{:?}", shipped.witnesses), format!("{:?}", built_in.witnesses));
        assert_eq!(format!("{:?}", shipped.queue), format!("{:?}", built_in.queue));
        assert_eq!(shipped.server, built_in.server);
        assert_eq!(shipped.retention, built_in.retention);
        assert_eq!(shipped.webhooks, built_in.webhooks);
        assert_eq!(shipped.log, built_in.log);
        assert_eq!(format!("{:?}", shipped.request), format!("{:?}", built_in.request));
        assert_eq!(shipped.source.repository, built_in.source.repository);
        assert_eq!(shipped.environment.keyring, built_in.environment.keyring);
    }
}
