//! The agent: senses on the machine it runs on, and ships to a server.
//!
//! ```text
//! kernel ── sampling ─┐                                     ┌─ /metrics, /status
//! pprof ─── pulling ──┴▶ desk (labels, redaction) ─▶ queue ─┴▶ courier ─▶ server
//!              ▲                                      (disk)
//!           governor ◀── own CPU time and memory
//! ```
//!
//! Each part does without the others: a kernel that refuses leaves pulling, a target that hangs leaves the others, a server that is
//! away leaves sensing, a limit of the agent's own leaves shipping.
//!
//! Not here: flags (`cli::agent`), the queue and the order of shipping (`relay-profiles`).
//! Invariant: nothing reaches the queue before it is redacted.

mod board;
mod carrier;
mod desk;
pub mod governor;
mod own;
mod parts;
mod pulling;
mod sampling;
pub mod service;
mod status;
mod watcher;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use homeostat_api::prometheus::{IntakeServer, Protocol, ServeError, ServerSpec};
use homeostat_model::error_chain::chain;
use homeostat_profile::Redaction;
use homeostat_relay_profiles::{QueueSpec, WindowQueue};
use homeostat_sense_kernel::SampleRate;
use homeostat_sense_pprof::{Kind, PullJob};
use homeostat_sense_scrape::{
    fetch::{Fetcher, now_ms},
    spec::{Credentials, HttpSpec, Secret},
};
use homeostat_store_wal::RealDisk;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::desk::AGENT;
pub(super) use self::own::rss_bytes;
use self::{
    board::Board,
    carrier::HttpCarrier,
    desk::Desk,
    governor::Governor,
    pulling::{PullStatus, Puller},
    sampling::Sampler,
    service::{ServiceSpec, Source},
    status::Teller,
    watcher::Watcher,
};

/// Folder of the queue within the data directory.
const QUEUE_DIR: &str = "queue";
/// How long a part may take to end: names of a window are looked up within some seconds.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// What an agent does.
#[derive(Debug)]
pub struct AgentOptions {
    /// Scheme and address of the server.
    pub server: String,
    /// File with a bearer token for it.
    pub bearer_file: Option<PathBuf>,
    /// Data directory.
    pub dir: PathBuf,
    /// What is sensed.
    pub services: Vec<ServiceSpec>,
    /// Kinds that are pulled.
    pub kinds: Vec<Kind>,
    /// Length of a window.
    pub window: Duration,
    /// Samples per second and CPU.
    pub rate: SampleRate,
    /// What is kept on disk.
    pub queue: QueueSpec,
    /// What must not be kept.
    pub redaction: Redaction,
    /// Labels of every window.
    pub labels: Vec<(String, String)>,
    /// Memory at which sensing stops, in bytes.
    pub rss_max: u64,
    /// Share of one CPU that the agent may take.
    pub cpu_budget: f64,
    /// Where it tells of itself.
    pub listen: Option<ServerSpec>,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The queue.
    #[error("cannot open the queue")]
    Queue(#[from] homeostat_relay_profiles::OpenError),
    /// Certificates of the system.
    #[error("cannot speak to servers: {0}")]
    Speak(String),
    /// Where it tells of itself.
    #[error(transparent)]
    Listen(#[from] ServeError),
    /// The system refuses a thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// An agent at work.
#[derive(Debug)]
pub struct RunningAgent {
    queue: Arc<WindowQueue>,
    board: Arc<Board>,
    address: Option<SocketAddr>,
    /// Whether anything is pulled.
    pulls: bool,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    sampler: Option<std::thread::JoinHandle<()>>,
}

/// Starts an agent on the present runtime.
pub async fn start(options: AgentOptions) -> Result<RunningAgent, AgentError> {
    let (dir, spec) = (options.dir.join(QUEUE_DIR), options.queue);
    let opening = tokio::task::spawn_blocking(move || WindowQueue::open(&dir, Arc::new(RealDisk), spec));
    let queue = Arc::new(opening.await.map_err(|panicked| AgentError::Thread(panicked.into()))??);
    let governor = Governor::new(options.cpu_budget, options.rss_max);
    let board = Arc::new(Board::new(governor.duty()));
    let mut watcher = Watcher { board: Arc::clone(&board), governor, judge_every: options.window };
    watcher.look_at_memory();
    let services: Vec<_> = options.services.into_iter().map(|service| (service, PullStatus::default())).collect();
    let teller = Teller {
        queue: Arc::clone(&queue),
        board: Arc::clone(&board),
        services: services.clone(),
        server: options.server.clone(),
        rss_max: options.rss_max,
        cpu_budget: options.cpu_budget,
    };
    let listening = match options.listen {
        Some(spec) => Some(IntakeServer::bind(spec, Protocol::Http1, Arc::new(teller).router()).await?),
        None => None,
    };
    let address = listening.as_ref().map(IntakeServer::local_addr);
    let desk = Arc::new(Desk::new(Arc::clone(&queue), options.redaction, options.labels));
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());

    let credentials =
        options.bearer_file.map(|file| Credentials::Token { kind: "Bearer".to_owned(), token: Secret::File(file) });
    let to_server = fetcher(HttpSpec { credentials, ..HttpSpec::default() })?;
    let carrier = Arc::new(HttpCarrier::new(to_server, &options.server));
    tasks.spawn(Arc::clone(&queue).ship(carrier, Arc::new(now_ms), stop.clone()));
    tasks.spawn(watcher.run(stop.clone()));
    if let Some(server) = listening {
        tasks.spawn(server.run(stop.clone()));
    }

    let from_targets = fetcher(HttpSpec::default())?;
    let pulling = pulling::pulling(PullJob { kinds: options.kinds }, &desk);
    let mut pulls = false;
    for (service, status) in &services {
        let Source::Url(url) = &service.source else { continue };
        pulls = true;
        let puller = Puller {
            service: service.name.clone(),
            url: url.clone(),
            window: options.window,
            pulling: Arc::clone(&pulling),
            fetcher: from_targets.clone(),
            board: Arc::clone(&board),
            status: status.clone(),
        };
        tasks.spawn(puller.run(stop.clone()));
    }
    let sampled: Vec<_> = services.iter().map(|(service, _)| service.clone()).collect();
    let sampled: Vec<_> = sampled.into_iter().filter(|service| service.source.is_sampled()).collect();
    let sampler = Sampler {
        services: sampled,
        rate: options.rate,
        window: options.window,
        desk,
        board: Arc::clone(&board),
        runtime: tokio::runtime::Handle::current(),
        stop: stop.clone(),
    };
    let sampler = if sampler.services.is_empty() {
        None
    } else {
        let thread = std::thread::Builder::new().name("agent-sampler".to_owned());
        Some(thread.spawn(move || sampler.run()).map_err(AgentError::Thread)?)
    };
    Ok(RunningAgent { queue, board, address, pulls, stop, tasks, sampler })
}

fn fetcher(spec: HttpSpec) -> Result<Fetcher, AgentError> {
    Fetcher::new(Arc::new(spec)).map_err(|error| AgentError::Speak(chain(&error)))
}

impl RunningAgent {
    /// Where it tells of itself.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The sender's number.
    pub fn sender(&self) -> u64 {
        self.queue.sender()
    }

    /// Windows that wait to be shipped.
    pub fn waiting(&self) -> u64 {
        self.queue.waiting()
    }

    /// Waits until nothing at all is left to do: the kernel refuses to sample and has never sampled, nothing is pulled, and
    /// nothing waits to be shipped. Gives what the kernel said.
    pub async fn until_useless(&self) -> String {
        if self.pulls {
            return std::future::pending().await;
        }
        self.board.until_useless(&self.queue).await
    }

    /// Ends sensing, keeps what was sensed, and gives the number of windows that did not reach the disk. What waits is shipped
    /// by the next run.
    pub async fn stop(mut self) -> usize {
        self.stop.cancel();
        if let Some(sampler) = self.sampler.take() {
            let joined = tokio::task::spawn_blocking(move || sampler.join());
            match timeout(END_PATIENCE, joined).await {
                Ok(Ok(Ok(()))) => {}
                Ok(_) => tracing::error!("sampling has panicked; this is our fault, please report it"),
                Err(_) => tracing::warn!("the last window is not ready and is lost"),
            }
        }
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(END_PATIENCE, ended).await.is_err() {
            tracing::warn!("a part of the agent does not end in time");
        }
        let queue = Arc::clone(&self.queue);
        let closed = tokio::task::spawn_blocking(move || queue.close(END_PATIENCE));
        closed.await.map_or(0, |closed| closed.err().unwrap_or(0))
    }
}
