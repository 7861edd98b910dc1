//! `verbatim export` beside a daemon that serves: files with the bytes that it sends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use crate::daemon::{address, is_done, serve, wait_for, watched};

/// Moments at which an export is killed.
const KILLS: u32 = 16;

/// The body of the daemon's answer.
fn get(address: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{path}: {}", String::from_utf8_lossy(&answer));
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    answer.split_off(head + 4)
}

/// Every file below a directory, by its name from there.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false => found.push(path.strip_prefix(directory).unwrap().display().to_string()),
            }
        }
    }
    found
}

#[test]
fn a_site_is_exported_while_the_daemon_serves_it() {
    let scene = watched();
    let mut running = serve(&scene);
    let address = address(&mut running);
    wait_for(&scene, "a verdict", is_done);
    let site = scene.path("site");
    let directory = site.display().to_string();
    let said = |line: &str| line.ends_with(" 0 the same as before, 0 removed\n");
    let first = scene.command(&["export", &directory]).output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(said(&String::from_utf8(first.stdout).unwrap()));
    let files = files(&site);
    assert!(files.iter().any(|file| file.ends_with("reports/build.log")), "{files:?}");
    assert!(files.iter().any(|file| file == "badge/cpython/9.1.0.svg"), "{files:?}");
    assert!(files.iter().any(|file| file == "index.html"), "{files:?}");
    for file in files.iter().filter(|file| !file.starts_with('.')) {
        let path = file.trim_end_matches("index.html").trim_end_matches("index.json");
        let path = format!("/{}", path.trim_end_matches('/'));
        assert_eq!(get(&address, &path), fs::read(site.join(file)).unwrap(), "{path}");
    }
    let again = scene.command(&["export", &directory]).output().unwrap();
    let again = String::from_utf8(again.stdout).unwrap();
    assert!(again.starts_with("0 files written, "), "{again}");
    // Killed anywhere on its way, it leaves nothing that the next run does not put right.
    let mut wanted = files;
    wanted.sort();
    fs::remove_dir_all(&site).unwrap();
    let begun = Instant::now();
    assert_eq!(scene.command(&["export", &directory]).status().unwrap().code(), Some(0));
    let whole = begun.elapsed();
    fs::remove_dir_all(&site).unwrap();
    for part in 1..=KILLS {
        let mut export = scene.command(&["export", &directory]).spawn().unwrap();
        sleep(whole * part / KILLS);
        export.kill().unwrap();
        export.wait().unwrap();
    }
    assert_eq!(scene.command(&["export", &directory]).status().unwrap().code(), Some(0));
    let mut found = self::files(&site);
    found.sort();
    assert_eq!(found, wanted);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn an_export_that_cannot_be_written_says_so() {
    let scene = watched();
    scene.run(&["export", "/dev/null/site"]).gives_up("export to /dev/null/site");
}
