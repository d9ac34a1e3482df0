//! Many keep-alive connections from one thread: each sends its next request as soon as it has its response.
//!
//! One thread with epoll costs a fraction of what a thread or a task for each connection would.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::connection::{Body, head};
use super::response::Reader;
use crate::statistics::Latencies;

/// GETs in a closed loop.
pub(crate) struct Load<'a> {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// How many connections ask at once.
    pub(crate) connections: usize,
    /// What they ask for, in turn.
    pub(crate) targets: &'a [String],
    /// For how long.
    pub(crate) duration: Duration,
}

/// What came of it.
pub(crate) struct Served {
    /// Responses received whole.
    pub(crate) requests: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// The time of each, from request to end of response.
    pub(crate) latencies: Latencies,
}

impl Served {
    /// Responses a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

struct Client {
    stream: TcpStream,
    reader: Reader,
    sent: Instant,
    target: usize,
}

impl Load<'_> {
    /// Runs it. Any answer but 200 ends it with an error: a refusal is quickly given and proves nothing.
    pub(crate) fn run(&self) -> Result<Served> {
        let requests: Vec<Vec<u8>> = self
            .targets
            .iter()
            .map(|target| head(self.address, "GET", target, Body::Empty).into_bytes())
            .collect();
        let mut poll = Poll::new()?;
        let mut clients = Vec::with_capacity(self.connections);
        for index in 0..self.connections {
            let mut client = self.client(index)?;
            poll.registry().register(&mut client.stream, Token(index), Interest::READABLE)?;
            clients.push(client);
        }
        let mut served =
            Served { requests: 0, elapsed: Duration::ZERO, latencies: Latencies::with_capacity(1 << 20) };
        let mut events = Events::with_capacity(self.connections);
        let mut buffer = vec![0; 256 << 10];
        let start = Instant::now();
        for client in &mut clients {
            client.ask(&requests)?;
        }
        let end = start + self.duration;
        while Instant::now() < end {
            poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                let Token(index) = event.token();
                let client = &mut clients[index];
                if !client.receive(&mut buffer, self.targets)? {
                    continue;
                }
                served.requests += 1;
                served.latencies.add(client.sent.elapsed());
                if client.reader.head().closes {
                    *client = self.client(index)?;
                    poll.registry().register(&mut client.stream, Token(index), Interest::READABLE)?;
                }
                client.target = (client.target + self.connections) % requests.len();
                client.ask(&requests)?;
            }
        }
        served.elapsed = start.elapsed();
        if served.requests == 0 {
            bail!("no response within {:?}", self.duration);
        }
        Ok(served)
    }

    fn client(&self, index: usize) -> Result<Client> {
        let stream = std::net::TcpStream::connect(self.address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Client {
            stream: TcpStream::from_std(stream),
            reader: Reader::new(false),
            sent: Instant::now(),
            target: index % self.targets.len(),
        })
    }
}

impl Client {
    fn ask(&mut self, requests: &[Vec<u8>]) -> Result<()> {
        self.reader = Reader::new(false);
        self.sent = Instant::now();
        // A request is far smaller than the buffer of a socket that has nothing else to send.
        self.stream.write_all(&requests[self.target]).context("sending a request")
    }

    /// Reads what has arrived; true when the response is complete.
    fn receive(&mut self, buffer: &mut [u8], targets: &[String]) -> Result<bool> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed a connection within GET {}", targets[self.target]),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.reader.feed(&buffer[..count], None)?;
            if self.reader.done() {
                let status = self.reader.head().status;
                if status != 200 {
                    bail!("GET {}: {status}", targets[self.target]);
                }
                return Ok(true);
            }
            // Edge-triggered readiness comes again only after the socket was read empty; a short read says it is.
            if count < buffer.len() {
                return Ok(false);
            }
        }
    }
}
