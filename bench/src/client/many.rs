//! Many keep-alive connections from one thread: each sends its next request as soon as it has a response.
//!
//! One thread with epoll costs a fraction of what a thread or a task for each connection would.

use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::http1::{self, Requests};
use super::http2;
use super::origin::Origin;
use super::stream::Stream;
use crate::statistics::Latencies;

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a number of requests may take.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(120);

/// GETs in a closed loop.
pub(crate) struct Load<'a> {
    /// The server.
    pub(crate) origin: &'a Origin,
    /// How many connections ask at once.
    pub(crate) connections: usize,
    /// What they ask for, in turn.
    pub(crate) targets: &'a [String],
    /// What their requests carry as `Authorization`, in turn, in place of what the origin has for all.
    pub(crate) callers: &'a [String],
    /// For how long.
    pub(crate) duration: Duration,
    /// How often at most.
    pub(crate) at_most: u64,
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

    /// One more.
    pub(super) fn add(&mut self, latency: Duration) {
        self.requests += 1;
        self.latencies.add(latency);
    }
}

/// One connection, on which requests are sent and responses received without waiting for either.
pub(super) trait Conversation {
    /// What it is held on.
    fn stream(&self) -> &Stream;
    /// Sends the first requests.
    fn begin(&mut self) -> Result<()>;
    /// Takes what has arrived, all of it, and sends another request for each response that is complete. `false`
    /// where there are no more requests to be sent on this connection.
    fn go_on(&mut self, buffer: &mut [u8], served: &mut Served) -> Result<bool>;
}

impl<'a> Load<'a> {
    /// GETs of these for so long, as often as it goes.
    pub(crate) fn new(
        origin: &'a Origin,
        connections: usize,
        targets: &'a [String],
        duration: Duration,
    ) -> Self {
        Self { origin, connections, targets, callers: &[], duration, at_most: u64::MAX }
    }

    /// One GET by each of these callers, and by none of them twice. The last ones, as many as there are connections,
    /// may be under way when it ends.
    pub(crate) fn once_each(
        origin: &'a Origin,
        connections: usize,
        targets: &'a [String],
        callers: &'a [String],
    ) -> Self {
        let at_most = callers.len().saturating_sub(connections) as u64;
        Self { origin, connections, targets, callers, duration: PATIENCE_FOR_ALL, at_most }
    }

    /// Runs it over HTTP/1.1. Any answer but 200 ends it with an error: a refusal is quickly given and proves nothing.
    pub(crate) fn run(&self) -> Result<Served> {
        let requests = Requests::new(self.origin, self.targets, self.callers);
        let connect = |index| {
            let stream = self.origin.connect(PATIENCE, super::connection::HTTP1)?;
            Ok(http1::Client::new(stream, &requests, index, self.connections))
        };
        self.converse(connect)
    }

    /// Runs it over HTTP/2, with so many requests at once on each connection. All are for the first target.
    pub(crate) fn run_http2(&self, streams: usize) -> Result<Served> {
        let requests = http2::Requests::new(self.origin, &self.targets[0]);
        let connect = |_| {
            let stream = self.origin.connect(PATIENCE, http2::HTTP2)?;
            Ok(http2::Client::new(stream, &requests, streams))
        };
        self.converse(connect)
    }

    /// So many connections, for so long. One that takes no more requests is replaced.
    fn converse<C: Conversation>(&self, connect: impl Fn(usize) -> Result<C>) -> Result<Served> {
        let mut poll = Poll::new()?;
        let open = |poll: &mut Poll, index| {
            let client = connect(index)?;
            client.stream().socket().set_nonblocking(true)?;
            let source = client.stream().as_raw_fd();
            poll.registry().register(&mut SourceFd(&source), Token(index), Interest::READABLE)?;
            anyhow::Ok(client)
        };
        let mut clients =
            (0..self.connections).map(|index| open(&mut poll, index)).collect::<Result<Vec<C>>>()?;
        let mut served =
            Served { requests: 0, elapsed: Duration::ZERO, latencies: Latencies::with_capacity(1 << 20) };
        let mut events = Events::with_capacity(self.connections);
        let mut buffer = vec![0; 256 << 10];
        let start = Instant::now();
        for client in &mut clients {
            client.begin()?;
        }
        let end = start + self.duration;
        while Instant::now() < end && served.requests < self.at_most {
            poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                let Token(index) = event.token();
                if !clients[index].go_on(&mut buffer, &mut served)? {
                    // Closing it takes it out of the poll.
                    clients[index] = open(&mut poll, index)?;
                    clients[index].begin()?;
                }
            }
        }
        served.elapsed = start.elapsed();
        if served.requests == 0 {
            bail!("no response within {:?}", self.duration);
        }
        Ok(served)
    }
}
