//! OTLP over gRPC: the unary call `MetricsService/Export`, on any HTTP/2 server; and how any such call is read and answered.
//!
//! A message is a flag, its length in four bytes (big endian) and its bytes. Success is a message with the trailer
//! `grpc-status: 0`; an error is the status among the headers and nothing else. Who should try again is told when, in a
//! `google.rpc.RetryInfo` within `grpc-status-details-bin`.
//!
//! Not here: streams, other services (told as unimplemented), HTTP/2 itself.
//! Sources: `grpc/grpc` `doc/PROTOCOL-HTTP2.md`; `googleapis/googleapis` `google/rpc/{status,error_details}.proto`.

use std::{convert::Infallible, fmt::Write as _, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::{BufMut as _, BytesMut};
use homeostat_wire::{
    otlp::{OtlpOutcome, profiles::ProfilesVersion, response},
    protobuf::{put_bytes, put_message, put_text, put_uint},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

use crate::{
    intake::Intake,
    limits::RETRY_AFTER_S,
    media::{self, Format},
    otlp::{Message, OtlpReceiver, status_message},
    problem::{Kind, Problem},
};

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// Flag and length in front of a message.
const HEAD_BYTES: usize = 5;

/// The call, and a word for all others.
pub(crate) fn router<I: Intake>(receiver: &Arc<OtlpReceiver<I>>) -> Router {
    Router::new().route(EXPORT, post(export::<I>)).fallback(unknown).with_state(Arc::clone(receiver))
}

async fn unknown(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    let profiles = ProfilesVersion::V1Development.grpc_path();
    let text = format!("{path} is not served here; metrics go to {EXPORT}, profiles to {profiles}");
    failed(&Problem::new(Kind::Media, text))
}

/// The answer to who does not speak gRPC; `None` for who does.
pub(crate) fn not_grpc(headers: &HeaderMap) -> Option<Response> {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if matches!(kind.strip_prefix(b"application/grpc"), Some(b"" | b"+proto")) {
        return None;
    }
    let text = "this address speaks gRPC; OTLP over HTTP has its own\n";
    Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response())
}

async fn export<I: Intake>(State(receiver): State<Arc<OtlpReceiver<I>>>, request: Request) -> Response {
    if let Some(response) = not_grpc(request.headers()) {
        receiver.counters.answered("http", response.status().as_u16());
        return response;
    }
    match take(&receiver, request).await {
        Ok(outcome) => {
            receiver.counters.answered("grpc", 0);
            done(&response(&outcome))
        }
        Err(problem) => {
            receiver.counters.answered("grpc", problem.code().into());
            failed(&problem)
        }
    }
}

async fn take<I: Intake>(receiver: &Arc<OtlpReceiver<I>>, request: Request) -> Result<OtlpOutcome, Problem> {
    let gzip = media::gzip(request.headers(), "grpc-encoding").map_err(|text| Problem::new(Kind::Media, text))?;
    let held = receiver.read(request).await?;
    let (packed, inside) = message(&held.bytes, gzip)?;
    let bytes = held.bytes.slice_ref(inside);
    receiver.store(held, Message { bytes, format: Format::Protobuf, gzip: packed }).await
}

/// The one message of a body, and whether it is packed, which it may be when the sender said how.
pub(crate) fn message(body: &[u8], knows_gzip: bool) -> Result<(bool, &[u8]), Problem> {
    let wrong = |text: String| Problem::new(Kind::Unreadable, text);
    let Some((&[flag, l0, l1, l2, l3], rest)) = body.split_first_chunk::<HEAD_BYTES>() else {
        return Err(wrong("there is no message".to_owned()));
    };
    let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if flag > 1 {
        return Err(wrong(format!("a message begins with the flag {flag}, which is neither 0 nor 1")));
    }
    if rest.len() != len {
        return Err(wrong(format!("one message is expected; it has {len} bytes, but {} came", rest.len())));
    }
    if flag == 1 && !knows_gzip {
        return Err(wrong("the message is packed, but `grpc-encoding` does not say how".to_owned()));
    }
    Ok((flag == 1, rest))
}

/// Success with this message.
pub(crate) fn done(message: &[u8]) -> Response {
    let mut body = BytesMut::with_capacity(HEAD_BYTES + message.len());
    body.put_u8(0);
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let trailers = std::future::ready(Some(Ok::<_, Infallible>(trailers)));
    answer(Body::new(Full::new(body.freeze()).with_trailers(trailers)))
}

/// An error and nothing else.
pub(crate) fn failed(problem: &Problem) -> Response {
    let mut response = answer(Body::empty());
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(u16::from(problem.code())));
    // Percent-encoded texts and Base64 are ASCII, so they always are headers.
    let header = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    headers.insert("grpc-message", header(percent_encoded(&problem.text)));
    if problem.retry() {
        headers.insert("grpc-status-details-bin", header(BASE64_STANDARD_NO_PAD.encode(details(problem))));
    }
    response
}

fn answer(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
    response
}

/// `google.rpc.Status` with a `RetryInfo`.
fn details(problem: &Problem) -> Vec<u8> {
    let mut retry = Vec::new();
    put_message(1, &mut retry, |delay| put_uint(1, RETRY_AFTER_S, delay));
    let mut out = status_message(problem);
    put_message(3, &mut out, |any| {
        put_text(1, "type.googleapis.com/google.rpc.RetryInfo", any);
        put_bytes(2, &retry, any);
    });
    out
}

/// Printable ASCII as it is, everything else as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            // A text takes everything.
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_message_is_taken() {
        let of = |bytes: &'static [u8]| message(bytes, true);
        assert_eq!(of(b"\0\0\0\0\x02ab"), Ok((false, &b"ab"[..])));
        assert_eq!(of(b"\x01\0\0\0\0"), Ok((true, &b""[..])));
        assert_eq!(message(b"\x01\0\0\0\0", false).unwrap_err().kind, Kind::Unreadable);
        for bad in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\x02abc", b"\x02\0\0\0\0", b"\0\xff\xff\xff\xff"]
        {
            assert_eq!(of(bad).unwrap_err().kind, Kind::Unreadable, "{bad:?}");
        }
    }

    #[test]
    fn words_fit_into_a_header() {
        assert_eq!(percent_encoded("50 % of ü\n"), "50 %25 of %C3%BC%0A");
    }
}
