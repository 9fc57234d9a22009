//! What each operation does: read from the backend's snapshot, or ask it to act, and answer.

pub(crate) mod incident;
pub(crate) mod operate;
pub(crate) mod read;
pub(crate) mod system;

use axum::Json;

use crate::problem::Problem;

/// A JSON answer or a problem.
type Answered<T> = Result<Json<T>, Problem>;
