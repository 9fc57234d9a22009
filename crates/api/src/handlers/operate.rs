//! What people and pipelines ask for. Each request is handed to control with the name of whoever asked; control's
//! answer, also a refusal, is in the audit.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use homeostat_model::{ChangeEvent, RolloutName, rollout::Verb};
use http::StatusCode;

use super::read::shown;
use crate::{
    auth::Identity,
    backend::{NewChange, Operation},
    body::{BreakGlassBody, BreakGlassState, DecisionBody, ReasonBody},
    extract::{JsonBody, Segments, action_id},
    limits::{ANNOUNCED_WITHIN, REASON_CHARS_MAX, SUMMARY_CHARS_MAX},
    problem::Problem,
    shared::Shared,
};

/// Carried out; look at the resource for its new state.
type Done = Result<StatusCode, Problem>;

pub(crate) async fn drive_rollout(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Segments((name, verb)): Segments<(String, String)>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Done {
    let Some(verb) = parse_verb(&verb) else {
        let known: Vec<&str> = VERBS.iter().map(|(word, _)| *word).collect();
        let detail = format!("`{}` is nothing a rollout can do; it can {}", shown(&verb), known.join(", "));
        return Err(Problem::not_found(detail));
    };
    let rollout = RolloutName::new(&name)
        .map_err(|error| Problem::not_found(format!("there is no rollout `{}`: {error}", shown(&name))))?;
    operate(&shared, Operation::Rollout { rollout, verb }, identity, body.reason).await
}

pub(crate) async fn decide(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Segments(id): Segments<String>,
    JsonBody(body): JsonBody<DecisionBody>,
) -> Done {
    let operation = Operation::Decide { action: action_id(&id)?, decision: body.decision };
    operate(&shared, operation, identity, body.reason).await
}

pub(crate) async fn break_glass(State(shared): State<Arc<Shared>>) -> Json<BreakGlassState> {
    Json(BreakGlassState { engaged: shared.backend.view().break_glass })
}

pub(crate) async fn set_break_glass(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    JsonBody(body): JsonBody<BreakGlassBody>,
) -> Done {
    operate(&shared, Operation::BreakGlass { engaged: body.engaged }, identity, body.reason).await
}

pub(crate) async fn changes(State(shared): State<Arc<Shared>>) -> Json<Vec<ChangeEvent>> {
    Json(shared.backend.view().changes.clone())
}

pub(crate) async fn announce(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    JsonBody(mut change): JsonBody<NewChange>,
) -> Done {
    let unfit = |detail: String| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", detail));
    change.summary = printable(change.summary.trim());
    if !(1..=SUMMARY_CHARS_MAX).contains(&change.summary.chars().count()) {
        return unfit(format!("a summary has 1 to {SUMMARY_CHARS_MAX} characters"));
    }
    let now = shared.backend.view().at;
    if change.at.is_some_and(|at| at < now - ANNOUNCED_WITHIN) {
        return unfit("a change is announced within 24 hours; `at` is in nanoseconds since the Unix epoch".to_owned());
    }
    operate(&shared, Operation::Announce { change }, identity, String::new()).await
}

/// The audit is read in terminals: no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Words of the path and what they mean: the serialised form of [`Verb`].
pub(crate) const VERBS: [(&str, Verb); 6] = [
    ("start", Verb::Start),
    ("start_frozen", Verb::StartFrozen),
    ("pause", Verb::Pause),
    ("resume", Verb::Resume),
    ("promote", Verb::Promote),
    ("abort", Verb::Abort),
];

fn parse_verb(word: &str) -> Option<Verb> {
    VERBS.iter().find(|(known, _)| *known == word).map(|(_, verb)| *verb)
}

async fn operate(shared: &Shared, operation: Operation, identity: Identity, reason: String) -> Done {
    if reason.chars().count() > REASON_CHARS_MAX {
        let detail = format!("a reason has at most {REASON_CHARS_MAX} characters");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", detail));
    }
    shared.backend.operate(operation, identity.actor, printable(&reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_words_are_the_serialised_verbs() {
        for (word, verb) in VERBS {
            assert_eq!(serde_json::to_value(verb).unwrap(), word);
        }
    }
}
