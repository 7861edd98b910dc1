//! `cargo bench -p verifier --bench daemon`: `verbatim serve` against the loopback world.
//!
//! How soon an idle worker starts, how much memory it takes idle, after ten thousand jobs and after
//! a load, whether a thousand requests at once are all kept, and whether answers stay as fast with
//! a million records.
//!
//! Jobs are whole jobs, with a recipe that takes no time. Needs git and the package archive.
//! `BENCH_JOBS` (10000; 0: none) and `BENCH_RECORDS` (`1000,100000,1000000`) set other numbers.

#![allow(clippy::disallowed_methods, reason = "a benchmark times whole programs")]
#![allow(dead_code, reason = "what it shares with the other benchmark is used in part")]

mod asking;
mod many;
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::sync::Barrier;
use verifier::server::fresh_token;
use verifier::store::{Scope, Store};
use verifier::version::Version;
use verifier::world::{Announcement, World};

use asking::{Client, Times, timed};
use process::{Daemon, assemble};

/// Releases that jobs are about.
const VERSIONS: usize = 100;
/// Jobs that are asked for one at a time.
const STARTS: usize = 200;
const AT_ONCE: usize = 1_000;
const LOAD: Duration = Duration::from_secs(20);
const LOAD_CLIENTS: usize = 50;
/// So small that a million fit on a disk.
const DOCUMENT_BYTES: u32 = 1_000;
/// Requests for one path.
const TIMES: usize = 200;

const RECIPE: &str = r#"
name = "nothing"
build_type = "urn:verbatim:recipe:nothing:1"
covers = [">=9"]
environment = "debian-13"
outputs = ["Python-{version}.tgz"]
traced = ""

[[step]]
name = "only"
run = 'printf "%s" "$VERSION" > "out/Python-$VERSION.tgz"'
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let wanted = std::env::var("BENCH_JOBS").unwrap_or("10000".to_owned());
    jobs(directory.path(), wanted.parse().context("read BENCH_JOBS")?).await?;
    let sizes = std::env::var("BENCH_RECORDS").unwrap_or("1000,100000,1000000".to_owned());
    for records in sizes.split(',') {
        store(directory.path(), records.trim().parse().context("read BENCH_RECORDS")?).await?;
    }
    Ok(())
}

/// The state directory, its configuration, and a token.
struct Place {
    state: PathBuf,
    config: PathBuf,
    token: String,
}

impl Place {
    async fn new(directory: &Path, name: &str, world: &World) -> anyhow::Result<Place> {
        let state = directory.join(name);
        fs::create_dir_all(&state)?;
        let store = Store::open(&state.join("records.sqlite")).await?;
        let token = fresh_token()?;
        store.add_token("bench", Scope::Request, &token).await?;
        store.close().await;
        let definitions = directory.join("definitions");
        write_definitions(&definitions)?;
        let feed = world.feed()?;
        let config = state.with_extension("toml");
        let text = format!(
            "feed.api = '{}'\nfeed.files = '{}'\nfeed.requests_per_day = 1000000\n\
             source.repository = '{}'\nrebuild.definitions = '{}'\n\
             server.listen = '127.0.0.1:0'\n",
            feed.api,
            feed.files,
            directory.join("source.git").display(),
            definitions.display(),
        );
        fs::write(&config, text)?;
        Ok(Place { state, config, token })
    }

    fn serve(&self) -> anyhow::Result<Daemon> {
        Daemon::start(&self.config, &self.state)
    }

    async fn client(&self, daemon: &Daemon) -> anyhow::Result<Client> {
        Client::connect(daemon.address, &self.token).await
    }
}

fn write_definitions(definitions: &Path) -> anyhow::Result<()> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/environments");
    for name in ["environments", "recipes"] {
        fs::create_dir_all(definitions.join(name))?;
    }
    for name in ["debian-13.toml", "debian-13.lock"] {
        fs::copy(shipped.join(name), definitions.join("environments").join(name))?;
    }
    fs::write(definitions.join("recipes/nothing.toml"), RECIPE)?;
    Ok(())
}

fn version(number: usize) -> String {
    format!("9.0.{number}")
}

/// A repository with a tag, and an announced file, for each version.
fn publish(directory: &Path, world: &World) -> anyhow::Result<()> {
    let repository = directory.join("source.git");
    let script = format!(
        "git init -q --bare {0} && cd {0} && export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a.example \
         GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a.example && \
         c=$(git commit-tree -m first $(git mktree < /dev/null)) && \
         for n in $(seq 0 {1}); do git tag -a -m tag v9.0.$n $c; done",
        repository.display(),
        VERSIONS - 1
    );
    let status = Command::new("sh").args(["-c", &script]).status().context("make a repository")?;
    if !status.success() {
        bail!("git could not make the repository");
    }
    let published = directory.join("published");
    fs::create_dir_all(&published)?;
    for number in 0..VERSIONS {
        let name = version(number);
        let file = published.join(format!("Python-{name}.tgz"));
        fs::write(&file, &name)?;
        let version: Version = name.parse()?;
        let date = "2025-06-15T18:00:00Z";
        world.announce(&Announcement { version: &version, date, files: &[file] })?;
    }
    Ok(())
}

async fn jobs(directory: &Path, wanted: usize) -> anyhow::Result<()> {
    if wanted == 0 {
        return Ok(());
    }
    let world = World::start().await?;
    publish(directory, &world)?;
    let place = Place::new(directory, "jobs", &world).await?;
    assemble(&place.config, &place.state).await?;
    let daemon = place.serve()?;
    let mut client = place.client(&daemon).await?;
    idle(&mut client).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("idle                           {}   (aim: at most 20 MB)", daemon.memory()?);

    let starts = starts(&mut client).await?;
    println!("asked to started               {starts}   (aim: under 100 ms)");
    at_once(&place, &daemon).await?;
    // The server has closed the other connection: it was silent for long.
    let mut client = place.client(&daemon).await?;
    let begun = Instant::now();
    let mut done = 0;
    while done < wanted {
        for number in 0..VERSIONS {
            client.ask(&version(number)).await?;
        }
        idle(&mut client).await?;
        done += VERSIONS;
        if done.is_multiple_of(1_000) || done == wanted {
            let each = begun.elapsed().as_millis() / done as u128;
            println!("after {done:>6} jobs, {each} ms each {}", daemon.memory()?);
        }
    }
    load(&place, &daemon).await?;
    println!("after a load                   {}   (aim: at most 60 MB)", daemon.memory()?);
    drop(client);
    daemon.stop()
}

/// Waits until nothing is queued and nothing runs; nothing may be parked.
async fn idle(client: &mut Client) -> anyhow::Result<()> {
    loop {
        let status = client.get("/api/v1/status").await?.json()?;
        let queue = &status["queue"];
        if queue["parked"] != 0 {
            bail!("a job is parked: {status}");
        }
        let read = status["feed"]["last_success"].is_string();
        if read && queue["queued"] == 0 && queue["running"] == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long after a request was sent its job began, as the job says.
async fn starts(client: &mut Client) -> anyhow::Result<Times> {
    let mut times = Vec::new();
    for number in 0..STARTS {
        let asked = jiff::Timestamp::now();
        let taken = client.ask(&version(number % VERSIONS)).await?;
        let id = taken.json()?["job"].as_str().context("the job's id")?.to_owned();
        idle(client).await?;
        let job = client.get(&format!("/api/v1/jobs/{id}")).await?.json()?;
        let started: jiff::Timestamp = text(&job, "started")?.parse()?;
        if text(&job, "state")? != "done" {
            bail!("the job came to no verdict: {job}");
        }
        times.push(started.duration_since(asked).try_into().unwrap_or_default());
    }
    Times::of(times)
}

fn text<'a>(document: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    document[name].as_str().with_context(|| format!("no {name} in {document}"))
}

/// A thousand clients ask in the same moment; every request is kept and comes to a verdict.
async fn at_once(place: &Place, daemon: &Daemon) -> anyhow::Result<()> {
    let gate = Arc::new(Barrier::new(AT_ONCE));
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let mut client = place.client(daemon).await?;
        let gate = gate.clone();
        asked.spawn(async move {
            gate.wait().await;
            let begun = Instant::now();
            let answer = client.ask(&version(number % VERSIONS)).await?;
            let request = answer.json()?["request"].as_str().map(str::to_owned);
            anyhow::Ok((request.with_context(|| answer.status.to_string())?, begun.elapsed()))
        });
    }
    let (mut requests, mut times) = (std::collections::BTreeSet::new(), Vec::new());
    while let Some(answer) = asked.join_next().await {
        let (request, time) = answer??;
        requests.insert(request);
        times.push(time);
    }
    let times = Times::of(times)?;
    println!("{AT_ONCE} requests at once: {} kept, answered after {times}", requests.len());
    idle(&mut place.client(daemon).await?).await
}

/// Many clients ask for everything.
async fn load(place: &Place, daemon: &Daemon) -> anyhow::Result<()> {
    let until = Instant::now() + LOAD;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..LOAD_CLIENTS {
        let mut client = place.client(daemon).await?;
        asking.spawn(async move {
            let mut count = 0;
            while Instant::now() < until {
                for path in [
                    "/api/v1/status",
                    "/api/v1/records?limit=100",
                    "/api/v1/jobs?limit=100",
                    "/api/v1/releases?limit=100",
                    "/badge/cpython/9.0.svg",
                    "/metrics",
                    "/api/openapi.json",
                ] {
                    let answer = client.get(path).await?;
                    if answer.status != 200 {
                        bail!("{path}: {}", answer.status);
                    }
                    count += 1;
                }
            }
            Ok(count)
        });
    }
    let mut count = 0;
    while let Some(answered) = asking.join_next().await {
        count += answered??;
    }
    println!("load: {} answers a second, {LOAD_CLIENTS} clients", count / LOAD.as_secs());
    Ok(())
}

/// Times of answers with so many records in the store.
async fn store(directory: &Path, records: u32) -> anyhow::Result<()> {
    let world = World::start().await?;
    let name = format!("records-{records}");
    fs::create_dir_all(directory.join(&name))?;
    let path = directory.join(&name).join("records.sqlite");
    many::fill(&path, records, DOCUMENT_BYTES).await?;
    let place = Place::new(directory, &name, &world).await?;
    let daemon = place.serve()?;
    let bytes = fs::metadata(&path)?.len() >> 20;
    println!("{records} records and jobs ({bytes} MB), listens after {:.1?}", daemon.start);
    let mut client = place.client(&daemon).await?;
    let middle = format!("9.{}.{}", records / 20 / 1000, records / 20 % 1000);
    let sha256 = format!("{:064x}", records / 10);
    let next = client.get("/api/v1/records?limit=100").await?.json()?;
    let cursor = text(&next, "next")?;
    for path in [
        "/api/v1/status".to_owned(),
        "/api/v1/records?limit=100".to_owned(),
        format!("/api/v1/records?limit=100&cursor={cursor}"),
        format!("/api/v1/records?version={middle}"),
        "/api/v1/releases?limit=100".to_owned(),
        "/api/v1/releases?limit=100&series=9.0".to_owned(),
        format!("/api/v1/releases/{middle}"),
        "/api/v1/jobs?limit=100".to_owned(),
        "/api/v1/jobs?state=done&limit=100".to_owned(),
        "/api/v1/jobs?state=parked".to_owned(),
        "/api/v1/jobs?state=cancelled".to_owned(),
        format!("/api/v1/artifacts/{sha256}"),
        "/api/v1/observations?limit=100".to_owned(),
        "/metrics".to_owned(),
        "/badge/cpython/latest.svg".to_owned(),
        format!("/badge/cpython/{middle}.svg"),
    ] {
        println!("  {:60} {}", path, timed(&mut client, &path, TIMES).await?);
    }
    println!("  {:60} {}", "POST /api/v1/requests", asks(&mut client).await?);
    println!("  {}", daemon.memory()?);
    drop(client);
    daemon.stop()?;
    fs::remove_dir_all(directory.join(&name))?;
    Ok(())
}

/// Requests for releases one after the other. Nothing can be fetched: the jobs only fail.
async fn asks(client: &mut Client) -> anyhow::Result<Times> {
    let mut times = Vec::new();
    for number in 0..VERSIONS.min(100) {
        let begun = Instant::now();
        let answer = client.ask(&version(number)).await?;
        times.push(begun.elapsed());
        if answer.status != 202 {
            bail!("a request was answered with {}", answer.status);
        }
    }
    Times::of(times)
}
