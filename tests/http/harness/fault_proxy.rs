//! A proxy before a real registry that records requests and injects faults: cuts, other bytes, other answers,
//! waits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The fault that the proxy injects into one request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Passes it on.
    None,
    /// Closes the connection after so many bytes of the body.
    CutAfter(usize),
    /// Flips the byte at this offset of the body.
    FlipByte(usize),
    /// Sends so many bytes of the body, and the rest once the gate opens.
    WaitAfter(usize),
    /// Leaves out the Content-Length: the end of the connection is the end of the body (HTTP/1.0).
    NoLength,
    /// Adds this header line to the answer.
    AddHeader(&'static str),
    /// Answers with these bytes.
    Answer(Vec<u8>),
}

impl Fault {
    /// An answer with a status, headers and a body.
    pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Answer(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into())
    }
}

/// A running proxy, which ends on drop.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    gate: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultProxy {
    /// Starts a proxy before `target`. `fault` decides from the lower-case head of each request.
    pub(crate) async fn start(
        target: SocketAddr,
        fault: impl Fn(&str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (fault, asked) = (Arc::new(fault), Arc::new(Mutex::new(Vec::new())));
        let (gate, open) = watch::channel(false);
        let heads = asked.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, target, fault.clone(), heads.clone(), open.clone()));
            }
        });
        Self { address, asked, gate, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets the transfers go on that wait.
    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// Returns the recorded request heads whose first lines contain a text.
    pub(crate) fn asked(&self, what: &str) -> Vec<String> {
        let asked = self.asked.lock().expect("nobody panics with it");
        let is_it = |head: &&String| head.lines().next().is_some_and(|line| line.contains(what));
        asked.iter().filter(is_it).cloned().collect()
    }
}

async fn converse(
    mut client: TcpStream,
    target: SocketAddr,
    fault: Arc<impl Fn(&str) -> Fault>,
    asked: Arc<Mutex<Vec<String>>>,
    mut open: watch::Receiver<bool>,
) -> Option<()> {
    let head = read_head(&mut client).await?;
    let lower = head.to_ascii_lowercase();
    asked.lock().expect("nobody panics with it").push(lower.clone());
    let fault = fault(&lower);
    if let Fault::Answer(bytes) = fault {
        client.write_all(&bytes).await.ok()?;
        return client.shutdown().await.ok();
    }
    let mut server = TcpStream::connect(target).await.ok()?;
    // One request for each connection, so that the end of the answer is known.
    let (line, rest) = head.split_once("\r\n")?;
    server.write_all(format!("{line}\r\nconnection: close\r\n{rest}").as_bytes()).await.ok()?;
    let mut answer = read_head(&mut server).await?;
    if matches!(fault, Fault::NoLength) {
        answer = answer
            .split("\r\n")
            .filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"))
            .collect::<Vec<_>>()
            .join("\r\n");
    }
    if let Fault::AddHeader(line) = fault {
        answer = answer.replacen("\r\n", &format!("\r\n{line}\r\n"), 1);
    }
    client.write_all(answer.as_bytes()).await.ok()?;
    let (mut passed, mut piece) = (0, vec![0; 16 * 1024]);
    loop {
        let read = server.read(&mut piece).await.ok()?;
        if read == 0 {
            return client.shutdown().await.ok();
        }
        let mut bytes = piece[..read].to_vec();
        match fault {
            Fault::CutAfter(limit) if passed + read > limit => {
                client.write_all(&bytes[..limit - passed]).await.ok()?;
                return client.shutdown().await.ok();
            }
            Fault::FlipByte(at) if (passed..passed + read).contains(&at) => bytes[at - passed] ^= 1,
            Fault::WaitAfter(limit) if (passed..passed + read).contains(&limit) => {
                client.write_all(&bytes[..limit - passed]).await.ok()?;
                client.flush().await.ok()?;
                open.wait_for(|open| *open).await.ok()?;
                bytes.drain(..limit - passed);
            }
            _ => {}
        }
        passed += read;
        client.write_all(&bytes).await.ok()?;
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}
