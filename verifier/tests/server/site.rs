//! A server with something in its store, and a client for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rebuilder::{BuildDefinition, Digest};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use verifier::feed::Announced;
use verifier::record::{
    Named, Record, RecordStatus, RecordedArtifact, RecordedRebuild, RecordedRelease, SCHEMA,
    SizedDigest, VerdictName,
};
use verifier::server::{Gate, Settings, Site, serve};
use verifier::store::Store;

/// A version that no recipe covers.
pub const UNCOVERED: &str = "3.0.1";

/// A server on loopback; it ends when this is dropped.
pub struct Server {
    site: Site,
    pub store: Store,
    pub wake: Arc<Notify>,
    pub reasons: Arc<Mutex<Vec<String>>>,
    pub address: std::net::SocketAddr,
    pub reports: PathBuf,
    journals: PathBuf,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
    directory: tempfile::TempDir,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{:?} is JSON", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The sentence of a problem document with this status.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string());
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl Server {
    pub async fn start() -> Server {
        Server::with(Settings::default()).await
    }

    /// Anybody may ask, a thousand times an hour.
    pub async fn open() -> Server {
        let settings = Settings {
            anonymous_requests: true,
            requests_per_hour_each: 1_000,
            requests_per_hour_total: 1_000,
            ..Settings::default()
        };
        Server::with(settings).await
    }

    pub async fn with(settings: Settings) -> Server {
        Server::changed(settings, |_| ()).await
    }

    /// One whose operator has said more than settings.
    pub async fn changed(settings: Settings, change: impl FnOnce(&mut Site)) -> Server {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
        let journals = directory.path().join("jobs");
        std::fs::create_dir(&journals).unwrap();
        let reports = directory.path().join("reports");
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let asked = reasons.clone();
        let wake = Arc::new(Notify::new());
        let mut site = Site {
            store: store.clone(),
            journals: journals.clone(),
            reports: reports.clone(),
            elsewhere: Vec::new(),
            gate: Arc::new(Gate::new(&settings)),
            settings: Arc::new(settings),
            wake: wake.clone(),
            health: Arc::new(move || asked.lock().unwrap().clone()),
            uncovered: Arc::new(|version| {
                let old = version.to_string() == UNCOVERED;
                old.then(|| format!("no recipe covers {version}"))
            }),
            allowance: Arc::new(|| 100),
        };
        change(&mut site);
        let shown = site.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(serve(site, listener, async {
            let _ = stopped.await;
        }));
        Server {
            site: shown,
            store,
            wake,
            reasons,
            address,
            reports,
            journals,
            client: Client::builder().no_proxy().build().unwrap(),
            stop: Some(stop),
            ended: Some(ended),
            directory,
        }
    }

    pub async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.ended.take().unwrap().await.unwrap().unwrap();
    }

    /// What it shows.
    pub fn site(&self) -> Site {
        self.site.clone()
    }

    /// The same store, as another process opens it.
    pub async fn open_store(&self) -> Store {
        Store::open(&self.directory.path().join("records.sqlite")).await.unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        sent(self.request(Method::GET, path)).await
    }

    /// Asks for `version`.
    pub fn ask(&self, version: &str) -> RequestBuilder {
        self.request(Method::POST, "/api/v1/requests")
            .header("content-type", "application/json")
            .body(format!(r#"{{"version":"{version}"}}"#))
    }

    /// python.org announces these versions.
    pub async fn announce(&self, versions: &[&str]) {
        let announced: Vec<Announced> = versions.iter().zip(1..).map(announced).collect();
        self.store.learn(&announced, None).await.unwrap();
    }

    /// Writes the next lines of a job's journal.
    pub fn journal(&self, job: &str, lines: &[(&str, &str)]) {
        use std::io::Write;
        let path = self.journals.join(format!("{job}.ndjson"));
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        for (kind, text) in lines {
            let line =
                serde_json::json!({"at": "2026-01-01T00:00:00Z", "kind": kind, "text": text});
            writeln!(file, "{line}").unwrap();
        }
    }

    /// Writes a report of a record.
    pub fn report(&self, record: &str, name: &str, text: &str) {
        let directory = self.reports.join(record);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), text).unwrap();
    }

    /// Ends the job of `version` with a record; gives the record.
    pub async fn settle(&self, version: &str) -> Record {
        let lease = self.store.claim("the test").await.unwrap().unwrap();
        let record = record(version);
        assert_eq!(lease.version, record.release.version);
        self.store.settle(&lease, &record).await.unwrap();
        record
    }
}

pub async fn sent(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

fn announced((version, key): (&&str, u64)) -> Announced {
    let date = "2025-06-11T17:00:00Z".parse().unwrap();
    Announced { version: version.parse().unwrap(), date, key }
}

/// A record of a release with one file, which was reproduced.
pub fn record(version: &str) -> Record {
    let at: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let side = SizedDigest { sha256: Digest::of(version.as_bytes()), size: 5 };
    let named = || Named { name: "some".to_owned(), digest: "sha256:0".to_owned() };
    let definition: BuildDefinition = serde_json::from_value(serde_json::json!({
        "buildType": "https://example.org/build",
        "externalParameters": {"version": version, "repository": "r", "tag": "t"},
        "internalParameters": {
            "recipe": "some", "recipeDigest": Digest::of(b"recipe").to_string(), "steps": [],
            "environment": {}, "outputs": [], "traced": "",
            "limits": serde_json::to_value(rebuilder::Limits::default()).unwrap(),
        },
        "resolvedDependencies": [],
    }))
    .unwrap();
    Record {
        era: None,
        schema: SCHEMA.to_owned(),
        id: uuid::Uuid::now_v7().to_string(),
        release: RecordedRelease {
            project: "cpython".to_owned(),
            version: version.parse().unwrap(),
            announced: at,
        },
        status: RecordStatus::Pass,
        source: verifier::source::Source {
            repository: "r".to_owned(),
            tag: "t".to_owned(),
            tag_object: None,
            commit: "c".to_owned(),
            tree: "t".to_owned(),
            committed: at,
        },
        environment: named(),
        recipe: named(),
        started: at,
        finished: at,
        artifacts: vec![RecordedArtifact {
            name: format!("Python-{version}.tar.xz"),
            url: "https://example.org/file".parse().unwrap(),
            verdict: VerdictName::Reproduced,
            tier: None,
            published: side,
            rebuilt: Some(side),
            summary: "identical".to_owned(),
            causes: Vec::new(),
            unexplained: Vec::new(),
            explanation: None,
            replay: None,
        }],
        evidence: Vec::new(),
        definition,
        rebuild: RecordedRebuild {
            failure: None,
            definition: "0".to_owned(),
            steps: Vec::new(),
            limits_in_force: Vec::new(),
            started: at,
            finished: at,
        },
    }
}
