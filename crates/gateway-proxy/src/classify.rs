//! From what was answered to the class that is counted.
//!
//! Plain HTTP says how it went in the status. gRPC says it at the very end, in the trailer `grpc-status` (or in the head
//! when there is no body), under an HTTP status that is nearly always 200: only the end of the answer tells.
//!
//! Source: gRPC over HTTP/2 protocol; the meaning of its status codes as documented by the project.

use homeostat_model::OutcomeClass;
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// Whether a message is gRPC, by its content type.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
            // `application/grpc-web` frames its trailers into the body; its status is not visible here.
            && matches!(value.get(16), None | Some(b'+' | b';' | b' '))
    })
}

/// Returns the gRPC status in headers or trailers; a value that is no number is 2 (unknown), as gRPC clients read it.
pub fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    let number = |value: &HeaderValue| value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    headers.get("grpc-status").map(number)
}

/// Class of a complete answer. `grpc_status` is `None` when a gRPC answer ended without one: that is an error too.
pub fn complete(status: StatusCode, is_grpc: bool, grpc_status: Option<u32>) -> OutcomeClass {
    if status.is_server_error() {
        return OutcomeClass::ServerError;
    }
    if status.is_client_error() {
        return OutcomeClass::ClientError;
    }
    if !is_grpc {
        return OutcomeClass::Ok;
    }
    match grpc_status {
        Some(0) => OutcomeClass::Ok,
        // Unknown, deadline exceeded, unimplemented, internal, unavailable, data loss.
        None | Some(2 | 4 | 12 | 13 | 14 | 15) => OutcomeClass::ServerError,
        Some(_) => OutcomeClass::ClientError,
    }
}

/// gRPC status for an error of the gateway's own, from the HTTP status it would have had.
pub fn grpc_status_for(status: StatusCode) -> u32 {
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => 8,
        StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::REQUEST_TIMEOUT => 1,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_grpc_answer_decides() {
        use OutcomeClass::{ClientError, Ok, ServerError};
        for (status, grpc, code, class) in [
            (200, false, None, Ok),
            (304, false, None, Ok),
            (404, false, None, ClientError),
            (503, false, None, ServerError),
            (200, true, Some(0), Ok),
            (200, true, Some(5), ClientError),
            (200, true, Some(16), ClientError),
            (200, true, Some(2), ServerError),
            (200, true, Some(4), ServerError),
            (200, true, Some(12), ServerError),
            (200, true, Some(13), ServerError),
            (200, true, Some(14), ServerError),
            (200, true, Some(15), ServerError),
            (200, true, None, ServerError),
            (502, true, Some(0), ServerError),
        ] {
            assert_eq!(complete(StatusCode::from_u16(status).expect("status"), grpc, code), class, "{status} {code:?}");
        }
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_grpc(&headers), expected, "{value}");
        }
    }
}
