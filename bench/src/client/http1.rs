//! A conversation in HTTP/1.1: one request after the other, each as soon as the response to the one before is
//! there.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::connection::{Body, head};
use super::origin::Origin;
use super::pipelined::{PipelinedClient, Served};
use super::response::Reader;
use super::stream::Stream;

/// A serialized request, ready to be sent.
pub(super) struct Requests<'a> {
    targets: &'a [String],
    texts: Vec<Vec<u8>>,
}

impl<'a> Requests<'a> {
    /// GETs of these by these callers, both in turn; without callers, by whoever the origin is spoken with
    /// as.
    pub(super) fn new(origin: &Origin, targets: &'a [String], callers: &[String]) -> Self {
        let text = |number: usize| {
            let target = &targets[number % targets.len()];
            let text = match callers.get(number % callers.len().max(1)) {
                Some(caller) => {
                    let origin = origin.clone().with_authorization(caller.as_str());
                    head(&origin, "GET", target, Body::Empty)
                }
                None => head(origin, "GET", target, Body::Empty),
            };
            text.into_bytes()
        };
        Self { targets, texts: (0..targets.len().max(callers.len())).map(text).collect() }
    }
}

pub(super) struct Client<'a> {
    stream: Stream,
    requests: &'a Requests<'a>,
    reader: Reader,
    sent: Instant,
    number: usize,
    step: usize,
}

impl<'a> Client<'a> {
    /// One that asks for the request of this number first and then for each `step` further.
    pub(super) fn new(stream: Stream, requests: &'a Requests<'a>, first: usize, step: usize) -> Self {
        let number = first % requests.texts.len();
        Self { stream, requests, reader: Reader::new(false), sent: Instant::now(), number, step }
    }

    fn ask(&mut self) -> Result<()> {
        self.reader = Reader::new(false);
        self.sent = Instant::now();
        // A request is far smaller than the buffer of a socket that has nothing else to send.
        self.stream.write_all(&self.requests.texts[self.number]).context("sending a request")
    }

    /// Reads what has arrived; true when the response is complete.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let target = &self.requests.targets[self.number % self.requests.targets.len()];
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed a connection within GET {target}"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.reader.feed(&buffer[..count], None)?;
            if self.reader.done() {
                let status = self.reader.head().status;
                if status != 200 {
                    bail!("GET {target}: {status}");
                }
                return Ok(true);
            }
            // Edge-triggered readiness comes again only after the socket was read empty.
            if count < buffer.len() && self.stream.is_empty_after_short_read() {
                return Ok(false);
            }
        }
    }
}

impl PipelinedClient for Client<'_> {
    fn stream(&self) -> &Stream {
        &self.stream
    }

    fn begin(&mut self) -> Result<()> {
        self.ask()
    }

    fn advance(&mut self, buffer: &mut [u8], served: &mut Served) -> Result<bool> {
        if !self.receive(buffer)? {
            return Ok(true);
        }
        served.add(self.sent.elapsed());
        self.number = (self.number + self.step) % self.requests.texts.len();
        if self.reader.head().closes {
            return Ok(false);
        }
        self.ask()?;
        Ok(true)
    }
}
