//! One test a cause: what differs, and the line that says so.

use super::make::{
    GNU, Member, bzip2, directory, file, gzip, gzip_with, long_name, pax, python, record, symlink,
    tar, xz, zip, zstd,
};
use super::{check, compared};
use verifier::compare::Tier;

fn edited(edit: impl Fn(&mut Member)) -> Vec<u8> {
    let mut members = python();
    members.iter_mut().for_each(edit);
    tar(&members)
}

#[test]
fn equal_files_are_bitwise_and_nothing_is_said() {
    let comparison = compared(b"not an archive", b"not an archive");
    assert_eq!(comparison.tier, Tier::Bitwise);
    assert!(comparison.difference.is_none() && comparison.causes.is_empty());
    assert_eq!(comparison.summary, "identical, 14 bytes");
}

#[test]
fn another_gzip_level_is_one_line() {
    let base = tar(&python());
    check(
        &gzip(&base),
        &gzip_with(&base, 6, |_| {}),
        "payload
         gzip.level: gzip -9 (XFL 2) → gzip -2 to -8 (XFL 0)",
    );
}

#[test]
fn every_gzip_header_field_is_named() {
    let base = tar(&python());
    let stamped = gzip_with(&base, 9, |packed| packed[4..8].copy_from_slice(&[1, 0, 0, 0]));
    check(
        &gzip(&base),
        &stamped,
        "payload
         gzip.mtime: none → 1970-01-01T00:00:01Z: one side was made with gzip --no-name or \
         from a pipe",
    );
    let windows = gzip_with(&base, 9, |packed| packed[9] = 255);
    check(
        &gzip(&base),
        &windows,
        "payload
         gzip.os: Unix (3) → unknown (255; so do Python and Go)",
    );
    let named = gzip_with(&base, 9, |packed| {
        packed[3] |= 8;
        packed.splice(10..10, b"a.tar\0".iter().copied());
    });
    check(&gzip(&base), &named, "payload\ngzip.name: none → \"a.tar\"");
}

#[test]
fn gzip_members_and_trailing_bytes_are_told_apart() {
    let base = tar(&python());
    let (start, end) = base.split_at(1000);
    let two = [gzip(start), gzip(end)].concat();
    check(&gzip(&base), &two, "payload\ngzip.members: 1 → 2 gzip members in one file");
    let zeros = [gzip(&base), vec![0; 512]].concat();
    let at = gzip(&base).len();
    check(
        &gzip(&base),
        &zeros,
        &format!("payload\narchive.trailing: nothing → 512 bytes at offset {at}, all zero"),
    );
    let garbage = [gzip(&base), b"hello".to_vec()].concat();
    check(
        &gzip(&base),
        &garbage,
        &format!("different\narchive.trailing: nothing → 5 bytes at offset {at}, not zero"),
    );
}

#[test]
fn xz_dictionary_tells_the_preset() {
    let base = tar(&python());
    check(
        &xz(&base, 6),
        &xz(&base, 3),
        "payload
         xz.dictionary: 8 MiB (xz -5 or -6) → 4 MiB (xz -3 or -4)",
    );
    check(&gzip(&base), &xz(&base, 6), "payload\ncompression.format: gzip → xz");
}

#[test]
fn multi_threaded_xz_is_recognised() {
    // head -c 6000 /dev/zero | xz -6 -T2 --block-size=4096
    let threaded = hex::decode(
        "fd377a585a000004e6d6b44603c021802021011600000000b7b168dfe00fff00195d00006ffdffffa3b7ff47\
         3e481572396151b89228e6a3849e294600000000a5f0ea2594d3d32603c018f00e21011600000000f4abd157\
         e0076f00105d00006ffdffffa3b7ff473e4813bac5db000098541442052f29b4000239802030f00ea3ae7317\
         b1c467fb020000000004595a",
    )
    .expect("hexadecimal digits");
    check(
        &xz(&[0; 6000], 6),
        &threaded,
        "payload
         xz.blocks: 1 block → 2 blocks of 4,096 bytes (multi-threaded on one side: -T0, or xz \
         5.6 and later without -T1)
         xz.sizes: sizes not in block headers (one thread, -T1) → in block headers \
         (multi-threaded)",
    );
}

#[test]
fn bzip2_and_zstd_headers_are_read() {
    let base = tar(&python());
    check(&bzip2(&base, 9), &bzip2(&base, 1), "payload\nbzip2.level: bzip2 -9 → -1");
    let sized = zstd(&base, 3);
    let comparison = compared(&sized, &gzip(&base));
    assert_eq!(comparison.tier, Tier::Payload);
    let twice = [zstd(&base[..512], 3), zstd(&base[512..], 3)].concat();
    check(
        &twice,
        &[zstd(&base[..1024], 3), zstd(&base[1024..], 3)].concat(),
        "payload\ncompression.data: equal zstd headers, other compressed data (306 → 304 \
        bytes): another level or version",
    );
}

#[test]
fn shifted_times_are_one_line_with_the_shift() {
    check(
        &tar(&python()),
        &edited(|member| member.mtime += 3600),
        "contents
         tar.mtime: +3600 s (5 of 5)",
    );
}

#[test]
fn owners_are_one_line_a_field() {
    check(
        &tar(&python()),
        &edited(|member| {
            member.uid = 1000;
            member.owner = "release";
        }),
        "contents
         tar.owner: gid 0 → 1000 (5 of 5)
         tar.owner: gname \"\" → \"release\" (5 of 5)
         tar.owner: uid 0 → 1000 (5 of 5)
         tar.owner: uname \"\" → \"release\" (5 of 5)",
    );
}

#[test]
fn one_mode_bit_is_one_line_with_the_name() {
    let changed = edited(|member| {
        if member.path.ends_with("configure") {
            member.mode = 0o644;
        }
    });
    check(&tar(&python()), &changed, "different\ntar.mode: 0755 → 0644 (1 of 5)");
    let comparison = compared(&tar(&python()), &changed);
    assert_eq!(comparison.summary, "tar.mode 0755 → 0644 on 1 of 5 members: configure");
}

#[test]
fn another_order_is_same_contents() {
    let mut members = python();
    members.swap(1, 4);
    check(
        &tar(&python()),
        &tar(&members),
        "contents
         tar.order: same members, other order (published sorted by name, rebuilt not sorted) \
         (2 of 5)",
    );
}

#[test]
fn gnu_tar_versions_are_named_by_their_device_fields() {
    let zeros = edited(|member| {
        member.magic = GNU;
        member.device = b"0000000\x00";
    });
    let nul = edited(|member| member.magic = GNU);
    check(
        &zeros,
        &nul,
        "contents
         tar.devmajor: 0000000 → NUL (GNU tar 1.34 → 1.35) (5 of 5)",
    );
    check(
        &nul,
        &zeros,
        "contents
         tar.devmajor: NUL → 0000000 (GNU tar 1.35 → 1.34) (5 of 5)",
    );
}

#[test]
fn dialects_and_long_names_are_named() {
    let path = format!("Python-1/{}/x.py", "long".repeat(30));
    let posix = Member { before: pax(&[("path", &path)]), ..file(&path, "x\n") };
    let gnu = Member { before: long_name(&path), magic: GNU, ..file(&path, "x\n") };
    check(
        &tar(&[posix]),
        &tar(&[gnu]),
        "contents
         tar.format: posix: pax or ustar (magic \"ustar\\0\", version \"00\") → gnu (magic \
         \"ustar  \\0\") (1 of 1)
         tar.long_name: name in pax extended header → gnu long name header (1 of 1)",
    );
}

#[test]
fn pax_records_are_named() {
    let mut members = python();
    members[1].before = pax(&[("atime", "1749656217.5"), ("mtime", "1749656217.25")]);
    check(
        &tar(&python()),
        &tar(&members),
        "contents
         tar.mtime: mtime nanoseconds 0 → 250000000 (1 of 5)
         tar.pax: records none → atime mtime (1 of 5)
         tar.pax_name: extended header none → x …/PaxHeaders/… (1 of 5)",
    );
}

#[test]
fn bytes_after_the_end_are_located() {
    let base = tar(&python());
    let garbage = [base.clone(), vec![7; 512]].concat();
    check(
        &base,
        &garbage,
        "different
         archive.trailing: after the tar's end: nothing → 512 bytes at offset 10,240, not zero",
    );
    let padded = [base.clone(), vec![0; 512]].concat();
    check(
        &base,
        &padded,
        "contents
         tar.padding: at the end: 6,144 zero bytes → 6,656 zero bytes (tar --blocking-factor)",
    );
}

#[test]
fn one_line_of_one_file_is_shown_with_its_path() {
    let changed = edited(|member| {
        if member.path.ends_with("os.py") {
            member.data = b"import sys\nimport stat\nprint(evil)\n".to_vec();
        }
    });
    check(
        &tar(&python()),
        &changed,
        "different
         member.changed: of 5 members changed
           ~ Lib/os.py text",
    );
    assert_eq!(compared(&tar(&python()), &changed).unexplained, ["Lib/os.py"]);
}

#[test]
fn added_and_removed_members_come_first_with_content() {
    let mut published = python();
    published.push(file("Python-1/m4/build-to-host.m4", "dnl evil\n"));
    let mut rebuilt = python();
    rebuilt[4].data = b"#! /bin/sh\nexit 1\n".to_vec();
    rebuilt.push(file("Python-1/README", "hello\n"));
    check(
        &tar(&published),
        &tar(&rebuilt),
        "different
         member.removed: only published
         member.added: only rebuilt
         member.changed: of 5 members changed
           - m4/build-to-host.m4 text
           + README text
           ~ configure text",
    );
    let comparison = compared(&tar(&published), &tar(&rebuilt));
    assert_eq!(comparison.unexplained, ["configure", "m4/build-to-host.m4"]);
}

#[test]
fn renames_are_found_by_content_then_by_name() {
    let mut published = python();
    published.push(file("Python-1/Doc/same.txt", "the same\n"));
    published.push(file("Python-1/a/moved.txt", "one\ntwo\n"));
    let mut rebuilt = python();
    rebuilt.push(file("Python-1/Doc/other.txt", "the same\n"));
    rebuilt.push(file("Python-1/b/moved.txt", "one\n2\n"));
    check(
        &tar(&published),
        &tar(&rebuilt),
        "different
         member.renamed: under another path on each side
           → Doc/other.txt Doc/same.txt
           → b/moved.txt a/moved.txt text",
    );
}

#[test]
fn one_differing_top_directory_is_mapped() {
    let mut members = python();
    for member in &mut members {
        member.path = member.path.replace("Python-1", "Python-2");
    }
    check(
        &tar(&python()),
        &tar(&members),
        "different
         archive.top_directory: \"Python-1\" → \"Python-2\"",
    );
}

#[test]
fn archives_without_a_top_directory_are_not_mapped() {
    let published = tar(&[directory("a/"), file("a/x", "1\n"), file("b/y", "2\n")]);
    let rebuilt = tar(&[directory("c/"), file("c/x", "3\n"), file("b/y", "2\n")]);
    check(
        &published,
        &rebuilt,
        "different
         member.removed: only published
         member.added: only rebuilt
         member.renamed: under another path on each side
           - a directory
           + c directory
           → c/x a/x text",
    );
}

#[test]
fn links_and_types_are_compared() {
    let published = tar(&[symlink("p/a", "x"), symlink("p/b", "x")]);
    let rebuilt = tar(&[symlink("p/a", "y"), file("p/b", "x\n")]);
    check(
        &published,
        &rebuilt,
        "different
         member.changed: of 2 members changed
         member.type: inside (1 of 2)
         member.link: inside (1 of 2)
         tar.mode: 0777 → 0644 (1 of 2)
           ~ a symlink
             member.link: symbolic link to \"x\" → symbolic link to \"y\"
           ~ b symlink
             member.type: symbolic link to \"x\" → file",
    );
}

#[test]
fn duplicate_names_pair_in_order() {
    let published = tar(&[file("p/a", "1\n"), file("p/a", "2\n")]);
    let rebuilt = tar(&[file("p/a", "1\n"), file("p/a", "3\n")]);
    check(
        &published,
        &rebuilt,
        "different
         member.changed: of 2 members changed
           ~ a text",
    );
}

#[test]
fn sparse_members_equal_their_expanded_content() {
    let mut data = vec![b'a'; 512];
    data.extend_from_slice(&[0; 1024]);
    let plain = Member { data: data.clone(), ..file("p/s", "") };
    let stored = Member {
        data: [b"1\n0\n512\n".to_vec(), vec![0; 504], vec![b'a'; 512]].concat(),
        before: pax(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "p/s"),
            ("GNU.sparse.realsize", "1536"),
        ]),
        ..file("p/GNUSparseFile.1/s", "")
    };
    let comparison = compared(&tar(&[plain]), &tar(&[stored]));
    assert_eq!(comparison.tier, Tier::Contents);
    assert!(
        super::outline(&comparison).contains("tar.sparse: storage holes stored → holes left out")
    );
}

#[test]
fn bytes_in_unused_header_places_do_not_hide() {
    let mut base = tar(&python());
    base[505] = b'!';
    super::make::fix_checksum(&mut base[..512]);
    let found = super::outline(&compared(&tar(&python()), &base));
    assert!(found.starts_with("contents\ntar.encoding: unused header bytes, digest "), "{found}");
}

#[test]
fn a_member_inside_a_wheel_is_found_by_its_path() {
    let wheel = |data: &str| {
        zip(&[("pip/__init__.py", data), ("pip-1.dist-info/RECORD", "x\n")], |options| options)
    };
    let archive = |data: &str| {
        let wheel = Member { data: wheel(data), ..file("p/pip.whl", "") };
        gzip(&tar(&[directory("p/"), wheel]))
    };
    check(
        &archive("import a\n"),
        &archive("import b\n"),
        "different
         member.changed: of 2 members changed
           ~ pip.whl zip
             member.changed: of 2 members changed
             ~ pip/__init__.py text",
    );
}

#[test]
fn zip_metadata_is_contents() {
    let members = [("a.txt", "hello hello hello hello\n"), ("b.txt", "b\n")];
    let base = zip(&members, |options| options);
    let stored =
        zip(&members, |options| options.compression_method(zip::CompressionMethod::Stored));
    let found = super::outline(&compared(&base, &stored));
    assert!(
        found.starts_with("contents\nzip.compression: method deflate → stored (2 of 2)"),
        "{found}"
    );
    let swapped = zip(&[members[1], members[0]], |options| options);
    check(
        &base,
        &swapped,
        "contents
         zip.order: same members, other order (published sorted by name, rebuilt not sorted) \
         (1 of 2)",
    );
    let late = zip(&members, |options| {
        let time = zip::DateTime::from_date_and_time(1980, 1, 1, 1, 0, 0).expect("a time");
        options.last_modified_time(time)
    });
    check(&base, &late, "contents\nzip.mtime: +3600 s (2 of 2)");
}

#[test]
fn a_text_instead_of_an_archive_is_said_so() {
    check(
        &gzip(&tar(&python())),
        b"<html>404</html>\n",
        "different
         compression.format: gzip → none
         format: tar in gzip → plain content",
    );
}

#[test]
fn an_archive_in_an_archive_in_an_archive_is_opened() {
    let inner = |text: &str| xz(&tar(&[file("q/deep.txt", text)]), 0);
    let outer = |text: &str| {
        let member = Member { data: inner(text), ..file("p/inner.tar.xz", "") };
        gzip(&record_only(member))
    };
    fn record_only(member: Member) -> Vec<u8> {
        [record(&member), vec![0; 1024]].concat()
    }
    let found = super::outline(&compared(&outer("a\n"), &outer("b\n")));
    assert!(
        found.contains("~ inner.tar.xz xz>tar") && found.contains("~ deep.txt text"),
        "{found}"
    );
}
