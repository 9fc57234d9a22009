//! Configuration: from YAML files to what each room is set up with.
//!
//! Text becomes a tree in which every node knows its place (`tree`), the tree becomes raw documents as written
//! (`document`, `raw`, driven by the table of `shape`), raw documents become one [`CheckedConfig`] (`check`). Every
//! stage reports all problems it finds and goes on with the rest; only then does the next problem-free stage's result
//! count. A configuration is accepted whole or not at all.
//!
//! Not here: watching files and swapping the new for the old (`runtime`).
//! Invariants: nothing but [`Texts::read`] (which [`load`] and [`load_for_elsewhere`] call) touches files; nothing reads the environment, which comes
//! in as a function and is asked for secrets only; no input makes it panic.

mod check;
mod document;
mod json_schema;
pub mod limits;
mod markdown;
mod mask;
mod problem;
pub mod prometheus;
mod raw;
mod read;
mod scalar;
mod shape;
mod source;
mod suggest;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
};

use homeostat_act_guard::GuardLimits;
use homeostat_act_notify::spec::ReceiverSpec;
use homeostat_api::spec::ApiSpec;
use homeostat_control::event::{ControlSpec, ControlledService};
use homeostat_gateway_proxy::spec::ProxySpec;
use homeostat_gateway_route::spec::GatewaySpec;
use homeostat_model::{
    CellId, CellKey, ConfigDigest, Objective, ObjectiveName, RouteName, ServiceName, Span, VersionName,
    rollout::Rollout,
};
use homeostat_sense_kernel::SampleRate;
use homeostat_store_events::spec::StoreSpec;
use sha2::Digest as _;

use self::read::Outside;
pub use check::metrics::MetricsSpec;
pub use json_schema::json_schema;
pub use markdown::markdown;
pub use problem::{PROBLEMS_MAX, Problem, Problems, Severity, Spot};
pub use source::{FILE_BYTES_MAX, FILES_MAX};
pub use tree::{DEPTH_MAX, NODES_MAX};

/// The configuration that `homeostat init` writes.
pub const STARTER: &str = include_str!("starter.yaml");

/// The version under which the events of queries are recorded.
pub const QUERIES: &str = "queries";

/// The route under which requests are recorded that the kernel sees.
pub const KERNEL: &str = "kernel";

/// A configuration after all checks.
#[derive(Clone, Debug)]
pub struct CheckedConfig {
    /// Services and routes; it compiles into a route table.
    pub gateway: GatewaySpec,
    /// Listeners, workers, limits.
    pub proxy: ProxySpec,
    /// Objectives, one entry a name.
    pub objectives: Vec<Objective>,
    /// Rollouts, one entry a name, at most one per service.
    pub rollouts: Vec<Rollout>,
    /// The guard's limits.
    pub guard: GuardLimits,
    /// Programs whose profiles are taken all the time.
    pub profiled: Vec<Profiled>,
    /// Services that others call, by who calls them; ascending, one entry each.
    pub depends_on: BTreeMap<ServiceName, Vec<ServiceName>>,
    /// Services whose programs scraping finds.
    pub sought: Vec<Sought>,
    /// How much sensing may take.
    pub sensing: SensingSpec,
    /// Services that are not behind the gateway, and whose requests the kernel is asked for.
    pub called: BTreeSet<ServiceName>,
    /// Receivers, one entry a name.
    pub receivers: Vec<ReceiverSpec>,
    /// The API.
    pub api: ApiSpec,
    /// The journal.
    pub store: StoreSpec,
    /// The metrics server inside the process, if there is to be one.
    pub metrics: Option<MetricsSpec>,
    /// What is accepted but probably not meant.
    pub warnings: Problems,
    /// The files that were read, for a watcher; with a directory, new files in it count too.
    pub files: Vec<PathBuf>,
    /// What is not here and was taken to be where it will run: variables as `${NAME}`, paths of files.
    pub assumed: BTreeSet<String>,
}

/// Programs of one version whose profiles are taken: what one of many does, the others do, and each costs a percent.
pub const PROFILED_OF_VERSION_MAX: usize = 2;

/// A program whose profiles are taken all the time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profiled {
    /// Of which service.
    pub service: ServiceName,
    /// Of which version.
    pub version: VersionName,
    /// Where it is: host and port.
    pub endpoint: String,
    /// Who takes its profiles.
    pub taken: Taken,
    /// Processor time is measured for this long at a time.
    pub window: Span,
    /// How long that goes on after an incident was opened before sides are compared; from two windows to 5 min.
    pub capture: Span,
}

/// Who takes a program's profiles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// The program itself, which serves them.
    ByItself {
        /// What stands before `/debug/pprof`.
        base: String,
    },
    /// The kernel of this machine.
    ByTheKernel {
        /// Where it listens on this machine.
        endpoint: SocketAddr,
        /// How often.
        rate: SampleRate,
    },
}

/// A service whose programs are those that scraping finds, and how their profiles are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The service.
    pub service: ServiceName,
    /// All its versions.
    pub versions: Vec<VersionName>,
    /// Port of `/debug/pprof`, if it is another one than that which is scraped.
    pub port: Option<u16>,
    /// What stands before `/debug/pprof` in the path.
    pub prefix: String,
    /// As of [`Profiled`].
    pub window: Span,
    /// As of [`Profiled`].
    pub capture: Span,
}

/// How much memory sensing may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensingSpec {
    /// Bytes of the windows that are held of all programs together.
    pub windows_bytes_max: u64,
    /// Memory of the whole process at which no profiles are taken any more.
    pub rss_bytes_max: u64,
}

impl Default for SensingSpec {
    /// Windows of thirty busy programs. And of the whole process what these windows and a profile of the largest programs take by
    /// the limits of each: 256 MiB of windows, as much of tables for unwinding, 512 MiB of names, 1 GiB of files with lines.
    fn default() -> Self {
        Self { windows_bytes_max: 256 << 20, rss_bytes_max: 2 << 30 }
    }
}

impl CheckedConfig {
    /// What the cells of queries count, with the names of their objectives.
    pub fn indicators(&self) -> Vec<(CellKey, ObjectiveName)> {
        let queried = self.objectives.iter().filter(|objective| objective.indicator.is_some());
        let key = |objective: &Objective| {
            // Names of objectives, routes and versions follow the same rules.
            let route = RouteName::new(objective.name.as_str()).ok()?;
            let version = VersionName::new(QUERIES).ok()?;
            Some((CellKey { route, service: objective.service.clone(), version }, objective.name.clone()))
        };
        queried.filter_map(key).collect()
    }

    /// What the cells of requests count that the kernel sees.
    pub fn called_cells(&self) -> Vec<CellKey> {
        let Ok(route) = RouteName::new(KERNEL) else { return Vec::new() };
        let called = self.gateway.services.iter().filter(|service| self.called.contains(&service.name));
        let keys = called.flat_map(|service| {
            let (route, name) = (&route, &service.name);
            service.versions.iter().map(move |version| CellKey {
                route: route.clone(),
                service: name.clone(),
                version: version.name.clone(),
            })
        });
        keys.collect()
    }

    /// What control has to know; `cells` are those of requests, `indicators` those of queries.
    pub fn control_spec(
        &self,
        cells: &[(CellId, CellKey)],
        indicators: &[(CellId, CellKey, ObjectiveName)],
    ) -> ControlSpec {
        let services = self.gateway.services.iter().map(|service| ControlledService {
            name: service.name.clone(),
            versions: service.versions.iter().map(|version| version.name.clone()).collect(),
            routes: self.gateway.routes.iter().filter(|r| r.service == service.name).map(|r| r.name.clone()).collect(),
            split: service.split.clone(),
            thresholds: service.thresholds.clone(),
        });
        ControlSpec {
            services: services.collect(),
            cells: cells.iter().cloned().chain(indicators.iter().map(|(id, key, _)| (*id, key.clone()))).collect(),
            indicators: indicators.iter().map(|(id, _, name)| (*id, name.clone())).collect(),
            objectives: self.objectives.clone(),
            rollouts: self.rollouts.clone(),
            guard: self.guard.clone(),
            receivers: self.receivers.iter().map(|receiver| receiver.name.clone()).collect(),
        }
    }

    /// One line on what was found: "2 services, 1 route, …".
    pub fn summary(&self) -> String {
        let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        [
            count(self.proxy.listeners.len(), "listener"),
            count(self.gateway.services.len(), "service"),
            count(self.gateway.routes.len(), "route"),
            count(self.objectives.len(), "objective"),
            count(self.rollouts.len(), "rollout"),
            count(self.receivers.len(), "receiver"),
        ]
        .join(", ")
    }
}

/// Reads and checks a file, or all `*.yaml` and `*.yml` files of a directory. `env` looks environment variables up;
/// it is asked for secrets only. On error all problems are returned, warnings included.
/// TLS files that it names are read and tried, as the gateway will.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<CheckedConfig, Problems> {
    load_for(path, env, Outside::Here)
}

/// As [`load`], for a configuration that is to run elsewhere: variables that are not set and TLS files that do not exist
/// are taken to be there. [`CheckedConfig::assumed`] names them.
pub fn load_for_elsewhere(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<CheckedConfig, Problems> {
    load_for(path, env, Outside::Elsewhere)
}

fn load_for(path: &Path, env: &dyn Fn(&str) -> Option<String>, outside: Outside) -> Result<CheckedConfig, Problems> {
    Texts::read(path).check_for(env, outside)
}

/// The files of a configuration as read at one instant, not checked yet.
#[derive(Debug)]
pub struct Texts {
    sources: source::Sources,
    files: Vec<PathBuf>,
    problems: Vec<Problem>,
}

impl Texts {
    /// Reads a file, or all `*.yaml` and `*.yml` files of a directory. What cannot be read becomes a problem.
    pub fn read(path: &Path) -> Self {
        let (sources, files, problems) = source::Sources::read(path);
        Self { sources, files, problems }
    }

    /// Stands for the texts in the audit: of one file its SHA-256, of several that of the lines that
    /// `sha256sum *.yaml *.yml` prints for them, ascending by name. (A byte order mark does not count.)
    pub fn digest(&self) -> ConfigDigest {
        let sum = |bytes: &[u8]| ConfigDigest::new(sha2::Sha256::digest(bytes).into());
        if let [one] = self.sources.0.as_slice() {
            return sum(one.text.as_bytes());
        }
        let name = |source: &source::Source| Path::new(&source.name).file_name().map(|n| n.display().to_string());
        let line = |source: &source::Source| {
            format!("{}  {}\n", sum(source.text.as_bytes()).as_str(), name(source).unwrap_or_default())
        };
        sum(self.sources.0.iter().map(line).collect::<String>().as_bytes())
    }

    /// As [`load`].
    pub fn check(self, env: &dyn Fn(&str) -> Option<String>) -> Result<CheckedConfig, Problems> {
        self.check_for(env, Outside::Here)
    }

    fn check_for(self, env: &dyn Fn(&str) -> Option<String>, outside: Outside) -> Result<CheckedConfig, Problems> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        compile(&self.sources, self.files, self.problems, cores, Surroundings { env, outside })
    }
}

/// What surrounds a text.
struct Surroundings<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    outside: Outside,
}

/// Checks a text; `name` stands for the file's name. Nothing is set in its environment, and it assumes one core.
pub fn load_str(name: &str, text: &str) -> Result<CheckedConfig, Problems> {
    load_str_with(name, text, &|_| None)
}

/// As [`load_str`], with an environment.
pub fn load_str_with(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<CheckedConfig, Problems> {
    let surroundings = Surroundings { env, outside: Outside::Text };
    compile(&source::Sources::of_text(name, text), Vec::new(), Vec::new(), 1, surroundings)
}

fn compile(
    sources: &source::Sources,
    files: Vec<PathBuf>,
    problems: Vec<Problem>,
    cores: usize,
    surroundings: Surroundings<'_>,
) -> Result<CheckedConfig, Problems> {
    let mut cx = read::Context::new(problems, surroundings.env);
    cx.outside = surroundings.outside;
    let mut documents = document::Documents::default();
    let mut whole = cx.problems.is_empty();
    for (file, source) in (0_u16..).zip(&sources.0) {
        let parsed = tree::parse(&source.name, &source.text, file, &mut cx.problems);
        whole &= parsed.complete;
        documents.read(&parsed.documents, &mut cx);
    }
    // Behind a syntax error, or in a file that could not be read, any document may have stood. What refers to it is
    // not wrong, so only the documents' own form is checked.
    let checked = if whole { check::check(&documents, cores, &mut cx) } else { None };
    let problems = Problems::new(cx.problems, sources, &cx.secrets);
    match checked {
        Some(c) => Ok(CheckedConfig {
            gateway: c.gateway,
            proxy: c.proxy,
            objectives: c.objectives,
            rollouts: c.rollouts,
            guard: c.guard,
            profiled: c.profiled,
            depends_on: c.depends_on,
            sought: c.sought,
            sensing: c.sensing,
            called: c.called,
            receivers: c.receivers,
            api: c.api,
            store: c.store,
            metrics: c.metrics,
            warnings: problems,
            files,
            assumed: cx.assumed,
        }),
        None => Err(problems),
    }
}
