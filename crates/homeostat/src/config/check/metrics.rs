//! The `Metrics` document: settings of the metrics server inside the process, and the files that it names.

use std::{
    cell::Cell,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use homeostat_act_notify::spec::ReceiverSpec;
use homeostat_api::spec::ApiSpec;
use homeostat_gateway_proxy::spec::ProxySpec;
use homeostat_store_series::Durability;

use crate::config::{
    Problems,
    document::Document,
    limits,
    prometheus::{
        self,
        rules::{self, RuleDefaults},
    },
    raw::process as raw,
    read::{Context, Outside},
    source::At,
};

/// Settings of the metrics server inside the process; a change takes a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSpec {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether addresses beyond this machine are meant.
    pub open: bool,
    /// Where to take OTLP over HTTP besides.
    pub otlp_http: Option<SocketAddr>,
    /// Where to take OTLP over gRPC.
    pub otlp_grpc: Option<SocketAddr>,
    /// A `prometheus.yml`.
    pub scrape_config: Option<PathBuf>,
    /// Files of rules.
    pub rules: Vec<PathBuf>,
    /// Where people find it.
    pub external_url: Option<String>,
    /// Budgets of series and label values.
    pub limits: Option<PathBuf>,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// How late samples may come.
    pub out_of_order_window: Duration,
    /// How long samples are kept; for ever when `None`.
    pub retention: Option<Duration>,
    /// How many bytes are kept.
    pub retention_bytes: Option<u64>,
}

/// Checks the document, if there is one, and that the files which it names can be used.
pub(super) fn check(
    documents: &[Document<raw::Metrics>],
    proxy: &ProxySpec,
    api: &ApiSpec,
    receivers: &[ReceiverSpec],
    cx: &mut Context<'_>,
) -> Option<MetricsSpec> {
    let raw = documents.first()?.spec.as_ref()?;
    let listen = raw.listen.as_ref()?;
    let open = raw.open_to_network.as_ref().is_some_and(|open| open.value);
    let addresses = [Some(listen), raw.otlp_http.as_ref(), raw.otlp_grpc.as_ref()];
    for (index, at) in addresses.iter().flatten().enumerate() {
        if !at.value.ip().is_loopback() && !open {
            cx.error(
                at.place,
                "beyond the loopback address everybody who reaches it reads and writes metrics",
                "listen on `127.0.0.1`, or add `openToNetwork: true` if the network is guarded",
            );
        }
        let others = addresses.iter().flatten().take(index).map(|other| other.value);
        let taken = others.chain([api.listen]).chain(proxy.listeners.iter().map(|l| l.address));
        if taken.filter(|taken| taken.port() != 0).any(|taken| taken == at.value) {
            cx.error(at.place, format!("the address {} is taken by another listener", at.value), "choose another port");
        }
    }
    let mut file = |at: Option<&At<String>>, load: &dyn Fn(&Path) -> Result<(), Problems>| {
        at.map(|at| {
            let path = PathBuf::from(&at.value);
            usable(at, &path, load, cx);
            path
        })
    };
    let alerts = Alerts::default();
    let scrape_config = file(raw.scrape_config.as_ref(), &|path| {
        let said = prometheus::load(path)?.rules;
        alerts.alertmanagers.set(Some(!said.alertmanagers.is_empty()));
        alerts.load(&said.files, said.defaults)
    });
    let limits = file(raw.limits.as_ref(), &|path| limits::load(path).map(drop));
    let rules = raw.rules.as_ref().map(|rules| rules.value.0.as_slice()).unwrap_or_default();
    for at in rules {
        usable(at, Path::new(&at.value), &|path| alerts.load(&[path.to_owned()], RuleDefaults::default()), cx);
    }
    let has_alertmanagers = alerts.alertmanagers.get().unwrap_or(raw.scrape_config.is_some());
    if alerts.is_alerting.get() && !has_alertmanagers && receivers.is_empty() {
        let place = rules.first().or(raw.scrape_config.as_ref()).map_or(listen.place, |at| at.place);
        cx.warn(
            place,
            "some of these rules are alerts, and nobody hears of them",
            "add a `Receiver`, or `alerting` with Alertmanagers to the `prometheus.yml` of `scrapeConfig`",
        );
    }
    if let Some(at) =
        raw.external_url.as_ref().filter(|at| !at.value.starts_with("http://") && !at.value.starts_with("https://"))
    {
        cx.error(at.place, "this is no address", "write it whole, with `http://` or `https://`");
    }
    let span = |at: Option<&At<homeostat_model::Span>>| at.map_or(Duration::ZERO, |at| at.value.into());
    Some(MetricsSpec {
        listen: listen.value,
        open,
        otlp_http: raw.otlp_http.as_ref().map(|at| at.value),
        otlp_grpc: raw.otlp_grpc.as_ref().map(|at| at.value),
        scrape_config,
        rules: rules.iter().map(|at| PathBuf::from(&at.value)).collect(),
        external_url: raw.external_url.as_ref().map(|at| at.value.clone()),
        limits,
        durability: raw.durability.as_ref().map_or(Durability::Durable, |at| at.value),
        out_of_order_window: span(raw.out_of_order_window.as_ref()),
        retention: Some(span(raw.retention.as_ref())).filter(|retention| !retention.is_zero()),
        retention_bytes: raw.retention_size.as_ref().map(|at| at.value.0),
    })
}

/// What files of rules say about alerts.
#[derive(Debug, Default)]
struct Alerts {
    is_alerting: Cell<bool>,
    /// Whether the `prometheus.yml` names Alertmanagers; `None` until it was read.
    alertmanagers: Cell<Option<bool>>,
}

impl Alerts {
    /// Checks the files of patterns, which may stand for none.
    fn load(&self, patterns: &[PathBuf], defaults: RuleDefaults) -> Result<(), Problems> {
        let files = rules::files(patterns, Path::new(""))?;
        let groups = rules::load(&files, defaults)?.groups;
        let is_alerting = groups.iter().flat_map(|group| &group.rules).any(|rule| rule.alerting().is_some());
        self.is_alerting.set(self.is_alerting.get() || is_alerting);
        Ok(())
    }
}

/// Reports a file that cannot be used. Where the configuration is meant for another machine, a file that is not here is
/// taken to be there.
fn usable(at: &At<String>, path: &Path, load: &dyn Fn(&Path) -> Result<(), Problems>, cx: &mut Context<'_>) {
    match cx.outside {
        Outside::Text => return,
        Outside::Elsewhere if !path.exists() => {
            cx.assumed.insert(at.value.clone());
            return;
        }
        _ => {}
    }
    if let Err(problems) = load(path) {
        let first = problems.iter().next().map(ToString::to_string).unwrap_or_default();
        let more = problems.iter().count().saturating_sub(1);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        cx.error(at.place, format!("this file cannot be used: {first}{more}"), "mend that file");
    }
}
