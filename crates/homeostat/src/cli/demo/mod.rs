//! `homeostat demo`: the whole loop on real traffic, told as it happens.
//!
//! Two shops and the recommender that they ask as child processes, customers on a thread, gateway, judge and API in this process, all on loopback ports
//! that are free, without root. After a few seconds the bad release gets 5 % of the customers; what Homeostat does about
//! it is printed line by line, and the exit code says whether the loop closed: rolled back and verified. With a slow
//! recommender the release is not to blame: then it has to keep its customers while people are told.
//!
//! Not here: what the shop's faults are (`homeostat-shop`), load (`homeostat-load`), the loop itself (`runtime`).
//! Invariant: nothing outlives this process; the shops end when the pipe to them closes.

mod setup;
mod shops;
mod story;
mod watch;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use homeostat_api::backend::{Backend, IncidentDetail, OperateError, Operation};
use homeostat_load::{Load, Mix, RunningLoad, ShopMix};
use homeostat_model::{Actor, IncidentId, RolloutName, incident::BlackBox, name::NameError, rollout::Verb};
use homeostat_shop::{Fault, Setting, VERSION_HEADER, fault::Range};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::{
    shops::Shops,
    story::{Story, Traffic},
    watch::{Ending, Watch},
};
use super::{log, say, up::LogFormat};
use crate::runtime::{self, Options, Running, StartError};
use homeostat_model::error_chain::chain;

/// Shows the whole loop on real traffic: a bad release is noticed, rolled back, verified and written up
///
/// Starts two versions of a flash-sale shop, customers, gateway and judge on free loopback ports, without root. Ends with
/// 0 when the bad release was rolled back and the recovery verified; with `--fault dependency`, for which the release cannot
/// be blamed, when people were told and the release was left alone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is wrong: errors, lock, log, json, leak or dependency, each with `=STRENGTH` if wanted
    #[arg(long, value_name = "NAME[=STRENGTH]", default_value = "errors", long_help = faults())]
    fault: Setting,
    /// Keep everything running after the story, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Requests a second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(20..=50_000))]
    rps: u32,
    /// Where shops and journal keep their data; a temporary directory unless given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Print the configuration that the demonstration runs with, and end
    #[arg(long)]
    print_config: bool,
}

/// The faults, two lines each: what it does, and what its strength means.
fn faults() -> String {
    let line = |fault: Fault| {
        let Range { unit, default, min, max } = fault.range();
        let strength = format!("strength: {unit}, {min} to {max}, {default} unless given");
        format!("\n  {:<11} {}\n{:14}{strength}", fault.label(), fault.about(), "")
    };
    let lines: String = Fault::ALL.into_iter().map(line).collect();
    format!("What is wrong with v2; with the recommender, which both versions ask, for `dependency`:{lines}")
}

/// Traffic on v1 alone before the release: enough to see that all is well.
const CALM: Duration = Duration::from_secs(3);
/// Traffic on both before their recommender becomes slow: v2 is seen to be as good as v1.
const SHARED: Duration = Duration::from_secs(2);
/// How long a release that is not to blame has to keep its customers: fifty times as long as a bad one needs to lose them.
const SPARED_FOR: Duration = Duration::from_secs(8);
/// Longest wait for a verdict. Errors take a tenth of a second; a leak needs some seconds to hurt.
const VERDICT_WITHIN: Duration = Duration::from_mins(2);
/// Longest wait from the verdict to its end; the judge watches for 5 s.
const VERIFIED_WITHIN: Duration = Duration::from_secs(40);
/// Longest wait for the whole incident at the end.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for the cause: three windows of a second and what it takes to give their samples names, which in a program
/// that was built without optimisation is most of it.
const EXPLAINED_WITHIN: Duration = Duration::from_mins(2);
/// How often the incident is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often the traffic is told: nothing is silent for longer.
const TRAFFIC_EVERY: Duration = Duration::from_secs(1);
/// Answers later than this are slow: the configuration's latency objective.
const SLOW_AFTER: Duration = Duration::from_millis(100);

/// Runs the demonstration.
pub(crate) fn run(args: &Args) -> ExitCode {
    if args.print_config {
        print!("{}", setup::sample());
        return ExitCode::SUCCESS;
    }
    if let Err(problem) = log::install("error", LogFormat::Text) {
        eprintln!("homeostat demo: {problem}");
        return ExitCode::FAILURE;
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| DemoError::Io { what: "start threads".to_owned(), source })
        .and_then(|runtime| runtime.block_on(demonstrate(args)));
    match outcome {
        Ok(Ending::Verified | Ending::Spared) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(DemoError::Interrupted) => ExitCode::from(130),
        Err(problem) => {
            eprintln!("homeostat demo: {}", chain(&problem));
            ExitCode::FAILURE
        }
    }
}

/// Why there was nothing to show.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot {what}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the process for {name} did not start: {detail}")]
    Process { name: &'static str, detail: String },
    #[error("homeostat did not start")]
    Start(#[from] StartError),
    #[error("the gateway has no listener")]
    NoListener,
    #[error("a name of the demonstration is not valid")]
    Name(#[from] NameError),
    #[error("the rollout could not be started")]
    Rollout(#[from] OperateError),
    #[error("interrupted")]
    Interrupted,
}

/// A directory that is removed at the end, unless the user named it.
#[derive(Debug)]
struct DataDir {
    path: PathBuf,
    temporary: bool,
}

impl DataDir {
    fn new(named: Option<&Path>) -> Result<Self, DemoError> {
        let ours = || std::env::temp_dir().join(format!("homeostat-demo-{}", std::process::id()));
        let (path, temporary) = named.map_or_else(|| (ours(), true), |path| (path.to_owned(), false));
        let failed = |source| DemoError::Io { what: format!("create {}", path.display()), source };
        std::fs::create_dir_all(&path).map_err(failed)?;
        Ok(Self { path, temporary })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.temporary
            && let Err(problem) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(dir = %self.path.display(), %problem, "a temporary directory is left behind");
        }
    }
}

async fn demonstrate(args: &Args) -> Result<Ending, DemoError> {
    let mut story = Story::begin(args.json);
    let dir = DataDir::new(args.dir.as_deref())?;
    story.tell(
        "start",
        format!("two shops, {} customers' requests/s, gateway and judge; data in {}", args.rps, dir.path.display()),
    );
    let mut shops = Shops::start(&dir.path, args.fault).await?;
    story.tell("shops", who_is_who(&shops, args.fault));
    let running = start_homeostat(&dir.path, &shops).await?;
    let outcome = tokio::select! {
        outcome = with_customers(args, &running, &mut shops, &mut story) => outcome,
        _interrupted = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
    };
    // From upstream to downstream; the shops see their last requests answered.
    let report = running.stop().await;
    shops.end().await;
    story.tell("stopped", report.to_string());
    outcome
}

fn who_is_who(shops: &Shops, fault: Setting) -> String {
    let Shops { v1, v2, recommender, .. } = shops;
    match fault.fault {
        Fault::Dependency => format!("v1 at {v1} and v2 at {v2} are sound; both ask the recommender at {recommender}"),
        _ => format!(
            "v1 at {v1} is sound, v2 at {v2} has the fault `{fault}`; both ask the recommender at {recommender}"
        ),
    }
}

async fn start_homeostat(dir: &Path, shops: &Shops) -> Result<Running, DemoError> {
    let config = dir.join("homeostat.yaml");
    let addresses = setup::Addresses::free([shops.v1, shops.v2, shops.recommender]);
    let text = setup::text(&addresses, &dir.join("journal"));
    std::fs::write(&config, text)
        .map_err(|source| DemoError::Io { what: format!("write {}", config.display()), source })?;
    // No secret stands in this configuration, so no variable is looked up.
    Ok(runtime::start(Options { config, environment: Arc::new(|_: &str| None) }).await?)
}

async fn with_customers(
    args: &Args,
    running: &Running,
    shops: &mut Shops,
    story: &mut Story,
) -> Result<Ending, DemoError> {
    let (_, gateway) = running.gateway_addresses().into_iter().next().ok_or(DemoError::NoListener)?;
    shops.ask_at(gateway).await?;
    let api = running.api_address();
    story.tell("gateway", format!("serves http://{gateway}/items/1; console and API at http://{api}/"));
    let load = Load {
        label_header: Some(VERSION_HEADER),
        user_header: Some(http::HeaderName::from_static("x-user")),
        slow_after: SLOW_AFTER,
        ..Load::new(gateway, f64::from(args.rps), Mix::Shop(ShopMix::default()))
    };
    let load = load
        .spawn(CancellationToken::new())
        .map_err(|source| DemoError::Io { what: "start the customers".to_owned(), source })?;
    let mut scene = Scene { backend: running.backend(), load: &load, story, last: Traffic::default(), incident: None };
    let ending = scene.play(args.fault, shops).await;
    if let Ok(ending) = &ending {
        scene.close(*ending);
        scene.wait_for_the_cause().await;
        scene.show(&api.to_string(), args).await;
        if args.keep {
            scene.story.tell("keep", "everything keeps running; Ctrl-C ends it".to_owned());
            scene.traffic_until(say::is_closed).await;
        }
    }
    // Nothing is lost when this fails: the figures were told.
    drop(tokio::task::spawn_blocking(move || load.finish()).await);
    ending
}

/// What is needed to tell the story while it happens.
struct Scene<'a> {
    backend: Arc<dyn Backend>,
    load: &'a RunningLoad,
    story: &'a mut Story,
    last: Traffic,
    /// The bad release's incident.
    incident: Option<IncidentId>,
}

impl Scene<'_> {
    async fn play(&mut self, Setting { fault, strength }: Setting, shops: &mut Shops) -> Result<Ending, DemoError> {
        self.traffic_for(CALM).await;
        let known = self.incidents().await.iter().map(|incident| incident.id).collect();
        self.load.tally().forget_first();
        self.ship().await?;
        if fault == Fault::Dependency {
            self.traffic_for(SHARED).await;
            shops.recommender_answers_after(strength).await?;
            self.story
                .tell("slow", format!("the recommender, which v1 and v2 ask alike, answers after {strength:.0} ms"));
        }
        let mut watch = Watch::new(known, fault);
        let mut traffic_at = Instant::now() + TRAFFIC_EVERY;
        let mut until = Instant::now() + VERDICT_WITHIN;
        loop {
            if let Some(harmed) = self.first_harmed(fault) {
                watch.customers_saw(harmed);
            }
            let had_verdict = watch.has_verdict();
            for incident in self.incidents().await {
                for (what, detail) in watch.see(&incident) {
                    self.story.tell(what, detail);
                }
            }
            self.incident = watch.incident();
            if watch.has_verdict() && !had_verdict {
                until = Instant::now() + if fault == Fault::Dependency { SPARED_FOR } else { VERIFIED_WITHIN };
            }
            if let Some(ending) = watch.ending() {
                return Ok(ending);
            }
            let now = Instant::now();
            if until < now {
                return Ok(watch.ending_in_time());
            }
            if traffic_at <= now {
                self.tell_traffic();
                traffic_at += TRAFFIC_EVERY;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Starts the rollout. A release that an earlier run in the same directory has frozen is started all the same.
    async fn ship(&mut self) -> Result<(), DemoError> {
        let rollout = RolloutName::new("shop")?;
        let reason = "the demonstration ships v2";
        let operate = |verb| {
            let operation = Operation::Rollout { rollout: rollout.clone(), verb };
            self.backend.operate(operation, Actor::new("demo"), reason.to_owned())
        };
        match operate(Verb::Start).await {
            Err(OperateError::Refused(_)) => operate(Verb::StartFrozen).await?,
            other => other?,
        }
        self.story.tell("release", "v2 gets 5 % of the customers".to_owned());
        Ok(())
    }

    /// When customers first saw v2 fail, or be slow if that is its fault; failures without an answer carry no version
    /// and count too.
    fn first_harmed(&self, fault: Fault) -> Option<std::time::SystemTime> {
        let report = self.load.tally().report();
        let first = |label: &&str| {
            let label = report.labels.get(*label)?;
            if fault == Fault::Errors { label.first_bad } else { label.first_harmed }
        };
        let firsts = ["v2", ""].iter().filter_map(first);
        firsts.map(|moment| moment.wall).min()
    }

    async fn incidents(&self) -> Vec<homeostat_model::incident::Incident> {
        /// Newest incidents that are looked at: a directory that is used again holds one a run.
        const LOOKED_AT: usize = 20;
        // A store that is busy or slow is asked again at the next look.
        let asked = timeout(Duration::from_secs(1), self.backend.incidents(None, LOOKED_AT)).await;
        asked.ok().and_then(Result::ok).unwrap_or_default()
    }

    async fn traffic_for(&mut self, long: Duration) {
        drop(timeout(long + TRAFFIC_EVERY / 4, self.traffic_until(|| false)).await);
    }

    async fn traffic_until(&mut self, enough: impl Fn() -> bool) {
        let mut ticks = interval(TRAFFIC_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.tell_traffic();
            if enough() {
                return;
            }
        }
    }

    fn tell_traffic(&mut self) {
        let now = Traffic::of(&self.load.tally().report());
        self.story.traffic(&now, &self.last);
        self.last = now;
    }

    fn close(&self, ending: Ending) {
        self.story.tell("result", ending.sentence().to_owned());
        let harmed = Traffic::of(&self.load.tally().report());
        let share = 100.0 * harmed.harmed() as f64 / harmed.total().max(1) as f64;
        self.story.tell(
            "customers",
            format!("{} of {} requests failed or took over 100 ms ({share:.3} %)", harmed.harmed(), harmed.total()),
        );
    }

    /// Why it happened comes after the rollback: profiles have to be taken to their end first.
    async fn wait_for_the_cause(&mut self) {
        let Some(id) = self.incident else { return };
        let until = Instant::now() + EXPLAINED_WITHIN;
        while Instant::now() < until {
            let known = self.incidents().await;
            let explanation = known.iter().find(|incident| incident.id == id).and_then(|it| it.explanation.as_ref());
            if let Some(explanation) = explanation {
                for cause in &explanation.hypotheses {
                    self.story.tell("cause", format!("{} ({} %)", cause.title, cause.confidence_percent));
                }
                if explanation.hypotheses.is_empty() {
                    self.story.tell("cause", "not enough evidence to name one".to_owned());
                }
                return;
            }
            self.traffic_for(TRAFFIC_EVERY).await;
        }
        self.story.tell("cause", format!("{id} was not explained within {} s", EXPLAINED_WITHIN.as_secs()));
    }

    /// Where the whole story stands while everything keeps running; otherwise the story itself, as nobody can ask later.
    async fn show(&self, api: &str, args: &Args) {
        let Some(id) = self.incident else { return };
        if args.keep {
            let look = format!(
                "http://{api}/ in a browser; `homeostat incident show {id} --api http://{api}`; \
                 `homeostat status --api http://{api}`"
            );
            self.story.tell("look", look);
            return;
        }
        match self.whole(id).await {
            Some((detail, black_box)) => self.story.incident(&detail, black_box.as_ref()),
            None => self.story.tell("incident", format!("{id} could not be read in time")),
        }
        self.story.tell("look", "`homeostat demo --keep` leaves everything running, with the console".to_owned());
    }

    /// The incident with its recording.
    async fn whole(&self, id: IncidentId) -> Option<(IncidentDetail, Option<BlackBox>)> {
        let asked = async {
            let detail = self.backend.incident(id).await.ok()??;
            // A recording that is not there yet is no reason to show nothing.
            let black_box = if detail.has_black_box { self.backend.black_box(id).await.ok()? } else { None };
            Some((detail, black_box))
        };
        timeout(READ_WITHIN, asked).await.ok()?
    }
}
