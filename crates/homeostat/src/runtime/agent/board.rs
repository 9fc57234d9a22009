//! What the parts of the agent tell of themselves, for metrics and status.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
    /// Cancelled when the kernel has refused to sample for the first time.
    pub(super) refused: CancellationToken,
    sampling: Mutex<Sampling>,
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
            refused: CancellationToken::new(),
            sampling: Mutex::default(),
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
        self.sampling.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how sampling stands; true when that is news.
    pub(super) fn set_sampling(&self, now: Sampling) -> bool {
        let mut sampling = self.sampling.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *sampling != now;
        *sampling = now;
        news
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
