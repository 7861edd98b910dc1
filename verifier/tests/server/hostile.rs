//! Clients that mean no good: too much, too slow, not HTTP.

use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::site::{Server, sent};

/// Sends `bytes` and gives what comes back until the server hangs up.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let patience = Duration::from_secs(60);
    let read = tokio::time::timeout(patience, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server hangs up");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_with_a_problem() {
    let server = Server::start().await;
    server.get("/nothing").await.problem(404);
    server.get("/api/v1/nothing").await.problem(404);
    let wrong = sent(server.request(Method::DELETE, "/api/v1/jobs")).await;
    wrong.problem(405);
    assert!(wrong.header("allow").contains("GET"), "{}", wrong.header("allow"));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = Server::open().await;
    let body = format!(r#"{{"version":"{}"}}"#, "3".repeat(20_000));
    let request = server.request(Method::POST, "/api/v1/requests");
    sent(request.header("content-type", "application/json").body(body)).await.problem(413);
}

#[tokio::test]
async fn headers_that_are_too_large_or_too_many_are_refused() {
    let server = Server::start().await;
    let long =
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(40_000));
    assert!(!raw(&server, long.as_bytes()).await.contains("200 OK"));
    let many: String = (0..200).map(|number| format!("x-{number}: a\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    assert!(raw(&server, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert!(!raw(&server, b"\x16\x03\x01 this is not HTTP\r\n\r\n").await.contains("200 OK"));
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn who_sends_headers_slowly_or_not_at_all_is_cut_off() {
    let server = Server::start().await;
    let (begun, silent) = tokio::join!(
        raw(&server, b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: "),
        raw(&server, b"")
    );
    assert!(!begun.contains("200 OK") && !silent.contains("200 OK"));
}

#[tokio::test]
async fn who_sends_a_body_slowly_is_told_so() {
    let server = Server::open().await;
    let begun = b"POST /api/v1/requests HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        content-type: application/json\r\ncontent-length: 20\r\n\r\n{";
    let answer = raw(&server, begun).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json"));
}
