//! Takes windows to the server over HTTP.
//!
//! Not here: how often and for how long (`relay-profiles`).
//! Invariant: the server's own patience is over before ours is, so that it says itself what it gives up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use homeostat_model::error_chain::chain;
use homeostat_relay_profiles::{
    Answer, Carrier, Carrying, Hindrance, WindowId,
    limits::{REQUEST_TIMEOUT, WAY_BYTES_PER_S, WINDOW_BYTES_MAX},
};
use homeostat_sense_receive::limits::{BODY_BYTES_MAX, BODY_TIMEOUT, DURABLE_TIMEOUT, PATIENCE};
use homeostat_sense_scrape::fetch::{FetchError, Fetcher, Sent, Unanswered};
use homeostat_wire::profiles::{REPEATED_HEADER, WINDOW_HEADER};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::runtime::retry_after::retry_after;

/// The server's door.
const PATH: &str = "/push.v1.PusherService/Push";

const _: () = assert!(WINDOW_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(WINDOW_BYTES_MAX as u64 <= WAY_BYTES_PER_S * BODY_TIMEOUT.as_secs());
const _: () =
    assert!(BODY_TIMEOUT.as_secs() + PATIENCE.as_secs() + DURABLE_TIMEOUT.as_secs() < REQUEST_TIMEOUT.as_secs());

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
            let began = Instant::now();
            match carrier.fetcher.post(&carrier.url, headers, body, REQUEST_TIMEOUT).await {
                Ok((status, headers, words)) => answer(status, &headers, words.trim()),
                Err(unanswered) => Answer::Later {
                    hindrance: hindrance_of(&unanswered, began.elapsed()),
                    after: None,
                    why: chain(&unanswered.error),
                },
            }
        })
    }
}

/// A server that gives up on a body closes the connection, and its answer may be lost with it. One that says nothing for longer
/// than it may take itself is not well.
fn hindrance_of(unanswered: &Unanswered, took: Duration) -> Hindrance {
    let is_cut = unanswered.sent == Sent::Perhaps && !matches!(unanswered.error, FetchError::Timeout(_));
    if is_cut && BODY_TIMEOUT <= took { Hindrance::Window } else { Hindrance::Server }
}

/// Whether a server of ours says that it gave up on the body, as Connect names it.
fn gave_up(words: &str) -> bool {
    let error: serde_json::Value = serde_json::from_str(words).unwrap_or_default();
    error.get("code").is_some_and(|code| code == "canceled")
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
        _ => {
            let over_it = match status {
                StatusCode::INTERNAL_SERVER_ERROR | StatusCode::REQUEST_TIMEOUT => true,
                _ => gave_up(words),
            };
            let hindrance = if over_it { Hindrance::Window } else { Hindrance::Server };
            Answer::Later { hindrance, after: retry_after(headers), why }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_cut_off_when_the_server_gives_up_is_the_windows_fault() {
        let of = |sent, error, took| hindrance_of(&Unanswered { error, sent }, took);
        let cut = || FetchError::Connect("reset".into());
        assert_eq!(of(Sent::Perhaps, cut(), BODY_TIMEOUT), Hindrance::Window);
        assert_eq!(of(Sent::Perhaps, cut(), Duration::from_secs(1)), Hindrance::Server, "a server that is restarted");
        assert_eq!(of(Sent::Nothing, cut(), BODY_TIMEOUT), Hindrance::Server);
        assert_eq!(of(Sent::Perhaps, FetchError::Timeout(REQUEST_TIMEOUT), REQUEST_TIMEOUT), Hindrance::Server);
    }

    #[test]
    fn answers_say_what_becomes_of_a_window() {
        let of = |status: u16, headers: &HeaderMap| answer(StatusCode::from_u16(status).unwrap(), headers, "x");
        let mut headers = HeaderMap::new();
        assert_eq!(of(200, &headers), Answer::Taken { repeated: false });
        for status in [400, 413, 415, 422] {
            assert!(matches!(of(status, &headers), Answer::Refused { .. }), "{status}");
        }
        for status in [301, 401, 403, 404, 429, 502, 503] {
            let hindrance = Hindrance::Server;
            assert!(
                matches!(of(status, &headers), Answer::Later { hindrance: is, after: None, .. } if is == hindrance)
            );
        }
        for status in [408, 500] {
            let hindrance = Hindrance::Window;
            assert!(
                matches!(of(status, &headers), Answer::Later { hindrance: is, after: None, .. } if is == hindrance)
            );
        }
        let slow = answer(StatusCode::SERVICE_UNAVAILABLE, &headers, r#"{"code":"canceled","message":"too slow"}"#);
        assert!(matches!(slow, Answer::Later { hindrance: Hindrance::Window, .. }), "{slow:?}");
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        headers.insert(REPEATED_HEADER, HeaderValue::from_static("true"));
        assert_eq!(of(200, &headers), Answer::Taken { repeated: true });
        let (hindrance, after) = (Hindrance::Server, Some(Duration::from_secs(7)));
        assert_eq!(
            of(429, &headers),
            Answer::Later { hindrance, after, why: "it answers 429 Too Many Requests: x".into() }
        );
    }
}
