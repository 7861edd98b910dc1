//! Connections: how many, how long a client may take to speak and to listen.
//!
//! A client that sends its headers slowly, stays silent or does not read what it asked for is cut
//! off, so that it holds one of a bounded number of connections for a bounded time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

/// A thousand clients at once, and some that are being cut off.
const CONNECTIONS_MAX: usize = 1_100;
/// From the first byte that is awaited to the last one of the headers.
const HEADERS_SECONDS_MAX: u64 = 10;
/// Request line and headers together.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Without any progress of a client that is sent something.
const STALLED_SECONDS_MAX: u64 = 20;
/// What was begun may take this long after the server was told to stop.
const ENDING_SECONDS_MAX: u64 = 5;
/// After an error of `accept`, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// An answer that is ready before anything is looked up; none if there is none.
pub type Ready = Arc<dyn Fn(&Request<Incoming>) -> Option<Response> + Send + Sync>;

/// Accepts connections until `shutdown`, then sets `end` and waits for what was begun.
pub async fn serve(
    router: Router,
    ready: Ready,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    end: watch::Sender<bool>,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("look at the listener's address")?;
    tracing::info!(%address, "serving");
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let begun = GracefulShutdown::new();
    let accept = async {
        // Who finds no place waits in the listener's backlog.
        while let Ok(place) = places.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(Duration::from_secs(STALLED_SECONDS_MAX)));
                    let (router, ready) = (router.clone(), ready.clone());
                    let connection = connection(router, ready, Box::pin(stream), peer);
                    let connection = begun.watch(connection);
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%peer, %error, "a connection ended in trouble");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        // Only if the places were closed, which nobody does.
        () = accept => {}
        () = shutdown => {}
    }
    drop(listener);
    end.send_replace(true);
    let patience = Duration::from_secs(ENDING_SECONDS_MAX);
    if tokio::time::timeout(patience, begun.shutdown()).await.is_err() {
        tracing::info!("some answers were not finished");
    }
    Ok(())
}

fn connection<S>(
    router: Router,
    ready: Ready,
    stream: S,
    peer: SocketAddr,
) -> http1::Connection<
    TokioIo<S>,
    impl hyper::service::HttpService<Incoming, ResBody = axum::body::Body, Future: Send> + Send,
>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        let ready = ready(&request);
        request.extensions_mut().insert(Peer(peer));
        let router = router.clone();
        async move {
            match ready {
                Some(response) => Ok(response),
                None => router.oneshot(request).await,
            }
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADERS_SECONDS_MAX))
        .max_buf_size(HEADERS_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
}
