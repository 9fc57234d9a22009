//! `homeostat server`: a metrics server that speaks Prometheus, until it is asked to stop.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::ValueEnum;
use homeostat_api::prometheus::About;
use homeostat_model::error_chain::chain;
use homeostat_profile::Redaction;
use homeostat_sense_pprof::Kind;
use homeostat_sense_scrape::spec::Job;
use homeostat_store_series::Durability;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    quantity::{Bytes, Time, count, parse_bytes, parse_count, parse_time},
    serving,
    up::{LogFormat, raise_file_limit},
};
use crate::{
    config::prometheus,
    runtime::server::{
        self, ProfileOptions, RunningServer, ServerOptions,
        features::{Features, NAMES},
        settings::{AddressNames, BadRules, Settings},
    },
};

/// Runs a metrics server that speaks Prometheus: remote write and OTLP in, PromQL and the HTTP API out
///
/// It needs no configuration file. Let a Prometheus write to it (`remote_write: [{url: http://ADDR/api/v1/write}]`),
/// let an OpenTelemetry SDK or collector export metrics to it (OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is
/// http://ADDR/api/v1/otlp/v1/metrics),
/// point Grafana's Prometheus data source or `promtool query instant http://ADDR QUERY` at it, and find its own metrics
/// at /metrics. What was acknowledged is on disk. SIGINT or SIGTERM finishes running requests and stops, a second one
/// stops at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090", help_heading = "Serving")]
    listen: SocketAddr,
    /// Let clients take snapshots and delete series (`/api/v1/admin/tsdb/…`)
    #[arg(long, help_heading = "Serving")]
    enable_admin_api: bool,
    /// Let clients make the server read its configuration again (`POST /-/reload`)
    #[arg(long, help_heading = "Serving")]
    enable_lifecycle: bool,
    /// Let everybody who reaches an address beyond this machine read and write
    #[arg(long, help_heading = "Serving")]
    open_to_network: bool,

    /// Take OTLP over HTTP here as well (`POST /v1/metrics`); alone it means OTLP's own port. The main address takes it
    /// in any case, at `/api/v1/otlp/v1/metrics`
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:4318", help_heading = "Serving")]
    otlp_http: Option<SocketAddr>,
    /// Take OTLP over gRPC here; alone it means OTLP's own port
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:4317", help_heading = "Serving")]
    otlp_grpc: Option<SocketAddr>,
    /// Scrape what the `scrape_configs` of this `prometheus.yml` say, send samples on to its `remote_write`, translate OTLP
    /// by its `otlp`; without it nothing is scraped or sent. A changed file is read again, as it is on SIGHUP; one with
    /// problems changes nothing
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    scrape_config: Option<PathBuf>,

    /// Evaluate the recording and alerting rules of this file; the last part of the path may hold `*` and `?`. May be
    /// given several times, and beside the `rule_files` of the scrape configuration
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    rules: Vec<PathBuf>,
    /// Record and alert by the objectives of this file, or of the `*.yaml` files of this directory: documents of OpenSLO
    /// (`openslo/v1`) and Sloth (`prometheus/v1`) whose indicators are queries. Read again with the rules
    #[arg(long, value_name = "FILE_OR_DIR", help_heading = "Rules")]
    objectives: Option<PathBuf>,
    /// Tell this webhook of alerts, in Alertmanager's form; what it has not heard yet is kept on disk
    #[arg(long, value_name = "URL", help_heading = "Rules")]
    alert_webhook: Vec<String>,
    /// Where people find this server, for links in alerts [default: the address that it listens on]
    #[arg(long, value_name = "URL", help_heading = "Rules")]
    external_url: Option<String>,

    /// Data directory; made if need be, used by one process at a time
    #[arg(long, value_name = "DIR", default_value = "homeostat-data", help_heading = "Keeping")]
    data: PathBuf,
    /// When a write is acknowledged: `durable` once it is on disk, `relaxed` once it is in memory
    #[arg(long, value_enum, default_value_t = Promise::Durable, help_heading = "Keeping")]
    durability: Promise,
    /// How far behind the newest sample of its series a sample may come
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time, help_heading = "Keeping")]
    out_of_order_window: Time,
    /// How long samples are kept, counted from the newest one; `0s` keeps them for ever
    #[arg(long, value_name = "TIME", default_value = "15d", value_parser = parse_time, help_heading = "Keeping")]
    retention: Time,
    /// How much is kept; beyond it the oldest blocks go [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "Keeping")]
    retention_size: Option<Bytes>,
    /// Series in memory at most; samples of others are refused
    #[arg(long, value_name = "COUNT", default_value = "10000000", value_parser = parse_count, help_heading = "Keeping")]
    series_max: u64,
    /// Budgets of series and label values, and white lists of jobs, from this YAML file; without it only `--series-max` holds
    #[arg(long, value_name = "FILE", help_heading = "Keeping")]
    limits: Option<PathBuf>,
    /// Memory for requests that are being read; beyond it writers are asked to come again (503)
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes, help_heading = "Keeping")]
    intake_memory: Bytes,

    /// Pull profiles of what the `scrape_configs` of this file in the form of `prometheus.yml` find: `/debug/pprof/…` at each
    /// `scrape_interval`, whatever the `metrics_path`. It may be the file of `--scrape-config`. Read at the start
    #[arg(long, value_name = "FILE", help_heading = "Profiles")]
    profile_config: Option<PathBuf>,
    /// Which kinds are pulled: cpu, heap, allocs, mutex, block, goroutine
    #[arg(
        long,
        value_name = "KIND,...",
        value_delimiter = ',',
        default_value = "cpu,heap,mutex,block,goroutine",
        help_heading = "Profiles"
    )]
    profile_kinds: Vec<String>,
    /// How long profiles are kept; `0s` keeps them for ever
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = parse_time, help_heading = "Profiles")]
    profile_retention: Time,
    /// Where profiles are kept: a directory or `s3://BUCKET/PREFIX`, whose settings are taken from the environment
    /// (`AWS_…`) [default: within the data directory]
    #[arg(long, value_name = "URL", help_heading = "Profiles")]
    profile_place: Option<String>,
    /// Values of labels are not kept when the label's name has a match of this expression, in any case; empty keeps all
    #[arg(long, value_name = "REGEX", default_value = homeostat_profile::KEYS_DEFAULT, help_heading = "Profiles")]
    redact_labels: String,
    /// What matches is not kept in any text of a profile, beside web addresses and names of home directories; several times
    #[arg(long, value_name = "REGEX", help_heading = "Profiles")]
    redact_texts: Vec<String>,

    /// The longest that a query may take; its request may ask for less
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_time, help_heading = "Queries")]
    query_timeout: Time,
    /// Queries that run at once; others wait for their turn
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = parse_count, help_heading = "Queries")]
    query_concurrency: u64,
    /// Samples that one query may hold in memory
    #[arg(long, value_name = "COUNT", default_value = "50000000", value_parser = parse_count, help_heading = "Queries")]
    query_samples_max: u64,
    /// How far a query looks back for the newest sample of a series
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time, help_heading = "Queries")]
    lookback: Time,
    /// Switch parts of the language on, by the names of Prometheus' feature flags; all but `type-and-unit-labels` are on
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help = enable_help(), help_heading = "Queries")]
    enable_feature: Vec<String>,
    /// Switch parts of the language off
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Queries")]
    disable_feature: Vec<String>,

    /// What to log: error, warn, info, debug, trace, or per part as in `info,homeostat_api=debug`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Promise {
    /// Once it is on disk: it survives a crash and a power loss
    Durable,
    /// Once it is in memory: a crash may lose the last fraction of a second
    Relaxed,
}

/// Threads of the async runtime: sockets and parameters only; queries and intake have threads of their own.
const SOCKET_THREADS: usize = 2;

fn address(listen: Option<SocketAddr>) -> String {
    listen.map_or_else(|| "off".to_owned(), |listen| listen.to_string())
}

fn enable_help() -> String {
    format!(
        "Switch parts of the language on, by the names of Prometheus' feature flags; `promql-*` are on already. There are {}",
        NAMES.join(", ")
    )
}

pub(crate) fn run(args: Args) -> ExitCode {
    let (log, format) = (args.log.clone(), args.log_format);
    serving::run(&log, format, SOCKET_THREADS, || Ok(serve(args.options()?)))
}

async fn serve(options: ServerOptions) -> ExitCode {
    raise_file_limit();
    let dir = options.dir.display().to_string();
    // Taken before anything is opened, so that an early signal is a stop as well.
    let mut told = match Told::listen() {
        Ok(told) => told,
        Err(problem) => {
            eprintln!("homeostat: cannot listen for signals: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let running = tokio::select! {
        started = server::start(options) => started,
        () = told.until_stop() => return ExitCode::SUCCESS,
    };
    let running = match running {
        Ok(running) => running,
        Err(problem) => {
            eprintln!("homeostat: {}", chain(&problem));
            return ExitCode::FAILURE;
        }
    };
    let found = running.recovery();
    if let Some(torn) = &found.torn_tail {
        tracing::warn!("the log ended in the middle of a write, which was never acknowledged and is dropped: {torn:?}");
    }
    tracing::info!(series = found.series, samples = found.samples, took = ?found.took, "opened {dir}");
    for (transport, address) in running.otlp_addresses() {
        println!("OTLP over {transport} at {address}");
    }
    println!("homeostat server is ready at http://{}/", running.address());
    while told.next().await == Heard::Reload {
        running.reload().await;
    }
    tracing::info!("stopping: running requests are finished, then the log is synced");
    tokio::select! {
        code = stop(running) => code,
        () = told.until_stop() => {
            tracing::warn!("stopped at once on a second signal");
            ExitCode::from(130)
        }
    }
}

async fn stop(running: RunningServer) -> ExitCode {
    match running.stop().await {
        0 => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        lost => {
            tracing::error!(
                lost,
                "stopped, but the disk did not take everything; none of it was acknowledged as durable"
            );
            ExitCode::FAILURE
        }
    }
}

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Stop,
    Reload,
}

/// SIGINT and SIGTERM, which end the process, and SIGHUP, which makes it read its configuration again.
struct Told {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Told {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.hangup.recv() => Heard::Reload,
        }
    }

    async fn until_stop(&mut self) {
        while self.next().await == Heard::Reload {}
    }
}

impl Args {
    fn options(self) -> Result<ServerOptions, String> {
        for (flag, time) in [("--query-timeout", &self.query_timeout), ("--lookback", &self.lookback)] {
            if time.0.is_zero() {
                return Err(format!("`{flag}` must be longer than nothing"));
            }
        }
        let features = Features::of(&self.enable_feature, &self.disable_feature)?;
        for url in &self.alert_webhook {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(format!(
                    "`--alert-webhook {url}` is no address: write it whole, with `http://` or `https://`"
                ));
            }
        }
        let redaction = self.redaction()?;
        let (pull_jobs, pull_kinds) = self.pulling()?;
        let about = About { flags: self.flags(features), retention: self.kept() };
        Settings {
            names: AddressNames::FLAGS,
            listen: self.listen,
            otlp_http: self.otlp_http,
            otlp_grpc: self.otlp_grpc,
            open: self.open_to_network,
            admin: self.enable_admin_api,
            lifecycle: self.enable_lifecycle,
            scrape_config: self.scrape_config,
            rules: self.rules,
            objectives: self.objectives,
            alert_webhooks: self.alert_webhook,
            bad_rules: BadRules::Refuse,
            receivers: None,
            external_url: self.external_url,
            limits: self.limits,
            data: self.data,
            durability: match self.durability {
                Promise::Durable => Durability::Durable,
                Promise::Relaxed => Durability::Relaxed,
            },
            out_of_order_window: self.out_of_order_window.0,
            retention: Some(self.retention.0).filter(|retention| !retention.is_zero()),
            retention_bytes: self.retention_size.as_ref().map(|size| size.0),
            series_max: count(self.series_max),
            intake_bytes_max: count(self.intake_memory.0),
            query_timeout: self.query_timeout.0,
            query_concurrency: count(self.query_concurrency),
            query_samples_max: self.query_samples_max,
            cores_spared: 0,
            lookback: self.lookback.0,
            features,
            profiles: ProfileOptions {
                place: self.profile_place,
                settings: std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect(),
                store: homeostat_store_profiles::StoreOptions {
                    redaction,
                    retention: Some(self.profile_retention.0).filter(|retention| !retention.is_zero()),
                    ..homeostat_store_profiles::StoreOptions::default()
                },
                jobs: pull_jobs,
                kinds: pull_kinds,
            },
            about,
        }
        .options()
    }

    /// Whose profiles are pulled, and which.
    fn pulling(&self) -> Result<(Vec<Job>, Vec<Kind>), String> {
        let kind = |name: &String| {
            Kind::named(name).ok_or_else(|| {
                let known = Kind::ALL.map(Kind::name).join(", ");
                format!("`--profile-kinds` has {name:?}; there are {known}")
            })
        };
        let kinds = self.profile_kinds.iter().map(kind).collect::<Result<_, _>>()?;
        let Some(file) = &self.profile_config else { return Ok((Vec::new(), kinds)) };
        let config =
            prometheus::load(file).map_err(|problems| format!("{} cannot be used\n{problems}", file.display()))?;
        Ok((config.jobs, kinds))
    }

    /// What is taken out of profiles.
    fn redaction(&self) -> Result<Redaction, String> {
        let own = self.redact_texts.iter().map(|pattern| (pattern.as_str(), homeostat_profile::REDACTED));
        let values: Vec<_> = homeostat_profile::VALUES_DEFAULT.into_iter().chain(own).collect();
        Redaction::new(&self.redact_labels, &values).map_err(|bad| bad.to_string())
    }

    /// How long and how much is kept, in words.
    fn kept(&self) -> String {
        let time = if self.retention.0.is_zero() { "for ever".to_owned() } else { self.retention.to_string() };
        self.retention_size.as_ref().map_or_else(|| time.clone(), |size| format!("{time} or {size}"))
    }

    /// What is in force, for those who ask over the API.
    fn flags(&self, features: Features) -> BTreeMap<String, String> {
        let pairs = [
            ("listen", self.listen.to_string()),
            ("otlp-http", address(self.otlp_http)),
            ("otlp-grpc", address(self.otlp_grpc)),
            ("data", self.data.display().to_string()),
            ("durability", format!("{:?}", self.durability).to_lowercase()),
            ("out-of-order-window", self.out_of_order_window.to_string()),
            ("retention", self.kept()),
            ("enable-admin-api", self.enable_admin_api.to_string()),
            ("enable-lifecycle", self.enable_lifecycle.to_string()),
            (
                "profile-config",
                self.profile_config.as_ref().map_or_else(String::new, |file| file.display().to_string()),
            ),
            ("profile-kinds", self.profile_kinds.join(",")),
            ("profile-retention", self.profile_retention.to_string()),
            ("profile-place", self.profile_place.clone().unwrap_or_default()),
            ("redact-labels", self.redact_labels.clone()),
            ("redact-texts", self.redact_texts.join(" ")),
            ("series-max", self.series_max.to_string()),
            ("limits", self.limits.as_ref().map_or_else(String::new, |file| file.display().to_string())),
            ("intake-memory", self.intake_memory.to_string()),
            ("query-timeout", self.query_timeout.to_string()),
            ("query-concurrency", self.query_concurrency.to_string()),
            ("query-samples-max", self.query_samples_max.to_string()),
            ("lookback", self.lookback.to_string()),
            ("rules", self.rules.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(",")),
            ("objectives", self.objectives.as_ref().map_or_else(String::new, |path| path.display().to_string())),
            ("external-url", self.external_url.clone().unwrap_or_default()),
            ("scrape-config", self.scrape_config.as_ref().map_or_else(String::new, |file| file.display().to_string())),
            ("enable-feature", features.names().join(",")),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
