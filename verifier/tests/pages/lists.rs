//! No list ends without a word: what a page leaves out it says, with where that is.

use rebuilder::Step;
use serde_json::json;
use verifier::compare::{Explanation, Origin};
use verifier::record::RecordedExplanation;

use super::world::{World, fail, pass};

/// What the pages say of lists that they cut.
const BELOW: &str = "The others are below, by <a href=\"#series\">series</a>.";
const CHANGES: &str = "Earlier ones are in <a href=\"/feed.atom\">the feed</a>";
const DONE: &str = "are in <a href=\"/api/v1/jobs\">the API’s list</a>.</p>";
const SEEN: &str = "Earlier ones are in <a href=\"/api/v1/observations\">the API’s list</a>";
const RECORDS: &str = "Earlier ones are in <a href=\"/api/v1/records?version=3.13.0\">";
const LOG: &str = "/reports/build.log\">the whole log</a>";

/// A job whose release passes.
async fn judged(world: &World, version: &str) {
    world.job(version).await;
    let lease = world.store.claim("the test").await.unwrap().unwrap();
    world.store.settle(&lease, &pass(version)).await.unwrap();
}

/// python.org's API claims another digest.
async fn claimed(world: &World, digest: u8) {
    let release = json!({
        "version": "3.13.0", "announced": "2025-06-11T17:00:00Z", "ignored": [],
        "files": [{
            "name": "Python-3.13.0.tgz", "url": "https://www.python.org/f/Python-3.13.0.tgz",
            "size": 3, "sha256": format!("{digest:02x}").repeat(32), "md5": null,
        }],
    });
    world.store.learn_files(&serde_json::from_value(release).unwrap()).await.unwrap();
}

#[tokio::test]
async fn what_is_whole_is_not_said_to_be_cut() {
    let world = World::empty().await;
    world.announce(&["3.13.0"]).await;
    judged(&world, "3.13.0").await;
    let record = world.store.records(None, None, 1).await.unwrap().remove(0);
    let record = format!("/records/{}", record.id);
    for path in ["/", "/queue", "/embed", "/releases/3.13.0", &record] {
        let page = world.page(path).await;
        for words in [BELOW, CHANGES, DONE, SEEN, RECORDS, LOG, "more:"] {
            assert!(!page.contains(words), "{path} says {words}");
        }
    }
}

#[tokio::test]
async fn the_last_releases_changes_and_jobs_are_said_to_be_the_last_ones() {
    let world = World::empty().await;
    let versions: Vec<String> = (0..21).map(|micro| format!("3.13.{micro}")).collect();
    let known: Vec<&str> = versions.iter().map(String::as_str).collect();
    world.announce(&known).await;
    for version in &versions {
        judged(&world, version).await;
    }
    let overview = world.page("/").await;
    assert!(overview.contains(BELOW) && overview.contains(CHANGES), "{overview}");
    assert!(world.page("/queue").await.contains(DONE));
}

#[tokio::test]
async fn older_series_have_badges_at_addresses_that_are_told() {
    let world = World::empty().await;
    let versions: Vec<String> = (0..43).map(|minor| format!("3.{minor}.1")).collect();
    let known: Vec<&str> = versions.iter().map(String::as_str).collect();
    world.announce(&known).await;
    let page = world.page("/embed").await;
    assert!(page.contains("and 3 older series, at the addresses below."), "{page}");
}

#[tokio::test]
async fn the_history_of_a_release_is_said_to_be_longer() {
    let world = World::empty().await;
    world.announce(&["3.13.0"]).await;
    for digest in 0..53 {
        claimed(&world, digest).await;
        world.store.append(&pass("3.13.0")).await.unwrap();
    }
    let page = world.page("/releases/3.13.0").await;
    assert!(page.contains(SEEN), "{page}");
    assert!(page.contains(RECORDS), "{page}");
}

#[tokio::test]
async fn a_record_says_what_it_leaves_out() {
    let world = World::empty().await;
    let mut record = fail("3.13.5");
    let parameters = &mut record.definition.internal_parameters;
    let mut long: Step = parameters.steps[0].clone();
    long.run = "true\n".repeat(203);
    parameters.steps = vec![long; 66];
    parameters.environment = (0..67).map(|n| (format!("V{n}"), String::new())).collect();
    record.rebuild.limits_in_force = vec!["cgroup".to_owned(); 68];
    let path = |n: u32| (format!("Lib/{n}"), Origin::Step("blurb".to_owned()));
    record.artifacts[0].explanation = Some(RecordedExplanation {
        map: Explanation { others: (0..2_000).map(path).collect(), ..Explanation::default() },
        others_total: 7_000,
        removed_total: 0,
        missing_total: 0,
    });
    world.store.append(&record).await.unwrap();
    world.report(&record);
    let log = world.reports.join(&record.id).join("build.log");
    std::fs::write(log, "one line\n".repeat(41)).unwrap();
    let page = world.page(&format!("/records/{}", record.id)).await;
    for words in [
        "and 3 more lines, in the definition.",
        "and 2 more steps, in the definition.",
        "and 3 more variables, in the definition.",
        "and 4 more, in the record as JSON",
        "and 6,800 more: ",
        "has the first 2,000.",
        LOG,
    ] {
        assert!(page.contains(words), "{words}");
    }
}
