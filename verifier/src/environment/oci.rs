//! Writes an environment as an OCI image layout (image-spec 1.1), the same bytes every time.
//!
//! The one layer is not compressed: its digest then depends on nothing but the tree.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use rebuilder::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::Environment;
use super::assembly::MTIME_SECONDS;
use crate::scratch::{self, Scratch};
use super::tree::{self, Listing, Node};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: &'static str,
    manifests: [Descriptor; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: BTreeMap<&'static str, String>,
}

/// There is no `created`: it would be the only thing that changes.
#[derive(Serialize)]
struct Image {
    architecture: &'static str,
    os: &'static str,
    config: ImageConfig,
    rootfs: RootFs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfig {
    env: [&'static str; 1],
    cmd: [&'static str; 1],
    working_dir: &'static str,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: [String; 1],
}

/// Writes the layout to `directory`, which must be new, empty or an earlier layout; gives the
/// digest of the image's manifest, by which engines name it.
pub fn export(environment: &Environment, directory: &Path) -> anyhow::Result<Digest> {
    let listing = tree::scan(&environment.root)?;
    let found = tree::digest(&listing)?;
    ensure!(
        found == environment.digest,
        "{} is damaged: its digest is {found}; remove it and build it again",
        environment.root.display()
    );
    let directory = std::path::absolute(directory)?;
    let parent = directory.parent().context("the root cannot be an image layout")?;
    let stem = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let scratch = Scratch::new(parent, &stem)
        .with_context(|| format!("make a directory in {}", parent.display()))?;
    let layout = scratch.path().join("layout");
    let digest = write_layout(environment, &listing, &layout).context("write the image layout")?;
    make_way(&directory)?;
    fs::rename(&layout, &directory)
        .with_context(|| format!("move the image layout to {}", directory.display()))?;
    Ok(digest)
}

fn make_way(directory: &Path) -> anyhow::Result<()> {
    if directory.join("oci-layout").is_file() {
        return Ok(scratch::remove(directory)?);
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| {
            format!("{} is neither empty nor an image layout", directory.display())
        }),
    }
}

fn write_layout(
    environment: &Environment,
    listing: &Listing,
    layout: &Path,
) -> anyhow::Result<Digest> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let layer = write_layer(&environment.root, listing, &blobs)?;
    let image = Image {
        architecture: "amd64",
        os: "linux",
        config: ImageConfig {
            env: ["PATH=/usr/bin:/usr/sbin"],
            cmd: ["/usr/bin/bash"],
            working_dir: "/work",
        },
        rootfs: RootFs { r#type: "layers", diff_ids: [layer.digest.clone()] },
    };
    let tree = format!("sha256:{}", environment.digest);
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE,
        config: write_blob(&blobs, CONFIG_TYPE, &serde_json::to_vec(&image)?)?.0,
        layers: [layer],
        annotations: BTreeMap::from([("verbatim.environment.digest", tree)]),
    };
    let (mut descriptor, digest) =
        write_blob(&blobs, MANIFEST_TYPE, &serde_json::to_vec(&manifest)?)?;
    descriptor.annotations.insert("org.opencontainers.image.ref.name", environment.name.clone());
    let index = Index { schema_version: 2, media_type: INDEX_TYPE, manifests: [descriptor] };
    write_synced(&layout.join("index.json"), &serde_json::to_vec(&index)?)?;
    write_synced(&layout.join("oci-layout"), LAYOUT.as_bytes())?;
    Ok(digest)
}

fn write_blob(
    blobs: &Path,
    media_type: &'static str,
    bytes: &[u8],
) -> anyhow::Result<(Descriptor, Digest)> {
    let digest = Digest::of(bytes);
    write_synced(&blobs.join(digest.to_string()), bytes)?;
    Ok((descriptor(media_type, digest, bytes.len() as u64), digest))
}

fn descriptor(media_type: &'static str, digest: Digest, size: u64) -> Descriptor {
    let digest = format!("sha256:{digest}");
    Descriptor { media_type, digest, size, annotations: BTreeMap::new() }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn write_layer(root: &Path, listing: &Listing, blobs: &Path) -> anyhow::Result<Descriptor> {
    let path = blobs.join("layer");
    let file = HashingWriter { inner: File::create(&path)?, hasher: Sha256::new(), bytes: 0 };
    let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
    for (name, node) in listing {
        append(&mut tar, root, name, node).with_context(|| format!("write {name}"))?;
    }
    let file = tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.inner.sync_all()?;
    let (digest, bytes) = (Digest::from_hasher(file.hasher), file.bytes);
    fs::rename(&path, blobs.join(digest.to_string()))?;
    Ok(descriptor(LAYER_TYPE, digest, bytes))
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    root: &Path,
    name: &str,
    node: &Node,
) -> anyhow::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(MTIME_SECONDS);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match node {
        Node::Directory { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            tar.append_data(&mut header, format!("{name}/"), io::empty())?;
        }
        Node::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, name, target)?;
        }
        Node::File { mode, size, .. } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(*size);
            tar.append_data(&mut header, name, File::open(root.join(name))?)?;
        }
    }
    Ok(())
}

struct HashingWriter {
    inner: File,
    hasher: Sha256,
    bytes: u64,
}

impl Write for HashingWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
