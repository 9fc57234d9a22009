//! From a discovered address to a target: labels of the job, relabelling, and what is finally asked.
//!
//! Relabelling sees `__address__`, `__scheme__`, `__metrics_path__`, `__scrape_interval__`, `__scrape_timeout__`,
//! `__param_<name>` and `__meta_*`, and may change all of them; what begins with `__` is gone afterwards, and `instance`
//! is the address unless something else was set. Source: prometheus.io/docs, `scrape_config` and `relabel_config`.

use std::{
    hash::{BuildHasher, Hash},
    time::Duration,
};

use homeostat_model::{Labels, LabelsBuilder, TimeMs};
use homeostat_relabel::{Fate, relabel};

use crate::{
    duration,
    spec::{INTERVAL_MIN, Job, TargetGroup},
};

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";

/// Something that is scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Labels that every one of its series gets, `job` and `instance` among them.
    pub labels: Labels,
    /// Labels before relabelling, as the targets page shows them.
    pub discovered: Labels,
    /// What is asked.
    pub url: String,
    /// Time between two scrapes.
    pub interval: Duration,
    /// Longest scrape.
    pub timeout: Duration,
}

/// What became of a discovered address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is scraped.
    Target(Box<Target>),
    /// Relabelling dropped it; its labels before.
    Dropped(Labels),
}

/// Why an address is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// No address is left.
    #[error("a target of job `{job}` has no address; relabelling must leave `__address__` set")]
    NoAddress {
        /// The job.
        job: String,
    },
    /// The address holds what an address cannot.
    #[error(
        "`{address}` is no address of a target; write `host:port` without scheme or path (`metrics_path` and `scheme` are keys of the job)"
    )]
    Address {
        /// As found.
        address: String,
    },
    /// The scheme is none that is spoken.
    #[error("`{scheme}` is no scheme that is spoken; `http` and `https` are")]
    Scheme {
        /// As found.
        scheme: String,
    },
    /// An interval or time-out that relabelling set makes no sense.
    #[error(
        "`{name}` is `{value}`; it must be a duration such as `15s`, the interval at least {INTERVAL_MIN:?} and the time-out no longer than it"
    )]
    Duration {
        /// Label.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

/// Makes a target of each address of a group, or says why not.
pub fn targets_of(job: &Job, group: &TargetGroup) -> Vec<Result<Found, BadTarget>> {
    group.targets.iter().map(|address| find(job, group, address)).collect()
}

fn find(job: &Job, group: &TargetGroup, address: &str) -> Result<Found, BadTarget> {
    let mut labels = LabelsBuilder::default();
    labels.set("job", &job.name).set(SCHEME, job.scheme.as_str()).set(PATH, &job.path);
    labels.set(INTERVAL, &duration::show(job.interval)).set(TIMEOUT, &duration::show(job.timeout));
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            labels.set(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    for (name, value) in &group.labels {
        labels.set(name, value);
    }
    labels.set(ADDRESS, address);
    let discovered = labels.finish();
    if relabel(&mut labels, &job.relabel) == Fate::Dropped {
        return Ok(Found::Dropped(discovered));
    }
    let url = url_of(job, &labels)?;
    let (interval, timeout) = times_of(&labels)?;
    if labels.value("instance").is_empty() {
        let address = labels.value(ADDRESS).to_owned();
        labels.set("instance", &address);
    }
    let labels = labels.finish().filtered(|name| !name.starts_with("__"));
    Ok(Found::Target(Box::new(Target { labels, discovered, url, interval, timeout })))
}

fn url_of(job: &Job, labels: &LabelsBuilder) -> Result<String, BadTarget> {
    let address = labels.value(ADDRESS);
    if address.is_empty() {
        return Err(BadTarget::NoAddress { job: job.name.clone() });
    }
    if address.contains(['/', '?', '#', '@', ' ']) {
        return Err(BadTarget::Address { address: address.to_owned() });
    }
    let scheme = labels.value(SCHEME);
    if !matches!(scheme, "http" | "https") {
        return Err(BadTarget::Scheme { scheme: scheme.to_owned() });
    }
    let path = labels.value(PATH);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut url = format!("{scheme}://{address}{slash}{path}");
    let mut separator = '?';
    let mut add = |name: &str, value: &str| {
        url.push(separator);
        separator = '&';
        push_encoded(&mut url, name);
        url.push('=');
        push_encoded(&mut url, value);
    };
    // Relabelling may have changed the first value of a parameter, or added one; further values are the job's.
    for (name, value) in labels.iter() {
        if let Some(name) = name.strip_prefix(PARAM_PREFIX) {
            add(name, value);
        }
    }
    for (name, values) in &job.params {
        for value in values.iter().skip(1) {
            add(name, value);
        }
    }
    Ok(url)
}

fn times_of(labels: &LabelsBuilder) -> Result<(Duration, Duration), BadTarget> {
    let read = |name| {
        let value = labels.value(name);
        duration::parse(value).ok_or_else(|| BadTarget::Duration { name, value: value.to_owned() })
    };
    let (interval, timeout) = (read(INTERVAL)?, read(TIMEOUT)?);
    if interval < INTERVAL_MIN {
        return Err(BadTarget::Duration { name: INTERVAL, value: labels.value(INTERVAL).to_owned() });
    }
    if timeout.is_zero() || timeout > interval {
        return Err(BadTarget::Duration { name: TIMEOUT, value: labels.value(TIMEOUT).to_owned() });
    }
    Ok((interval, timeout))
}

/// Percent-encodes everything but what RFC 3986 calls unreserved.
fn push_encoded(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or('0');
            into.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

impl Target {
    /// Until this target's own place in the interval, counted from 1970 so that a restart keeps it.
    pub fn first_wait(&self, now_ms: TimeMs) -> Duration {
        let interval_ns = self.interval.as_nanos().max(1);
        let into_ns = u128::try_from(now_ms).unwrap_or(0) * 1_000_000 % interval_ns;
        let wait_ns = (self.offset().as_nanos() + interval_ns - into_ns) % interval_ns;
        Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(0))
    }

    /// Where in the interval this target is scraped: always the same, spread evenly over all targets, so that a
    /// thousand of them do not answer at once. Seeded by a fixed value so that a restart keeps the rhythm.
    pub fn offset(&self) -> Duration {
        let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
        (self.labels.as_packed(), &self.url).hash(&mut hasher);
        let hash = std::hash::Hasher::finish(&hasher);
        let interval_ns = self.interval.as_nanos().max(1) as u64;
        Duration::from_nanos(hash % interval_ns)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use homeostat_relabel::{Action, Rule, RuleSpec};

    use super::*;
    use crate::spec::Scheme;

    fn job(rules: &[RuleSpec]) -> Job {
        let rules: Vec<_> = rules.iter().map(|spec| Rule::new(spec.clone()).unwrap()).collect();
        Job { relabel: Arc::from(rules), ..Job::named("node") }
    }

    fn only(job: &Job, address: &str, labels: &[(&str, &str)]) -> Result<Found, BadTarget> {
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let group = TargetGroup { targets: vec![address.to_owned()], labels };
        targets_of(job, &group).remove(0)
    }

    fn target(found: Result<Found, BadTarget>) -> Target {
        match found {
            Ok(Found::Target(target)) => *target,
            other => panic!("no target: {other:?}"),
        }
    }

    #[test]
    fn a_plain_address_gets_job_and_instance() {
        let found = target(only(&job(&[]), "10.0.0.1:9100", &[("zone", "a"), ("__meta_x", "y")]));
        assert_eq!(found.url, "http://10.0.0.1:9100/metrics");
        assert_eq!(found.labels.to_string(), r#"{instance="10.0.0.1:9100", job="node", zone="a"}"#);
        assert_eq!((found.interval, found.timeout), (Duration::from_secs(15), Duration::from_secs(10)));
        assert!(found.offset() < found.interval);
    }

    #[test]
    fn relabelling_chooses_address_path_and_parameters() {
        // The pattern of every black-box exporter.
        let to = |source: &str, target: &str| RuleSpec {
            source_labels: vec![source.to_owned()],
            target_label: target.to_owned(),
            ..RuleSpec::default()
        };
        let fixed = RuleSpec {
            target_label: "__address__".into(),
            replacement: "127.0.0.1:9115".into(),
            ..RuleSpec::default()
        };
        let mut job = job(&[to("__address__", "__param_target"), to("__param_target", "instance"), fixed]);
        job.params = vec![("module".into(), vec!["http_2xx".into(), "second".into()])];
        job.scheme = Scheme::Https;
        let found = target(only(&job, "https.example:443", &[]));
        assert_eq!(
            found.url,
            "https://127.0.0.1:9115/metrics?module=http_2xx&target=https.example%3A443&module=second"
        );
        assert_eq!(found.labels.value("instance"), "https.example:443");
    }

    #[test]
    fn a_dropped_address_is_remembered_as_found() {
        let drop = RuleSpec {
            action: Action::Drop,
            source_labels: vec!["zone".into()],
            regex: "b".into(),
            ..RuleSpec::default()
        };
        let Ok(Found::Dropped(labels)) = only(&job(&[drop]), "h:1", &[("zone", "b")]) else { panic!("kept") };
        assert_eq!(labels.value("__address__"), "h:1");
    }

    #[test]
    fn addresses_that_are_none_are_refused_with_the_remedy() {
        let said = only(&job(&[]), "http://h:1/metrics", &[]).unwrap_err().to_string();
        assert!(said.contains("without scheme or path"), "{said}");
        let empty = RuleSpec { target_label: "__address__".into(), replacement: String::new(), ..RuleSpec::default() };
        assert!(matches!(only(&job(&[empty]), "h:1", &[]), Err(BadTarget::NoAddress { .. })));
        let slow = RuleSpec { target_label: TIMEOUT.into(), replacement: "20s".into(), ..RuleSpec::default() };
        assert!(matches!(only(&job(&[slow]), "h:1", &[]), Err(BadTarget::Duration { name: TIMEOUT, .. })));
    }
}
