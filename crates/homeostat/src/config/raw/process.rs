//! The documents of which there is one at most: `Gateway`, `Api`, `Store`, `Metrics`, `Sensing`.

use std::net::SocketAddr;

use homeostat_api::spec::Role;
use homeostat_model::Span;
use homeostat_store_series::Durability;

use crate::config::{
    read::{OneOrMany, Short, ShortForm, record, words},
    scalar::{Bytes, SecretText, Sha256, Whole},
    source::At,
};

record! {
    /// The data plane: where it listens and what clients may ask for. All of it is fixed for the life of a process: a
    /// change takes a restart, but for the content of TLS files, which is read again at every reload. `Service`, `Route`
    /// and the documents on objectives, rollouts, the guard and receivers are swapped while it runs.
    Gateway {
        /// Sockets to accept on.
        "listeners" listeners: Vec<At<Short<Listener>>> => default "['127.0.0.1:8080']";
        /// Worker threads, each with its own sockets, pools and counters. Left out: one per core.
        "workers" workers: Whole<1, 256> => optional;
        /// Whether `X-Forwarded-*` and `Forwarded` of clients are believed and extended. `false`: they are replaced.
        "trustForwarded" trust_forwarded: bool => default "false";
        /// Bounds on what clients may ask for.
        "limits" limits: Limits => default "{}";
    }
}

record! {
    /// A listening socket; the short form is its address. Without `tls` it speaks HTTP/1.1 and HTTP/2 with prior
    /// knowledge in cleartext.
    Listener {
        /// IP address and port; port 0 takes a free one.
        "address" address: SocketAddr => required;
        /// For logs and metrics. Left out: the address.
        "name" name: String => optional;
        /// Certificate and key, read at start and at every reload.
        "tls" tls: Tls => optional;
    }
}

impl ShortForm for Listener {
    type Short = SocketAddr;
    fn from_short(short: At<SocketAddr>) -> Self {
        Self { address: Some(short), name: None, tls: None }
    }
}

record! {
    /// PEM files of a TLS listener. Relative paths start at the working directory of the process.
    Tls {
        /// Certificate chain, leaf first.
        "certificate" certificate: String => required;
        /// Private key.
        "key" key: String => required;
    }
}

record! {
    /// Bounds on what clients may ask for; beyond them they get an error and the connection ends.
    Limits {
        /// Request line and headers together.
        "headerBytes" header_bytes: Bytes => default "64KiB";
        /// Header fields of a request.
        "headers" headers: Whole<1, 1000> => default "100";
        /// Request body; 413 beyond it.
        "bodyBytes" body_bytes: Bytes => default "1GiB";
        /// Open client connections over all workers; beyond it new ones are closed at once and counted.
        "connections" connections: Whole<1, 10_000_000> => default "120000";
        /// Concurrent streams of one HTTP/2 connection.
        "streams" streams: Whole<1, 100_000> => default "256";
        /// From accept, or on a kept connection from the head's first byte, to the head's last; the TLS handshake has as
        /// long.
        "headerTimeout" header_timeout: Span => default "10s";
        /// A kept-alive connection without a request is closed after this long.
        "keepAlive" keep_alive: Span => default "75s";
        /// Idle upstream connections kept per endpoint and worker.
        "upstreamIdle" upstream_idle: Whole<0, 100_000> => default "64";
        /// How long running requests may go on once a stop was asked for.
        "drain" drain: Span => default "10s";
    }
}

record! {
    /// The HTTP API and the console. Tokens are swapped while it runs; the addresses take a restart.
    Api {
        /// Where it listens. Anything but a loopback address needs at least one token.
        "listen" listen: SocketAddr => default "127.0.0.1:7700";
        /// Where people reach the console, for links in notifications: the address of the proxy in front, if there is
        /// one. Left out: `http://` and the address it listens on.
        "externalUrl" external_url: String => optional;
        /// Bearer tokens. When there are none, everybody who reaches the loopback address may do everything.
        "tokens" tokens: Vec<At<Token>> => default "[]";
    }
}

record! {
    /// One bearer token, given as `token` or as `sha256`.
    Token {
        /// Shown in the audit.
        "name" name: String => required;
        /// What it may do.
        "role" role: Role => required;
        /// The token: `${NAME}` takes it from the environment.
        "token" token: SecretText => optional;
        /// Its SHA-256 in hexadecimal; the token itself then stands nowhere.
        "sha256" sha256: Sha256 => optional;
    }
}

words! { Role {
    "read" => Role::Read, "See everything.";
    "operate" => Role::Operate, "And drive rollouts, decide about actions.";
    "admin" => Role::Admin, "And reload the configuration, break-glass.";
} }

record! {
    /// The data directory: journal of every decision, incidents, recovery after a crash. A change takes a restart.
    Store {
        /// The directory; made if missing. Relative paths start at the working directory of the process.
        "dir" dir: String => default "homeostat-data";
        /// When a record counts as durable.
        "commit" commit: Short<Commit> => default "{}";
        /// Outcomes in 10 ms ticks older than this are dropped; decisions are kept.
        "ticksKept" ticks_kept: Span => default "24h";
        /// Closed incidents, actions and decisions older than this are dropped.
        "incidentsKept" incidents_kept: Span => default "365d";
        /// Size of the whole directory; the oldest ticks go first, then the oldest closed incidents.
        "bytes" bytes: Bytes => default "10GiB";
    }
}

record! {
    /// The metrics server inside this process: it keeps what applications send and what it scrapes from them, answers
    /// Prometheus' queries, evaluates rules, and counts the events of objectives whose indicators are queries. Without
    /// this document there is none. A change takes a restart. `scrapeConfig` and `rules` are read again when the former
    /// changes and with every reload of the configuration; `limits` take a restart. Every `Receiver` hears of the alerts of
    /// rules, of their beginning and of their end.
    Metrics {
        /// Where it takes remote write and OTLP and answers Prometheus' HTTP API.
        "listen" listen: SocketAddr => default "127.0.0.1:9090";
        /// Lets everybody who reaches an address beyond this machine read and write metrics.
        "openToNetwork" open_to_network: bool => default "false";
        /// Where to take OTLP over HTTP besides, usually port 4318.
        "otlpHttp" otlp_http: SocketAddr => optional;
        /// Where to take OTLP over gRPC, usually port 4317.
        "otlpGrpc" otlp_grpc: SocketAddr => optional;
        /// A `prometheus.yml` with what to scrape, where to send samples on, and whom to alert.
        "scrapeConfig" scrape_config: String => optional;
        /// Files of recording and alerting rules; the last part of a path may hold `*` and `?`.
        "rules" rules: OneOrMany<String> => optional;
        /// Where people find this server, for links in alerts. Left out: the address that it listens on.
        "externalUrl" external_url: String => optional;
        /// A file of budgets of series and label values.
        "limits" limits: String => optional;
        /// When a write is acknowledged.
        "durability" durability: Durability => default "durable";
        /// How far behind the newest sample of its series a sample may come.
        "outOfOrderWindow" out_of_order_window: Span => default "0s";
        /// How long samples are kept, counted from the newest one; `0s` keeps them for ever.
        "retention" retention: Span => default "15d";
        /// Size of the blocks that are kept; beyond it the oldest go. Left out: no limit.
        "retentionSize" retention_size: Bytes => optional;
    }
}

words! { Durability {
    "durable" => Durability::Durable, "Once it is on disk.";
    "relaxed" => Durability::Relaxed, "Once it is in memory: a crash may lose the last fraction of a second.";
} }

record! {
    /// Group commit: records share one fsync.
    Commit {
        /// Longest wait of the first record.
        "interval" interval: Span => default "5ms";
        /// Bytes that end the wait early.
        "bytes" bytes: Bytes => default "64KiB";
    }
}

/// The short form of `commit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EveryRecord;

words! { EveryRecord {
    "every-record" => EveryRecord, "Each record is forced to disk by itself.";
} }

impl ShortForm for Commit {
    type Short = EveryRecord;
    fn from_short(_: At<EveryRecord>) -> Self {
        Self { interval: None, bytes: None }
    }
}

record! {
    /// How much memory profiles may take in this process, all services together. It can be changed while it runs.
    Sensing {
        /// Windows that are held for incidents to come, packed; beyond it the oldest go, whoever's they are. A busy program fills
        /// 8 MiB in ten minutes and never has more.
        "memory" memory: Bytes => default "256MiB";
        /// Memory of the whole process at which no profiles are taken any more, until a tenth of it is free; what is held stays. The
        /// kernel's samples need tables and names of large programs for as long as a window. Write more where the process holds
        /// many series, or its profiles end.
        "processMemory" process_memory: Bytes => default "2GiB";
    }
}
