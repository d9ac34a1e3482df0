//! One keep-alive connection whose caller waits for each response.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::origin::Origin;
use super::response::{Head, Reader};
use super::stream::Stream;
use crate::content::Content;

/// No request of the benchmark takes longer; a server that hangs fails its row instead of the run.
const PATIENCE: Duration = Duration::from_secs(120);

/// The ALPN protocols offered in a TLS handshake.
pub(crate) const HTTP1: &[&[u8]] = &[b"http/1.1"];

pub(super) const USER_AGENT: &str = "wharfinger-bench";
/// The media types in `Accept` that a registry client sends.
pub(super) const ACCEPT: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    Empty,
    /// Bytes of this media type.
    Typed(&'a str, &'a [u8]),
    Blob(&'a Content),
}

impl Body<'_> {
    fn length(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Typed(_, bytes) => bytes.len() as u64,
            Body::Blob(content) => content.length(),
        }
    }
}

/// A response that was received whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    /// Its body, if it was wanted.
    pub(crate) body: Vec<u8>,
}

/// A connection to a server, opened again where the server closed it between two requests.
pub(crate) struct Connection {
    origin: Origin,
    stream: Option<Stream>,
    buffer: Vec<u8>,
    patience: Duration,
}

impl Connection {
    /// Connects at the first request.
    pub(crate) fn to(origin: &Origin) -> Self {
        Self { origin: origin.clone(), stream: None, buffer: vec![0; 64 << 10], patience: PATIENCE }
    }

    /// The same, for a server that may not answer at all.
    pub(crate) fn impatient(origin: &Origin, patience: Duration) -> Self {
        Self { patience, ..Self::to(origin) }
    }

    /// Sends a request and receives its response whole.
    pub(crate) fn request(&mut self, method: &str, target: &str, body: Body<'_>) -> Result<Response> {
        self.exchange(method, target, body, true).with_context(|| format!("{method} {target}"))
    }

    /// The same, and the status must be this one.
    pub(crate) fn expect(
        &mut self,
        status: u16,
        method: &str,
        target: &str,
        body: Body<'_>,
    ) -> Result<Response> {
        let response = self.request(method, target, body)?;
        if response.head.status != status {
            let said = String::from_utf8_lossy(&response.body);
            bail!("{method} {target}: {} instead of {status}: {}", response.head.status, said.trim());
        }
        Ok(response)
    }

    /// Downloads without looking at the content. Returns its length.
    pub(crate) fn download(&mut self, target: &str) -> Result<u64> {
        let (reader, _) = self.begin("GET", target, Body::Empty, false)?;
        if reader.head().status != 200 {
            bail!("GET {target}: {}", reader.head().status);
        }
        self.discard(reader).with_context(|| format!("GET {target}"))
    }

    fn exchange(&mut self, method: &str, target: &str, body: Body<'_>, keep: bool) -> Result<Response> {
        let (mut reader, mut content) = self.begin(method, target, body, keep)?;
        while !reader.done() {
            let stream = self.stream.as_mut().context("connection is closed")?;
            let count = stream.read(&mut self.buffer)?;
            if count == 0 {
                self.stream = None;
                bail!("the server closed the connection within a response");
            }
            reader.feed(&self.buffer[..count], keep.then_some(&mut content))?;
        }
        self.end(&reader);
        Ok(Response { head: reader.head().clone(), body: content })
    }

    /// Sends the request and receives until the head is complete. A connection that the server closed
    /// meanwhile, which it may do between any two requests, is opened again once.
    fn begin(&mut self, method: &str, target: &str, body: Body<'_>, keep: bool) -> Result<(Reader, Vec<u8>)> {
        let reused = self.stream.is_some();
        match self.attempt(method, target, body, keep) {
            Err(_) if reused && self.stream.is_none() => self.attempt(method, target, body, keep),
            result => result,
        }
    }

    fn attempt(
        &mut self,
        method: &str,
        target: &str,
        body: Body<'_>,
        keep: bool,
    ) -> Result<(Reader, Vec<u8>)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.origin.connect(self.patience, HTTP1)?,
        };
        let mut reader = Reader::new(method == "HEAD");
        let mut content = Vec::new();
        let sent = send(&mut stream, &self.origin, method, target, body);
        // A server may refuse an upload and close before it has read all of it. Its response says more than
        // the error of the write, so read the response in any case.
        while reader.head().status == 0 {
            let count = match stream.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) => return sent.and(Err(error.into())),
            };
            if count == 0 {
                return sent.and(Err(anyhow::anyhow!("the server closed the connection")));
            }
            reader.feed(&self.buffer[..count], keep.then_some(&mut content))?;
        }
        sent?;
        self.stream = Some(stream);
        if reader.done() {
            self.end(&reader);
        }
        Ok((reader, content))
    }

    /// Receives the rest of a body whose bytes nobody wants.
    fn discard(&mut self, mut reader: Reader) -> Result<u64> {
        let mut window = vec![0; 1 << 20];
        while !reader.done() {
            let stream = self.stream.as_mut().context("connection is closed")?;
            let count = match reader.remaining() {
                Some(left) => {
                    let count = stream.discard(usize::try_from(left).unwrap_or(usize::MAX), &mut window)?;
                    reader.skip(count as u64);
                    count
                }
                None => {
                    let count = stream.read(&mut window)?;
                    reader.feed(&window[..count], None)?;
                    count
                }
            };
            if count == 0 {
                self.stream = None;
                bail!("the server closed the connection within a response");
            }
        }
        self.end(&reader);
        Ok(reader.received())
    }

    fn end(&mut self, reader: &Reader) {
        if reader.head().closes {
            self.stream = None;
        }
    }
}

/// The head of a request, as clients of registries send it.
pub(crate) fn head(origin: &Origin, method: &str, target: &str, body: Body<'_>) -> String {
    use std::fmt::Write as _;
    let mut text =
        format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\n", origin.address());
    if let Some(authorization) = origin.authorization() {
        let _ = write!(text, "Authorization: {authorization}\r\n");
    }
    if method == "GET" || method == "HEAD" {
        let _ = write!(text, "Accept: {ACCEPT}\r\n\r\n");
        return text;
    }
    let media_type = match body {
        Body::Typed(media_type, _) => media_type,
        _ => "application/octet-stream",
    };
    let _ = write!(text, "Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n", body.length());
    text
}

fn send(stream: &mut Stream, origin: &Origin, method: &str, target: &str, body: Body<'_>) -> Result<()> {
    let mut head = head(origin, method, target, body).into_bytes();
    match body {
        Body::Empty => stream.write_all(&head)?,
        Body::Typed(_, bytes) => {
            head.extend_from_slice(bytes);
            stream.write_all(&head)?;
        }
        Body::Blob(content) if content.length() <= 64 << 10 => {
            // One packet for head and content, as buffered clients send it.
            content.pieces().for_each(|piece| head.extend_from_slice(piece));
            stream.write_all(&head)?;
        }
        Body::Blob(content) => {
            stream.write_all(&head)?;
            for piece in content.pieces() {
                stream.write_all(piece)?;
            }
        }
    }
    Ok(())
}
