//! A small source repository, and the files that its release manager published from it: made on
//! the host with plain git, tar, gzip and xz, and not by the program under test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// The release that every scene announces.
pub const VERSION: &str = "9.1.0";
/// Committer time of everything.
const COMMITTED: &str = "1750000000 +0200";

const FILES: &[(&str, &str)] = &[
    (".gitattributes", "*.bat text eol=crlf\n"),
    (".gitignore", "*.pyc\n"),
    (".github/workflows/build.yml", "on: push\n"),
    ("Doc/build/index.html", "<p>built</p>\n"),
    ("Lib/hello.py", "print('hello')\n"),
    ("Lib/test/run.bat", "@echo off\necho hello\n"),
    ("Misc/mypy/mypy.toml", "strict = true\n"),
    ("README.rst", "This is Python\n==============\n\nSmall.\n"),
    ("m4/README", "macros\n"),
];

/// Makes the bare repository `repository` with the annotated tag of [`VERSION`].
pub fn make_repository(repository: &Path, work: &Path) -> Result<(), String> {
    write_tree(work).map_err(|error| format!("write {}: {error}", work.display()))?;
    let tag = format!("v{VERSION}");
    let word = |path: &Path| path.display().to_string();
    let (repository, work) = (word(repository), word(work));
    run("git", &["init", "-q", "-b", "main", &work])?;
    run("git", &["-C", &work, "add", "-A", "-f"])?;
    run("git", &["-C", &work, "commit", "-q", "-m", "first"])?;
    run("git", &["-C", &work, "tag", "-a", "-m", "Python 9.1.0", &tag])?;
    run("git", &["clone", "-q", "--bare", &work, &repository])
}

/// Makes the bare repository `to` like `from`, but nothing is tagged yet.
pub fn copy_without_tags(from: &Path, to: &Path) {
    let word = |path: &Path| path.display().to_string();
    let cloned = run("git", &["clone", "-q", "--bare", "--no-tags", &word(from), &word(to)]);
    cloned.expect("clone the repository");
}

fn write_tree(work: &Path) -> std::io::Result<()> {
    for (path, text) in FILES {
        let path = work.join(path);
        fs::create_dir_all(path.parent().unwrap_or(work))?;
        fs::write(path, text)?;
    }
    // The name of the archive's member is longer than a tar header's field.
    let deep = work.join("Lib/test").join("deep".repeat(12)).join("name".repeat(20));
    fs::create_dir_all(deep.parent().unwrap_or(work))?;
    fs::write(deep, "long\n")?;
    let lines: Vec<String> = (0..400).map(|number| format!("echo checking {number}\n")).collect();
    let configure = work.join("configure");
    fs::write(&configure, format!("#!/bin/sh\n{}", lines.concat()))?;
    fs::set_permissions(&configure, fs::Permissions::from_mode(0o755))?;
    symlink("Lib/hello.py", work.join("hello.py"))
}

/// What the release manager of [`VERSION`] did, with this machine's own programs. `$TAMPER` is what
/// somebody else did to the tree.
const PUBLISH: &str = r#"
umask 022
git --git-dir="$REPOSITORY" archive --format=tar --prefix="Python-$VERSION/" "v$VERSION" | tar xf -
cd "Python-$VERSION"
rm -rf .gitattributes .gitignore .github Misc/mypy Doc/build
eval "$TAMPER"
cd ..
tar cf source.tar --sort=name --mtime="@$MTIME" --clamp-mtime \
    --owner=0 --group=0 --numeric-owner \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
    --mode=go+u,go-w "Python-$VERSION/"
cat source.tar | gzip -n9 > "Python-$VERSION.tgz"
cat source.tar | xz $XZ > "Python-$VERSION.tar.xz"
rm -rf source.tar "Python-$VERSION"
"#;

/// How a release is published.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// Commands that run in the tree before it is packed.
    pub tamper: &'a str,
    /// Modification time of everything.
    pub mtime: u64,
    /// Options of xz.
    pub xz: &'a str,
}

/// As it should be.
pub const HONEST: Publication = Publication { tamper: "", mtime: 1_750_000_000, xz: "-6 -T1" };

/// Publishes the release of `repository` into the directory `published`.
pub fn publish(repository: &Path, published: &Path, how: Publication) -> Result<(), String> {
    fs::create_dir_all(published)
        .map_err(|error| format!("make {}: {error}", published.display()))?;
    let mut command = program("bash");
    command.args(["-euo", "pipefail", "-c", PUBLISH]).current_dir(published);
    command.env("REPOSITORY", repository).env("VERSION", VERSION);
    command.env("TAMPER", how.tamper).env("MTIME", how.mtime.to_string()).env("XZ", how.xz);
    succeed(command)
}

/// The object that the tag `tag` of a repository names.
pub fn read_ref(repository: &Path, tag: &str) -> String {
    let mut command = program("git");
    command.arg("-C").arg(repository).args(["rev-parse", &format!("refs/tags/{tag}")]);
    let output = command.output().expect("run git");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs git, tar and the like on the host, free of the user's own settings.
pub fn run(name: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = program(name);
    command.args(arguments);
    succeed(command)
}

/// A program of the host with no more than these variables.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_COMMITTER_NAME", "Release Manager")
        .env("GIT_COMMITTER_EMAIL", "manager@example.org")
        .env("GIT_COMMITTER_DATE", COMMITTED)
        .env("GIT_AUTHOR_NAME", "Author")
        .env("GIT_AUTHOR_EMAIL", "author@example.org")
        .env("GIT_AUTHOR_DATE", COMMITTED);
    command
}

fn succeed(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?} ended with {}: {said}", output.status))
}
