//! Answers of any size in bounded memory.
//!
//! A result is written on the thread that computed it. What fits into one chunk is sent whole, with its length; a longer
//! answer is handed over piece by piece, and its writer waits while the client is slow. A client that takes nothing for
//! [`CHUNK_TIMEOUT`] loses the rest, and so does one that is gone: the body then ends without its last chunk, which every
//! HTTP client reports as an error.

use std::io::Write as _;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    error::ApiError,
    limits::{CHUNK_BYTES, CHUNK_TIMEOUT, CHUNKS_IN_FLIGHT, GZIP_FROM_BYTES},
};

/// The client takes no more of the answer.
#[derive(Debug)]
pub(crate) struct Gone;

/// Where the answer begins: the handler waits for it.
pub(crate) type Begin = oneshot::Sender<Result<Response, ApiError>>;

/// Pieces of a body; `None` says that it is complete.
type Pieces = mpsc::Sender<Option<Bytes>>;

/// Whether the client can read gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        // `q=0` forbids it.
        named && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
    })
}

/// Writes one answer.
pub(crate) struct Writer {
    /// What is not handed over yet.
    pub(crate) buffer: Vec<u8>,
    content_type: HeaderValue,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Taken when the answer begins.
    begin: Option<Begin>,
    /// There once the answer is sent in pieces.
    pieces: Option<Pieces>,
    runtime: Handle,
}

impl Writer {
    /// Must be made on a thread that knows the runtime.
    pub(crate) fn new(begin: Begin, content_type: HeaderValue, gzip: bool) -> Self {
        // Level 1: answers are text that repeats itself, and the time of a core is dearer than the wire's.
        let gzip = gzip.then(|| GzEncoder::new(Vec::new(), Compression::new(1)));
        let buffer = Vec::with_capacity(4096);
        Self { buffer, content_type, gzip, begin: Some(begin), pieces: None, runtime: Handle::current() }
    }

    /// Hands over what has piled up. To be called after every element: costs a comparison.
    pub(crate) fn checkpoint(&mut self) -> Result<(), Gone> {
        if self.buffer.len() < CHUNK_BYTES { Ok(()) } else { self.hand_over() }
    }

    /// Ends the answer.
    pub(crate) fn finish(mut self) -> Result<(), Gone> {
        if self.pieces.is_none() {
            return self.send_whole();
        }
        self.hand_over()?;
        if let Some(gzip) = self.gzip.take() {
            let rest = gzip.finish().map_err(|_| Gone)?;
            self.send(Some(rest.into()))?;
        }
        self.send(None)
    }

    fn send_whole(&mut self) -> Result<(), Gone> {
        let plain = std::mem::take(&mut self.buffer);
        let gzip = self.gzip.take().filter(|_| GZIP_FROM_BYTES <= plain.len());
        let mut response = self.head(gzip.is_some());
        *response.body_mut() = match gzip {
            None => Body::from(plain),
            Some(mut gzip) => {
                gzip.write_all(&plain).map_err(|_| Gone)?;
                Body::from(gzip.finish().map_err(|_| Gone)?)
            }
        };
        self.begin(response)
    }

    fn hand_over(&mut self) -> Result<(), Gone> {
        if self.pieces.is_none() {
            let (pieces, taken) = mpsc::channel(CHUNKS_IN_FLIGHT);
            let mut response = self.head(self.gzip.is_some());
            *response.body_mut() = body(taken);
            self.pieces = Some(pieces);
            self.begin(response)?;
        }
        let plain = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4));
        let piece = match &mut self.gzip {
            None => plain,
            Some(gzip) => {
                gzip.write_all(&plain).map_err(|_| Gone)?;
                std::mem::take(gzip.get_mut())
            }
        };
        if piece.is_empty() { Ok(()) } else { self.send(Some(piece.into())) }
    }

    fn send(&self, piece: Option<Bytes>) -> Result<(), Gone> {
        let Some(pieces) = &self.pieces else { return Ok(()) };
        match self.runtime.block_on(timeout(CHUNK_TIMEOUT, pieces.send(piece))) {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    fn head(&self, gzip: bool) -> Response {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    fn begin(&mut self, response: Response) -> Result<(), Gone> {
        self.begin.take().ok_or(Gone)?.send(Ok(response)).map_err(|_| Gone)
    }
}

/// A body of pieces. One that was not finished must not look complete: it ends in an error, which cuts the connection.
fn body(pieces: mpsc::Receiver<Option<Bytes>>) -> Body {
    Body::from_stream(stream::unfold(Some(pieces), |pieces| async {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(pieces))),
            Some(None) => None,
            None => Some((Err(std::io::Error::other("the answer was given up")), None)),
        }
    }))
}
