//! Files of Prometheus, read as they are: `prometheus.yml` and the target lists of `file_sd_configs`.
//!
//! The same reader as for our own documents, so that problems come all at once, with place and remedy. Keys of
//! Prometheus that have no meaning here are read and told as warnings; keys that nobody knows are errors.
//!
//! Not here: what scraping does with it (`sense-scrape`).
//! Source: prometheus.io/docs/prometheus/latest/configuration/configuration.

pub mod alerting;
mod http;
mod jobs;
pub mod objectives;
mod otlp;
mod raw;
mod remotes;
pub mod rules;
mod scalars;

use std::path::Path;

use homeostat_sense_scrape::spec::{Job, TargetGroup};
use homeostat_wire::otlp::OtlpOptions;

pub use remotes::Remote;
pub(super) use scalars::Text;

use super::{
    mask,
    problem::{Problem, Problems, Severity},
    read::{Context, Read},
    source::{Place, Sources},
    tree,
};

/// What a `prometheus.yml` says, checked.
#[derive(Clone, Debug)]
pub struct PrometheusConfig {
    /// What is scraped, one entry a name.
    pub jobs: Vec<Job>,
    /// Where samples are sent on, one entry a name.
    pub remotes: Vec<Remote>,
    /// How OTLP is translated.
    pub otlp: OtlpOptions,
    /// What is evaluated by rules, and who is told.
    pub rules: alerting::RuleSettings,
    /// What is accepted but has no effect here.
    pub warnings: Problems,
    /// The file as it may be shown: without its secrets.
    pub shown: String,
}

/// Reads and checks a `prometheus.yml`. Relative paths in it start at its directory.
pub fn load(path: &Path) -> Result<PrometheusConfig, Problems> {
    let (sources, _, problems) = Sources::read(path);
    compile(&sources, problems, path.parent().unwrap_or(Path::new(".")))
}

/// Checks a text; `name` stands for the file's name.
pub fn load_str(name: &str, text: &str) -> Result<PrometheusConfig, Problems> {
    compile(&Sources::of_text(name, text), Vec::new(), Path::new("."))
}

fn compile(sources: &Sources, problems: Vec<Problem>, dir: &Path) -> Result<PrometheusConfig, Problems> {
    let mut cx = Context::new(problems, &|_| None);
    let (mut jobs, mut remotes, mut otlp) = (Vec::new(), Vec::new(), OtlpOptions::default());
    let mut rules = alerting::RuleSettings::default();
    for (file, source) in (0_u16..).zip(&sources.0) {
        let parsed = tree::parse(&source.name, &source.text, file, &mut cx.problems);
        let mut written = parsed.documents.iter().filter(|document| document.data != tree::Data::Null);
        let first = written.next();
        if let Some(second) = written.next() {
            let help = "put everything into one document, without `---`";
            cx.error(second.place, "a second document stands in the file", help);
        }
        if let Some(document) = first {
            let Some(file) = raw::PrometheusFile::read(document, &mut cx) else { continue };
            jobs.extend(jobs::check(&file, dir, &mut cx));
            remotes.extend(remotes::check(&file, dir, &mut cx));
            otlp = otlp::check(&file, &mut cx).unwrap_or(otlp);
            rules = alerting::check(&file, dir, &mut cx);
        }
    }
    jobs::refuse_twins(&jobs, &mut cx);
    remotes::refuse_twins(&remotes, &mut cx);
    let failed = cx.problems.iter().any(|problem| problem.severity == Severity::Error);
    let shown = shown(sources, &cx.secrets);
    let problems = Problems::new(cx.problems, sources, &cx.secrets);
    if failed {
        return Err(problems);
    }
    let jobs = jobs.into_iter().map(|at| at.value).collect();
    let remotes = remotes.into_iter().map(|at| at.value).collect();
    Ok(PrometheusConfig { jobs, remotes, otlp, rules, warnings: problems, shown })
}

/// The texts, secrets masked line by line.
fn shown(sources: &Sources, secrets: &[Place]) -> String {
    let mut shown = String::new();
    for (file, source) in (0_u16..).zip(&sources.0) {
        for (number, line) in (1_u32..).zip(source.text.lines()) {
            shown.push_str(mask::line(line, file, number, secrets).trim_end());
            shown.push('\n');
        }
    }
    shown
}

/// Reads a list of target groups as `file_sd_configs` has them, YAML or JSON. The error names line and column.
pub fn target_groups(text: &str) -> Result<Vec<TargetGroup>, String> {
    let sources = Sources::of_text("targets", text);
    let mut cx = Context::new(Vec::new(), &|_| None);
    let parsed = tree::parse("targets", text, 0, &mut cx.problems);
    let groups = parsed.documents.iter().filter_map(|document| Vec::<raw::StaticGroup>::read(document, &mut cx));
    let groups: Vec<_> = groups.flatten().collect();
    let groups: Vec<_> = groups.iter().map(|group| jobs::group(group, &mut cx)).collect();
    if cx.problems.is_empty() { Ok(groups) } else { Err(Problems::new(cx.problems, &sources, &[]).to_string()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeostat_sense_scrape::spec::{Discovery, DnsKind, Format, Scheme};

    use super::*;

    fn problems(text: &str) -> String {
        load_str("prometheus.yml", text).expect_err("it should not be accepted").to_string()
    }

    #[test]
    fn a_usual_file_is_read() {
        let config = load_str(
            "prometheus.yml",
            "global:
  scrape_interval: 30s
  external_labels: {region: eu}
alerting:
  alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: node
    scrape_interval: 100ms
    scrape_timeout: 50ms
    scheme: https
    params: {collect: [cpu, disk]}
    honor_labels: true
    basic_auth: {username: u, password: p}
    tls_config: {insecure_skip_verify: true}
    static_configs:
      - targets: ['a:9100', b]
        labels: {zone: x}
    file_sd_configs: [{files: ['targets/*.json'], refresh_interval: 1m}]
    dns_sd_configs: [{names: [_web._tcp.local]}, {names: [web.local], type: A, port: 80}]
    http_sd_configs: [{url: 'http://127.0.0.1/sd'}]
    relabel_configs:
      - {source_labels: [__address__], regex: '(.*):.*', target_label: host, replacement: '${1}'}
    metric_relabel_configs: [{source_labels: [__name__], regex: go_.*, action: drop}]
    sample_limit: 1000
    body_size_limit: 10MB
    scrape_protocols: [OpenMetricsText1.0.0, PrometheusText0.0.4]
  - job_name: slow
    static_configs: [{targets: ['c:1']}]
",
        );
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let [node, slow] = config.jobs.as_slice() else { panic!("{:?}", config.jobs) };
        assert_eq!((node.interval, node.timeout), (Duration::from_millis(100), Duration::from_millis(50)));
        assert_eq!((slow.interval, slow.timeout), (Duration::from_secs(30), Duration::from_secs(10)));
        assert_eq!((node.scheme, slow.scheme), (Scheme::Https, Scheme::Http));
        assert_eq!(node.discovery.len(), 5);
        assert!(node.discovery.iter().any(|d| matches!(d, Discovery::Dns { kind: DnsKind::A, port: 80, .. })));
        assert_eq!(node.limits.samples, Some(1000));
        assert_eq!(node.limits.body_bytes, 10 << 20);
        assert_eq!(node.formats, [Format::OpenMetrics1, Format::Text0]);
        assert_eq!((node.relabel.len(), node.metric_relabel.len()), (1, 1));
        assert_eq!(config.rules.files, [Path::new("./rules/*.yml")]);
        assert_eq!(config.rules.alertmanagers[0].url, "http://127.0.0.1:9093/api/v2/alerts");
        assert_eq!(config.rules.external_labels, [("region".to_owned(), "eu".to_owned())]);
        assert!(config.warnings.is_empty(), "{}", config.warnings);
    }

    #[test]
    fn ways_in_and_out_are_read() {
        let config = load_str(
            "prometheus.yml",
            "global: {external_labels: {region: eu}}
remote_write:
  - url: http://127.0.0.1:1/api/v1/write
    name: far
    protobuf_message: io.prometheus.write.v2.Request
    headers: {X-Scope-OrgID: a}
    basic_auth: {username: u, password: p}
    write_relabel_configs: [{source_labels: [__name__], regex: up, action: keep}]
    queue_config: {max_samples_per_send: 7, min_backoff: 1s, capacity: 10}
  - url: http://u:p@127.0.0.1:2/write
otlp:
  translation_strategy: NoTranslation
  promote_resource_attributes: [a.b]
",
        );
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let [far, other] = config.remotes.as_slice() else { panic!("{:?}", config.remotes) };
        assert_eq!((far.relay.name.as_str(), far.relay.samples_per_send_max, far.relay.relabel.len()), ("far", 7, 1));
        assert_eq!(far.relay.external_labels, [("region".to_owned(), "eu".to_owned())]);
        assert_eq!(far.http.headers, [("X-Scope-OrgID".to_owned(), "a".to_owned())]);
        assert_eq!((other.relay.name.len(), other.relay.url.as_str()), (6, "http://127.0.0.1:2/write"));
        assert_eq!(config.otlp.strategy, homeostat_wire::otlp::Strategy::NoTranslation);
        let said = problems(
            "remote_write:
  - {url: nowhere}
  - {url: 'http://a/', name: x, protobuf_message: v3}
  - {url: 'http://a/', name: x, queue_config: {min_backoff: 9s}}
  - {url: 'http://a/', name: x}
otlp: {translation_strategy: None, ignore_resource_attributes: [a]}
",
        );
        for expected in [
            "`http://` or `https://`",
            "write `prometheus.WriteRequest`",
            "`max_backoff`",
            "a second",
            "NoTranslation",
            "ignore",
        ] {
            assert!(said.contains(expected), "{expected}:\n{said}");
        }
    }

    #[test]
    fn all_problems_come_at_once_with_the_remedy() {
        let said = problems(
            "scrape_configs:
  - job_name: a
    scrape_intervall: 1s
    scrape_timeout: 5 m
    relabel_configs: [{action: kepp}, {action: hashmod, source_labels: [a], target_label: b}, {regex: '(', target_label: x}]
  - job_name: a
    kubernetes_sd_configs: [{role: pod}]
    scrape_interval: 1s
    scrape_timeout: 2s
  - scheme: ftp
",
        );
        for expected in [
            "write `scrape_interval`",
            "`5 m` is not a duration",
            "write `keep`",
            "`hashmod` needs a `modulus`",
            "regular expression",
            "kubernetes_sd_configs",
            "`job_name` is missing",
            "a second job `a`",
            "longer than its interval",
            "write `http` or `https`",
        ] {
            assert!(said.contains(expected), "{expected}:\n{said}");
        }
    }

    #[test]
    fn one_document_says_everything() {
        let text = "---\nrule_files: [a.yml]\notlp: {translation_strategy: NoTranslation}\n---\n";
        let config = load_str("prometheus.yml", text).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(
            (config.rules.files.len(), config.otlp.strategy),
            (1, homeostat_wire::otlp::Strategy::NoTranslation)
        );
        let said = problems(&format!("{text}scrape_configs: []\n"));
        assert!(said.contains("prometheus.yml:5:1") && said.contains("a second document"), "{said}");
    }

    #[test]
    fn passwords_of_alertmanagers_do_not_stand_in_addresses() {
        let said =
            problems("alerting: {alertmanagers: [{static_configs: [{targets: ['user:sesame@a:9093', 'a/b', '']}]}]}\n");
        assert!(said.contains("a user stands in the address of an Alertmanager") && !said.contains("sesame"), "{said}");
        assert!(said.contains("`a/b` is no address"), "{said}");
    }

    #[test]
    fn target_lists_are_read_in_yaml_and_json() {
        let json = target_groups(r#"[{"targets": ["a:1"], "labels": {"x": "1"}}]"#).unwrap();
        assert_eq!(json, target_groups("- targets: ['a:1']\n  labels: {x: 1}\n").unwrap());
        assert!(target_groups("- target: ['a:1']\n").unwrap_err().contains("write `targets`"));
        assert!(target_groups("{").is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let said = problems("scrape_configs: [{job_name: a, basic_auth: {username: u, password: sesame}, x: 1}]\n");
        assert!(!said.contains("sesame"), "{said}");
    }
}
