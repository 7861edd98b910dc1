//! `verbatim compare` as a user runs it: exit status, and which report goes where.

use std::process::{Command, Output};

use super::Pair;

fn verbatim(pair: &Pair, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .current_dir(pair.path())
        .args(["compare", "published", "rebuilt"])
        .args(options)
        .output()
        .expect("verbatim starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("reports are UTF-8")
}

#[test]
fn identical_files_exit_0_and_different_ones_1() {
    let same = verbatim(&Pair::new(b"a\n", b"a\n"), &[]);
    assert_eq!(same.status.code(), Some(0));
    assert!(stdout(&same).starts_with("published: identical (tier bitwise)\n"));
    let different = verbatim(&Pair::new(b"a\n", b"b\n"), &[]);
    assert_eq!(different.status.code(), Some(1));
    assert!(stdout(&different).contains("\n-a\n+b\n"), "{}", stdout(&different));
}

#[test]
fn trouble_exits_2_with_one_sentence() {
    let pair = Pair::new(b"a\n", b"b\n");
    std::fs::remove_file(pair.rebuilt()).expect("the file is there");
    let output = verbatim(&pair, &["--json", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(error.starts_with("verbatim compare: read rebuilt: "), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn json_on_standard_output_is_one_document_and_files_get_the_rest() {
    let pair = Pair::new(b"a\n", b"b\n");
    let output = verbatim(&pair, &["--json", "-", "--html", "r.html", "--markdown", "r.md"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["schema"], "verbatim.difference/1");
    assert_eq!(value["tier"], "different");
    let html = std::fs::read_to_string(pair.path().join("r.html")).expect("a page");
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    let markdown = std::fs::read_to_string(pair.path().join("r.md")).expect("a comment");
    assert!(markdown.starts_with("### published: different"));
}

#[test]
fn a_pipe_is_refused() {
    let pair = Pair::new(b"a\n", b"b\n");
    let output = Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .args(["compare", "/dev/null"])
        .arg(pair.rebuilt())
        .output()
        .expect("verbatim starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither a regular file nor"));
}
