//! A raw TCP client: it sends any bytes at any pace, and reads the answers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A TCP connection to the registry.
pub(crate) struct RawClient {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer with its head as received.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl RawAnswer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the registry takes the connection");
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the registry takes what is sent");
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Reads the next answer, delimited by its Content-Length.
    pub(crate) async fn answer(&mut self) -> RawAnswer {
        self.try_answer().await.expect("an answer")
    }

    /// Reads the next answer. `None` if the connection ends before its last byte.
    pub(crate) async fn try_answer(&mut self) -> Option<RawAnswer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8(self.read[..end].to_vec()).expect("the head is text");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        let mut answer = RawAnswer { status, head, body: Vec::new() };
        let length: usize =
            answer.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        while self.read.len() < end + 4 + length {
            self.read_more().await?;
        }
        answer.body = self.read[end + 4..end + 4 + length].to_vec();
        self.read.drain(..end + 4 + length);
        Some(answer)
    }

    /// Waits for the first bytes of the next answer, and reads no further.
    pub(crate) async fn answer_begins(&mut self) {
        if self.read.is_empty() {
            self.read_more().await.expect("an answer begins");
        }
    }

    async fn read_more(&mut self) -> Option<usize> {
        let read = timeout(Duration::from_secs(30), self.stream.read_buf(&mut self.read));
        match read.await.expect("the registry answers within 30 seconds") {
            Ok(0) | Err(_) => None,
            Ok(count) => Some(count),
        }
    }

    /// Reads until the registry closes the connection, and returns the bytes.
    pub(crate) async fn until_closed(mut self) -> Vec<u8> {
        while self.read_more().await.is_some() {}
        self.read
    }

    /// Shuts down the sending side.
    pub(crate) async fn finish_sending(&mut self) {
        self.stream.shutdown().await.expect("this side ends");
    }
}
