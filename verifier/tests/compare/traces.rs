//! Where published members come from.

use std::fs;

use rebuilder::{Digest, Trace, Traced};
use verifier::compare::{Limits, Origin, Tier, compare, explain};

use super::Pair;
use super::make::{file, gzip, python, tar};

fn traced(content: &str, step: &str) -> Traced {
    Traced { sha256: Digest::of(content.as_bytes()), step: step.into() }
}

fn trace() -> Trace {
    let mut trace = Trace::default();
    trace.files.insert("LICENSE".into(), traced("be kind\n", "export"));
    trace.files.insert("Misc/NEWS".into(), traced("news\n", "news"));
    trace.files.insert("setup.py".into(), traced("gone\n", "export"));
    trace.removed.insert(".gitignore".into(), "clean".into());
    trace.removed.insert("Misc/NEWS.d/x.rst".into(), "news".into());
    let members = python();
    for member in &members[3..] {
        let path = member.path.trim_start_matches("Python-1/").to_owned();
        let text = String::from_utf8(member.data.clone()).expect("UTF-8");
        trace.files.insert(path, traced(&text, "export"));
    }
    trace
}

fn published() -> Vec<u8> {
    let mut members = python();
    members.push(file("Python-1/Misc/NEWS", "news\n"));
    members.push(file("Python-1/m4/build-to-host.m4", "dnl evil\n"));
    members.push(file("Python-1/.gitignore", "*.o\n"));
    gzip(&tar(&members))
}

#[test]
fn every_published_member_is_traced() {
    let pair = Pair::new(&published(), b"");
    let explanation =
        explain(&pair.published(), &trace(), &Limits::default()).expect("no operating error");
    assert_eq!((explanation.files, explanation.directories, explanation.git), (6, 2, 3));
    assert_eq!(
        explanation.others,
        [
            (".gitignore".to_owned(), Origin::RemovedBy("clean".into())),
            ("Misc/NEWS".to_owned(), Origin::Step("news".into())),
            ("m4/build-to-host.m4".to_owned(), Origin::Unexplained),
        ]
    );
    assert_eq!(explanation.unexplained, 2);
    assert_eq!(explanation.removed, [("Misc/NEWS.d/x.rst".to_owned(), "news".to_owned())]);
    assert_eq!(explanation.missing, [("setup.py".to_owned(), "export".to_owned())]);
}

#[test]
fn a_trace_decides_what_is_unexplained() {
    let mut rebuilt = python();
    rebuilt.push(file("Python-1/Misc/NEWS", "other news\n"));
    let pair = Pair::new(&published(), &gzip(&tar(&rebuilt)));
    let limits = Limits::default();
    let trace = trace();
    let comparison = compare(&pair.published(), &pair.rebuilt(), Some(&trace), &limits)
        .expect("no operating error");
    assert_eq!(comparison.tier, Tier::Different);
    assert_eq!(comparison.unexplained, [".gitignore", "m4/build-to-host.m4"]);
    let origins: Vec<_> = comparison.difference.expect("a difference").children;
    let origin = |path: &str| {
        origins.iter().find(|node| node.path == path).and_then(|node| node.origin.clone())
    };
    assert_eq!(origin("Misc/NEWS"), Some(Origin::Step("news".into())));
    assert_eq!(origin("m4/build-to-host.m4"), Some(Origin::Unexplained));
}

#[test]
fn directories_compare_and_trace_like_archives() {
    let pair = Pair::new(b"", b"");
    let (a, b) = (pair.path().join("a"), pair.path().join("b"));
    for (root, text) in [(&a, "one\n"), (&b, "two\n")] {
        fs::create_dir_all(root.join("sub")).expect("a directory");
        fs::write(root.join("sub/x.txt"), text).expect("a file");
        // A loop must not trap the walk.
        std::os::unix::fs::symlink("..", root.join("sub/loop")).expect("a link");
    }
    let limits = Limits::default();
    let same = compare(&a, &a, None, &limits).expect("no operating error");
    assert_eq!(same.tier, Tier::Bitwise);
    let comparison = compare(&a, &b, None, &limits).expect("no operating error");
    assert_eq!(comparison.tier, Tier::Different);
    assert_eq!(comparison.unexplained, ["sub/x.txt"]);
    let explanation = explain(&a, &Trace::default(), &limits).expect("no operating error");
    assert_eq!(explanation.unexplained, 2);
}

#[test]
fn a_missing_file_is_an_operating_error_with_its_name() {
    let pair = Pair::new(b"", b"");
    let missing = pair.path().join("no-such-file");
    let error = compare(&missing, &pair.rebuilt(), None, &Limits::default()).expect_err("an error");
    assert!(error.to_string().contains("no-such-file"), "{error}");
}
