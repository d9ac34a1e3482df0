//! The settings of hyper's connections of HTTP/1.1 and HTTP/2.

use std::pin::Pin;
use std::task::{Context, Waker};

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Limits;
use crate::http::server::connection::TimedStream;
use crate::http::service::Service;

/// The number of header fields that hyper reads without an allocation.
const HYPER_HEADERS: usize = 100;
/// The size of the read and write buffers. 128 KiB saves an upload little CPU, and 32 uploads with 32
/// downloads then exceed their 32 MiB of memory.
const BUFFER: usize = 64 * 1024;
/// HTTP/2 flow control windows, of a request and of a connection. They bound the memory of a slow reader, and
/// the bytes in flight on a long line.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Configures HTTP/1.1.
pub(super) fn http1(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // `TimedStream` has the header timeout. It can tell a slow head from an idle connection.
    http.header_read_timeout(None)
        .max_buf_size(BUFFER.max(limits.header_bytes))
        .max_header_size(limits.header_bytes)
        // A client may close its sending side and read on.
        .half_close(true);
    if limits.headers != HYPER_HEADERS {
        http.max_headers(limits.headers);
    }
    http
}

/// An executor for HTTP/2. It polls a future once in place: most responses are in memory, and those of
/// concurrent requests then leave in one write. Futures that wait get a task.
#[derive(Clone, Copy)]
pub(super) struct InlineExecutor;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InlineExecutor {
    fn execute(&self, answering: F) {
        let mut answering = Box::pin(answering);
        // The new task polls again, so that no wake-up is lost.
        let mut context = Context::from_waker(Waker::noop());
        if answering.as_mut().poll(&mut context).is_pending() {
            tokio::spawn(answering);
        }
    }
}

/// Configures HTTP/2.
pub(super) fn http2(limits: &Limits) -> http2::Builder<InlineExecutor> {
    let mut http = http2::Builder::new(InlineExecutor);
    // The limits of h2 on reset streams and local errors stay as they are (CVE-2023-44487).
    http.timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(limits.streams).unwrap_or(u32::MAX))
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER);
    http
}

/// A connection with graceful shutdown.
pub(super) trait GracefulConnection: Future<Output = hyper::Result<()>> {
    /// Accepts no more requests. Those in progress may end.
    fn end(self: Pin<&mut Self>);
}

impl<S> GracefulConnection for http1::Connection<TokioIo<TimedStream<S>>, Service>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> GracefulConnection for http2::Connection<TokioIo<TimedStream<S>>, Service, InlineExecutor>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
