//! The shop's HTTP interface: a JSON API for customers, and switches for whoever runs the demonstration.
//!
//! `GET /items/{id}`, `POST /orders`, `GET /orders/{id}`, `POST /orders/{id}/pay|ship|done` are business and subject to
//! faults. `/healthz`, `/metrics` and `/faults` are not: a switch that its own fault could jam would be of no use.
//!
//! The switches answer only to this machine, and not to what a proxy on it forwards.
//! Not here: rules of orders (`order`), the store (`ledger`), accepting connections (`server`).

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::{
    fault::{Fault, FaultError, Setting, Switches, json, leak::Leak, log::DebugLog},
    ledger::Ledger,
    metrics::Metrics,
    order::{Order, OrderState, Refused},
    recommender::{Calls, Client, Known},
};

/// Names the version that answered, so that a client can count per version without trusting a gateway.
pub const VERSION_HEADER: HeaderName = HeaderName::from_static("x-shop-version");
/// Bytes of a request body: an order is below 200.
const BODY_BYTES_MAX: usize = 4_096;

/// The item everybody wants.
pub const HOT_ITEM: u32 = 1;

/// Where a request came from; set by the server for each connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Everything that handlers share.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) version: String,
    pub(crate) version_header: HeaderValue,
    pub(crate) ledger: Ledger,
    pub(crate) switches: Switches,
    pub(crate) metrics: Metrics,
    pub(crate) leak: Leak,
    pub(crate) log: DebugLog,
    /// The recommender that it brings along, for faults.
    pub(crate) own_recommender: Client,
    /// What that one sees.
    pub(crate) own_calls: Arc<Calls>,
    /// The one that it asks for its pages, if there is one.
    pub(crate) recommender: Known,
    /// The lock of `lock`, held by a thread that waits for another server.
    pub(crate) gate: Mutex<()>,
}

/// All routes.
pub(crate) fn router(shop: &Arc<Shop>) -> Router {
    let business = Router::new()
        .route("/items/{id}", get(item))
        .route("/orders", post(place))
        .route("/orders/{id}", get(order))
        .route("/orders/{id}/pay", post(pay))
        .route("/orders/{id}/ship", post(ship))
        .route("/orders/{id}/done", post(done))
        .route_layer(from_fn_with_state(shop.clone(), business_request));
    Router::new()
        .merge(business)
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .route("/faults", get(faults))
        .route("/faults/{name}", post(switch_on).delete(switch_off))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shop.clone())
}

/// Around every business request: the release's faults first, then the answer, counted and marked with the version.
async fn business_request(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    // Cheap clones: a request cannot be borrowed across an await, its body is not Sync.
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = match suffer(&shop, &method, &uri).await {
        Ok(()) => next.run(request).await,
        Err(broken) => broken.into_response(),
    };
    shop.metrics.count(response.status().as_u16());
    response.headers_mut().insert(VERSION_HEADER, shop.version_header.clone());
    response
}

/// Does what the faults that are on do to a request.
async fn suffer(shop: &Arc<Shop>, method: &Method, uri: &Uri) -> Result<(), Broken> {
    if shop.switches.fails_next() {
        return Err(Broken::Bug);
    }
    if let Some(lines) = shop.switches.strength(Fault::Log) {
        let request = format!("{method} {}", uri.path());
        shop.log.write(&request, lines as u32).map_err(|error| Broken::Log(error.to_string()))?;
    }
    if let Some(elements) = shop.switches.strength(Fault::Json) {
        std::hint::black_box(json::related_items(HOT_ITEM, elements as u32));
    }
    if let Some(entries) = shop.switches.strength(Fault::Leak) {
        shop.leak.remember(HOT_ITEM.into(), entries as usize).map_err(|error| Broken::Leak(error.to_string()))?;
    }
    if let Some(ms) = shop.switches.strength(Fault::Lock) {
        one_after_the_other(shop, ms).await?;
    }
    if let Some(ms) = shop.switches.strength(Fault::Dependency) {
        recommend(shop, ms).await?;
    }
    Ok(())
}

/// A client that blocks, called under a lock, on a thread for each request: what becomes of code that was written before async.
async fn one_after_the_other(shop: &Arc<Shop>, after_ms: f64) -> Result<(), Broken> {
    let shop = Arc::clone(shop);
    let asked = spawn_blocking(move || {
        let _everybody_waits = shop.gate.lock().unwrap_or_else(PoisonError::into_inner);
        shop.own_recommender.ask_and_block(Duration::from_millis(after_ms as u64))
    });
    match asked.await {
        Ok(answer) => answer.map_err(|error| Broken::Recommender(error.to_string())),
        Err(ended) => Err(Broken::Recommender(ended.to_string())),
    }
}

/// A release that asks for something that takes the recommender so long: its calls are late, those of others are not.
async fn recommend(shop: &Shop, after_ms: f64) -> Result<(), Broken> {
    let recommender = shop.recommender.get().unwrap_or(&shop.own_recommender);
    let answer = recommender.ask(Duration::from_millis(after_ms as u64)).await;
    answer.map(drop).map_err(|error| Broken::Recommender(error.to_string()))
}

/// What customers of a broken release see.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("price rule 7 divided by zero")]
    Bug,
    #[error("the debug log cannot be written: {0}")]
    Log(String),
    #[error("{0}")]
    Leak(String),
    #[error("{0}")]
    Recommender(String),
}

impl IntoResponse for Broken {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Bug | Self::Log(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Leak(_) | Self::Recommender(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        problem(status, &self.to_string())
    }
}

/// A problem document (RFC 9457).
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoItem(_) | Self::NoOrder(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SoldOut { .. } | Self::Transition { .. } => StatusCode::CONFLICT,
            Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        problem(status, &self.to_string())
    }
}

#[derive(Debug, Serialize)]
struct ItemBody<'a> {
    id: u32,
    name: String,
    price_cents: u32,
    hot: bool,
    stock: u64,
    left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recommended: Option<Vec<u32>>,
    version: &'a str,
}

async fn item(State(shop): State<Arc<Shop>>, Path(id): Path<u32>) -> Result<Response, Refused> {
    let stock = shop.ledger.stock(id)?.ok_or(Refused::NoItem(id))?;
    let body = ItemBody {
        id,
        name: format!("item {id}"),
        price_cents: 990 + id % 50 * 100,
        hot: id == HOT_ITEM,
        stock: stock.stock,
        left: stock.left(),
        recommended: others_bought(&shop, id).await,
        version: &shop.version,
    };
    Ok(Json(body).into_response())
}

/// What stands beside the hot item; nothing when the recommender fails.
async fn others_bought(shop: &Shop, id: u32) -> Option<Vec<u32>> {
    let recommender = shop.recommender.get().filter(|_| id == HOT_ITEM)?;
    match recommender.ask(Duration::ZERO).await {
        Ok(answer) => Some(answer.recommended),
        Err(error) => {
            tracing::debug!(%error, "a page without recommendations");
            None
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceBody {
    item: u32,
    #[serde(default = "one")]
    quantity: u32,
    buyer: String,
}

const fn one() -> u32 {
    1
}

#[derive(Debug, Serialize)]
struct OrderBody<'a> {
    id: String,
    item: u32,
    quantity: u32,
    buyer: &'a str,
    state: OrderState,
    version: &'a str,
}

fn order_answer(shop: &Shop, status: StatusCode, order: &Order) -> Response {
    let body = OrderBody {
        id: format!("{}-{}", shop.version, order.number),
        item: order.item,
        quantity: order.quantity,
        buyer: &order.buyer,
        state: order.state,
        version: &shop.version,
    };
    (status, Json(body)).into_response()
}

async fn place(State(shop): State<Arc<Shop>>, body: Bytes) -> Response {
    let wish: PlaceBody = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("the body is not an order: {error}")),
    };
    match shop.ledger.place(wish.item, wish.quantity, wish.buyer).await {
        Ok(order) => order_answer(&shop, StatusCode::CREATED, &order),
        Err(refused) => refused.into_response(),
    }
}

/// `v1-17` is order 17 of the partition that `v1` keeps; another version's order is not here.
fn number_of(shop: &Shop, id: &str) -> Result<u64, Refused> {
    let number = id.rsplit_once('-').filter(|(version, _)| *version == shop.version);
    number.and_then(|(_, number)| number.parse().ok()).ok_or_else(|| Refused::NoOrder(id.chars().take(64).collect()))
}

async fn order(State(shop): State<Arc<Shop>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let number = number_of(&shop, &id)?;
    let order = shop.ledger.order(number)?.ok_or(Refused::NoOrder(id))?;
    Ok(order_answer(&shop, StatusCode::OK, &order))
}

async fn pay(shop: State<Arc<Shop>>, id: Path<String>) -> Result<Response, Refused> {
    advance(&shop, &id, OrderState::Paid).await
}

async fn ship(shop: State<Arc<Shop>>, id: Path<String>) -> Result<Response, Refused> {
    advance(&shop, &id, OrderState::Shipped).await
}

async fn done(shop: State<Arc<Shop>>, id: Path<String>) -> Result<Response, Refused> {
    advance(&shop, &id, OrderState::Done).await
}

async fn advance(shop: &Shop, id: &str, to: OrderState) -> Result<Response, Refused> {
    let order = shop.ledger.advance(number_of(shop, id)?, to).await?;
    Ok(order_answer(shop, StatusCode::OK, &order))
}

async fn metrics(State(shop): State<Arc<Shop>>) -> impl IntoResponse {
    let calls = &shop.own_calls;
    let gauges = [
        ("shop_recommender_calls_total", calls.total()),
        ("shop_recommender_calls_peak", calls.peak()),
        ("shop_log_lines_total", shop.log.lines()),
        ("shop_leaked_bytes", shop.leak.bytes() as u64),
    ];
    let mut text = shop.metrics.text(&shop.version);
    for (name, value) in gauges {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}{{version=\"{}\"}} {value}", shop.version);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

#[derive(Debug, Deserialize)]
struct SwitchQuery {
    strength: Option<String>,
}

async fn faults(State(shop): State<Arc<Shop>>) -> Response {
    Json(shop.switches.on().iter().map(Setting::to_string).collect::<Vec<_>>()).into_response()
}

async fn switch_on(
    State(shop): State<Arc<Shop>>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(query): Query<SwitchQuery>,
) -> Response {
    if !is_from_here(peer.0, &headers) {
        return not_from_here();
    }
    let setting = match named(&name).and_then(|fault| Setting::new(fault, query.strength.as_deref())) {
        Ok(setting) => setting,
        Err(error) => return problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    };
    shop.switches.set(setting);
    tracing::warn!(fault = %setting, "fault switched on");
    faults(State(shop)).await
}

async fn switch_off(
    State(shop): State<Arc<Shop>>,
    peer: Extension<Peer>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Response {
    if !is_from_here(peer.0, &headers) {
        return not_from_here();
    }
    let fault = match named(&name) {
        Ok(fault) => fault,
        Err(error) => return problem(StatusCode::NOT_FOUND, &error.to_string()),
    };
    shop.switches.clear(fault);
    if fault == Fault::Leak {
        shop.leak.clear();
    }
    tracing::warn!(%fault, "fault switched off");
    faults(State(shop)).await
}

fn named(name: &str) -> Result<Fault, FaultError> {
    name.parse()
}

/// A proxy on this machine calls from loopback too, but it says that it forwards.
fn is_from_here(peer: Peer, headers: &HeaderMap) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "via"].iter().any(|name| headers.contains_key(*name));
    peer.0.ip().is_loopback() && !forwarded
}

fn not_from_here() -> Response {
    problem(StatusCode::FORBIDDEN, "faults are switched from the shop's own machine only")
}
