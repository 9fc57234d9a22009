//! Takes profiles of one program, window after window, and holds the latest.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use homeostat_model::{Span, Timestamp, error_chain::chain, profile::Profile};
use homeostat_profile::{KEYS_DEFAULT, Redaction, VALUES_DEFAULT};
use homeostat_sense_pprof::{Kind, PullError, ask};
use homeostat_sense_scrape::{fetch::Fetcher, spec::HttpSpec};
use homeostat_wire::pprof;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::super::{clock::Clock, shared::lock};
use crate::config::Profiled;

/// How long a window is held: the time that changes are suspects for, however long windows are.
const HELD: Span = Span::from_mins(10);
/// Bytes held of one program: a window of ten seconds of a busy server packs into some 30 KiB, ten minutes of two kinds are
/// 4 MiB. Windows of one second are smaller, and more: a server that is busy enough has fewer minutes of them.
const BYTES_MAX: usize = 8 << 20;
/// The first and the longest wait after a failure.
const WAIT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));

/// What was measured in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measured {
    /// Where processor time went.
    Cpu,
    /// Goroutines as they stood at its end.
    Goroutines,
}

impl Measured {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Goroutines => "goroutine",
        }
    }
}

/// One window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) measured: Measured,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// The profile as gzip of pprof, redacted.
    pub(super) packed: Arc<[u8]>,
}

/// The latest windows of a program, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    windows: VecDeque<Window>,
    bytes: usize,
}

impl Ring {
    pub(super) fn push(&mut self, window: Window) {
        let since = window.to - HELD;
        self.bytes += window.packed.len();
        self.windows.push_back(window);
        while self.windows.front().is_some_and(|oldest| BYTES_MAX < self.bytes || oldest.from < since) {
            let Some(oldest) = self.windows.pop_front() else { break };
            self.bytes -= oldest.packed.len();
        }
    }

    pub(super) fn windows(&self) -> Vec<Window> {
        self.windows.iter().cloned().collect()
    }
}

/// A program that is asked all the time.
#[derive(Debug)]
pub(super) struct Watcher {
    ring: Arc<Mutex<Ring>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Watcher {
    pub(super) fn start(profiled: Profiled, clock: Clock, stop: CancellationToken) -> Self {
        let ring = Arc::new(Mutex::new(Ring::default()));
        let task = tokio::spawn(watch(profiled, clock, Arc::clone(&ring), stop.clone()));
        Self { ring, stop, task }
    }

    pub(super) fn ring(&self) -> Arc<Mutex<Ring>> {
        Arc::clone(&self.ring)
    }

    /// Whether it asks no more, though nobody stopped it.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(problem) = self.task.await {
            tracing::error!(%problem, "whoever takes profiles had ended early");
        }
    }
}

async fn watch(profiled: Profiled, clock: Clock, ring: Arc<Mutex<Ring>>, stop: CancellationToken) {
    let fetcher = match Fetcher::new(Arc::new(HttpSpec::default())) {
        Ok(fetcher) => fetcher,
        Err(problem) => {
            tracing::error!(problem = chain(&problem), "profiles cannot be taken; this is tried again");
            // Whoever started it starts it again.
            stop.run_until_cancelled(sleep(WAIT.1)).await;
            return;
        }
    };
    // The patterns are ours and tested; without them nothing may be kept.
    let Ok(redaction) = Redaction::new(KEYS_DEFAULT, &VALUES_DEFAULT).map(Arc::new) else { return };
    let (mut wait, mut told) = (WAIT.0, false);
    loop {
        let took = tokio::select! {
            () = stop.cancelled() => return,
            took = window(&profiled, clock, &fetcher, &redaction, &ring) => took,
        };
        match took {
            Ok(()) => (wait, told) = (WAIT.0, false),
            Err(problem) => {
                if !std::mem::replace(&mut told, true) {
                    let (service, target) = (&profiled.service, &profiled.base);
                    tracing::warn!(%service, target, problem = chain(&problem), "no profile was taken; this is tried again, and told once");
                }
                tokio::select! { () = stop.cancelled() => return, () = sleep(wait) => {} }
                wait = (2 * wait).min(WAIT.1);
            }
        }
    }
}

/// Processor time for one window, then the goroutines.
async fn window(
    profiled: &Profiled,
    clock: Clock,
    fetcher: &Fetcher,
    redaction: &Arc<Redaction>,
    ring: &Mutex<Ring>,
) -> Result<(), PullError> {
    for (kind, measured) in [(Kind::Cpu, Measured::Cpu), (Kind::Goroutine, Measured::Goroutines)] {
        let from = clock.now();
        let asked = ask(fetcher, &profiled.base, kind, profiled.window.into(), from.unix_ns()).await;
        let profile = match asked {
            Ok(asked) => asked.profile,
            // Programs in other languages have no goroutines.
            Err(PullError::NotServed { .. }) if measured == Measured::Goroutines => return Ok(()),
            Err(problem) => return Err(problem),
        };
        let to = clock.now();
        let redaction = Arc::clone(redaction);
        // Some hundred milliseconds for a large one, which others on this thread would wait for.
        let packing = tokio::task::spawn_blocking(move || packed(&profile, &redaction));
        let packed = packing.await.map_err(|_panicked| PullError::Bug)?;
        lock(ring).push(Window { measured, from, to, packed });
    }
    Ok(())
}

fn packed(profile: &Profile, redaction: &Redaction) -> Arc<[u8]> {
    pprof::write(&redaction.profile(profile)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from_s: i64, long_s: i64, bytes: usize) -> Window {
        Window {
            measured: Measured::Cpu,
            from: Timestamp::from_unix_ms(1_000 * from_s),
            to: Timestamp::from_unix_ms(1_000 * (from_s + long_s)),
            packed: vec![0; bytes].into(),
        }
    }

    /// How many windows are held of an hour of them, and for how many seconds.
    fn held_of_an_hour(long_s: i64) -> (usize, i64) {
        let mut ring = Ring::default();
        for at in 0..3_600 / long_s {
            ring.push(window(at * long_s, long_s, 100));
        }
        let held = ring.windows();
        (held.len(), (held[held.len() - 1].to.unix_ms() - held[0].from.unix_ms()) / 1_000)
    }

    #[test]
    fn ten_minutes_are_held_however_long_windows_are() {
        for (long_s, wanted) in [(1, 600), (10, 60), (60, 10)] {
            assert_eq!(held_of_an_hour(long_s), (wanted, 600), "windows of {long_s} s");
        }
    }

    #[test]
    fn bytes_are_bounded() {
        let mut ring = Ring::default();
        ring.push(window(0, 1, 1));
        ring.push(window(1, 1, BYTES_MAX));
        assert_eq!(ring.windows().len(), 1);
        ring.push(window(2, 1, BYTES_MAX + 1));
        assert_eq!((ring.windows().len(), ring.bytes), (0, 0));
    }
}
