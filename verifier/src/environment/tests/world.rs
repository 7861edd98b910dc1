//! A small archive on loopback that holds state: packages can be added, removed and replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use rebuilder::{Digest, ToolOrder, ToolRun};

use super::debs::{Member, deb, xz};
use super::keys::Key;
use crate::environment::{
    Environment, EnvironmentError, EnvironmentSpec, Lock, PipSettings, Progress, Settings,
    ToolFuture, build, lock,
};
use crate::http::Client;

const SIGNED: u32 = 1_700_000_000;

/// Path on the server to what it sends.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// An archive, a keyring and a state directory.
pub struct World {
    /// What the archive serves.
    pub files: Files,
    /// Settings that use it.
    pub settings: Settings,
    /// Who signs the index.
    pub key: Key,
    packages: String,
    directory: tempfile::TempDir,
}

impl World {
    /// An archive with three packages.
    pub async fn new() -> World {
        let files = Files::default();
        let server = Router::new().fallback(serve).with_state(Arc::clone(&files));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, server).await });
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            archives: ["empty", "debian"]
                .map(|name| format!("http://{address}/{name}").parse().unwrap())
                .to_vec(),
            indexes: Vec::new(),
            pip: PipSettings::default(),
            keyring: directory.path().join("keyring.gpg"),
            state: directory.path().join("state"),
        };
        let key = Key::new();
        std::fs::write(&settings.keyring, key.keyring()).unwrap();
        let mut world = World { files, settings, key, packages: String::new(), directory };
        let shell = Member::File("./usr/bin/bash", 0o755, b"shell");
        world.add("bash", "5.2-1", "libc6 (>= 2.38)", &[Member::Directory("./usr", 0o755), shell]);
        let library = [7; 100_000];
        world.add("libc6", "2.41-1", "", &[Member::File("./usr/lib/libc.so", 0o755, &library)]);
        let pip = Member::File("./usr/share/python-wheels/pip-1-py3-none-any.whl", 0o644, b"pip");
        world.add("pip", "1", "bash", &[pip]);
        world
    }

    /// Adds a package and signs the index anew.
    pub fn add(&mut self, name: &str, version: &str, depends: &str, members: &[Member]) {
        let bytes = deb(members);
        let path = format!("pool/main/{name}_{version}.deb");
        self.packages.push_str(&format!(
            "Package: {name}\nVersion: {version}\nDepends: {depends}\nFilename: {path}\n\
             Size: {}\nSHA256: {}\nDescription: of {name}\n more\n\n",
            bytes.len(),
            Digest::of(&bytes)
        ));
        self.put(&path, bytes);
        self.publish("Codename: trixie\nSuite: stable\n");
    }

    /// Signs an index that begins with `head`.
    pub fn publish(&self, head: &str) {
        let index = xz(self.packages.as_bytes());
        let release = format!(
            "Origin: Debian\n{head}Date: Sat, 12 Aug 2023 07:55:41 UTC\nSHA256:\n {} {} \
             main/binary-amd64/Packages.xz\n",
            Digest::of(&index),
            index.len()
        );
        let signed = self.key.sign(&release, SIGNED);
        self.put("dists/trixie/main/binary-amd64/Packages.xz", index);
        self.put("dists/trixie/InRelease", signed.into_bytes());
    }

    /// Serves `bytes` at `path` of the archive.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.files.lock().unwrap().insert(format!("/debian/{path}"), bytes);
    }

    /// What the archive serves at `path`, taken away.
    pub fn take(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap().remove(&format!("/debian/{path}")).unwrap()
    }

    /// The same world with a state directory of its own.
    pub fn other_settings(&self, state: &str) -> Settings {
        Settings { state: self.directory.path().join(state), ..self.settings.clone() }
    }

    /// Makes a lock.
    pub async fn lock(&self) -> Result<Lock, EnvironmentError> {
        let spec = EnvironmentSpec::parse(
            "name='small'\nsuite='trixie'\narchitecture='amd64'\ncomponents=['main']\n\
             packages=['pip']\nwheels=['blurb==2.0.0']\nexclude=['usr/share/doc']\n\
             beside={'usr/lib/other-blurb'='blurb==2.0.0'}\n",
        );
        lock(&spec.unwrap(), &self.settings, &Client::new().unwrap(), &pip, &silent).await
    }

    /// Builds in the settings' state directory.
    pub async fn build(lock: &Lock, settings: &Settings) -> Result<Environment, EnvironmentError> {
        build(lock, settings, &Client::new().unwrap(), &pip, &silent).await
    }
}

fn silent(_: Progress) {}

async fn serve(State(files): State<Files>, uri: Uri) -> (StatusCode, Vec<u8>) {
    match files.lock().unwrap().get(uri.path()) {
        Some(bytes) => (StatusCode::OK, bytes.clone()),
        None => (StatusCode::NOT_FOUND, Vec::new()),
    }
}

/// Does what pip does, when it is asked as pip is to be asked.
fn pip(order: ToolOrder) -> ToolFuture {
    Box::pin(async move {
        assert!(order.root.join("usr/bin/bash").is_file() && order.work.is_dir());
        let wanted = std::fs::read_to_string(order.work.join("requirements.txt"))?;
        assert_eq!(order.command[1], "/usr/share/python-wheels/pip-1-py3-none-any.whl/pip");
        let known = wanted.starts_with("blurb==2.0.0");
        if known {
            let wheel = order.work.join("out/blurb-2.0.0-py3-none-any.whl");
            std::fs::write(wheel, wheel_bytes(&[("blurb/__init__.py", b"print('blurb')\n")]))?;
        }
        let stderr = "ERROR: No matching distribution found".to_owned();
        Ok(ToolRun { code: i32::from(!known), stderr })
    })
}

/// A wheel of these members.
pub fn wheel_bytes(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Every path below `directory`.
pub fn paths(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}
