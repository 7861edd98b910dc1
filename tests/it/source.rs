//! The tag: every repository that git can reach, and every way in which a tag is not there.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tests::{Scene, source};

use crate::scene;

/// A repository of the scene's own, to be changed.
fn own_repository(scene: &mut Scene) -> PathBuf {
    let repository = scene.path("own.git");
    let from = scene.fixture.repository().display().to_string();
    git(&["clone", "-q", "--mirror", &from, &repository.display().to_string()]);
    scene.set("source.repository", repository.display().to_string());
    repository
}

fn git(arguments: &[&str]) {
    source::run("git", arguments).unwrap();
}

fn git_in(repository: &std::path::Path, arguments: &[&str]) {
    git(&[&["-C", &repository.display().to_string()], arguments].concat());
}

#[test]
fn a_path_a_file_url_and_an_http_url_give_the_same_source() {
    let mut scene = scene();
    let path = scene.fixture.repository();
    let source = |scene: &Scene| -> Value {
        let mut source = scene.verify(&["--json"]).exits(0).json()["source"].take();
        assert!(source["repository"].take().is_string());
        source
    };
    let by_path = source(&scene);
    scene.set("source.repository", format!("file://{}", path.display()));
    assert_eq!(source(&scene), by_path);
    scene.host_repository(&path);
    assert_eq!(source(&scene), by_path);
    let requests = scene.world.state().requests.clone();
    assert!(requests.iter().any(|path| path == "/cpython.git/git-upload-pack"), "{requests:?}");
}

#[test]
fn tags_of_every_kind_lead_to_the_commit() {
    let mut scene = scene();
    let repository = own_repository(&mut scene);
    let source = |scene: &Scene| scene.verify(&["--json"]).exits(0).json()["source"].take();
    let annotated = source(&scene);
    assert!(annotated["tag_object"].is_string());
    assert_ne!(annotated["tag_object"], annotated["commit"]);

    git_in(&repository, &["tag", "-f", "-a", "-m", "of a tag", "v9.1.0", "v9.1.0"]);
    let nested = source(&scene);
    assert_eq!(nested["commit"], annotated["commit"]);
    assert_ne!(nested["tag_object"], annotated["tag_object"]);

    git_in(&repository, &["tag", "-f", "v9.1.0", "v9.1.0^{commit}"]);
    let lightweight = source(&scene);
    assert_eq!(lightweight["commit"], annotated["commit"]);
    assert_eq!(lightweight["tag_object"], Value::Null);

    // A branch of the same name, which leads elsewhere, is not the tag.
    let other = ["commit-tree", "-m", "other", "v9.1.0^{tree}"];
    source::run(
        "bash",
        &[
            "-c",
            "cd \"$1\" && git update-ref refs/heads/v9.1.0 \"$(git \"${@:2}\")\"",
            "bash",
            &repository.display().to_string(),
            other[0],
            other[1],
            other[2],
            other[3],
        ],
    )
    .unwrap();
    assert_eq!(source(&scene), lightweight);
}

#[test]
fn a_tag_that_is_not_there_is_said_to_be_missing() {
    let mut scene = scene();
    let repository = own_repository(&mut scene);
    git_in(&repository, &["tag", "-d", "v9.1.0"]);
    // Names that a careless pattern would take for the tag.
    git_in(&repository, &["tag", "x/v9.1.0", "main"]);
    git_in(&repository, &["tag", "v9.1.0rc1", "main"]);
    git_in(&repository, &["branch", "v9.1.0", "main"]);
    scene.refuses("own.git has no tag v9.1.0 (yet)");
    scene.host_repository(&repository);
    scene.refuses("/cpython.git has no tag v9.1.0 (yet)");
}

#[test]
fn a_tag_of_something_else_than_a_commit_is_refused() {
    let mut scene = scene();
    let repository = own_repository(&mut scene);
    git_in(&repository, &["tag", "-f", "v9.1.0", "main^{tree}"]);
    scene.refuses("fetch tag v9.1.0 from the repository");
}

#[test]
fn an_empty_repository_is_said_to_be_empty() {
    let mut scene = scene();
    let repository = scene.path("empty.git");
    git(&["init", "-q", "--bare", &repository.display().to_string()]);
    scene.set("source.repository", repository.display().to_string());
    scene.refuses("empty.git is empty");
    scene.host_repository(&repository);
    scene.refuses("/cpython.git is empty");
}

#[test]
fn a_repository_that_cannot_be_reached_is_named_with_the_reason() {
    let mut scene = scene();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("http://127.0.0.1:{port}/cpython.git");
    let nothing = scene.world.repository();
    let directory = scene.path("directory");
    fs::create_dir(&directory).unwrap();
    let directory = directory.display().to_string();
    let missing = scene.path("missing").display().to_string();
    let file = scene.fixture.published("Python-9.1.0.tgz").display().to_string();
    let cases = [
        (nobody.as_str(), format!("cannot reach the repository {nobody}: ")),
        (&nothing, format!("cannot reach the repository {nothing}: ")),
        (&directory, format!("cannot reach the repository {directory}: ")),
        (&file, format!("cannot reach the repository {file}: ")),
        (&missing, format!("find the repository {missing}: No such file")),
        ("--upload-pack=touch x", "find the repository --upload-pack=touch x".to_owned()),
        ("ext::sh -c touch% x", "is neither https nor a file URL or path".to_owned()),
        ("http://git.example/x.git", "is neither https nor a file URL or path".to_owned()),
        ("ssh://git.example/x.git", "is neither https nor a file URL or path".to_owned()),
        ("file://elsewhere.example/x.git", "names no local path".to_owned()),
    ];
    for (repository, expected) in cases {
        scene.set("source.repository", repository);
        scene.refuses(&expected);
    }
}

#[test]
fn a_tag_that_moved_since_the_last_record_stops_the_line_until_it_is_accepted() {
    let mut scene = scene();
    let repository = own_repository(&mut scene);
    scene.verify(&[]).exits(0);
    let work = scene.path("work").display().to_string();
    git(&["clone", "-q", &repository.display().to_string(), &work]);
    let work = PathBuf::from(work);
    git_in(&work, &["commit", "-q", "--allow-empty", "-m", "another commit, the same tree"]);
    git_in(&work, &["tag", "-f", "-a", "-m", "moved", "v9.1.0"]);
    git_in(&work, &["push", "-q", "-f", "origin", "v9.1.0"]);
    let recorded = scene.records()[0].source.commit.clone();
    scene
        .refuses(&format!("has moved: it named commit {recorded} when it was recorded and names "));
    let ran = scene.verify(&["--json", "--accept-moved-tag"]);
    let record = ran.exits(0).json();
    assert_ne!(record["source"]["commit"], recorded.as_str());
    assert_eq!(record["source"]["tree"], scene.records()[0].source.tree.as_str());
    // The record that was accepted is the one to compare with now.
    scene.verify(&[]).exits(0);
    assert_eq!(scene.records().len(), 3);
}

#[test]
fn the_users_own_git_settings_reach_no_repository() {
    let mut scene = scene();
    let home = scene.path("home");
    fs::create_dir_all(home.join(".config/git")).unwrap();
    let hostile = "[url \"file:///nowhere\"]\n\tinsteadOf = file:///repository\n\
        \tinsteadOf = http://\n[core]\n\thooksPath = /tmp\n\tautocrlf = true\n\
        [tar]\n\tumask = 0077\n[protocol]\n\tallow = never\n";
    fs::write(home.join(".gitconfig"), hostile).unwrap();
    fs::write(home.join(".config/git/config"), hostile).unwrap();
    fs::write(home.join(".config/git/attributes"), "* text eol=crlf export-ignore\n").unwrap();
    let home = home.display().to_string();
    for (name, value) in [
        ("HOME", home.as_str()),
        ("XDG_CONFIG_HOME", &format!("{home}/.config")),
        ("GIT_DIR", "/nowhere"),
        ("GIT_CONFIG_GLOBAL", &format!("{home}/.gitconfig")),
        ("GIT_CONFIG_SYSTEM", &format!("{home}/.gitconfig")),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "protocol.allow"),
        ("GIT_CONFIG_VALUE_0", "never"),
        ("GIT_EXEC_PATH", "/nowhere"),
        ("GIT_ALLOW_PROTOCOL", "ssh"),
    ] {
        scene.variables.push((name.to_owned(), value.to_owned()));
    }
    scene.verify(&[]).exits(0);
    let repository = scene.fixture.repository();
    scene.host_repository(&repository);
    scene.verify(&[]).exits(0);
}

#[test]
fn a_repository_of_another_user_is_fetched_all_the_same() {
    if !nix::unistd::geteuid().is_root() {
        println!("not root: nobody else's repository can be made");
        return;
    }
    let mut scene = scene();
    let repository = own_repository(&mut scene);
    source::run("chown", &["-R", "65534:65534", &repository.display().to_string()]).unwrap();
    scene.verify(&[]).exits(0);
}
