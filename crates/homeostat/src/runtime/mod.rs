//! Wires the parts of a running process and stops them again.
//!
//! Order of starting: configuration, journal and what it remembers, gateway with the splits that are in force, control,
//! collector, notifications, watch on the configuration, metrics server, API. Stopping goes the other way round, from upstream to
//! downstream, so that what was counted is judged and what was decided is on disk (`ARCHITECTURE.md` draws who owns what).
//!
//! A journal that cannot be opened does not keep the gateway from serving: it starts with every canary at weight 0, and
//! control begins when the journal does. Nothing acts without a record.

pub mod agent;
mod backend;
mod clock;
mod collector;
mod compile;
mod control_thread;
mod data_dir;
mod explaining;
mod files;
mod inbox;
mod indicators;
mod journal;
mod kernel_calls;
mod kernel_strip;
mod late;
mod message;
mod metrics;
mod metrics_role;
mod pending;
mod recovery;
mod reload;
mod retry_after;
pub mod server;
mod shared;
mod stop;
mod tables;
mod watch;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use homeostat_api::{
    ApiServer,
    backend::{Backend, ConfigStatus},
};
use homeostat_gateway_proxy::{DrainReport, Gateway, GatewayHandle};
use homeostat_gateway_route::CellRegistry;
use homeostat_model::{
    Actor, CellId, CellKey, ConfigRead,
    change::{ReadCause, ReadOutcome},
};
use homeostat_store_wal::{Disk, RealDisk};
use tokio::{sync::watch::channel as watch_channel, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{
    backend::ProcessBackend,
    clock::Clock,
    collector::Collector,
    compile::{Compiled, compile},
    explaining::{Explaining, ExplainingParts},
    inbox::Inbox,
    kernel_calls::KernelCallsRole,
    kernel_strip::KernelStripRole,
    late::LateParts,
    message::{Configure, Message},
    metrics_role::{MetricsParts, MetricsRole},
    recovery::ControlHost,
    reload::{ReloadParts, Reloader},
    shared::Shared,
};
use crate::config::{CheckedConfig, Problems, Texts};

/// Looks a variable up for `${NAME}` in the configuration.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How long the start waits for the journal before the gateway starts without it.
const JOURNAL_WAIT: Duration = Duration::from_secs(10);

/// What to run.
pub struct Options {
    /// Configuration file or folder.
    pub config: PathBuf,
    /// For `${NAME}` in it.
    pub environment: Environment,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has problems; all of them are in here, rendered for a terminal.
    #[error("{0}")]
    Config(Problems),
    /// The routes do not compile although the configuration was checked.
    #[error("the configuration cannot be compiled: {0}")]
    Compile(String),
    /// Another process uses the data directory.
    #[error("cannot use the data directory")]
    Journal(#[source] homeostat_store_events::JournalError),
    /// The gateway could not start.
    #[error("cannot start the gateway")]
    Gateway(#[source] homeostat_gateway_proxy::StartError),
    /// The API could not start.
    #[error("cannot start the API")]
    Api(#[source] homeostat_api::BindError),
    /// The system refused a thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// A running process.
#[derive(Debug)]
pub struct Running {
    gateway: Gateway,
    collector: Collector,
    control: ControlHost,
    reloader: Reloader,
    backend: Arc<ProcessBackend>,
    inbox: Arc<Inbox<Message>>,
    api_address: SocketAddr,
    api_stop: CancellationToken,
    api: JoinHandle<()>,
    late: Arc<LateParts>,
    metrics: MetricsRole,
    explaining: Explaining,
    kernel_strip: KernelStripRole,
    kernel_calls: KernelCallsRole,
    drain: Duration,
}

/// Starts everything. Must be called on a multi-threaded tokio runtime, which then carries the API and notifications.
pub async fn start(options: Options) -> Result<Running, StartError> {
    start_on(options, Arc::new(RealDisk)).await
}

/// As [`start`], on a disk of the caller's choosing: tests take one that fills up, fails or stalls.
pub async fn start_on(options: Options, disk: Arc<dyn Disk>) -> Result<Running, StartError> {
    let texts = Texts::read(&options.config);
    let digest = texts.digest();
    let config = texts.check(&*options.environment).map_err(StartError::Config)?;
    // A configuration that does not compile is told before anything is touched.
    let config = compiled_by(config, &mut CellRegistry::new())?.config;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }

    let inbox = Arc::new(Inbox::default());
    let console = config.api.external_url.clone().unwrap_or_else(|| format!("http://{}", config.api.listen));
    let late = Arc::new(LateParts::new(config.store.dir.join("outbox"), config.receivers.clone(), console));
    let mut control = ControlHost::start(config.store.clone(), disk, Arc::clone(&inbox), Arc::clone(&late))
        .map_err(StartError::Thread)?;
    let first = control.first_attempt(JOURNAL_WAIT).await.map_err(StartError::Journal)?;
    let clock = Clock::start(first.last_at);
    let shared = Arc::new(Shared::new(ConfigStatus {
        generation: 1,
        accepted_at: clock.now(),
        problems: Vec::new(),
        notes: Vec::new(),
        rejected_at: None,
    }));
    let mut registry = CellRegistry::new();
    let ids_kept = resume(&mut registry, &first.cells);
    let compiled = compiled_by(config, &mut registry)?;
    let config = compiled.config;
    let splits = first.splits.unwrap_or_else(|| tables::safe_splits(&compiled.spec));
    let table = tables::overlaid(compiled.table.clone(), &splits);

    let gateway = Gateway::start(config.proxy.clone(), Arc::new(table)).map_err(StartError::Gateway)?;

    let configure = Configure { table: compiled.table, spec: compiled.spec, change: None, done: None };
    let (cause, outcome, read) = (ReadCause::Start, ReadOutcome::InForce, digest.clone());
    let read = ConfigRead { cause, by: Actor::homeostat(), before: None, read, outcome };
    for message in [Message::Configure(Box::new(configure)), Message::ConfigRead(Box::new(read))] {
        if inbox.push(message).is_err() {
            tracing::error!("control's inbox was closed before it began");
        }
    }
    control.go(clock, splits, gateway.handle(), Arc::clone(&shared), ids_kept);
    let collector =
        Collector::start(gateway.handle(), Arc::clone(&inbox), Arc::clone(&shared)).map_err(StartError::Thread)?;
    let (told_receivers, receivers) = watch_channel(config.receivers.clone());
    let reloader = Reloader::start(ReloadParts {
        path: options.config,
        environment: options.environment,
        in_force: config.clone(),
        digest,
        started_with: config.clone(),
        registry,
        clock,
        shared: Arc::clone(&shared),
        inbox: Arc::clone(&inbox),
        gateway: gateway.handle(),
        late: Arc::clone(&late),
        metrics: told_receivers,
        api: None,
    })
    .map_err(StartError::Thread)?;

    shared.profile_as(&config);
    shared.served.store(Arc::new(kernel_strip::served(&config)));
    shared.depends_on.store(Arc::new(config.depends_on.clone()));
    shared.called.store(Arc::new(kernel_strip::called(&config)));
    let kernel_strip = KernelStripRole::start(clock, Arc::clone(&shared)).map_err(StartError::Thread)?;
    let kernel_calls =
        KernelCallsRole::start(clock, Arc::clone(&shared), Arc::clone(&inbox)).map_err(StartError::Thread)?;
    let explaining = Explaining::start(ExplainingParts {
        clock,
        shared: Arc::clone(&shared),
        inbox: Arc::clone(&inbox),
        late: Arc::clone(&late),
        dir: config.store.dir.clone(),
    });
    let metrics = MetricsRole::start(MetricsParts {
        spec: config.metrics.clone(),
        receivers,
        dir: config.store.dir.clone(),
        clock,
        shared: Arc::clone(&shared),
        inbox: Arc::clone(&inbox),
    });
    let backend =
        ProcessBackend::new(clock, shared, Arc::clone(&inbox), gateway.handle(), reloader.handle(), Arc::clone(&late));
    let backend = Arc::new(backend);
    let server = ApiServer::bind(
        config.api.clone(),
        Arc::clone(&backend) as Arc<dyn Backend>,
        homeostat_api::Console::embedded(),
    )
    .await
    .map_err(StartError::Api)?;
    let api_address = server.local_addr();
    reloader.handle().control_api(server.handle());
    let api_stop = CancellationToken::new();
    let api = tokio::spawn(server.run(api_stop.clone()));
    let drain = config.proxy.limits.drain.into();
    Ok(Running {
        gateway,
        collector,
        control,
        reloader,
        backend,
        inbox,
        api_address,
        api_stop,
        api,
        late,
        metrics,
        explaining,
        kernel_strip,
        kernel_calls,
        drain,
    })
}

fn compiled_by(config: CheckedConfig, registry: &mut CellRegistry) -> Result<Compiled, StartError> {
    compile(config, registry).map_err(|problems| StartError::Compile(problems.join("; ")))
}

/// Gives the cells of before a restart their ids again, so that what was recorded keeps its meaning; possible when no id
/// in between has been forgotten. Says whether it did.
fn resume(registry: &mut CellRegistry, cells: &BTreeMap<CellId, CellKey>) -> bool {
    let dense = cells.keys().enumerate().all(|(at, id)| usize::from(id.0) == at);
    let keys: Vec<_> = cells.values().cloned().collect();
    dense && registry.register(&keys).is_ok()
}

impl Running {
    /// Where the gateway listens: listeners by name with the ports they got.
    pub fn gateway_addresses(&self) -> Vec<(String, SocketAddr)> {
        self.gateway.handle().stats().listeners.into_iter().map(|listener| (listener.name, listener.address)).collect()
    }

    /// Where the API and the console listen.
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Where the metrics server listens, if there is to be one and it runs by now.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.address()
    }

    /// The same door that the API uses.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend) as Arc<dyn Backend>
    }

    /// The data plane's counters and table.
    pub fn gateway(&self) -> GatewayHandle {
        self.gateway.handle()
    }

    /// Reads the configuration again, in the background; `by` sent the signal for it.
    pub fn reload(&self, by: Actor) {
        self.reloader.handle().trigger(ReadCause::Signal, by);
    }

    /// Stops from upstream to downstream and says how it went.
    pub async fn stop(self) -> StopReport {
        self.backend.stopping();
        let Self {
            gateway,
            reloader,
            collector,
            inbox,
            control,
            late,
            metrics,
            explaining,
            kernel_strip,
            kernel_calls,
            drain,
            backend,
            api,
            api_stop,
            ..
        } = self;
        let stopping = Arc::clone(&late);
        // Until the gateway has drained, the API answers: load balancers see that it is not ready, scrapers read the end.
        let drained = tokio::task::spawn_blocking(move || {
            reloader.stop();
            gateway.drain(drain)
        })
        .await;
        api_stop.cancel();
        join("API", api).await;
        metrics.stop().await;
        explaining.stop().await;
        // The API's own references go first, so that the journal can be closed by its owner.
        drop(backend);
        let ended = tokio::task::spawn_blocking(move || {
            kernel_strip.stop();
            kernel_calls.stop();
            collector.stop();
            inbox.close();
            control.finish()
        })
        .await;
        stopping.stop_notify().await;
        drop((stopping, late));
        let ended = match ended {
            Ok(ended) => ended,
            Err(problem) => {
                tracing::error!(%problem, "stopping ended early");
                return StopReport { gateway: drained.ok(), journal_synced: false };
            }
        };
        let journal_synced = tokio::task::spawn_blocking(move || ended.close()).await.unwrap_or(false);
        StopReport { gateway: drained.ok(), journal_synced }
    }
}

async fn join(what: &str, task: JoinHandle<()>) {
    if let Err(problem) = task.await {
        tracing::error!(%problem, "{what} had ended early");
    }
}

/// How stopping went.
#[derive(Debug)]
pub struct StopReport {
    /// What became of the connections.
    pub gateway: Option<DrainReport>,
    /// Whether everything decided is on disk.
    pub journal_synced: bool,
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let journal = if self.journal_synced { "journal synced" } else { "journal not synced" };
        match &self.gateway {
            Some(gateway) => write!(f, "{} connections cut off, {journal}", gateway.cut_off),
            None => write!(f, "gateway not drained, {journal}"),
        }
    }
}
