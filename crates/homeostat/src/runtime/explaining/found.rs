//! Which of the targets that scraping finds are programs of a service.
//!
//! A target says whose it is by its labels, as profiles do that the metrics server pulls: `service_name`, or else `job`. Which
//! version it is the label `version` says; where there is one version only, it need not. What says neither is nobody's.
//!
//! Not here: discovery and relabelling (`sense-scrape`), asking (`watch`).
//! Invariant: of a version there are two programs at most, and those that are watched already come first: a new target does not
//! cost what is held of an old one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use homeostat_model::{Labels, VersionName};
use homeostat_sense_pprof::{base_of, service_of};
use homeostat_sense_scrape::{
    manager::{JobView, Targets},
    spec::HttpSpec,
};

use crate::config::{PROFILED_OF_VERSION_MAX, Profiled, Sought, Taken};

/// The label that says which version a target is.
const VERSION: &str = "version";

/// A target of scraping.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Discovered {
    labels: Labels,
    url: String,
    /// How it is spoken to.
    http: Arc<HttpSpec>,
}

impl Discovered {
    /// All that are targets now.
    pub(in crate::runtime) fn all_of(targets: &Targets) -> Vec<Self> {
        let of_job = |(_, JobView { active, http, .. }): (String, JobView)| {
            active.into_iter().map(move |active| {
                let (labels, url) = (active.target.labels, active.target.url);
                Self { labels, url, http: Arc::clone(&http) }
            })
        };
        targets.view().into_iter().flat_map(of_job).collect()
    }
}

/// Programs of all services that look for them, and how each is spoken to.
pub(super) fn programs(
    sought: &[Sought],
    found: &[Discovered],
    is_watched: impl Fn(&Profiled) -> bool,
) -> BTreeMap<Profiled, Arc<HttpSpec>> {
    let mut all = BTreeMap::new();
    for sought in sought {
        let mut of_versions = BTreeMap::<&VersionName, BTreeSet<(bool, Profiled)>>::new();
        let mut spoken_to = BTreeMap::new();
        for target in found.iter().filter(|target| service_of(&target.labels) == sought.service.as_str()) {
            let Some(version) = version_of(sought, &target.labels) else { continue };
            let program = program(sought, version, &target.url);
            of_versions.entry(version).or_default().insert((!is_watched(&program), program.clone()));
            spoken_to.insert(program, &target.http);
        }
        let chosen = of_versions.into_values().flat_map(|programs| programs.into_iter().take(PROFILED_OF_VERSION_MAX));
        all.extend(chosen.filter_map(|(_, program)| {
            let http = Arc::clone(spoken_to.get(&program)?);
            Some((program, http))
        }));
    }
    all
}

fn version_of<'s>(sought: &'s Sought, labels: &Labels) -> Option<&'s VersionName> {
    let said = labels.value(VERSION);
    match sought.versions.as_slice() {
        [only] if said.is_empty() => Some(only),
        versions => versions.iter().find(|version| version.as_str() == said),
    }
}

fn program(sought: &Sought, version: &VersionName, url: &str) -> Profiled {
    let base = with_port(base_of(url), sought.port);
    let endpoint = base.split_once("://").map_or(base.as_str(), |(_, endpoint)| endpoint).to_owned();
    Profiled {
        service: sought.service.clone(),
        version: version.clone(),
        endpoint,
        taken: Taken::ByItself { base: format!("{base}{}", sought.prefix.trim_end_matches('/')) },
        window: sought.window,
        capture: sought.capture,
    }
}

/// Scheme and address with this port in the place of the one there is, if any.
fn with_port(base: String, port: Option<u16>) -> String {
    let Some(port) = port else { return base };
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let host = match base.rsplit_once(':') {
        Some((host, old)) if is_port(old) => host,
        _ => &base,
    };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use homeostat_model::Span;

    use super::*;

    fn sought(versions: &[&str]) -> Sought {
        Sought {
            service: "shop".parse().unwrap(),
            versions: versions.iter().map(|version| version.parse().unwrap()).collect(),
            port: None,
            prefix: String::new(),
            window: Span::from_secs(10),
            capture: Span::from_secs(30),
        }
    }

    fn target(url: &str, labels: &[(&str, &str)]) -> Discovered {
        Discovered { labels: Labels::new(labels.iter().copied()), url: url.to_owned(), http: Arc::default() }
    }

    fn endpoints(sought: &Sought, found: &[Discovered], watched: &[&str]) -> Vec<String> {
        let is_watched = |program: &Profiled| watched.contains(&program.endpoint.as_str());
        let programs = programs(std::slice::from_ref(sought), found, is_watched);
        programs.keys().map(|program| format!("{} {}", program.version, program.endpoint)).collect()
    }

    #[test]
    fn labels_say_whose_a_target_is_and_which_version() {
        let found = [
            target("http://a:80/metrics", &[("job", "shop"), ("version", "v1")]),
            target("http://b:80/metrics", &[("job", "pods"), ("service_name", "shop"), ("version", "v2")]),
            target("http://c:80/metrics", &[("job", "shop"), ("service_name", "till"), ("version", "v1")]),
            target("http://d:80/metrics", &[("job", "shop"), ("version", "v3")]),
            target("http://e:80/metrics", &[("job", "shop")]),
        ];
        assert_eq!(endpoints(&sought(&["v1", "v2"]), &found, &[]), ["v1 a:80", "v2 b:80"]);
        assert_eq!(endpoints(&sought(&["v1"]), &found, &[]), ["v1 a:80", "v1 e:80"], "one version need not be said");
    }

    #[test]
    fn two_of_a_version_and_those_that_are_watched_first() {
        let found = ["a", "b", "c", "d"].map(|host| target(&format!("http://{host}/metrics"), &[("job", "shop")]));
        assert_eq!(endpoints(&sought(&["v1"]), &found, &[]), ["v1 a", "v1 b"]);
        assert_eq!(endpoints(&sought(&["v1"]), &found, &["d", "b"]), ["v1 b", "v1 d"]);
    }

    #[test]
    fn the_port_and_what_stands_before_the_path_can_be_others() {
        let mut sought = Sought { port: Some(6060), prefix: "/admin/".to_owned(), ..sought(&["v1"]) };
        let base = |sought: &Sought, url: &str| program(sought, &sought.versions[0], url).taken;
        let by_itself = |base: &str| Taken::ByItself { base: base.to_owned() };
        for (url, wanted) in [
            ("https://shop:8443/metrics?x=1", "https://shop:6060/admin"),
            ("http://shop/metrics", "http://shop:6060/admin"),
            ("http://[::1]:80/metrics", "http://[::1]:6060/admin"),
            ("http://[::1]/metrics", "http://[::1]:6060/admin"),
        ] {
            assert_eq!(base(&sought, url), by_itself(wanted));
        }
        (sought.port, sought.prefix) = (None, String::new());
        assert_eq!(base(&sought, "http://[::1]:80/metrics"), by_itself("http://[::1]:80"));
    }
}
