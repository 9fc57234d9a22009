//! The table of everything that is served: the one source of the router and of the OpenAPI document.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use homeostat_model::{
    ChangeEvent,
    action::ActionRecord,
    incident::BlackBox,
    view::{ObjectiveView, RolloutView, ServiceView, View},
};
use http::{HeaderValue, Method, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::{
    auth::{self, Access},
    backend::{AuditEntry, ConfigStatus, Health, IncidentDetail, NewChange, StreamItem},
    body, events,
    handlers::{incident, operate, read, system},
    limits::ANSWER_TIMEOUT,
    problem::Problem,
    shared::Shared,
    spec::Role,
};

/// Makes a type's schema.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What an operation answers when all is well.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// 200 with JSON.
    Json(SchemaOf),
    /// 200 with a JSON object whose schema is not ours to state.
    AnyJson,
    /// 204.
    Nothing,
    /// 200 with server-sent events whose data has this schema.
    Events(SchemaOf),
    /// 200 with plain text.
    Text,
}

/// One parameter of the query string.
#[derive(Clone, Copy)]
pub(crate) struct QueryParam {
    pub(crate) name: &'static str,
    /// A JSON Schema type.
    pub(crate) kind: &'static str,
    pub(crate) about: &'static str,
}

/// One operation.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) method: &'static Method,
    pub(crate) path: &'static str,
    /// Unique; the label of its metric and the name of its function in generated clients.
    pub(crate) id: &'static str,
    pub(crate) about: &'static str,
    pub(crate) access: Access,
    pub(crate) query: &'static [QueryParam],
    pub(crate) body: Option<SchemaOf>,
    pub(crate) answer: Answer,
    /// Statuses of its problems, beside 401, 403 and 503 that any may answer.
    pub(crate) problems: &'static [u16],
    service: fn() -> MethodRouter<Arc<Shared>>,
}

impl Endpoint {
    const fn get(
        path: &'static str,
        id: &'static str,
        about: &'static str,
        answer: Answer,
        service: fn() -> MethodRouter<Arc<Shared>>,
    ) -> Self {
        let (access, query, problems): (_, &[QueryParam], &[u16]) = (Access::Needs(Role::Read), &[], &[]);
        Self { method: &Method::GET, path, id, about, access, query, body: None, answer, problems, service }
    }

    const fn post(
        path: &'static str,
        id: &'static str,
        about: &'static str,
        body: Option<SchemaOf>,
        service: fn() -> MethodRouter<Arc<Shared>>,
    ) -> Self {
        let access = Access::Needs(Role::Operate);
        let problems: &[u16] = if body.is_some() { &[400, 404, 408, 409, 413, 415, 422] } else { &[] };
        Self {
            method: &Method::POST,
            path,
            id,
            about,
            access,
            query: &[],
            body,
            answer: Answer::Nothing,
            problems,
            service,
        }
    }

    const fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    const fn query(self, query: &'static [QueryParam]) -> Self {
        Self { query, ..self }
    }

    const fn answer(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }

    const fn problems(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn json<T: JsonSchema>() -> Answer {
    Answer::Json(schema::<T>)
}

const LIMIT: QueryParam =
    QueryParam { name: "limit", kind: "integer", about: "Entries at most, 1 to 500; 50 unless given." };

/// Everything under `/homeostat/v1/`, health and metrics. The console's files are served beside it.
#[rustfmt::skip]
pub(crate) static ENDPOINTS: [Endpoint; 29] = [
    Endpoint::get("/homeostat/v1/view", "view", "Everything there is to see at one instant.", json::<View>(), || get(read::view)),
    Endpoint::get("/homeostat/v1/services", "services", "Services with their versions' shares and traffic.", json::<Vec<ServiceView>>(), || get(read::services)),
    Endpoint::get("/homeostat/v1/services/{name}", "service", "One service.", json::<ServiceView>(), || get(read::service)).problems(&[404]),
    Endpoint::get("/homeostat/v1/objectives", "objectives", "Objectives with budgets, windows and burn rules.", json::<Vec<ObjectiveView>>(), || get(read::objectives)),
    Endpoint::get("/homeostat/v1/objectives/{name}", "objective", "One objective.", json::<ObjectiveView>(), || get(read::objective)).problems(&[404]),
    Endpoint::get("/homeostat/v1/rollouts", "rollouts", "Rollouts and what their judge says.", json::<Vec<RolloutView>>(), || get(read::rollouts)),
    Endpoint::get("/homeostat/v1/rollouts/{name}", "rollout", "One rollout.", json::<RolloutView>(), || get(read::rollout)).problems(&[404]),
    Endpoint::post("/homeostat/v1/rollouts/{name}/{verb}", "drive_rollout", "Start, pause, resume, promote or abort a rollout.", Some(schema::<body::ReasonBody>), || post(operate::drive_rollout)),
    Endpoint::get("/homeostat/v1/actions", "actions", "The last 100 actions, newest first.", json::<Vec<ActionRecord>>(), || get(read::actions)),
    Endpoint::get("/homeostat/v1/actions/{id}", "action", "One of the last 100 actions.", json::<ActionRecord>(), || get(read::action)).problems(&[400, 404]),
    Endpoint::post("/homeostat/v1/actions/{id}/decide", "decide", "Approve, reject, undo or extend an action.", Some(schema::<body::DecisionBody>), || post(operate::decide)),
    Endpoint::get("/homeostat/v1/incidents", "incidents", "Incidents, newest first, in pages.", json::<body::IncidentPage>(), || get(incident::incidents))
        .query(&[QueryParam { name: "before", kind: "string", about: "Only incidents older than this one, such as INC-3." }, LIMIT]).problems(&[400]),
    Endpoint::get("/homeostat/v1/incidents/{id}", "incident", "One incident with its actions.", json::<IncidentDetail>(), || get(incident::incident)).problems(&[400, 404]),
    Endpoint::get("/homeostat/v1/incidents/{id}/black-box", "black_box", "The recording kept with an incident.", json::<BlackBox>(), || get(incident::black_box)).problems(&[400, 404]),
    Endpoint::get("/homeostat/v1/incidents/{id}/bundle", "bundle", "Everything about an incident as one JSON file.", json::<body::Bundle>(), || get(incident::bundle)).problems(&[400, 404]),
    Endpoint::get("/homeostat/v1/break-glass", "break_glass", "Whether all automatic actions are switched off.", json::<body::BreakGlassState>(), || get(operate::break_glass)),
    Endpoint::post("/homeostat/v1/break-glass", "set_break_glass", "Switch all automatic actions off or on.", Some(schema::<body::BreakGlassBody>), || post(operate::set_break_glass)).access(Access::Needs(Role::Admin)),
    Endpoint::get("/homeostat/v1/changes", "changes", "The last 100 changes, ours and announced ones, newest first.", json::<Vec<ChangeEvent>>(), || get(operate::changes)),
    Endpoint::post("/homeostat/v1/changes", "announce", "Announce a change: a deploy, a flag, a scaling. It moves nothing; incidents show it.", Some(schema::<NewChange>), || post(operate::announce)),
    Endpoint::get("/homeostat/v1/config", "config", "State of the configuration.", json::<ConfigStatus>(), || get(system::config)),
    Endpoint::post("/homeostat/v1/config/reload", "reload", "Read the configuration again.", None, || post(system::reload)).access(Access::Needs(Role::Admin)).answer(json::<ConfigStatus>()),
    Endpoint::get("/homeostat/v1/audit", "audit", "Who did what, newest first.", json::<Vec<AuditEntry>>(), || get(system::audit)).query(&[LIMIT]).problems(&[400]),
    Endpoint::get("/homeostat/v1/events", "events", "What happens, as server-sent events: `view` first, then `traffic`, `view` and `command`; `lagged` tells a slow reader what it missed.", Answer::Events(schema::<StreamItem>), || get(events::events))
        .query(&[QueryParam { name: "types", kind: "string", about: "Kinds wanted, separated by commas: traffic, view, command." }]).problems(&[400]),
    Endpoint::get("/homeostat/v1/openapi.json", "openapi", "This document.", Answer::AnyJson, || get(system::openapi)).access(Access::Open),
    Endpoint::get("/homeostat/v1/health", "health", "Health of each part.", json::<Health>(), || get(system::health)),
    Endpoint::get("/-/healthy", "healthy", "200 while the process runs.", Answer::Text, || get(system::healthy)).access(Access::Open),
    Endpoint::get("/-/ready", "ready", "200 while the process takes traffic and decides, 503 otherwise.", Answer::Text, || get(system::ready)).access(Access::Open),
    Endpoint::get("/metrics", "metrics", "The process's own metrics, Prometheus text format 0.0.4.", Answer::Text, || get(system::metrics)),
    Endpoint::get("/healthz", "healthz", "The same as `/-/healthy`, where Kubernetes manifests expect it.", Answer::Text, || get(system::healthy)).access(Access::Open),
];

/// Method, path and operation id of everything served, for documentation and command completion.
pub fn catalogue() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    ENDPOINTS.iter().map(|endpoint| (endpoint.method.as_str(), endpoint.path, endpoint.id))
}

/// The router over the table, without what is around it (`server`).
pub(crate) fn router(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        let layer = middleware::from_fn_with_state((Arc::clone(shared), endpoint), serve);
        router.route(endpoint.path, (endpoint.service)().route_layer(layer))
    })
}

/// Around every operation: who asks, how long it may take, how often it was asked.
async fn serve(
    State((shared, endpoint)): State<(Arc<Shared>, &'static Endpoint)>,
    mut request: Request,
    next: Next,
) -> Response {
    let identity = auth::authorize(endpoint.access, &shared.tokens(), request.headers());
    let mut response = match identity {
        Err(problem) => problem.into_response(),
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            if let Ok(response) = tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
                response
            } else {
                tracing::warn!(operation = endpoint.id, "an operation of the API took too long and was given up");
                Problem::unavailable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())).into_response()
            }
        }
    };
    shared.counters.answered(endpoint.id, response.status().as_u16());
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
