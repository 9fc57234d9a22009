//! Pulls `/debug/pprof` of services that serve it, as the server would: what is refused is left alone, what hangs is given up,
//! and no service waits for another.

use std::{sync::Arc, time::Duration};

use homeostat_sense_pprof::{PullJob, Pulling};
use homeostat_sense_scrape::{
    fetch::Fetcher,
    manager::Workers as _,
    scraper::{SharedStatus, Status},
    spec::Job,
    target::Target,
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{board::Board, desk::Desk, governor::Level};

/// How long before a puller that ended by a fault of ours begins again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Pulls one service.
#[derive(Debug)]
pub(super) struct Puller {
    pub(super) service: String,
    /// Scheme and address.
    pub(super) url: String,
    pub(super) window: Duration,
    pub(super) pulling: Arc<Pulling<Desk>>,
    pub(super) fetcher: Fetcher,
    pub(super) board: Arc<Board>,
    pub(super) status: PullStatus,
}

/// How a service is, for status and metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct PullStatus(SharedStatus);

impl PullStatus {
    pub(super) fn get(&self) -> Status {
        self.0.get()
    }
}

/// What ends a stretch of pulling at one interval.
enum Ended {
    Stopped,
    Changed,
    Panicked,
}

impl Puller {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut duty = self.board.duty.subscribe();
        loop {
            let level = duty.borrow_and_update().level();
            let own_stop = stop.child_token();
            let mut task = self.interval(level).map(|interval| self.start(interval, own_stop.clone()));
            let ended = loop {
                tokio::select! {
                    // The puller ends with it, which is no fault.
                    biased;
                    () = stop.cancelled() => break Ended::Stopped,
                    changed = duty.changed() => match changed {
                        Err(_) => break Ended::Stopped,
                        Ok(()) if duty.borrow_and_update().level() != level => break Ended::Changed,
                        Ok(()) => {}
                    },
                    () = until_ended(&mut task) => break Ended::Panicked,
                }
            };
            own_stop.cancel();
            if let Some(task) = task {
                // A panic was told already, or comes from a stretch that is over.
                drop(task.await);
            }
            match ended {
                Ended::Stopped => return,
                Ended::Changed => {}
                Ended::Panicked => {
                    tracing::error!(
                        service = self.service,
                        "pulling ended by a fault of ours and begins again; please report it"
                    );
                    if stop.run_until_cancelled(sleep(AGAIN_AFTER)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    fn interval(&self, level: Level) -> Option<Duration> {
        match level {
            Level::Full => Some(self.window),
            Level::Half => Some(self.window * 2),
            Level::Off => None,
        }
    }

    fn start(&self, interval: Duration, stop: CancellationToken) -> JoinHandle<()> {
        let labels = self.pulling.sink.labels(&self.service);
        let target = Target { discovered: labels.clone(), labels, url: self.url.clone(), interval, timeout: interval };
        let job = Arc::new(Job::named(&self.service));
        let status = self.status.0.clone();
        tokio::spawn(self.pulling.work(&job, target, self.fetcher.clone(), status, stop, CancellationToken::new()))
    }
}

/// Ends when the task does, which it does by itself only by a fault of ours.
async fn until_ended(task: &mut Option<JoinHandle<()>>) {
    match task {
        Some(running) => {
            // A panic is told by the task itself.
            drop(running.await);
            *task = None;
        }
        None => std::future::pending().await,
    }
}

/// What is pulled of every service.
pub(super) fn pulling(job: PullJob, desk: &Arc<Desk>) -> Arc<Pulling<Desk>> {
    Arc::new(Pulling { job, sink: Arc::clone(desk) })
}
