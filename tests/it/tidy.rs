//! Rules of ARCHITECTURE.md and STYLE.md that a program can check.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines, and longest line, in characters.
const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

/// A file of the project: its path from the root, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text without the module of unit tests at its end.
    fn production(&self) -> &str {
        let begins_module = |(place, _): &(usize, &str)| {
            let mut lines = self.text[*place..].lines();
            lines.find(|line| !line.starts_with("#[")).is_some_and(|line| line.ends_with(" {"))
        };
        let end = self.text.match_indices("#[cfg(test)]\n").find(begins_module);
        &self.text[..end.map_or(self.text.len(), |(place, _)| place)]
    }

    fn is_production(&self) -> bool {
        self.path.ends_with(".rs") && self.path.contains("/src/") && !self.path.contains("/tests/")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every text file of the project, without what was built or installed into it.
fn files() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_made = name.starts_with("target") || name == "node_modules";
            if path.is_symlink() || name == ".git" || is_made {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let path = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            found.push(Source { path, text });
        }
    }
    assert!(found.len() > 50, "the project is not where it is looked for");
    found
}

fn rust() -> impl Iterator<Item = Source> {
    files().into_iter().filter(|file| file.path.ends_with(".rs"))
}

/// Production code of the crates that are shipped.
fn shipped() -> Vec<Source> {
    let of_a_crate =
        |file: &Source| file.path.starts_with("verifier/") || file.path.starts_with("rebuilder/");
    rust().filter(|file| file.is_production() && of_a_crate(file)).collect()
}

/// `path:line` of every line of production code that `is_wrong`.
fn lines_where(file: &Source, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let numbered = file.production().lines().zip(1..);
    let wrong = numbered.filter(|(line, _)| !line.trim_start().starts_with("//") && is_wrong(line));
    wrong.map(|(line, number)| format!("{}:{number}: {line}", file.path)).collect()
}

#[track_caller]
fn assert_none(rule: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent = rust().filter(|file| !file.text.starts_with("//! "));
    assert_none("starts with //!", silent.map(|file| file.path).collect());
}

#[test]
fn files_and_lines_are_short() {
    let mut wrong = Vec::new();
    for file in rust() {
        let count = file.text.lines().count();
        if count > LINES_MAX {
            wrong.push(format!("{} has {count} lines", file.path));
        }
        let long = file.text.lines().zip(1..).filter(|(l, _)| l.chars().count() > COLUMNS_MAX);
        wrong.extend(long.map(|(_, number)| format!("{}:{number} is long", file.path)));
    }
    assert_none("at most 500 lines of 100 columns", wrong);
}

#[test]
fn nothing_unfinished_is_left() {
    // Taken apart, so that this file does not contain them.
    let words = ["dbg", "todo", "unimplemented"].map(|name| format!("{name}!("));
    let ignored = ["#[", "ignore"].concat();
    let mut wrong = Vec::new();
    for file in rust() {
        for (line, number) in file.text.lines().zip(1..) {
            if words.iter().any(|word| line.contains(word)) || line.contains(&ignored) {
                wrong.push(format!("{}:{number}: {line}", file.path));
            }
        }
    }
    assert_none("neither stray macros nor ignored tests", wrong);
}

#[test]
fn one_module_each_touches_the_outside() {
    let rules: &[(&str, &[&str], &[&str])] = &[
        ("starts processes", &["process::Command", "tokio::process"], &["process.rs"]),
        ("opens sockets", &["reqwest", "TcpStream", "UdpSocket"], &["http.rs", "http/"]),
        ("speaks SQL", &["sqlx::"], &["store/"]),
        ("reads arguments", &["env::args", "try_parse()"], &["cli.rs"]),
        ("reads the environment", &["env::var", "env::vars"], &["config.rs"]),
        ("asks the feed", &["feed::announced("], &["line.rs"]),
        ("watches the feed", &["feed::releases"], &["daemon/watch.rs"]),
        ("counts requests", &["take_api_request("], &["daemon/asking.rs", "store/"]),
        (
            "works the queue off",
            &["store.claim(", "store.settle("],
            &["daemon/worker.rs", "line.rs"],
        ),
        ("authenticates", &["authenticate::authenticate("], &["line.rs"]),
        ("judges", &["verdict::judge("], &["line.rs"]),
        ("adds records", &["store.append("], &["line.rs"]),
        ("runs the line", &["line::verify("], &["cli.rs", "demo.rs", "daemon/worker.rs"]),
    ];
    for (what, words, allowed) in rules {
        let allowed: Vec<String> =
            allowed.iter().map(|name| format!("verifier/src/{name}")).collect();
        let of_the_verifier = |file: &Source| file.path.starts_with("verifier/src/");
        let files: Vec<Source> = shipped().into_iter().filter(of_the_verifier).collect();
        // A name that ends in a slash is a directory.
        let is_allowed = |file: &&Source| {
            let inside = |place: &String| place.ends_with('/') && file.path.starts_with(place);
            allowed.iter().any(|place| file.path == *place || inside(place))
        };
        let (inside, outside): (Vec<_>, Vec<_>) = files.iter().partition(is_allowed);
        let uses = |line: &str| words.iter().any(|word| line.contains(word));
        let wrong = outside.iter().flat_map(|file| lines_where(file, uses)).collect();
        assert_none(&format!("only {allowed:?} {what}"), wrong);
        let used = inside.iter().any(|file| !lines_where(file, uses).is_empty());
        assert!(used, "nobody {what}: this rule no longer says anything");
    }
}

#[test]
fn every_transaction_of_the_store_is_committed_between_points() {
    // What `fault.rs` says to have no points.
    let pointless = [
        "commit().await.context(trying)?",
        "\"keep the webhooks\"",
        "\"open an alarm\"",
        "\"move what is due with the clock\"",
        "\"queue a job\"",
        "\"list the releases of the records\"",
        "\"show a sign of life\"",
    ];
    let is_wrong = |line: &str| {
        line.contains(".commit()") && !pointless.iter().any(|trying| line.contains(trying))
    };
    let room = |file: &Source| file.path.starts_with("verifier/src/store/");
    let files: Vec<Source> = shipped().into_iter().filter(room).collect();
    assert!(!files.is_empty());
    assert_none(
        "passes points",
        files.iter().flat_map(|file| lines_where(file, is_wrong)).collect(),
    );
}

#[test]
fn the_compare_room_is_pure() {
    let impure = [
        "tokio",
        "reqwest",
        "sqlx",
        "std::net",
        "process::",
        "SystemTime",
        "Timestamp::now",
        "env::",
        "fs::write",
        "File::create",
        "OpenOptions",
        "remove_",
        "tempfile",
    ];
    let room = |file: &Source| file.path.starts_with("verifier/src/compare/");
    let files: Vec<Source> = shipped().into_iter().filter(room).collect();
    assert!(!files.is_empty());
    let uses = |line: &str| impure.iter().any(|word| line.contains(word));
    assert_none("pure", files.iter().flat_map(|file| lines_where(file, uses)).collect());
}

#[test]
fn the_rebuilder_cannot_know_what_is_expected() {
    let is_digest = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    let knows = |line: &str| {
        ["python.org", "sqlite", "reqwest", "verifier"].iter().any(|word| line.contains(word))
            || line.split(|c: char| !c.is_ascii_alphanumeric()).any(is_digest)
    };
    let files = shipped().into_iter().filter(|file| file.path.starts_with("rebuilder/"));
    assert_none("ignorant", files.flat_map(|file| lines_where(&file, knows)).collect());
    let manifest = fs::read_to_string(root().join("rebuilder/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let dependencies: Vec<&String> = manifest["dependencies"].as_table().unwrap().keys().collect();
    for name in ["verifier", "reqwest", "hyper", "ureq", "curl", "axum", "sqlx", "rusqlite"] {
        assert!(!dependencies.iter().any(|found| *found == name), "rebuilder depends on {name}");
    }
}

#[test]
fn no_archive_and_no_home_directory_is_written_into_the_project() {
    // Taken apart, so that this file does not contain them.
    let hosts = [
        ["deb", "debian", "org"].join("."),
        ["security", "debian", "org"].join("."),
        ["snapshot", "debian", "org"].join("."),
        ["archive", "ubuntu", "com"].join("."),
        ["pypi", "org"].join("."),
        ["files", "pythonhosted"].join("."),
        ["static", "crates", "io"].join("."),
    ];
    let homes = ["home", "Users", "root"].map(|name| format!("/{name}/"));
    // Not `/work/home/`, which is a place inside the container.
    let is_home = |line: &str, home: &String| {
        let inner = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || c == '/');
        line.match_indices(home.as_str()).any(|(place, _)| !inner(&line[..place]))
    };
    let mut wrong = Vec::new();
    for file in files() {
        for (line, number) in file.text.lines().zip(1..) {
            let names_host = hosts.iter().any(|host| line.contains(host));
            if names_host || homes.iter().any(|home| is_home(line, home)) {
                wrong.push(format!("{}:{number}: {line}", file.path));
            }
        }
    }
    assert_none("named by the machine, not by the project", wrong);
}

#[test]
fn no_module_is_called_after_nothing() {
    let empty = ["common", "util", "utils", "helper", "helpers", "misc", "manager"];
    let named = rust().filter(|file| {
        file.path.split('/').any(|part| empty.contains(&part.trim_end_matches(".rs")))
    });
    assert_none("a name says what it is", named.map(|file| file.path).collect());
}

#[test]
fn what_may_panic_says_why_it_does_not() {
    let mut wrong = Vec::new();
    for file in shipped() {
        let lines: Vec<&str> = file.production().lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if !line.contains(".unwrap()") && !line.contains(".expect(") {
                continue;
            }
            let before = &lines[index.saturating_sub(4)..index];
            if !before.iter().any(|line| line.trim_start().starts_with("//")) {
                wrong.push(format!("{}:{}: {line}", file.path, index + 1));
            }
        }
    }
    assert_none("the invariant stands above", wrong);
}

#[test]
fn the_runbook_says_what_to_do_about_every_alarm() {
    let code = fs::read_to_string(root().join("verifier/src/observation.rs")).unwrap();
    let (_, kinds) = code.split_once("pub enum AlarmKind {").unwrap();
    let (kinds, _) = kinds.split_once('}').unwrap();
    let names = kinds.lines().map(str::trim).filter(|line| line.ends_with(','));
    let names: Vec<String> = names.map(|name| snake_case(name.trim_end_matches(','))).collect();
    assert!(names.contains(&"job_parked".to_owned()), "{names:?}");
    let runbook = fs::read_to_string(root().join("deploy/RUNBOOK.md")).unwrap();
    let (_, alarms) = runbook.split_once("\n## Alarms\n").unwrap();
    let sections: Vec<(&str, &str)> =
        alarms.split("\n### ").filter_map(|section| section.split_once('\n')).collect();
    let is_silent = |name: &&String| {
        let told = |(title, text): &(&str, &str)| title == name && text.trim().len() > 100;
        !sections.iter().any(told)
    };
    assert_none("has a heading in the runbook", names.iter().filter(is_silent).cloned().collect());
    let is_gone = |title: &&str| !names.iter().any(|name| name == title) && title.contains('_');
    let gone: Vec<String> =
        sections.iter().map(|(title, _)| *title).filter(is_gone).map(str::to_owned).collect();
    assert_none("is an alarm of the code", gone);
}

/// `JobParked` as JSON has it.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
