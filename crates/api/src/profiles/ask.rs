//! Runs a question on a thread of its own, and gives it up when nobody waits for it.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::response::Response;
use homeostat_store_profiles::{Damage, ProfileStore};
use http::{HeaderName, HeaderValue};

use super::{ProfilesApi, problem::Problem};

/// Damaged parts that are named; the rest is counted.
const DAMAGE_SHOWN_MAX: usize = 3;

/// Sets its flag when it is dropped before the answer is there.
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ProfilesApi {
    /// Waits for a turn and runs `ask`. It gets the flag that says when nobody waits any more.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&ProfileStore, &Arc<AtomicBool>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = self.store.get().cloned();
        let store = store.ok_or_else(|| Problem::unavailable("the store is reading its log; try again in a moment"))?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| Problem::unavailable("the server is stopping"))?;
        let flag = Arc::new(AtomicBool::new(false));
        let give_up = GiveUp(Arc::clone(&flag));
        let work = tokio::task::spawn_blocking(move || {
            let answer = ask(&store, &flag);
            drop(turn);
            answer
        });
        let answer = tokio::time::timeout(self.time, work).await;
        // It ends at its next look at the flag.
        drop(give_up);
        let Ok(answer) = answer else {
            return Err(Problem {
                status: http::StatusCode::GATEWAY_TIMEOUT,
                code: "deadline_exceeded",
                text: format!("the question took longer than {:?}; ask for a shorter time or fewer series", self.time),
            });
        };
        answer.unwrap_or_else(|_panicked| {
            Err(Problem {
                status: http::StatusCode::INTERNAL_SERVER_ERROR,
                code: "internal",
                text: "the question ended without an answer; this is our fault, please report it".to_owned(),
            })
        })
    }
}

/// Says in a header what could not be part of the answer.
pub(super) fn with_damage(mut response: Response, damage: &[Damage]) -> Response {
    if damage.is_empty() {
        return response;
    }
    let shown: Vec<String> = damage.iter().take(DAMAGE_SHOWN_MAX).map(ToString::to_string).collect();
    let mut text = shown.join("; ");
    if let Some(more) = damage.len().checked_sub(DAMAGE_SHOWN_MAX).filter(|more| 0 < *more) {
        let _ = write!(text, "; and {more} more");
    }
    let text: String = text.chars().filter(|c| (' '..='~').contains(c)).collect();
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(HeaderName::from_static("x-homeostat-left-out"), value);
    }
    response
}

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
