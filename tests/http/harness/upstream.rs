//! A scripted upstream of a gateway: it answers each request with the bytes of the test, valid or not, and
//! records the requests. `tests/clients` runs gateways before real registries. This one shows faults that
//! real registries never or rarely show.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use wharfinger::config::{Config, Sources};
use wharfinger::serve::{FirstAdministrator, Front};

use super::{PASSWORD, TestRegistry};

/// A scripted answer.
pub(crate) enum Says {
    /// Sends these bytes and keeps the connection.
    All(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Last(Vec<u8>),
    /// Sends these bytes and then nothing, without closing.
    Stalls(Vec<u8>),
}

impl Says {
    /// Returns a 200 with these headers and this body.
    pub(crate) fn ok(headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::All(format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{body}").into())
    }

    /// Returns a 404.
    pub(crate) fn not_found() -> Self {
        Self::All(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into())
    }
}

/// A running upstream, which ends on drop.
pub(crate) struct Upstream {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// Starts an upstream that answers each request head as `says` decides.
    pub(crate) async fn start(says: impl Fn(&str) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (says, asked) = (Arc::new(says), Arc::new(Mutex::new(Vec::new())));
        let heads = asked.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, says.clone(), heads.clone()));
            }
        });
        Self { address, asked, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the recorded request heads whose first lines contain a text.
    pub(crate) fn asked(&self, what: &str) -> Vec<String> {
        let asked = self.asked.lock().expect("nobody panics with it");
        asked
            .iter()
            .filter(|head| head.lines().next().is_some_and(|line| line.contains(what)))
            .cloned()
            .collect()
    }
}

async fn converse(
    mut stream: TcpStream,
    says: Arc<impl Fn(&str) -> Says>,
    asked: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let head = until(&mut stream, &mut read, b"\r\n\r\n").await?;
        let head = String::from_utf8(head).expect("the head is text").to_ascii_lowercase();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().expect("a number"));
        asked.lock().expect("nobody panics with it").push(head.clone());
        let says = says(&head);
        if header(&head, "transfer-encoding") == Some("chunked") {
            until(&mut stream, &mut read, b"0\r\n\r\n").await?;
        }
        while read.len() < length {
            more(&mut stream, &mut read).await?;
        }
        read.drain(..length);
        match says {
            Says::All(bytes) => stream.write_all(&bytes).await.ok()?,
            Says::Last(bytes) => return stream.write_all(&bytes).await.ok(),
            Says::Stalls(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Reads up to the end of `mark`.
async fn until(stream: &mut TcpStream, read: &mut Vec<u8>, mark: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = read.windows(mark.len()).position(|window| window == mark) {
            return Some(read.drain(..at + mark.len()).collect());
        }
        more(stream, read).await?;
    }
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    matches!(stream.read_buf(read).await, Ok(1..)).then_some(())
}

/// Returns a header of a lower-case request head.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Starts a gateway before these upstreams, with the administrator `root`. Settings are named by their
/// variables without `WHARFINGER_`.
pub(crate) async fn gateway(upstreams: &[&str], settings: &[(&str, &str)]) -> TestRegistry {
    let upstreams = upstreams.join(",");
    let environment = settings
        .iter()
        .chain(&[("GATEWAY_UPSTREAMS", upstreams.as_str())])
        .map(|(name, value)| (format!("WHARFINGER_{name}").into(), (*value).into()))
        .collect();
    let sources = Sources { environment, ..Sources::default() };
    let given = Config::load(&sources).unwrap_or_else(|mistakes| panic!("{mistakes:?}")).config;
    let root = FirstAdministrator { name: "root".parse().expect("a name"), password: PASSWORD.to_owned() };
    TestRegistry::start_front(Front::Gateway, Some(root), |config| {
        let is_default = given.listen == Config::default().listen;
        let listen = if is_default { config.listen } else { given.listen };
        *config = Config { listen, data: config.data.clone(), ..given };
    })
    .await
}
