//! What deploy/RUNBOOK.md tells an operator to type does what it says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Ran, Scene};
use verifier::publish::site::Caching;
use verifier::store::TokenRow;

use crate::daemon::{self, Running};

/// The commands below the heading `section`.
fn commands(section: &str) -> String {
    let runbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/RUNBOOK.md");
    let runbook = fs::read_to_string(runbook).unwrap();
    let (_, text) = runbook.split_once(&format!("\n## {section}\n")).unwrap();
    let (text, _) = text.split_once("\n## ").unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0);
    let commands: String = blocks.collect();
    assert!(!commands.is_empty());
    commands
}

/// Makes the directory for backups, because "Install" does: nothing else makes it.
fn backups(scene: &Scene) -> PathBuf {
    let makes = |line: &str| {
        line.starts_with("sudo install -d -o verbatim ") && line.ends_with(" /var/backups/verbatim")
    };
    assert!(commands("Install").lines().any(makes), "backups have no directory");
    let backups = scene.path("backups");
    fs::create_dir_all(&backups).unwrap();
    backups
}

/// Makes the programs of a machine that the commands name; of systemd and root there are none here.
fn machine(scene: &Scene) -> PathBuf {
    let programs = scene.path("bin");
    fs::create_dir_all(&programs).unwrap();
    drop(scene.command(&[]));
    let verbatim = format!(
        "exec {} --config {} --state {} \"$@\"",
        scene.fixture.program.display(),
        scene.path("verbatim.toml").display(),
        scene.state().display()
    );
    // Kills the daemon whose process id is in the file, and waits until it is gone.
    let systemctl = format!(
        "echo \"$@\" >> {log}; case $1 in stop|restart) kill \"$(cat {pid})\"; \
         while [ -e {pid} ]; do sleep 0.1; done;; esac",
        log = scene.path("systemctl").display(),
        pid = scene.path("pid").display()
    );
    let sudo = "if [ \"$1\" = -u ]; then shift 2; fi; exec \"$@\"";
    for (name, text) in [
        ("verbatim", verbatim.as_str()),
        ("systemctl", &systemctl),
        ("sudo", sudo),
        ("install", ""),
    ] {
        let path = programs.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    programs
}

/// Runs the commands below `section`; the daemon, if one runs, ends when they tell it to.
fn follow(scene: &Scene, section: &str, running: Option<Running>) -> Ran {
    let programs = machine(scene);
    let backups = backups(scene).display().to_string();
    let text = commands(section).replace("/var/backups/verbatim", &backups);
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let pid = scene.path("pid");
    let ender = running.map(|mut running| {
        fs::write(&pid, running.0.id().to_string()).unwrap();
        std::thread::spawn(move || {
            let code = running.0.wait().unwrap().code();
            fs::remove_file(pid).unwrap();
            code
        })
    });
    let output = Command::new("sh").args(["-eu", "-c", &text]).env("PATH", path).output().unwrap();
    if let Some(ender) = ender {
        assert_eq!(ender.join().unwrap(), Some(0), "the daemon was told to stop");
    }
    Ran::of(output)
}

fn tokens(scene: &Scene) -> Vec<String> {
    let name = |token: TokenRow| token.name;
    let tokens = scene.ask_store(|store| async move { store.tokens().await.unwrap() });
    tokens.into_iter().map(name).collect()
}

/// Files of `directory` whose names begin like this.
fn named(directory: &Path, begin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let begins = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(begin);
    entries.filter(begins).collect()
}

#[test]
fn a_backup_made_as_the_runbook_says_is_restored_as_it_says() {
    let scene = daemon::watched();
    scene.run(&["token", "add", "before"]).exits(0);
    let running = daemon::serve(&scene);
    daemon::wait_for(&scene, "a verdict", daemon::is_done);
    let ran = follow(&scene, "Back up", None);
    ran.exits(0);
    assert!(ran.stdout.starts_with("1 records, "), "{ran:?}");
    let [backup] = named(&scene.path("backups"), "records-").try_into().unwrap();
    scene.command(&["token", "add", "after"]).output().unwrap();
    assert_eq!(tokens(&scene), ["before", "after"]);

    let name = backup.display().to_string();
    let restore = Ran::of(scene.command(&["store", "restore", &name]).output().unwrap());
    restore.gives_up("records.sqlite is in use: stop the daemon first");
    assert_eq!(tokens(&scene), ["before", "after"]);

    symlink(&backup, scene.path("backups/records-2026-01-31.sqlite")).unwrap();
    let before = scene.records();
    follow(&scene, "Restore", Some(running)).exits(0);
    let told = fs::read_to_string(scene.path("systemctl")).unwrap();
    assert_eq!(told, "stop verbatim\nstart verbatim\n");
    assert_eq!(tokens(&scene), ["before"]);
    assert_eq!(scene.records(), before);
    let [kept] = named(&scene.state(), "records.sqlite.before-").try_into().unwrap();

    // What was replaced can be had back in the same way, and the daemon lives with either.
    let mut running = daemon::serve(&scene);
    daemon::address(&mut running);
    assert_eq!(running.stop(), Some(0));
    scene.run(&["store", "restore", &kept.display().to_string()]).exits(0);
    assert_eq!(tokens(&scene), ["before", "after"]);
    assert_eq!(scene.records(), before);
}

#[test]
fn an_upgrade_as_the_runbook_says_begins_with_a_backup() {
    let scene = daemon::watched();
    let running = daemon::serve(&scene);
    daemon::wait_for(&scene, "a verdict", daemon::is_done);
    let ran = follow(&scene, "Upgrade", Some(running));
    ran.exits(0);
    assert!(ran.stdout.contains("the configuration is right"), "{ran:?}");
    assert!(scene.path("backups/before-upgrade.sqlite").is_file());
    let place = scene.path("backups/before-upgrade.sqlite").display().to_string();
    let again = scene.run(&["store", "backup", &place]);
    again.gives_up("before-upgrade.sqlite is there already");
}

#[test]
fn what_is_no_sound_store_is_not_restored() {
    let scene = daemon::watched();
    scene.run(&["serve", "--once"]).exits(0);
    let before = scene.records();
    let backup = scene.path("backup.sqlite");
    let restore = |place: &Path| scene.run(&["store", "restore", &place.display().to_string()]);
    scene.run(&["store", "backup", &backup.display().to_string()]).exits(0);
    let whole = fs::read(&backup).unwrap();
    let damaged = scene.path("damaged.sqlite");
    fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
    restore(&damaged).gives_up("damaged.sqlite cannot be restored");
    fs::write(&damaged, "no store").unwrap();
    restore(&damaged).gives_up("damaged.sqlite cannot be restored");
    restore(&scene.path("nowhere.sqlite")).gives_up("nowhere.sqlite");
    assert_eq!(scene.records(), before, "the store is what it was");
    assert!(named(&scene.state(), "records.sqlite.").is_empty());

    // A store that is damaged itself can be replaced.
    fs::write(scene.state().join("records.sqlite"), "damaged").unwrap();
    scene.run(&["serve", "--once"]).exits(2);
    restore(&backup).exits(0);
    assert_eq!(scene.records(), before);
}

#[test]
fn a_cache_before_it_keeps_a_verdict_no_longer_than_the_answer_allows() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx.conf");
    let shipped = fs::read_to_string(shipped).unwrap();
    let settings = shipped.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let settings: Vec<&str> = settings.collect();
    // It takes the place of stale-if-error, and has no end.
    assert!(!settings.iter().any(|line| line.starts_with("proxy_cache_use_stale")));
    let allowed = [Caching::Minutes, Caching::Page, Caching::Forever].map(Caching::header);
    for line in settings.iter().filter(|line| line.starts_with("add_header Cache-Control")) {
        assert!(allowed.contains(&line.split('"').nth(1).unwrap()), "{line}");
    }
}
