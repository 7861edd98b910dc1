//! A package archive with one package in it: this machine's own programs.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgp::composed::{CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey};
use pgp::ser::Serialize;
use pgp::types::Password;
use rebuilder::Digest;

use crate::host_tree;

/// Of the host's programs, these are used beside [`host_tree::PROGRAMS`].
const MORE_PROGRAMS: &[&str] = &["git", "xz"];

/// Writes the archive and its keyring into `directory`; gives an error as one clear sentence.
pub fn write(directory: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("write {}: {error}", directory.display());
    let tree = directory.join("tree");
    fs::create_dir_all(&tree).map_err(failed)?;
    host_tree::build(&tree, MORE_PROGRAMS)?;
    add_git(&tree)?;
    let package = deb(&tree).map_err(failed)?;
    fs::remove_dir_all(&tree).map_err(failed)?;

    let pool = directory.join("debian/pool");
    fs::create_dir_all(&pool).map_err(failed)?;
    fs::write(pool.join("host-tools.deb"), &package).map_err(failed)?;
    let index = xz(index(&package).as_bytes()).map_err(failed)?;
    let dists = directory.join("debian/dists/host");
    let packages = dists.join("main/binary-amd64");
    fs::create_dir_all(&packages).map_err(failed)?;
    fs::write(packages.join("Packages.xz"), &index).map_err(failed)?;
    let (signed, keyring) = sign(&release(&index)).map_err(|error| format!("sign: {error}"))?;
    fs::write(dists.join("InRelease"), signed).map_err(failed)?;
    fs::write(directory.join("keyring.pgp"), keyring).map_err(failed)
}

/// Programs whose change makes another archive.
pub fn inputs() -> Result<Vec<PathBuf>, String> {
    let programs = host_tree::PROGRAMS.iter().chain(MORE_PROGRAMS);
    programs.map(|program| find(program)).collect()
}

fn find(program: &str) -> Result<PathBuf, String> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            format!("these tests need the program {program}, which this machine does not have")
        })
}

/// Git calls programs of its own directory, whose place is compiled in.
fn add_git(tree: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("copy git: {error}");
    let git = find("git")?;
    let output = Command::new(&git).arg("--exec-path").output().map_err(failed)?;
    let place = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let remote = place.join("git-remote-http");
    if !remote.is_file() {
        let place = place.display();
        return Err(format!("these tests need the program git-remote-http, not in {place}"));
    }
    let inside = |path: &Path| tree.join(path.strip_prefix("/").unwrap_or(path));
    for library in host_tree::libraries_of(&BTreeSet::from([remote.clone()]))? {
        let below = library.strip_prefix("/").map_err(|error| error.to_string())?;
        let below = below.strip_prefix("usr").unwrap_or(below);
        host_tree::copy(&library, &tree.join("usr").join(below))?;
    }
    host_tree::copy(&remote, &inside(&remote))?;
    symlink("git-remote-http", inside(&place.join("git-remote-https"))).map_err(failed)?;
    for name in ["git", "git-upload-pack"] {
        symlink("/usr/bin/git", inside(&place.join(name))).map_err(failed)?;
    }
    symlink("git", tree.join("usr/bin/git-upload-pack")).map_err(failed)
}

/// A `.deb` whose data member is not compressed: the tree is large and the way is short.
fn deb(tree: &Path) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.mode(tar::HeaderMode::Deterministic);
    for name in ["usr", "bin", "lib", "lib64"] {
        let path = tree.join(name);
        if path.is_symlink() {
            builder.append_path_with_name(&path, name)?;
        } else {
            builder.append_dir_all(name, &path)?;
        }
    }
    let data = builder.into_inner()?;
    let mut package = ar::Builder::new(Vec::new());
    for (name, content) in [("debian-binary", b"2.0\n".as_slice()), ("data.tar", &data)] {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        package.append(&header, content)?;
    }
    package.into_inner()
}

fn index(package: &[u8]) -> String {
    format!(
        "Package: host-tools\nVersion: 1\nFilename: pool/host-tools.deb\nSize: {}\nSHA256: {}\n\n",
        package.len(),
        Digest::of(package)
    )
}

fn release(index: &[u8]) -> String {
    format!(
        "Codename: host\nDate: Sat, 12 Aug 2023 07:55:41 UTC\nSHA256:\n {} {} \
         main/binary-amd64/Packages.xz\n",
        Digest::of(index),
        index.len()
    )
}

fn xz(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// `text` signed by a new key, and the keyring that holds only that key.
fn sign(text: &str) -> pgp::errors::Result<(String, Vec<u8>)> {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters
        .key_type(KeyType::Ed25519Legacy)
        .can_sign(true)
        .can_certify(true)
        .primary_user_id("Archive <archive@host.example>".to_owned());
    // Invariant: every parameter that has no default is given above.
    let parameters = parameters.build().expect("the key's parameters are complete");
    let key = parameters.generate(rand::thread_rng())?;
    let (signer, password) = (&key.primary_key, Password::empty());
    let signed = CleartextSignedMessage::sign(rand::thread_rng(), text, signer, &password)?;
    let keyring = SignedPublicKey::from(key.clone()).to_bytes()?;
    Ok((signed.to_armored_string(Default::default())?, keyring))
}
