//! What holds for any input: equal is bitwise, every changed byte is reported, swapping sides
//! mirrors, and raw bytes behind a genuine start never cause a panic.

use proptest::prelude::*;
use verifier::compare::{Change, Difference, Limits, Tier, report};

use super::make::{bzip2, file, gzip, python, tar, xz, zip, zstd};
use super::{Pair, compared};

/// One archive of each format that the fuzzers start from.
fn seeds() -> Vec<Vec<u8>> {
    let base = tar(&python());
    vec![
        base.clone(),
        gzip(&base),
        xz(&base, 6),
        bzip2(&base, 9),
        zstd(&base, 3),
        zip(&[("a.txt", "hello\n"), ("b/c.py", "import os\n")], |options| options),
        b"plain\ntext\n".to_vec(),
        b"{\"json\": [1, 2, {\"a\": null}]}\n".to_vec(),
    ]
}

fn only(node: &Difference, change: &Change) -> Vec<String> {
    let matching = node.children.iter().filter(|child| child.change == *change);
    matching.map(|child| child.path.clone()).collect()
}

/// Every report of whatever came out is made too: they must cope with the same names.
fn render(published: &[u8], rebuilt: &[u8]) -> Tier {
    let limits =
        Limits { ratio_grace_bytes: 1 << 20, total_bytes_max: 64 << 20, ..Limits::default() };
    let comparison = Pair::new(published, rebuilt).compare(&limits);
    for layout in [report::Layout::Unified, report::Layout::SideBySide] {
        let page = report::html(&comparison, layout, 100_000);
        assert!(page.len() <= 110_000);
    }
    assert!(report::json(&comparison, 100_000).len() <= 100_000);
    assert!(report::markdown(&comparison, 60_000).len() <= 60_000);
    let _ = report::text(&comparison, report::Style { colour: false, columns: 40 }, 100_000);
    comparison.tier
}

/// A hundred cases in everyday tests; `PROPTEST_CASES=100000` makes a fuzzer of it.
pub fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 96;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_file_is_bitwise_equal_to_itself(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(compared(&bytes, &bytes).tier, Tier::Bitwise);
    }

    #[test]
    fn every_single_byte_change_is_reported(
        seed in 0..8_usize, place in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let whole = &seeds()[seed];
        let mut changed = whole.clone();
        let at = place.index(changed.len());
        changed[at] ^= flip;
        let comparison = compared(whole, &changed);
        prop_assert_ne!(comparison.tier, Tier::Bitwise);
        let node = comparison.difference.expect("a difference");
        let said = !node.causes.is_empty() || node.detail.is_some()
            || !node.children.is_empty() || !node.notes.is_empty();
        prop_assert!(said, "nothing was said about a change at {} of seed {}", at, seed);
    }

    #[test]
    fn swapping_the_sides_mirrors_the_tree(
        a in prop::collection::btree_map("[a-e]", "[x-z\n]{0,8}", 0..5),
        b in prop::collection::btree_map("[a-e]", "[x-z\n]{0,8}", 0..5),
    ) {
        let archive = |files: &std::collections::BTreeMap<String, String>| {
            let member = |(path, text): (&String, &String)| file(&format!("p/{path}"), text);
            let members: Vec<_> = files.iter().map(member).collect();
            tar(&members)
        };
        let forth = compared(&archive(&a), &archive(&b));
        let back = compared(&archive(&b), &archive(&a));
        prop_assert_eq!(forth.tier, back.tier);
        if let (Some(forth), Some(back)) = (forth.difference, back.difference) {
            let (published, rebuilt) = (&Change::OnlyPublished, &Change::OnlyRebuilt);
            prop_assert_eq!(only(&forth, published), only(&back, rebuilt));
            prop_assert_eq!(only(&forth, rebuilt), only(&back, published));
            prop_assert_eq!(only(&forth, &Change::Changed), only(&back, &Change::Changed));
        }
    }

    #[test]
    fn raw_bytes_behind_a_genuine_start_never_panic(
        seed in 0..8_usize,
        keep in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..600),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let whole = &seeds()[seed];
        let mut damaged = whole[..keep.index(whole.len())].to_vec();
        damaged.extend(noise);
        if !damaged.is_empty() {
            for (place, byte) in flips {
                let at = place.index(damaged.len());
                damaged[at] = byte;
            }
        }
        if damaged != *whole {
            prop_assert_ne!(render(whole, &damaged), Tier::Bitwise);
            render(&damaged, whole);
        }
    }

    #[test]
    fn damaged_tar_headers_with_right_checksums_never_panic(
        edits in prop::collection::vec((0..512_usize, any::<u8>()), 1..12),
        record in 0..4_usize,
    ) {
        let base = tar(&python());
        let mut damaged = base.clone();
        let start = [0, 512, 1536, 2048][record];
        for (at, byte) in edits {
            damaged[start + at] = byte;
        }
        super::make::fix_checksum(&mut damaged[start..start + 512]);
        if damaged != base {
            prop_assert_ne!(render(&base, &damaged), Tier::Bitwise);
        }
    }
}
