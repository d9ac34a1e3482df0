//! A conversation in HTTP/2 (RFC 9113): several requests at once, all for the same target.
//!
//! Only what a load generator needs of it is here. Requests are compressed as clients compress them (RFC
//! 7541): their fields are spelled out once on each connection and named by number from then on. Of a
//! response its status is looked at, which comes first in a block of fields, and its end; what is between is
//! counted.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::connection::{ACCEPT, USER_AGENT};
use super::origin::Origin;
use super::pipelined::{PipelinedClient, Served};
use super::stream::Stream;

/// The ALPN protocols offered in a TLS handshake.
pub(super) const HTTP2: &[&[u8]] = &[b"h2"];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The length of a frame's head (section 4.1).
const HEAD: usize = 9;
/// Types of frames (section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// The setting of a stream's window (section 6.5.2), and what Go's clients, docker among them, set it to.
const INITIAL_WINDOW_SIZE: u16 = 4;
const STREAM_WINDOW: u32 = 4 << 20;
/// By how much the connection's window is raised at the beginning, and whenever so much of it was used.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// `:status: 200` in a block of fields: entry 8 of the static table (RFC 7541, appendix A).
const OK: u8 = 0x88;
/// Streams are told apart by numbers of 31 bits; a connection that is near their end takes no more requests.
const LAST_STREAM: u32 = (1 << 31) - 1;

/// The fields of the request, ready to be sent.
pub(super) struct Requests {
    /// Spelled out, as the server sees them first.
    first: Vec<u8>,
    /// By the numbers under which it has kept them then.
    again: Vec<u8>,
}

impl Requests {
    /// A GET of this target.
    pub(super) fn new(origin: &Origin, target: &str) -> Self {
        // `:method: GET` and `:scheme` are in the static table, with their values.
        let beginning = [0x82, if origin.scheme() == "https" { 0x87 } else { 0x86 }];
        let address = origin.address().to_string();
        // The others with the number of their name in the static table.
        let mut fields = vec![(4, target), (1, address.as_str()), (58, USER_AGENT), (19, ACCEPT)];
        fields.extend(origin.authorization().map(|authorization| (23, authorization)));
        let mut first = beginning.to_vec();
        for &(name, value) in &fields {
            // A literal field that is to be kept (RFC 7541, section 6.2.1).
            first.push(0x40 | name);
            write_length(&mut first, value.len());
            first.extend_from_slice(value.as_bytes());
        }
        // The newest entry of the dynamic table has index 62, older ones follow (RFC 7541, section 2.3.3).
        let kept = (0..fields.len()).rev().map(|place| 0x80 | (62 + u8::try_from(place).unwrap_or(0)));
        Self { first, again: beginning.into_iter().chain(kept).collect() }
    }
}

/// The length of a string: an integer with a prefix of seven bits (RFC 7541, section 5.1), without Huffman's
/// code.
fn write_length(out: &mut Vec<u8>, length: usize) {
    if length < 127 {
        out.push(u8::try_from(length).unwrap_or(0));
        return;
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

fn write_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

pub(super) struct Client<'a> {
    stream: Stream,
    requests: &'a Requests,
    streams: usize,
    next: u32,
    under_way: Vec<(u32, Instant)>,
    /// The beginning of a frame that has not arrived whole. Of content only the head is kept.
    pending: Vec<u8>,
    /// How many bytes of content are still to be skipped.
    skip: usize,
    /// The stream that ends with these headers.
    ending: Option<u32>,
    /// How much of the connection's window was used.
    used: u32,
    sending: Vec<u8>,
}

impl<'a> Client<'a> {
    /// One with so many requests at once.
    pub(super) fn new(stream: Stream, requests: &'a Requests, streams: usize) -> Self {
        Self {
            stream,
            requests,
            streams,
            next: 1,
            under_way: Vec::with_capacity(streams),
            pending: Vec::new(),
            skip: 0,
            ending: None,
            used: 0,
            sending: Vec::new(),
        }
    }

    fn ask(&mut self) {
        let fields = if self.next == 1 { &self.requests.first } else { &self.requests.again };
        write_head(&mut self.sending, fields.len(), HEADERS, END_STREAM | END_HEADERS, self.next);
        self.sending.extend_from_slice(fields);
        self.under_way.push((self.next, Instant::now()));
        self.next += 2;
    }

    fn send(&mut self) -> Result<()> {
        if !self.sending.is_empty() {
            self.stream.write_all(&self.sending).context("sending requests")?;
            self.sending.clear();
        }
        Ok(())
    }

    fn feed(&mut self, mut input: &[u8], served: &mut Served) -> Result<()> {
        loop {
            let skipped = self.skip.min(input.len());
            self.skip -= skipped;
            input = &input[skipped..];
            if self.skip == 0
                && let Some(stream) = self.ending.take()
            {
                self.answered(stream, served)?;
            }
            if input.is_empty() {
                return Ok(());
            }
            if !self.pending.is_empty() || input.len() < HEAD {
                // Rare: most pieces begin with a frame and end with one.
                let missing = match self.pending.get(..HEAD) {
                    Some(head) => HEAD + kept(head) - self.pending.len(),
                    None => HEAD - self.pending.len(),
                };
                let (taken, rest) = input.split_at(missing.min(input.len()));
                self.pending.extend_from_slice(taken);
                input = rest;
                if self.pending.len() >= HEAD && self.pending.len() == HEAD + kept(&self.pending) {
                    let frame = std::mem::take(&mut self.pending);
                    self.frame(&frame, served)?;
                }
                continue;
            }
            let whole = HEAD + kept(input);
            if input.len() < whole {
                self.pending.extend_from_slice(input);
                return Ok(());
            }
            let (frame, rest) = input.split_at(whole);
            input = rest;
            self.frame(frame, served)?;
        }
    }

    /// Takes a frame; of content, only its head.
    fn frame(&mut self, frame: &[u8], served: &mut Served) -> Result<()> {
        let (kind, flags, payload) = (frame[3], frame[4], &frame[HEAD..]);
        let stream = u32::from_be_bytes([frame[5] & 0x7f, frame[6], frame[7], frame[8]]);
        match kind {
            DATA => {
                self.skip = length(frame);
                self.used += u32::try_from(self.skip).unwrap_or(u32::MAX);
                if self.used >= CONNECTION_WINDOW {
                    write_head(&mut self.sending, 4, WINDOW_UPDATE, 0, 0);
                    self.sending.extend_from_slice(&self.used.to_be_bytes());
                    self.used = 0;
                }
            }
            HEADERS if payload.first() != Some(&OK) => bail!("an answer that is not 200"),
            SETTINGS if flags & ACK == 0 => write_head(&mut self.sending, 0, SETTINGS, ACK, 0),
            PING if flags & ACK == 0 => {
                write_head(&mut self.sending, payload.len(), PING, ACK, 0);
                self.sending.extend_from_slice(payload);
            }
            RST_STREAM | GOAWAY => bail!("the server gave up: {payload:?}"),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            if self.skip > 0 {
                self.ending = Some(stream);
            } else {
                self.answered(stream, served)?;
            }
        }
        Ok(())
    }

    /// An answer is there to its end: the next request takes its place.
    fn answered(&mut self, stream: u32, served: &mut Served) -> Result<()> {
        let place = self.under_way.iter().position(|&(number, _)| number == stream);
        let (_, sent) = self.under_way.swap_remove(place.context("an answer that nobody asked for")?);
        served.add(sent.elapsed());
        if self.next < LAST_STREAM {
            self.ask();
        }
        Ok(())
    }
}

/// The length of a frame's payload, from its head.
fn length(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

/// How much of a frame's payload is looked at: all, but of content nothing.
fn kept(head: &[u8]) -> usize {
    if head[3] == DATA { 0 } else { length(head) }
}

impl PipelinedClient for Client<'_> {
    fn stream(&self) -> &Stream {
        &self.stream
    }

    fn begin(&mut self) -> Result<()> {
        self.sending.extend_from_slice(PREFACE);
        write_head(&mut self.sending, 6, SETTINGS, 0, 0);
        self.sending.extend_from_slice(&INITIAL_WINDOW_SIZE.to_be_bytes());
        self.sending.extend_from_slice(&STREAM_WINDOW.to_be_bytes());
        write_head(&mut self.sending, 4, WINDOW_UPDATE, 0, 0);
        self.sending.extend_from_slice(&CONNECTION_WINDOW.to_be_bytes());
        (0..self.streams).for_each(|_| self.ask());
        self.send()
    }

    fn advance(&mut self, buffer: &mut [u8], served: &mut Served) -> Result<bool> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.feed(&buffer[..count], served)?;
            if count < buffer.len() && self.stream.is_empty_after_short_read() {
                break;
            }
        }
        self.send()?;
        Ok(!self.under_way.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_request_is_named_by_its_index() {
        let origin = Origin::plain(([127, 0, 0, 1], 5000).into()).with_authorization("Basic YTpi");
        let requests = Requests::new(&origin, "/v2/");
        assert_eq!(requests.first[..8], [0x82, 0x86, 0x44, 4, b'/', b'v', b'2', b'/']);
        assert_eq!(requests.again, [0x82, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);
    }

    #[test]
    fn lengths_are_written_as_the_rfc_says() {
        let written = |length| {
            let mut out = Vec::new();
            write_length(&mut out, length);
            out
        };
        assert_eq!(written(10), [10]);
        assert_eq!(written(127), [127, 0]);
        assert_eq!(written(1337), [127, 0xba, 9]);
    }
}
