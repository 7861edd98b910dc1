//! `verbatim export` beside the server: the same bytes, only what changed, nothing of others.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use verifier::publish::export::{Exported, export, file_of};
use verifier::publish::paths::paths;
use verifier::queue::Why;
use verifier::record::RecordStatus;
use verifier::server::{Local, Settings};

use super::badges::every_state;
use super::site::{Server, record};

async fn run(server: &Server, directory: &Path) -> anyhow::Result<Exported> {
    let mut site = server.site();
    site.store = site.store.snapshot().await?;
    let shown = site.shown();
    let local = Local::new(site);
    let done = export(directory, &shown, async |path| local.get(path).await).await;
    shown.store.close().await;
    done
}

/// Every file below a directory, by its name from there: inode, time, bytes.
fn files(directory: &Path) -> BTreeMap<String, (u64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let about = fs::metadata(&path).unwrap();
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            let state = (about.ino(), about.mtime_nsec(), fs::read(&path).unwrap());
            found.insert(name, state);
        }
    }
    found
}

/// Writes a report beside a record that is in the store.
fn report(server: &Server, id: &str) {
    let directory = server.site().reports.join(id);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("build.log"), "made\n").unwrap();
    fs::write(directory.join("f.difference.html"), "<!doctype html>").unwrap();
    fs::write(directory.join("f.difference.json"), "{}").unwrap();
    fs::write(directory.join(".half"), "").unwrap();
}

async fn reported(server: &Server) -> String {
    let record = record("3.10.4");
    server.store.append(&record).await.unwrap();
    report(server, &record.id);
    record.id
}

#[tokio::test]
async fn every_file_has_the_bytes_that_the_server_sends() {
    let server = every_state().await;
    let id = reported(&server).await;
    let directory = tempfile::tempdir().unwrap();
    let done = run(&server, directory.path()).await.unwrap();
    let mut found = files(directory.path());
    found.remove(".verbatim-export.json").unwrap();
    assert_eq!((found.len(), done.removed), (done.written, 0));
    let paths = paths(&server.site().shown()).await.unwrap();
    assert_eq!(paths.len(), found.len(), "no two paths have one file");
    for path in &paths {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let (_, _, bytes) = &found[&file_of(path)];
        assert_eq!(answer.text.as_bytes(), bytes, "{path}");
    }
    for expected in [
        "badge/cpython/latest.svg".to_owned(),
        "badge/cpython/3.11.5/Python-3.11.5.tar.xz.json".to_owned(),
        "feed.atom".to_owned(),
        "feed/3.15.atom".to_owned(),
        "api/v1/releases/3.14.1/index.json".to_owned(),
        "api/openapi.json".to_owned(),
        format!("api/v1/records/{id}/index.json"),
        format!("api/v1/records/{id}/reports/index.json"),
        format!("records/{id}/reports/build.log"),
        format!("records/{id}/reports/f.difference.html"),
    ] {
        assert!(found.contains_key(&expected), "{expected}");
    }
    assert!(!found.keys().any(|name| name.contains(".half")));
    // Also of a release whose files nobody asked for yet.
    let embed = server.get("/embed").await.text;
    let badges: Vec<&str> = embed.split("<img src=\"").skip(1).collect();
    assert!(badges.iter().any(|rest| rest.starts_with("/badge/cpython/3.14.1/Python-3.14.1.")));
    for rest in badges {
        let image = rest.split('"').next().unwrap();
        for path in [image.to_owned(), image.replace(".svg", ".json")] {
            assert!(found.contains_key(&file_of(&path)), "{path}");
        }
    }
}

/// What only a running service has; deploy/STATIC.md says so.
const LIVE: [&str; 4] = ["/jobs/", "/api/v1/jobs", "/api/v1/alarms", "/api/v1/observations"];

#[tokio::test]
async fn every_link_of_a_copy_leads_to_a_file_of_it_or_to_what_is_said_to_be_missing() {
    let server = Server::start().await;
    server.announce(&["3.8.19", "3.8.20", "3.10.4", "3.14.0"]).await;
    server.store.enqueue(&"3.14.0".parse().unwrap(), Why::Release).await.unwrap();
    reported(&server).await;
    let directory = tempfile::tempdir().unwrap();
    run(&server, directory.path()).await.unwrap();
    let found = files(directory.path());
    let mut links = 0;
    for (name, (_, _, bytes)) in found.iter().filter(|(name, _)| name.ends_with("index.html")) {
        let page = String::from_utf8_lossy(bytes);
        for link in page.split("href=\"/").skip(1) {
            let path = format!("/{}", link.split(['"', '#']).next().unwrap());
            let is_live = LIVE.iter().any(|live| path.starts_with(live));
            assert!(is_live || found.contains_key(&file_of(&path)), "{name} links to {path}");
            links += 1;
        }
    }
    assert!(links > 50, "{links}");
    let overview = String::from_utf8_lossy(&found["index.html"].2).into_owned();
    let other = "3.8 (2, newest <a href=\"/releases/3.8.20\">3.8.20</a>)";
    assert!(overview.contains(other), "{overview}");
}

/// What the command of a release's page does when somebody pastes it into a shell: the variables
/// that `verbatim` gets, and its arguments.
fn pasted(page: &str) -> String {
    let (_, from) = page.split_once("aria-label=\"Command that verifies 3.13.5\">").unwrap();
    let mut command = from.split_once("</pre>").unwrap().0.to_owned();
    for (shown, meant) in [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">")] {
        command = command.replace(shown, meant);
    }
    let command = command.replace("&#38;", "&");
    // What a browser does not show, or shows as something else, nobody can copy.
    assert!(command.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{command}");
    let stand_in = "verbatim() { env -0 | grep -z '^VERBATIM_' | sort -z; printf '%s\\0' \"$@\"; }";
    let ran = std::process::Command::new("bash")
        .args(["--norc", "-c", &format!("{stand_in}\n{command}")])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[tokio::test]
async fn the_command_of_a_release_looks_where_this_service_looks() {
    let directory = tempfile::tempdir().unwrap();
    let usual = Server::start().await;
    let elsewhere = [
        ("VERBATIM_FEED__API", "https://mirror.example/api?a=b&c"),
        ("VERBATIM_FEED__FILES", "https://mirror.example/ftp"),
        (
            "VERBATIM_SOURCE__REPOSITORY",
            "/srv/~ \"it's\"\t$(id) \\n`id`\n<b>&\u{202e}&#39; Grüße;#",
        ),
    ];
    let other = Server::changed(Settings::default(), |site| {
        site.elsewhere = elsewhere.map(|(name, value)| (name, value.to_owned())).to_vec();
    })
    .await;
    let set: String = elsewhere.map(|(name, value)| format!("{name}={value}\0")).concat();
    for (server, set) in [(usual, ""), (other, set.as_str())] {
        server.announce(&["3.13.5"]).await;
        let page = server.get("/releases/3.13.5").await.text;
        let arguments = "verify\x003.13.5\0--report\0python-3.13.5-report\0";
        assert_eq!(pasted(&page), format!("{set}{arguments}"));
        run(&server, directory.path()).await.unwrap();
        let copy = directory.path().join("releases/3.13.5/index.html");
        assert_eq!(fs::read_to_string(copy).unwrap(), page);
    }
}

#[tokio::test]
async fn only_what_changed_is_written() {
    let server = every_state().await;
    reported(&server).await;
    let directory = tempfile::tempdir().unwrap();
    let first = run(&server, directory.path()).await.unwrap();
    let before = files(directory.path());
    let second = run(&server, directory.path()).await.unwrap();
    assert_eq!((second.written, second.removed, second.same), (0, 0, first.written));
    assert_eq!(files(directory.path()), before, "not even a time is another one");
    let mut fails = record("3.14.1");
    fails.status = RecordStatus::NotBuilt;
    server.store.append(&fails).await.unwrap();
    let third = run(&server, directory.path()).await.unwrap();
    let after = files(directory.path());
    let touched = |name: &&String| before.get(*name) != after.get(*name);
    let touched: Vec<&String> = after.keys().filter(touched).collect();
    assert_eq!(touched.len(), third.written + 1, "those, and the list of them: {touched:?}");
    for name in &touched {
        // Same bytes, same file.
        let old = before.get(*name).map(|(inode, _, bytes)| (inode, bytes));
        let (inode, _, bytes) = &after[*name];
        assert!(old.is_none_or(|old| old.0 != inode && old.1 != bytes), "{name}");
    }
    assert!(touched.iter().any(|name| *name == "badge/cpython/3.14.svg"), "{touched:?}");
    assert!(!touched.iter().any(|name| name.contains("3.10.5")), "{touched:?}");
}

#[tokio::test]
async fn nothing_of_others_is_replaced_or_removed() {
    let server = every_state().await;
    let id = reported(&server).await;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("robots.txt"), "of somebody else").unwrap();
    run(&server, directory.path()).await.unwrap();
    // What is not there any more goes, as far as it is ours.
    let beside = path(&format!("records/{id}/reports/notes.txt"));
    fs::write(&beside, "of somebody else").unwrap();
    fs::remove_dir_all(server.site().reports.join(&id)).unwrap();
    let done = run(&server, directory.path()).await.unwrap();
    // The record's page and the list of its report say that it is not kept any more.
    assert_eq!((done.written, done.removed), (2, 3));
    assert!(!path(&format!("records/{id}/reports/build.log")).exists());
    assert!(beside.exists() && path("robots.txt").exists());
    // What is in the way stays, and is named.
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("feed.atom"), "of somebody else").unwrap();
    let refused = run(&server, other.path()).await.unwrap_err().to_string();
    assert!(refused.contains("feed.atom is in the way"), "{refused}");
    assert_eq!(fs::read_to_string(other.path().join("feed.atom")).unwrap(), "of somebody else");
    // What somebody changed of ours is mended.
    fs::write(path("feed.atom"), "changed").unwrap();
    assert_eq!(run(&server, directory.path()).await.unwrap().written, 1);
}

#[tokio::test]
async fn what_a_killed_export_left_half_written_goes_with_the_next_one() {
    let server = every_state().await;
    let id = reported(&server).await;
    let directory = tempfile::tempdir().unwrap();
    run(&server, directory.path()).await.unwrap();
    let path = |name: &str| directory.path().join(name);
    let places = ["", "badge/cpython/", "releases/3.14.1/", &format!("records/{id}/reports/")];
    let leftovers = places.map(|place| path(&format!("{place}.verbatim-unfinished-x1Yz")));
    let of_others = places.map(|place| path(&format!("{place}.unfinished")));
    for file in leftovers.iter().chain(&of_others) {
        fs::write(file, "half").unwrap();
    }
    // What had them is not published any more, and yet its directory is looked at.
    fs::remove_dir_all(server.site().reports.join(&id)).unwrap();
    run(&server, directory.path()).await.unwrap();
    assert!(leftovers.iter().all(|file| !file.exists()));
    assert!(of_others.iter().all(|file| file.exists()));
}

#[tokio::test]
async fn a_list_of_files_that_it_did_not_write_is_not_believed() {
    let server = every_state().await;
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("precious");
    fs::write(&outside, "").unwrap();
    let site = directory.path().join("site");
    fs::create_dir(&site).unwrap();
    for list in [
        "nonsense",
        r#"{"schema": "verbatim.export/1", "files": ["../precious"]}"#,
        r#"{"schema": "verbatim.export/1", "files": ["/etc/passwd"]}"#,
        r#"{"schema": "other/1", "files": []}"#,
    ] {
        fs::write(site.join(".verbatim-export.json"), list).unwrap();
        let refused = format!("{:#}", run(&server, &site).await.unwrap_err());
        assert!(refused.contains(".verbatim-export.json"), "{refused}");
        assert!(outside.exists());
    }
}

#[tokio::test]
async fn an_export_while_the_daemon_writes_is_of_one_moment() {
    let server = Arc::new(every_state().await);
    let over = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (server, over) = (server.clone(), over.clone());
        async move {
            let mut count = 0;
            while !over.load(Ordering::SeqCst) {
                server.store.append(&record(&format!("3.14.{}", 2 + count % 50))).await.unwrap();
                count += 1;
                tokio::task::yield_now().await;
            }
            count
        }
    });
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        run(&server, directory.path()).await.unwrap();
        let json = |name: &str| -> serde_json::Value {
            let path: PathBuf = directory.path().join(name);
            serde_json::from_slice(&fs::read(&path).unwrap_or_else(|_| panic!("{name}"))).unwrap()
        };
        // The newest release of each list has its own document and badge, which say the same.
        for release in json("api/v1/releases/index.json")["items"].as_array().unwrap() {
            let version = release["version"].as_str().unwrap();
            let own = json(&format!("api/v1/releases/{version}/index.json"));
            assert_eq!(own["record"], release["record"], "{version}");
            if let Some(record) = release["record"].as_str() {
                assert_eq!(json(&format!("api/v1/records/{record}/index.json"))["id"], record);
            }
        }
    }
    over.store(true, Ordering::SeqCst);
    assert!(writing.await.unwrap() > 0);
}

#[tokio::test]
async fn two_exports_do_not_write_at_once() {
    let server = every_state().await;
    let directory = tempfile::tempdir().unwrap();
    let lock = fs::File::open(directory.path()).unwrap();
    lock.lock().unwrap();
    let refused = run(&server, directory.path()).await.unwrap_err().to_string();
    assert!(refused.contains("another export"), "{refused}");
    drop(lock);
    run(&server, directory.path()).await.unwrap();
}
