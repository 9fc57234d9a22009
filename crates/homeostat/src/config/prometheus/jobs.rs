//! Jobs: defaults filled in, durations and limits fitting together, rules compiled.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use homeostat_relabel::{Rule, RuleSpec};
use homeostat_sense_scrape::{
    duration,
    spec::{BODY_BYTES_MAX, Discovery, HttpSpec, INTERVAL_MIN, Job, Limits, TARGETS_MAX, TargetGroup},
};

use super::{
    http::HttpKeys,
    raw::{Count, Global, PrometheusFile, Relabel, ScrapeConfig, StaticGroup},
    scalars::{PromDuration, Size, Text},
};
use crate::config::{
    read::{Any, Context, Entries},
    source::At,
};

/// Checks all jobs of a file.
pub(super) fn check(file: &PrometheusFile, dir: &Path, cx: &mut Context<'_>) -> Vec<At<Job>> {
    warn_about_the_rest(file, cx);
    let Some(global) = &file.global else { return Vec::new() };
    let jobs = file.jobs.iter().flat_map(|at| &at.value);
    jobs.filter_map(|raw| job(raw, &global.value, dir, cx)).collect()
}

/// Two jobs of one name would mix their series.
pub(super) fn refuse_twins(jobs: &[At<Job>], cx: &mut Context<'_>) {
    let mut seen = BTreeSet::new();
    for job in jobs {
        if !seen.insert(job.value.name.clone()) {
            cx.error(
                job.place,
                format!("there is a second job `{}`", job.value.name),
                "give each job a name of its own",
            );
        }
    }
}

fn warn_about_the_rest(file: &PrometheusFile, cx: &mut Context<'_>) {
    let mut warn = |key: &str, at: &Option<At<Any>>, help: &str| {
        if let Some(at) = at {
            cx.warn(at.place, format!("`{key}` is not used"), help);
        }
    };
    warn("scrape_config_files", &file.scrape_config_files, "write the jobs into `scrape_configs`");
    warn("remote_read", &file.remote_read, "all data are in the store; leave the key out to silence this");
    warn("storage", &file.storage, "settings of the store are options of the command");
    warn("tracing", &file.tracing, "leave the key out to silence this");
    warn("runtime", &file.runtime, "leave the key out to silence this");
}

fn job(raw: &ScrapeConfig, global: &Global, dir: &Path, cx: &mut Context<'_>) -> Option<At<Job>> {
    let name = raw.job_name.as_ref()?;
    if name.value.0.is_empty() {
        cx.error(name.place, "a job has an empty name", "write what its targets are, `node` for example");
        return None;
    }
    let (interval, timeout) = times(raw, global, cx)?;
    let defaults = Job::named(&name.value.0);
    let protocols = raw.scrape_protocols.as_ref().or(global.scrape_protocols.as_ref());
    let params = raw.params.iter().flat_map(|at| &at.value.0);
    let on = |at: &Option<At<bool>>, otherwise| at.as_ref().map_or(otherwise, |at| at.value);
    let keys = HttpKeys {
        basic_auth: raw.basic_auth.as_ref(),
        authorization: raw.authorization.as_ref(),
        bearer_token: raw.bearer_token.as_ref(),
        bearer_token_file: raw.bearer_token_file.as_ref(),
        tls_config: raw.tls_config.as_ref(),
        follow_redirects: on(&raw.follow_redirects, true),
        http_headers: raw.http_headers.as_ref(),
    };
    let job = Job {
        interval,
        timeout,
        path: raw.metrics_path.as_ref().map_or(defaults.path, |at| at.value.0.clone()),
        scheme: raw.scheme.as_ref().map_or(defaults.scheme, |at| at.value),
        params: params
            .map(|(name, values)| {
                (name.value.0.clone(), values.value.0.iter().map(|value| value.value.0.clone()).collect())
            })
            .collect(),
        honor_labels: on(&raw.honor_labels, false),
        honor_timestamps: on(&raw.honor_timestamps, true),
        track_timestamps_staleness: on(&raw.track_timestamps_staleness, false),
        compression: on(&raw.enable_compression, true),
        formats: protocols.map_or(defaults.formats, |at| at.value.clone()),
        fallback_format: raw.fallback.as_ref().map(|at| at.value),
        classic_beside_native: on(&raw.classic, on(&global.classic, false)),
        relabel: rules(raw.relabel_configs.as_ref(), cx),
        metric_relabel: rules(raw.metric_relabel_configs.as_ref(), cx),
        limits: limits(raw, global),
        http: keys.check(dir, cx),
        discovery: discovery(raw, dir, cx),
        name: defaults.name,
    };
    Some(At::new(job, name.place))
}

fn times(raw: &ScrapeConfig, global: &Global, cx: &mut Context<'_>) -> Option<(Duration, Duration)> {
    let either = |own: &Option<At<PromDuration>>, all: &Option<At<PromDuration>>| own.clone().or(all.clone());
    let interval = either(&raw.scrape_interval, &global.scrape_interval)?;
    let timeout = either(&raw.scrape_timeout, &global.scrape_timeout)?;
    let (every, longest) = (interval.value.0, timeout.value.0);
    if every < INTERVAL_MIN {
        let least = duration::show(INTERVAL_MIN);
        cx.error(interval.place, "targets are scraped too often", format!("write `{least}` or more"));
    }
    if longest > every && raw.scrape_timeout.is_some() {
        let help = format!("write at most `{}`", duration::show(every));
        cx.error(timeout.place, "a scrape may take longer than its interval", help);
    }
    if longest.is_zero() {
        cx.error(timeout.place, "no target answers in no time", "write `10s` for example");
    }
    // A default that is longer than a job's own interval is cut, as in Prometheus.
    Some((every, longest.min(every)))
}

fn limits(raw: &ScrapeConfig, global: &Global) -> Limits {
    let count = |own: &Option<At<Count>>, all: &Option<At<Count>>| {
        let limit = own.as_ref().or(all.as_ref()).map(|at| at.value.0).filter(|limit| *limit > 0);
        limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
    };
    let size = |at: &Option<At<Size>>| at.as_ref().map(|at| at.value.0).filter(|size| *size > 0);
    Limits {
        body_bytes: size(&raw.body_size_limit).or(size(&global.body_size_limit)).unwrap_or(BODY_BYTES_MAX),
        samples: count(&raw.sample_limit, &global.sample_limit),
        labels: count(&raw.label_limit, &global.label_limit),
        label_name_bytes: count(&raw.label_name_length_limit, &global.label_name_length_limit),
        label_value_bytes: count(&raw.label_value_length_limit, &global.label_value_length_limit),
        targets: count(&raw.target_limit, &global.target_limit).unwrap_or(TARGETS_MAX),
    }
}

pub(super) fn rules(raw: Option<&At<Vec<Relabel>>>, cx: &mut Context<'_>) -> Arc<[Rule]> {
    let rules = raw.iter().flat_map(|at| at.value.iter().map(|rule| (at.place, rule)));
    let rules: Vec<_> = rules.filter_map(|(list, raw)| rule(list, raw, cx)).collect();
    Arc::from(rules)
}

fn rule(list: crate::config::source::Place, raw: &Relabel, cx: &mut Context<'_>) -> Option<Rule> {
    let text = |at: &Option<At<Text>>| at.as_ref().map(|at| at.value.0.clone());
    let spec = RuleSpec {
        source_labels: raw.source_labels.as_ref()?.value.iter().map(|label| label.0.clone()).collect(),
        separator: text(&raw.separator)?,
        regex: text(&raw.regex)?,
        modulus: raw.modulus.as_ref()?.value.0,
        target_label: text(&raw.target_label)?,
        replacement: text(&raw.replacement)?,
        action: raw.action.as_ref()?.value,
    };
    let place = raw.action.as_ref().map_or(list, |at| at.place);
    match Rule::new(spec) {
        Ok(rule) => Some(rule),
        Err(error) => {
            cx.error(place, error.to_string(), "see `relabel_config` in Prometheus' documentation");
            None
        }
    }
}

fn discovery(raw: &ScrapeConfig, dir: &Path, cx: &mut Context<'_>) -> Vec<Discovery> {
    let mut all = Vec::new();
    let groups: Vec<_> = raw.static_configs.iter().flat_map(|at| &at.value).map(|raw| group(raw, cx)).collect();
    if !groups.is_empty() {
        all.push(Discovery::Static(groups));
    }
    for raw in raw.file_sd_configs.iter().flat_map(|at| &at.value) {
        if let (Some(files), Some(refresh)) = (&raw.files, &raw.refresh_interval) {
            let patterns = files.value.iter().map(|file| dir.join(&file.0)).collect();
            all.push(Discovery::File { patterns, refresh: at_least(refresh, cx) });
        }
    }
    for raw in raw.http_sd_configs.iter().flat_map(|at| &at.value) {
        let keys = HttpKeys {
            basic_auth: raw.basic_auth.as_ref(),
            authorization: raw.authorization.as_ref(),
            bearer_token: None,
            bearer_token_file: None,
            tls_config: raw.tls_config.as_ref(),
            follow_redirects: raw.follow_redirects.as_ref().is_none_or(|at| at.value),
            http_headers: raw.http_headers.as_ref(),
        };
        let http: HttpSpec = keys.check(dir, cx);
        if let (Some(url), Some(refresh)) = (&raw.url, &raw.refresh_interval) {
            if !url.value.0.starts_with("http://") && !url.value.0.starts_with("https://") {
                cx.error(url.place, format!("`{}` is no URL", url.value.0), "begin with `http://` or `https://`");
            }
            all.push(Discovery::Http {
                url: url.value.0.clone(),
                refresh: at_least(refresh, cx),
                http: Box::new(http),
            });
        }
    }
    for raw in raw.dns_sd_configs.iter().flat_map(|at| &at.value) {
        let (Some(names), Some(kind), Some(refresh)) = (&raw.names, &raw.kind, &raw.refresh_interval) else { continue };
        let port = raw.port.as_ref().map_or(0, |at| at.value.0 as u16);
        if port == 0 && kind.value != homeostat_sense_scrape::spec::DnsKind::Srv {
            cx.error(kind.place, "address records name no port", "add `port:`");
        }
        let names = names.value.iter().map(|name| name.0.clone()).collect();
        all.push(Discovery::Dns { names, kind: kind.value, port, refresh: at_least(refresh, cx) });
    }
    all
}

/// A source is not asked more often than once a second.
fn at_least(refresh: &At<PromDuration>, cx: &mut Context<'_>) -> Duration {
    if refresh.value.0 < Duration::from_secs(1) {
        cx.error(refresh.place, "a source of targets is asked too often", "write `1s` or more");
    }
    refresh.value.0.max(Duration::from_secs(1))
}

/// A group of targets.
pub(super) fn group(raw: &StaticGroup, cx: &mut Context<'_>) -> TargetGroup {
    let targets = raw.targets.iter().flat_map(|at| &at.value).map(|target| target.value.0.clone()).collect();
    TargetGroup { targets, labels: labels(raw.labels.as_ref(), cx) }
}

fn labels(raw: Option<&At<Entries<Text, Text>>>, cx: &mut Context<'_>) -> Vec<(String, String)> {
    let pairs = raw.iter().flat_map(|at| &at.value.0);
    let pairs = pairs.filter_map(|(name, value)| {
        if name.value.0.is_empty() {
            cx.error(name.place, "a label has an empty name", "give it a name");
            return None;
        }
        Some((name.value.0.clone(), value.value.0.clone()))
    });
    pairs.collect()
}
