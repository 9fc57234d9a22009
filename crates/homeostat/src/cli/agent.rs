//! `homeostat agent`: senses on this machine and ships to a server, until it is asked to stop.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use homeostat_api::prometheus::ServerSpec;
use homeostat_model::error_chain::chain;
use homeostat_profile::Redaction;
use homeostat_relay_profiles::{
    QueueSpec,
    limits::{AGE_DEFAULT, AGE_MAX, QUEUE_BYTES_DEFAULT, QUEUE_BYTES_MIN},
};
use homeostat_sense_kernel::SampleRate;
use homeostat_sense_pprof::Kind;
use homeostat_sense_receive::profiles::SERVICE;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    quantity::{Bytes, Time, parse_bytes, parse_time},
    serving,
    up::{LogFormat, raise_file_limit},
};
use crate::runtime::agent::{
    self, AGENT, AgentOptions, RunningAgent,
    service::{ServiceSpec, Source, has_userinfo},
};

/// Profiles the services of this machine at a low rate and ships the profiles to a Homeostat server
///
/// Services are seen by the kernel (`pid:`, `comm:`, `machine`; nothing is changed in them, root or CAP_BPF and CAP_PERFMON
/// are needed) or serve /debug/pprof themselves (`url:`). Each window is redacted, put into a queue on disk and shipped in
/// order; the server counts it once, whatever is killed in between. While the server is away the queue grows up to
/// `--max-queue`, then the oldest windows go.
///
///   homeostat agent --server http://HOST:9090 --service shop=comm:shop --service db=url:http://127.0.0.1:6060
///
///   homeostat agent --server http://HOST:9090 --service everything=machine --listen 127.0.0.1:7790
///
/// `homeostat doctor` says what the kernel allows. SIGINT or SIGTERM keeps what the kernel has sampled of the window that was
/// begun, gives up what is being pulled, and stops; what waits is shipped by the next run.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Address of the server that profiles are shipped to: scheme, host and port
    #[arg(long, value_name = "URL", help_heading = "Shipping")]
    server: String,
    /// File with a bearer token, for a server behind a proxy that asks for one; read at each request
    #[arg(long, value_name = "FILE", help_heading = "Shipping")]
    bearer_file: Option<PathBuf>,
    /// Data directory with the queue; made if need be, used by one process at a time
    #[arg(long, value_name = "DIR", default_value = "homeostat-agent", help_heading = "Shipping")]
    data: PathBuf,
    /// Bytes of the queue; beyond it the oldest windows are dropped, counted and told
    #[arg(long, value_name = "SIZE", default_value_t = Bytes(QUEUE_BYTES_DEFAULT), value_parser = parse_bytes, help_heading = "Shipping")]
    max_queue: Bytes,
    /// Windows that have waited for longer are dropped, counted and told; at most 7d
    #[arg(long, value_name = "TIME", default_value_t = Time(AGE_DEFAULT), value_parser = parse_time, help_heading = "Shipping")]
    max_age: Time,

    /// What is sensed, several times: NAME=pid:4711, NAME=comm:nginx (a command, a program's file or a systemd unit),
    /// NAME=machine (everything), NAME=url:http://127.0.0.1:6060 (`/debug/pprof` there)
    #[arg(long, value_name = "NAME=SOURCE", required = true, help_heading = "Sensing")]
    service: Vec<ServiceSpec>,
    /// Length of a window; of profiles that are pulled, too. The kernel samples for a second at least
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_time, help_heading = "Sensing")]
    window: Time,
    /// Samples of the kernel per second and CPU, 19 to 2000
    #[arg(long, value_name = "RATE", default_value = "19", help_heading = "Sensing")]
    hz: SampleRate,
    /// Which kinds are pulled from `url:`: cpu, heap, allocs, mutex, block, goroutine
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', default_value = "cpu", help_heading = "Sensing")]
    kinds: Vec<String>,
    /// A label of every window, several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label, help_heading = "Sensing")]
    label: Vec<(String, String)>,
    /// Values of labels are neither kept nor sent when the label's name has a match of this expression; empty sends all
    #[arg(long, value_name = "REGEX", default_value = homeostat_profile::KEYS_DEFAULT, help_heading = "Sensing")]
    redact_labels: String,
    /// What matches is neither kept nor sent in any text, beside web addresses and names of home directories; several times
    #[arg(long, value_name = "REGEX", help_heading = "Sensing")]
    redact_texts: Vec<String>,

    /// Memory at which sensing stops; shipping goes on
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse_bytes, help_heading = "Limits of its own")]
    max_rss: Bytes,
    /// Percent of one CPU that the agent may take, its programs in the kernel included; beyond it half as much is sensed, then
    /// nothing, and more again when there is room
    #[arg(long, value_name = "PERCENT", default_value = "2", value_parser = parse_percent, help_heading = "Limits of its own")]
    cpu_budget: f64,

    /// Tell of itself here: /metrics for Prometheus, /status as JSON; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Let everybody who reaches an address beyond this machine ask there
    #[arg(long)]
    open_to_network: bool,
    /// What to log: error, warn, info, debug, trace, or per part as in `info,homeostat_relay_profiles=debug`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Shortest window: what is pulled more often is a load test.
const WINDOW_MIN: Duration = Duration::from_millis(10);
/// Shortest window in which the kernel samples: at 19 per second, nineteen samples.
const SAMPLED_WINDOW_MIN: Duration = Duration::from_secs(1);
/// Longest window: a program measures for a minute at most.
const WINDOW_MAX: Duration = Duration::from_mins(1);
/// Threads of the async runtime: requests and a timer each.
const THREADS: usize = 2;

fn parse_label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = pair.ok_or("write NAME=VALUE, such as zone=a")?;
    if name.starts_with("__") || name == SERVICE || name == AGENT {
        return Err(format!("`{name}` is set by the agent itself"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let percent =
        text.trim_end_matches('%').parse::<f64>().ok().filter(|percent| 0.0 < *percent && *percent <= 10_000.0);
    percent.ok_or_else(|| "write a number above zero: 2 is two percent of one CPU".to_owned())
}

impl Args {
    fn options(self) -> Result<AgentOptions, String> {
        if has_userinfo(&self.server) {
            return Err(
                "`--server` holds a user or a password, which the log and `/status` would show: leave it out, put a token into a \
                 file and name it with `--bearer-file`"
                    .to_owned(),
            );
        }
        let is_address = ["http://", "https://"]
            .iter()
            .any(|scheme| self.server.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if !is_address || self.server.parse::<http::Uri>().is_err() {
            return Err(format!("`--server {}` is no address: write it whole, as http://127.0.0.1:9090", self.server));
        }
        if !(WINDOW_MIN..=WINDOW_MAX).contains(&self.window.0) {
            return Err(format!("`--window {}` must be between 10ms and 1m", self.window));
        }
        let is_sampled = self.service.iter().any(|service| service.source.is_sampled());
        if is_sampled && self.window.0 < SAMPLED_WINDOW_MIN {
            return Err(format!("`--window {}` must be 1s at least for services that the kernel samples", self.window));
        }
        if self.max_queue.0 < QUEUE_BYTES_MIN {
            return Err(format!("`--max-queue {}` must be {} at least", self.max_queue, Bytes(QUEUE_BYTES_MIN)));
        }
        if self.max_age.0.is_zero() || AGE_MAX < self.max_age.0 {
            return Err(format!(
                "`--max-age {}` must be above zero and at most 7d: a server takes nothing older",
                self.max_age
            ));
        }
        self.check_names()?;
        let kind = |name: &String| {
            Kind::named(name).ok_or_else(|| {
                let known = Kind::ALL.map(Kind::name).join(", ");
                format!("`--kinds` has {name:?}; there are {known}")
            })
        };
        let own = self.redact_texts.iter().map(|pattern| (pattern.as_str(), homeostat_profile::REDACTED));
        let values: Vec<_> = homeostat_profile::VALUES_DEFAULT.into_iter().chain(own).collect();
        Ok(AgentOptions {
            kinds: self.kinds.iter().map(kind).collect::<Result<_, _>>()?,
            redaction: Redaction::new(&self.redact_labels, &values).map_err(|bad| bad.to_string())?,
            server: self.server,
            bearer_file: self.bearer_file,
            dir: self.data,
            services: self.service,
            window: self.window.0,
            rate: self.hz,
            queue: QueueSpec { bytes_max: self.max_queue.0, age_max: self.max_age.0, ..QueueSpec::default() },
            labels: self.label,
            rss_max: self.max_rss.0,
            cpu_budget: self.cpu_budget / 100.0,
            listen: self.listen.map(|listen| ServerSpec { option: "--listen", listen, open: self.open_to_network }),
        })
    }

    /// Two windows of one name at one time would be one series of two things.
    fn check_names(&self) -> Result<(), String> {
        let is_url = |service: &ServiceSpec| matches!(service.source, Source::Url(_));
        for (index, service) in self.service.iter().enumerate() {
            let mut others = self.service.iter().take(index);
            if others
                .any(|other| other.name == service.name && (!is_url(other) || !is_url(service) || other == service))
            {
                return Err(format!(
                    "`--service {}={}` comes twice or has two sources; give each a name of its own",
                    service.name, service.source
                ));
            }
        }
        Ok(())
    }
}

pub(crate) fn run(args: Args) -> ExitCode {
    let (log, format) = (args.log.clone(), args.log_format);
    serving::run(&log, format, THREADS, || Ok(serve(args.options()?)))
}

async fn serve(options: AgentOptions) -> ExitCode {
    raise_file_limit();
    let signals = signal(SignalKind::terminate()).and_then(|first| Ok((first, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(problem) => {
            eprintln!("homeostat: cannot listen for signals: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let server = options.server.clone();
    let running = match agent::start(options).await {
        Ok(running) => running,
        Err(problem) => {
            eprintln!("homeostat: {}", chain(&problem));
            return ExitCode::FAILURE;
        }
    };
    println!("homeostat agent {:016x} ships to {server}; {} windows wait", running.sender(), running.waiting());
    if let Some(address) = running.address() {
        println!("homeostat agent tells of itself at http://{address}/");
    }
    let useless = tokio::select! {
        () = told(&mut terminate, &mut interrupt) => None,
        why = running.until_useless() => Some(why),
    };
    if useless.is_none() {
        tracing::info!(
            "stopping: what was sampled of the window that was begun is kept, what waits is shipped by the next run"
        );
    }
    let code = tokio::select! {
        code = stop(running) => code,
        () = told(&mut terminate, &mut interrupt) => {
            tracing::warn!("stopped at once on a second signal");
            ExitCode::from(130)
        }
    };
    match useless {
        Some(why) => {
            eprintln!("homeostat: nothing can be sensed here and nothing waits to be shipped: {why}");
            ExitCode::FAILURE
        }
        None => code,
    }
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn stop(running: RunningAgent) -> ExitCode {
    match running.stop().await {
        0 => ExitCode::SUCCESS,
        lost => {
            tracing::error!(lost, "stopped, but the disk did not take these windows");
            ExitCode::FAILURE
        }
    }
}
