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
use super::pipelined::{PipelinedClient, Served};
use crate::statistics::Latencies;

/// The connect timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of a bounded number of requests.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(120);

/// GETs in a closed loop.
pub(crate) struct Load<'a> {
    pub(crate) origin: &'a Origin,
    /// How many connections ask at once.
    pub(crate) connections: usize,
    /// The requests, sent in turn.
    pub(crate) targets: &'a [String],
    /// The values of `Authorization`, used in turn instead of the origin's.
    pub(crate) callers: &'a [String],
    pub(crate) duration: Duration,
    /// How often at most.
    pub(crate) at_most: u64,
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

    /// One GET by each of these callers, and by none of them twice. The last ones, as many as there are
    /// connections, may be under way when it ends.
    pub(crate) fn once_each(
        origin: &'a Origin,
        connections: usize,
        targets: &'a [String],
        callers: &'a [String],
    ) -> Self {
        let at_most = callers.len().saturating_sub(connections) as u64;
        Self { origin, connections, targets, callers, duration: TOTAL_TIMEOUT, at_most }
    }

    /// Runs it over HTTP/1.1. Any answer but 200 ends it with an error: a refusal is quickly given and proves
    /// nothing.
    pub(crate) fn run(&self) -> Result<Served> {
        let requests = Requests::new(self.origin, self.targets, self.callers);
        let connect = |index| {
            let stream = self.origin.connect(CONNECT_TIMEOUT, super::connection::HTTP1)?;
            Ok(http1::Client::new(stream, &requests, index, self.connections))
        };
        self.run_loop(connect)
    }

    /// Runs it over HTTP/2, with so many requests at once on each connection. All are for the first target.
    pub(crate) fn run_http2(&self, streams: usize) -> Result<Served> {
        let requests = http2::Requests::new(self.origin, &self.targets[0]);
        let connect = |_| {
            let stream = self.origin.connect(CONNECT_TIMEOUT, http2::HTTP2)?;
            Ok(http2::Client::new(stream, &requests, streams))
        };
        self.run_loop(connect)
    }

    /// So many connections, for so long. One that takes no more requests is replaced.
    fn run_loop<C: PipelinedClient>(&self, connect: impl Fn(usize) -> Result<C>) -> Result<Served> {
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
                if !clients[index].advance(&mut buffer, &mut served)? {
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
