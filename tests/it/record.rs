//! Rooms 5 and 6, record and publish: what is stored, printed and reported.

use std::fs;
use std::process::Stdio;

use rebuilder::Digest;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};
use tests::{Ran, Scene, source};

use crate::scene;

const TGZ: &str = "Python-9.1.0.tgz";
const TAR_XZ: &str = "Python-9.1.0.tar.xz";

#[test]
fn a_release_that_comes_out_bit_for_bit_passes() {
    let scene = scene();
    let ran = scene.verify(&["--json"]);
    ran.exits(0);
    let mut record = ran.json();
    assert_eq!(record, serde_json::to_value(&scene.records()[0]).unwrap(), "the stored record");
    let definition = record["definition"].take();
    let rebuild = record["rebuild"].take();
    let era = record["era"].take();
    let commit = record["source"]["commit"].as_str().unwrap().to_owned();
    for changing in ["id", "started", "finished"] {
        assert!(record[changing].take().is_string(), "{changing}");
    }
    for object in ["tag_object", "commit", "tree"] {
        assert!(record["source"][object].take().is_string(), "{object}");
    }
    assert!(record["recipe"]["digest"].take().as_str().unwrap().starts_with("sha256:"));
    let environment = scene.fixture.environment().digest;
    let expected = json!({
        "schema": "verbatim.record/1", "id": null,
        "release": {"project": "cpython", "version": "9.1.0", "announced": "2025-06-15T18:00:00Z"},
        "status": "pass",
        "source": {
            "repository": scene.fixture.repository(), "tag": "v9.1.0", "tag_object": null,
            "commit": null, "tree": null, "committed": "2025-06-15T15:06:40Z",
        },
        "environment": {"name": "host", "digest": format!("sha256:{environment}")},
        "recipe": {"name": "small", "digest": null},
        "started": null, "finished": null,
        "artifacts": [reproduced(&scene, TGZ), reproduced(&scene, TAR_XZ)],
        "evidence": expected_evidence(),
        "era": null, "definition": null, "rebuild": null,
    });
    assert_eq!(record, expected);
    assert_eq!(era["expected"], json!({"version": "E5", "date": "E5"}));
    for (index, name) in [TGZ, TAR_XZ].into_iter().enumerate() {
        let mut file = era["files"][index].clone();
        // Of this machine's own.
        assert!(file["tar"].take().is_string(), "{file}");
        assert!(file["members"].take().is_u64(), "{file}");
        let packed = json!({
            "name": name, "members": null, "tar": null, "root_owned": true, "times": 1,
            "sorted": true, "mypy": false,
        });
        assert_eq!(file, packed);
    }
    assert_eq!(definition["internalParameters"]["environment"]["COMMIT"], commit.as_str());
    assert_eq!(definition["internalParameters"]["environment"]["SOURCE_DATE_EPOCH"], "1750000000");
    assert_eq!(definition["resolvedDependencies"][1]["digest"]["sha256"], environment.to_string());
    assert_eq!(rebuild["failure"], Value::Null);
}

/// Nobody known here signs 9.1.0, nothing was signed, and there is no earlier record.
fn expected_evidence() -> Value {
    let mut evidence = Vec::new();
    for artifact in [TGZ, TAR_XZ] {
        for (check, outcome) in [
            ("size", "agrees"),
            ("sha256", "missing"),
            ("md5", "agrees"),
            ("sigstore", "missing"),
            ("openpgp", "not_expected"),
        ] {
            evidence.push(json!({"check": check, "artifact": artifact, "outcome": outcome}));
        }
    }
    for (check, detail) in [
        ("tag_signature", "the tag is annotated and not signed"),
        ("tag", "there is no earlier record of it to compare with"),
    ] {
        let outcome = "not_expected";
        evidence.push(json!({
            "check": check, "artifact": "v9.1.0", "outcome": outcome, "detail": detail
        }));
    }
    for artifact in [TGZ, TAR_XZ] {
        evidence.push(json!({"check": "sbom", "artifact": artifact, "outcome": "missing"}));
    }
    evidence.into()
}

/// The entry of a reproduced file, from the bytes that were published.
#[test]
fn a_record_from_before_eras_were_read_is_still_read() {
    let scene = scene();
    let mut record = scene.verify(&["--json"]).exits(0).json();
    assert!(record.as_object_mut().unwrap().remove("era").is_some());
    let old: verifier::record::Record = serde_json::from_value(record.clone()).unwrap();
    assert_eq!(old.era, None);
    assert_eq!(serde_json::to_value(&old).unwrap(), record);
}

fn reproduced(scene: &Scene, name: &str) -> Value {
    let (sha256, size) = Digest::of_file(&scene.fixture.published(name)).unwrap();
    let sized = json!({"sha256": sha256.to_string(), "size": size});
    let grouped = match size {
        0..1000 => size.to_string(),
        _ => format!("{},{:03}", size / 1000, size % 1000),
    };
    json!({
        "name": name, "url": format!("{}/ftp/python/9.1.0/{name}", scene.world.base()),
        "verdict": "reproduced", "tier": "bitwise", "published": sized, "rebuilt": sized,
        "summary": format!("identical, {grouped} bytes"), "causes": [], "unexplained": [],
        "explanation": {
            "files": 7, "directories": 7, "git": 7, "others": [], "unexplained": 0, "notes": [],
            "removed": [
                [".gitattributes", "remove"], [".github/workflows/build.yml", "remove"],
                [".gitignore", "remove"], ["Doc/build/index.html", "remove"],
                ["Misc/mypy/mypy.toml", "remove"],
            ],
            "missing": [], "others_total": 0, "removed_total": 5, "missing_total": 0,
        },
    })
}

#[test]
fn progress_goes_to_standard_error_and_the_verdict_to_standard_output() {
    let scene = scene();
    let ran = scene.verify(&[]);
    ran.exits(0);
    assert!(ran.stdout.starts_with("cpython 9.1.0  pass\n"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("reproduced, bit for bit").count(), 2, "{}", ran.stdout);
    let stages = [
        "ask python.org",
        "environment host",
        "fetch Python-9.1.0.tgz",
        "fetch Python-9.1.0.tar.xz",
        "fetch tag v9.1.0",
        "rebuild",
        "compare",
    ];
    for stage in stages {
        let line = ran.stderr.lines().find(|line| line.trim_start().starts_with(stage));
        assert!(line.is_some_and(|line| line.contains(" s  ")), "{stage}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("is the rebuilt Python-9.1.0.tar, byte for byte"));
    assert!(!ran.stderr.contains('\u{1b}'), "no terminal, no control sequences");
}

#[test]
fn a_second_verify_adds_a_second_record_and_leaves_the_first_as_it_was() {
    let scene = scene();
    let first = scene.verify(&["--json"]).json();
    let second = scene.verify(&["--json"]).json();
    assert_ne!(first["id"], second["id"]);
    for same in ["source", "environment", "recipe", "definition", "artifacts"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    let records = scene.records().into_iter().map(|r| serde_json::to_value(r).unwrap());
    assert_eq!(records.collect::<Vec<_>>(), [first, second]);
}

/// Runs SQL on the store, as somebody with the file in his hands could.
fn sql(scene: &Scene, statement: &str) -> Result<u64, String> {
    let url = format!("sqlite:{}", scene.state().join("records.sqlite").display());
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    scene.block_on(async {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let done = connection.execute(sqlx::raw_sql(statement)).await;
        connection.close().await.unwrap();
        done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
    })
}

#[test]
fn records_are_never_changed_or_deleted() {
    let scene = scene();
    scene.verify(&[]).exits(0);
    let before = scene.records();
    for statement in [
        "UPDATE records SET status = 'fail'",
        "UPDATE records SET document = replace(document, 'pass', 'fail')",
        "DELETE FROM records",
        "INSERT OR REPLACE INTO records \
         SELECT id, version, 'fail', finished, '{}', seq + 9 FROM records",
        "INSERT OR REPLACE INTO records \
         SELECT 'other', version, 'fail', finished, '{}', seq FROM records",
        "UPDATE artifacts SET verdict = 'different'",
        "DELETE FROM artifacts",
        "INSERT OR REPLACE INTO artifacts \
         SELECT seq, place, name, 'different', tier, published, 1, rebuilt, 0 FROM artifacts",
        "INSERT OR REPLACE INTO records (rowid, id, version, status, finished, document) \
         SELECT rowid, 'other', version, 'fail', finished, '{}' FROM records",
    ] {
        let refused = sql(&scene, statement).unwrap_err();
        assert!(refused.contains("a record is never"), "{statement}: {refused}");
    }
    assert_eq!(scene.records(), before);
}

#[test]
fn a_store_that_takes_no_record_is_trouble_and_no_verdict() {
    let scene = scene();
    assert_eq!(scene.records().len(), 0);
    let trigger = "CREATE TRIGGER full BEFORE INSERT ON records \
                   BEGIN SELECT RAISE(ABORT, 'no room'); END";
    sql(&scene, trigger).unwrap();
    let report = scene.path("report");
    let ran = scene.verify(&["--json", "--report", report.to_str().unwrap()]);
    ran.gives_up("add a record to the store");
    assert!(!report.exists(), "nothing is published before the record is durable");
    assert_eq!(scene.records().len(), 0);
}

#[test]
fn a_store_that_is_no_database_is_trouble() {
    let scene = scene();
    fs::write(scene.state().join("records.sqlite"), "not a database".repeat(100)).unwrap();
    scene.verify(&["--json"]).gives_up("records.sqlite");
}

#[test]
fn a_verdict_that_cannot_be_printed_or_reported_is_on_record_all_the_same() {
    let scene = scene();
    fs::write(scene.path("report"), "in the way").unwrap();
    scene.verify(&["--json", "--report", "report"]).gives_up("report");
    assert_eq!(scene.records().len(), 1);

    let full = fs::File::create("/dev/full").unwrap();
    let mut command = scene.command(&["verify", source::VERSION, "--json"]);
    let output = command.stdout(Stdio::from(full)).output().unwrap();
    Ran::of(output).gives_up("print the result");
    assert_eq!(scene.records().len(), 2);
}

#[test]
fn a_report_holds_the_record_the_log_and_both_sides_members() {
    let scene = scene();
    let ran = scene.verify(&["--json", "--report", "some/report"]);
    ran.exits(0);
    let report = scene.path("some/report");
    let read = |name: &str| fs::read_to_string(report.join(name)).unwrap();
    assert_eq!(read("record.json"), ran.stdout);
    for step in ["export", "remove", "archive", "compress"] {
        assert!(read("build.log").contains(step), "{}", read("build.log"));
    }
    let mut names: Vec<_> =
        fs::read_dir(&report).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    let expected = [
        "Python-9.1.0.tar.xz.published.members.txt",
        "Python-9.1.0.tar.xz.rebuilt.members.txt",
        "Python-9.1.0.tgz.published.members.txt",
        "Python-9.1.0.tgz.rebuilt.members.txt",
        "build.log",
        "record.json",
    ];
    assert_eq!(names, expected);
    let members = read(expected[0]);
    assert_eq!(members, read(expected[1]));
    for member in ["configure", "Lib/test/run.bat", "hello.py", &"name".repeat(20)] {
        assert!(members.contains(member), "{member}: {members}");
    }
    assert!(!members.contains("mypy"), "{members}");
}

#[test]
fn several_versions_give_one_array_and_the_trouble_of_one_spares_the_others() {
    let scene = scene();
    let ran = scene.run(&["verify", "9.1.0", "9.9.9", "--json"]);
    ran.exits(2);
    assert!(ran.sentence().contains("9.9.9"), "{ran:?}");
    let records = ran.json();
    assert_eq!(records.as_array().unwrap().len(), 1);
    assert_eq!(records[0]["release"]["version"], "9.1.0");
    let ran = scene.run(&["verify", "9.1.0", "9.1.0", "--json", "--report", "reports"]);
    assert_eq!(ran.exits(0).json().as_array().unwrap().len(), 2);
    assert!(scene.path("reports/9.1.0/record.json").is_file());
}
