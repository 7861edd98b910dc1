//! Badges as somebody sees them who pastes one: what they say, how long they may be kept, and that
//! they can be read.

use rebuilder::Digest;
use reqwest::Method;
use verifier::compare::Tier;
use verifier::queue::Why;
use verifier::record::{Record, RecordStatus, VerdictName};

use super::site::{Answer, Server, record, sent};

/// A record of a release with two files.
pub fn judged(version: &str, status: RecordStatus, verdicts: [VerdictName; 2]) -> Record {
    let mut record = record(version);
    record.status = status;
    let mut second = record.artifacts[0].clone();
    record.artifacts[0].name = format!("Python-{version}.tgz");
    second.name = format!("Python-{version}.tar.xz");
    record.artifacts.push(second);
    for (artifact, verdict) in record.artifacts.iter_mut().zip(verdicts) {
        artifact.verdict = verdict;
    }
    record
}

/// A server with a release in every state: 3.10 passes, 3.11 differs, 3.12 does not build, 3.13
/// waits for its tag, 3.14.0 is in the queue, 3.14.1 is known, of 3.15 there is a candidate whose
/// files pass and whose claims do not.
pub async fn every_state() -> Server {
    use VerdictName::{Different, NotBuilt, Reproduced};
    let server = Server::start().await;
    let known = ["3.10.5", "3.11.5", "3.12.5", "3.13.5", "3.14.0", "3.14.1", "3.15.0rc1"];
    server.announce(&known).await;
    for record in [
        judged("3.10.5", RecordStatus::Pass, [Reproduced; 2]),
        judged("3.11.5", RecordStatus::Fail, [Reproduced, Different]),
        judged("3.12.5", RecordStatus::NotBuilt, [NotBuilt; 2]),
        judged("3.15.0rc1", RecordStatus::Fail, [Reproduced; 2]),
    ] {
        server.store.append(&record).await.unwrap();
    }
    server.store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    let due = "2999-01-01T00:00:00Z".parse().unwrap();
    server.store.wait(&lease, "the repository has no tag v3.13.5 yet", due).await.unwrap();
    server.store.enqueue(&"3.14.0".parse().unwrap(), Why::Release).await.unwrap();
    server
}

/// What a badge says: in its title, its `aria-label` and its document for shields the same.
pub async fn says(server: &Server, name: &str) -> String {
    let svg = server.get(&format!("/badge/cpython/{name}.svg")).await;
    assert_eq!((svg.status.as_u16(), svg.header("content-type")), (200, "image/svg+xml"), "{name}");
    let between = |from: &str, to: &str| {
        let rest = svg.text.split_once(from).unwrap_or_else(|| panic!("{from}: {}", svg.text)).1;
        rest.split_once(to).unwrap().0.to_owned()
    };
    let title = between("<title>", "</title>");
    assert_eq!(between("aria-label=\"", "\""), title);
    assert!(svg.text.contains("role=\"img\""));
    let json = server.get(&format!("/badge/cpython/{name}.json")).await;
    assert_eq!(json.header("content-type"), "application/json");
    let json = json.json();
    let text = |key: &str| json[key].as_str().unwrap().to_owned();
    assert_eq!(format!("{}: {}", text("label"), text("message")), title);
    title
}

#[tokio::test]
async fn a_replayed_file_is_never_called_reproduced_and_no_more() {
    let server = Server::start().await;
    server.announce(&["3.11.2", "3.9.2"]).await;
    let mut both = judged("3.11.2", RecordStatus::Pass, [VerdictName::Reproduced; 2]);
    let mut one = judged("3.9.2", RecordStatus::Pass, [VerdictName::Reproduced; 2]);
    one.artifacts[1].tier = Some(Tier::Replayed);
    for artifact in &mut both.artifacts {
        artifact.tier = Some(Tier::Replayed);
    }
    both.artifacts[0].published.sha256 = Digest::of(b"3.11.2");
    for record in [&both, &one] {
        server.store.append(record).await.unwrap();
    }
    for (name, expected) in [
        ("3.11.2", "CPython 3.11.2: replayed 2/2"),
        ("3.9.2", "CPython 3.9.2: replayed 2/2"),
        ("3.9.2/Python-3.9.2.tgz", "Python-3.9.2.tgz: reproduced"),
        ("3.9.2/Python-3.9.2.tar.xz", "Python-3.9.2.tar.xz: replayed"),
    ] {
        assert_eq!(says(&server, name).await, expected);
    }
    let feed = server.get("/feed.atom").await;
    assert_eq!(feed.text.matches(" is reproduced once replayed: bit for bit with").count(), 3);
    assert_eq!(feed.text.matches(" is reproduced bit for bit.").count(), 1);
    let published = both.artifacts[0].published.sha256;
    let known = server.get(&format!("/api/v1/artifacts/{published}")).await.json();
    assert_eq!((&known["reproduced"], &known["tier"]), (&true.into(), &"replayed".into()));
}

#[tokio::test]
async fn every_state_has_its_words() {
    let server = every_state().await;
    for (name, expected) in [
        ("3.10.5", "CPython 3.10.5: reproduced 2/2"),
        ("3.11.5", "CPython 3.11.5: differs 1/2"),
        ("3.12.5", "CPython 3.12.5: not built"),
        ("3.13.5", "CPython 3.13.5: waiting"),
        ("3.14.0", "CPython 3.14.0: checking"),
        ("3.14.1", "CPython 3.14.1: not checked"),
        ("3.15.0rc1", "CPython 3.15.0rc1: claims disagree"),
        ("3.10", "CPython 3.10.5: reproduced 2/2"),
        ("3.15", "CPython 3.15.0rc1: claims disagree"),
        ("latest", "CPython 3.14.1: not checked"),
        ("3.11.5/Python-3.11.5.tgz", "Python-3.11.5.tgz: reproduced"),
        ("3.11.5/Python-3.11.5.tar.xz", "Python-3.11.5.tar.xz: differs"),
        ("3.12.5/Python-3.12.5.tgz", "Python-3.12.5.tgz: not built"),
        ("3.14.0/Python-3.14.0.tgz", "Python-3.14.0.tgz: checking"),
        ("3.14.1/Python-3.14.1.tar.xz", "Python-3.14.1.tar.xz: not checked"),
    ] {
        assert_eq!(says(&server, name).await, expected);
    }
}

#[tokio::test]
async fn nonsense_has_no_badge() {
    let server = every_state().await;
    for name in [
        "3.14.2.svg",
        "3.99.svg",
        "nonsense.svg",
        ".svg",
        "latest",
        "latest.png",
        "3.10.5/Python-3.10.6.tgz.svg",
        "3.10.5/..%2Flatest.svg",
        "3.14.1/evil.svg",
        "3.14.1/a/b.svg",
        "3.10/Python-3.10.5.tgz.svg",
        "03.10.5.svg",
    ] {
        server.get(&format!("/badge/cpython/{name}")).await.problem(404);
    }
    server.get(&format!("/badge/cpython/{}.svg", "3".repeat(4000))).await.problem(404);
    server.get("/badge/pypy/latest.svg").await.problem(404);
    sent(server.request(Method::POST, "/badge/cpython/latest.svg")).await.problem(405);
    let empty = Server::start().await;
    empty.get("/badge/cpython/latest.svg").await.problem(404);
}

#[tokio::test]
async fn trouble_of_ours_is_never_shown_as_the_releases() {
    let server = every_state().await;
    server.store.append(&record("3.14.0")).await.unwrap();
    assert_eq!(says(&server, "3.14.0").await, "CPython 3.14.0: reproduced 1/1");
    server.store.enqueue(&"3.14.1".parse().unwrap(), Why::Release).await.unwrap();
    assert_eq!(says(&server, "3.14.1").await, "CPython 3.14.1: checking");
    while let Some(lease) = server.store.claim("the test").await.unwrap() {
        server.store.park(&lease, "the disk is full").await.unwrap();
    }
    // Its job is parked: nobody checks it now, and nothing is said about it.
    assert_eq!(says(&server, "3.14.1").await, "CPython 3.14.1: not checked");
    // No more is said of one that nobody knows how to rebuild.
    server.store.enqueue(&"3.14.1".parse().unwrap(), Why::Request).await.unwrap();
    assert_eq!(says(&server, "3.14.1").await, "CPython 3.14.1: checking");
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    let reason = "no recipe covers 3.14.1: none";
    server.store.wait(&lease, reason, jiff::Timestamp::MAX).await.unwrap();
    assert_eq!(says(&server, "3.14.1").await, "CPython 3.14.1: not checked");
    // A verdict stands until there is another one.
    server.store.enqueue(&"3.10.5".parse().unwrap(), Why::Recheck).await.unwrap();
    assert_eq!(says(&server, "3.10.5").await, "CPython 3.10.5: reproduced 2/2");
}

#[tokio::test]
async fn only_a_release_that_lacks_something_is_said_to_wait_on_badge_and_page() {
    let server = Server::start().await;
    server.announce(&["3.14.0", "3.14.1", "3.14.2"]).await;
    let due = "2999-01-01T00:00:00Z".parse().unwrap();
    let used_up = "the day's requests to python.org's API are used up";
    assert!(verifier::feed::AllowanceUsedUp::is(used_up));
    for (version, reason, badge, state, class, word) in [
        ("3.14.0", "the repository has no tag yet", "waiting", "waiting", "w", "Waiting"),
        (
            "3.14.1",
            "no recipe covers 3.14.1: none",
            "not checked",
            "not checked",
            "n",
            "Not checked",
        ),
        ("3.14.2", used_up, "checking", "pending", "q", "Put off"),
    ] {
        let job = server.store.enqueue(&version.parse().unwrap(), Why::Release).await.unwrap();
        let lease = server.store.claim("the test").await.unwrap().unwrap();
        server.store.wait(&lease, reason, due).await.unwrap();
        assert_eq!(says(&server, version).await, format!("CPython {version}: {badge}"));
        let shown = format!("<span class=\"s {class}\">{state}</span>");
        let page = server.get(&format!("/releases/{version}")).await.text;
        assert!(page.contains(&format!("<h1>Python {version} {shown}</h1>")), "{page}");
        let note = page.split_once(&format!("<p class=\"note {class}\">{word}: ")).map(|two| two.1);
        assert!(note.is_some_and(|note| note.contains("Looked at again at")), "{page}");
        let of_job = server.get(&format!("/jobs/{}", job.id)).await.text;
        assert!(of_job.contains(&shown), "{of_job}");
        let queue = server.get("/queue").await.text;
        let row = queue.split("<tr>").find(|row| row.contains(&job.id)).unwrap();
        assert!(row.contains(&shown), "{row}");
        let overview = server.get("/").await.text;
        let row = overview.split("<tr>").find(|row| row.contains(&job.id)).unwrap();
        assert!(row.contains(&shown), "{row}");
    }
}

#[tokio::test]
async fn a_badge_may_be_kept_for_minutes_and_is_shown_when_we_are_down() {
    let server = every_state().await;
    let keep = "public, max-age=300, stale-while-revalidate=3600, stale-if-error=86400";
    for path in ["/badge/cpython/3.10.5.svg", "/badge/cpython/3.14.1.json"] {
        let first = server.get(path).await;
        assert_eq!(first.header("cache-control"), keep);
        assert_eq!(first.header("x-content-type-options"), "nosniff");
        assert!(first.header("content-security-policy").starts_with("default-src 'none'"));
        assert!(first.headers.get("set-cookie").is_none());
        let (tag, modified) = (first.header("etag"), first.header("last-modified"));
        let ask = |name: &'static str, value: String| {
            sent(server.request(Method::GET, path).header(name, value))
        };
        let is_304 = |answer: &Answer| {
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (304, ""));
            assert_eq!(answer.header("cache-control"), keep);
            assert_eq!((answer.header("etag"), answer.header("last-modified")), (tag, modified));
        };
        is_304(&ask("if-none-match", tag.to_owned()).await);
        is_304(&ask("if-none-match", format!("\"x\", W/{tag}")).await);
        // Not every change has a time: only the entity tag tells.
        assert_eq!(ask("if-modified-since", modified.to_owned()).await.status, 200);
        // An entity tag that is known to be another one outweighs the time.
        let both = server.request(Method::GET, path).header("if-none-match", "\"x\"");
        assert_eq!(sent(both.header("if-modified-since", modified)).await.status, 200);
        let head = sent(server.request(Method::HEAD, path)).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
        assert_eq!((head.header("etag"), head.header("cache-control")), (tag, keep));
        assert_eq!(head.header("content-length"), first.text.len().to_string());
    }
}

#[tokio::test]
async fn a_change_without_a_time_is_seen_by_who_asks_with_one() {
    let server = every_state().await;
    let path = "/badge/cpython/3.14.0.svg";
    let first = server.get(path).await;
    assert!(first.text.contains("checking"), "{}", first.text);
    let again = async || {
        let request = server.request(Method::GET, path);
        sent(request.header("if-modified-since", first.header("last-modified"))).await
    };
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    let reason = "the repository has no tag v3.14.0 yet";
    server.store.wait(&lease, reason, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    let waiting = again().await;
    assert_eq!(waiting.status, 200);
    assert!(waiting.text.contains("waiting"), "{}", waiting.text);
    let lease = server.store.claim("the test").await.unwrap().unwrap();
    server.store.park(&lease, "the disk is full").await.unwrap();
    let parked = again().await;
    assert_eq!(parked.status, 200);
    assert!(parked.text.contains("not checked"), "{}", parked.text);
}

#[tokio::test]
async fn a_report_never_changes_and_a_time_is_enough_to_ask_for_it() {
    let server = Server::start().await;
    let record = record("3.13.5");
    server.store.append(&record).await.unwrap();
    server.report(&record.id, "build.log", "made\n");
    let path = format!("/records/{}/reports/build.log", record.id);
    let first = server.get(&path).await;
    let ask =
        |since: &str| sent(server.request(Method::GET, &path).header("if-modified-since", since));
    let same = ask(first.header("last-modified")).await;
    assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
    for other in ["Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"] {
        assert_eq!(ask(other).await.status, 200, "{other}");
    }
}

#[tokio::test]
async fn what_is_written_is_seen_at_once_and_what_others_write_soon() {
    let server = every_state().await;
    let path = "/badge/cpython/3.14.1.svg";
    for _ in 0..3 {
        assert!(server.get(path).await.text.contains("not checked"));
    }
    server.store.append(&record("3.14.1")).await.unwrap();
    assert!(server.get(path).await.text.contains("reproduced 1/1"));
    let other = server.open_store().await;
    let mut changed = record("3.14.1");
    changed.status = RecordStatus::NotBuilt;
    other.append(&changed).await.unwrap();
    while !server.get(path).await.text.contains("not built") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_release_that_nobody_looked_at_has_a_grey_badge() {
    let server = every_state().await;
    let grey = "#5a5f66";
    for name in ["3.14.1", "latest"] {
        let json = server.get(&format!("/badge/cpython/{name}.json")).await.json();
        assert_eq!(json["color"], grey, "{name}");
        let svg = server.get(&format!("/badge/cpython/{name}.svg")).await.text;
        assert!(svg.contains(&format!("fill=\"{grey}\"")), "{svg}");
    }
    for name in ["3.10.5", "3.11.5", "3.12.5", "3.13.5", "3.14.0"] {
        let json = server.get(&format!("/badge/cpython/{name}.json")).await.json();
        assert_ne!(json["color"], grey, "{name}");
    }
}

/// The keys of the endpoint schema, shields.io/badges/endpoint-badge.
const ENDPOINT_KEYS: &[&str] = &[
    "schemaVersion",
    "label",
    "message",
    "color",
    "labelColor",
    "isError",
    "namedLogo",
    "logoSvg",
    "logoColor",
    "logoSize",
    "style",
    "cacheSeconds",
];

#[tokio::test]
async fn shields_understands_every_key() {
    let server = every_state().await;
    for (name, error) in [("3.10.5", false), ("3.11.5", true), ("3.14.1", false)] {
        let json = server.get(&format!("/badge/cpython/{name}.json")).await.json();
        for key in json.as_object().unwrap().keys() {
            assert!(ENDPOINT_KEYS.contains(&key.as_str()), "shields does not know {key}");
        }
        assert_eq!((&json["schemaVersion"], &json["isError"]), (&1.into(), &error.into()));
        assert!(!json["message"].as_str().unwrap().is_empty());
        assert!(json["cacheSeconds"].as_u64().unwrap() >= 300);
    }
}

#[tokio::test]
async fn the_words_of_a_badge_can_be_read() {
    let server = every_state().await;
    let names = ["3.10.5", "3.11.5", "3.12.5", "3.13.5", "3.14.0", "3.14.1"];
    for name in names {
        let svg = server.get(&format!("/badge/cpython/{name}.svg")).await.text;
        // White words on two rectangles, over which lies a veil: a tenth of #bbb at its top, a
        // tenth of black at its bottom.
        assert!(svg.contains(r##"<g fill="#fff""##) && !svg.contains(r##"fill="#333""##), "{svg}");
        let veil = concat!(
            r##"<stop offset="0" stop-color="#bbb" stop-opacity=".1"/>"##,
            r##"<stop offset="1" stop-opacity=".1"/>"##
        );
        assert!(svg.contains(veil), "{svg}");
        let fills = svg.split("fill=\"#").skip(1);
        let fills = fills.filter_map(|rest| colour(rest.split_once('"')?.0));
        // Neither the words nor their shadow.
        let is_behind = |fill: &[f64; 3]| *fill != [1.0; 3] && fill[0] > 0.01;
        let behind: Vec<[f64; 3]> = fills.filter(is_behind).collect();
        assert_eq!(behind.len(), 2, "{svg}");
        for fill in behind {
            for veil in [[187.0 / 255.0; 3], [0.0; 3]] {
                let seen: Vec<f64> =
                    fill.iter().zip(veil).map(|(under, over)| under * 0.9 + over * 0.1).collect();
                let contrast = 1.05 / (luminance(&seen) + 0.05);
                assert!(contrast >= 4.5, "{name}: {fill:?} under {veil:?}: {contrast:.2}");
            }
        }
    }
}

/// `rrggbb` or `rgb` as parts of one.
fn colour(hex: &str) -> Option<[f64; 3]> {
    let digits: Vec<f64> =
        hex.chars().map(|c| c.to_digit(16).map(f64::from)).collect::<Option<_>>()?;
    match digits.as_slice() {
        [a, b, c, d, e, f] => Some([a * 16.0 + b, c * 16.0 + d, e * 16.0 + f].map(|v| v / 255.0)),
        [a, b, c] => Some([a, b, c].map(|v| v * 17.0 / 255.0)),
        _ => None,
    }
}

/// Relative luminance (WCAG 2.2).
fn luminance(colour: &[f64]) -> f64 {
    let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}
