//! Methods of `querier.v1.QuerierService` over Connect: one message in, one message out.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use homeostat_profile::{Flame, flame};
use homeostat_store_profiles::{Damage, ProfileStore, Query, Subject};
use homeostat_wire::{gzip, pprof};
use http::header;
use http_body_util::{BodyExt as _, Limited};

use super::{
    NODES_DEFAULT, NODES_MAX, ProfilesApi,
    ask::with_damage,
    messages::{Answer, Asked, Field, Kind, Part},
    problem::Problem,
    render::diff_graph,
    selector::{Conditions, ProfileType, VIRTUAL, matchers, query},
};

/// Longest request: a selector and some names.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    ProfileTypes,
    LabelNames,
    LabelValues,
    Series,
    MergeStacktraces,
    MergeProfile,
    SelectSeries,
    Diff,
}

/// All methods and where they are.
pub(super) const METHODS: [(&str, Method); 8] = [
    ("/querier.v1.QuerierService/ProfileTypes", Method::ProfileTypes),
    ("/querier.v1.QuerierService/LabelNames", Method::LabelNames),
    ("/querier.v1.QuerierService/LabelValues", Method::LabelValues),
    ("/querier.v1.QuerierService/Series", Method::Series),
    ("/querier.v1.QuerierService/SelectMergeStacktraces", Method::MergeStacktraces),
    ("/querier.v1.QuerierService/SelectMergeProfile", Method::MergeProfile),
    ("/querier.v1.QuerierService/SelectSeries", Method::SelectSeries),
    ("/querier.v1.QuerierService/Diff", Method::Diff),
];

const fn field(json: &'static str, number: u32, kind: Kind) -> Field {
    Field { json, number, kind }
}

/// What every question for one type of profiles has.
const SELECT: &[Field] = &[
    field("profileTypeID", 1, Kind::Text),
    field("labelSelector", 2, Kind::Text),
    field("start", 3, Kind::Int),
    field("end", 4, Kind::Int),
    field("maxNodes", 5, Kind::Int),
];

const RANGE: &[Field] = &[field("start", 1, Kind::Int), field("end", 2, Kind::Int)];
const NAMES: &[Field] = &[field("matchers", 1, Kind::Texts), field("start", 2, Kind::Int), field("end", 3, Kind::Int)];
const VALUES: &[Field] = &[
    field("name", 1, Kind::Text),
    field("matchers", 2, Kind::Texts),
    field("start", 3, Kind::Int),
    field("end", 4, Kind::Int),
];
const SERIES: &[Field] = &[
    field("matchers", 1, Kind::Texts),
    field("labelNames", 2, Kind::Texts),
    field("start", 3, Kind::Int),
    field("end", 4, Kind::Int),
];
const SELECT_SERIES: &[Field] = &[
    field("profileTypeID", 1, Kind::Text),
    field("labelSelector", 2, Kind::Text),
    field("start", 3, Kind::Int),
    field("end", 4, Kind::Int),
    field("groupBy", 5, Kind::Texts),
    field("step", 6, Kind::Double),
];
const DIFF: &[Field] = &[field("left", 1, Kind::Message(SELECT)), field("right", 2, Kind::Message(SELECT))];

impl Method {
    /// The fields of its request.
    const fn fields(self) -> &'static [Field] {
        match self {
            Self::ProfileTypes => RANGE,
            Self::LabelNames => NAMES,
            Self::LabelValues => VALUES,
            Self::Series => SERIES,
            Self::MergeStacktraces | Self::MergeProfile => SELECT,
            Self::SelectSeries => SELECT_SERIES,
            Self::Diff => DIFF,
        }
    }
}

/// What a method gives: a message in the form of the request, or pprof's own bytes where that is the message.
enum Given {
    Message(Answer),
    Profile(Vec<u8>),
}

pub(super) async fn answer(method: Method, State(api): State<Arc<ProfilesApi>>, request: Request) -> Response {
    match answered(&api, method, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answered(api: &ProfilesApi, method: Method, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let text = |name: header::HeaderName| {
        parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    };
    let media = text(header::CONTENT_TYPE);
    let is_json = match media.split(';').next().unwrap_or_default().trim() {
        "application/json" => true,
        "application/proto" => false,
        other => return Err(Problem::media(format!("send application/json or application/proto, not {other:?}"))),
    };
    let body = read(body).await?;
    let body = match text(header::CONTENT_ENCODING).as_str() {
        "" | "identity" => body,
        "gzip" => gzip::unpack(&body, REQUEST_BYTES_MAX).map_err(|error| Problem::bad(error.to_string()))?,
        other => return Err(Problem::media(format!("{other:?} is not unpacked here; send gzip or identity"))),
    };
    let asked =
        if is_json { Asked::from_json(&body, method.fields())? } else { Asked::from_proto(&body, method.fields())? };
    let (given, damage) = api.ask(move |store, flag| carry_out(method, &asked, store, flag)).await?;
    let response = match given {
        Given::Message(answer) if is_json => {
            ([(header::CONTENT_TYPE, "application/json")], answer.json().to_string()).into_response()
        }
        Given::Message(answer) => {
            let mut out = Vec::new();
            answer.proto(&mut out);
            ([(header::CONTENT_TYPE, "application/proto")], out).into_response()
        }
        Given::Profile(_) if is_json => {
            return Err(Problem::media("a profile is given as application/proto".to_owned()));
        }
        Given::Profile(bytes) => ([(header::CONTENT_TYPE, "application/proto")], bytes).into_response(),
    };
    Ok(with_damage(response, &damage))
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let read = tokio::time::timeout(crate::limits::BODY_TIMEOUT, Limited::new(body, REQUEST_BYTES_MAX).collect());
    match read.await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(_)) => Err(Problem::bad(format!("the request is cut short or has more than {REQUEST_BYTES_MAX} bytes"))),
        Err(_elapsed) => Err(Problem::bad("the request did not arrive in time")),
    }
}

type Carried = Result<(Given, Vec<Damage>), Problem>;

fn carry_out(method: Method, asked: &Asked, store: &ProfileStore, flag: &Arc<AtomicBool>) -> Carried {
    match method {
        Method::MergeStacktraces => {
            let merged = store.merge(&selected(asked, flag)?.1)?;
            let graph = merged.profile.as_ref().map_or_else(Flame::empty, |profile| flame(profile, 0));
            let graph = graph.limited(nodes(asked)?);
            let message = flame_message(&graph, graph.levels(), graph.ticks(1));
            Ok((Given::Message(Answer::default().with("flamegraph", 1, Part::Message(message))), merged.damage))
        }
        Method::MergeProfile => {
            let merged = store.merge(&selected(asked, flag)?.1)?;
            Ok((Given::Profile(merged.profile.as_ref().map(pprof::encode).unwrap_or_default()), merged.damage))
        }
        Method::Diff => {
            let (left, right) = (asked.message("left"), asked.message("right"));
            let before = store.merge(&selected(&left, flag)?.1)?;
            let now = store.merge(&selected(&right, flag)?.1)?;
            let graph = diff_graph(&before, &now, nodes(&left)?);
            let message = flame_message(&graph, graph.levels_diff(), graph.ticks(0).saturating_add(graph.ticks(1)))
                .with("leftTicks", 5, Part::Int(graph.ticks(0)))
                .with("rightTicks", 6, Part::Int(graph.ticks(1)));
            let damage = before.damage.into_iter().chain(now.damage).collect();
            Ok((Given::Message(Answer::default().with("flamegraph", 1, Part::Message(message))), damage))
        }
        Method::SelectSeries => {
            let step_ms = (asked.double("step") * 1000.0) as i64;
            if step_ms <= 0 {
                return Err(Problem::bad("`step` must be a number of seconds above 0"));
            }
            let (groups, damage) = store.totals(&selected(asked, flag)?.1, &asked.texts("groupBy"), step_ms)?;
            let series = groups.into_iter().map(|group| {
                let points = group.points.iter().map(|(at_ms, value)| {
                    let point = Answer::default().with("value", 1, Part::Double(*value as f64));
                    point.with("timestamp", 2, Part::Int(*at_ms))
                });
                let labels = pairs(group.labels.iter());
                labels_message(labels).with("points", 2, Part::Messages(points.collect()))
            });
            Ok((Given::Message(Answer::default().with("series", 1, Part::Messages(series.collect()))), damage))
        }
        _ => of_series(method, asked, store, flag),
    }
}

/// Methods that look at series only.
fn of_series(method: Method, asked: &Asked, store: &ProfileStore, flag: &Arc<AtomicBool>) -> Carried {
    let (from_ms, to_ms) = range(asked)?;
    let mut selectors: Vec<String> = asked.texts("matchers");
    if selectors.is_empty() {
        selectors.push(String::new());
    }
    let (mut subjects, mut damage) = (Vec::<Subject>::new(), BTreeSet::new());
    for selector in selectors {
        let conditions = Conditions::of(matchers(&selector)?);
        let (all, given_up) = (Query::all(from_ms, to_ms), Arc::clone(flag));
        let (found, left_out) = store.series(&Query { matchers: conditions.stored.clone(), given_up, ..all })?;
        subjects.extend(found.into_iter().filter_map(|subject| meant(subject, &conditions)));
        damage.extend(left_out);
    }
    let answer = Answer::default();
    let answer = match method {
        Method::ProfileTypes => {
            let types: BTreeSet<ProfileType> = subjects.iter().flat_map(ProfileType::of).collect();
            let message = |kind: ProfileType| {
                Answer::default()
                    .with("ID", 1, Part::Text(kind.id()))
                    .with("name", 2, Part::Text(kind.name))
                    .with("sampleType", 4, Part::Text(kind.sample.kind))
                    .with("sampleUnit", 5, Part::Text(kind.sample.unit))
                    .with("periodType", 6, Part::Text(kind.period.kind))
                    .with("periodUnit", 7, Part::Text(kind.period.unit))
            };
            answer.with("profileTypes", 1, Part::Messages(types.into_iter().map(message).collect()))
        }
        Method::LabelNames => {
            let names = subjects.iter().flat_map(|subject| subject.labels.iter()).map(|(name, _)| name);
            answer.with("names", 1, Part::Texts(sorted(names.chain(VIRTUAL.iter().map(|(name, _)| *name)))))
        }
        Method::LabelValues => {
            let name = asked.text("name");
            let values: Vec<String> = subjects.iter().flat_map(|subject| values(subject, name)).collect();
            answer.with("names", 1, Part::Texts(sorted(values.iter().map(String::as_str))))
        }
        _ => {
            let wanted = asked.texts("labelNames");
            let sets: BTreeSet<Vec<(String, String)>> = subjects
                .iter()
                .flat_map(ProfileTyped::of)
                .map(|labels| {
                    labels.0.into_iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)).collect()
                })
                .filter(|labels: &Vec<_>| !labels.is_empty())
                .collect();
            answer.with("labelsSet", 2, Part::Messages(sets.into_iter().map(labels_message).collect()))
        }
    };
    Ok((Given::Message(answer), damage.into_iter().collect()))
}

/// A series with those of its types that are meant; `None` when there are none.
fn meant(subject: Subject, conditions: &Conditions) -> Option<Subject> {
    let kinds = ProfileType::of(&subject).filter(|kind| conditions.hold_for(kind));
    let types: Vec<_> = kinds.map(|kind| kind.sample).collect();
    (!types.is_empty()).then_some(Subject { types, ..subject })
}

/// Labels of a series for one of its types.
struct ProfileTyped(Vec<(String, String)>);

impl ProfileTyped {
    fn of(subject: &Subject) -> impl Iterator<Item = Self> + '_ {
        ProfileType::of(subject).map(|kind| {
            let own = subject.labels.iter().filter(|(name, _)| *name != "__name__");
            let mut labels = pairs(own);
            labels.extend(VIRTUAL.iter().map(|(name, value)| ((*name).to_owned(), value(&kind))));
            labels.sort();
            Self(labels)
        })
    }
}

fn values(subject: &Subject, name: &str) -> Vec<String> {
    if let Some((_, value)) = VIRTUAL.iter().find(|(known, _)| *known == name) {
        return ProfileType::of(subject).map(|kind| value(&kind)).collect();
    }
    subject.labels.get(name).map(str::to_owned).into_iter().collect()
}

fn sorted<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    texts.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

fn pairs<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn labels_message(labels: Vec<(String, String)>) -> Answer {
    let pair = |(name, value)| Answer::default().with("name", 1, Part::Text(name)).with("value", 2, Part::Text(value));
    Answer::default().with("labels", 1, Part::Messages(labels.into_iter().map(pair).collect()))
}

fn flame_message(graph: &Flame, levels: Vec<Vec<i64>>, total: i64) -> Answer {
    let level = |values| Answer::default().with("values", 1, Part::Ints(values));
    Answer::default()
        .with("names", 1, Part::Texts(graph.names.clone()))
        .with("levels", 2, Part::Messages(levels.into_iter().map(level).collect()))
        .with("total", 3, Part::Int(total))
        .with("maxSelf", 4, Part::Int(graph.heaviest_own()))
}

/// Times in milliseconds; a question without them is for everything that is kept.
fn range(asked: &Asked) -> Result<(i64, i64), Problem> {
    let (from_ms, to_ms) = (asked.int("start")?, asked.int("end")?);
    Ok((from_ms, if to_ms == 0 { i64::MAX } else { to_ms }))
}

fn selected(asked: &Asked, flag: &Arc<AtomicBool>) -> Result<(ProfileType, Query), Problem> {
    let kind = ProfileType::parse(asked.text("profileTypeID"))?;
    let (from_ms, to_ms) = range(asked)?;
    let mut wanted = query(&kind, asked.text("labelSelector"), from_ms, to_ms)?;
    wanted.given_up = Arc::clone(flag);
    Ok((kind, wanted))
}

fn nodes(asked: &Asked) -> Result<usize, Problem> {
    let nodes = usize::try_from(asked.int("maxNodes")?).unwrap_or(0);
    Ok(if nodes == 0 { NODES_DEFAULT } else { nodes.min(NODES_MAX) })
}
