"""Undo a CPython source release: the git repository behind a published tarball.

    source_repository.py Python-3.13.5.tar.xz OUT.git [KEPT…]

A source release is the tagged tree after a few documented steps (config/recipes/*.toml), and each of
them can be undone:

* Misc/NEWS is split into the Misc/NEWS.d/VERSION.rst files that `blurb merge` joins. Each entry is
  merged again to see that exactly the published text comes out.
* The files that the release removes get stand-in contents, but .gitattributes, whose line-ending
  rules decide which files leave git with CRLF. Those below KEPT were not removed at the time.
* All is committed at the oldest time that the tarball carries, under an annotated tag: git gives
  its files the commit's time, and releases made by hand have later ones of later steps besides.

So a rebuild from OUT.git runs every step for real and must end in the published bytes. That the
contents equal those of the upstream repository is not shown: they come from the tarball.

Runs with the blurb of the pinned environment, whose wrapping rules are the ones to undo; PYTHONPATH
chooses the one that the release was made with.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

try:
    from blurb.blurb import textwrap_body
except ImportError:  # Until 1.1.0 it was a single file.
    from blurb import textwrap_body

REMOVED_BY_THE_RELEASE = {
    ".gitattributes": """\
*.png binary
*.whl binary
*.zip binary
[attr]noeol -text
Lib/test/cjkencodings/* noeol
Lib/test/tokenizedata/coding20731.py noeol
Lib/test/decimaltestdata/*.decTest noeol
Lib/test/test_email/data/*.txt noeol
Lib/test/xmltestdata/* noeol
Lib/venv/scripts/common/activate text eol=lf
Lib/venv/scripts/posix/* text eol=lf
[attr]dos text eol=crlf
*.bat dos
*.proj dos
*.props dos
*.ps1 dos
*.sln dos
*.vcxproj* dos
PC/readme.txt dos
PCbuild/readme.txt dos
""",
    ".gitignore": "*.py[co]\n",
    ".github/workflows/build.yml": "name: stand-in\n",
    ".azure-pipelines/ci.yml": "name: stand-in\n",
    "Misc/mypy/README.md": "stand-in\n",
}

RELEASE_TITLE = re.compile(
    r"What's New in Python ([\d.]+)(?: (final|alpha|beta|release candidate)(?: (\d+))?)?\??"
)
LEVELS = {"alpha": "a", "beta": "b", "release candidate": "rc"}


def is_rule(line, character):
    return bool(line) and set(line) == {character}


def releases(lines):
    """(version, release date, lines of the entries) of each release in Misc/NEWS."""
    heads = [
        at
        for at in range(len(lines) - 1)
        if lines[at].startswith("What's New in Python ") and is_rule(lines[at + 1], "=")
    ]
    # The last two lines are the `**(For information about older versions …)**` that blurb adds.
    for start, end in zip(heads, [*heads[1:], len(lines) - 2]):
        number, level, serial = RELEASE_TITLE.fullmatch(lines[start]).groups()
        version = number + (LEVELS[level] + serial if level in LEVELS else "")
        date = re.fullmatch(r"\*Release date: (.*)\*", lines[start + 3])[1]
        yield version, date, lines[start + 4 : end]


def entries(lines):
    """(section, entry lines without indentation) of one release, and what belongs to no entry."""
    section, found, loose = None, [], []
    underline = -1
    for at, line in enumerate(lines):
        if at == underline:
            continue
        below = lines[at + 1] if at + 1 < len(lines) else ""
        after_blank = at == 0 or not lines[at - 1]
        if is_rule(below, "-") and len(below) == len(line) and after_blank:
            section, underline = line, at + 1
        elif line.startswith("- "):
            found.append((section, [line[2:]]))
        elif found:
            found[-1][1].append(line.removeprefix("  "))
        elif line.strip():
            loose.append(line)
    return found, loose


def merged(prefix, body):
    """The entry as `blurb merge` writes it from a NEWS.d file with this body."""
    stored = textwrap_body(body.split("\n"))
    return textwrap_body(f"- {prefix}{stored}", subsequent_indent="  ")


def unmerged(prefix, body, published):
    """A body that merges to `published`. Wrapping may have swallowed double spaces: search them."""
    if merged(prefix, body) == published:
        return body
    gaps = [found.start() for found in re.finditer(r"(?<=\S)[ \n](?=\S)", body)]
    gaps.sort(key=lambda at: (body[at] != "\n", body[at - 1] != "."))
    for count, among in ((1, gaps[:200]), (2, gaps[:40])):
        for chosen in itertools.combinations(among, count):
            candidate = body
            for at in sorted(chosen, reverse=True):
                candidate = f"{candidate[:at]}  {candidate[at + 1:]}"
            if merged(prefix, candidate) == published:
                return candidate
    sys.exit(f"source_repository: the merge of this NEWS entry cannot be undone:\n{published}")


def news_file(date, lines):
    """The text of Misc/NEWS.d/VERSION.rst."""
    found, loose = entries(lines)
    if not found:
        head = [".. bpo: 0", ".. date: 0", ".. no changes: True", ".. nonce: 0"]
        head += [f".. release date: {date}", ".. section: Library"]
        return "\n".join([*head, "", *loose, ""])
    texts = []
    for index, (section, entry) in enumerate(found):
        body = "\n".join(entry).rstrip("\n")
        indented = [f"  {line}" if at and line else line for at, line in enumerate(body.split("\n"))]
        published = "- " + "\n".join(indented) + "\n"
        key, issue, prefix = "bpo", "0", ""
        if issued := re.match(r"(gh-issue|gh|bpo)-(\d+):\s+", body):
            key, issue = "bpo" if issued[1] == "bpo" else "gh-issue", issued[2]
            prefix, body = f"{issued[1]}-{issue}: ", body[issued.end() :]
        head = [f".. {key}: {issue}", ".. date: 0", ".. nonce: 0"]
        head += [f".. release date: {date}"] if index == 0 else []
        head += [f".. section: {section}", ""]
        texts.append("\n".join([*head, unmerged(prefix, body, published), ""]))
    return "\n..\n\n".join(texts)


def split_news(root):
    news = root / "Misc/NEWS"
    directory = root / "Misc/NEWS.d"
    directory.mkdir()
    for version, date, lines in releases(news.read_text(encoding="utf-8").split("\n")):
        (directory / f"{version}.rst").write_text(news_file(date, lines), encoding="utf-8")
    news.unlink()


def commit(root, version, seconds, out):
    date = f"@{seconds} +0000"
    environment = os.environ | {
        "GIT_DIR": str(out),
        "GIT_AUTHOR_NAME": "Release Manager",
        "GIT_AUTHOR_EMAIL": "release@example.org",
        "GIT_COMMITTER_NAME": "Release Manager",
        "GIT_COMMITTER_EMAIL": "release@example.org",
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
    }
    tree = f"--work-tree={root}"
    for command in (
        ["init", "-q", "--bare", "-b", "main"],
        [tree, "-c", "core.autocrlf=false", "-c", "core.safecrlf=false", "add", "-A", "-f"],
        [tree, "commit", "-q", "-m", f"Python {version}"],
        ["tag", "-a", f"v{version}", "-m", f"Python {version}"],
        ["repack", "-a", "-d", "-q", "--window=0"],
    ):
        subprocess.run(["git", *command], cwd=root, env=environment, check=True)
    (out / "index").unlink()


def main(tarball, out, *kept):
    scratch = Path("unpacked")
    with tarfile.open(tarball) as archive:
        members = archive.getmembers()
        archive.extractall(scratch, filter="tar")
    oldest = min(member.mtime for member in members)
    (top,) = os.listdir(scratch)
    root = (scratch / top).resolve()
    split_news(root)
    for name, text in REMOVED_BY_THE_RELEASE.items():
        if name.startswith(kept):
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    commit(root, top.removeprefix("Python-"), int(oldest), Path(out).resolve())
    shutil.rmtree(scratch)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
