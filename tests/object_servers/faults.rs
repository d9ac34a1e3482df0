//! A proxy before an S3 server that answers as servers of other makes, or overloaded ones, do.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The fault that the proxy injects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None.
    Nothing,
    /// Every third request gets SlowDown.
    SlowDown,
    /// All requests get SlowDown while the overload lasts.
    Overload(&'static Overload),
    /// Every request of this number fails.
    Fail(usize),
    /// Every fourth connection ends before the answer.
    Cut,
    /// Every request of this number that has a large body ends in the middle of it, before the server has it.
    CutBody(usize),
    /// A listing ends after ten keys, without a sign of it.
    ShortListing,
    /// No answer has an ETag.
    NoEtag,
    /// Each page of a listing names the same next one.
    RepeatedToken,
    /// A listing has pages without keys, and no last one.
    EmptyPages,
    /// Every request is redirected to this server.
    Redirect(SocketAddr),
}

/// An overload of the server, of a fixed time.
pub(crate) struct Overload {
    time: Duration,
    end: Mutex<Option<Instant>>,
    refused: AtomicUsize,
}

impl Overload {
    pub(crate) fn of(time: Duration) -> &'static Self {
        Box::leak(Box::new(Self { time, end: Mutex::default(), refused: AtomicUsize::new(0) }))
    }

    /// Begins the overload.
    pub(crate) fn begin(&self) {
        *self.end.lock().expect("no panic") = Some(Instant::now() + self.time);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.lock().expect("no panic").is_some_and(|end| Instant::now() >= end)
    }

    /// The number of requests that it has refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    fn refuses(&self) -> bool {
        let refuses = self.end.lock().expect("no panic").is_some_and(|end| Instant::now() < end);
        self.refused.fetch_add(usize::from(refuses), Ordering::Relaxed);
        refuses
    }
}

impl PartialEq for Overload {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Overload {}

/// The size from which on a body is large in bytes.
const LARGE: usize = 1 << 20;

/// Starts a proxy, which ends with the test process. Returns its address.
pub(crate) fn proxy(server: SocketAddr, fault: Fault) -> SocketAddr {
    start(server, fault, Arc::default())
}

/// Starts a proxy that counts the requests that read blobs.
pub(crate) fn counting_proxy(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    (start(server, Fault::Nothing, reads.clone()), reads)
}

fn start(server: SocketAddr, fault: Fault, reads: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let large = Arc::new(AtomicUsize::new(0));
        for (number, client) in listener.incoming().flatten().enumerate() {
            let (large, reads) = (large.clone(), reads.clone());
            // A client that has gone away is no failure.
            thread::spawn(move || _ = forward(client, server, fault, number, &large, &reads));
        }
    });
    address
}

/// Forwards one request, and closes both connections.
fn forward(
    mut client: TcpStream,
    server: SocketAddr,
    fault: Fault,
    number: usize,
    large: &AtomicUsize,
    reads: &AtomicUsize,
) -> io::Result<()> {
    let is_cut = |length: usize| match fault {
        Fault::CutBody(every) if length >= LARGE => {
            large.fetch_add(1, Ordering::Relaxed).is_multiple_of(every)
        }
        _ => false,
    };
    let (head, body) = receive(&mut client, is_cut)?;
    if head.starts_with("GET ") && head.lines().next().is_some_and(|line| line.contains("/data ")) {
        reads.fetch_add(1, Ordering::Relaxed);
    }
    let is_slow = match fault {
        Fault::SlowDown => number.is_multiple_of(3),
        Fault::Overload(overload) => overload.refuses(),
        _ => false,
    };
    if is_slow {
        let text = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
        return write!(
            client,
            "HTTP/1.1 503 Slow Down\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
    }
    let reply = |client: &mut TcpStream, head: &str, body: &str| {
        write!(client, "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    if let Fault::Fail(every) = fault
        && number.is_multiple_of(every)
    {
        let text = "<Error><Code>InternalError</Code><Message>Try again.</Message></Error>";
        return reply(&mut client, "500 Internal Server Error", text);
    }
    if let Fault::Redirect(to) = fault {
        return reply(&mut client, &format!("307 Temporary Redirect\r\nLocation: http://{to}/"), "");
    }
    if matches!(fault, Fault::RepeatedToken | Fault::EmptyPages) && head.contains("list-type=2") {
        let token = if fault == Fault::EmptyPages { number } else { 0 };
        let page = format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>\
             </ListBucketResult>"
        );
        return reply(&mut client, "200 OK", &page);
    }
    let mut server = TcpStream::connect(server)?;
    server.write_all(head.trim_end().as_bytes())?;
    server.write_all(b"\r\nConnection: close\r\n\r\n")?;
    server.write_all(&body)?;
    if fault == Fault::Cut && number.is_multiple_of(4) {
        return Ok(());
    }
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let split = find(&answer, b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let mut content = answer.get(split + 4..).unwrap_or_default().to_vec();
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    match fault {
        Fault::NoEtag => lines.retain(|line| !line.to_ascii_lowercase().starts_with("etag:")),
        Fault::ShortListing if find(&content, b"<ListBucketResult").is_some() => {
            lines.retain(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
            let text = String::from_utf8_lossy(&content).into_owned();
            let ends: Vec<usize> = text.match_indices("<Contents>").map(|(at, _)| at).collect();
            if let (Some(from), Some(to)) = (ends.get(10), text.rfind("</Contents>")) {
                content = format!("{}{}", &text[..*from], &text[to + "</Contents>".len()..]).into_bytes();
            }
        }
        _ => {}
    }
    client.write_all(lines.join("\r\n").as_bytes())?;
    client.write_all(b"\r\n\r\n")?;
    client.write_all(&content)
}

/// Receives the head of a request, and its body, or half of it if `is_cut` says so of its length.
fn receive(client: &mut TcpStream, is_cut: impl Fn(usize) -> bool) -> io::Result<(String, Vec<u8>)> {
    let mut received = Vec::new();
    let mut piece = [0; 64 << 10];
    loop {
        if let Some(split) = find(&received, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..split]).into_owned();
            let length = head
                .split("\r\n")
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, length)| length.trim().parse().ok())
                .unwrap_or(0);
            let mut body = received.split_off(split + 4);
            let begun = body.len();
            if is_cut(length) {
                io::copy(&mut client.take(length as u64 / 2), &mut io::sink())?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            body.resize(length, 0);
            if begun < length {
                client.read_exact(&mut body[begun..])?;
            }
            return Ok((head, body));
        }
        match client.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => received.extend_from_slice(&piece[..read]),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
