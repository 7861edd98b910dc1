//! A store with something in every state, made through the doors that the daemon uses.

use std::path::PathBuf;

use rebuilder::{BuildDefinition, BuildFailure, Digest, StepRun};
use serde_json::json;
use verifier::compare::{Cause, CauseId, Explanation, Origin, Packing, TarWriter, Tier};
use verifier::era::{Era, EraFinding, ExpectedEra, PackedFile};
use verifier::evidence::{Check, CheckOutcome, Evidence};
use verifier::feed::Announced;
use verifier::observation::AlarmKind;
use verifier::publish::site::{Resource, Shown, resource};
use verifier::queue::Why;
use verifier::record::{
    Named, Record, RecordStatus, RecordedArtifact, RecordedExplanation, RecordedRebuild,
    RecordedRelease, SCHEMA, SizedDigest, VerdictName,
};
use verifier::store::Store;

/// A text that would open an element, move a cursor and reorder a line.
pub const HOSTILE: &str = "a\"'><script>alert(1)</script>\u{202e}gpj\u{1b}[2J\u{0}\u{200b}&amp;";

pub struct World {
    pub store: Store,
    pub reports: PathBuf,
    pub journals: PathBuf,
    pub public_url: url::Url,
    _directory: tempfile::TempDir,
}

impl World {
    /// Nothing is known.
    pub async fn empty() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
        let [reports, journals] = ["reports", "jobs"].map(|name| directory.path().join(name));
        for place in [&reports, &journals] {
            std::fs::create_dir(place).unwrap();
        }
        let public_url = "http://127.0.0.1:8470/".parse().unwrap();
        World { store, reports, journals, public_url, _directory: directory }
    }

    /// What is published at `path`.
    pub async fn resource(&self, path: &str) -> Option<Resource> {
        let shown = Shown {
            store: self.store.clone(),
            public_url: self.public_url.clone(),
            reports: self.reports.clone(),
            journals: self.journals.clone(),
            elsewhere: Vec::new(),
        };
        resource(&shown, path).await.unwrap()
    }

    /// The page at `path`.
    pub async fn page(&self, path: &str) -> String {
        let resource = self.resource(path).await;
        let resource = resource.unwrap_or_else(|| panic!("there is no page {path}"));
        assert_eq!(resource.media_type, "text/html; charset=utf-8");
        String::from_utf8(resource.body).unwrap()
    }

    /// The file that the page at `path` refers to by a link of this relation.
    pub async fn linked(&self, path: &str, relation: &str) -> String {
        let page = self.page(path).await;
        let link = page.split(&format!("rel=\"{relation}\"")).nth(1).unwrap();
        let place = link.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
        String::from_utf8(self.resource(place).await.unwrap().body).unwrap()
    }

    /// Something in every state: 3.13.0 to 3.13.9 pass and 3.13.10 fails, 3.14.0 is not built,
    /// 3.14.1 waits, 3.14.2 is trouble of ours, 3.14.3 is parked, 3.14.4 runs, 3.14.5 is queued,
    /// 3.14.6 was never looked at.
    pub async fn full() -> World {
        let world = World::empty().await;
        world
            .announce(&["3.9.2", "3.14.1", "3.14.2", "3.14.3", "3.14.4", "3.14.5", "3.14.6"])
            .await;
        let store = &world.store;
        for micro in 0..10 {
            store.append(&pass(&format!("3.13.{micro}"))).await.unwrap();
        }
        store.append(&pass("3.13.10")).await.unwrap();
        for record in [fail("3.13.10"), disputed("3.13.11"), not_built("3.14.0")] {
            store.append(&record).await.unwrap();
            world.report(&record);
        }
        world.job("3.14.1").await;
        let lease = store.claim("the test").await.unwrap().unwrap();
        let later = "2030-01-01T00:00:00Z".parse().unwrap();
        store.wait(&lease, "the repository has no tag v3.14.1 yet", later).await.unwrap();
        world.job("3.14.2").await;
        let lease = store.claim("the test").await.unwrap().unwrap();
        let trouble = "fetch Python-3.14.2.tgz: the connection broke off";
        store.retry(&lease, trouble, later).await.unwrap();
        world.job("3.14.3").await;
        let lease = store.claim("the test").await.unwrap().unwrap();
        let trouble = "no archive has tar 1.35+dfsg-3.1";
        store.raise(AlarmKind::JobParked, "3.14.3", "no archive has tar").await.unwrap();
        store.park(&lease, trouble).await.unwrap();
        let running = world.job("3.14.4").await;
        store.claim("the test").await.unwrap().unwrap();
        world.journal(&running, &[("stage", "fetch tag v3.14.4"), ("log", "one line of a step")]);
        world.job("3.14.5").await;
        world
    }

    /// python.org announces these versions.
    pub async fn announce(&self, versions: &[&str]) {
        let date = "2025-06-11T17:00:00Z".parse().unwrap();
        let announced = |(version, key): (&&str, u64)| Announced {
            version: version.parse().unwrap(),
            date,
            key,
        };
        let announced: Vec<Announced> = versions.iter().zip(1..).map(announced).collect();
        self.store.learn(&announced, None).await.unwrap();
        self.store.set_fact("feed.last_success", "2026-11-21T16:00:00.5Z").await.unwrap();
        self.store.set_fact("feed.next_check", "2026-11-21T16:30:00.5Z").await.unwrap();
    }

    /// Queues a job; gives its id.
    pub async fn job(&self, version: &str) -> String {
        self.store.enqueue(&version.parse().unwrap(), Why::Release).await.unwrap().id
    }

    /// Writes a job's journal.
    pub fn journal(&self, job: &str, lines: &[(&str, &str)]) {
        let line = |(kind, text): &(&str, &str)| {
            json!({"at": "2026-01-01T00:00:00Z", "kind": kind, "text": text}).to_string() + "\n"
        };
        let text: String = lines.iter().map(line).collect();
        std::fs::write(self.journals.join(format!("{job}.ndjson")), text).unwrap();
    }

    /// Stores a report of the record.
    pub fn report(&self, record: &Record) {
        let place = self.reports.join(&record.id);
        std::fs::create_dir(&place).unwrap();
        let write = |name: &str, text: &str| std::fs::write(place.join(name), text).unwrap();
        write("record.json", "{}");
        write("build.log", &format!("+ git archive\n{HOSTILE}\n"));
        for artifact in &record.artifacts {
            for kind in ["html", "txt", "json"] {
                write(&format!("{}.difference.{kind}", artifact.name), "the difference");
            }
        }
    }
}

/// Every file came out.
pub fn pass(version: &str) -> Record {
    record(
        version,
        RecordStatus::Pass,
        [".tar.xz", ".tgz"].map(|kind| same(version, kind)).to_vec(),
    )
}

/// One of two files differs.
pub fn fail(version: &str) -> Record {
    let causes = vec![
        cause(CauseId::MemberRemoved, 1, "only published", &["Misc/inject.m4"]),
        cause(CauseId::MemberChanged, 1, "changed", &["configure"]),
        Cause { of: 5214, ..cause(CauseId::TarMtime, 5214, "+3600 s", &[]) },
    ];
    let different = RecordedArtifact {
        verdict: VerdictName::Different,
        tier: Some(Tier::Different),
        rebuilt: Some(side("rebuilt")),
        summary: "1 member only published: Misc/inject.m4".to_owned(),
        causes,
        unexplained: vec!["Misc/inject.m4".to_owned()],
        ..same(version, ".tar.xz")
    };
    record(version, RecordStatus::Fail, vec![different, same(version, ".tgz")])
}

/// Every file came out, but a claim disagrees.
pub fn disputed(version: &str) -> Record {
    let mut record = record(version, RecordStatus::Fail, vec![same(version, ".tgz")]);
    record.evidence.push(Evidence::new(
        Check::Sha256,
        &format!("Python-{version}.tgz"),
        CheckOutcome::Disagrees,
        "the API claims 00ff".to_owned(),
    ));
    record
}

/// The file came out once order, times and owners were taken from the published one.
pub fn replayed(version: &str) -> Record {
    let replay = json!({
        "command": "gzip -9n", "outcome": "identical", "members": 4_900,
        "times": [{"time": "2023-02-07T13:37:51Z", "members": 4_900}],
        "owners": [{"uid": 1000, "gid": 1000, "user": "pablogsal", "group": "", "members": 4_900}],
    });
    let artifact = RecordedArtifact {
        tier: Some(Tier::Replayed),
        rebuilt: Some(side("rebuilt")),
        summary: "identical once metadata is replayed: tar.order".to_owned(),
        replay: Some(serde_json::from_value(replay).unwrap()),
        ..same(version, ".tgz")
    };
    record(version, RecordStatus::Pass, vec![artifact])
}

/// The tag does not build.
pub fn not_built(version: &str) -> Record {
    let failure = BuildFailure::Exited { step: "blurb".to_owned(), code: 2 };
    let artifact = RecordedArtifact {
        verdict: VerdictName::NotBuilt,
        tier: None,
        rebuilt: None,
        summary: failure.to_string(),
        ..same(version, ".tgz")
    };
    let mut record = record(version, RecordStatus::NotBuilt, vec![artifact]);
    record.rebuild.failure = Some(failure);
    record.rebuild.steps.truncate(1);
    record
}

pub fn cause(cause: CauseId, members: u64, detail: &str, examples: &[&str]) -> Cause {
    let examples = examples.iter().map(|path| (*path).to_owned()).collect();
    Cause { cause, members, of: 0, detail: detail.to_owned(), examples }
}

fn side(content: &str) -> SizedDigest {
    SizedDigest { sha256: Digest::of(content.as_bytes()), size: 22_856_016 }
}

fn same(version: &str, kind: &str) -> RecordedArtifact {
    let name = format!("Python-{version}{kind}");
    let url = format!("https://www.python.org/ftp/python/{version}/{name}");
    let map = Explanation {
        files: 4808,
        directories: 406,
        git: 4807,
        others: vec![("Misc/NEWS".to_owned(), Origin::Step("blurb".to_owned()))],
        ..Explanation::default()
    };
    RecordedArtifact {
        url: url.parse().unwrap(),
        verdict: VerdictName::Reproduced,
        tier: Some(Tier::Bitwise),
        published: side(&name),
        rebuilt: Some(side(&name)),
        summary: "identical, 22,856,016 bytes".to_owned(),
        causes: Vec::new(),
        unexplained: Vec::new(),
        explanation: Some(RecordedExplanation {
            map,
            others_total: 1,
            removed_total: 0,
            missing_total: 0,
        }),
        replay: None,
        name,
    }
}

/// One of every outcome.
fn evidence(version: &str) -> Vec<Evidence> {
    let file = format!("Python-{version}.tgz");
    let one =
        |check, outcome, detail: &str| Evidence::new(check, &file, outcome, detail.to_owned());
    vec![
        one(Check::Size, CheckOutcome::Agrees, ""),
        one(Check::Md5, CheckOutcome::Missing, ""),
        one(Check::Openpgp, CheckOutcome::NotExpected, "no signatures since 3.14 (PEP 761)"),
        one(Check::Sigstore, CheckOutcome::NotYet, "bundles come after the announcement"),
        one(Check::Witness, CheckOutcome::CannotCheck, "nobody answered within 30 s"),
    ]
}

fn record(version: &str, status: RecordStatus, artifacts: Vec<RecordedArtifact>) -> Record {
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let packing = Packing {
        members: 5214,
        tar: TarWriter::Tar135,
        root_owned: true,
        times: 1,
        sorted: true,
        mypy: false,
        note: None,
    };
    let packed = |artifact: &RecordedArtifact| PackedFile {
        name: artifact.name.clone(),
        packing: packing.clone(),
    };
    let named = |name: &str| Named {
        name: name.to_owned(),
        digest: format!("sha256:{}", Digest::of(name.as_bytes())),
    };
    let step = |name: &str| StepRun { name: name.to_owned(), milliseconds: 1_250 };
    Record {
        schema: SCHEMA.to_owned(),
        id: uuid::Uuid::now_v7().to_string(),
        release: RecordedRelease {
            project: "cpython".to_owned(),
            version: version.parse().unwrap(),
            announced: time("2025-06-11T17:00:00Z"),
        },
        status,
        source: verifier::source::Source {
            repository: "https://github.com/python/cpython".to_owned(),
            tag: format!("v{version}"),
            tag_object: None,
            commit: "6cb20a219a860eaf687b2d968b41c480c7461909".to_owned(),
            tree: "b2d968b41c480c74619096cb20a219a860eaf687".to_owned(),
            committed: time("2025-06-11T15:36:57Z"),
        },
        environment: named("debian-13"),
        recipe: named("cpython-source"),
        started: time("2026-11-21T15:59:00Z"),
        finished: time("2026-11-21T16:00:08.25Z"),
        era: Some(EraFinding {
            read: vec![Era::E3, Era::E5],
            expected: ExpectedEra { version: Some(Era::E5), date: Era::E5 },
            agrees: true,
            files: artifacts.iter().map(packed).collect(),
        }),
        artifacts,
        evidence: evidence(version),
        definition: definition(version),
        rebuild: RecordedRebuild {
            failure: None,
            definition: Digest::of(b"definition").to_string(),
            steps: vec![step("export"), step("blurb")],
            limits_in_force: vec!["memory: cgroup v2".to_owned()],
            started: time("2026-11-21T15:59:02Z"),
            finished: time("2026-11-21T16:00:05Z"),
        },
    }
}

fn definition(version: &str) -> BuildDefinition {
    let script = "cd \"Python-$VERSION\"\n\tpython3 -m blurb merge\n";
    serde_json::from_value(json!({
        "buildType": "urn:verbatim:recipe:cpython-source:1",
        "externalParameters": {"version": version, "repository": "r", "tag": format!("v{version}")},
        "internalParameters": {
            "recipe": "cpython-source", "recipeDigest": Digest::of(b"recipe").to_string(),
            "steps": [
                {"name": "export", "run": "git archive --format=tar \"$COMMIT\" | tar xf -\n"},
                {"name": "blurb", "run": script},
            ],
            "environment": {"VERSION": version, "SOURCE_DATE_EPOCH": "1749656217"},
            "outputs": [], "traced": "",
            "limits": serde_json::to_value(rebuilder::Limits::default()).unwrap(),
        },
        "resolvedDependencies": [],
    }))
    .unwrap()
}
