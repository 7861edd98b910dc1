//! Order, times and owners of the published archive, everything else of the rebuilt one.

use std::fs;

use proptest::prelude::*;
use verifier::compare::{Limits, ReplayError, Taken, Tier, replay};

use super::Pair;
use super::make::{self, GNU, Member, file, gzip, symlink};
use super::properties::config;

/// As a step of ours packs it: in the old GNU format, with a name too long for a header.
fn rebuilt() -> Vec<Member> {
    let long = format!("Python-1/{}/deep", "long".repeat(30));
    let mut members = make::python();
    members.push(symlink("Python-1/Lib/link", "os.py"));
    members.push(Member { before: make::long_name(&long), ..file(&long, "far away\n") });
    members.into_iter().map(|member| Member { magic: GNU, ..member }).collect()
}

/// As a manager's machine packed the same members: in any order, with its own user and times.
fn by_hand() -> Vec<Member> {
    let mut members = rebuilt();
    for member in &mut members {
        member.uid = 1000;
        member.owner = "ambv";
    }
    members[4].mtime += 2603;
    members[1..].reverse();
    members
}

struct Replayed {
    outcome: Result<Taken, ReplayError>,
    bytes: Vec<u8>,
}

fn replayed(published: &[u8], rebuilt: &[u8]) -> Replayed {
    let pair = Pair::new(published, rebuilt);
    let mut bytes = Vec::new();
    let outcome = replay(&pair.published(), &pair.rebuilt(), &mut bytes, &Limits::default());
    Replayed { outcome, bytes }
}

#[track_caller]
fn refused(published: &[Member], rebuilt: &[Member], why: &str) {
    let replayed = replayed(&make::tar(published), &make::tar(rebuilt));
    match replayed.outcome {
        Err(ReplayError::Refused(reason)) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{why}: {other:?}"),
    }
}

/// `members` after one change to the member number `index`.
fn with(index: usize, change: impl FnOnce(&mut Member)) -> Vec<Member> {
    let mut members = by_hand();
    change(&mut members[index]);
    members
}

#[test]
fn what_differs_in_order_times_and_owners_comes_out_byte_for_byte() {
    let (published, rebuilt) = (make::tar(&by_hand()), make::tar(&rebuilt()));
    let alike = Pair::new(&published, &rebuilt).compare(&Limits::default());
    assert_eq!(alike.tier, Tier::Contents);
    for published in [published.clone(), gzip(&published)] {
        let replayed = replayed(&published, &rebuilt);
        let taken = replayed.outcome.unwrap();
        assert_eq!(replayed.bytes, make::tar(&by_hand()));
        assert_eq!(
            taken.to_string(),
            "the order of its 7 members, 2 modification times and the owner ambv:ambv (1000:1000)"
        );
        let times: Vec<u64> = taken.times.iter().map(|time| time.members).collect();
        assert_eq!((times, taken.owners[0].members), (vec![6, 1], 7));
    }
}

#[test]
fn nothing_but_order_times_and_owners_is_taken() {
    let changes: [fn(&mut Member); 5] = [
        |member| member.data = b"print('owned')\n".to_vec(),
        |member| member.mode = 0o4755,
        |member| member.device = b"0000000\0",
        |member| member.magic = make::POSIX,
        |member| member.link = "hidden".into(),
    ];
    for change in changes {
        // A file in the middle: every change moves or alters bytes that a copy would show.
        let published = make::tar(&with(4, change));
        assert_ne!(published, make::tar(&by_hand()));
        let replayed = replayed(&published, &make::tar(&rebuilt()));
        replayed.outcome.unwrap();
        assert_eq!(replayed.bytes, make::tar(&by_hand()), "all of that is the rebuilt one's");
    }
}

#[test]
fn other_members_are_refused() {
    let file_only = |path: &str| file(path, "");
    let mut more = by_hand();
    more.push(file_only("Python-1/m4/build-to-host.m4"));
    refused(&more, &rebuilt(), "Python-1/m4/build-to-host.m4 is only published");
    let mut twice = by_hand();
    twice.push(twice[3].clone());
    refused(&twice, &rebuilt(), "is only published, or is published twice");
    refused(&by_hand()[..6], &rebuilt(), "Python-1/LICENSE is only rebuilt");
    refused(&with(6, |member| member.typeflag = b'5'), &rebuilt(), "is a directory published");
}

#[test]
fn fields_that_mean_more_than_they_hold_are_refused() {
    refused(&with(3, |member| member.owner = "a b"), &rebuilt(), "is no plain name");
    refused(&with(3, |member| member.owner = "\u{1b}[31m"), &rebuilt(), "is no plain name");
    let fraction = |member: &mut Member| {
        member.before = make::pax(&[("mtime", "1749656217.5")]);
    };
    refused(&with(3, fraction), &rebuilt(), "a fraction of a second");
    let huge = |member: &mut Member| member.before = make::pax(&[("uid", "4294967296")]);
    refused(&with(3, huge), &rebuilt(), "does not fit 7 octal digits");
    let early = |member: &mut Member| member.before = make::pax(&[("mtime", "-1")]);
    refused(&with(3, early), &rebuilt(), "does not fit 11 octal digits");
}

#[test]
fn more_times_and_owners_than_a_machine_leaves_are_refused() {
    let many = |of: &dyn Fn(usize, &mut Member)| {
        let mut members: Vec<Member> =
            (0..40).map(|n| Member { magic: GNU, ..file(&format!("P/{n}"), "") }).collect();
        let rebuilt = members.clone();
        for (index, member) in members.iter_mut().enumerate() {
            of(index, member);
        }
        (members, rebuilt)
    };
    let (times, rebuilt) = many(&|index, member| member.mtime += index as u64);
    refused(&times, &rebuilt, "more than 16 times");
    let (owners, rebuilt) = many(&|index, member| member.uid = index as u32);
    refused(&owners, &rebuilt, "more than 4 owners");
}

#[test]
fn a_rebuilt_archive_of_another_kind_is_refused() {
    refused(&by_hand(), &make::python(), "is not in the old GNU format");
    let mut hard = rebuilt();
    hard[5].typeflag = b'1';
    refused(&by_hand(), &hard, "is no plain file, directory or symbolic link");
    let mut twice = rebuilt();
    twice.push(twice[1].clone());
    refused(&by_hand(), &twice, "the rebuilt Python-1/LICENSE is there twice");
}

#[test]
fn damaged_archives_are_refused_wherever_they_are_cut() {
    let (published, rebuilt) = (make::tar(&by_hand()), make::tar(&rebuilt()));
    for length in (0..published.len()).step_by(211) {
        for (a, b) in [(&published[..length], &rebuilt[..]), (&published[..], &rebuilt[..length])] {
            let replayed = replayed(a, b);
            match replayed.outcome {
                Err(ReplayError::Refused(_)) => {}
                // Only zeros at the end were cut.
                Ok(_) => assert!(length + 10_240 > published.len(), "cut at {length}"),
                Err(error) => panic!("cut at {length}: {error}"),
            }
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_trouble_and_no_refusal() {
    let pair = Pair::new(&make::tar(&by_hand()), &make::tar(&rebuilt()));
    fs::remove_file(pair.rebuilt()).unwrap();
    let outcome = replay(&pair.published(), &pair.rebuilt(), &mut Vec::new(), &Limits::default());
    assert!(matches!(outcome, Err(ReplayError::Read(_))), "{outcome:?}");
}

/// Bytes of the published archive that somebody altered, with checksums that are right again.
fn altered(published: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = published.to_vec();
    for (place, byte) in changes {
        let place = place % bytes.len();
        bytes[place] = *byte;
        let block = &mut bytes[place / 512 * 512..][..512];
        if block[257..262] == *b"ustar" {
            make::fix_checksum(block);
        }
    }
    bytes
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_is_published_the_contents_are_the_rebuilt_ones(
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let members: Vec<Member> = order.iter().map(|place| by_hand()[*place].clone()).collect();
        let rebuilt = make::tar(&rebuilt());
        let replayed = replayed(&altered(&make::tar(&members), &changes), &rebuilt);
        match replayed.outcome {
            Ok(_) => {
                let pair = Pair::new(&rebuilt, &replayed.bytes);
                let tier = pair.compare(&Limits::default()).tier;
                prop_assert!(matches!(tier, Tier::Bitwise | Tier::Contents), "{tier:?}");
            }
            Err(ReplayError::Refused(_)) => prop_assert!(!changes.is_empty()),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
