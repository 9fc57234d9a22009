//! Bodies on their way through: the request going up, the answer coming down.
//!
//! Both pass frames on one by one, so a slow reader holds the writer back through every buffer in between, and neither holds
//! more than one frame itself. The request body counts bytes against the limit. The answer body is where a request ends:
//! it reports the end of data or trailers, a break, or (by being dropped) that the client has gone.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use homeostat_model::OutcomeClass;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    client::Busy,
    exchange::{BodyFault, Exchange, Owner},
};

/// Why a body broke off. hyper closes the connection or resets the stream; the text is for its logs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the client broke off or broke the framing of its request body")]
    Client,
    #[error("the request body is larger than allowed")]
    TooLarge,
    #[error("the request is over: a time limit was hit or its answer is complete")]
    Over,
    #[error("the upstream broke off its answer")]
    Upstream,
}

/// The request body on its way to the upstream.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Holds what is yet to come.
    exchange: Rc<Exchange>,
    bytes_left: u64,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, exchange: Rc<Exchange>, bytes_max: u64) -> Self {
        if inner.is_end_stream() {
            return Self::empty(exchange);
        }
        exchange.uploading(inner);
        Self { exchange, bytes_left: bytes_max }
    }

    pub(crate) fn empty(exchange: Rc<Exchange>) -> Self {
        exchange.request_complete();
        Self { exchange, bytes_left: 0 }
    }

    fn passed(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        if let Some(data) = frame.data_ref() {
            let Some(left) = self.bytes_left.checked_sub(data.len() as u64) else {
                self.exchange.request_failed(BodyFault::TooLarge);
                return Err(BodyError::TooLarge);
            };
            self.bytes_left = left;
        }
        if frame.is_trailers() || self.is_end_stream() {
            self.exchange.request_complete();
        } else {
            self.exchange.request_moved();
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.exchange.has_ended() || self.exchange.expiry().is_some() {
            return Poll::Ready(Some(Err(BodyError::Over)));
        }
        let polled = self.exchange.with_upload(|body| Pin::new(body).poll_frame(cx));
        let Some(polled) = polled else { return Poll::Ready(None) };
        match polled {
            Poll::Pending => {
                self.exchange.request_waits();
                self.exchange.park_upload(cx.waker());
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.passed(&frame).map(|()| frame))),
            Poll::Ready(Some(Err(_))) => {
                self.exchange.request_failed(BodyFault::Broken);
                Poll::Ready(Some(Err(BodyError::Client)))
            }
            Poll::Ready(None) => {
                self.exchange.request_complete();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.with_upload(|body| body.is_end_stream()).unwrap_or(true)
    }

    fn size_hint(&self) -> SizeHint {
        self.exchange.with_upload(|body| body.size_hint()).unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

/// The answer on its way to the client.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    source: Source,
    /// Keeps the client's connection busy until the answer is through; never read, only dropped.
    busy: Option<Busy>,
}

#[derive(Debug)]
enum Source {
    Own(Option<Bytes>),
    Upstream(Owner),
}

impl AnswerBody {
    /// A text of the gateway's own.
    pub(crate) fn own(text: Bytes) -> Self {
        Self { source: Source::Own(Some(text)), busy: None }
    }

    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self { source: Source::Own(None), busy: None }
    }

    /// What the upstream sends; the exchange must hold its answer.
    pub(crate) fn upstream(owner: Owner) -> Self {
        Self { source: Source::Upstream(owner), busy: None }
    }

    pub(crate) fn keeping(mut self, busy: Busy) -> Self {
        self.busy = Some(busy);
        self
    }
}

fn poll_upstream(exchange: &Exchange, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    let polled = exchange.with_answer(|answer| {
        let polled = Pin::new(&mut answer.body).poll_frame(cx);
        (polled, answer.body.is_end_stream())
    });
    let Some((polled, is_last)) = polled else {
        let is_cut = exchange.expiry().is_some();
        return Poll::Ready(is_cut.then_some(Err(BodyError::Over)));
    };
    match polled {
        Poll::Pending => {
            exchange.answer_waits();
            exchange.park(cx.waker());
            Poll::Pending
        }
        Poll::Ready(Some(Ok(frame))) => {
            exchange.answer_moved();
            if let Some(trailers) = frame.trailers_ref() {
                exchange.trailers(trailers);
            }
            // hyper may not ask again after the last frame, so the end is reported with it.
            if is_last || frame.is_trailers() {
                exchange.complete();
            }
            Poll::Ready(Some(Ok(frame)))
        }
        Poll::Ready(Some(Err(_))) => {
            // A request that the client broke off breaks the answer to it off, too.
            let is_clients_fault = exchange.body_fault().is_some();
            exchange.finish(if is_clients_fault { OutcomeClass::ClientError } else { OutcomeClass::Reset });
            Poll::Ready(Some(Err(BodyError::Upstream)))
        }
        Poll::Ready(None) => {
            exchange.complete();
            Poll::Ready(None)
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Upstream(owner) => poll_upstream(owner.exchange(), cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(text) => text.is_none(),
            Source::Upstream(owner) => owner.exchange().has_ended() && owner.exchange().expiry().is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Upstream(owner) => {
                let hint = owner.exchange().with_answer(|answer| answer.body.size_hint());
                hint.unwrap_or_else(|| SizeHint::with_exact(0))
            }
        }
    }
}
