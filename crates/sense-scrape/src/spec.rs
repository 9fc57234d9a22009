//! What the scraper is told: jobs, how their targets are found, and the limits of each scrape. Checked by the
//! configuration; nothing here is read from a file or the environment, but for credentials that a job names by file.

use std::{path::PathBuf, sync::Arc, time::Duration};

use homeostat_relabel::Rule;

/// Shortest interval between two scrapes of a target: ten a second is what a collector of counters can use.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Bytes of an uncompressed answer when a job sets no limit of its own: a hundred thousand series with long labels take
/// about 20 MB of text.
pub const BODY_BYTES_MAX: u64 = 64 << 20;
/// Targets of a job when it sets no limit of its own.
pub const TARGETS_MAX: usize = 10_000;

/// A job: targets that are scraped alike.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of Prometheus' scrape_config of the same name")]
pub struct Job {
    /// Value of the `job` label.
    pub name: String,
    /// Time between two scrapes of a target; at least [`INTERVAL_MIN`].
    pub interval: Duration,
    /// Longest scrape; at most the interval.
    pub timeout: Duration,
    /// Path that is asked, beginning with `/`.
    pub path: String,
    /// Whether targets speak TLS.
    pub scheme: Scheme,
    /// Query parameters.
    pub params: Vec<(String, Vec<String>)>,
    /// On a conflict the target's own labels win; otherwise they are renamed to `exported_…`.
    pub honor_labels: bool,
    /// Times that the target states are used; otherwise the time of the scrape.
    pub honor_timestamps: bool,
    /// Series whose times the target states get stale markers too.
    pub track_timestamps_staleness: bool,
    /// Whether gzip is asked for.
    pub compression: bool,
    /// Formats that are asked for, the best first.
    pub formats: Vec<Format>,
    /// The format of an answer that does not say which it is; refused when `None`.
    pub fallback_format: Option<Format>,
    /// Classic buckets are kept beside a native histogram.
    pub classic_beside_native: bool,
    /// Rewrites and chooses targets.
    pub relabel: Arc<[Rule]>,
    /// Rewrites and chooses series.
    pub metric_relabel: Arc<[Rule]>,
    /// Limits of each scrape.
    pub limits: Limits,
    /// How targets are spoken to.
    pub http: HttpSpec,
    /// Where targets come from.
    pub discovery: Vec<Discovery>,
}

impl Job {
    /// A job with Prometheus' defaults, but for the interval: 15 s, as everybody sets it.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            path: "/metrics".to_owned(),
            scheme: Scheme::Http,
            params: Vec::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            compression: true,
            formats: vec![Format::Protobuf, Format::OpenMetrics1, Format::OpenMetrics0, Format::Text1, Format::Text0],
            fallback_format: None,
            classic_beside_native: false,
            relabel: Arc::from([]),
            metric_relabel: Arc::from([]),
            limits: Limits::default(),
            http: HttpSpec { follow_redirects: true, ..HttpSpec::default() },
            discovery: Vec::new(),
        }
    }
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// In clear text.
    #[default]
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Formats of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `io.prometheus.client.MetricFamily`, length-delimited; the only one that carries native histograms.
    Protobuf,
    /// OpenMetrics 1.0.
    OpenMetrics1,
    /// OpenMetrics 0.0.1.
    OpenMetrics0,
    /// Prometheus text 1.0.0 (UTF-8 names).
    Text1,
    /// Prometheus text 0.0.4.
    Text0,
}

/// Bounds on one scrape. Going beyond one makes the whole scrape fail: half a target would look like a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed answer.
    pub body_bytes: u64,
    /// Series after relabelling; `None` is no limit.
    pub samples: Option<usize>,
    /// Labels of a series.
    pub labels: Option<usize>,
    /// Bytes of a label's name.
    pub label_name_bytes: Option<usize>,
    /// Bytes of a label's value.
    pub label_value_bytes: Option<usize>,
    /// Targets of the job after relabelling.
    pub targets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_BYTES_MAX,
            samples: None,
            labels: None,
            label_name_bytes: None,
            label_value_bytes: None,
            targets: TARGETS_MAX,
        }
    }
}

/// How an HTTP server is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSpec {
    /// Who we say we are.
    pub credentials: Option<Credentials>,
    /// Certificates, for `https`.
    pub tls: TlsSpec,
    /// Whether a redirect is followed (at most ten).
    pub follow_redirects: bool,
    /// Headers that are sent besides.
    pub headers: Vec<(String, String)>,
}

/// Who we say we are. Files are read at each request, so that a changed secret needs no restart.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Basic …`.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: Secret,
    },
    /// `Authorization: <kind> …`; `Bearer` unless another kind is named.
    Token {
        /// `Bearer` and the like.
        kind: String,
        /// The token.
        token: Secret,
    },
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Here.
    Text(String),
    /// In a file; white space around it does not count.
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Self::Token { kind, .. } => f.debug_struct("Token").field("kind", kind).finish_non_exhaustive(),
        }
    }
}

/// Certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSpec {
    /// Authorities to trust, PEM; those of the system when `None`.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Name that the server's certificate must have; that of the address when `None`.
    pub server_name: Option<String>,
    /// Any certificate is accepted. Named as what it is.
    pub insecure_skip_verify: bool,
}

/// Where targets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Written down.
    Static(Vec<TargetGroup>),
    /// In YAML or JSON files that match the patterns (`*` in the last part), read when they change and every `refresh`.
    File {
        /// Paths, the last part may hold `*`.
        patterns: Vec<PathBuf>,
        /// Longest time between two readings.
        refresh: Duration,
    },
    /// A JSON list of groups from a URL.
    Http {
        /// Which.
        url: String,
        /// Time between two requests.
        refresh: Duration,
        /// How it is spoken to.
        http: Box<HttpSpec>,
    },
    /// Records of DNS names.
    Dns {
        /// Names that are asked for.
        names: Vec<String>,
        /// Kind of record.
        kind: DnsKind,
        /// Port of targets found by `A` and `AAAA`.
        port: u16,
        /// Time between two requests.
        refresh: Duration,
    },
}

/// Kinds of DNS records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsKind {
    /// Host and port.
    #[default]
    Srv,
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
}

/// Targets with labels in common, from one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// Addresses, `host:port` or `host`.
    pub targets: Vec<String>,
    /// Labels of all of them; those of discovery begin with `__meta_`.
    pub labels: Vec<(String, String)>,
}
