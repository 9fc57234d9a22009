//! Takes windows to the server over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use homeostat_model::error_chain::chain;
use homeostat_relay_profiles::{Answer, Carrier, Carrying, WindowId, limits::REQUEST_TIMEOUT};
use homeostat_sense_scrape::fetch::Fetcher;
use homeostat_wire::profiles::{REPEATED_HEADER, WINDOW_HEADER};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::runtime::retry_after::retry_after;

/// The server's door.
const PATH: &str = "/push.v1.PusherService/Push";

/// Carries requests to one server.
#[derive(Clone, Debug)]
pub(super) struct HttpCarrier {
    fetcher: Fetcher,
    url: Arc<str>,
}

impl HttpCarrier {
    /// To a server: scheme and address.
    pub(super) fn new(fetcher: Fetcher, server: &str) -> Self {
        Self { fetcher, url: format!("{}{PATH}", server.trim_end_matches('/')).into() }
    }
}

impl Carrier for HttpCarrier {
    fn carry(&self, window: WindowId, body: Bytes) -> Carrying {
        let carrier = self.clone();
        Box::pin(async move {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/proto"));
            if let Ok(value) = HeaderValue::try_from(window.to_string()) {
                headers.insert(WINDOW_HEADER, value);
            }
            match carrier.fetcher.post(&carrier.url, headers, body, REQUEST_TIMEOUT).await {
                Ok((status, headers, words)) => answer(status, &headers, words.trim()),
                Err(unanswered) => Answer::Later { after: None, why: chain(&unanswered.error) },
            }
        })
    }
}

fn answer(status: StatusCode, headers: &HeaderMap, words: &str) -> Answer {
    let why = format!("it answers {status}: {words}");
    if status.is_success() {
        return Answer::Taken { repeated: headers.contains_key(REPEATED_HEADER) };
    }
    match status {
        // What this window is will not change.
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Answer::Refused { why },
        // Everything else is mended by time or by a person: another address, a token, room.
        _ => Answer::Later { after: retry_after(headers), why },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn answers_say_what_becomes_of_a_window() {
        let of = |status: u16, headers: &HeaderMap| answer(StatusCode::from_u16(status).unwrap(), headers, "x");
        let mut headers = HeaderMap::new();
        assert_eq!(of(200, &headers), Answer::Taken { repeated: false });
        for status in [400, 413, 415, 422] {
            assert!(matches!(of(status, &headers), Answer::Refused { .. }), "{status}");
        }
        for status in [301, 401, 403, 404, 408, 429, 500, 502, 503] {
            assert!(matches!(of(status, &headers), Answer::Later { after: None, .. }), "{status}");
        }
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        headers.insert(REPEATED_HEADER, HeaderValue::from_static("true"));
        assert_eq!(of(200, &headers), Answer::Taken { repeated: true });
        let after = Some(Duration::from_secs(7));
        assert_eq!(of(429, &headers), Answer::Later { after, why: "it answers 429 Too Many Requests: x".into() });
    }
}
