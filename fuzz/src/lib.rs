//! The compare room under libFuzzer: what every target asserts about any two inputs.
//!
//! The room is compiled into this crate from its own files, so that it and its few dependencies are
//! instrumented and the rest of the program is not built. It is entered by its one door, with files
//! in a temporary directory, as everybody enters it.

// What the room names as `rebuilder::…`, from that crate's own files: its sandbox stays outside.
extern crate self as rebuilder;

#[path = "../../verifier/src/compare/mod.rs"]
pub mod compare;
#[path = "../../rebuilder/src/definition.rs"]
mod definition;
#[path = "../../rebuilder/src/digest.rs"]
mod digest;
#[path = "../../verifier/tests/compare/make.rs"]
pub mod make;
#[allow(dead_code)]
#[path = "../../rebuilder/src/order.rs"]
mod order;
pub mod seed;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::{env, fs, process};

use compare::{Comparison, Tier, report};
pub use definition::{BuildDefinition, Limits};
pub use digest::{Artifact, Digest};
pub use order::Trace;

/// Bytes that each report may have here; small, so that the limit is met often.
const REPORT_BYTES_MAX: u64 = 60_000;

/// Compares both ways round and checks all that holds for any two inputs. A panic is a finding.
pub fn check(published: &[u8], rebuilt: &[u8]) {
    let forth = one_way(published, rebuilt);
    let back = one_way(rebuilt, published);
    assert_eq!(forth, back, "the tier depends on the direction");
}

fn one_way(published: &[u8], rebuilt: &[u8]) -> Tier {
    let files = files();
    fs::write(&files.published, published).expect("room in the temporary directory");
    fs::write(&files.rebuilt, rebuilt).expect("room in the temporary directory");
    let comparison = compare::compare(&files.published, &files.rebuilt, None, &limits())
        .expect("damage is a difference, not an error");
    let is_bitwise = comparison.tier == Tier::Bitwise;
    assert_eq!(is_bitwise, published == rebuilt, "equal bytes, and only they, are bitwise");
    if let Some(node) = &comparison.difference {
        let is_said = !node.causes.is_empty()
            || !node.children.is_empty()
            || !node.notes.is_empty()
            || node.detail.is_some();
        assert!(is_said, "nothing is said about a difference");
    }
    check_reports(&comparison);
    comparison.tier
}

/// Small enough that a bomb costs milliseconds, large enough that nothing genuine is stopped.
fn limits() -> compare::Limits {
    compare::Limits {
        stream_bytes_max: 16 << 20,
        total_bytes_max: 64 << 20,
        ratio_grace_bytes: 1 << 20,
        report_bytes_max: REPORT_BYTES_MAX,
        ..compare::Limits::default()
    }
}

fn check_reports(comparison: &Comparison) {
    let style = report::Style { colour: false, columns: 40 };
    let json = report::json(comparison, REPORT_BYTES_MAX);
    serde_json::from_str::<serde_json::Value>(&json).expect("the JSON report is JSON");
    let reports = [
        ("text", report::text(comparison, style, REPORT_BYTES_MAX)),
        ("json", json),
        ("markdown", report::markdown(comparison, REPORT_BYTES_MAX)),
        ("unified html", report::html(comparison, report::Layout::Unified, REPORT_BYTES_MAX)),
        ("html", report::html(comparison, report::Layout::SideBySide, REPORT_BYTES_MAX)),
    ];
    for (kind, report) in &reports {
        let size = report.len() as u64;
        assert!(size <= REPORT_BYTES_MAX, "the {kind} report has {size} bytes");
        let bad = report.chars().find(|character| is_control(*character));
        assert_eq!(bad, None, "a control character in the {kind} report:\n{report}");
    }
}

/// Controls, and the marks that reorder a line.
fn is_control(character: char) -> bool {
    let reorders = matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    reorders || (character.is_control() && character != '\n')
}

struct Files {
    published: PathBuf,
    rebuilt: PathBuf,
}

/// `fuzz/run` makes a temporary directory and removes it; libFuzzer ends a process without asking.
fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let directory = env::temp_dir().join(format!("verbatim-fuzz-{}", process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        Files { published: directory.join("published"), rebuilt: directory.join("rebuilt") }
    })
}
