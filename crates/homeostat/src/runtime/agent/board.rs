//! What the parts of the agent tell of themselves, for metrics and status.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use homeostat_relay_profiles::WindowQueue;
use tokio::sync::watch;

use super::governor::Duty;

/// How sampling by the kernel stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Sampling {
    /// No service asks for it.
    #[default]
    NotAsked,
    /// So many processes, so often.
    Running {
        /// Samples per second and CPU.
        hz: u32,
        /// Processes; `None` is all of the machine.
        processes: Option<usize>,
        /// Why it is not all that was asked for; empty when it is.
        lacks: String,
    },
    /// None of the processes is there.
    NobodyThere,
    /// The kernel does not allow it, or the program was built without.
    Refused(String),
    /// The governor does not allow it.
    Off,
}

/// Shared by all parts.
#[derive(Debug)]
pub(super) struct Board {
    /// What is to be sensed.
    pub(super) duty: watch::Sender<Duty>,
    sampling: watch::Sender<Sampling>,
    /// Whether the kernel has ever allowed it.
    pub(super) has_sampled: AtomicBool,
    /// Windows in which the kernel sampled.
    pub(super) windows: AtomicU64,
    pub(super) samples: AtomicU64,
    pub(super) samples_lost: AtomicU64,
    kernel_ns: AtomicU64,
    cpu_share_bits: AtomicU64,
    pub(super) rss_bytes: AtomicU64,
    /// Steps down because of cost, and stops because of memory.
    pub(super) backed_off: AtomicU64,
    pub(super) memory_stops: AtomicU64,
}

impl Board {
    pub(super) fn new(duty: Duty) -> Self {
        Self {
            duty: watch::Sender::new(duty),
            sampling: watch::Sender::default(),
            has_sampled: AtomicBool::new(false),
            windows: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            samples_lost: AtomicU64::new(0),
            kernel_ns: AtomicU64::new(0),
            cpu_share_bits: AtomicU64::new(0),
            rss_bytes: AtomicU64::new(0),
            backed_off: AtomicU64::new(0),
            memory_stops: AtomicU64::new(0),
        }
    }

    pub(super) fn sampling(&self) -> Sampling {
        self.sampling.borrow().clone()
    }

    /// Notes how sampling stands; true when that is news.
    pub(super) fn set_sampling(&self, now: Sampling) -> bool {
        self.sampling.send_if_modified(|sampling| {
            let news = *sampling != now;
            *sampling = now;
            news
        })
    }

    /// Waits until the kernel refuses to sample, has never allowed it, and nothing waits to be shipped; gives why it refuses. What
    /// was allowed once may be so again.
    pub(super) async fn until_useless(&self, queue: &WindowQueue) -> String {
        let mut sampling = self.sampling.subscribe();
        loop {
            if sampling.wait_for(|sampling| matches!(sampling, Sampling::Refused(_))).await.is_err() {
                // Nobody samples any more, which is not the kernel's doing.
                return std::future::pending().await;
            }
            queue.until_empty().await;
            if let (Sampling::Refused(why), false) = (self.sampling(), self.has_sampled.load(Ordering::Relaxed)) {
                return why;
            }
            if sampling.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Time that programs in the kernel took, which is nobody's CPU time.
    pub(super) fn kernel_time(&self) -> Duration {
        Duration::from_nanos(self.kernel_ns.load(Ordering::Relaxed))
    }

    pub(super) fn add_kernel_time(&self, took: Duration) {
        self.kernel_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Share of one CPU that everything took in the last measurement.
    pub(super) fn cpu_share(&self) -> f64 {
        f64::from_bits(self.cpu_share_bits.load(Ordering::Relaxed))
    }

    pub(super) fn set_cpu_share(&self, share: f64) {
        self.cpu_share_bits.store(share.to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use bytes::Bytes;
    use homeostat_model::{
        Labels,
        profile::{LabelSet, Profile, Stack, ValueType},
    };
    use homeostat_relay_profiles::{Answer, Carrier, Carrying, QueueSpec, WindowId};
    use homeostat_store_wal::SimDisk;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// A server that takes everything.
    struct Takes;

    impl Carrier for Takes {
        fn carry(&self, _: WindowId, _: Bytes) -> Carrying {
            Box::pin(async { Answer::Taken { repeated: false } })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_useless_only_while_nothing_has_ever_worked_and_nothing_waits() {
        let disk = Arc::new(SimDisk::default());
        let queue = Arc::new(WindowQueue::open(Path::new("/agent/queue"), disk, QueueSpec::default()).unwrap());
        let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
        profile.add(Stack::EMPTY, LabelSet::NONE, &[1]);
        let ticket = queue.push(&Labels::default(), &profile, 0).unwrap();
        let _durable = ticket.wait(Duration::from_mins(1)).unwrap();
        let board = Board::new(Duty::default());
        let useless = board.until_useless(&queue);
        tokio::pin!(useless);
        let moment = Duration::from_secs(1);
        board.set_sampling(Sampling::Refused("no".to_owned()));
        assert_eq!(timeout(moment, &mut useless).await.ok(), None, "a window waits");
        // When it has gone, sampling is not refused but off.
        board.set_sampling(Sampling::Off);
        let shipping = Arc::clone(&queue).ship(Arc::new(Takes), Arc::new(|| 0), CancellationToken::new());
        drop(timeout(moment, shipping).await);
        assert_eq!(queue.waiting(), 0);
        assert_eq!(timeout(moment, &mut useless).await.ok(), None);
        board.set_sampling(Sampling::Refused("no more".to_owned()));
        assert_eq!(timeout(moment, &mut useless).await.as_deref(), Ok("no more"));
        // It has worked: what is refused later may work again.
        board.has_sampled.store(true, Ordering::Relaxed);
        assert_eq!(timeout(moment, board.until_useless(&queue)).await.ok(), None);
    }
}
