//! How an archive was packed.

use verifier::compare::{Limits, Packing, TarWriter, packing};

use super::Pair;
use super::make::{self, GNU, Member, directory, file, gzip, python, symlink, xz};

const ZEROS: &[u8; 8] = b"0000000\0";

fn read(bytes: &[u8]) -> Packing {
    let pair = Pair::new(bytes, b"");
    packing(&pair.published(), &Limits::default()).expect("no operating error")
}

/// Of the usual members after one change to each.
fn read_with(change: impl Fn(usize, &mut Member)) -> Packing {
    let mut members = python();
    for (index, member) in members.iter_mut().enumerate() {
        change(index, member);
    }
    read(&gzip(&make::tar(&members)))
}

#[test]
fn an_archive_of_the_release_script_is_known_in_every_compression() {
    let tar = make::tar(&python());
    let script = Packing {
        members: 5,
        tar: TarWriter::Tar135,
        root_owned: true,
        times: 1,
        sorted: true,
        mypy: false,
        note: None,
    };
    for bytes in [gzip(&tar), xz(&tar, 1), tar] {
        assert_eq!(read(&bytes), script);
    }
}

#[test]
fn the_writer_is_told_by_device_numbers_in_posix_format_only() {
    let of = |magic: Option<&'static [u8; 8]>, device| {
        let packing = read_with(|_, member| {
            member.magic = magic.unwrap_or(member.magic);
            member.device = device;
        });
        packing.tar
    };
    assert_eq!(of(None, ZEROS), TarWriter::Tar134);
    assert_eq!(of(None, &[0; 8]), TarWriter::Tar135);
    assert_eq!(of(None, b"0000001\0"), TarWriter::Other);
    assert_eq!(of(Some(GNU), &[0; 8]), TarWriter::GnuFormat);
    assert_eq!(of(Some(GNU), ZEROS), TarWriter::GnuFormat);
    assert_eq!(of(Some(&[0; 8]), &[0; 8]), TarWriter::Other);
    let mixed = read_with(|index, member| {
        if index == 4 {
            member.device = ZEROS;
        }
    });
    assert_eq!(mixed.tar, TarWriter::Other);
}

#[test]
fn one_member_of_somebody_or_of_another_time_is_seen() {
    let last = |change: fn(&mut Member)| {
        read_with(move |index, member| {
            if index == 4 {
                change(member);
            }
        })
    };
    assert!(!last(|member| member.uid = 1000).root_owned);
    assert_eq!(last(|member| member.mtime += 1).times, 2);
}

#[test]
fn order_is_that_of_each_directory_by_itself() {
    let sorted = |paths: &[&str]| {
        let members: Vec<Member> = paths.iter().map(|path| file(path, "")).collect();
        read(&make::tar(&members)).sorted
    };
    assert!(sorted(&["P-1/Lib/a", "P-1/Lib-2", "P-1/Lib.py"]));
    assert!(!sorted(&["P-1/Lib-2", "P-1/Lib/a"]));
}

#[test]
fn mypy_is_a_directory_of_misc_and_nothing_else() {
    let with = |member: Member| {
        let mut members = python();
        members.push(member);
        read(&make::tar(&members)).mypy
    };
    assert!(with(directory("Python-1/Misc/mypy/")));
    assert!(with(symlink("Python-1/Misc/mypy/_colorize.py", "../../Lib/_colorize.py")));
    assert!(!with(file("Python-1/Misc/mypy.ini", "")));
    assert!(!with(file("Python-1/Doc/Misc/mypy", "")));
}

#[test]
fn what_is_no_archive_or_ends_early_says_so() {
    for bytes in [Vec::new(), b"#! /bin/sh\n".to_vec(), gzip(b"text")] {
        assert_eq!(read(&bytes).note.as_deref(), Some("it is no tar archive"));
    }
    let whole = make::tar(&python());
    let cut = read(&whole[..5 * 512]);
    assert!(cut.note.is_some(), "{cut:?}");
    assert!(cut.members < 5);
    let packed = gzip(&whole);
    assert!(read(&packed[..packed.len() / 2]).note.is_some());
    // A bomb: nothing but zeros.
    let bomb = read(&gzip(&vec![0; 200 << 20]));
    assert!(bomb.members == 0 && bomb.tar == TarWriter::Other, "{bomb:?}");
}
