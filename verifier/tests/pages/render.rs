//! What the pages say and what they never do, rendered from real stores.

use std::collections::BTreeSet;

use verifier::observation::AlarmKind;
use verifier::record::RecordStatus;
use verifier::store::{NOTICE, notice_of};

use super::world::{HOSTILE, World, disputed, fail, not_built, pass, replayed};

/// The text between the tags, with blanks as a browser shows them.
fn text(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            character if !inside => text.push(character),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The values of an attribute.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(" {name}=\"");
    let parts = html.split(&begin).skip(1);
    parts.map(|part| part.split('"').next().unwrap_or_default()).collect()
}

async fn every_page(world: &World) -> Vec<(String, String)> {
    let mut paths: Vec<String> = ["/", "/queue", "/about"].map(str::to_owned).to_vec();
    let (lines, _) = world.store.release_lines(1_000).await.unwrap();
    paths.extend(lines.iter().map(|line| format!("/releases/{}", line.version)));
    let records = world.store.records(None, None, 1_000).await.unwrap();
    paths.extend(records.iter().map(|record| format!("/records/{}", record.id)));
    let jobs = world.store.jobs(None, None, 1_000).await.unwrap();
    paths.extend(jobs.iter().map(|(_, job)| format!("/jobs/{}", job.id)));
    let mut pages = Vec::new();
    for path in paths {
        let html = world.page(&path).await;
        pages.push((path, html));
    }
    pages
}

#[tokio::test]
async fn every_state_is_seen_by_its_word_and_its_shape() {
    let world = World::full().await;
    let overview = world.page("/").await;
    assert_eq!(overview.matches("rel=\"stylesheet\"").count(), 1);
    assert!(!overview.contains("<script"));
    let style = world.linked("/", "stylesheet").await;
    let mut shapes = Vec::new();
    for (class, word) in [
        ("p", "pass"),
        ("f", "fail"),
        ("b", "not built"),
        ("q", "pending"),
        ("w", "waiting"),
        ("n", "not checked"),
        ("t", "trouble of ours"),
    ] {
        assert!(overview.contains(&format!("<span class=\"s {class}\">{word}</span>")), "{word}");
        assert!(overview.contains(&format!("<td class=\"{class}\"><i>{word}</i></td>")), "{word}");
        let begin = format!("\n.{class}::before {{ content: \"");
        let (_, rest) = style.split_once(&begin).unwrap_or_else(|| panic!("{word} has a shape"));
        shapes.push(rest.split_once('"').unwrap().0);
    }
    let distinct: BTreeSet<&str> = shapes.iter().copied().filter(|one| !one.is_empty()).collect();
    assert_eq!(distinct.len(), shapes.len(), "each state has a shape of its own: {shapes:?}");
    let shown = text(&overview);
    assert!(shown.contains("3.13.10 to 3.13.11 fail; 3.13.0 to 3.13.9 pass"), "{shown}");
    assert!(shown.contains("10 of 12 judged pass"));
    assert!(shown.contains("Trouble of ours: a job is parked 3.14.3"));
    assert!(shown.contains("1 running, 3 queued, 1 parked"), "{shown}");
    assert!(shown.contains("python.org last read 2026-11-21 16:00 UTC"));
    assert!(shown.contains("next look 2026-11-21 16:30 UTC"));
}

#[tokio::test]
async fn a_release_says_what_was_found_and_how_to_find_it_again() {
    let world = World::full().await;
    let shown = |html: String| text(&html);
    let page = shown(world.page("/releases/3.13.10").await);
    for expected in [
        "Python 3.13.10 fail",
        "1 of 2 published files is not what the steps make of tag v3.13.10.",
        "Unexplained: neither the tag nor a step accounts for these Misc/inject.m4",
        "member.changed 1 changed: configure",
        "tar.mtime +3600 s on 5,214 of 5,214 members",
        "4,808 files: 4,807 as the tag has them",
        "verbatim verify 3.13.10 --report",
        "members, headers of GNU tar 1.35, all of user 0, one time, sorted",
        "E5 by its date",
        "commit 6cb20a219a860eaf687b2d968b41c480c7461909",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    for outcome in ["agrees", "missing", "not expected", "not yet", "cannot check"] {
        assert!(page.contains(outcome), "{outcome}");
    }
    // The older record stands beside the newer one.
    assert!(
        page.contains("fail")
            && world.page("/releases/3.13.10").await.matches("<tr><th scope=\"row\"><time").count()
                >= 2
    );
    let disputed = shown(world.page("/releases/3.13.11").await);
    assert!(disputed.contains("but a claim about them disagrees"), "{disputed}");
    assert!(disputed.contains("sha256 disagrees Python-3.13.11.tgz the API claims 00ff"));
    let broken = shown(world.page("/releases/3.14.0").await);
    assert!(broken.contains("Tag v3.14.0 does not build: step blurb exited 2."), "{broken}");
    for (version, expected) in [
        ("3.14.1", "Waiting: the repository has no tag v3.14.1 yet."),
        ("3.14.2", "Trouble of ours, tried again at 2030-01-01 00:00 UTC: fetch"),
        ("3.14.3", "Trouble of ours lasted too long, and somebody has to look: no archive"),
        ("3.14.4", "It is being rebuilt since"),
        ("3.14.5", "in the queue"),
        ("3.14.6", "Nobody has looked at it so far."),
    ] {
        let page = shown(world.page(&format!("/releases/{version}")).await);
        assert!(page.contains(expected), "{version}: {page}");
    }
    assert!(world.resource("/releases/3.99.0").await.is_none());
    assert!(world.resource("/releases/latest").await.is_none());
}

#[tokio::test]
async fn a_release_without_a_record_shows_what_is_claimed_of_its_files() {
    let world = World::full().await;
    let [sha256, md5] = ["ab".repeat(32), "cd".repeat(16)];
    let release = serde_json::json!({
        "version": "3.14.6", "announced": "2025-06-11T17:00:00Z", "ignored": [],
        "files": [
            {
                "name": "Python-3.14.6.tgz", "url": "https://www.python.org/f/Python-3.14.6.tgz",
                "size": 30_123_456, "sha256": sha256, "md5": md5,
            },
            {
                "name": "Python-3.14.6.tar.xz", "url": "ftp://x/", "size": null,
                "sha256": null, "md5": null,
            },
        ],
    });
    world.store.learn_files(&serde_json::from_value(release).unwrap()).await.unwrap();
    let page = world.page("/releases/3.14.6").await;
    let link = "<a href=\"https://www.python.org/f/Python-3.14.6.tgz\" rel=\"noreferrer\">";
    assert!(page.contains(link) && !page.contains("ftp://x/"), "{page}");
    let shown = text(&page);
    for expected in [
        "What python.org claims of them. No record says anything of it so far.",
        "Python-3.14.6.tgz not checked claimed size 30,123,456 bytes",
        &format!("claimed SHA-256 {sha256} claimed MD5 {md5}"),
        "Python-3.14.6.tar.xz not checked claimed size none claimed SHA-256 none claimed MD5 none",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    // A record says what it found, and that is shown instead.
    world.store.append(&pass("3.14.6")).await.unwrap();
    let judged = text(&world.page("/releases/3.14.6").await);
    assert!(!judged.contains("claimed size"), "{judged}");
    assert!(judged.contains("Python-3.14.6.tgz pass reproduced, bit for bit"), "{judged}");
}

#[tokio::test]
async fn a_replayed_file_is_never_called_bit_for_bit() {
    let world = World::empty().await;
    world.store.append(&replayed("3.11.2")).await.unwrap();
    let page = text(&world.page("/releases/3.11.2").await);
    for expected in [
        "Replayed: the published files are what the steps make of tag v3.11.2, once order, times",
        "reproduced, replayed: identical once metadata is replayed",
        "are taken from the published archive; all else, with every content, is rebuilt",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    assert!(!page.contains("reproduced, bit for bit") && !page.contains(", byte for byte."));
    let overview = world.page("/").await;
    assert!(text(&overview).contains("1 of 1 replayed"), "{overview}");
    assert!(!overview.contains("1 of 1 reproduced"), "{overview}");
    // The same state as any other file that came out.
    assert_eq!(overview.matches("<td class=\"p\"><i>pass</i></td>").count(), 2, "{overview}");
    let mut refuted = replayed("3.11.3");
    refuted.status = RecordStatus::Fail;
    refuted.evidence = disputed("3.11.3").evidence;
    world.store.append(&refuted).await.unwrap();
    let page = text(&world.page("/releases/3.11.3").await);
    assert!(page.contains("Every file came out once order, times and owners"), "{page}");
    assert!(page.contains("but a claim about them disagrees: see the evidence."), "{page}");
    assert!(!page.contains("byte for byte, but"), "{page}");
}

#[tokio::test]
async fn the_page_about_the_pages_says_what_a_fail_and_no_build_prove() {
    let about = text(&World::empty().await.page("/about").await);
    for expected in [
        "either that the published bytes are not what these steps make of the tag, or that a \
         claim disagrees, though every file came out",
        "the second rebuild decides. Where the two do not agree, the release’s page says so",
        "in a container that has no network and sees nothing of what is published",
        "The release’s page says which",
        "Not built proves That the steps of the recipe fail on the tag’s source",
    ] {
        assert!(about.contains(expected), "{expected}: {about}");
    }
}

#[tokio::test]
async fn a_record_has_its_steps_its_log_and_what_is_stored_with_it() {
    let world = World::empty().await;
    let record = fail("3.13.5");
    world.store.append(&record).await.unwrap();
    let path = format!("/records/{}", record.id);
    assert!(text(&world.page(&path).await).contains("is not kept any more"));
    world.report(&record);
    let page = world.page(&path).await;
    let shown = text(&page);
    for expected in ["python3 -m blurb merge", "export VERSION=3.13.5", "+ git archive"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let difference = format!("{path}/reports/Python-3.13.5.tar.xz.difference.html");
    assert!(attributes(&page, "href").contains(&difference.as_str()));
    let log = world.reports.join(&record.id).join("build.log");
    verifier::retention::compress(&log).unwrap();
    assert_eq!(world.page(&path).await, page, "how a report is kept is nobody's business");
    let report = world.resource(&difference).await.unwrap();
    assert_eq!(report.body, b"the difference");
    assert!(report.policy.contains("sandbox"), "a stored document runs nothing");
    let definition = world.resource(&format!("{path}/definition.json")).await.unwrap();
    let definition: rebuilder::BuildDefinition = serde_json::from_slice(&definition.body).unwrap();
    assert_eq!(definition, record.definition);
    std::fs::write(world.reports.join("secret"), "secret").unwrap();
    for outside in ["..%2fsecret", "../secret", "..", ".", "", "nothing.txt"] {
        assert!(world.resource(&format!("{path}/reports/{outside}")).await.is_none(), "{outside}");
    }
    assert!(world.resource("/records/none").await.is_none());
    // A report that nothing on record speaks of is not shown.
    let orphan = pass("3.13.6");
    world.report(&orphan);
    let path = format!("/records/{}/reports/build.log", orphan.id);
    assert!(world.resource(&path).await.is_none());
}

#[tokio::test]
async fn the_queue_and_a_job_tell_where_it_is_and_why() {
    let world = World::full().await;
    let queue = text(&world.page("/queue").await);
    assert!(queue.contains("1 running, 3 queued, 1 parked"), "{queue}");
    for reason in ["has no tag v3.14.1 yet", "the connection broke off", "no archive has tar 1.35"]
    {
        assert!(queue.contains(reason), "{reason}: {queue}");
    }
    let version = "3.14.4".parse().unwrap();
    let job = world.store.job_of(&version).await.unwrap().unwrap();
    let page = world.page(&format!("/jobs/{}", job.id)).await;
    assert!(text(&page).contains("one line of a step"), "without a script");
    let events = format!("/api/v1/jobs/{}/events", job.id);
    assert_eq!(attributes(&page, "data-events"), [events.as_str()]);
    assert!(world.resource("/jobs/none").await.is_none());
}

#[tokio::test]
async fn nothing_from_outside_becomes_markup_or_moves_a_cursor() {
    let world = World::empty().await;
    let mut record = fail("3.13.5");
    world.report(&record);
    let artifact = &mut record.artifacts[0];
    artifact.name = HOSTILE.to_owned();
    artifact.url = "javascript:alert(1)".parse().unwrap();
    artifact.summary = HOSTILE.to_owned();
    artifact.unexplained = vec![HOSTILE.to_owned()];
    artifact.causes[0].detail = HOSTILE.to_owned();
    artifact.causes[0].examples = vec![HOSTILE.to_owned()];
    record.evidence[0].detail = HOSTILE.to_owned();
    record.evidence[0].artifact = HOSTILE.to_owned();
    record.source.repository = format!("https://github.com/{HOSTILE}");
    record.source.tag = HOSTILE.to_owned();
    record.environment.name = HOSTILE.to_owned();
    record.definition.internal_parameters.steps[0].run = HOSTILE.to_owned();
    record.rebuild.limits_in_force = vec![HOSTILE.to_owned()];
    world.store.append(&record).await.unwrap();
    world.announce(&["3.13.6"]).await;
    let job = world.job("3.13.6").await;
    world.journal(&job, &[("log", HOSTILE), ("state", HOSTILE)]);
    let lease = world.store.claim("the test").await.unwrap().unwrap();
    world.store.park(&lease, HOSTILE).await.unwrap();
    world.store.raise(AlarmKind::JobParked, HOSTILE, HOSTILE).await.unwrap();
    world.store.set_fact("feed.last_error", HOSTILE).await.unwrap();
    world.store.set_fact(NOTICE, HOSTILE).await.unwrap();
    world.store.set_fact(&notice_of(&"3.13.6".parse().unwrap()), HOSTILE).await.unwrap();
    for (path, html) in every_page(&world).await {
        assert!(!html.contains("<script>"), "{path}");
        let plain = |c: char| c == '\n' || !c.is_control();
        assert!(html.chars().all(plain), "{path} has a control character");
        assert!(!html.contains(['\u{202e}', '\u{200b}']), "{path} reorders or hides text");
        for link in attributes(&html, "href").iter().chain(&attributes(&html, "src")) {
            assert!(link.starts_with(['/', '#']) || link.starts_with("https://"), "{path}: {link}");
        }
        if path != "/about" {
            assert!(html.contains("a&#34;&#39;&#62;&#60;script&#62;"), "{path} shows it escaped");
        }
    }
}

#[tokio::test]
async fn pages_ask_nobody_else_for_anything_and_every_link_of_theirs_leads_somewhere() {
    let world = World::full().await;
    for (path, html) in every_page(&world).await {
        for asked in attributes(&html, "src") {
            assert!(asked.starts_with("/assets/follow-"), "{path}: {asked}");
        }
        for link in html.split("<link ").skip(1) {
            let link = link.split('>').next().unwrap();
            assert!(link.contains(" href=\"/"), "{path}: {link}");
        }
        for link in attributes(&html, "href") {
            if let Some(place) = link.strip_prefix('#') {
                assert!(html.contains(&format!("id=\"{place}\"")), "{path}: #{place}");
                continue;
            }
            let abroad = ["https://www.python.org/", "https://github.com/python/cpython/"];
            if abroad.iter().any(|place| link.starts_with(place)) {
                continue;
            }
            assert!(link.starts_with('/'), "{path}: {link}");
            let own = link.split(['#', '?']).next().unwrap();
            // The API is the server's; badges, feeds and the reference have their own tests.
            let others = ["/api", "/embed", "/feed.atom"];
            if !others.iter().any(|place| own.starts_with(place)) {
                assert!(world.resource(own).await.is_some(), "{path}: {link} leads nowhere");
            }
        }
    }
}

#[tokio::test]
async fn the_same_store_gives_the_same_bytes() {
    let world = World::full().await;
    let (first, second) = (every_page(&world).await, every_page(&world).await);
    assert!(first.len() > 30);
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_site_below_a_path_links_below_that_path() {
    let mut world = World::full().await;
    world.public_url = "https://example.org/verbatim/".parse().unwrap();
    for (path, html) in every_page(&world).await {
        for link in attributes(&html, "href").iter().chain(&attributes(&html, "src")) {
            let inside = link.starts_with("/verbatim/") || link.starts_with('#');
            assert!(inside || link.starts_with("https://"), "{path}: {link}");
        }
    }
}

#[tokio::test]
async fn five_thousand_differences_are_counted_and_not_all_shown() {
    let world = World::empty().await;
    let mut record = fail("3.13.5");
    let path = |n: usize| format!("{}/{n}", "long".repeat(50));
    // A record names the first of them, and counts them all.
    record.artifacts[0].unexplained = (0..1_000).map(path).collect();
    record.artifacts[0].explanation.as_mut().unwrap().map.unexplained = 5_000;
    record.artifacts[0].causes = vec![record.artifacts[0].causes[0].clone(); 5_000];
    record.artifacts[0].summary = "x".repeat(1 << 20);
    let many = vec![record.evidence[0].clone(); 5_000].into_iter().enumerate();
    record.evidence = many
        .map(|(n, one)| verifier::evidence::Evidence { detail: n.to_string(), ..one })
        .collect();
    world.store.append(&record).await.unwrap();
    for (path, html) in every_page(&world).await {
        assert!(html.len() < 250_000, "{path} has {} bytes", html.len());
    }
    let release = text(&world.page("/releases/3.13.5").await);
    let rest = "and 4,970 more: the record as JSON has the first 1,000.";
    assert!(release.contains(rest), "the rest is not counted");
    let page = world.page(&format!("/records/{}", record.id)).await;
    let shown = text(&page);
    for expected in ["and 4,800 more:", "and 4960 more causes", "and 4800 more checks"] {
        assert!(shown.contains(expected), "{expected}");
    }
    let whole = format!("/api/v1/records/{}", record.id);
    assert!(attributes(&page, "href").contains(&whole.as_str()));
}

#[tokio::test]
async fn five_hundred_releases_fit_into_one_page() {
    let world = World::empty().await;
    for series in 0..20 {
        for micro in 0..25 {
            let version = format!("3.{series}.{micro}");
            let record = match micro {
                24 => fail(&version),
                23 => not_built(&version),
                22 => disputed(&version),
                _ => pass(&version),
            };
            assert_eq!(record.status == RecordStatus::Pass, micro < 22);
            world.store.append(&record).await.unwrap();
        }
    }
    let page = world.page("/").await;
    assert!(page.len() < 150_000, "the overview has {} bytes", page.len());
    assert_eq!(page.matches("<table class=\"m\">").count(), 20);
    for version in ["3.0.0", "3.19.24"] {
        assert!(page.contains(&format!("href=\"/releases/{version}\"")), "{version}");
    }
}

#[tokio::test]
async fn a_notice_of_whoever_runs_this_stands_on_every_page() {
    let world = World::full().await;
    world.store.set_fact(NOTICE, "A demonstration: releases below 4 are made up.").await.unwrap();
    let version = "3.13.10".parse().unwrap();
    world.store.set_fact(&notice_of(&version), "Made up: one file was added.").await.unwrap();
    for (path, html) in every_page(&world).await {
        assert!(html.contains("A demonstration: releases below 4 are made up."), "{path}");
    }
    assert!(world.page("/releases/3.13.10").await.contains("Made up: one file was added."));
    assert!(!world.page("/releases/3.13.9").await.contains("Made up: one file was added."));
}
