//! Hostile input: damage, bombs, lies. A sentence or a difference; never a panic, hang or pass.

use std::time::{Duration, Instant};

use verifier::compare::{CauseId, Comparison, Difference, Limits, Tier};

use super::make::{
    Member, bzip2, file, fix_checksum, gzip, gzip_with, pax, python, record, tar, xz, zip, zstd,
};
use super::{Pair, compared, outline};

/// Small limits, so that reaching them is quick.
fn tight() -> Limits {
    Limits { ratio_grace_bytes: 1 << 20, ratio_max: 50, ..Limits::default() }
}

fn compared_within(published: &[u8], rebuilt: &[u8], limits: &Limits) -> Comparison {
    Pair::new(published, rebuilt).compare(limits)
}

fn has_cause(node: &Difference, id: CauseId) -> bool {
    node.causes.iter().any(|cause| cause.cause == id)
        || node.children.iter().any(|child| has_cause(child, id))
}

#[track_caller]
fn assert_limit(comparison: &Comparison, words: &str) {
    assert_eq!(comparison.tier, Tier::Different);
    let node = comparison.difference.as_ref().expect("a difference");
    assert!(has_cause(node, CauseId::Limit), "{}", outline(comparison));
    assert!(outline(comparison).contains(words), "{}", outline(comparison));
}

#[test]
fn every_truncation_of_every_format_is_a_difference() {
    let base = tar(&python());
    let wheel = zip(&[("a", "hello hello hello\n"), ("b", "b\n")], |options| options);
    for whole in [base.clone(), gzip(&base), xz(&base, 6), bzip2(&base, 9), zstd(&base, 3), wheel] {
        for length in (0..whole.len()).step_by(whole.len() / 40 + 1) {
            let comparison = compared(&whole, &whole[..length]);
            assert_ne!(comparison.tier, Tier::Bitwise);
            assert!(comparison.difference.is_some());
            // Cut zeros at a tar's end are padding; everything else that is cut is missed.
            let only_padding = whole == base && length >= 4096;
            assert!(only_padding || comparison.tier == Tier::Different, "cut at {length}");
        }
    }
}

#[test]
fn a_member_behind_the_damage_is_not_called_removed() {
    let base = tar(&python());
    let comparison = compared(&base, &base[..1536 + 100]);
    let outline = outline(&comparison);
    assert!(!outline.contains("member.removed"), "{outline}");
    assert!(outline.contains("archive.corrupt: rebuilt: the tar ends within"), "{outline}");
    let notes = &comparison.difference.expect("a difference").notes;
    assert!(notes.iter().any(|note| note.text.contains("were not compared")), "{notes:?}");
}

#[test]
fn a_wrong_checksum_is_located() {
    let mut damaged = tar(&python());
    damaged[512] ^= 1;
    let found = outline(&compared(&tar(&python()), &damaged));
    assert!(found.contains("the checksum of the tar header at offset 512 is wrong"), "{found}");
}

#[test]
fn a_wrong_gzip_checksum_is_damage_and_no_payload() {
    let base = tar(&python());
    let damaged = gzip_with(&base, 9, |packed| {
        let crc = packed.len() - 8;
        packed[crc] ^= 1;
    });
    let comparison = compared(&gzip(&base), &damaged);
    assert_eq!(comparison.tier, Tier::Different);
    assert!(outline(&comparison).contains("CRC32 is not the data's"));
}

#[test]
fn bombs_stop_at_the_ratio() {
    let zeros = vec![0; 8 << 20];
    for bomb in [gzip(&zeros), xz(&zeros, 6), bzip2(&zeros, 9), zstd(&zeros, 3)] {
        assert_limit(&compared_within(&bomb, &gzip(b"x"), &tight()), "times its size");
    }
    let member = String::from_utf8(zeros).expect("zeros are UTF-8");
    let wheel = zip(&[("bomb", member.as_str())], |options| options);
    let other = zip(&[("bomb", "x")], |options| options);
    assert_limit(&compared_within(&wheel, &other, &tight()), "unpacks to more than");
}

#[test]
fn total_bytes_are_limited() {
    let base = gzip(&tar(&python()));
    let other = gzip_with(&tar(&python()), 1, |_| {});
    let limits = Limits { stream_bytes_max: 4096, ..Limits::default() };
    assert_limit(&compared_within(&base, &other, &limits), "more than 4096 bytes");
    let limits = Limits { total_bytes_max: 4096, ..Limits::default() };
    assert_limit(&compared_within(&base, &other, &limits), "more than 4096 bytes");
}

#[test]
fn nesting_is_limited() {
    let nest = |mut bytes: Vec<u8>| {
        for _ in 0..12 {
            bytes = gzip(&bytes);
        }
        bytes
    };
    assert_limit(
        &compared(&nest(b"a".to_vec()), &nest(b"b".to_vec())),
        "more than 8 compressions inside each other",
    );
    let boxes = |text: &str| {
        let mut bytes = tar(&[file("p/x", text)]);
        for _ in 0..12 {
            bytes = tar(&[Member { data: bytes, ..file("p/inner.tar", "") }]);
        }
        bytes
    };
    assert_limit(&compared(&boxes("a"), &boxes("b")), "nested deeper than 8");
}

#[test]
fn members_are_limited_and_the_rest_is_no_pass() {
    let many = |text: &str| {
        let members: Vec<Member> = (0..300).map(|i| file(&format!("p/{i:03}"), text)).collect();
        tar(&members)
    };
    let limits = Limits { members_max: 100, ..Limits::default() };
    assert_limit(&compared_within(&many("a"), &many("b"), &limits), "more than 100 members");
}

#[test]
fn nodes_and_details_are_limited_with_exact_counts() {
    let many = |text: &str| {
        let members: Vec<Member> = (0..300).map(|i| file(&format!("p/{i:03}"), text)).collect();
        tar(&members)
    };
    let limits = Limits { nodes_max: 10, details_bytes_max: 2_000, ..Limits::default() };
    let comparison = compared_within(&many("one\n"), &many("two\n"), &limits);
    let node = comparison.difference.expect("a difference");
    assert_eq!((node.children.len(), node.children_omitted), (10, 290));
    assert_eq!(node.causes[0].members, 300);
}

#[test]
fn names_are_limited() {
    let path = "n".repeat(5000);
    let long = tar(&[Member { before: pax(&[("path", &path)]), ..file("p/x", "1\n") }]);
    assert_limit(&compared(&long, &tar(&python())), "name is longer than 4096 bytes");
}

#[test]
fn an_extended_header_of_a_gigabyte_is_not_read() {
    let mut header = record(&Member { typeflag: b'x', ..file("p/x", "") });
    header[124..136].copy_from_slice(b"10000000000\0");
    fix_checksum(&mut header);
    assert_limit(&compared(&header, &tar(&python())), "extended tar header is larger");
}

#[test]
fn a_sparse_hole_of_a_terabyte_is_not_hashed() {
    let hole = Member {
        before: pax(&[("GNU.sparse.size", "1099511627776"), ("GNU.sparse.map", "0,0")]),
        ..file("p/hole", "")
    };
    assert_limit(&compared(&tar(&[hole]), &tar(&[file("p/hole", "")])), "unpacks to more");
}

#[test]
fn overlapping_zip_entries_are_refused() {
    let mut bytes = zip(&[("a", "hello\n"), ("b", "world\n")], |options| options);
    let second = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").expect("a header");
    bytes[second + 42..second + 46].copy_from_slice(&[0; 4]);
    let other = zip(&[("a", "hello\n"), ("b", "earth\n")], |options| options);
    let found = outline(&compared(&bytes, &other));
    assert!(found.contains("archive.corrupt: published: entries of the zip overlap"), "{found}");
}

#[test]
fn traversal_absolute_names_and_devices_are_only_names() {
    let evil = tar(&[
        file("../../etc/passwd", "x\n"),
        file("/etc/shadow", "y\n"),
        Member { typeflag: b'3', ..file("p/null", "") },
        Member { typeflag: b'6', ..file("p/fifo", "") },
    ]);
    let comparison = compared(&evil, &tar(&[file("../../etc/passwd", "z\n")]));
    assert_eq!(comparison.tier, Tier::Different);
    assert!(outline(&comparison).contains("- p/null special"), "{}", outline(&comparison));
}

#[test]
fn two_unlike_long_texts_do_not_hang() {
    let text = |seed: u64| {
        let mut state = seed;
        let mut text = String::new();
        for _ in 0..60_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(&format!("{}\n", state >> 52));
        }
        text.into_bytes()
    };
    let start = Instant::now();
    assert_eq!(compared(&text(1), &text(2)).tier, Tier::Different);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn a_deadline_that_has_passed_is_a_visible_limit() {
    let base = tar(&python());
    let limits = Limits { deadline: Some(Instant::now()), ..Limits::default() };
    let comparison = compared_within(&gzip(&base), &gzip(b"x"), &limits);
    assert_limit(&comparison, "limit reached: time");
}

#[test]
fn a_large_member_is_compared_without_holding_it() {
    let limits = Limits { member_bytes_max: 1000, waiting_bytes_max: 2000, ..Limits::default() };
    let archive = |last: &str| {
        let mut data = "0123456789\n".repeat(300);
        data.push_str(last);
        let inner = gzip(&tar(&[file("q/x", last)]));
        let mut padded = gzip_with(&[0; 3000], 0, |_| {});
        padded.extend(&inner);
        tar(&[file("p/big", &data), file("p/small", last), file("p/zz", "same\n")])
    };
    let comparison = compared_within(&archive("a\n"), &archive("b\n"), &limits);
    let found = outline(&comparison);
    assert!(found.contains("~ big") && found.contains("~ small text"), "{found}");
    assert!(!found.contains("limit"), "{found}");
}

#[test]
fn members_in_opposite_order_are_explained_in_a_second_pass() {
    let members = |text: &str| -> Vec<Member> {
        (0..60).map(|i| file(&format!("p/{i:02}"), &format!("{text} {i}\n").repeat(40))).collect()
    };
    let limits = Limits { waiting_bytes_max: 2_000, ..Limits::default() };
    let mut backwards = members("b");
    backwards.reverse();
    let comparison = compared_within(&tar(&members("a")), &tar(&backwards), &limits);
    let node = comparison.difference.expect("a difference");
    assert_eq!(node.children.len(), 60);
    assert!(node.children.iter().all(|child| child.detail.is_some()));
}

#[test]
fn a_deadline_at_any_moment_is_no_operating_error() {
    let members = |text: &str| -> Vec<Member> {
        (0..200).map(|i| file(&format!("p/{i:03}"), &format!("{text} {i}\n").repeat(40))).collect()
    };
    let mut backwards = members("b");
    backwards.reverse();
    let pair = Pair::new(&gzip(&tar(&members("a"))), &gzip(&tar(&backwards)));
    for microseconds in (0..20_000).step_by(500) {
        let deadline = Some(Instant::now() + Duration::from_micros(microseconds));
        let limits = Limits { deadline, waiting_bytes_max: 2_000, ..Limits::default() };
        assert_eq!(pair.compare(&limits).tier, Tier::Different);
    }
}
