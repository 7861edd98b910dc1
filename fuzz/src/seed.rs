//! Genuine files that the targets compare with and start from, written by the code itself: no
//! binary files lie in the repository.

use crate::make::{
    GNU, Member, bzip2, file, gzip, gzip_with, long_name, pax, python, symlink, tar, xz, zip, zstd,
};

const BLOCK: usize = 512;

/// The tar that every variant differs from.
pub fn genuine_tar() -> Vec<u8> {
    tar(&python())
}

/// The zip that every variant differs from.
pub fn genuine_zip() -> Vec<u8> {
    zip(&[("a.txt", "hello\nworld\n"), ("b/c.py", "import os\n")], |options| options)
}

/// The text that every variant differs from.
pub fn genuine_text() -> Vec<u8> {
    b"#! /bin/sh\n# configure\nfor f in a b c; do\n\techo \"$f\"\ndone\nexit 0\n".to_vec()
}

/// Variants of the tar: each kind of header, and each kind of change.
pub fn tars() -> Vec<Vec<u8>> {
    let mut mtimes = python();
    mtimes.iter_mut().for_each(|member| member.mtime += 3600);
    let mut gnu = python();
    gnu.iter_mut().for_each(|member| member.magic = GNU);
    let path = format!("Python-1/{}", "long/".repeat(30));
    let mut long = python();
    long.push(Member { before: long_name(&path), magic: GNU, ..file("Python-1/long", "x\n") });
    let mut extended = python();
    let records = pax(&[("path", path.as_str()), ("mtime", "1.5"), ("SCHILY.xattr.user.a", "b")]);
    extended.push(Member { before: records, ..file("Python-1/long", "x\n") });
    let mut holes = python();
    let map = pax(&[("GNU.sparse.size", "4096"), ("GNU.sparse.map", "0,2,4000,3")]);
    holes.push(Member { before: map, ..file("Python-1/holes", "abcde") });
    let version_1 =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "99")];
    let mut sparse = python();
    sparse.push(Member { before: pax(&version_1), ..file("p/s", "1\n9\n1\n") });
    let mut old_sparse = python();
    old_sparse.push(Member { typeflag: b'S', magic: GNU, ..file("Python-1/sparse", "abc") });
    let mut links = python();
    links.push(symlink("Python-1/python", "configure"));
    links.push(Member { typeflag: b'1', ..symlink("Python-1/hard", "Python-1/configure") });
    links.push(Member { typeflag: b'3', ..file("Python-1/null", "") });
    links.push(file("Python-1/LICENSE", "a second one of this name\n"));
    let mut nested = python();
    nested.push(Member { data: genuine_zip(), ..file("Python-1/a.whl", "") });
    nested.push(Member { data: gzip(b"hello\n"), ..file("Python-1/a.gz", "") });
    let mut renamed = python();
    renamed.rotate_left(2);
    renamed[0].path = "Python-1/renamed".into();
    let all = [mtimes, gnu, long, extended, holes, sparse, old_sparse, links, nested, renamed];
    let mut seeds: Vec<Vec<u8>> = all.iter().map(|members| tar(members)).collect();
    let mut trailing = genuine_tar();
    trailing.extend_from_slice(b"what follows the end");
    seeds.extend([genuine_tar(), trailing]);
    seeds
}

/// gzip of every level and with every header field.
pub fn gzips() -> Vec<Vec<u8>> {
    let base = genuine_tar();
    let named = flate2::GzBuilder::new()
        .filename("Python-1.tar")
        .comment("a comment")
        .extra(*b"AB\x02\x00xy")
        .mtime(1_749_656_217)
        .read(base.as_slice(), flate2::Compression::fast());
    let named = read_all(named);
    let twice = [gzip(&base[..BLOCK]), gzip(&base[BLOCK..])].concat();
    let trailing = [gzip(&base), b"behind".to_vec()].concat();
    let text = gzip(&genuine_text());
    let nested = gzip(&gzip(&base));
    let mut seeds = vec![named, twice, trailing, text, nested, gzip(&base)];
    seeds.extend([0, 1, 6].map(|level| gzip_with(&base, level, |_| {})));
    seeds
}

/// xz with every kind of check, and of several streams.
pub fn xzs() -> Vec<Vec<u8>> {
    use liblzma::stream::{Check, Stream};
    let base = genuine_tar();
    let mut seeds: Vec<Vec<u8>> = [0, 3, 6, 9].iter().map(|preset| xz(&base, *preset)).collect();
    let with =
        |stream: Stream| read_all(liblzma::read::XzEncoder::new_stream(base.as_slice(), stream));
    for check in [Check::None, Check::Crc32, Check::Sha256] {
        seeds.push(with(Stream::new_easy_encoder(1, check).expect("a preset")));
    }
    let first = xz(&base[..BLOCK], 0);
    seeds.push([first.clone(), vec![0; 8], xz(&base[BLOCK..], 0)].concat());
    seeds.push([first, b"behind".to_vec()].concat());
    seeds
}

/// zip with every method and field that the writer has.
pub fn zips() -> Vec<Vec<u8>> {
    let files = [("a.txt", "hello\nworld\n"), ("b/c.py", "import os\n")];
    let stored = zip(&files, |options| {
        options.compression_method(zip::CompressionMethod::Stored).unix_permissions(0o755)
    });
    let other = zip(&[("a.txt", "hello\nearth\n"), ("d.py", "import os\n")], |options| options);
    let large = zip(&files, |options| options.large_file(true));
    let in_front = [b"#! /usr/bin/env python3\n".to_vec(), genuine_zip()].concat();
    let epub = zip(&[("mimetype", "application/epub+zip")], |options| {
        options.compression_method(zip::CompressionMethod::Stored)
    });
    vec![genuine_zip(), stored, other, large, in_front, epub, zip(&[], |options| options)]
}

/// Texts, and what is nearly text.
pub fn texts() -> Vec<Vec<u8>> {
    let base = String::from_utf8_lossy(&genuine_text()).into_owned();
    vec![
        base.clone().into_bytes(),
        base.replace('\n', "\r\n").into_bytes(),
        base.trim_end().as_bytes().to_vec(),
        base.replace("echo", "exec").into_bytes(),
        base.lines().rev().map(|line| format!("{line}\n")).collect::<String>().into_bytes(),
        b"caf\xe9 latin 1\n".to_vec(),
        "bidi \u{202e} and \u{1b}[31m escapes\n".as_bytes().to_vec(),
        b"{\"b\": [1, 2, {\"a\": null}], \"a\": 1.0}\n".to_vec(),
        b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec(),
        Vec::new(),
    ]
}

/// Two inputs in one, as [`split`] takes them apart.
pub fn pairs() -> Vec<Vec<u8>> {
    let base = genuine_tar();
    let texts = texts();
    let json = b"{\"a\": 1.0, \"b\": [2, 1]}".to_vec();
    let couples = [
        (texts[0].clone(), texts[3].clone()),
        (texts[7].clone(), json),
        (bzip2(&texts[0], 9), bzip2(&texts[3], 1)),
        (bzip2(&base, 9), zstd(&base, 3)),
        (zstd(&base, 1), zstd(&base, 19)),
        (gzip(&base), xz(&base, 6)),
        (genuine_zip(), zips()[2].clone()),
        (base[..3072].to_vec(), tars()[0][..3072].to_vec()),
    ];
    couples.iter().map(|(published, rebuilt)| join(published, rebuilt)).collect()
}

fn join(published: &[u8], rebuilt: &[u8]) -> Vec<u8> {
    let length = u16::try_from(published.len()).expect("seeds are small");
    [&length.to_le_bytes(), published, rebuilt].concat()
}

/// The length of the first input in two bytes, then both.
pub fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let [low, high, rest @ ..] = bytes else { return (bytes, &[]) };
    rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()))
}

/// Makes every header's checksum right where a tar reader would look for one: random bytes would
/// never get past the first wrong one.
pub fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        if header.iter().any(|byte| *byte != 0) {
            crate::make::fix_checksum(header);
        }
        let digits = header[124..136].iter().skip_while(|byte| **byte == b' ');
        let size = digits
            .take_while(|byte| matches!(byte, b'0'..=b'7'))
            .fold(0_usize, |size, digit| size * 8 + usize::from(digit - b'0'));
        // Twelve octal digits are 2^36 at the most.
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    tar
}

fn read_all(mut reader: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("memory can be read");
    bytes
}
