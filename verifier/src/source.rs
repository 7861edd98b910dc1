//! The source of a release: its tag, fetched shallow by the git of the pinned environment.
//!
//! Part of the authenticate room. Git runs in the container with the network on and nothing of
//! this machine to see; it recomputes every object id, so what arrives is the commit that is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use rebuilder::{Limits, Network, ToolOrder};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::environment::{self, Environment};
use crate::http::{is_loopback, place_without_secrets, without_secrets};
use crate::process::Program;
use crate::scratch::Scratch;
use crate::version::Version;

const FETCH_SECONDS_MAX: u64 = 900;
const FETCH_BYTES_MAX: u64 = 2 << 30;
/// A listing of every tag of CPython has 70 kB.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Longest raw tag object; those of releases have 1 kB.
const TAG_BYTES_MAX: u64 = 1 << 20;
/// Git's only settings file, in the work directory.
const SETTINGS: &str = "gitconfig";

/// A tagged commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where it was fetched from, without user and password.
    pub repository: String,
    /// `v3.13.5`.
    pub tag: String,
    /// Object id of the annotated tag; none if the tag names the commit directly.
    pub tag_object: Option<String>,
    /// Object id of the commit.
    pub commit: String,
    /// Object id of the commit's tree.
    pub tree: String,
    /// The commit's committer time.
    pub committed: Timestamp,
}

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Network, DNS, or no repository there.
    #[error("cannot reach the repository {repository}: {reason}")]
    Unreachable { repository: String, reason: String },
    /// A repository without a single reference.
    #[error("the repository {repository} is empty")]
    Empty { repository: String },
    /// A normal passing state right after a release's files appear.
    #[error("the repository {repository} has no tag {tag} (yet)")]
    NoTag { repository: String, tag: String },
    /// The tag named another commit before.
    #[error(
        "tag {} of {} has moved: it named commit {} when it was recorded and names {} now; if that \
         is known to be right, say --accept-moved-tag",
        .0.tag, .0.repository, .0.recorded, .0.now
    )]
    Moved(TagMove),
}

/// A tag that names another commit than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMove {
    /// Where it is.
    pub repository: String,
    /// Its name.
    pub tag: String,
    /// The commit that it named.
    pub recorded: String,
    /// The one that it names now.
    pub now: String,
}

/// A repository, and what may run git on it.
#[derive(Clone, Copy, Debug)]
pub struct Hosting<'a> {
    /// As the operator wrote it; [`named`] is for everybody else.
    pub repository: &'a str,
    pub environment: &'a Environment,
    /// This machine's bundle of certificate authorities.
    pub certificates: Option<&'a Path>,
    pub program: &'a Program,
}

/// The tag to fetch, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub from: Hosting<'a>,
    pub tag: &'a str,
}

/// A tagged commit as it was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What the tag names.
    pub source: Source,
    /// The bare repository that holds only that commit.
    pub repository: PathBuf,
    /// The tag object as git keeps it, with its signature; none for a lightweight tag.
    pub tag: Option<Vec<u8>>,
}

/// How everybody is told of a repository, and by what its tags are known: who may fetch from it is
/// the operator's business.
pub fn named(repository: &str) -> String {
    place_without_secrets(repository).into_owned()
}

/// Fetches the one commit of a tag into the bare repository `source.git` below `scratch`.
pub async fn fetch(wanted: Wanted<'_>, scratch: &Scratch) -> anyhow::Result<Fetched> {
    let Wanted { from, tag } = wanted;
    let repository = &named(from.repository);
    let work = prepared(scratch)?;
    let remote = Remote::parse(from.repository)?;
    let only = format!("refs/tags/{tag}");
    let script = "git init -q --bare --template= source.git && cd source.git && \
        git fetch -q --depth=1 --no-tags --no-write-fetch-head -- \"$1\" \"+$2:$2\" && \
        git for-each-ref --format='%(objecttype) %(objectname)' -- \"$2\" && \
        git show -s --format='%H %T %ct' \"$2^{commit}\" && \
        if [ \"$(git cat-file -t \"$2\")\" = tag ]; then git cat-file tag \"$2\" > ../tag; fi";
    let fetching = ["bash", "-c", script, "fetch", &remote.url, &only];
    let facts = match run(&from, scratch, &work, &remote, &fetching).await? {
        Ok(facts) => facts,
        Err(said) => return Err(diagnose(&wanted, scratch, &work, &remote, said).await?),
    };
    let source = parse(repository, tag, &facts)
        .with_context(|| format!("read what git says of tag {tag} of {repository}"))?;
    let tag = match source.tag_object {
        Some(_) => Some(read_tag(&work.join("tag"))?),
        None => None,
    };
    Ok(Fetched { source, repository: work.join("source.git"), tag })
}

/// The commits that the repository's release tags name.
pub async fn tags(
    from: Hosting<'_>,
    scratch: &Scratch,
) -> anyhow::Result<BTreeMap<String, String>> {
    let repository = &named(from.repository);
    let work = prepared(scratch)?;
    let remote = Remote::parse(from.repository)?;
    let listing = ["git", "ls-remote", "--tags", "--", &remote.url, "refs/tags/v*"];
    let answer = match run(&from, scratch, &work, &remote, &listing).await? {
        Ok(answer) => answer,
        Err(reason) => {
            let repository = repository.clone();
            return Err(SourceError::Unreachable { repository, reason }.into());
        }
    };
    listed_tags(&answer).with_context(|| format!("read the list of tags of {repository}"))
}

/// Lines `<id>\trefs/tags/v3.13.5`, and for an annotated tag `<id>\trefs/tags/v3.13.5^{}` with the
/// commit after it.
fn listed_tags(answer: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for line in answer.lines() {
        let (id, name) = line.split_once('\t').context("a line names no reference")?;
        let name = name.strip_prefix("refs/tags/").context("a reference is no tag")?;
        let name = name.strip_suffix("^{}").unwrap_or(name);
        let version = name.strip_prefix('v').and_then(|text| text.parse::<Version>().ok());
        // Others are nobody's release.
        if version.is_some() {
            tags.insert(name.to_owned(), object_id(id)?);
        }
    }
    Ok(tags)
}

/// A work directory for git.
fn prepared(scratch: &Scratch) -> anyhow::Result<PathBuf> {
    let work = scratch.directory("git")?;
    // The mounted repository may belong to somebody else than the container's user. It has to be a
    // file: what git takes from variables it does not hand on to the git that serves a file URL.
    fs::write(work.join(SETTINGS), "[safe]\n\tdirectory = *\n").context("write git's settings")?;
    Ok(work)
}

fn read_tag(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = fs::metadata(path).context("read the tag object")?.len();
    if size > TAG_BYTES_MAX {
        bail!("the tag object is longer than {TAG_BYTES_MAX} bytes");
    }
    fs::read(path).context("read the tag object")
}

/// Why a fetch failed, which git says in words that change from version to version.
async fn diagnose(
    wanted: &Wanted<'_>,
    scratch: &Scratch,
    work: &Path,
    remote: &Remote,
    said: String,
) -> anyhow::Result<anyhow::Error> {
    let from = &wanted.from;
    let repository = named(from.repository);
    let only = format!("refs/tags/{}", wanted.tag);
    // With these patterns a server of protocol 2 sends a line or two, not every pull request.
    let listing = ["git", "ls-remote", "--", &remote.url, "HEAD", &only];
    let references = match run(from, scratch, work, remote, &listing).await? {
        Ok(references) => references,
        Err(reason) => return Ok(SourceError::Unreachable { repository, reason }.into()),
    };
    if references.lines().any(|line| line.ends_with(&format!("\t{only}"))) {
        let tag = wanted.tag;
        return Ok(anyhow::anyhow!("fetch tag {tag} from the repository {repository}: {said}"));
    }
    if references.trim().is_empty() && is_empty(from, scratch, work, remote).await? {
        return Ok(SourceError::Empty { repository }.into());
    }
    Ok(SourceError::NoTag { repository, tag: wanted.tag.to_owned() }.into())
}

impl Source {
    /// Whether both are of one repository, whoever asked for them.
    pub fn is_same_place(&self, other: &Source) -> bool {
        named(&self.repository) == named(&other.repository)
    }

    /// Refuses a tag that named another commit when it was last recorded.
    pub fn unmoved(&self, recorded: Option<&Source>) -> Result<(), SourceError> {
        let Some(recorded) = recorded else { return Ok(()) };
        if recorded.commit == self.commit || !self.is_same_place(recorded) {
            return Ok(());
        }
        Err(SourceError::Moved(TagMove {
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            recorded: recorded.commit.clone(),
            now: self.commit.clone(),
        }))
    }
}

/// How git reaches a repository from inside the container.
struct Remote {
    url: String,
    mount: Option<PathBuf>,
    network: Network,
}

impl Remote {
    fn parse(repository: &str) -> anyhow::Result<Remote> {
        let named = named(repository);
        let url = match Url::parse(repository) {
            Ok(url) if url.scheme() == "file" => {
                let path = url.to_file_path();
                return match path {
                    Ok(path) => Remote::local(&path),
                    Err(()) => bail!("source.repository {named:?} names no local path"),
                };
            }
            Ok(url) => url,
            Err(_) => return Remote::local(Path::new(repository)),
        };
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => bail!("source.repository {named:?} is neither https nor a file URL or path"),
        }
        Ok(Remote { url: url.to_string(), mount: None, network: Network::Host })
    }

    /// A local repository is shown to the container read-only.
    fn local(path: &Path) -> anyhow::Result<Remote> {
        let absolute = fs::canonicalize(path)
            .with_context(|| format!("find the repository {}", named(&path.to_string_lossy())))?;
        Ok(Remote {
            // Through file:// git takes the depth into account; through a path it copies all.
            url: "file:///repository".to_owned(),
            mount: Some(absolute),
            network: Network::None,
        })
    }
}

async fn is_empty(
    from: &Hosting<'_>,
    scratch: &Scratch,
    work: &Path,
    remote: &Remote,
) -> anyhow::Result<bool> {
    let any = run(from, scratch, work, remote, &["git", "ls-remote", "--", &remote.url]).await?;
    Ok(any.is_ok_and(|references| references.trim().is_empty()))
}

/// Standard output of a git command, or in the inner error what it said.
async fn run(
    from: &Hosting<'_>,
    scratch: &Scratch,
    work: &Path,
    remote: &Remote,
    command: &[&str],
) -> anyhow::Result<Result<String, String>> {
    let stdout = scratch.file("git.stdout");
    let (mut mounts, certificates) = environment::certificates(from.certificates);
    mounts.extend(remote.mount.clone().map(|path| (path, "/repository".to_owned())));
    let order = ToolOrder {
        root: from.environment.root.clone(),
        command: command.iter().map(|word| word.to_string()).collect(),
        environment: git_environment(certificates),
        mounts,
        work: work.to_owned(),
        network: remote.network,
        stdin: None,
        stdout: stdout.clone(),
        limits: Limits {
            wall_seconds: FETCH_SECONDS_MAX,
            disk_bytes: FETCH_BYTES_MAX,
            file_bytes: FETCH_BYTES_MAX,
            ..Limits::default()
        },
    };
    let run = from.program.tool(&order).await.context("run git in the container")?;
    if run.code != 0 {
        let lines = run.stderr.lines().map(str::trim);
        let said: Vec<&str> = lines.filter(|line| !line.starts_with("warning:")).collect();
        // Git names the URL that it was given.
        return Ok(Err(without_secrets(&said.join(" ")).into_owned()));
    }
    let size = fs::metadata(&stdout).context("read git's answer")?.len();
    if size > ANSWER_BYTES_MAX {
        // Only a listing of every reference is that long: the repository is not empty.
        return Ok(Ok("…".to_owned()));
    }
    Ok(Ok(fs::read_to_string(&stdout).context("read git's answer")?))
}

fn git_environment(certificates: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ("GIT_SSL_CAINFO".to_owned(), certificates.to_owned()),
        ("GIT_CONFIG_GLOBAL".to_owned(), format!("/work/{SETTINGS}")),
    ]);
    variables.extend(crate::config::proxies());
    variables
}

/// `tag 6cb2… ` or `commit …`, then `commit tree seconds`.
fn parse(repository: &str, tag: &str, facts: &str) -> anyhow::Result<Source> {
    let mut words = facts.split_whitespace();
    let mut word = || words.next().context("git's answer is too short");
    let (kind, object) = (word()?, object_id(word()?)?);
    let (commit, tree) = (object_id(word()?)?, object_id(word()?)?);
    let seconds: i64 = word()?.parse().context("read the committer time")?;
    Ok(Source {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        tag_object: (kind == "tag").then_some(object),
        commit,
        tree,
        committed: Timestamp::from_second(seconds).context("read the committer time")?,
    })
}

fn object_id(text: &str) -> anyhow::Result<String> {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hexadecimal || !matches!(text.len(), 40 | 64) {
        bail!("{text:?} is no git object id");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_gives_the_commits_of_releases_and_nothing_else() {
        let [tag, commit, other] = ["1", "2", "3"].map(|digit| digit.repeat(40));
        let answer = format!(
            "{tag}\trefs/tags/v3.13.5\n{commit}\trefs/tags/v3.13.5^{{}}\n\
             {other}\trefs/tags/v3.14.0a1\n{other}\trefs/tags/vendor\n"
        );
        let expected = [("v3.13.5", commit), ("v3.14.0a1", other)];
        let expected = expected.map(|(name, commit)| (name.to_owned(), commit));
        assert_eq!(listed_tags(&answer).unwrap(), BTreeMap::from(expected));
        for broken in ["…", "x\trefs/tags/v3.13.5", "<html>", &format!("{tag}\trefs/heads/main")]
        {
            assert!(listed_tags(broken).is_err(), "{broken}");
        }
        assert!(listed_tags("").unwrap().is_empty());
    }
}
