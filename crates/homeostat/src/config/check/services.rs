//! `Service` documents: versions, weights, stickiness, time limits, latency thresholds.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use homeostat_gateway_route::spec::{ServiceSpec, Sticky, Timeouts, VersionSpec};
use homeostat_model::{
    ServiceName, Span, VersionName, Weight, action::Split, outcome::THRESHOLDS_MAX, rollout::Rollout,
};
use homeostat_sense_kernel::SampleRate;

use super::{
    super::{
        PROFILED_OF_VERSION_MAX, Profiled, Sought, Taken,
        document::Document,
        problem::{Problem, Severity},
        raw::{process::Metrics, service as raw},
        read::{Context, Entries, Short},
        source::{At, Place},
    },
    names::{Known, name_of, resolve},
    within,
};

/// A service with the places that later checks point at.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    pub(super) profiled: Vec<Profiled>,
    /// What to look for among targets of scraping, where that was asked for.
    pub(super) sought: Option<At<Sought>>,
    /// It is not behind the gateway: the kernel sees its requests.
    pub(super) is_called: bool,
    pub(super) place: Place,
}

/// A latency threshold that somebody asks for.
#[derive(Clone, Debug)]
pub(super) struct Threshold {
    pub(super) service: ServiceName,
    pub(super) threshold: Span,
    pub(super) place: Place,
}

impl Service {
    /// The share of a version as declared; nothing for unknown ones.
    pub(super) fn weight(&self, version: &VersionName) -> Weight {
        self.spec.split.iter().find(|(v, _)| v == version).map_or(Weight::ZERO, |(_, weight)| *weight)
    }

    /// Whether there is such a version; reports it if not.
    pub(super) fn has_version(&self, version: &At<VersionName>, cx: &mut Context<'_>) -> bool {
        let what = format!("version of service `{}` called", self.spec.name);
        let known = self.spec.versions.iter().map(|v| v.name.as_str());
        resolve(&what, version.value.as_str(), version.place, known, cx)
    }
}

/// The service of this name, if its document could be read.
pub(super) fn find<'s>(services: &'s [Service], name: &ServiceName) -> Option<&'s Service> {
    services.iter().find(|s| s.spec.name == *name)
}

/// Checks all services.
pub(super) fn check(documents: &[Document<raw::Service>], cx: &mut Context<'_>) -> Vec<Service> {
    // A misspelt kind was reported already; then nobody is told twice.
    if documents.is_empty() && cx.problems.iter().all(|p| p.severity == Severity::Warning) {
        cx.problems.push(
            Problem::error("no service is declared")
                .help("write a document with `kind: Service`; `homeostat init` writes an example"),
        );
    }
    documents.iter().filter_map(|document| service(document, cx)).collect()
}

fn service(document: &Document<raw::Service>, cx: &mut Context<'_>) -> Option<Service> {
    let name = name_of::<ServiceName, _>(document, cx);
    let raw = document.spec.as_ref()?;
    let timeouts = timeouts(raw.timeouts.as_ref(), cx);
    let sticky = raw.sticky.as_ref().and_then(|at| sticky(at, cx));
    let versions = raw.versions.as_ref()?;
    let split = split(versions, cx);
    let mut specs: Vec<VersionSpec> =
        versions.value.0.iter().map(|(name, form)| version(name, &form.value.0, cx)).collect();
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    let profiling = raw.profiling.as_ref().map(|at| profiling(&at.value, cx));
    let name = name?;
    let (profiled, sought) = match profiling {
        None => (Vec::new(), None),
        Some(how) if how.scraped.is_some() => (Vec::new(), sought(&name.value, &specs, how)),
        Some(how) => (profiled(&name.value, &specs, &how), None),
    };
    Some(Service {
        profiled,
        sought,
        is_called: raw.calls.is_some(),
        place: name.place,
        spec: ServiceSpec {
            name: name.value,
            versions: specs,
            split,
            sticky,
            forced_version_header: raw.forced_version_header.as_ref().map(|at| at.value.clone()),
            thresholds: Vec::new(),
            timeouts,
        },
    })
}

/// Who calls whom. A service that calls itself, or one that is not declared, is a mistake.
pub(super) fn depends_on(
    documents: &[Document<raw::Service>],
    known: &Known,
    cx: &mut Context<'_>,
) -> BTreeMap<ServiceName, Vec<ServiceName>> {
    let mut all = BTreeMap::new();
    for document in documents {
        let (Some(caller), Some(spec)) = (&document.name, &document.spec) else { continue };
        let Some(called) = spec.depends_on.as_ref() else { continue };
        let mut of_one = Vec::new();
        for at in &called.value.0 {
            if at.value.as_str() == caller.value {
                cx.error(at.place, "a service does not depend on itself", "write the services that its programs call");
            } else if resolve("service", at.value.as_str(), at.place, known.services.iter().map(String::as_str), cx) {
                of_one.push(at.value.clone());
            }
        }
        of_one.sort();
        of_one.dedup();
        // A bad name was reported where the document was read.
        if let Ok(caller) = ServiceName::new(&caller.value) {
            all.insert(caller, of_one);
        }
    }
    all
}

/// How profiles of a service are asked for.
struct How {
    /// Where it says that scraping finds the programs.
    scraped: Option<Place>,
    from: raw::ProfilesFrom,
    port: Option<u16>,
    prefix: String,
    rate: SampleRate,
    window: Span,
    capture: Span,
}

/// Windows of a capture at least: a side that begins with the incident has one that is whole.
const CAPTURE_WINDOWS_MIN: u64 = 2;
/// The longest capture: half of what is held, so that the side that was before is not forgotten meanwhile.
const CAPTURE_MAX: Span = Span::from_mins(5);
/// Windows of a capture unless somebody says otherwise: thirty seconds of the usual ones.
const CAPTURE_WINDOWS_DEFAULT: u64 = 3;

fn profiling(raw: &raw::Profiling, cx: &mut Context<'_>) -> How {
    let window = within(raw.window.as_ref(), "a window", (Span::from_secs(1), Span::from_secs(60)), cx);
    if let Some(prefix) = raw.prefix.as_ref().filter(|at| !is_path(&at.value)) {
        cx.error(prefix.place, "this is no path", "write it as `/admin`, without `/debug/pprof`, `?` and spaces");
    }
    let windows = |count: u64| Span::from_ns(window.ns().saturating_mul(count));
    let range = (windows(CAPTURE_WINDOWS_MIN), CAPTURE_MAX);
    let capture = match raw.capture.as_ref() {
        Some(_) => within(raw.capture.as_ref(), "a capture", range, cx),
        None => windows(CAPTURE_WINDOWS_DEFAULT),
    };
    let from = raw.from.as_ref().map_or(raw::ProfilesFrom::Pprof, |at| at.value);
    let (port, prefix, rate) = (raw.port.as_ref(), raw.prefix.as_ref(), raw.rate.as_ref());
    match from {
        raw::ProfilesFrom::Pprof => {
            if let Some(rate) = rate {
                cx.error(rate.place, "a program has its own rate of samples", "remove it, or write `from: kernel`");
            }
        }
        raw::ProfilesFrom::Kernel => {
            for place in [port.map(|at| at.place), prefix.map(|at| at.place)].into_iter().flatten() {
                cx.error(place, "the kernel asks no program for its profiles", "remove it, or write `from: pprof`");
            }
        }
    }
    let scraped = raw.targets.as_ref().filter(|at| at.value == raw::ProfileTargets::Scrape).map(|at| at.place);
    if let (Some(place), raw::ProfilesFrom::Kernel) = (scraped, from) {
        cx.error(place, "the kernel looks for who listens at an endpoint", "remove it, or write `from: pprof`");
    }
    How {
        scraped,
        from,
        port: port.and_then(|at| u16::try_from(at.value.0).ok()),
        prefix: prefix.map(|at| at.value.clone()).unwrap_or_default(),
        rate: rate.and_then(|at| SampleRate::new(u32::try_from(at.value.0).ok()?).ok()).unwrap_or(SampleRate::DEFAULT),
        window,
        capture,
    }
}

fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\".contains(&byte);
    text.starts_with('/') && text.bytes().all(plain)
}

fn sought(service: &ServiceName, versions: &[VersionSpec], how: How) -> Option<At<Sought>> {
    let How { scraped, port, prefix, window, capture, .. } = how;
    let versions = versions.iter().map(|version| version.name.clone()).collect();
    let value = Sought { service: service.clone(), versions, port, prefix, window, capture };
    scraped.map(|place| At { value, place })
}

/// Reports services whose programs nobody looks for.
pub(super) fn check_sought(services: &[Service], metrics: &[Document<Metrics>], cx: &mut Context<'_>) {
    let is_scraped = |metrics: &Metrics| metrics.scrape_config.is_some();
    if metrics.iter().any(|document| document.spec.as_ref().is_none_or(is_scraped)) {
        return;
    }
    for sought in services.iter().filter_map(|service| service.sought.as_ref()) {
        cx.error(
            sought.place,
            "nothing is scraped here",
            "name a `scrapeConfig` in a document with `kind: Metrics`, or leave `targets` out",
        );
    }
}

fn profiled(service: &ServiceName, versions: &[VersionSpec], how: &How) -> Vec<Profiled> {
    let of = |version: &VersionSpec| {
        let endpoints = version.endpoints.iter().take(PROFILED_OF_VERSION_MAX).map(|endpoint| endpoint.address);
        let name = version.name.clone();
        let at = move |endpoint: SocketAddr| {
            let taken = match how.from {
                raw::ProfilesFrom::Kernel => Taken::ByTheKernel { endpoint, rate: how.rate },
                raw::ProfilesFrom::Pprof => {
                    let address = SocketAddr::new(endpoint.ip(), how.port.unwrap_or(endpoint.port()));
                    Taken::ByItself { base: format!("http://{address}{}", how.prefix.trim_end_matches('/')) }
                }
            };
            let (endpoint, window, capture) = (endpoint.to_string(), how.window, how.capture);
            Profiled { service: service.clone(), version: name.clone(), endpoint, taken, window, capture }
        };
        endpoints.map(at).collect::<Vec<_>>()
    };
    versions.iter().flat_map(of).collect()
}

fn version(name: &At<VersionName>, raw: &raw::Version, cx: &mut Context<'_>) -> VersionSpec {
    let mut endpoints = Vec::new();
    for endpoint in raw.endpoints.iter().flat_map(|e| &e.value.0) {
        if endpoint.value.address.port() == 0 {
            cx.error(endpoint.place, "nobody can connect to port 0", "write the port on which the version listens");
        } else if endpoints.contains(&endpoint.value) {
            cx.error(endpoint.place, "this endpoint stands in the list twice", "remove one of the two");
        } else {
            endpoints.push(endpoint.value);
        }
    }
    VersionSpec { name: name.value.clone(), endpoints }
}

/// Weights as declared, or everything to the first version.
fn split(versions: &At<Entries<VersionName, Short<raw::Version>>>, cx: &mut Context<'_>) -> Split {
    let entries = &versions.value.0;
    let given: Vec<&At<Weight>> = entries.iter().filter_map(|(_, form)| form.value.0.weight.as_ref()).collect();
    let sum: u64 = given.iter().map(|weight| u64::from(weight.value.basis_points())).sum();
    let sound = cx.is_sound(versions.place) && entries.iter().all(|(_, form)| cx.is_sound(form.place));
    if let (true, Some(last)) = (sound && sum != 10_000, given.last()) {
        cx.error(
            last.place,
            format!("the weights add up to {}%, not to 100%", sum as f64 / 100.0),
            "change the weights; versions without one get nothing",
        );
    }
    if entries.is_empty() && cx.is_sound(versions.place) {
        cx.error(
            versions.place,
            "a service needs at least one version",
            "write `versions: {v1: http://127.0.0.1:8081}`",
        );
    }
    let mut split: Split = Vec::new();
    for (index, (name, form)) in entries.iter().enumerate() {
        let first = if given.is_empty() && index == 0 { Weight::FULL } else { Weight::ZERO };
        split.push((name.value.clone(), form.value.0.weight.as_ref().map_or(first, |w| w.value)));
    }
    split.sort();
    split
}

fn sticky(at: &At<Short<raw::Sticky>>, cx: &mut Context<'_>) -> Option<Sticky> {
    match (&at.value.0.cookie, &at.value.0.header) {
        (None, None) => Some(Sticky::ClientAddress),
        (Some(cookie), None) => {
            let token = !cookie.value.is_empty()
                && cookie.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
            if !token {
                cx.error(cookie.place, "no cookie can have this name", "write letters, digits, `-` and `_`");
            }
            Some(Sticky::Cookie(cookie.value.clone()))
        }
        (None, Some(header)) => Some(Sticky::Header(header.value.clone())),
        (Some(_), Some(header)) => {
            cx.error(
                header.place,
                "a client is known by a cookie or by a header, not by both",
                "remove one of the two",
            );
            None
        }
    }
}

fn timeouts(at: Option<&At<raw::Timeouts>>, cx: &mut Context<'_>) -> Timeouts {
    const RANGE: (Span, Span) = (Span::from_ms(1), Span::from_days(1));
    let Some(At { value: raw, place }) = at else { return Timeouts::default() };
    let timeouts = Timeouts {
        connect: within(raw.connect.as_ref(), "a time limit", RANGE, cx),
        first_byte: within(raw.first_byte.as_ref(), "a time limit", RANGE, cx),
        idle: within(raw.idle.as_ref(), "a time limit", RANGE, cx),
        total: within(raw.total.as_ref(), "a time limit", RANGE, cx),
    };
    for (key, part) in [("connect", &raw.connect), ("firstByte", &raw.first_byte)] {
        // A default (it has the place of the whole) that no longer fits is nobody's mistake: `total` simply ends the
        // request first.
        let written = part.as_ref().filter(|part| part.place != *place);
        if let (Some(part), Some(total)) = (written, &raw.total)
            && total.value < part.value
        {
            cx.error(
                part.place,
                format!("`{key}` of {} can never end a request: `total` is {}", part.value, total.value),
                format!("write at most {}, or a longer `total`", total.value),
            );
        }
    }
    timeouts
}

/// Services whose requests the kernel is asked for. Nothing can shift what does not come through the gateway.
pub(super) fn called(services: &[Service], rollouts: &[At<Rollout>], cx: &mut Context<'_>) -> BTreeSet<ServiceName> {
    let called: BTreeSet<_> = services.iter().filter(|s| s.is_called).map(|s| s.spec.name.clone()).collect();
    for rollout in rollouts.iter().filter(|rollout| called.contains(&rollout.value.service)) {
        cx.error(
            rollout.place,
            format!(
                "requests of service `{}` do not come through the gateway, which so cannot shift them",
                rollout.value.service
            ),
            "remove the rollout, or `calls` of the service",
        );
    }
    called
}

/// Gives each service the thresholds that its objectives and rollouts ask for; reports the ones beyond the limit.
pub(super) fn set_thresholds(services: &mut [Service], asked: Vec<Threshold>, cx: &mut Context<'_>) {
    for Threshold { service, threshold, place } in asked {
        let Some(found) = services.iter_mut().find(|s| s.spec.name == service) else { continue };
        let thresholds = &mut found.spec.thresholds;
        let Err(index) = thresholds.binary_search(&threshold) else { continue };
        if thresholds.len() < THRESHOLDS_MAX {
            thresholds.insert(index, threshold);
            continue;
        }
        let used = super::super::suggest::one_of(
            thresholds.iter().map(ToString::to_string).collect::<Vec<_>>().iter().map(String::as_str),
        );
        cx.error(
            place,
            format!("service `{service}` has {THRESHOLDS_MAX} latency thresholds already; {threshold} is one more"),
            format!("share a threshold: {used}"),
        );
    }
}
