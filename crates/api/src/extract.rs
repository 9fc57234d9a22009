//! Parts of a request as checked values; whatever does not fit becomes a problem that says why.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use bytes::Bytes;
use homeostat_model::{ActionId, IncidentId};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::{
    limits::{BODY_BYTES_MAX, BODY_TIMEOUT},
    problem::Problem,
};

/// Segments of the path that the route names, in order.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

/// The query string.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

/// A JSON body of at most [`BODY_BYTES_MAX`]; no body at all counts as `{}`.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(_)) => return Err(Problem::bad_request("the body ended before it was complete")),
            Err(_elapsed) => {
                let detail = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail));
            }
        };
        parse(&parts.headers, &body).map(Self)
    }
}

fn too_large() -> Problem {
    let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    if !body.is_empty() && !is_json(headers) {
        let detail = "send the body with `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    // A struct can also be read from a list of its fields; nobody means that.
    if text.trim_ascii_start().first() != Some(&b'{') && serde_json::from_slice::<IgnoredAny>(text).is_ok() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", "the body must be a JSON object"));
    }
    serde_json::from_slice(text).map_err(|error| {
        // A type of ours may stop reading before a syntax error further on: what is not JSON at all is 400 in any case.
        if let Err(syntax) = serde_json::from_slice::<IgnoredAny>(text) {
            let detail = format!("the body is not JSON: {syntax}");
            return Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail);
        }
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", format!("the body does not fit: {error}"))
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// `3` or `INC-3`.
pub(crate) fn incident_id(text: &str) -> Result<IncidentId, Problem> {
    number(text, "INC-")
        .map(IncidentId)
        .ok_or_else(|| Problem::bad_request(format!("`{text}` is not an incident such as INC-3")))
}

/// `7` or `A-7`.
pub(crate) fn action_id(text: &str) -> Result<ActionId, Problem> {
    number(text, "A-")
        .map(ActionId)
        .ok_or_else(|| Problem::bad_request(format!("`{text}` is not an action such as A-7")))
}

fn number(text: &str, prefix: &str) -> Option<u64> {
    let digits = match text.split_at_checked(prefix.len()) {
        Some((head, digits)) if head.eq_ignore_ascii_case(prefix) => digits,
        _ => text,
    };
    // `parse` alone would take a sign.
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_with_and_without_their_prefix() {
        for (text, expected) in [
            ("3", Some(3)),
            ("INC-3", Some(3)),
            ("inc-3", Some(3)),
            ("+3", None),
            ("", None),
            ("A-3", None),
            ("ü-3", None),
        ] {
            assert_eq!(incident_id(text).ok(), expected.map(IncidentId), "{text}");
        }
        assert_eq!(action_id("A-18446744073709551615").ok(), Some(ActionId(u64::MAX)));
        assert!(action_id("18446744073709551616").is_err());
    }
}
