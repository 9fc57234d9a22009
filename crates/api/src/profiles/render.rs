//! `/pyroscope/render` and `/pyroscope/render-diff`: flame graphs as flat arrays.

use std::sync::{Arc, atomic::AtomicBool};

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use homeostat_profile::{Flame, flame, flame_diff};
use homeostat_store_profiles::{Damage, Group, Merged, ProfileStore};
use homeostat_wire::pprof;
use http::header;
use serde_json::{Value, json};

use super::{
    NODES_DEFAULT, NODES_MAX, ProfilesApi,
    ask::{now_ms, with_damage},
    problem::Problem,
    selector::{ProfileType, instant_ms, query, split},
};

/// Points of a time line: one for each pixel of a wide screen.
const TIMELINE_POINTS: i64 = 1_500;
/// Shortest step of a time line; profiles of always-on profilers take ten to fifteen seconds.
const STEP_MS_MIN: i64 = 15_000;

/// Parameters of a request.
struct Params(Vec<(String, String)>);

impl Params {
    fn of(request: &Request) -> Self {
        let pairs = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The first of these names that has a value.
    fn first(&self, names: &[&str]) -> &str {
        names.iter().map(|name| self.get(name)).find(|value| !value.is_empty()).unwrap_or("")
    }

    fn nodes(&self) -> Result<usize, Problem> {
        nodes(self.first(&["maxNodes", "max-nodes"]))
    }
}

fn nodes(text: &str) -> Result<usize, Problem> {
    match text {
        "" | "0" => Ok(NODES_DEFAULT),
        text => text
            .parse()
            .ok()
            .filter(|nodes| (1..=NODES_MAX).contains(nodes))
            .ok_or_else(|| Problem::bad(format!("`maxNodes` is {text:?}; it must be 1 to {NODES_MAX}"))),
    }
}

pub(super) async fn render(State(api): State<Arc<ProfilesApi>>, request: Request) -> Response {
    match rendered(&api, &Params::of(&request)).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn rendered(api: &ProfilesApi, params: &Params) -> Result<Response, Problem> {
    let now_ms = now_ms();
    let (kind, selector) = split(params.get("query"))?;
    let from_ms = instant_ms(params.get("from"), "now-1h", now_ms)?;
    let to_ms = instant_ms(params.get("until"), "now", now_ms)?;
    let mut asked = query(&kind, selector, from_ms, to_ms)?;
    let (nodes, format) = (params.nodes()?, params.get("format").to_owned());
    let by = match params.get("groupBy") {
        "" => Vec::new(),
        label => vec![label.to_owned()],
    };
    if !matches!(format.as_str(), "" | "json" | "pprof") {
        return Err(Problem::bad(format!("`format` is {format:?}; `json` and `pprof` are given")));
    }
    let as_pprof = format == "pprof";
    let step_ms = ((to_ms - from_ms) / TIMELINE_POINTS).max(STEP_MS_MIN);
    let asked_for = move |store: &ProfileStore, flag: &Arc<AtomicBool>| {
        asked.given_up = Arc::clone(flag);
        let merged = store.merge(&asked)?;
        if as_pprof {
            return Ok((Body::Pprof(merged.profile.as_ref().map(pprof::write)), merged.damage));
        }
        let all = store.totals(&asked, &[], step_ms)?.0;
        let groups = if by.is_empty() { Vec::new() } else { store.totals(&asked, &by, step_ms)?.0 };
        let graph = merged.profile.as_ref().map_or_else(Flame::empty, |profile| flame(profile, 0)).limited(nodes);
        let line = |points: &[(i64, i64)]| timeline(points, from_ms, to_ms, step_ms);
        let by_group = |group: &Group| {
            let values: Vec<&str> = group.labels.iter().map(|(_, value)| value).collect();
            (values.join(","), line(&group.points))
        };
        let body = json!({
            "version": 1,
            "flamebearer": {
                "names": graph.names, "levels": graph.levels(), "numTicks": graph.ticks(1),
                "maxSelf": graph.heaviest_own(),
            },
            "metadata": metadata("single", &kind),
            "timeline": line(all.first().map(|group| group.points.as_slice()).unwrap_or_default()),
            "groups": groups.iter().map(by_group).collect::<serde_json::Map<String, Value>>(),
            "heatmap": null,
        });
        Ok((Body::Json(body.to_string()), merged.damage))
    };
    let (body, damage) = api.ask(asked_for).await?;
    Ok(with_damage(body.into_response(), &damage))
}

/// An answer as it goes out.
enum Body {
    Json(String),
    /// For standard tools; `None` when there are no profiles.
    Pprof(Option<Vec<u8>>),
}

impl Body {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"profile.pb.gz\""),
        ];
        match self {
            Self::Json(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
            Self::Pprof(Some(bytes)) => (headers, bytes).into_response(),
            Self::Pprof(None) => {
                let text = "no profiles".to_owned();
                Problem { status: http::StatusCode::NOT_FOUND, code: "not_found", text }.into_response()
            }
        }
    }
}

/// What the numbers are. Times are told as samples of which there are so many in a second.
fn metadata(format: &str, kind: &ProfileType) -> Value {
    let (units, rate) = match (kind.sample.unit.as_str(), kind.sample.kind.as_str()) {
        ("nanoseconds", "cpu" | "wall" | "itimer") => ("samples", 1_000_000_000),
        ("nanoseconds", _) => ("lock_nanoseconds", 1_000_000_000),
        ("count", _) => ("objects", 100),
        (unit, _) => (unit, 100),
    };
    json!({ "format": format, "spyName": "", "sampleRate": rate, "units": units, "name": kind.sample.kind })
}

fn timeline(points: &[(i64, i64)], from_ms: i64, to_ms: i64, step_ms: i64) -> Value {
    let steps = usize::try_from((to_ms - from_ms) / step_ms + 1).unwrap_or(0);
    let mut samples = vec![0_i64; steps];
    for (at_ms, value) in points {
        let index = usize::try_from((at_ms - from_ms) / step_ms).unwrap_or(usize::MAX);
        if let Some(slot) = samples.get_mut(index) {
            *slot = *value;
        }
    }
    json!({ "startTime": from_ms / 1000, "samples": samples, "durationDelta": step_ms / 1000, "watermarks": null })
}

pub(super) async fn render_diff(State(api): State<Arc<ProfilesApi>>, request: Request) -> Response {
    match rendered_diff(&api, &Params::of(&request)).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn rendered_diff(api: &ProfilesApi, params: &Params) -> Result<Response, Problem> {
    let now_ms = now_ms();
    let side = |name: &str| {
        let own = |parameter: &str| params.get(&format!("{name}{parameter}")).to_owned();
        let asked =
            Some(own("Query")).filter(|query| !query.is_empty()).unwrap_or_else(|| params.get("query").to_owned());
        let (kind, selector) = split(&asked)?;
        let from_ms = instant_ms(&own("From"), "now-1h", now_ms)?;
        let to_ms = instant_ms(&own("Until"), "now", now_ms)?;
        Ok::<_, Problem>((kind.clone(), query(&kind, selector, from_ms, to_ms)?))
    };
    let ((kind, mut left), (_, mut right)) = (side("left")?, side("right")?);
    let nodes = params.nodes()?;
    let asked_for = move |store: &ProfileStore, flag: &Arc<AtomicBool>| {
        left.given_up = Arc::clone(flag);
        right.given_up = Arc::clone(flag);
        let (left, right) = (store.merge(&left)?, store.merge(&right)?);
        let graph = diff_graph(&left, &right, nodes);
        let damage: Vec<Damage> = left.damage.into_iter().chain(right.damage).collect();
        let body = json!({
            "version": 1,
            "flamebearer": {
                "names": graph.names, "levels": graph.levels_diff(), "numTicks": graph.ticks(0).saturating_add(graph.ticks(1)),
                "maxSelf": graph.heaviest_own(),
            },
            "metadata": metadata("double", &kind),
            "leftTicks": graph.ticks(0),
            "rightTicks": graph.ticks(1),
        });
        Ok((Body::Json(body.to_string()), damage))
    };
    let (body, damage) = api.ask(asked_for).await?;
    Ok(with_damage(body.into_response(), &damage))
}

/// Both sums in one graph; a side without profiles weighs nothing.
pub(super) fn diff_graph(left: &Merged, right: &Merged, nodes: usize) -> Flame {
    let empty = homeostat_model::profile::Profile::new(Vec::new());
    let (before, now) = (left.profile.as_ref().unwrap_or(&empty), right.profile.as_ref().unwrap_or(&empty));
    flame_diff(before, 0, now, 0).limited(nodes)
}
