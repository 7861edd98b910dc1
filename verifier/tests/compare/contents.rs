//! Content that is no archive: text, JSON, and what they have to say.

use super::make::{file, tar};
use super::{check, compared};

#[test]
fn text_changes_have_names() {
    check(b"one\ntwo\n", b"one\r\ntwo\r\n", "different\ntext.line_endings: LF → CRLF in 2 lines");
    check(
        b"one\ntwo\n",
        b"one\ntwo",
        "different\ntext.final_newline: newline at the end → no newline at the end",
    );
    check(b"one\ntwo\n", b"two\none\n", "different\ntext.order: the same lines in another order");
    check(
        b"one\ntwo\n",
        b"one \ntwo\n",
        "different\ntext.whitespace: only blanks at the end of lines",
    );
    check(b"\xef\xbb\xbfone\n", b"one\n", "different\ntext.encoding: byte order mark → none");
}

#[test]
fn a_late_odd_byte_leaves_a_text_a_text() {
    let mut published = "line of plain text\n".repeat(1000).into_bytes();
    let rebuilt = published.clone();
    let end = published.len();
    published[end - 3] = 0xe9;
    let comparison = compared(&published, &rebuilt);
    let node = comparison.difference.expect("a difference");
    assert_eq!(node.formats[0].as_str(), "text");
    assert!(
        super::outline(&compared(&published, &rebuilt)).contains("text.encoding: Latin-1 → UTF-8")
    );
}

#[test]
fn json_is_compared_by_value() {
    let base = tar(&[file("p/s.json", "{\"a\": 1, \"b\": [2]}\n")]);
    let reordered = tar(&[file("p/s.json", "{\"b\": [2], \"a\": 1}\n")]);
    let changed = tar(&[file("p/s.json", "{\"a\": 1, \"b\": [3]}\n")]);
    assert!(super::outline(&compared(&base, &reordered)).contains("json.formatting"));
    assert!(super::outline(&compared(&base, &changed)).contains("json.values: 1 values: /b/0"));
}
