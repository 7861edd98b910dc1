//! `cargo bench -p verifier --bench publish`: what people's browsers ask for, against nginx serving
//! the same bytes as a file: a badge, the answer that it has not changed, a page. Same load
//! generator, in pairs in one run; requests a second, and CPU time of the server for each.
//!
//! Needs nginx and wrk (Debian packages of these names), on the path or named by `NGINX`, `WRK`.

#![allow(clippy::disallowed_methods, reason = "a benchmark times whole programs")]
#![allow(dead_code, reason = "what it shares with the other benchmark is used in part")]

#[path = "../daemon/asking.rs"]
mod asking;
#[path = "../daemon/many.rs"]
mod many;
mod nginx;
#[path = "../daemon/process.rs"]
mod process;
#[path = "../../tests/server/site.rs"]
mod site;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use verifier::server::fresh_token;
use verifier::store::{Scope, Store};
use verifier::world::World;

use asking::{Client, Times};
use nginx::Nginx;
use process::{Daemon, assemble, cpu};

const PAIRS: usize = 3;
const SECONDS: u64 = 5;
const CONNECTIONS: usize = 16;
/// Releases in the store; each has ten records.
const RELEASES: u32 = 500;
/// As long as a record of CPython is.
const DOCUMENT_BYTES: u32 = 20_000;
/// Pages that are rendered anew.
const RENDERINGS: usize = 50;

const BADGE: &str = "/badge/cpython/9.0.250.svg";
const RELEASE: &str = "/releases/9.0.250";
const OVERVIEW: &str = "/";
const RECORDS: &str = "/api/v1/records";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    fs::create_dir_all(&state)?;
    many::fill(&state.join("records.sqlite"), RELEASES * 10, DOCUMENT_BYTES).await?;
    let store = Store::open(&state.join("records.sqlite")).await?;
    let token = fresh_token()?;
    store.add_token("bench", Scope::Request, &token).await?;
    // Its page shows the whole document: one as it should be.
    store.append(&site::record("9.0.250")).await?;
    store.close().await;
    let world = World::start().await?;
    let feed = world.feed()?;
    let config = directory.path().join("verbatim.toml");
    let text = format!(
        "feed.api = '{}'\nfeed.files = '{}'\nsource.repository = '{}'\n\
         server.listen = '127.0.0.1:0'\n",
        feed.api,
        feed.files,
        world.repository()
    );
    fs::write(&config, text)?;
    assemble(&config, &state).await?;
    let daemon = Daemon::start(&config, &state)?;
    let nginx = Nginx::start(&directory.path().join("nginx"))?;

    println!(
        "{:28} {:>12} {:>12}  {:>6} {:>9} {:>9}",
        "", "verbatim/s", "nginx/s", "ratio", "µs CPU", "µs nginx"
    );
    for (what, path, same) in [
        ("badge", BADGE, false),
        ("badge, 304", BADGE, true),
        ("release page", RELEASE, false),
        ("release page, 304", RELEASE, true),
        ("overview", OVERVIEW, false),
        ("list of 50 records", RECORDS, false),
    ] {
        pairs(&daemon, &nginx, what, path, same).await?;
    }
    let mut client = Client::connect(daemon.address, &token).await?;
    println!("\nrendered anew after each write:");
    for (what, path) in [
        ("overview", OVERVIEW),
        ("release page", RELEASE),
        ("badge", BADGE),
        ("list of 50 records", RECORDS),
    ] {
        rendered(&mut client, what, path).await?;
    }
    println!("{}", daemon.memory()?);
    drop(client);
    daemon.stop()
}

/// One line: the median of some pairs.
async fn pairs(
    daemon: &Daemon,
    nginx: &Nginx,
    what: &str,
    path: &str,
    same: bool,
) -> anyhow::Result<()> {
    // Kept connections are closed when they are silent: one for each look.
    let answer = Client::connect(daemon.address, "").await?.get(path).await?;
    if answer.status != 200 {
        println!("{what:28} {path} is answered with {}", answer.status);
        return Ok(());
    }
    nginx.serve(path, &answer.body)?;
    let (file, _) = nginx::place(path);
    let header = |tag: String| same.then(|| format!("If-None-Match: {tag}"));
    let ours = header(answer.tag);
    let theirs = header(Client::connect(nginx.address, "").await?.get(&file).await?.tag);
    let mut rows = Vec::new();
    for _ in 0..PAIRS {
        let one = load(daemon.address, path, ours.as_deref(), &[daemon.pid()])?;
        let other = load(nginx.address, &file, theirs.as_deref(), &nginx.pids()?)?;
        rows.push((one, other));
    }
    rows.sort_by(|a, b| (a.0.rate / a.1.rate).total_cmp(&(b.0.rate / b.1.rate)));
    let (one, other) = rows[PAIRS / 2];
    println!(
        "{what:28} {:>12.0} {:>12.0}  {:>6.2} {:>9.1} {:>9.1}   ({} bytes)",
        one.rate,
        other.rate,
        one.rate / other.rate,
        one.microseconds,
        other.microseconds,
        answer.body.len(),
    );
    Ok(())
}

/// What a server did in one run of the load generator.
#[derive(Clone, Copy)]
struct Load {
    /// Requests a second.
    rate: f64,
    /// CPU time of the server for one request.
    microseconds: f64,
}

fn load(
    address: SocketAddr,
    path: &str,
    header: Option<&str>,
    pids: &[u32],
) -> anyhow::Result<Load> {
    let used = || pids.iter().map(|pid| cpu(*pid)).sum::<anyhow::Result<Duration>>();
    let before = used()?;
    let mut wrk = Command::new(std::env::var_os("WRK").unwrap_or("wrk".into()));
    wrk.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s")]);
    if let Some(header) = header {
        wrk.args(["-H", header]);
    }
    let output = wrk.arg(format!("http://{address}{path}")).output();
    let output = output.context("run wrk: install the package wrk, or name it by WRK")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let used = used()?.saturating_sub(before);
    let wrong = text.lines().any(|line| line.contains("Non-2xx") || line.contains("Socket errors"));
    if wrong {
        bail!("wrk on {path}: {text}");
    }
    let count: Option<f64> = text.lines().find_map(|line| {
        line.trim().split_once(" requests in ").and_then(|(count, _)| count.parse().ok())
    });
    let count = count.with_context(|| format!("wrk said no number of requests: {text}"))?;
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate: Option<f64> = rate.and_then(|rate| rate.trim().parse().ok());
    let rate = rate.with_context(|| format!("wrk said no rate: {text}"))?;
    Ok(Load { rate, microseconds: used.as_secs_f64() * 1e6 / count })
}

/// A write, then the time of the answer that has to be rendered anew.
async fn rendered(client: &mut Client, what: &str, path: &str) -> anyhow::Result<()> {
    let mut times = Vec::new();
    let mut bytes = 0;
    for number in 0..RENDERINGS {
        client.ask(&format!("9.0.{number}")).await?;
        // The job's own writes are over then: it cannot fetch anything.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        let answer = client.get(path).await?;
        times.push(begun.elapsed());
        bytes = answer.body.len();
        if answer.status != 200 {
            println!("  {what:26} {path} is answered with {}", answer.status);
            return Ok(());
        }
    }
    println!("  {what:26} {}, {bytes} bytes", Times::of(times)?);
    Ok(())
}
