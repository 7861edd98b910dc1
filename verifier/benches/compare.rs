//! `VERBATIM_TARBALL=Python-3.13.5.tar.xz cargo bench -p verifier --bench compare`: makes pairs of
//! archives from a genuine tarball, compares each with `verbatim compare` and, where it is
//! installed (`DIFFOSCOPE` names it, else the search path has it), with `diffoscope --json`.
//!
//! Measured per process: CPU time, user and system, and peak resident memory. Beside it stands
//! what it takes to unpack both sides and do nothing else, with the same libraries and with the
//! tools. `VERBATIM_OTHER` may
//! name a tarball of another release for the last pair.

#![allow(clippy::disallowed_methods, reason = "tests start programs and read the environment")]

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

const BLOCK: usize = 512;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // This program starts itself to measure one command: a process knows only the peak memory
        // of all its children together.
        ["--measure", program, rest @ ..] => measure_here(program, rest),
        ["--unpack", paths @ ..] => paths.iter().for_each(|path| unpack_file(path)),
        _ => bench(),
    }
}

/// What one process took.
#[derive(Clone, Copy)]
struct Cost {
    cpu_milliseconds: i64,
    peak_kibibytes: i64,
}

fn measure_here(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage knows our children");
    let time = |value: nix::sys::time::TimeVal| value.tv_sec() * 1000 + value.tv_usec() / 1000;
    let cpu = time(usage.user_time()) + time(usage.system_time());
    let code = status.ok().and_then(|status| status.code()).unwrap_or(-1);
    println!("{cpu} {} {code}", usage.max_rss());
}

fn measure(program: &Path, arguments: &[&str]) -> Option<Cost> {
    let own = env::current_exe().expect("a program knows its path");
    let output = Command::new(own).arg("--measure").arg(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_whitespace().map(|number| number.parse::<i64>());
    let (cpu, peak, code) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    assert!((0..=1).contains(&code), "{} exited {code}", program.display());
    Some(Cost { cpu_milliseconds: cpu, peak_kibibytes: peak })
}

fn bench() {
    let Ok(tarball) = env::var("VERBATIM_TARBALL") else {
        println!("VERBATIM_TARBALL is not set: nothing to measure");
        return;
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let pairs = make_pairs(Path::new(&tarball), directory.path());
    let verbatim = PathBuf::from(env!("CARGO_BIN_EXE_verbatim"));
    let own = env::current_exe().expect("a program knows its path");
    let diffoscope = find_diffoscope();
    println!("diffoscope: {}", diffoscope.as_ref().map_or("not installed", |(_, version)| version));
    println!(
        "| pair | libraries CPU s | gzip/xz -dc CPU s | verbatim CPU s | × -dc | peak MB | JSON KB \
         | HTML KB | diffoscope CPU s | peak MB | JSON KB | ratio |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, published, rebuilt) in &pairs {
        let (a, b) = (published.to_string_lossy(), rebuilt.to_string_lossy());
        let json = directory.path().join("report.json");
        let html = directory.path().join("report.html");
        let floor = best(|| measure(&own, &["--unpack", &a, &b]));
        let tools = best(|| unpack_by_tools(published, rebuilt));
        let ours = best(|| {
            let (json, html) = (json.to_string_lossy(), html.to_string_lossy());
            measure(&verbatim, &["compare", &a, &b, "--json", &json, "--html", &html])
        });
        let seconds = |cost: Cost| cost.cpu_milliseconds as f64 / 1000.0;
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len() / 1000);
        print!(
            "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} | {} |",
            seconds(floor),
            seconds(tools),
            seconds(ours),
            seconds(ours) / seconds(tools).max(0.001),
            ours.peak_kibibytes / 1024,
            size(&json),
            size(&html),
        );
        let theirs = diffoscope.as_ref().and_then(|(program, _)| {
            let report = directory.path().join("diffoscope.json");
            let cost = measure(program, &["--json", &report.to_string_lossy(), &a, &b])?;
            Some((cost, size(&report)))
        });
        match theirs {
            None => println!(" – | – | – | – |"),
            Some((cost, kilobytes)) => println!(
                " {:.1} | {} | {kilobytes} | 1/{:.0} |",
                seconds(cost),
                cost.peak_kibibytes / 1024,
                seconds(cost) / seconds(ours).max(0.001)
            ),
        }
        io::stdout().flush().expect("standard output takes a line");
    }
}

/// The cheapest of three runs: what else runs on the machine only adds.
fn best(run: impl Fn() -> Option<Cost>) -> Cost {
    let costs = (0..3).filter_map(|_| run());
    costs.min_by_key(|cost| cost.cpu_milliseconds).expect("the program runs")
}

/// What `gzip -dc` or `xz -dc` take for both sides: the cost that everybody can measure.
fn unpack_by_tools(published: &Path, rebuilt: &Path) -> Option<Cost> {
    let mut cost = Cost { cpu_milliseconds: 0, peak_kibibytes: 0 };
    for path in [published, rebuilt] {
        let path = path.to_string_lossy();
        let tool = if path.ends_with("xz") { "xz" } else { "gzip" };
        let one = measure(Path::new(tool), &["-dc", &path])?;
        cost.cpu_milliseconds += one.cpu_milliseconds;
        cost.peak_kibibytes = cost.peak_kibibytes.max(one.peak_kibibytes);
    }
    Some(cost)
}

fn find_diffoscope() -> Option<(PathBuf, String)> {
    let program = PathBuf::from(env::var("DIFFOSCOPE").unwrap_or_else(|_| "diffoscope".into()));
    let output = Command::new(&program).arg("--version").output().ok()?;
    Some((program, String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

fn unpacked(path: &Path) -> Box<dyn Read> {
    let file = fs::File::open(path).expect("the tarball is there");
    match path.to_string_lossy().ends_with("xz") {
        true => Box::new(liblzma::read::XzDecoder::new(file)),
        false => Box::new(flate2::read::MultiGzDecoder::new(file)),
    }
}

fn unpack_file(path: &str) {
    io::copy(&mut unpacked(Path::new(path)), &mut io::sink()).expect("the tarball is whole");
}

type Pairs = Vec<(&'static str, PathBuf, PathBuf)>;

fn make_pairs(tarball: &Path, directory: &Path) -> Pairs {
    let mut base = Vec::new();
    unpacked(tarball).read_to_end(&mut base).expect("the tarball is whole");
    let gz = |name: &str, bytes: &[u8], level: u32| {
        let path = directory.join(name);
        let file = fs::File::create(&path).expect("a file in the temporary directory");
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::new(level));
        encoder.write_all(bytes).expect("disk space");
        encoder.finish().expect("disk space");
        path
    };
    let a = gz("base.tgz", &base, 9);
    let xz_base = directory.join("base.tar.xz");
    fs::copy(tarball, &xz_base).expect("disk space");
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 3);
    encoder.write_all(&base).expect("memory");
    let xz_other = directory.join("level.tar.xz");
    fs::write(&xz_other, encoder.finish().expect("memory")).expect("disk space");
    let mut pairs = vec![
        ("identical", a.clone(), a.clone()),
        ("other gzip level", a.clone(), gz("level.tgz", &base, 6)),
        ("other xz level", xz_base, xz_other),
    ];
    for (name, bytes) in variants(&base) {
        let rebuilt = gz(&format!("{}.tgz", pairs.len()), &bytes, 9);
        pairs.push((name, a.clone(), rebuilt));
    }
    if let Ok(other) = env::var("VERBATIM_OTHER") {
        pairs.push(("another release", a, PathBuf::from(other)));
    }
    pairs
}

/// The tar with one thing changed, each.
fn variants(base: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let members = split(base);
    let mut variants = Vec::new();
    let mut add = |name, bytes| variants.push((name, bytes));
    let each = |change: &dyn Fn(&mut [u8])| edited(&members, change);
    add(
        "every mtime + 1 h",
        each(&|header| set(header, 136, 12, number(&header[136..147]) + 3600)),
    );
    add(
        "owners",
        each(&|header| {
            set(header, 108, 8, 1000);
            set(header, 116, 8, 1000);
            header[265..272].copy_from_slice(b"release");
        }),
    );
    let mut reversed: Vec<Vec<u8>> = members.clone();
    reversed.reverse();
    add("order only", join(&reversed));
    let configure = position(&members, "/configure");
    add(
        "one line of configure",
        replaced(&members, configure, |text| {
            text.replacen("ac_unique_file=", "ac_unique_fyle=", 1)
        }),
    );
    let mut swapped = members.clone();
    let mut added = members[configure].clone();
    added[..512].copy_from_slice(&members[configure][..512]);
    let name = b"Python-3.13.5/m4/build-to-host.m4\0";
    added[..name.len()].copy_from_slice(name);
    fix_checksum(&mut added);
    swapped.remove(position(&members, "/README.rst"));
    swapped.push(added);
    add("one added, one removed", join(&swapped));
    let mut moded = members.clone();
    set(&mut moded[configure], 100, 8, 0o644);
    fix_checksum(&mut moded[configure]);
    add("one mode bit", join(&moded));
    add("gnu and pax", join(&members.iter().map(|member| as_gnu(member)).collect::<Vec<_>>()));
    add(
        "devmajor, devminor",
        each(&|header| {
            header[329..337].copy_from_slice(b"0000000\0");
            header[337..345].copy_from_slice(b"0000000\0");
        }),
    );
    add("one member of the wheel", with_changed_wheel(&members));
    add(
        "every 20th line of configure",
        replaced(&members, configure, |text| {
            let lines = text.split('\n').enumerate();
            let lines = lines.map(|(at, line)| match at % 20 {
                0 => format!("{line} #x"),
                _ => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        }),
    );
    let mut trailing = base.to_vec();
    trailing.extend((0..700_u32).map(|byte| byte.to_le_bytes()[0] | 1));
    add("trailing garbage", trailing);
    variants
}

/// Every member with its extension headers and data; the end is left out.
fn split(tar: &[u8]) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at + BLOCK <= tar.len() && tar[at] != 0 {
        let size = usize::try_from(number(&tar[at + 124..at + 135])).expect("a size");
        let typeflag = tar[at + 156];
        at += BLOCK + size.next_multiple_of(BLOCK);
        if !matches!(typeflag, b'x' | b'L') {
            members.push(tar[start..at].to_vec());
            start = at;
        }
    }
    members
}

fn join(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize((bytes.len() + 2 * BLOCK).next_multiple_of(20 * BLOCK), 0);
    bytes
}

/// Where the member's own header begins.
fn own_header(member: &[u8]) -> usize {
    match member[156] {
        b'x' | b'L' => {
            let size = usize::try_from(number(&member[124..135])).expect("a size");
            BLOCK + size.next_multiple_of(BLOCK)
        }
        _ => 0,
    }
}

fn edited(members: &[Vec<u8>], change: &dyn Fn(&mut [u8])) -> Vec<u8> {
    let changed: Vec<Vec<u8>> = members
        .iter()
        .map(|member| {
            let mut member = member.clone();
            let at = own_header(&member);
            change(&mut member[at..at + BLOCK]);
            fix_checksum(&mut member[at..]);
            member
        })
        .collect();
    join(&changed)
}

fn position(members: &[Vec<u8>], suffix: &str) -> usize {
    let found = members.iter().position(|member| {
        let name = member[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        name.ends_with(suffix.as_bytes())
            && name.iter().filter(|byte| **byte == b'/').count() == suffix.matches('/').count()
    });
    found.expect("the member is in the tarball")
}

fn with_data(members: &[Vec<u8>], index: usize, data: &[u8]) -> Vec<u8> {
    let mut changed = members.to_vec();
    let mut member = members[index][..BLOCK].to_vec();
    set(&mut member, 124, 12, data.len() as u64);
    fix_checksum(&mut member);
    member.extend_from_slice(data);
    member.resize(member.len().next_multiple_of(BLOCK), 0);
    changed[index] = member;
    join(&changed)
}

fn data(member: &[u8]) -> &[u8] {
    let size = usize::try_from(number(&member[124..135])).expect("a size");
    &member[BLOCK..BLOCK + size]
}

fn replaced(members: &[Vec<u8>], index: usize, change: impl Fn(&str) -> String) -> Vec<u8> {
    let text = String::from_utf8(data(&members[index]).to_vec()).expect("UTF-8");
    with_data(members, index, change(&text).as_bytes())
}

fn as_gnu(member: &[u8]) -> Vec<u8> {
    let at = own_header(member);
    let mut own = member[at..].to_vec();
    own[257..265].copy_from_slice(b"ustar  \0");
    fix_checksum(&mut own);
    if at == 0 {
        return own;
    }
    let record = data(member);
    let path = record.split(|byte| *byte == b'=').nth(1).unwrap_or_default();
    let mut long = own[..BLOCK].to_vec();
    long[..100].fill(0);
    long[..13].copy_from_slice(b"././@LongLink");
    long[156] = b'L';
    set(&mut long, 124, 12, path.len() as u64);
    fix_checksum(&mut long);
    long.extend_from_slice(path.strip_suffix(b"\n").unwrap_or(path));
    long.push(0);
    long.resize(long.len().next_multiple_of(BLOCK), 0);
    [long, own].concat()
}

fn with_changed_wheel(members: &[Vec<u8>]) -> Vec<u8> {
    let index = members
        .iter()
        .position(|member| member[..100].windows(4).any(|four| four == b".whl"))
        .expect("a bundled wheel");
    let mut archive =
        zip::ZipArchive::new(io::Cursor::new(data(&members[index]))).expect("a whole wheel");
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for entry in 0..archive.len() {
        let mut file = archive.by_index(entry).expect("an entry");
        if file.name().expect("a name") != "pip/__init__.py" {
            writer.raw_copy_file(file).expect("memory");
            continue;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).expect("UTF-8");
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file("pip/__init__.py", options).expect("a new entry");
        writer.write_all(text.replacen("import", "imp0rt", 1).as_bytes()).expect("memory");
    }
    let wheel = writer.finish().expect("memory").into_inner();
    with_data(members, index, &wheel)
}

fn number(field: &[u8]) -> u64 {
    field
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .fold(0, |sum, digit| sum * 8 + u64::from(digit - b'0'))
}

fn set(header: &mut [u8], at: usize, width: usize, value: u64) {
    let digits = format!("{value:0width$o}\0", width = width - 1);
    header[at..at + width].copy_from_slice(digits.as_bytes());
}

fn fix_checksum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
