//! Git hosting: the smart HTTP protocol (git, gitprotocol-http(5)) over `git upload-pack`, which
//! runs in the environment's container, once a request.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use rebuilder::{Limits, Network, ToolOrder};

use super::answer::{file, problem, set};
use super::server::plain;
use crate::environment::Environment;
use crate::process::Program;

const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// One repository and what serves it.
#[derive(Debug)]
pub struct Host {
    repository: PathBuf,
    root: PathBuf,
    program: Program,
    scratch: PathBuf,
    requests: AtomicU64,
}

impl Host {
    /// Serves the bare repository at `path`; request files are kept in `scratch`.
    pub fn new(path: &Path, environment: &Environment, program: &Program, scratch: &Path) -> Host {
        Host {
            repository: path.to_owned(),
            root: environment.root.clone(),
            program: program.clone(),
            scratch: scratch.to_owned(),
            requests: AtomicU64::new(0),
        }
    }

    /// Answers one request of a git client.
    pub async fn answer(&self, request: &Parts, body: &[u8]) -> Response {
        match self.upload_pack(request, body).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!("git hosting: {error:#}");
                problem(StatusCode::INTERNAL_SERVER_ERROR, "git failed")
            }
        }
    }

    async fn upload_pack(&self, request: &Parts, body: &[u8]) -> anyhow::Result<Response> {
        let path = request.uri.path();
        let advertises = path.ends_with("/info/refs");
        if !advertises && !path.ends_with("/git-upload-pack") {
            return Ok(problem(StatusCode::NOT_FOUND, "only git-upload-pack is served"));
        }
        let protocol = request.headers.get("git-protocol").and_then(|value| value.to_str().ok());
        let version_2 = protocol.is_some_and(|protocol| protocol.contains("version=2"));
        let flag = if advertises { "--http-backend-info-refs" } else { "--stateless-rpc" };
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let work = self.scratch.join(format!("request-{number}"));
        std::fs::create_dir_all(&work).context("make a directory for a request")?;
        let stdin = self.scratch.join(format!("request-{number}.stdin"));
        let stdout = self.scratch.join(format!("request-{number}.stdout"));
        std::fs::write(&stdin, inflated(request, body)?).context("keep a request")?;
        let version = if version_2 { "version=2" } else { "version=0" };
        let order = ToolOrder {
            root: self.root.clone(),
            command: ["git", "upload-pack", flag, "/repository"].map(str::to_owned).to_vec(),
            environment: BTreeMap::from([
                ("GIT_PROTOCOL".to_owned(), version.to_owned()),
                ("GIT_CONFIG_COUNT".to_owned(), "1".to_owned()),
                ("GIT_CONFIG_KEY_0".to_owned(), "safe.directory".to_owned()),
                ("GIT_CONFIG_VALUE_0".to_owned(), "*".to_owned()),
            ]),
            mounts: vec![(self.repository.clone(), "/repository".to_owned())],
            work,
            network: Network::None,
            stdin: Some(stdin),
            stdout: stdout.clone(),
            limits: Limits::default(),
        };
        let run = self.program.tool(&order).await?;
        if run.code != 0 {
            bail!("git upload-pack exited {}: {}", run.code, run.stderr.trim());
        }
        let kind = if advertises { "advertisement" } else { "result" };
        let mut response = if advertises && !version_2 {
            // The service line is only for version 0 (git, http-backend.c, get_info_refs).
            let mut text = b"001e# service=git-upload-pack\n0000".to_vec();
            text.extend(std::fs::read(&stdout).context("read git's answer")?);
            plain(StatusCode::OK, Body::from(text))
        } else {
            file(&stdout, None, u64::MAX).await
        };
        set(&mut response, "content-type", &format!("application/x-git-upload-pack-{kind}"));
        set(&mut response, "cache-control", "no-cache");
        Ok(response)
    }
}

/// Git compresses long requests.
fn inflated(request: &Parts, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let encoding = request.headers.get(header::CONTENT_ENCODING);
    if encoding.is_none_or(|encoding| encoding != "gzip") {
        return Ok(body.to_vec());
    }
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(body)
        .take(REQUEST_BYTES_MAX)
        .read_to_end(&mut inflated)
        .context("decompress a request")?;
    Ok(inflated)
}
