//! Reads an HTTP/1.1 response from whatever pieces it arrives in.

use anyhow::{Context as _, Result, bail};

/// The fields of a response head that a registry client reads.
#[derive(Debug, Default, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// `Location`, without scheme and authority.
    pub(crate) location: Option<String>,
    /// The target of `Link: <…>; rel="next"`, without scheme and authority.
    pub(crate) next: Option<String>,
    /// The server will close the connection after this response.
    pub(crate) closes: bool,
}

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    ChunkSize(Vec<u8>),
    Chunk(u64),
    ChunkEnd(u8),
    Trailer(Vec<u8>),
    Done,
}

/// A response on its way in. Feed it what was received until it is done.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    pending: Vec<u8>,
    bodiless: bool,
    head: Head,
    received: u64,
}

impl Reader {
    /// For the response to a request; `bodiless` where the request was HEAD.
    pub(crate) fn new(bodiless: bool) -> Self {
        Self { state: State::Head, pending: Vec::new(), bodiless, head: Head::default(), received: 0 }
    }

    /// The whole response was received.
    pub(crate) fn done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The head. Empty until it was received.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// How many bytes of the body were received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes of a body of known length are still to come.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// So many bytes of the body were received and thrown away elsewhere.
    pub(crate) fn skip(&mut self, bytes: u64) {
        if let State::Length(left) = &mut self.state {
            *left -= bytes;
            self.received += bytes;
            if *left == 0 {
                self.state = State::Done;
            }
        }
    }

    /// Takes received bytes, puts those of the body into `body` if it is given, and says how many it used:
    /// all, unless the response ended before.
    pub(crate) fn feed(&mut self, input: &[u8], mut body: Option<&mut Vec<u8>>) -> Result<usize> {
        let mut used = 0;
        while used < input.len() && !self.done() {
            let rest = &input[used..];
            match &mut self.state {
                State::Head => used += self.feed_head(rest)?,
                State::Length(left) | State::Chunk(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    if let Some(body) = body.as_deref_mut() {
                        body.extend_from_slice(&rest[..take]);
                    }
                    used += take;
                    self.received += take as u64;
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = match self.state {
                            State::Chunk(_) => State::ChunkEnd(2),
                            _ => State::Done,
                        };
                    }
                }
                State::ChunkSize(line) => {
                    used += 1;
                    if rest[0] != b'\n' {
                        line.push(rest[0]);
                        continue;
                    }
                    let text = std::str::from_utf8(line).context("chunk size")?;
                    let digits = text.split(';').next().unwrap_or("").trim();
                    let size = u64::from_str_radix(digits, 16).context("chunk size")?;
                    self.state = if size == 0 { State::Trailer(Vec::new()) } else { State::Chunk(size) };
                }
                State::ChunkEnd(left) => {
                    used += 1;
                    *left -= 1;
                    if *left == 0 {
                        self.state = State::ChunkSize(Vec::new());
                    }
                }
                State::Trailer(line) => {
                    used += 1;
                    match rest[0] {
                        b'\r' => {}
                        b'\n' if line.is_empty() => self.state = State::Done,
                        b'\n' => line.clear(),
                        byte => line.push(byte),
                    }
                }
                State::Done => {}
            }
        }
        Ok(used)
    }

    fn feed_head(&mut self, input: &[u8]) -> Result<usize> {
        // Nearly always the whole head is in the first piece, and nothing is copied.
        let mut pending = std::mem::take(&mut self.pending);
        let before = pending.len();
        if before > 0 {
            pending.extend_from_slice(input);
        }
        let whole = if before == 0 { input } else { &pending };
        let mut fields = [httparse::EMPTY_HEADER; 48];
        let mut parsed = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = parsed.parse(whole).context("head of a response")? else {
            self.pending = whole.to_vec();
            if self.pending.len() > 64 << 10 {
                bail!("the head of a response is larger than 64 KiB");
            }
            return Ok(input.len());
        };
        let status = parsed.code.unwrap_or(0);
        let mut state = State::Length(0);
        let mut head = Head { status, ..Head::default() };
        for field in parsed.headers.iter() {
            let name = field.name;
            let value = std::str::from_utf8(field.value).unwrap_or("");
            if name.eq_ignore_ascii_case("content-length") {
                state = State::Length(value.trim().parse().context("Content-Length")?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                state = State::ChunkSize(Vec::new());
            } else if name.eq_ignore_ascii_case("location") {
                head.location = Some(target(value).to_owned());
            } else if name.eq_ignore_ascii_case("link") {
                let inner = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                head.next = inner.map(|(link, _)| target(link).to_owned());
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        // 100 Continue and its like come before the response proper.
        let informational = (100..200).contains(&status);
        let empty = self.bodiless || status == 204 || status == 304 || matches!(state, State::Length(0));
        if !informational {
            self.head = head;
            self.state = if empty { State::Done } else { state };
        }
        Ok(length - before)
    }
}

/// The path and query of a URL that may be absolute.
fn target(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in_pieces(text: &[u8], piece: usize) -> (Head, Vec<u8>, usize) {
        let mut reader = Reader::new(false);
        let mut body = Vec::new();
        let mut used = 0;
        for chunk in text.chunks(piece) {
            used += reader.feed(chunk, Some(&mut body)).expect("a response");
        }
        assert!(reader.done());
        (reader.head().clone(), body, used)
    }

    #[test]
    fn body_of_known_length_ends_where_it_should() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLink: </v2/_catalog?n=1>; rel=\"next\"\r\n\r\nhelloHTTP/1.1";
        for piece in [1, 2, 7, 1000] {
            let mut reader = Reader::new(false);
            let mut body = Vec::new();
            for chunk in text.chunks(piece) {
                reader.feed(chunk, Some(&mut body)).expect("a response");
            }
            assert!(reader.done());
            assert_eq!(body, b"hello");
            assert_eq!(reader.head().next.as_deref(), Some("/v2/_catalog?n=1"));
        }
    }

    #[test]
    fn chunked_body_is_put_together() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        for piece in [1, 3, 1000] {
            let (_, body, used) = read_in_pieces(text, piece);
            assert_eq!(body, b"abc0123456789");
            assert_eq!(used, text.len());
        }
    }

    #[test]
    fn location_loses_scheme_and_authority() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nLocation: http://h:1/v2/a?b=c\r\nContent-Length: 0\r\n\r\n";
        let (head, _, _) = read_in_pieces(text, 4);
        assert_eq!(head.status, 202);
        assert_eq!(head.location.as_deref(), Some("/v2/a?b=c"));
    }
}
