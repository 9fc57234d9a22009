//! Answers of the gateway's own: short, for machines and people, saying what to do.
//!
//! HTTP clients get `application/problem+json` (RFC 9457), gRPC clients a status without a body. Nothing of the request
//! is echoed (to `HEAD` the head alone), so nothing in an answer can be made to speak for somebody else.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::{body::AnswerBody, classify};

/// Which dialect the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Http,
    /// HTTP, asking with `HEAD`.
    Head,
    Grpc,
}

impl Dialect {
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        match classify::is_grpc(headers) {
            true => Self::Grpc,
            false if method == Method::HEAD => Self::Head,
            false => Self::Http,
        }
    }
}

/// Builds an answer with this status. `detail` must be plain ASCII without quotes, backslashes and control characters.
pub(crate) fn problem(status: StatusCode, detail: &'static str, dialect: Dialect) -> Response<AnswerBody> {
    match dialect {
        Dialect::Http => http_problem(status, detail),
        Dialect::Head => http_problem(status, detail).map(|_| AnswerBody::empty()),
        Dialect::Grpc => grpc_problem(status, detail),
    }
}

fn http_problem(status: StatusCode, detail: &'static str) -> Response<AnswerBody> {
    let title = status.canonical_reason().unwrap_or("Error");
    let json = format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{},\"detail\":\"{detail}\"}}\n",
        status.as_u16()
    );
    let length = HeaderValue::from(json.len());
    let mut response = Response::new(AnswerBody::own(Bytes::from(json)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn grpc_problem(status: StatusCode, detail: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(classify::grpc_status_for(status)));
    headers.insert("grpc-message", HeaderValue::from_static(detail));
    response
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;
    use crate::policy::Rejection;

    #[test]
    fn every_detail_is_safe_inside_json_and_headers() {
        for rejection in Rejection::ALL {
            let detail = rejection.detail();
            assert!(detail.bytes().all(|b| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\'), "{detail}");
            let response = problem(rejection.status(), detail, Dialect::Grpc);
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.headers().contains_key("grpc-status"));
            let (full, head) = (
                problem(rejection.status(), detail, Dialect::Http),
                problem(rejection.status(), detail, Dialect::Head),
            );
            assert_eq!(full.headers(), head.headers());
            assert!(!full.body().is_end_stream() && head.body().is_end_stream());
        }
    }
}
