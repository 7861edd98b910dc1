//! Published files that are looked at again: they stay what they are, change, vanish or come back.

use std::fs;

use verifier::observation::{AlarmKind, ObservationKind};
use verifier::record::RecordStatus;
use verifier::world::Fault;

use crate::daemon::{FOR_EVER, watched};
use crate::watch::{LISTED, observed, open_alarms, tag, with_own_repository};

#[test]
fn a_file_that_vanishes_and_comes_back_is_observed_and_one_in_trouble_keeps_none_waiting() {
    let mut scene = watched();
    let clock = scene.clock();
    let round = |days: u32, minutes: u32| {
        fs::write(&clock, (days * 86_400 + minutes * 60).to_string()).unwrap();
        scene.world.state().requests.clear();
        scene.run(&["serve", "--once"]).exits(0);
        scene.world.state().requests.iter().filter(|path| *path == LISTED).count()
    };
    let fail = |status| {
        let mut state = scene.world.state();
        state.faults.clear();
        state.fail(LISTED, Fault::Status(status, Vec::new()), FOR_EVER);
    };
    round(0, 0);
    fail(404);
    round(2, 0);
    let vanished = observed(&scene, ObservationKind::FileVanished);
    assert_eq!((vanished.len(), open_alarms(&scene, AlarmKind::FileVanished)), (1, 1));
    round(4, 0);
    assert_eq!(observed(&scene, ObservationKind::FileVanished).len(), 1, "observed once");
    scene.world.state().faults.clear();
    round(6, 0);
    assert_eq!(observed(&scene, ObservationKind::FileRestored).len(), 1);
    fail(403);
    // Both looks are due, and both come to nothing; one file is read whole in a round.
    assert_eq!(round(14, 0) + round(14, 1), 2);
    assert_eq!(round(14, 2), 0, "it is left alone for an hour");
    assert!(round(14, 90) >= 1);
    assert_eq!(scene.records().len(), 1);
}

#[test]
fn an_empty_answer_about_a_file_is_no_change_of_it() {
    let mut scene = watched();
    let clock = scene.clock();
    // Every file is due in each round, two days after the one before.
    let mut days = 0;
    let mut round = |fault: Option<(Fault, u32)>| {
        {
            let mut state = scene.world.state();
            state.requests.clear();
            state.faults.clear();
            if let Some((fault, times)) = fault {
                state.fail(LISTED, fault, times);
            }
        }
        fs::write(&clock, (days * 86_400).to_string()).unwrap();
        days += 2;
        scene.run(&["serve", "--once"]).exits(0);
        let asked = scene.world.state().requests.iter().filter(|path| *path == LISTED).count();
        (asked, observed(&scene, ObservationKind::FileChanged).len())
    };
    round(None);
    let empty = || Fault::Body(Vec::new());
    // A size that is another one is no proof: the file is fetched, and is not there either.
    assert_eq!(round(Some((empty(), FOR_EVER))), (2, 0));
    // Once more, and now all but the size is right.
    assert_eq!(round(Some((empty(), 1))).1, 0);
    assert_eq!(round(Some((Fault::Body(b"<html>".to_vec()), FOR_EVER))).1, 1);
    assert_eq!(open_alarms(&scene, AlarmKind::FileVanished), 0);
}

#[test]
fn a_file_that_nobody_has_judged_is_watched_too() {
    let (mut scene, repository) = with_own_repository();
    tag(&repository, &["kept", "v9.1.0"]);
    tag(&repository, &["-d", "v9.1.0"]);
    let clock = scene.clock();
    let round = |days: u32| {
        // One file is read whole in a round.
        for minutes in 0..2 {
            fs::write(&clock, (days * 86_400 + minutes * 60).to_string()).unwrap();
            scene.run(&["serve", "--once"]).exits(0);
        }
        let vanished = observed(&scene, ObservationKind::FileVanished).len();
        (observed(&scene, ObservationKind::FileChanged).len(), vanished)
    };
    assert_eq!(round(0), (0, 0));
    scene.world.state().fail(LISTED, Fault::Status(404, Vec::new()), FOR_EVER);
    assert_eq!(round(8), (0, 0), "what was never read cannot vanish");
    scene.world.state().faults.clear();
    assert_eq!(round(16), (0, 0));
    let other = scene.path("other");
    fs::write(&other, "other bytes").unwrap();
    let genuine = scene.world.state().served.insert(LISTED.to_owned(), other);
    assert_eq!(round(24), (1, 0));
    assert_eq!(round(32), (1, 0), "observed once");
    assert_eq!(scene.records().len(), 0);
    scene.world.state().served.insert(LISTED.to_owned(), genuine.unwrap());
    tag(&repository, &["v9.1.0", "kept"]);
    round(40);
    let records = scene.records();
    assert_eq!((records.len(), records[0].status), (1, RecordStatus::Pass));
    assert_eq!(observed(&scene, ObservationKind::FileRestored).len(), 1);
}
