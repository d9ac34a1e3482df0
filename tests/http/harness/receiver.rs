//! A receiver of webhooks: an HTTP server that records requests and answers as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// A running receiver, which ends on drop.
pub(crate) struct Receiver {
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address on which nothing listens yet.
pub(crate) async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address")
}

impl Receiver {
    /// Listens, and answers each request with the status that `answer` gives.
    pub(crate) async fn start(
        address: SocketAddr,
        answer: impl Fn(&Received) -> u16 + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let (answer, received) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let all = received.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, answer.clone(), all.clone()));
            }
        });
        Self { received, task }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("nobody panics with it").clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.received.lock().expect("nobody panics with it").len()
    }
}

async fn converse(
    stream: TcpStream,
    answer: Arc<dyn Fn(&Received) -> u16 + Send + Sync>,
    all: Arc<Mutex<Vec<Received>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut request = Received { headers, body: Vec::new() };
        let length = request.header("content-length").parse().unwrap_or(0);
        request.body = vec![0; length];
        stream.read_exact(&mut request.body).await.ok()?;
        let status = answer(&request);
        all.lock().ok()?.push(request);
        let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: 8\r\n\r\nreceived");
        stream.get_mut().write_all(head.as_bytes()).await.ok()?;
    }
}
