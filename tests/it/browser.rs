//! Every page in a real browser: Chromium, driven by `tests/browser/check.mjs`, with axe-core.
//!
//! Slow tests: they need Chromium and Node.js, which `.ci/run` installs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tests::genuine::{Prepared, is_asked_for};
use tests::{Scene, leftovers, source};

use crate::daemon::http;
use crate::{PLACE, scene};

/// Members that the published archive has and the tag does not.
const ADDED: usize = 5_000;

/// A program that serves; ended with the test.
struct Serving {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    base: String,
}

impl Serving {
    /// Waits until it says where it listens.
    fn start(mut command: Command) -> Serving {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("start the program");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("listening on ").nth(1).map(|base| base.trim().to_owned()));
        Serving { child, lines, base: base.expect("it says where it listens") }
    }

    /// Waits until it prints a line with `text`.
    #[track_caller]
    fn says(&mut self, text: &str) {
        let said = self.lines.by_ref().map_while(Result::ok).any(|line| {
            println!("{line}");
            line.contains(text)
        });
        assert!(said, "it ended without saying {text:?}");
    }

    /// Its exit status after `signal`.
    fn stop(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks at all pages; what it finds is the test's output.
#[track_caller]
fn assert_no_findings(base: &str) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(
        place.join("node_modules").exists(),
        "the browser tests need `npm ci` in tests/browser, and Chromium"
    );
    let mut command = Command::new("node");
    command.arg(place.join("check.mjs")).arg(base);
    if let Some(screenshots) = std::env::var_os("SCREENSHOTS") {
        command.arg(screenshots);
    }
    let output = command.output().expect("run node");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
}

#[track_caller]
fn get(base: &str, path: &str) -> String {
    let address = base.strip_prefix("http://").expect("an http URL");
    let answer = http(address, "GET", path, "", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    answer
}

#[test]
fn the_browser_shows_every_state_of_the_demo() {
    if !is_asked_for() {
        return;
    }
    let prepared = Prepared::in_place(PLACE);
    let mut command = Command::new(PLACE.program);
    // What costs time to make is shared with other tests; what it leaves behind is its own.
    let own = TempDir::with_prefix("verbatim-demo-").unwrap();
    for shared in ["cache", "environments", "genuine", "locks"] {
        let place = prepared.state.join(shared);
        fs::create_dir_all(&place).unwrap();
        symlink(place, own.path().join(shared)).unwrap();
    }
    command.args(["demo", "--config", "/dev/null", "--state"]).arg(own.path());
    command.env("VERBATIM_SERVER__LISTEN", "127.0.0.1:0");
    let mut demo = Serving::start(command);
    demo.says("every state can be seen now");
    let overview = get(&demo.base, "/");
    let refuted = "md5</th><td><span class=\"s f\">disagrees</span></td>\
        <td class=\"wrap\">Python-3.99.3.tgz</td>";
    // Reasons stand below the files' heading, where the words about the demo itself do not.
    for (version, state, lead, reason) in [
        ("3.13.5", "pass", "All 2 published files are what the steps make", "reproduced, bit"),
        ("3.99.0", "not checked", "", ""),
        ("3.99.1", "fail", "2 of 2 published files are not what", "Lib/hello.py"),
        ("3.99.2", "fail", "1 of 2 published files is not what", "m4/build-to-host.m4"),
        ("3.99.3", "fail", "a claim about them disagrees: see the evidence.", refuted),
        ("3.99.4", "waiting", "", ""),
        ("3.99.5", "not built", "", ""),
        ("3.99.6", "trouble of ours", "", ""),
    ] {
        assert!(overview.contains(&format!("/releases/{version}")), "{version}: {overview}");
        let title = format!("<title>Python {version}: {state} – Verbatim</title>");
        let mut page = get(&demo.base, &format!("/releases/{version}"));
        // What is looked at again is pending for that moment.
        for _ in 0..60 {
            if page.contains(&title) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
            page = get(&demo.base, &format!("/releases/{version}"));
        }
        assert!(page.contains(&title), "{version} is not said to be {state:?}: {page}");
        assert!(page.contains(lead), "{version} does not say {lead:?}: {page}");
        let found = page.split_once("<h2 id=\"files\">").map_or("", |(_, found)| found);
        assert!(found.contains(reason), "{version} does not say {reason:?}: {page}");
        let made_up = if version == "3.13.5" { "the genuine release" } else { "made up for this" };
        assert!(page.contains(made_up), "{version} does not say what it is: {page}");
    }
    assert_no_findings(&demo.base);
    assert_eq!(demo.stop(Signal::SIGINT), Some(0));
    leftovers::assert_none(own.path());
}

#[test]
fn the_browser_is_not_broken_by_hostile_names() {
    if !is_asked_for() {
        return;
    }
    let mut scene = scene();
    scene.set("feed.since", "2025-01-01");
    let name = format!("Python-{}.tgz", source::VERSION);
    let hostile = hostile(&scene, &name);
    scene.republish(&name, &hostile);
    let serving = Serving::start(scene.command(&["serve"]));
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while scene.records().is_empty() {
        assert!(std::time::Instant::now() < give_up, "it is not judged");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_no_findings(&serving.base);
    let record = &scene.records()[0];
    for path in ["/".to_owned(), format!("/records/{}", record.id), "/releases/9.1.0".to_owned()] {
        let page = get(&serving.base, &path);
        let bad = |c: char| {
            (c.is_control() && !c.is_ascii_whitespace()) || ('\u{202a}'..='\u{202e}').contains(&c)
        };
        assert!(!page.contains(bad), "{path} passes a control character on");
        assert!(!page.contains("<script>alert"), "{path} passes markup on");
    }
    assert_eq!(serving.stop(Signal::SIGTERM), Some(0));
    leftovers::assert_none(&scene.state());
}

/// The published archive with many more members, whose names are as bad as names can be.
fn hostile(scene: &Scene, name: &str) -> Vec<u8> {
    let published = File::open(scene.fixture.published(name)).expect("open the published file");
    let mut archive = tar::Archive::new(GzDecoder::new(published));
    let mut made = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for entry in archive.entries().expect("read the archive") {
        let mut entry = entry.expect("read a member");
        let (mut header, path) = (entry.header().clone(), entry.path().unwrap().into_owned());
        match entry.link_name().unwrap() {
            Some(link) => made.append_link(&mut header, path, link).expect("add a link"),
            None => made.append_data(&mut header, path, &mut entry).expect("add a member"),
        }
    }
    for number in 0..ADDED {
        let bad = match number % 5 {
            0 => "a".repeat(240),
            1 => "\u{202e}gnp.exe".to_owned(),
            2 => "bell\u{7}\u{1b}[31mred".to_owned(),
            3 => "<script>alert(1)</script>".replace('/', "\u{2215}"),
            _ => "\u{5d0}\u{5d1}\u{5d2} mixed \u{202d}\"'&".to_owned(),
        };
        let path = format!("Python-{}/Lib/{number}-{bad}", source::VERSION);
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(1_750_000_000);
        header.set_size(4);
        made.append_data(&mut header, path, &b"bad\n"[..]).expect("add a member");
    }
    made.into_inner().and_then(|gzip| gzip.finish()).expect("finish the archive")
}
