//! `prometheus.yml` as written.

use homeostat_relabel::Action;
use homeostat_relay_write::Version as Message;
use homeostat_sense_scrape::spec::{DnsKind, Format, Scheme};
use homeostat_wire::otlp::Strategy;

use super::scalars::{PlainSecret, PromDuration, Size, Text};
use crate::config::{
    read::{Any, Entries, OneOrMany, record, words},
    scalar::Whole,
    source::At,
};

/// Counts that may be any number.
pub(super) type Count = Whole<0, { u64::MAX }>;

record! {
    /// The file.
    PrometheusFile {
        /// Defaults of all jobs.
        "global" global: Global => default "{}";
        /// What is scraped.
        "scrape_configs" jobs: Vec<ScrapeConfig> => default "[]";
        /// Files of rules; the last part of a path may hold `*`.
        "rule_files" rule_files: Vec<Text> => default "[]";
        /// Further files of jobs; not read.
        "scrape_config_files" scrape_config_files: Any => optional;
        /// Who is told of alerts.
        "alerting" alerting: Alerting => optional;
        /// Where samples are sent on.
        "remote_write" remote_write: Vec<RemoteWrite> => default "[]";
        /// Where samples are read from.
        "remote_read" remote_read: Any => optional;
        /// Settings of the store.
        "storage" storage: Any => optional;
        /// Spans of Prometheus itself.
        "tracing" tracing: Any => optional;
        /// How OTLP is translated.
        "otlp" otlp: Otlp => default "{}";
        /// Settings of the runtime.
        "runtime" runtime: Any => optional;
    }
}

record! {
    /// Defaults of all jobs.
    Global {
        /// Time between two scrapes.
        "scrape_interval" scrape_interval: PromDuration => default "1m";
        /// Longest scrape.
        "scrape_timeout" scrape_timeout: PromDuration => default "10s";
        /// Formats that are asked for.
        "scrape_protocols" scrape_protocols: Vec<Format> => optional;
        /// Bytes of an answer.
        "body_size_limit" body_size_limit: Size => optional;
        /// Series of an answer.
        "sample_limit" sample_limit: Count => optional;
        /// Labels of a series.
        "label_limit" label_limit: Count => optional;
        /// Bytes of a label's name.
        "label_name_length_limit" label_name_length_limit: Count => optional;
        /// Bytes of a label's value.
        "label_value_length_limit" label_value_length_limit: Count => optional;
        /// Targets of a job.
        "target_limit" target_limit: Count => optional;
        /// Classic buckets are kept beside a native histogram.
        "always_scrape_classic_histograms" classic: bool => default "false";
        /// Time between two evaluations of rules.
        "evaluation_interval" evaluation_interval: PromDuration => optional;
        /// Labels for other systems: added to what is sent on, not to what is stored.
        "external_labels" external_labels: Entries<Text, Text> => optional;
        /// How far back the expressions of rules look.
        "rule_query_offset" rule_query_offset: PromDuration => optional;
        /// No effect here.
        "query_log_file" query_log_file: Any => optional;
        /// No effect here.
        "scrape_failure_log_file" scrape_failure_log_file: Any => optional;
        /// No effect here.
        "keep_dropped_targets" keep_dropped_targets: Any => optional;
        /// Names are UTF-8 here.
        "metric_name_validation_scheme" metric_name_validation_scheme: Any => optional;
        /// Names are UTF-8 here.
        "metric_name_escaping_scheme" metric_name_escaping_scheme: Any => optional;
        /// Native histograms are always read here.
        "scrape_native_histograms" scrape_native_histograms: Any => optional;
        /// No effect here.
        "convert_classic_histograms_to_nhcb" convert_classic_histograms_to_nhcb: Any => optional;
    }
}

record! {
    /// A destination that samples are sent on to.
    RemoteWrite {
        /// Where.
        "url" url: Text => required;
        /// Name in metrics; the URL's hash otherwise.
        "name" name: Text => optional;
        /// Longest request.
        "remote_timeout" remote_timeout: PromDuration => default "30s";
        /// Version of the protocol, by its message.
        "protobuf_message" protobuf_message: Message => default "prometheus.WriteRequest";
        /// Headers that are sent besides.
        "headers" headers: Entries<Text, Text> => optional;
        /// Rewrites and chooses series.
        "write_relabel_configs" write_relabel_configs: Vec<Relabel> => default "[]";
        /// Exemplars are not sent.
        "send_exemplars" send_exemplars: bool => default "false";
        /// Whether native histograms are sent.
        "send_native_histograms" send_native_histograms: bool => default "false";
        /// User and password.
        "basic_auth" basic_auth: BasicAuth => optional;
        /// A token.
        "authorization" authorization: Authorization => optional;
        /// A token (older form).
        "bearer_token" bearer_token: PlainSecret => optional;
        /// A token in a file (older form).
        "bearer_token_file" bearer_token_file: Text => optional;
        /// Certificates.
        "tls_config" tls_config: TlsConfig => optional;
        /// Redirects are not followed: a body goes where it was sent.
        "follow_redirects" follow_redirects: Any => optional;
        /// HTTP/1.1 is spoken in any case.
        "enable_http2" enable_http2: Any => optional;
        /// How samples wait.
        "queue_config" queue_config: QueueConfig => default "{}";
        /// Metadata are not sent.
        "metadata_config" metadata_config: Any => optional;
        /// Names are UTF-8 here.
        "round_robin_dns" round_robin_dns: Any => optional;
    }
}

record! {
    /// How samples wait for a destination.
    QueueConfig {
        /// Samples of a request.
        "max_samples_per_send" max_samples_per_send: Whole<1, 100_000> => default "2000";
        /// How long a request waits to be filled.
        "batch_send_deadline" batch_send_deadline: PromDuration => default "5s";
        /// First wait before a request is sent again.
        "min_backoff" min_backoff: PromDuration => default "30ms";
        /// Longest such wait.
        "max_backoff" max_backoff: PromDuration => default "5s";
        /// Requests under way at once; there are eight lanes.
        "max_shards" max_shards: Count => default "8";
        /// Age beyond which samples are not sent; `0s` means a day.
        "sample_age_limit" sample_age_limit: PromDuration => default "0s";
        /// Lanes are fixed.
        "min_shards" min_shards: Any => optional;
        /// The queue is on disk.
        "capacity" capacity: Any => optional;
        /// 429 is always tried again.
        "retry_on_http_429" retry_on_http_429: Any => optional;
    }
}

record! {
    /// How OTLP is translated.
    Otlp {
        /// What happens to names.
        "translation_strategy" translation_strategy: Strategy => default "UnderscoreEscapingWithSuffixes";
        /// Attributes of a resource that become labels.
        "promote_resource_attributes" promote_resource_attributes: Vec<Text> => default "[]";
        /// All of them do.
        "promote_all_resource_attributes" promote_all_resource_attributes: bool => default "false";
        /// All but these, with `promote_all_resource_attributes`.
        "ignore_resource_attributes" ignore_resource_attributes: Vec<Text> => default "[]";
        /// `target_info` also keeps what `job` and `instance` are made of.
        "keep_identifying_resource_attributes" keep_identifying: bool => default "false";
        /// Histograms with explicit bounds become native ones.
        "convert_histograms_to_nhcb" convert_histograms_to_nhcb: bool => default "false";
        /// Scopes become labels.
        "promote_scope_metadata" promote_scope_metadata: bool => default "false";
        /// A label that would begin with `_` gets a prefix.
        "label_name_underscore_sanitization" label_name_underscore_sanitization: bool => default "true";
        /// Several `_` in a row are kept.
        "label_name_preserve_multiple_underscores" label_name_preserve_multiple_underscores: bool => default "true";
    }
}

record! {
    /// Who is told of alerts.
    Alerting {
        /// Rewrites and chooses alerts.
        "alert_relabel_configs" relabel: Vec<Relabel> => default "[]";
        /// Alertmanagers.
        "alertmanagers" alertmanagers: Vec<AlertmanagerConfig> => default "[]";
    }
}

record! {
    /// Alertmanagers that are spoken to alike.
    AlertmanagerConfig {
        /// `http` or `https`.
        "scheme" scheme: Scheme => default "http";
        /// What comes before `/api/v2/alerts`.
        "path_prefix" path_prefix: Text => default "'/'";
        /// Longest request.
        "timeout" timeout: PromDuration => default "10s";
        /// Version 2 is spoken in any case.
        "api_version" api_version: Any => optional;
        /// Addresses that are written down.
        "static_configs" static_configs: Vec<StaticGroup> => default "[]";
        /// Whether redirects are followed; they are not.
        "follow_redirects" follow_redirects: Any => optional;
        /// HTTP/1.1 is spoken in any case.
        "enable_http2" enable_http2: Any => optional;
        /// Not understood here.
        "basic_auth" basic_auth: Any => optional;
        /// Not understood here.
        "authorization" authorization: Any => optional;
        /// Not understood here.
        "tls_config" tls_config: Any => optional;
        /// Not understood here.
        "file_sd_configs" file_sd: Any => optional;
        /// Not understood here.
        "dns_sd_configs" dns_sd: Any => optional;
        /// Not understood here.
        "http_sd_configs" http_sd: Any => optional;
        /// Not understood here.
        "relabel_configs" relabel: Any => optional;
    }
}

record! {
    /// A job: targets that are scraped alike.
    ScrapeConfig {
        /// Its name, and the value of the `job` label.
        "job_name" job_name: Text => required;
        /// Time between two scrapes.
        "scrape_interval" scrape_interval: PromDuration => optional;
        /// Longest scrape.
        "scrape_timeout" scrape_timeout: PromDuration => optional;
        /// Formats that are asked for.
        "scrape_protocols" scrape_protocols: Vec<Format> => optional;
        /// The format of an answer that does not name its own.
        "fallback_scrape_protocol" fallback: Format => optional;
        /// Path that is asked.
        "metrics_path" metrics_path: Text => default "/metrics";
        /// `http` or `https`.
        "scheme" scheme: Scheme => default "http";
        /// Query parameters.
        "params" params: Entries<Text, OneOrMany<Text>> => optional;
        /// The target's own labels win.
        "honor_labels" honor_labels: bool => default "false";
        /// The target's own times are used.
        "honor_timestamps" honor_timestamps: bool => default "true";
        /// Series with own times are marked as ended too.
        "track_timestamps_staleness" track_timestamps_staleness: bool => default "false";
        /// Whether gzip is asked for.
        "enable_compression" enable_compression: bool => default "true";
        /// HTTP/1.1 is spoken in any case.
        "enable_http2" enable_http2: Any => optional;
        /// Whether redirects are followed.
        "follow_redirects" follow_redirects: bool => default "true";
        /// User and password.
        "basic_auth" basic_auth: BasicAuth => optional;
        /// A token.
        "authorization" authorization: Authorization => optional;
        /// A token (older form).
        "bearer_token" bearer_token: PlainSecret => optional;
        /// A token in a file (older form).
        "bearer_token_file" bearer_token_file: Text => optional;
        /// Certificates.
        "tls_config" tls_config: TlsConfig => optional;
        /// Headers that are sent besides.
        "http_headers" http_headers: Entries<Text, HttpHeader> => optional;
        /// Targets that are written down.
        "static_configs" static_configs: Vec<StaticGroup> => default "[]";
        /// Targets in files.
        "file_sd_configs" file_sd_configs: Vec<FileSd> => default "[]";
        /// Targets from URLs.
        "http_sd_configs" http_sd_configs: Vec<HttpSd> => default "[]";
        /// Targets from DNS.
        "dns_sd_configs" dns_sd_configs: Vec<DnsSd> => default "[]";
        /// Rewrites and chooses targets.
        "relabel_configs" relabel_configs: Vec<Relabel> => default "[]";
        /// Rewrites and chooses series.
        "metric_relabel_configs" metric_relabel_configs: Vec<Relabel> => default "[]";
        /// Bytes of an answer.
        "body_size_limit" body_size_limit: Size => optional;
        /// Series of an answer.
        "sample_limit" sample_limit: Count => optional;
        /// Labels of a series.
        "label_limit" label_limit: Count => optional;
        /// Bytes of a label's name.
        "label_name_length_limit" label_name_length_limit: Count => optional;
        /// Bytes of a label's value.
        "label_value_length_limit" label_value_length_limit: Count => optional;
        /// Targets of the job.
        "target_limit" target_limit: Count => optional;
        /// Classic buckets are kept beside a native histogram.
        "always_scrape_classic_histograms" classic: bool => optional;
        /// No effect here.
        "keep_dropped_targets" keep_dropped_targets: Any => optional;
        /// No effect here.
        "native_histogram_bucket_limit" native_histogram_bucket_limit: Any => optional;
        /// No effect here.
        "native_histogram_min_bucket_factor" native_histogram_min_bucket_factor: Any => optional;
        /// Native histograms are always read here.
        "scrape_native_histograms" scrape_native_histograms: Any => optional;
        /// No effect here.
        "convert_classic_histograms_to_nhcb" convert_classic_histograms_to_nhcb: Any => optional;
        /// Names are UTF-8 here.
        "metric_name_validation_scheme" metric_name_validation_scheme: Any => optional;
        /// Names are UTF-8 here.
        "metric_name_escaping_scheme" metric_name_escaping_scheme: Any => optional;
        /// No effect here.
        "scrape_failure_log_file" scrape_failure_log_file: Any => optional;
    }
}

record! {
    /// User and password.
    BasicAuth {
        /// User.
        "username" username: Text => required;
        /// Password.
        "password" password: PlainSecret => optional;
        /// File with the password.
        "password_file" password_file: Text => optional;
    }
}

record! {
    /// A token.
    Authorization {
        /// `Bearer` and the like.
        "type" kind: Text => default "Bearer";
        /// The token.
        "credentials" credentials: PlainSecret => optional;
        /// File with the token.
        "credentials_file" credentials_file: Text => optional;
    }
}

record! {
    /// Certificates.
    TlsConfig {
        /// Authorities to trust, PEM.
        "ca_file" ca_file: Text => optional;
        /// Our certificate, PEM.
        "cert_file" cert_file: Text => optional;
        /// Our key, PEM.
        "key_file" key_file: Text => optional;
        /// Name that the server's certificate must have.
        "server_name" server_name: Text => optional;
        /// Any certificate is accepted.
        "insecure_skip_verify" insecure_skip_verify: bool => default "false";
        /// TLS 1.2 and 1.3 are spoken in any case.
        "min_version" min_version: Any => optional;
        /// TLS 1.2 and 1.3 are spoken in any case.
        "max_version" max_version: Any => optional;
    }
}

record! {
    /// Values of a header.
    HttpHeader {
        /// Written out.
        "values" values: Vec<Text> => default "[]";
        /// Written out, and not shown.
        "secrets" secrets: Vec<PlainSecret> => default "[]";
    }
}

record! {
    /// Targets with labels in common.
    StaticGroup {
        /// Addresses.
        "targets" targets: Vec<At<Text>> => default "[]";
        /// Labels of all of them.
        "labels" labels: Entries<Text, Text> => optional;
    }
}

record! {
    /// Targets in files.
    FileSd {
        /// Paths; the last part may hold `*`.
        "files" files: Vec<Text> => required;
        /// Longest time between two readings.
        "refresh_interval" refresh_interval: PromDuration => default "5m";
    }
}

record! {
    /// Targets from a URL.
    HttpSd {
        /// Which.
        "url" url: Text => required;
        /// Time between two requests.
        "refresh_interval" refresh_interval: PromDuration => default "1m";
        /// User and password.
        "basic_auth" basic_auth: BasicAuth => optional;
        /// A token.
        "authorization" authorization: Authorization => optional;
        /// Certificates.
        "tls_config" tls_config: TlsConfig => optional;
        /// Whether redirects are followed.
        "follow_redirects" follow_redirects: bool => default "true";
        /// Headers that are sent besides.
        "http_headers" http_headers: Entries<Text, HttpHeader> => optional;
    }
}

record! {
    /// Targets from DNS.
    DnsSd {
        /// Names that are asked for.
        "names" names: Vec<Text> => required;
        /// Kind of record.
        "type" kind: DnsKind => default "SRV";
        /// Port of targets found by address records.
        "port" port: Whole<1, 65535> => optional;
        /// Time between two requests.
        "refresh_interval" refresh_interval: PromDuration => default "30s";
    }
}

record! {
    /// A rule that rewrites, keeps or drops.
    Relabel {
        /// Labels whose values are joined.
        "source_labels" source_labels: Vec<Text> => default "[]";
        /// Between them.
        "separator" separator: Text => default "';'";
        /// Matched against the whole.
        "regex" regex: Text => default "(.*)";
        /// Divisor of the hash.
        "modulus" modulus: Count => default "0";
        /// The label that is set.
        "target_label" target_label: Text => default "''";
        /// The value that is set.
        "replacement" replacement: Text => default "$1";
        /// What is done.
        "action" action: Action => default "replace";
    }
}

words! { Message {
    "prometheus.WriteRequest" => Message::V1, "Remote write 1.0.";
    "io.prometheus.write.v2.Request" => Message::V2, "Remote write 2.0.";
} }

words! { Strategy {
    "UnderscoreEscapingWithSuffixes" => Strategy::UnderscoreEscapingWithSuffixes, "`_` for odd characters, suffixes for unit and kind.";
    "UnderscoreEscapingWithoutSuffixes" => Strategy::UnderscoreEscapingWithoutSuffixes, "`_` for odd characters.";
    "NoUTF8EscapingWithSuffixes" => Strategy::NoUtf8EscapingWithSuffixes, "Names stay, with suffixes for unit and kind.";
    "NoTranslation" => Strategy::NoTranslation, "Names stay.";
} }

words! { Scheme {
    "http" => Scheme::Http, "In clear text.";
    "https" => Scheme::Https, "With TLS.";
} }

words! { DnsKind {
    "SRV" => DnsKind::Srv, "Host and port.";
    "A" => DnsKind::A, "IPv4 address.";
    "AAAA" => DnsKind::Aaaa, "IPv6 address.";
} }

words! { Format {
    "PrometheusProto" => Format::Protobuf, "Protobuf, with native histograms.";
    "OpenMetricsText1.0.0" => Format::OpenMetrics1, "OpenMetrics 1.0.";
    "OpenMetricsText0.0.1" => Format::OpenMetrics0, "OpenMetrics 0.0.1.";
    "PrometheusText1.0.0" => Format::Text1, "Prometheus' text with UTF-8 names.";
    "PrometheusText0.0.4" => Format::Text0, "Prometheus' text.";
} }

words! { Action {
    "replace" => Action::Replace, "Sets a label.";
    "keep" => Action::Keep, "Drops what does not match.";
    "drop" => Action::Drop, "Drops what matches.";
    "keepequal" => Action::KeepEqual, "Drops what differs.";
    "dropequal" => Action::DropEqual, "Drops what is equal.";
    "hashmod" => Action::HashMod, "Sets a label to a hash.";
    "labelmap" => Action::LabelMap, "Copies labels by name.";
    "labeldrop" => Action::LabelDrop, "Removes labels by name.";
    "labelkeep" => Action::LabelKeep, "Keeps labels by name.";
    "lowercase" => Action::Lowercase, "Sets a label in lower case.";
    "uppercase" => Action::Uppercase, "Sets a label in upper case.";
} }
