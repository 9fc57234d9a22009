//! Measures what the agent takes, and tells the others what that allows.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    board::Board,
    governor::{Duty, Governor, Level},
    own,
};

/// How often memory is looked at: at some MiB/s, which is what a window of a large program costs, a few MiB beyond the limit.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at the agent itself.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) board: Arc<Board>,
    pub(super) governor: Governor,
    /// How long CPU time is added up before it is judged: a window, so that what a window costs at its end counts with it.
    pub(super) judge_every: Duration,
}

impl Watcher {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut since, mut before) = (Instant::now(), self.spent());
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look_at_memory();
            let took = since.elapsed();
            if took < self.judge_every.max(LOOK_EVERY) {
                continue;
            }
            let spent = self.spent();
            self.judge(spent.saturating_sub(before).as_secs_f64() / took.as_secs_f64());
            (since, before) = (Instant::now(), spent);
        }
    }

    fn spent(&self) -> Duration {
        own::cpu_time() + self.board.kernel_time()
    }

    /// Also called before anything is sensed, so that an agent that is at its limit does not begin.
    pub(super) fn look_at_memory(&mut self) {
        let rss = own::rss_bytes();
        self.board.rss_bytes.store(rss, Ordering::Relaxed);
        let before = self.governor.duty();
        let now = self.governor.memory(rss);
        if now.memory_full && !before.memory_full {
            self.board.memory_stops.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                rss,
                "memory is at its limit: nothing is sensed until a tenth of it is free; what waits is shipped"
            );
        } else if before.memory_full && !now.memory_full {
            tracing::info!(rss, "memory is below its limit: sensing goes on");
        }
        self.tell(now);
    }

    fn judge(&mut self, share: f64) {
        self.board.set_cpu_share(share);
        let before = self.governor.duty().by_cost;
        let now = self.governor.cost(share);
        let percent = format!("{:.2} %", 100.0 * share);
        match (before, now.by_cost) {
            (before, now) if before == now => {}
            (Level::Full, Level::Half) | (_, Level::Off) => {
                self.board.backed_off.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(cost = percent, from = ?before, to = ?now.by_cost, "sensing costs more of a CPU than its budget: it backs off");
            }
            (_, level) => tracing::info!(cost = percent, to = ?level, "sensing is within its budget again: it goes up"),
        }
        self.tell(now);
    }

    fn tell(&self, now: Duty) {
        self.board.duty.send_if_modified(|duty| std::mem::replace(duty, now) != now);
    }
}
