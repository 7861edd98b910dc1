//! Files that maintainer scripts or an administrator would make: the least that programs need.

use std::fs;

use anyhow::Context;

use super::assembly::Assembly;
use super::definition::TreePath;
use super::tree::Node;

/// Of lower rank than any package: these directories are as they are here.
const RANK: usize = 0;

/// Path and content. Empty ones are places for the container to show the host's file at.
const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/work:/usr/bin/bash\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/hosts", ""),
    ("etc/resolv.conf", ""),
];

/// Places for the container to mount at, and for programs to write below.
const DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("proc", 0o755),
    ("sys", 0o755),
    ("run", 0o755),
    ("source", 0o755),
    ("work", 0o755),
    ("tmp", 0o1777),
    ("var/tmp", 0o1777),
];

const CERTIFICATES: &str = "usr/share/ca-certificates/";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Links from where a program looks to where the file is.
const LINKS: &[(&str, &str)] = &[
    // OpenSSL's, hence Python's, default; Debian makes one link a certificate instead.
    ("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt"),
];

/// Adds them to a tree that holds all packages.
pub fn add(assembly: &Assembly) -> anyhow::Result<()> {
    for (path, mode) in DIRECTORIES {
        assembly.directory(&path.parse()?, *mode, RANK)?;
    }
    for (path, content) in FILES {
        assembly.file(&path.parse()?, 0o644, RANK, content.as_bytes())?;
    }
    for (path, target) in LINKS {
        assembly.link(&path.parse()?, target)?;
    }
    let bundle = bundle(assembly).context("collect the certificates")?;
    assembly.file(&BUNDLE.parse::<TreePath>()?, 0o644, RANK, bundle.as_slice())
}

/// What `update-ca-certificates` makes when every certificate is trusted: all of them, by path.
fn bundle(assembly: &Assembly) -> anyhow::Result<Vec<u8>> {
    let mut bundle = Vec::new();
    for (path, node) in assembly.below(CERTIFICATES) {
        // Only files: a link could lead out of the tree.
        if !path.ends_with(".crt") || !matches!(node, Node::File { .. }) {
            continue;
        }
        bundle.extend(fs::read(assembly.root().join(&path))?);
        if !bundle.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    Ok(bundle)
}
