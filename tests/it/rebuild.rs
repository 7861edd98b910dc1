//! Room 3, rebuild: steps that misbehave are "not built", with the reason, and never a pass.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::fixture::RECIPE;

use crate::scene;

/// Appends a step to the recipe, which has made perfect files by then.
fn with_last_step(run: &str) -> String {
    format!("{RECIPE}\n[[step]]\nname = \"last\"\nrun = '''\n{run}\n'''\n")
}

/// Verifies with `limits` and this last step, which must not build, for the reason `expected`.
fn does_not_build(limits: &[(&str, i64)], last_step: &str, expected: Value) {
    let mut scene = scene();
    for (limit, value) in limits {
        scene.set(&format!("rebuild.limits.{limit}"), *value);
    }
    scene.recipe(&with_last_step(last_step));
    let begun = Instant::now();
    let ran = scene.verify(&["--json"]);
    let took = begun.elapsed();
    ran.exits(3);
    assert!(took < Duration::from_secs(20), "{last_step:?} was ended after {took:?} only");
    let record = ran.json();
    assert_eq!(record["status"], "not_built", "{last_step}");
    assert_eq!(record["rebuild"]["failure"], expected, "{last_step}");
    let artifacts = record["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), 2);
    for artifact in artifacts {
        assert_eq!(artifact["verdict"], "not_built");
        assert_eq!((&artifact["tier"], &artifact["rebuilt"]), (&Value::Null, &Value::Null));
        assert!(artifact["published"]["sha256"].is_string());
    }
    assert_eq!(scene.records().len(), 1, "that a tag does not build is a result");
}

#[test]
fn a_step_that_fails_after_perfect_files_is_no_pass() {
    does_not_build(&[], "exit 7", json!({"failure": "exited", "step": "last", "code": 7}));
    let segv = json!({"failure": "signalled", "step": "last", "signal": 11});
    does_not_build(&[], "kill -SEGV $$", segv);
    let exited = json!({"failure": "exited", "step": "last", "code": 1});
    does_not_build(&[], "false | true", exited.clone());
    does_not_build(&[], "false\necho not reached", exited);
}

#[test]
fn what_did_not_build_is_said_in_words_and_its_log_is_kept() {
    let scene = scene();
    scene.recipe(&with_last_step("echo the reason; exit 7"));
    let ran = scene.verify(&["--report", "report"]);
    ran.exits(3);
    assert!(ran.stdout.starts_with("cpython 9.1.0  not built\n"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("not built: step last exited 7").count(), 2, "{}", ran.stdout);
    let log = std::fs::read_to_string(scene.path("report/build.log")).unwrap();
    assert!(log.contains("the reason\n"), "{log}");
    assert!(scene.path("report/Python-9.1.0.tgz.published.members.txt").is_file());
    assert!(!scene.path("report/Python-9.1.0.tgz.rebuilt.members.txt").exists());
}

#[test]
fn a_daemon_that_holds_the_output_is_gone_with_its_step() {
    let scene = scene();
    scene.recipe(&with_last_step(
        "trap '' HUP TERM\nsetsid nohup sleep 4711.1 &\n(sleep 4711.2 &)\nsleep 4711.3 <&- &",
    ));
    let begun = Instant::now();
    scene.verify(&[]).exits(0);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(tests::leftovers::processes("4711."), []);
}

#[test]
fn a_step_that_does_not_end_is_ended() {
    let wall = json!({"failure": "wall_time", "step": "last", "seconds": 3});
    let limits = [("wall_seconds", 3)];
    does_not_build(&limits, "trap '' TERM INT HUP\nwhile :; do :; done", wall);
    let silent = json!({"failure": "silent", "step": "last", "seconds": 2});
    does_not_build(&[("silent_seconds", 2)], "sleep 4712", silent);
}

#[test]
fn a_step_that_takes_too_much_is_ended() {
    let file = json!({"failure": "file_size", "step": "last", "bytes": 1_000_000});
    let fill = "head -c 30000000 /dev/zero > big";
    does_not_build(&[("file_bytes", 1_000_000)], fill, file);
    let disk = json!({"failure": "disk", "step": "last", "bytes": 4_000_000});
    let many = "for i in $(seq 500); do head -c 900000 /dev/zero > $i; done; sleep 4713";
    does_not_build(&[("disk_bytes", 4_000_000)], many, disk);
    let processes = json!({"failure": "processes", "step": "last", "processes": 40});
    let bomb = "for i in $(seq 100); do sleep 4714 & done; wait";
    does_not_build(&[("processes", 40)], bomb, processes);
}

#[test]
fn an_output_that_is_no_file_is_no_pass() {
    let missing = json!({"failure": "missing_output", "name": "Python-9.1.0.tgz"});
    let not_a_file = json!({"failure": "not_a_file", "name": "Python-9.1.0.tgz"});
    let output = "out/Python-9.1.0.tgz";
    does_not_build(&[], &format!("rm {output}"), missing.clone());
    does_not_build(&[], "rm -r out", missing);
    for instead in [
        format!("mv {output} x; ln -s ../x {output}"),
        format!("rm {output}; ln -s /etc/passwd {output}"),
        format!("rm {output}; mkdir {output}"),
        format!("rm {output}; mkfifo {output}"),
    ] {
        does_not_build(&[], &instead, not_a_file.clone());
    }
}

#[test]
fn a_directory_behind_a_link_holds_no_output() {
    let scene = scene();
    scene.recipe(&with_last_step("mv out elsewhere; ln -s elsewhere out"));
    let ran = scene.verify(&["--json"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_step_that_somebody_kills_is_trouble_and_no_verdict() {
    let scene = scene();
    scene.recipe(&with_last_step("kill -9 $$"));
    scene.refuses("last was killed by something other than Verbatim");
}

#[test]
fn a_log_without_end_is_cut_in_its_middle() {
    let mut scene = scene();
    scene.set("rebuild.limits.log_bytes", 20_000);
    scene.recipe(&with_last_step("echo head; seq 500000; echo tail"));
    scene.verify(&["--report", "report"]).exits(0);
    let log = std::fs::read_to_string(scene.path("report/build.log")).unwrap();
    assert!(log.len() < 25_000, "{} bytes", log.len());
    assert!(log.contains("head\n") && log.ends_with("tail\n"));
}

#[test]
fn a_step_sees_neither_the_published_files_nor_anything_of_this_machine() {
    let scene = scene();
    let secret = scene.path("secret");
    std::fs::write(&secret, "secret").unwrap();
    let look = format!(
        "test ! -e {}\ntest ! -e {}\nif find / -name '*.tgz' 2>/dev/null | grep -v ^/work/out/; \
         then exit 1; fi\nif ls /proc | grep -x {}; then exit 1; fi\n\
         if env | grep -v -E '^(PATH|HOME|LANG|LC_ALL|TZ|TMPDIR|VERSION|COMMIT|SOURCE_DATE_EPOCH|\
         REPOSITORY|NOT_SHIPPED|TAR_ORDER|TAR_OWNER|TAR_FORMAT|GZIP_LEVEL|XZ_LEVEL|XZ_THREADS|\
         GIT_[A-Z0-9_]+|PWD|OLDPWD|SHLVL|_)='; \
         then exit 1; fi\n\
         if (exec 3<>/dev/tcp/127.0.0.1/{}) 2>/dev/null; then exit 1; fi",
        scene.path("").display(),
        scene.fixture.published("").display(),
        std::process::id(),
        scene.world.base().rsplit(':').next().unwrap(),
    );
    scene.recipe(&with_last_step(&look));
    let ran = scene.verify(&["--report", "report"]);
    let log = std::fs::read_to_string(scene.path("report/build.log")).unwrap();
    assert_eq!(ran.code, Some(0), "{log}");
}

#[test]
fn no_variable_of_the_outside_changes_a_byte() {
    let mut scene = scene();
    for (name, value) in [
        ("TAR_OPTIONS", "--exclude=README.rst"),
        ("XZ_OPT", "-9e"),
        ("XZ_DEFAULTS", "--threads=0 --check=sha256"),
        ("GZIP", "-1"),
        ("POSIXLY_CORRECT", "1"),
        ("PYTHONPATH", "/evil"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("LANG", "de_DE.UTF-8"),
        ("TZ", "Asia/Kathmandu"),
        ("BASH_ENV", "/evil"),
        ("LD_PRELOAD_", "/evil"),
        ("SOURCE_DATE_EPOCH", "1"),
        ("TMPDIR", "/nowhere"),
        ("GIT_CONFIG_PARAMETERS", "'core.autocrlf=true'"),
    ] {
        scene.variables.push((name.to_owned(), value.to_owned()));
    }
    scene.verify(&[]).exits(0);
}

#[test]
fn a_version_without_a_recipe_is_told_which_versions_have_one() {
    let scene = scene();
    scene.run(&["verify", "8.0.0"]).gives_up(
        "verify 8.0.0: no recipe covers 8.0.0: small covers >=9 (other releases were made in",
    );
    assert!(scene.world.state().requests.is_empty(), "nobody was asked");
    let again = RECIPE.replace("\"small\"", "\"other\"").replace(">=9", ">=9.1");
    std::fs::write(scene.path("definitions/recipes/other.toml"), again).unwrap();
    scene.refuses("9.1.0 is covered by two recipes, other and small");
}

#[test]
fn a_recipe_that_cannot_be_right_is_trouble() {
    let scene = scene();
    let cases = [
        (RECIPE.replace(", \"Python-{version}.tar.xz\"", ""), "has no output named"),
        (RECIPE.replace("covers", "cover"), "unknown field `cover`"),
        (RECIPE.replace(">=9", "newest"), "read the range \"newest\""),
        (RECIPE.replace("[\"Python-{version}.tgz\"", "[\"../x\""), "is not a plain file name"),
        (RECIPE.replace("\"host\"", "\"nowhere\""), "environments/nowhere.lock"),
    ];
    for (recipe, expected) in cases {
        scene.recipe(&recipe);
        scene.refuses(expected);
    }
}

#[test]
fn of_two_recipes_the_one_is_run_whose_tar_wrote_the_published_files() {
    let scene = scene();
    // Which tar this machine has, the record of another recipe says.
    let record = scene.verify(&["--json"]).exits(0).json();
    let tar = record["era"]["files"][0]["tar"].as_str().unwrap().to_owned();
    let (_, remove) = RECIPE.split_once("name = \"remove\"\nrun = '''\n").unwrap();
    let (remove, _) = remove.split_once("'''").unwrap();
    let of_tar = |name: &str, tar: &str| {
        let recipe = "name = \"NAME\"\nbased_on = \"base\"\ncovers = [\">=9\"]\ntar = \"TAR\"\n\
            [variables]\nTOOL = \"NAME\"\n[[step]]\nname = \"remove\"\n\
            run = '''\ntest \"$TOOL\" = NAME\n";
        let recipe = recipe.replace("NAME", name).replace("TAR", tar) + remove + "'''\n";
        std::fs::write(scene.path(&format!("definitions/recipes/{name}.toml")), recipe).unwrap();
    };
    let base = RECIPE.replace("\"small\"", "\"base\"").replace("\">=9\"", "");
    std::fs::write(scene.path("definitions/recipes/base.toml"), base).unwrap();
    std::fs::remove_file(scene.path("definitions/recipes/small.toml")).unwrap();
    for (names, chosen) in [(["a-other", "b-same"], "b-same"), (["d-other", "c-same"], "c-same")] {
        of_tar(names[0], "gnu format");
        of_tar(names[1], &tar);
        let record = scene.verify(&["--json"]).exits(0).json();
        assert_eq!(record["recipe"]["name"], chosen);
        let parameters = &record["definition"]["internalParameters"];
        assert_eq!(parameters["environment"]["TOOL"], chosen);
        for name in names {
            std::fs::remove_file(scene.path(&format!("definitions/recipes/{name}.toml"))).unwrap();
        }
    }
}
