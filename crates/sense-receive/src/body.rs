//! Reading bodies within a budget that all of them share.
//!
//! A body takes its share before it is read: its declared length at once, or piece by piece when it does not declare one.
//! The share is given back when the bytes are dropped.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::limits::{BODY_TIMEOUT, PATIENCE};

/// One permit stands for so many bytes, because a semaphore counts in 32 bits.
const UNIT: usize = 1024;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBody {
    /// It is longer than what is taken.
    TooLarge,
    /// There is no room for it now.
    NoRoom,
    /// It did not come in time.
    TooSlow,
    /// It ended before it was complete.
    Broken,
}

/// Bytes that all bodies share.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    units: usize,
    body_bytes_max: usize,
}

/// A body with its share of the budget.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl Budget {
    /// `total` bytes for all, `body_bytes_max` for one.
    pub(crate) fn new(total: usize, body_bytes_max: usize) -> Self {
        let units = total.max(body_bytes_max).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), units, body_bytes_max }
    }

    /// Bytes that are in use.
    pub(crate) fn used(&self) -> usize {
        self.units.saturating_sub(self.free.available_permits()) * UNIT
    }

    /// Reads a body.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Held, NoBody> {
        let declared = declared(headers);
        if declared.is_some_and(|declared| self.body_bytes_max < declared) {
            return Err(NoBody::TooLarge);
        }
        // Even an empty body holds something: its request.
        let share = self.share(declared.unwrap_or(UNIT).max(1)).await?;
        match timeout(BODY_TIMEOUT, self.collect(body, share, declared.unwrap_or(0))).await {
            Ok(held) => held,
            Err(_elapsed) => Err(NoBody::TooSlow),
        }
    }

    async fn collect(&self, mut body: Body, mut share: OwnedSemaphorePermit, expected: usize) -> Result<Held, NoBody> {
        let mut bytes = BytesMut::with_capacity(expected);
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| NoBody::Broken)?.into_data() else { continue };
            let len = bytes.len() + piece.len();
            if self.body_bytes_max < len {
                return Err(NoBody::TooLarge);
            }
            let missing = len.div_ceil(UNIT).saturating_sub(share.num_permits());
            if missing > 0 {
                // Waiting here would hold what others wait for.
                let more = Arc::clone(&self.free).try_acquire_many_owned(missing as u32);
                share.merge(more.map_err(|_| NoBody::NoRoom)?);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Held { bytes: bytes.freeze(), _share: share })
    }

    async fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, NoBody> {
        let units = bytes.div_ceil(UNIT) as u32;
        match timeout(PATIENCE, Arc::clone(&self.free).acquire_many_owned(units)).await {
            Ok(Ok(share)) => Ok(share),
            _ => Err(NoBody::NoRoom),
        }
    }
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::HeaderValue;

    use super::*;

    fn headers(len: usize) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(len))])
    }

    fn pieces(count: usize) -> Body {
        let pieces = (0..count).map(|_| Ok::<_, Infallible>(Bytes::from_static(&[7; 1024])));
        Body::from_stream(futures_util::stream::iter(pieces))
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_share_the_budget_and_give_it_back() {
        let budget = Budget::new(8 * 1024, 6 * 1024);
        let first = budget.read(&headers(6 * 1024), pieces(6)).await.unwrap();
        assert_eq!((first.bytes.len(), budget.used()), (6 * 1024, 6 * 1024));
        assert_eq!(budget.read(&headers(3 * 1024), pieces(3)).await.unwrap_err(), NoBody::NoRoom);
        // Without a length the room is found out on the way.
        assert_eq!(budget.read(&HeaderMap::new(), pieces(3)).await.unwrap_err(), NoBody::NoRoom);
        drop(first);
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.read(&HeaderMap::new(), pieces(3)).await.unwrap().bytes.len(), 3 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn long_slow_and_broken_bodies_are_told_apart() {
        let budget = Budget::new(8 * 1024, 4 * 1024);
        assert_eq!(budget.read(&headers(5 * 1024), pieces(5)).await.unwrap_err(), NoBody::TooLarge);
        assert_eq!(budget.read(&HeaderMap::new(), pieces(5)).await.unwrap_err(), NoBody::TooLarge);
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(budget.read(&headers(10), never).await.unwrap_err(), NoBody::TooSlow);
        let broken = Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(budget.read(&headers(10), broken).await.unwrap_err(), NoBody::Broken);
        assert_eq!(budget.used(), 0);
    }
}
