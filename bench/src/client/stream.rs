//! The bytes of a connection, plain or through TLS, at as little cost to this side as that takes.

use std::io::{self, BufRead as _, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use rustix::net::RecvFlags;
use rustls::ClientConnection;

/// So much is received at once. rustls itself would ask the system for 4 KiB at a time.
const RECEIVED: usize = 128 << 10;

/// A connection to a server.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

/// One end of a connection of TLS.
pub(crate) struct Tls {
    session: ClientConnection,
    socket: TcpStream,
    received: Vec<u8>,
    /// Where in `received` lies what was received and not yet decrypted.
    waiting: std::ops::Range<usize>,
}

impl Stream {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    /// Whether a read that gave less than there was room for has given all there is. With TLS it gives a
    /// record at most.
    pub(crate) fn is_empty_after_short_read(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Receives some of what comes next, `most` bytes at most, and throws it away. The number of bytes; 0 at
    /// the end.
    ///
    /// Over TCP the kernel throws it away (`MSG_TRUNC`), over TLS it is decrypted and not copied.
    pub(crate) fn discard(&mut self, most: usize, window: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => {
                let room = most.min(window.len());
                let (_, count) = rustix::net::recv(&*socket, &mut window[..room], RecvFlags::TRUNC)?;
                Ok(count)
            }
            Self::Tls(tls) => {
                if !tls.decrypt()? {
                    return Ok(0);
                }
                let mut reader = tls.session.reader();
                let count = reader.fill_buf()?.len().min(most);
                reader.consume(count);
                Ok(count)
            }
        }
    }
}

impl Tls {
    pub(super) fn new(session: ClientConnection, socket: TcpStream) -> Self {
        Self { session, socket, received: vec![0; RECEIVED], waiting: 0..0 }
    }

    /// Receives and decrypts until there is something to read; `false` at the end.
    fn decrypt(&mut self) -> io::Result<bool> {
        loop {
            match self.session.reader().fill_buf() {
                Ok(plain) => return Ok(!plain.is_empty()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.waiting.is_empty() {
                let count = self.socket.read(&mut self.received)?;
                self.waiting = 0..count;
                if count == 0 {
                    // An end without a farewell of TLS is an end all the same.
                    return Ok(false);
                }
            }
            let mut waiting = &self.received[self.waiting.clone()];
            self.waiting.start += self.session.read_tls(&mut waiting)?;
            self.session
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => {
                if tls.decrypt()? {
                    tls.session.reader().read(buffer)
                } else {
                    Ok(0)
                }
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => {
                let count = tls.session.writer().write(bytes)?;
                while tls.session.wants_write() {
                    tls.session.write_tls(&mut tls.socket)?;
                }
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }
}
