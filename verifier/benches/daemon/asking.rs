//! A small HTTP client for measuring: plain sockets, so that its own work hardly counts.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection that is kept.
pub struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    /// The entity tag; empty if there is none.
    pub tag: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("read an answer")
    }
}

impl Client {
    pub async fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream), token: token.to_owned() })
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n")).await
    }

    /// Asks for `version` to be verified.
    pub async fn ask(&mut self, version: &str) -> anyhow::Result<Answer> {
        let body = format!("{{\"version\": \"{version}\"}}");
        let request = format!(
            "POST /api/v1/requests HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.exchange(&request).await
    }

    async fn exchange(&mut self, request: &str) -> anyhow::Result<Answer> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.with_context(|| format!("{line:?} is no status line"))?;
        let (mut length, mut tag) = (None, String::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            }
            if name.eq_ignore_ascii_case("etag") {
                tag = value.trim().to_owned();
            }
        }
        let Some(length) = length else { bail!("an answer without its length: {status}") };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(Answer { status, tag, body })
    }
}

/// Middle and end of a distribution.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub median: Duration,
    pub p99: Duration,
}

impl Times {
    pub fn of(mut times: Vec<Duration>) -> anyhow::Result<Times> {
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1));
        Ok(Times {
            median: *at(50).context("nothing was timed")?,
            p99: *at(99).context("nothing was timed")?,
        })
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(f, "{:.2} ms (p99 {:.2} ms)", milliseconds(self.median), milliseconds(self.p99))
    }
}

/// `times` requests for `path`, one after the other; each must be answered with 200.
pub async fn timed(client: &mut Client, path: &str, times: usize) -> anyhow::Result<Times> {
    let mut durations = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        let answer = client.get(path).await?;
        durations.push(begun.elapsed());
        if answer.status != 200 {
            bail!("{path}: {}", answer.status);
        }
    }
    Times::of(durations)
}
