//! Makes archives whose every header byte is known.

use std::io::Write;

/// One tar member; change what a test is about.
#[derive(Clone)]
pub struct Member {
    pub path: String,
    pub data: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub owner: &'static str,
    pub mtime: u64,
    pub typeflag: u8,
    pub link: String,
    pub magic: &'static [u8; 8],
    pub device: &'static [u8; 8],
    /// Written in front, as they are.
    pub before: Vec<u8>,
}

pub const POSIX: &[u8; 8] = b"ustar\x0000";
pub const GNU: &[u8; 8] = b"ustar  \x00";

pub fn file(path: &str, data: &str) -> Member {
    Member {
        path: path.into(),
        data: data.into(),
        mode: 0o644,
        uid: 0,
        owner: "",
        mtime: 1_749_656_217,
        typeflag: b'0',
        link: String::new(),
        magic: POSIX,
        device: &[0; 8],
        before: Vec::new(),
    }
}

pub fn directory(path: &str) -> Member {
    Member { mode: 0o755, typeflag: b'5', ..file(path, "") }
}

pub fn symlink(path: &str, link: &str) -> Member {
    Member { mode: 0o777, typeflag: b'2', link: link.into(), ..file(path, "") }
}

/// The members that most tests start from.
pub fn python() -> Vec<Member> {
    vec![
        directory("Python-1/"),
        file("Python-1/LICENSE", "be kind\n"),
        directory("Python-1/Lib/"),
        file("Python-1/Lib/os.py", "import sys\nimport stat\nprint(sys)\n"),
        Member { mode: 0o755, ..file("Python-1/configure", "#! /bin/sh\necho yes\nexit 0\n") },
    ]
}

/// One header and its data.
pub fn record(member: &Member) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &member.path.as_bytes()[..member.path.len().min(100)]);
    put(100, format!("{:07o}\0", member.mode).as_bytes());
    put(108, format!("{:07o}\0", member.uid).as_bytes());
    put(116, format!("{:07o}\0", member.uid).as_bytes());
    put(124, format!("{:011o}\0", member.data.len()).as_bytes());
    put(136, format!("{:011o}\0", member.mtime).as_bytes());
    put(148, b"        ");
    put(156, &[member.typeflag]);
    put(157, member.link.as_bytes());
    put(257, member.magic);
    put(265, member.owner.as_bytes());
    put(297, member.owner.as_bytes());
    put(329, member.device);
    put(337, member.device);
    fix_checksum(&mut header);
    let mut bytes = member.before.clone();
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&member.data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Makes a header valid again after it was changed.
pub fn fix_checksum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A tar as GNU tar writes it, records of 10,240 bytes.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(record).collect();
    bytes.resize((bytes.len() + 1024).next_multiple_of(10_240), 0);
    bytes
}

/// A pax extended header with these records.
pub fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length += 1;
        }
        body.push_str(&format!("{length}{rest}"));
    }
    record(&Member { typeflag: b'x', ..file("PaxHeaders/x", &body) })
}

/// A GNU long name header.
pub fn long_name(path: &str) -> Vec<u8> {
    let body = format!("{path}\0");
    record(&Member { typeflag: b'L', magic: GNU, ..file("././@LongLink", &body) })
}

/// gzip as `gzip -n -LEVEL` frames it, with one header field changed at will.
pub fn gzip_with(bytes: &[u8], level: u32, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new()
        .operating_system(3)
        .write(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).expect("write to memory");
    let mut packed = encoder.finish().expect("write to memory");
    change(&mut packed);
    packed
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_with(bytes, 9, |_| {})
}

pub fn xz(bytes: &[u8], preset: u32) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), preset);
    encoder.write_all(bytes).expect("write to memory");
    encoder.finish().expect("write to memory")
}

pub fn bzip2(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(level));
    encoder.write_all(bytes).expect("write to memory");
    encoder.finish().expect("write to memory")
}

pub fn zstd(bytes: &[u8], level: i32) -> Vec<u8> {
    zstd::stream::encode_all(bytes, level).expect("write to memory")
}

/// A zip of stored or deflated files.
pub fn zip(members: &[(&str, &str)], change: impl Fn(Options) -> Options) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, data) in members {
        let options = Options::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(0o644);
        writer.start_file(*path, change(options)).expect("a new entry");
        writer.write_all(data.as_bytes()).expect("write to memory");
    }
    writer.finish().expect("write to memory").into_inner()
}

pub type Options = zip::write::SimpleFileOptions;
