//! The HTTP server: on-demand requests and the operations API, on one listener.
//!
//! It promises: everything from outside is bounded in size, time and number; every error is a
//! problem document (RFC 9457); what a client sees is in the store. It never fetches anything and
//! never runs a job: it queues them, and wakes the worker.

mod answer;
mod board;
mod connection;
mod cursor;
mod events;
mod gate;
mod health;
mod journal;
mod lists;
mod local;
mod memory;
mod model;
mod openapi;
mod operator;
mod problem;
mod reports;
mod requests;
mod singles;
mod site;
mod token;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use url::Url;

use crate::publish::site::Shown;
use crate::store::Store;
use crate::version::Version;

pub use gate::Gate;
pub use local::Local;
pub use openapi::document as openapi_document;
pub use token::fresh as fresh_token;

/// The longest body of a request.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Clients that follow jobs at once.
const FOLLOWERS_MAX: usize = 200;

/// What another process wrote is shown after this time at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why this service is not ready; empty if it is.
pub type Health = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Why nobody can rebuild a version yet, in one sentence; none if it can be tried.
pub type Uncovered = Arc<dyn Fn(&Version) -> Option<String> + Send + Sync>;

/// How many requests to python.org's API the operator allows in a day at present.
pub type Allowance = Arc<dyn Fn() -> u32 + Send + Sync>;

/// What the server shows, and whom it wakes.
#[derive(Clone)]
pub struct Site {
    /// Where everything is read from, and requests are kept.
    pub store: Store,
    /// Directory with one `<job id>.ndjson` a job, to which its worker appends lines
    /// `{"at": …, "kind": "stage"|"log"|"state", "text": …}`.
    pub journals: PathBuf,
    /// Directory with one directory of reports a record.
    pub reports: PathBuf,
    /// Environment variables for a command that looks where this service looks.
    pub elsewhere: Vec<(&'static str, String)>,
    /// What the operator decides.
    pub settings: Arc<Settings>,
    /// Who may ask without a token; the operator may change that while the server runs.
    pub gate: Arc<Gate>,
    /// Told when a job was queued.
    pub wake: Arc<Notify>,
    /// Asked by `/readyz`.
    pub health: Health,
    /// Asked before a request is taken.
    pub uncovered: Uncovered,
    /// Asked for the status.
    pub allowance: Allowance,
}

impl Site {
    /// The part of it that is published.
    pub fn shown(&self) -> Shown {
        Shown {
            store: self.store.clone(),
            public_url: self.settings.public_url.clone(),
            reports: self.reports.clone(),
            journals: self.journals.clone(),
            elsewhere: self.elsewhere.clone(),
        }
    }
}

/// What the operator decides about the server: the section `[server]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Where people reach the server, without a slash at its end.
    pub public_url: Url,
    /// Whether a request for a rebuild is taken without a token.
    pub anonymous_requests: bool,
    /// Requests without a token in one hour from one address (IPv6: one network of 64 bits).
    pub requests_per_hour_each: u32,
    /// Requests without a token in one hour from everybody.
    pub requests_per_hour_total: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        // Invariant: a URL written here parses.
        let public_url = Url::parse("http://127.0.0.1:8470").expect("a built-in URL parses");
        Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8470)),
            public_url,
            anonymous_requests: false,
            requests_per_hour_each: 6,
            requests_per_hour_total: 60,
        }
    }
}

impl Settings {
    /// The URL of `path`, which begins with a slash, as people reach it.
    pub(crate) fn public(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// What every handler shares.
struct App {
    site: Site,
    /// The part of it that is published.
    shown: Shown,
    memory: memory::Memory,
    board: board::Board,
    followers: Arc<Semaphore>,
    /// True when the server is told to stop: whoever follows a job is let go.
    ending: watch::Receiver<bool>,
}

type Shared = axum::extract::State<Arc<App>>;

/// Serves `site` on `listener` until `shutdown`; then answers what it has begun, for at most a
/// few seconds.
pub async fn serve(
    site: Site,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (end, ending) = watch::channel(false);
    let store = site.store.clone();
    let app = Arc::new(app(site, ending));
    let asked = app.clone();
    let ready: connection::Ready = Arc::new(move |request| site::kept(&asked, request));
    let serving = connection::serve(router(app), ready, listener, shutdown, end);
    tokio::select! {
        served = serving => served,
        never = look(&store) => match never {},
    }
}

/// Looks again and again whether other processes wrote to the store.
async fn look(store: &Store) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = store.look().await {
            tracing::debug!("{error:#}");
        }
    }
}

fn app(site: Site, ending: watch::Receiver<bool>) -> App {
    App {
        shown: site.shown(),
        memory: memory::Memory::default(),
        board: board::Board::default(),
        followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
        ending,
        site,
    }
}

fn router(app: Arc<App>) -> Router {
    let (router, _) = openapi::routes().split_for_parts();
    router
        .fallback(site::show)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(answer::finish))
        .with_state(app)
}
