//! Packages of every kind: kind and hostile.

use std::fs;
use std::io::Write;

use tar::{EntryType, Header};

use crate::environment::assembly::Assembly;
use crate::environment::{package, tree};

/// A member of a package: path, mode and content.
#[derive(Clone, Copy)]
pub enum Member<'a> {
    /// A regular file.
    File(&'a str, u32, &'a [u8]),
    /// A directory.
    Directory(&'a str, u32),
    /// A symbolic link and its target.
    Link(&'a str, &'a str),
    /// A hard link and its original.
    HardLink(&'a str, &'a str),
    /// Anything else.
    Odd(&'a str, EntryType),
}

/// The tar archive of `members`, with paths as they are: the tar crate refuses hostile ones.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        let (path, kind, mode, target, content): (_, _, _, &str, &[u8]) = match *member {
            Member::File(path, mode, content) => (path, EntryType::Regular, mode, "", content),
            Member::Directory(path, mode) => (path, EntryType::Directory, mode, "", b""),
            Member::Link(path, target) => (path, EntryType::Symlink, 0o777, target, b""),
            Member::HardLink(path, target) => (path, EntryType::Link, 0o644, target, b""),
            Member::Odd(path, kind) => (path, kind, 0o644, "", b""),
        };
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1234);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A package with the given members of its own archive.
pub fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ar::Builder::new(Vec::new());
    for (name, content) in members {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A package as dpkg-deb makes it.
pub fn deb(members: &[Member]) -> Vec<u8> {
    let data = xz(&tar(members));
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz", b"never read"), ("data.tar.xz", &data)])
}

/// `bytes` compressed.
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Unpacks the packages in order and gives the tree's lines, without the header.
fn unpack(debs: &[Vec<u8>], exclude: &[&str]) -> Result<String, String> {
    let state = tempfile::tempdir().unwrap();
    let outside = state.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let exclude: Vec<_> = exclude.iter().map(|path| path.parse().unwrap()).collect();
    let assembly = Assembly::new(&state.path().join("environments"), "x", &exclude).unwrap();
    for (rank, deb) in debs.iter().enumerate() {
        package::unpack(deb, &assembly, rank).map_err(|error| format!("{error:#}"))?;
    }
    let digest = assembly.finish().map_err(|error| format!("{error:#}"))?;
    let listing = tree::scan(assembly.root()).unwrap();
    assert_eq!(tree::digest(&listing).unwrap(), digest, "what was written is what is there");
    assert_eq!(fs::read_to_string(outside).unwrap(), "untouched");
    let describe = |(path, node): (&String, &tree::Node)| match node {
        tree::Node::Directory { mode } => format!("{path}/ {mode:o}"),
        tree::Node::File { mode, size, .. } => format!("{path} {mode:o} {size}"),
        tree::Node::Link { target } => format!("{path} -> {target}"),
    };
    Ok(listing.iter().map(describe).collect::<Vec<_>>().join("; "))
}

fn check(debs: &[Vec<u8>], expected: Result<&str, &str>) {
    match (unpack(debs, &["usr/share/doc", "opt/secret"]), expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{reason}"),
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

#[test]
fn packages_of_every_compression_are_unpacked() {
    let data = tar(&[
        Member::Directory("./", 0o755),
        Member::Directory("./usr/", 0o755),
        Member::File("./usr/a", 0o755, b"abc"),
        Member::HardLink("./usr/b", "./usr/a"),
        Member::Link("./usr/c", "/etc/c"),
        Member::Directory("./usr/share/doc/a/", 0o755),
        Member::File("./usr/share/doc/a/copyright", 0o644, b"long"),
        Member::File("./usr/share/docs", 0o644, b"kept"),
    ]);
    let expected = "usr/ 755; usr/a 755 3; usr/b 755 3; usr/c -> /etc/c; usr/share/ 755; \
                    usr/share/docs 644 4";
    let zst = zstd::encode_all(data.as_slice(), 1).unwrap();
    for (name, bytes) in [
        ("data.tar", data.clone()),
        ("data.tar.xz", xz(&data)),
        ("data.tar.gz", gz(&data)),
        ("data.tar.zst", zst),
    ] {
        check(&[ar(&[("debian-binary", b"2.0\n"), (name, &bytes)])], Ok(expected));
    }
    check(&[ar(&[("data.tar.lzma", &data)])], Err("which is not known here"));
}

#[test]
fn modes_lose_what_differs_between_users() {
    check(
        &[deb(&[
            Member::Directory("./tmp", 0o1777),
            Member::Directory("./shut", 0o2500),
            Member::File("./su", 0o4755, b""),
            Member::File("./shadow", 0o040, b""),
        ])],
        Ok("shadow 640 0; shut/ 700; su 755 0; tmp/ 1777"),
    );
}

#[test]
fn directories_may_be_shared_and_files_may_not() {
    let first = deb(&[Member::Directory("./usr", 0o755), Member::File("./usr/a", 0o644, b"1")]);
    let second = deb(&[Member::Directory("./usr", 0o700), Member::File("./usr/b", 0o644, b"2")]);
    check(&[first.clone(), second.clone()], Ok("usr/ 755; usr/a 644 1; usr/b 644 1"));
    check(&[second, first.clone()], Ok("usr/ 700; usr/a 644 1; usr/b 644 1"));
    check(&[first.clone(), first.clone()], Err("usr/a is there already"));
    let link = deb(&[Member::HardLink("./usr/z", "./usr/a")]);
    check(&[first, link], Err("which is no file before it"));
}

#[test]
fn nothing_leaves_the_tree() {
    for path in ["../outside", "./usr/../../outside", "/outside", "./a//b", "./usr/./a", "./a\\b"] {
        check(&[deb(&[Member::File(path, 0o644, b"x")])], Err("not a path relative to the root"));
    }
    check(&[deb(&[Member::File("/", 0o644, b"x")])], Err("its root is not a directory"));
    check(&[deb(&[Member::Link(".", "..")])], Err("its root is not a directory"));
    check(&[deb(&[Member::HardLink("./x", "../../../outside")])], Err("not a path"));
    check(&[deb(&[Member::HardLink("./x", "./y")])], Err("which is no file before it"));
}

#[test]
fn nothing_is_written_through_a_link() {
    let link = Member::Link("./lib", "../../..");
    let below = Member::File("./lib/outside", 0o644, b"x");
    check(&[deb(&[link, below])], Err("lib is needed as a directory"));
    check(&[deb(&[link]), deb(&[below])], Err("lib is needed as a directory"));
    check(&[deb(&[below]), deb(&[link])], Err("lib is there already"));
    check(&[deb(&[link, Member::File("./lib", 0o644, b"x")])], Err("lib is there already"));
    check(&[deb(&[link, Member::Directory("./lib", 0o755)])], Err("lib is needed as a directory"));
    check(&[deb(&[link, Member::HardLink("./x", "./lib")])], Err("which is no file before it"));
}

#[test]
fn device_nodes_and_other_oddities_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNUSparse] {
        assert!(unpack(&[deb(&[Member::Odd("./x", kind)])], &[]).is_err(), "{kind:?}");
    }
    check(&[deb(&[Member::Link("./x", "")])], Err("links to nothing"));
}

#[test]
fn broken_packages_are_refused() {
    let good = deb(&[Member::File("./a", 0o644, &[7; 5000])]);
    check(&[good[..good.len() - 20].to_vec()], Err(""));
    check(&[b"not an archive".to_vec()], Err("read the ar archive"));
    check(&[ar(&[("debian-binary", b"2.0\n")])], Err("it has no data member"));
    let data = tar(&[Member::File("./a", 0o644, b"x")]);
    check(&[ar(&[("data.tar", &data), ("data.tar", &data)])], Err("two data members"));
    check(&[ar(&[("data.tar", &data[..512])])], Err(""));
    let mut compressed = xz(&data);
    let end = compressed.len() - 30;
    compressed[end] ^= 1;
    check(&[ar(&[("data.tar.xz", &compressed)])], Err(""));
}
