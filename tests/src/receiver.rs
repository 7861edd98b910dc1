//! A receiver of webhooks on loopback: it keeps what comes, and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What came, whole.
#[derive(Clone, Debug)]
pub struct Received {
    /// Method and target.
    pub line: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// How one message is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With these bytes.
    Raw(String),
    /// Not at all: the connection stays open until the sender hangs up.
    Silence,
}

/// A receiver; its threads end with the process.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Received {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }
}

impl Reply {
    /// A status without a body.
    pub fn status(status: u16) -> Reply {
        Reply::Raw(format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n"))
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Reply {
        let head = format!("HTTP/1.1 307 Said\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        Reply::Raw(head)
    }
}

impl Receiver {
    /// Answers with these, in turn, and then with 204.
    pub fn start(replies: Vec<Reply>) -> Receiver {
        Receiver::at(SocketAddr::from(([127, 0, 0, 1], 0)), replies)
    }

    /// The same at an address.
    pub fn at(address: SocketAddr, replies: Vec<Reply>) -> Receiver {
        let listener = TcpListener::bind(address).expect("listen on loopback");
        let receiver = Receiver {
            address: listener.local_addr().expect("an address"),
            received: Arc::default(),
            connections: Arc::default(),
            replies: Arc::new(Mutex::new(replies.into())),
        };
        let (received, connections) = (receiver.received.clone(), receiver.connections.clone());
        let replies = receiver.replies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                *connections.lock().expect("a lock") += 1;
                let (received, replies) = (received.clone(), replies.clone());
                std::thread::spawn(move || {
                    // A client that means no HTTP was counted, and that is all.
                    let _ = answer(stream, &received, &replies);
                });
            }
        });
        receiver
    }

    /// An address where nobody listens now.
    pub fn free_address() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
        listener.local_addr().expect("an address")
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("a lock").clone()
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        *self.connections.lock().expect("a lock")
    }
}

fn answer(
    mut stream: TcpStream,
    received: &Mutex<Vec<Received>>,
    replies: &Mutex<VecDeque<Reply>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = Vec::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let Some((name, value)) = field.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut whole = Received { line: line.trim_end().to_owned(), headers, body: String::new() };
    let length = whole.header("content-length").parse().map_err(std::io::Error::other)?;
    reader.by_ref().take(length).read_to_string(&mut whole.body)?;
    let reply = replies.lock().expect("a lock").pop_front().unwrap_or(Reply::status(204));
    received.lock().expect("a lock").push(whole);
    match reply {
        Reply::Raw(bytes) => stream.write_all(bytes.as_bytes()),
        Reply::Silence => reader.read_to_end(&mut Vec::new()).map(drop),
    }
}
