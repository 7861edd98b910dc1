//! An environment's tree made from this machine's own programs, so that containers can be tested
//! without a package archive. Self-contained: any test crate may take this file over.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the steps of tests may call, beside the shell's own commands.
pub const PROGRAMS: &[&str] = &[
    "bash",
    "cat",
    "chmod",
    "chroot",
    "cp",
    "cut",
    "date",
    "dd",
    "env",
    "false",
    "find",
    "grep",
    "gzip",
    "head",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mount",
    "mv",
    "nohup",
    "nproc",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "tee",
    "timeout",
    "touch",
    "tr",
    "true",
    "truncate",
    "uname",
    "unshare",
    "wc",
    "xargs",
    "yes",
];

/// Copies [`PROGRAMS`] and those of `optional` that this machine has, with the libraries they
/// need, into `root`, in the shape of a merged-/usr Debian.
pub fn build(root: &Path, optional: &[&str]) -> Result<(), String> {
    let mut files = BTreeSet::new();
    for program in PROGRAMS {
        let path = find(program).ok_or_else(|| {
            format!("these tests need the program {program}, which this machine does not have")
        })?;
        files.insert(path);
    }
    files.extend(optional.iter().filter_map(|program| find(program)));
    let libraries = libraries_of(&files)?;

    let make = |path: &str| fs::create_dir_all(root.join(path)).map_err(|e| format!("{path}: {e}"));
    for directory in ["usr/bin", "usr/lib", "usr/lib64", "etc", "proc", "dev", "tmp", "work"] {
        make(directory)?;
    }
    for name in ["bin", "lib", "lib64"] {
        link(&format!("usr/{name}"), &root.join(name))?;
    }
    for file in &files {
        let name = file.file_name().ok_or("a program without a name")?;
        copy(file, &root.join("usr/bin").join(name))?;
    }
    link("bash", &root.join("usr/bin/sh"))?;
    for library in &libraries {
        // Where the loader looks is where they were, whichever of /lib and /usr/lib names it.
        let below = library.strip_prefix("/").map_err(|e| e.to_string())?;
        let below = below.strip_prefix("usr").unwrap_or(below);
        copy(library, &root.join("usr").join(below))?;
    }
    // Without it the shell warns about the locale that every container has.
    let locale = "usr/lib/locale/C.utf8";
    if Path::new("/").join(locale).is_dir() {
        copy_files(&Path::new("/").join(locale), &root.join(locale))?;
    }
    let write = |path: &str, text: &str| {
        fs::write(root.join(path), text).map_err(|e| format!("{path}: {e}"))
    };
    write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")?;
    write("etc/group", "root:x:0:\n")
}

fn find(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
}

/// The libraries of `programs`: the absolute paths that `ldd` prints, without the "path:" of its
/// headings.
pub fn libraries_of(programs: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, String> {
    let output = Command::new("ldd")
        .args(programs)
        .output()
        .map_err(|error| format!("these tests need the program ldd: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.filter(|path| !path.ends_with(':')).map(PathBuf::from).collect())
}

fn copy_files(from: &Path, to: &Path) -> Result<(), String> {
    for entry in fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_files(&path, &target)?;
        } else {
            copy(&path, &target)?;
        }
    }
    Ok(())
}

/// Copies a program or library, readable and executable for everybody.
pub fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed =
        |error: std::io::Error| format!("copy {} to {}: {error}", from.display(), to.display());
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::copy(from, to).map_err(failed)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(failed)
}

fn link(target: &str, path: &Path) -> Result<(), String> {
    symlink(target, path).map_err(|error| format!("link {}: {error}", path.display()))
}
