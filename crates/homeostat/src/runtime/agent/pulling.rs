//! Pulls `/debug/pprof` of services that serve it, as the server would: what is refused is left alone, what hangs is given up,
//! and no service waits for another.

use std::{sync::Arc, time::Duration};

use homeostat_sense_pprof::{Pace, PullJob, Pulling};
use homeostat_sense_scrape::{
    fetch::Fetcher,
    scraper::{SharedStatus, Status},
    target::Target,
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    board::Board,
    desk::Desk,
    governor::{Duty, Level},
};

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

impl Puller {
    /// One puller for all levels: growth since the last reading, and refusals, are remembered while less is asked.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut duty = self.board.duty.subscribe();
        let pace = watch::Sender::new(pace_of(*duty.borrow_and_update()));
        loop {
            let mut task = self.start(pace.subscribe(), stop.clone());
            let ended = loop {
                tokio::select! {
                    // The puller ends with it, which is no fault.
                    biased;
                    () = stop.cancelled() => break Ended::Stopped,
                    // The board is there as long as this is.
                    _ = duty.changed() => {
                        pace.send_replace(pace_of(*duty.borrow_and_update()));
                    }
                    // A panic is told by the task itself.
                    _ = &mut task => break Ended::Panicked,
                }
            };
            match ended {
                Ended::Stopped => {
                    drop(task.await);
                    return;
                }
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

    fn start(&self, pace: watch::Receiver<Pace>, stop: CancellationToken) -> JoinHandle<()> {
        let (labels, interval) = (self.pulling.sink.labels(&self.service), self.window);
        let target = Target { discovered: labels.clone(), labels, url: self.url.clone(), interval, timeout: interval };
        let (pulling, status) = (Arc::clone(&self.pulling), self.status.0.clone());
        tokio::spawn(pulling.pull(target, self.fetcher.clone(), status, pace, stop))
    }
}

/// What ends a puller.
enum Ended {
    Stopped,
    Panicked,
}

fn pace_of(duty: Duty) -> Pace {
    match duty.level() {
        Level::Full => Pace::Every,
        Level::Half => Pace::EveryOther,
        Level::Off => Pace::Never,
    }
}

/// What is pulled of every service.
pub(super) fn pulling(job: PullJob, desk: &Arc<Desk>) -> Arc<Pulling<Desk>> {
    Arc::new(Pulling { job, sink: Arc::clone(desk) })
}
