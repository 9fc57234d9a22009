//! The sections `rule_files`, `alerting` and what `global` says for rules: what is evaluated, and who is told.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use homeostat_relabel::Rule as RelabelRule;

use super::{
    jobs,
    raw::{AlertmanagerConfig, PrometheusFile},
    rules::RuleDefaults,
    scalars::{PromDuration, Text},
};
use crate::config::read::Context;

/// Longest request to an Alertmanager unless it says otherwise, as in Prometheus.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a `prometheus.yml` says about rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSettings {
    /// Patterns of files with rules, relative ones already joined with the file's directory.
    pub files: Vec<PathBuf>,
    /// What groups have that do not say otherwise.
    pub defaults: RuleDefaults,
    /// Labels that every alert gets unless it has them.
    pub external_labels: Vec<(String, String)>,
    /// Who is told.
    pub alertmanagers: Vec<Alertmanager>,
    /// What becomes of the labels of alerts on their way.
    pub relabel: Arc<[RelabelRule]>,
}

/// An Alertmanager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alertmanager {
    /// Where alerts are posted to.
    pub url: String,
    /// Longest request.
    pub timeout: Duration,
}

/// Checks the sections.
pub(super) fn check(file: &PrometheusFile, dir: &Path, cx: &mut Context<'_>) -> RuleSettings {
    let patterns = file.rule_files.iter().flat_map(|at| &at.value);
    let files = patterns.map(|pattern| dir.join(&pattern.0)).collect();
    let mut settings = RuleSettings { files, ..RuleSettings::default() };
    if let Some(global) = file.global.as_ref().map(|at| &at.value) {
        let ms = |duration: PromDuration| i64::try_from(duration.0.as_millis()).unwrap_or(i64::MAX);
        if let Some(at) = &global.evaluation_interval {
            settings.defaults.interval_ms = ms(at.value).max(1);
        }
        if let Some(at) = &global.rule_query_offset {
            settings.defaults.query_offset_ms = ms(at.value);
        }
        let labels = global.external_labels.iter().flat_map(|at| &at.value.0);
        settings.external_labels = labels.map(|(name, value)| (name.value.0.clone(), value.value.0.clone())).collect();
    }
    if let Some(alerting) = file.alerting.as_ref().map(|at| &at.value) {
        settings.relabel = jobs::rules(alerting.relabel.as_ref(), cx);
        for raw in alerting.alertmanagers.iter().flat_map(|at| &at.value) {
            settings.alertmanagers.extend(addresses(raw, cx));
        }
    }
    settings
}

fn addresses(raw: &AlertmanagerConfig, cx: &mut Context<'_>) -> Vec<Alertmanager> {
    for (key, at) in [
        ("basic_auth", &raw.basic_auth),
        ("authorization", &raw.authorization),
        ("tls_config", &raw.tls_config),
        ("file_sd_configs", &raw.file_sd),
        ("dns_sd_configs", &raw.dns_sd),
        ("http_sd_configs", &raw.http_sd),
        ("relabel_configs", &raw.relabel),
    ] {
        if let Some(at) = at {
            let help = "name Alertmanagers that can be reached as they are in `static_configs`";
            cx.error(at.place, format!("`{key}` of an Alertmanager is not understood"), help);
        }
    }
    let scheme = match raw.scheme.as_ref().map(|at| at.value) {
        Some(homeostat_sense_scrape::spec::Scheme::Https) => "https",
        _ => "http",
    };
    let prefix = raw.path_prefix.as_ref().map_or("", |at| at.value.0.trim_matches('/'));
    let path = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    let timeout = raw.timeout.as_ref().map_or(TIMEOUT, |at| at.value.0);
    let groups = raw.static_configs.iter().flat_map(|at| &at.value);
    let targets = groups.flat_map(|group| group.targets.iter());
    let mut found = Vec::new();
    for list in targets {
        for at in &list.value {
            let Text(target) = &at.value;
            match bad_target(target) {
                Some((problem, help)) => {
                    cx.secrets.extend(target.contains('@').then_some(at.place));
                    cx.error(at.place, problem, help);
                }
                None => found.push(Alertmanager { url: format!("{scheme}://{target}{path}/api/v2/alerts"), timeout }),
            }
        }
    }
    found
}

/// What is wrong with the address of an Alertmanager, and what to write.
fn bad_target(target: &str) -> Option<(String, &'static str)> {
    if target.contains('@') {
        let problem = "a user stands in the address of an Alertmanager".to_owned();
        return Some((problem, "write `HOST:PORT`, and let a proxy on this machine add the password"));
    }
    if target.is_empty() || target.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        let help = "write `HOST:PORT`; scheme and path belong under `scheme` and `path_prefix`";
        return Some((format!("`{target}` is no address of an Alertmanager"), help));
    }
    None
}
