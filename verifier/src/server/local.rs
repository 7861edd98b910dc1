//! The server's answers without a socket: what `verbatim export` writes is what would be served.

use std::sync::Arc;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use tokio::sync::watch;
use tower::ServiceExt;

use super::{Site, app, router};

/// No document is larger.
const BODY_BYTES_MAX: usize = 128 << 20;

/// Answers, asked for within the process.
pub struct Local {
    router: Router,
    /// Held, because the server that loses it is told to stop.
    _end: watch::Sender<bool>,
}

impl Local {
    /// What a server of `site` would answer.
    pub fn new(site: Site) -> Local {
        let (end, ending) = watch::channel(false);
        Local { router: router(Arc::new(app(site, ending))), _end: end }
    }

    /// The body of the answer to `GET path`; none if nothing is there.
    pub async fn get(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let asking = || format!("render {path}");
        let request = Request::get(path).body(Body::empty()).with_context(asking)?;
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => bail!("render {path}: it is answered with {status}; the log says why"),
        }
        let body = to_bytes(response.into_body(), BODY_BYTES_MAX).await.with_context(asking)?;
        Ok(Some(body.into()))
    }
}
