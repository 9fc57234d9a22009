//! Why a question about profiles has no answer.

use axum::response::{IntoResponse, Response};
use homeostat_model::error_chain::chain;
use homeostat_store_profiles::QueryError;
use http::{StatusCode, header};

/// A problem with Connect's name for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "invalid_argument", text: text.into() }
    }

    pub(super) fn unavailable(text: &str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "unavailable", text: text.to_owned() }
    }

    pub(super) fn media(text: String) -> Self {
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, code: "unimplemented", text }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let text = chain(&error);
        let (status, code) = match error {
            QueryError::Remote { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            QueryError::TooMuch { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "resource_exhausted"),
            QueryError::GivenUp => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
        };
        Self { status, code, text }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "code": self.code, "message": self.text }).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from(1));
        }
        response
    }
}
