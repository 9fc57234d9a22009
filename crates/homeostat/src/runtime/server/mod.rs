//! The metrics server: store, intake and query API in one process, without configuration file.
//!
//! The address is taken first, so that a second server on it is told at once, and probes are answered while the store
//! reads its log. Stopping goes from upstream to downstream: no more connections, answers that have begun end, then the
//! store writes what waits for the disk.

mod backend;
mod crew;
mod door;
pub(crate) mod features;
mod governed;
mod intake;
mod metrics;
mod otlp;
#[cfg(test)]
mod overload;
mod profiles;
mod relays;
mod reload;
mod rules;
mod scraping;
pub(crate) mod settings;
mod top;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use homeostat_act_notify::spec::ReceiverSpec;
use homeostat_api::profiles::ProfilesApi;
use homeostat_api::prometheus::{About, PrometheusApi, PrometheusServer, QueryPolicy, ServeError, ServerSpec};
use homeostat_judge_rules::Environment;
use homeostat_sense_receive::{OtlpReceiver, ReceiveLimits, Receiver, govern::Limits};
use homeostat_store_series::{OpenError, Recovery, SeriesStore, StoreOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use homeostat_sense_scrape::manager::Targets;

use self::{
    backend::{Receivers, StoreBackend},
    crew::Crew,
    door::Door,
    governed::Governed,
    intake::StoreIntake,
    otlp::OtlpServers,
    profiles::{Keeping, Profiles},
    relays::{Relays, Sending},
    reload::{ReloadHandle, Reloader},
    rules::{Board, Outlet, Ruling},
    scraping::Scraping,
};
pub use self::{
    otlp::OtlpServing,
    profiles::ProfileOptions,
    relays::RelayError,
    reload::{Fixed, ScrapeOptions},
    rules::RuleOptions,
    top::{Counted, ENTRIES_DEFAULT, ENTRIES_MAX, SeriesTop},
};

/// Folder of the metrics store within the data directory.
const STORE_DIR: &str = "series";

/// How long stopping waits for the disk. Everything that was acknowledged is there already, unless durability is relaxed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Debug)]
pub struct ServerOptions {
    /// Where to listen.
    pub spec: ServerSpec,
    /// Data directory; made if need be.
    pub dir: PathBuf,
    /// How samples are kept.
    pub store: StoreOptions,
    /// How queries are treated.
    pub queries: QueryPolicy,
    /// How much may be on its way in.
    pub receive: ReceiveLimits,
    /// Where and how OTLP is taken.
    pub otlp: OtlpServing,
    /// How many series and values senders may make; as many as they want when `None`.
    pub limits: Option<Limits>,
    /// What is scraped; nothing unless a file says so.
    pub scrape: ScrapeOptions,
    /// What is evaluated, and who is told.
    pub rules: RuleOptions,
    /// Cores that no query takes beside its own thread: others in the process need them.
    pub cores_spared: usize,
    /// How profiles are kept.
    pub profiles: ProfileOptions,
    /// What the process says about itself.
    pub about: About,
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It cannot listen.
    #[error("cannot serve")]
    Serve(#[from] ServeError),
    /// The data directory cannot be made or read.
    #[error("cannot use the data directory {dir}: make it writable for this user, or choose another one with `--data`")]
    Dir {
        /// Where it is.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("cannot open the metrics in {dir}")]
    Store {
        /// Where they are.
        dir: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// The store of profiles cannot be opened.
    #[error("cannot open the profiles")]
    Profiles(#[from] homeostat_store_profiles::OpenError),
    /// Samples cannot be sent on.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// Alerts that wait for webhooks cannot be read.
    #[error("cannot open the outbox of alerts")]
    Outbox(#[from] homeostat_act_notify::OpenError),
    /// A thread of ours ended without a result.
    #[error("the store's thread ended while it was being opened; this is our fault, please report it")]
    Panicked,
}

/// A running server.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    otlp: Vec<(&'static str, SocketAddr)>,
    recovery: Recovery,
    store: SeriesStore,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    sending: Sending,
    keeping: Keeping,
    reload: ReloadHandle,
    reloader: Reloader,
    outlet: Outlet,
    sender: rules::Sender,
    environment: Environment,
    targets: Targets,
}

/// Starts the server, and returns when it is ready. Must be called on a multi-threaded tokio runtime.
pub async fn start(options: ServerOptions) -> Result<RunningServer, ServerError> {
    let door = Arc::new(Door::default());
    let governed = options.limits.map(Governed::new);
    let intake = Arc::new(StoreIntake::new(Arc::clone(&door), governed.clone()));
    let receiver = Receiver::new(Arc::clone(&intake), options.receive);
    let otlp_receiver = OtlpReceiver::beside(&receiver, options.otlp.settings);
    let profiles = Arc::new(Profiles::beside(&receiver));
    let profiles_api =
        ProfilesApi::new(Arc::clone(&profiles.door.0), options.queries.concurrency, options.queries.timeout);
    let targets = Targets::default();
    let (reload, asked) = reload::handle(options.scrape.shown.clone());
    let receivers = Receivers {
        remote_write: Arc::clone(&receiver),
        otlp: Arc::clone(&otlp_receiver),
        profiles: Arc::clone(&profiles),
        governed: governed.clone(),
    };
    let environment = options.rules.environment(&options.queries);
    let timeout = options.queries.timeout;
    let (outlet, sender) = Outlet::open(options.rules.outlet(), &options.dir).await?;
    let board = Board::default();
    let ruling = (board.clone(), outlet.clone());
    let crew = Crew::of_machine(options.cores_spared);
    let backend =
        StoreBackend::new(Arc::clone(&door), receivers, targets.clone(), reload.clone(), ruling, crew, &options.dir);
    let backend = Arc::new(backend);
    let api = PrometheusApi::new(backend, options.queries, options.about);
    let routes = receiver.router().merge(otlp_receiver.prometheus_router()).merge(top::router(&door));
    let routes = routes.merge(profiles.receiver.router()).merge(profiles.receiver.otlp_http_router());
    let routes = routes.merge(profiles_api.router());
    let bound = async {
        let server = PrometheusServer::bind(options.spec, api, routes).await?;
        let (http, grpc) = (options.otlp.http, options.otlp.grpc);
        let otlp_servers = OtlpServers::bind(http, grpc, &otlp_receiver, &profiles.receiver).await?;
        Ok::<_, ServerError>((server, otlp_servers))
    };
    let (server, otlp_servers) = match bound.await {
        Ok(bound) => bound,
        Err(error) => {
            // Whoever tries again finds the outbox free, and no task of this attempt.
            sender.stop().await;
            return Err(error);
        }
    };
    let address = server.local_addr();
    let otlp = otlp_servers.addresses();
    let stop = CancellationToken::new();
    let (main, others) = (server.run(stop.clone()), otlp_servers.run(stop.clone()));
    let serving = tokio::spawn(async move {
        tokio::join!(main, others);
    });

    let (dir, store, remotes) = (options.dir, options.store, options.scrape.fixed.remotes.clone());
    let kept = options.profiles;
    let opened = tokio::task::spawn_blocking(move || {
        // First, so that what is wrong with the directory itself is told as that.
        if let Err(source) = std::fs::create_dir_all(&dir) {
            return Err(ServerError::Dir { dir, source });
        }
        let relays = Relays::open(remotes, &dir)?;
        let kept = profiles::prepare(&dir, kept)?;
        Ok((open(dir, store)?, relays, kept))
    });
    match opened.await.map_err(|_| ServerError::Panicked).flatten() {
        Ok(((store, recovery), (relays, carriers), kept)) => {
            door.open(store.clone(), Arc::clone(&relays));
            let keeping = Keeping::start(kept, &profiles).await;
            let sending = Sending::start(relays, carriers, CLOSE_TIMEOUT);
            let scraping = Scraping::new(&intake, &targets);
            let told = outlet.clone();
            let shared = rules::Shared { door, intake, environment: environment.clone(), timeout, board, outlet };
            let ruling = Ruling::new(Arc::new(shared));
            let reloader = Reloader::start(reload.clone(), asked, (scraping, ruling), (options.scrape, options.rules));
            Ok(RunningServer {
                address,
                otlp,
                recovery,
                store,
                stop,
                serving,
                sending,
                keeping,
                reload,
                reloader,
                outlet: told,
                sender,
                environment,
                targets,
            })
        }
        Err(error) => {
            stop.cancel();
            sender.stop().await;
            // It ends by itself; there is nothing in its result.
            drop(serving.await);
            Err(error)
        }
    }
}

fn open(dir: PathBuf, options: StoreOptions) -> Result<(SeriesStore, Recovery), ServerError> {
    let folder = dir.join(STORE_DIR);
    if let Err(source) = std::fs::create_dir_all(&folder) {
        return Err(ServerError::Dir { dir, source });
    }
    SeriesStore::open(&folder, options).map_err(|source| ServerError::Store { dir: folder, source })
}

impl RunningServer {
    /// What is scraped.
    pub(in crate::runtime) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it keeps.
    pub(super) fn store(&self) -> &SeriesStore {
        &self.store
    }

    /// How queries are evaluated here.
    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Replaces those who hear of alerts beside Alertmanagers, if the server was started with such.
    pub(super) fn reconfigure(&self, receivers: Vec<ReceiverSpec>) {
        self.outlet.reconfigure(receivers);
    }

    /// Where OTLP is served besides, with what is spoken there.
    pub fn otlp_addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.otlp
    }

    /// What was found when the store was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads the configuration file again. What is wrong with it is logged, and what was in force stays.
    pub async fn reload(&self) {
        if let Err(problem) = self.reload.reload().await {
            tracing::debug!(problem, "nothing was reloaded");
        }
    }

    /// Stops serving and closes the store. Gives the number of batches that did not reach the disk in time; none of them
    /// was acknowledged as durable.
    pub async fn stop(self) -> usize {
        self.reloader.stop().await;
        self.sender.stop().await;
        self.stop.cancel();
        // A panicked server has told so already.
        drop(self.serving.await);
        self.sending.stop(CLOSE_TIMEOUT).await;
        let store = self.store;
        let closing = tokio::task::spawn_blocking(move || store.close(CLOSE_TIMEOUT));
        // Beside each other: no bucket may keep samples from the disk.
        let (profiles_lost, closed) = tokio::join!(self.keeping.stop(CLOSE_TIMEOUT), closing);
        profiles_lost + closed.map_or(0, |closed| closed.err().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::error_chain::chain;

    use super::{settings::AddressNames, settings::Settings, *};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let file = dir.path().join("prometheus.yml");
        let text = "alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9']}]}]}";
        std::fs::write(&file, text).unwrap();
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = alive();
        for otlp in [false, true] {
            let listen = if otlp { "127.0.0.1:0".parse().unwrap() } else { taken.local_addr().unwrap() };
            let settings = Settings {
                scrape_config: Some(file.clone()),
                alert_webhooks: vec!["http://127.0.0.1:9/".to_owned()],
                otlp_http: otlp.then(|| taken.local_addr().unwrap()),
                ..Settings::new(AddressNames::KEYS, listen, dir.path().join("data"))
            };
            let problem = start(settings.options().unwrap()).await.unwrap_err();
            assert!(matches!(problem, ServerError::Serve(_)), "{}", chain(&problem));
            // A task is counted for a moment after it was waited for.
            let ended = async {
                while alive() > before {
                    tokio::task::yield_now().await;
                }
            };
            assert!(tokio::time::timeout(Duration::from_mins(1), ended).await.is_ok(), "{} tasks", alive());
        }
    }
}
