//! A small stand-in of python.org and git hosting on loopback, with state: releases can be added,
//! files replaced, answers made to fail.
//!
//! `verbatim demo` and every test use it. It serves real bytes over real sockets; nothing in the
//! line knows that it is not the real one.

mod answer;
mod git;
mod server;

pub mod earlier;
pub mod genuine;
pub mod made_up;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use serde_json::{Value, json};
use url::Url;

pub use answer::Fault;

use crate::config;
use crate::environment::Environment;
use crate::process::Program;
use crate::release::Md5;
use crate::version::Version;

/// The running stand-in; stops when it is dropped.
#[derive(Debug)]
pub struct World {
    state: Arc<Mutex<State>>,
    base: String,
    server: tokio::task::JoinHandle<()>,
}

/// Endings of sidecars, and the field of a file row that claims each.
const SIDECARS: [(&str, &str); 5] = [
    (".asc", "gpg_signature_file"),
    (".sigstore", "sigstore_bundle_file"),
    (".sig", "sigstore_signature_file"),
    (".crt", "sigstore_cert_file"),
    (".spdx.json", "sbom_spdx2_file"),
];

/// What the stand-in knows. Rows are JSON values, so that a test can make any field wrong.
#[derive(Debug, Default)]
pub struct State {
    /// Rows of `release/`.
    pub releases: Vec<Value>,
    /// Rows of `release_file/`, with the key of their release.
    pub files: Vec<(u64, Value)>,
    /// URL path below the host to the file that is served there.
    pub served: HashMap<String, PathBuf>,
    /// URL path to what goes wrong there, and how many times still.
    pub faults: HashMap<String, (Fault, u32)>,
    /// Paths of all requests so far.
    pub requests: Vec<String>,
    /// The Range headers of those that had one.
    pub ranges: Vec<String>,
    git: Option<Arc<git::Host>>,
}

/// A release to announce.
#[derive(Clone, Debug)]
pub struct Announcement<'a> {
    pub version: &'a Version,
    /// `release_date`, RFC 3339.
    pub date: &'a str,
    /// The source files; served under their own names.
    pub files: &'a [PathBuf],
}

impl World {
    /// An empty world on a free port of 127.0.0.1.
    pub async fn start() -> anyhow::Result<World> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .context("listen on a free loopback port")?;
        let base = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State::default()));
        let router = server::router(state.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!("the loopback world stopped: {error}");
            }
        });
        Ok(World { state, base, server })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The settings that point the feed at this world.
    pub fn feed(&self) -> anyhow::Result<config::Feed> {
        Ok(config::Feed {
            api: Url::parse(&format!("{}/api/v2/downloads", self.base))?,
            files: Url::parse(&format!("{}/ftp/python", self.base))?,
            ..config::Feed::default()
        })
    }

    /// The URL of the git repository, once there is one.
    pub fn repository(&self) -> String {
        format!("{}/cpython.git", self.base)
    }

    /// The state, to look at or change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        server::locked(&self.state)
    }

    /// Serves the bare repository at `path`; git runs in `environment`, with work files in
    /// `scratch`.
    pub fn host_repository(
        &self,
        path: &Path,
        environment: &Environment,
        program: &Program,
        scratch: &Path,
    ) {
        let host = git::Host::new(path, environment, program, scratch);
        self.state().git = Some(Arc::new(host));
    }

    /// Announces a release and serves its files, with true claims (MD5 and size, as python.org
    /// claimed until early 2026), and the sidecars that lie beside them.
    pub fn announce(&self, announcement: &Announcement) -> anyhow::Result<()> {
        let Announcement { version, date, files } = announcement;
        let api = format!("{}/api/v2/downloads", self.base);
        let mut state = self.state();
        let key = 1000 + state.releases.len() as u64;
        state.releases.push(json!({
            "name": format!("Python {version}"),
            "slug": format!("python-{}", version.to_string().replace('.', "")),
            "version": 3,
            "is_published": true,
            "is_latest": false,
            "release_date": date,
            "pre_release": false,
            "release_page": null,
            "release_notes_url": "",
            "show_on_download_page": true,
            "resource_uri": format!("{api}/release/{key}/"),
        }));
        for path in files.iter() {
            let row = file_row(&self.base, &api, key, version, path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let served = format!("/ftp/python/{}/{name}", version.base());
            state.served.insert(served, path.clone());
            state.files.push((key, row));
            for (ending, _) in SIDECARS {
                let beside = with_ending(path, ending);
                if beside.is_file() {
                    state.accompany(&name, ending, &beside);
                }
            }
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    /// The next `times` requests for `path` meet `fault`.
    pub fn fail(&mut self, path: &str, fault: Fault, times: u32) {
        self.faults.insert(path.to_owned(), (fault, times));
    }

    /// Serves the file at `path` as the sidecar of the announced file `name` with this ending
    /// (`.asc`), and claims it in its row.
    pub fn accompany(&mut self, name: &str, ending: &str, path: &Path) {
        let field = SIDECARS.iter().find(|(known, _)| *known == ending);
        let (Some((_, field)), Some(row)) = (field, self.row(name)) else { return };
        let url = format!("{}{ending}", row["url"].as_str().unwrap_or_default());
        row[*field] = url.clone().into();
        let served = url.find("/ftp/").map(|place| url[place..].to_owned());
        self.served.insert(served.unwrap_or(url), path.to_owned());
    }

    /// The file row of the artifact `name`.
    pub fn row(&mut self, name: &str) -> Option<&mut Value> {
        let ends = |row: &Value| row["url"].as_str().is_some_and(|url| url.ends_with(name));
        self.files.iter_mut().map(|(_, row)| row).find(|row| ends(row))
    }

    fn take_fault(&mut self, path: &str) -> Option<Fault> {
        let (fault, times) = self.faults.get_mut(path)?;
        *times = times.checked_sub(1)?;
        Some(fault.clone())
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn file_row(
    base: &str,
    api: &str,
    release: u64,
    version: &Version,
    path: &Path,
) -> anyhow::Result<Value> {
    let read = || format!("read {}", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let size = std::fs::metadata(path).with_context(read)?.len();
    let md5 = Md5::of_reader(std::fs::File::open(path).with_context(read)?).with_context(read)?;
    let url = format!("{base}/ftp/python/{}/{name}", version.base());
    let kind = if name.ends_with(".tgz") { "Gzipped" } else { "XZ compressed" };
    Ok(json!({
        "name": format!("{kind} source tarball"),
        "slug": format!("{version}-{}", kind.replace(' ', "-")),
        "os": format!("{api}/os/3/"),
        "release": format!("{api}/release/{release}/"),
        "description": "",
        "is_source": true,
        "url": url,
        "gpg_signature_file": "",
        "md5_sum": md5.to_string(),
        "sha256_sum": "",
        "filesize": size,
        "download_button": true,
        "resource_uri": format!("{api}/release_file/5190/"),
        "sigstore_signature_file": "",
        "sigstore_cert_file": "",
        "sigstore_bundle_file": "",
        "sbom_spdx2_file": "",
    }))
}

/// A test that panicked while it held the lock must not hide its own message.
fn recovered<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}
