//! Errors of the Prometheus API: `{"status":"error","errorType":…,"error":…}` with the status that belongs to the type.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use homeostat_model::error_chain::chain;
use homeostat_promql::SourceError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::backend::Stop;

/// What kind of error it is, by the names that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorKind {
    /// A parameter is missing or wrong: 400.
    BadData,
    /// The query is right, but cannot be carried out: 422.
    Execution,
    /// It took too long: 503.
    Timeout,
    /// It was given up before its end: 503.
    Canceled,
    /// Our fault, or the disk's: 500.
    Internal,
    /// There is no such thing: 404.
    NotFound,
    /// Not now: 503.
    Unavailable,
}

impl ErrorKind {
    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout | Self::Canceled | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { status: kind.status(), kind, text: text.into() }
    }

    pub(crate) fn bad_data(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, text)
    }

    /// A parameter that cannot be used.
    pub(crate) fn parameter(name: &str, problem: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {problem}"))
    }

    /// What a failure of the store means to the client.
    pub(crate) fn of_source(error: &SourceError, stop: &Stop) -> Self {
        match error {
            SourceError::Cancelled => Self::stopped(stop),
            SourceError::Limit { .. } => Self::new(ErrorKind::Execution, error.to_string()),
            SourceError::Storage(_) => {
                let text = chain(error);
                tracing::error!(error = %text, "series cannot be read");
                Self::new(ErrorKind::Internal, text)
            }
        }
    }

    /// A query that was told to stop.
    pub(crate) fn stopped(stop: &Stop) -> Self {
        if stop.was_given_up() {
            Self::new(ErrorKind::Canceled, "query was canceled in expression evaluation")
        } else {
            Self::new(ErrorKind::Timeout, "query timed out in expression evaluation")
        }
    }

    /// The same error with a status that says more than its kind's.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

/// The body of an error.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    status: &'static str,
    error_type: ErrorKind,
    error: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let envelope = Envelope { status: "error", error_type: self.kind, error: &self.text };
        let mut response = Response::new(Body::from(serde_json::to_vec(&envelope).unwrap_or_default()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
