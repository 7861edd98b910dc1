//! What a reader sees, as snapshots, and what must not get through.

use verifier::compare::{Comparison, Limits, report};

use super::Pair;
use super::compared;
use super::make::{Member, file, gzip, python, tar};

fn example() -> Comparison {
    let mut published = python();
    published
        .push(file("Python-1/m4/build-to-host.m4", "dnl build-to-host.m4 serial 3\ndnl evil\n"));
    let mut rebuilt = python();
    rebuilt[3].data = b"import sys\nimport statistics\nprint(sys)\n".to_vec();
    rebuilt.iter_mut().for_each(|member| member.mtime += 3600);
    rebuilt.push(Member { data: vec![0, 1, 2, 255], mtime: 1, ..file("Python-1/icon.bin", "") });
    compared(&gzip(&tar(&published)), &gzip(&tar(&rebuilt)))
}

#[test]
fn the_text_report_fits_a_terminal() {
    let text = report::text(&example(), report::Style::default(), 100_000);
    insta::assert_snapshot!("text", text);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_markdown_report_fits_an_issue_comment() {
    insta::assert_snapshot!("markdown", report::markdown(&example(), report::COMMENT_BYTES_MAX));
}

#[test]
fn the_json_report_has_a_schema_and_relative_paths() {
    let json = report::json(&example(), 100_000);
    insta::assert_snapshot!("json", json);
    assert!(!json.contains("\"/"), "an absolute path got in");
}

#[test]
fn the_html_report_is_one_file_without_script() {
    let html = report::html(&example(), report::Layout::Unified, 100_000);
    let body = html.split("<body>").nth(1).expect("a body");
    insta::assert_snapshot!("html", body);
    assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("https://"));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let members = |text: &str| -> Vec<Member> {
        (0..400).map(|i| file(&format!("p/{i}"), &format!("{text}{i}\n"))).collect()
    };
    let pair = Pair::new(&tar(&members("a")), &tar(&members("b")));
    let limits = Limits { nodes_max: 50, details_bytes_max: 5_000, ..Limits::default() };
    let first = report::json(&pair.compare(&limits), 2_000_000);
    for _ in 0..5 {
        assert_eq!(report::json(&pair.compare(&limits), 2_000_000), first);
    }
}

const HOSTILE: &str = "a\u{1b}[31m\u{202e}txt\u{7}<script>alert(1)</script>`x`|@root #1\u{2028}";

fn hostile() -> Comparison {
    let content = format!("{HOSTILE}\n```\n</pre><img src=x onerror=alert(1)>\n");
    let published = tar(&[file(&format!("p/{HOSTILE}"), &content), file("p/x", &content)]);
    compared(&published, &tar(&[file("p/x", "plain\n")]))
}

#[test]
fn no_report_lets_control_characters_or_markup_through() {
    let comparison = hostile();
    let html = report::html(&comparison, report::Layout::SideBySide, 100_000);
    let reports = [
        report::text(&comparison, report::Style::default(), 100_000),
        report::json(&comparison, 100_000),
        report::markdown(&comparison, 60_000),
        html.clone(),
    ];
    for report in &reports {
        for bad in ['\u{1b}', '\u{202e}', '\u{7}', '\u{2028}'] {
            assert!(!report.contains(bad), "{bad:?} in {report}");
        }
    }
    assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
    // Inside code, hosts neither mention nor mark up.
    let outside = reports[2].lines().filter(|line| line.starts_with(['|', '<', '#']));
    for line in outside {
        assert!(!line.contains("@root") && !line.contains("<script"), "{line}");
    }
    let value: serde_json::Value = serde_json::from_str(&reports[1]).expect("JSON");
    assert_eq!(value["difference"]["children"][0]["path"], HOSTILE);
}

#[test]
fn json_shrinks_to_its_limit_and_counts_what_it_drops() {
    let members = |text: &str| -> Vec<Member> {
        (0..400).map(|i| file(&format!("p/{i}"), &text.repeat(50))).collect()
    };
    let comparison = compared(&tar(&members("a\n")), &tar(&members("b\n")));
    let json = report::json(&comparison, 50_000);
    assert!(json.len() <= 50_000);
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let node = &value["difference"];
    let kept = node["children"].as_array().map_or(0, Vec::len) as u64;
    assert_eq!(kept + node["children_omitted"].as_u64().expect("a number"), 400);
}
