//! The client's side of a connection as bytes: clear or TLS, with what was read too far put back in front.
//!
//! It tells [`ClientConn`] what moves, which is how slow heads and stalled clients are noticed.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::client::ClientConn;

/// How bytes travel.
#[derive(Debug)]
pub(crate) enum Transport {
    Clear(TcpStream),
    /// Boxed: TLS state is large, and most of a hundred thousand idle connections may not have any.
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug)]
pub(crate) struct ClientIo {
    transport: Transport,
    buffered: Bytes,
    conn: Rc<ClientConn>,
}

impl ClientIo {
    pub(crate) fn new(transport: Transport, buffered: Bytes, conn: Rc<ClientConn>) -> Self {
        Self { transport, buffered, conn }
    }

    /// Puts bytes back that were read but not used.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.buffered.is_empty() || bytes.is_empty(), "hyper reads what is buffered first");
        if !bytes.is_empty() {
            self.buffered = bytes;
        }
    }

    pub(crate) fn has_buffered(&self) -> bool {
        !self.buffered.is_empty()
    }

    /// Waits until there is something to read, or the end. Holds no buffer.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match &self.transport {
            Transport::Clear(stream) => stream.readable().await,
            Transport::Tls(stream) => stream.get_ref().0.readable().await,
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.conn.is_parking() {
            return Poll::Pending; // What comes now belongs to whoever holds the connection next.
        }
        if !self.buffered.is_empty() {
            let count = self.buffered.len().min(buf.remaining());
            buf.put_slice(self.buffered.get(..count).unwrap_or_default());
            self.buffered.advance(count);
            if self.buffered.is_empty() {
                self.buffered = Bytes::new(); // Lets go of the memory too.
            }
            self.conn.received();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if before < buf.filled().len() {
            self.conn.received();
        }
        polled
    }
}

impl ClientIo {
    fn noted<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.conn.wrote(polled.is_pending());
        polled
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.noted(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        self.noted(polled)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Clear(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.conn.is_parking() {
            return Poll::Ready(Ok(())); // hyper lets go, the connection lives on.
        }
        match &mut self.transport {
            Transport::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
