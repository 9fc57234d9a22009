//! Reading the present: everything comes from one view, so an answer never mixes two instants.

use std::sync::Arc;

use axum::{Json, extract::State};
use homeostat_model::{
    action::ActionRecord,
    view::{ObjectiveView, RolloutView, ServiceView, View},
};

use super::Answered;
use crate::{
    extract::{Segments, action_id},
    problem::Problem,
    shared::Shared,
};

pub(crate) async fn view(State(shared): State<Arc<Shared>>) -> Json<Arc<View>> {
    Json(shared.backend.view())
}

pub(crate) async fn services(State(shared): State<Arc<Shared>>) -> Json<Vec<ServiceView>> {
    Json(shared.backend.view().services.clone())
}

pub(crate) async fn service(State(shared): State<Arc<Shared>>, name: Segments<String>) -> Answered<ServiceView> {
    find("service", &name.0, &shared.backend.view().services, |service| service.name.as_str())
}

pub(crate) async fn objectives(State(shared): State<Arc<Shared>>) -> Json<Vec<ObjectiveView>> {
    Json(shared.backend.view().objectives.clone())
}

pub(crate) async fn objective(State(shared): State<Arc<Shared>>, name: Segments<String>) -> Answered<ObjectiveView> {
    find("objective", &name.0, &shared.backend.view().objectives, |objective| objective.objective.name.as_str())
}

pub(crate) async fn rollouts(State(shared): State<Arc<Shared>>) -> Json<Vec<RolloutView>> {
    Json(shared.backend.view().rollouts.clone())
}

pub(crate) async fn rollout(State(shared): State<Arc<Shared>>, name: Segments<String>) -> Answered<RolloutView> {
    find("rollout", &name.0, &shared.backend.view().rollouts, |rollout| rollout.rollout.name.as_str())
}

pub(crate) async fn actions(State(shared): State<Arc<Shared>>) -> Json<Vec<ActionRecord>> {
    Json(shared.backend.view().actions.clone())
}

pub(crate) async fn action(State(shared): State<Arc<Shared>>, id: Segments<String>) -> Answered<ActionRecord> {
    let id = action_id(&id.0)?;
    let view = shared.backend.view();
    let found = view.actions.iter().find(|action| action.plan.id == id);
    found.cloned().map(Json).ok_or_else(|| {
        Problem::not_found(format!("{id} is not among the last 100 actions; older ones are kept with their incidents"))
    })
}

fn find<T: Clone>(kind: &str, name: &str, all: &[T], name_of: impl Fn(&T) -> &str) -> Answered<T> {
    let found = all.iter().find(|one| name_of(one) == name);
    found.cloned().map(Json).ok_or_else(|| Problem::not_found(format!("there is no {kind} `{}`", shown(name))))
}

/// A name from outside, short enough to be shown in an error.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
