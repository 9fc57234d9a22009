//! What people may set, from the command line of `homeostat server` or a `Metrics` document, and what the server's parts
//! make of it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use homeostat_act_notify::spec::ReceiverSpec;
use homeostat_api::prometheus::{About, QueryPolicy, ServerSpec};
use homeostat_promql::eval::Options;
use homeostat_sense_receive::{OtlpSettings, ReceiveLimits};
use homeostat_store_series::{Durability, StoreOptions};

use super::{Fixed, OtlpServing, ProfileOptions, RuleOptions, ScrapeOptions, ServerOptions, features::Features};
use crate::config::{
    limits,
    prometheus::{self, alerting::RuleSettings},
};

/// What people call the addresses, for errors about them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressNames {
    pub(crate) listen: &'static str,
    pub(crate) otlp_http: &'static str,
    pub(crate) otlp_grpc: &'static str,
}

impl AddressNames {
    /// On the command line.
    pub(crate) const FLAGS: Self = Self { listen: "--listen", otlp_http: "--otlp-http", otlp_grpc: "--otlp-grpc" };
    /// In a `Metrics` document.
    pub(crate) const KEYS: Self = Self { listen: "listen", otlp_http: "otlpHttp", otlp_grpc: "otlpGrpc" };
}

/// What becomes of a server whose rules cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRules {
    /// It does not start.
    Refuse,
    /// It starts without any, and says so.
    GoWithout,
}

/// Settings of a metrics server; files are named, and read by [`Settings::options`].
#[derive(Debug)]
pub(crate) struct Settings {
    /// What the addresses are called.
    pub(crate) names: AddressNames,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Where to take OTLP over HTTP besides.
    pub(crate) otlp_http: Option<SocketAddr>,
    /// Where to take OTLP over gRPC.
    pub(crate) otlp_grpc: Option<SocketAddr>,
    /// Whether addresses beyond this machine are meant.
    pub(crate) open: bool,
    /// Whether clients may delete and take snapshots.
    pub(crate) admin: bool,
    /// Whether clients may make it read its files again.
    pub(crate) lifecycle: bool,
    /// A `prometheus.yml`.
    pub(crate) scrape_config: Option<PathBuf>,
    /// Files of rules, and patterns of such.
    pub(crate) rules: Vec<PathBuf>,
    /// What to do when the rules cannot be used.
    pub(crate) bad_rules: BadRules,
    /// A file or directory of objectives that become rules.
    pub(crate) objectives: Option<PathBuf>,
    /// Webhooks that hear of alerts.
    pub(crate) alert_webhooks: Vec<String>,
    /// Others who hear of alerts, and may change; `None` where there are never any.
    pub(crate) receivers: Option<Vec<ReceiverSpec>>,
    /// Where people find the server; the address that it listens on when `None`.
    pub(crate) external_url: Option<String>,
    /// Budgets and white lists.
    pub(crate) limits: Option<PathBuf>,
    /// Data directory.
    pub(crate) data: PathBuf,
    /// When a write is acknowledged.
    pub(crate) durability: Durability,
    /// How late samples may come.
    pub(crate) out_of_order_window: Duration,
    /// How long samples are kept; for ever when `None`.
    pub(crate) retention: Option<Duration>,
    /// How many bytes are kept.
    pub(crate) retention_bytes: Option<u64>,
    /// Series in memory at most.
    pub(crate) series_max: usize,
    /// Bytes of requests that are being read at most.
    pub(crate) intake_bytes_max: usize,
    /// The longest that a query may take.
    pub(crate) query_timeout: Duration,
    /// Queries at once.
    pub(crate) query_concurrency: usize,
    /// Samples that a query may hold.
    pub(crate) query_samples_max: u64,
    /// Cores that no query takes beside its own thread.
    pub(crate) cores_spared: usize,
    /// How far a query looks back.
    pub(crate) lookback: Duration,
    /// Parts of the language.
    pub(crate) features: Features,
    /// How profiles are kept.
    pub(crate) profiles: ProfileOptions,
    /// What the process says about itself.
    pub(crate) about: About,
}

impl Settings {
    /// Settings as the command line has them without flags, in this data directory.
    pub(crate) fn new(names: AddressNames, listen: SocketAddr, data: PathBuf) -> Self {
        let (limits, queries, store) = (ReceiveLimits::default(), QueryPolicy::default(), StoreOptions::default());
        Self {
            names,
            listen,
            otlp_http: None,
            otlp_grpc: None,
            open: false,
            admin: false,
            lifecycle: false,
            scrape_config: None,
            rules: Vec::new(),
            objectives: None,
            bad_rules: BadRules::Refuse,
            alert_webhooks: Vec::new(),
            receivers: None,
            external_url: None,
            limits: None,
            data,
            durability: store.durability,
            out_of_order_window: Duration::ZERO,
            retention: Some(Duration::from_hours(15 * 24)),
            retention_bytes: None,
            series_max: store.series_max,
            intake_bytes_max: limits.bodies_bytes_max,
            query_timeout: queries.timeout,
            query_concurrency: queries.concurrency,
            cores_spared: 0,
            query_samples_max: queries.options.limits.samples_max,
            lookback: Duration::from_millis(queries.options.lookback_ms.unsigned_abs()),
            features: Features::default(),
            profiles: ProfileOptions::default(),
            about: About::default(),
        }
    }

    /// Reads the files that are named. The error is for people, and says which file is wrong and where.
    pub(crate) fn options(self) -> Result<ServerOptions, String> {
        let (scrape, settings) = self.scrape()?;
        let rules = self.ruling(settings)?;
        let limits = self.limits.as_ref().map(|file| {
            limits::load(file).map_err(|problems| format!("{} cannot be used\n{problems}", file.display()))
        });
        let limits = limits.transpose()?;
        let mut options = Options {
            lookback_ms: i64::try_from(self.lookback.as_millis()).unwrap_or(i64::MAX),
            delayed_name_removal: self.features.delayed_name_removal,
            start_timestamps: self.features.start_timestamps,
            type_and_unit_labels: self.features.type_and_unit_labels,
            ..Options::default()
        };
        options.limits.samples_max = self.query_samples_max;
        let serve = |option, listen| ServerSpec { option, listen, open: self.open };
        let mut receive = ReceiveLimits { bodies_bytes_max: self.intake_bytes_max, ..ReceiveLimits::default() };
        receive.body_bytes_max = receive.body_bytes_max.min(receive.bodies_bytes_max);
        Ok(ServerOptions {
            spec: serve(self.names.listen, self.listen),
            otlp: OtlpServing {
                http: self.otlp_http.map(|listen| serve(self.names.otlp_http, listen)),
                grpc: self.otlp_grpc.map(|listen| serve(self.names.otlp_grpc, listen)),
                settings: OtlpSettings { options: scrape.fixed.otlp.clone(), ..OtlpSettings::default() },
            },
            store: StoreOptions {
                durability: self.durability,
                out_of_order_window: self.out_of_order_window,
                series_max: self.series_max,
                retention: self.retention,
                retention_bytes: self.retention_bytes,
                ..StoreOptions::default()
            },
            queries: QueryPolicy {
                timeout: self.query_timeout,
                concurrency: self.query_concurrency,
                options,
                language: self.features.language,
                admin: self.admin,
                lifecycle: self.lifecycle,
            },
            receive,
            cores_spared: self.cores_spared,
            profiles: self.profiles,
            limits,
            scrape,
            rules,
            dir: self.data,
            about: self.about,
        })
    }

    /// The jobs of the scrape configuration; what it says without effect is told here.
    fn scrape(&self) -> Result<(ScrapeOptions, RuleSettings), String> {
        let Some(file) = &self.scrape_config else { return Ok(Default::default()) };
        let config =
            prometheus::load(file).map_err(|problems| format!("{} cannot be used\n{problems}", file.display()))?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let fixed = Fixed { remotes: config.remotes, otlp: config.otlp };
        let scrape = ScrapeOptions { jobs: config.jobs, file: Some(file.clone()), shown: config.shown, fixed };
        Ok((scrape, config.rules))
    }

    /// The rules of all files, and who is told of alerts.
    fn ruling(&self, mut settings: RuleSettings) -> Result<RuleOptions, String> {
        settings.defaults.language = self.features.language;
        let groups = RuleOptions::load(&self.rules, self.objectives.as_deref(), &settings, settings.defaults);
        let groups = match (groups, self.bad_rules) {
            (Err(problems), BadRules::GoWithout) => {
                tracing::error!("no rule is evaluated until this is mended and read again: {problems}");
                Vec::new()
            }
            (groups, _) => groups?,
        };
        let external_url = self.external_url.clone().unwrap_or_else(|| format!("http://{}", self.listen));
        Ok(RuleOptions {
            files: self.rules.clone(),
            settings,
            objectives: self.objectives.clone(),
            groups,
            external_url: external_url.trim_end_matches('/').to_owned(),
            webhooks: self.alert_webhooks.clone(),
            receivers: self.receivers.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rules_refuse_a_server_or_leave_it_without_any() {
        let dir = tempfile::tempdir().unwrap();
        let rules = dir.path().join("rules.yml");
        std::fs::write(&rules, "groups: [{name: g, rules: [{record: r, expr: 'sum('}]}]\n").unwrap();
        let options = |bad_rules| {
            let settings =
                Settings::new(AddressNames::KEYS, SocketAddr::from(([127, 0, 0, 1], 0)), dir.path().join("data"));
            Settings { rules: vec![rules.clone()], bad_rules, ..settings }.options()
        };
        assert!(options(BadRules::Refuse).is_err_and(|problem| problem.contains("rules.yml:1")));
        assert!(options(BadRules::GoWithout).is_ok_and(|options| options.rules.groups.is_empty()));
    }
}
