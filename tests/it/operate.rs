//! What an operator does with a daemon that runs, and what it tells the service manager.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::{Scene, source};

use crate::daemon::{self, Running};
use crate::scene;

/// Starts the daemon; its log goes to the file `log` of the scene.
fn serve(scene: &Scene) -> Running {
    let log = File::create(scene.path("log")).unwrap();
    Running(scene.command(&["serve"]).stderr(log).spawn().unwrap())
}

fn log(scene: &Scene) -> String {
    fs::read_to_string(scene.path("log")).unwrap()
}

/// Writes the scene's settings and tells the daemon; waits until the log has `expected`.
#[track_caller]
fn reload(scene: &Scene, running: &Running, expected: &str) {
    drop(scene.command(&[]));
    running.signal(Signal::SIGHUP);
    daemon::wait_for(scene, expected, |scene| log(scene).contains(expected));
}

#[test]
fn sighup_changes_what_can_change_and_names_what_cannot() {
    let mut scene = scene();
    scene.set("feed.interval", "24h");
    let mut running = serve(&scene);
    let address = daemon::address(&mut running);
    daemon::wait_for(&scene, "the list", |scene| {
        scene.ask_store(|store| async move {
            store.announced(&daemon::version()).await.unwrap().is_some()
        })
    });
    let wanted = format!("{{\"version\": \"{}\"}}", source::VERSION);
    let ask = || daemon::http(&address, "POST", "/api/v1/requests", "", &wanted);
    assert!(ask().starts_with("HTTP/1.1 401"), "{}", ask());
    reload(&scene, &running, "SIGHUP: the configuration is what it was");

    scene.set("server.anonymous_requests", true);
    scene.set("server.listen", "127.0.0.1:1");
    scene.set("log.level", "info");
    scene.set("feed.interval", "200ms");
    scene.set("feed.requests_per_day", 10_000);
    reload(&scene, &running, "restart: server.listen: \"127.0.0.1:0\" → \"127.0.0.1:1\"");
    for changed in [
        "changed server.anonymous_requests: the default → true",
        "changed feed.interval: \"24h\" → \"200ms\"",
        "changed log.level: the default → \"info\"",
    ] {
        assert!(log(&scene).contains(changed), "{changed}: {}", log(&scene));
    }
    let answer = ask();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let lists = |scene: &Scene| log(scene).matches("python.org announces").count();
    daemon::wait_for(&scene, "two more looks, and news of them", |scene| lists(scene) > 2);

    scene.set("queue.retry", "never");
    scene.set("server.anonymous_requests", false);
    reload(&scene, &running, "queue.retry is wrong: \"never\" is no time span");
    assert!(log(&scene).contains("SIGHUP: nothing is changed"), "{}", log(&scene));
    assert!(ask().starts_with("HTTP/1.1 202"), "a mistake changes nothing");
    assert_eq!(running.stop(), Some(0));
}

/// Hears what the service manager hears.
struct Manager(UnixDatagram);

impl Manager {
    fn of(scene: &mut Scene) -> Manager {
        let place = scene.path("notify");
        let socket = UnixDatagram::bind(&place).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        scene.variables.push(("NOTIFY_SOCKET".to_owned(), place.display().to_string()));
        scene.variables.push(("WATCHDOG_USEC".to_owned(), "1000000".to_owned()));
        Manager(socket)
    }

    #[track_caller]
    fn next(&self) -> String {
        let mut news = [0; 4096];
        let length = self.0.recv(&mut news).expect("the daemon says something");
        String::from_utf8(news[..length].to_vec()).unwrap()
    }

    /// Passes over everything before the news that begin with `expected`.
    #[track_caller]
    fn hears(&self, expected: &str) -> String {
        loop {
            let news = self.next();
            if news.starts_with(expected) {
                return news;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_how_things_are() {
    let mut scene = scene();
    let manager = Manager::of(&mut scene);
    let running = daemon::serve(&scene);
    assert_eq!(manager.hears("READY"), "READY=1\n");
    manager.hears("WATCHDOG=1");
    let expected = "STATUS=0 queued, 0 running, 0 parked, 0 open alarms; ready";
    manager.hears(expected);
    running.signal(Signal::SIGHUP);
    assert!(manager.hears("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.hears("READY=1");
    running.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn the_watchdog_hears_nothing_while_the_daemon_is_not_fit() {
    let mut scene = scene();
    scene.set("queue.lease", "400ms");
    let manager = Manager::of(&mut scene);
    let running = daemon::serve(&scene);
    manager.hears("WATCHDOG=1");
    // Its disk is gone.
    let away = scene.path("away");
    fs::rename(scene.state(), &away).unwrap();
    // Nobody can make the directory anew while a link that leads nowhere has its name.
    symlink("nowhere", scene.state()).unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    let mut silent = 0;
    while silent < 5 {
        assert!(Instant::now() < give_up, "the watchdog still hears that it is alive");
        let news = manager.next();
        silent = if news.starts_with("WATCHDOG") { 0 } else { silent + 1 };
    }
    fs::remove_file(scene.state()).unwrap();
    fs::rename(&away, scene.state()).unwrap();
    manager.hears("WATCHDOG=1");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn one_round_says_nothing_to_a_service_manager() {
    let mut scene = scene();
    let manager = Manager::of(&mut scene);
    scene.run(&["serve", "--once"]).exits(0);
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 64]).is_err());
}
