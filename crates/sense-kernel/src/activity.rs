//! What the kernel has seen of a process besides its CPU samples.

use crate::histogram::Histogram;

/// Waits and connections of one process since they are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// How long its threads waited for a CPU, in units of 1024 ns; `None` where the kernel does not tell.
    pub waits: Option<Waits>,
    /// Its TCP connections; `None` where the kernel does not tell.
    pub tcp: Option<Connections>,
}

/// Waits for a CPU, from when a thread may run until it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// By units of 1024 ns.
    pub by_length: Histogram,
    /// All of them together, in nanoseconds.
    pub sum_ns: u64,
}

/// TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Begun by the process, and answered.
    pub connected: u64,
    /// Begun by others.
    pub accepted: u64,
    /// Begun by the process, and refused or not answered.
    pub failed: u64,
    /// Ended.
    pub ended: u64,
    /// Segments that were sent again.
    pub sent_again: u64,
    /// Segments sent on connections that have ended.
    pub segments: u64,
    /// Smoothed round-trip times of connections that have ended, summed, in microseconds.
    pub round_trip_us: u64,
    /// The same, each connection for itself.
    pub round_trips: Histogram,
}

/// Length of a unit of waiting, in nanoseconds.
pub const WAIT_UNIT_NS: f64 = 1024.0;

impl Waits {
    /// The wait that a share `q` of all does not exceed, in milliseconds.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        self.by_length.quantile(q).map(|units| units * WAIT_UNIT_NS / 1e6)
    }

    /// What came since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            by_length: self.by_length.since(&earlier.by_length),
            sum_ns: self.sum_ns.checked_sub(earlier.sum_ns).unwrap_or(self.sum_ns),
        }
    }

    /// Adds those of another process.
    pub fn add(&mut self, other: &Self) {
        self.by_length.add(&other.by_length);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

impl Connections {
    /// What came since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            connected: less(self.connected, earlier.connected),
            accepted: less(self.accepted, earlier.accepted),
            failed: less(self.failed, earlier.failed),
            ended: less(self.ended, earlier.ended),
            sent_again: less(self.sent_again, earlier.sent_again),
            segments: less(self.segments, earlier.segments),
            round_trip_us: less(self.round_trip_us, earlier.round_trip_us),
            round_trips: self.round_trips.since(&earlier.round_trips),
        }
    }

    /// Adds those of another process.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.connected, other.connected),
            (&mut self.accepted, other.accepted),
            (&mut self.failed, other.failed),
            (&mut self.ended, other.ended),
            (&mut self.sent_again, other.sent_again),
            (&mut self.segments, other.segments),
            (&mut self.round_trip_us, other.round_trip_us),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.round_trips.add(&other.round_trips);
    }

    /// Mean of the round-trip times at the ends of connections, in milliseconds; `None` while none has ended.
    pub fn round_trip_ms(&self) -> Option<f64> {
        (self.ended != 0).then(|| self.round_trip_us as f64 / self.ended as f64 / 1000.0)
    }
}

impl Activity {
    /// What came since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let waits =
            self.waits.as_ref().map(|now| earlier.waits.as_ref().map_or_else(|| now.clone(), |was| now.since(was)));
        let tcp = self.tcp.as_ref().map(|now| earlier.tcp.as_ref().map_or_else(|| now.clone(), |was| now.since(was)));
        Self { waits, tcp }
    }

    /// Adds that of another process.
    pub fn add(&mut self, other: &Self) {
        if let Some(waits) = &other.waits {
            self.waits.get_or_insert_default().add(waits);
        }
        if let Some(tcp) = &other.tcp {
            self.tcp.get_or_insert_default().add(tcp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(waits: &[u64], connected: u64) -> Activity {
        let by_length: Histogram = waits.iter().copied().collect();
        let waits = Waits { by_length, sum_ns: 1024 * waits.iter().sum::<u64>() };
        Activity { waits: Some(waits), tcp: Some(Connections { connected, ended: 2, ..Connections::default() }) }
    }

    #[test]
    fn readings_are_subtracted_and_those_of_processes_added() {
        let (early, late) = (activity(&[10], 3), activity(&[10, 20, 30], 7));
        let between = late.since(&early);
        assert_eq!(between.waits.as_ref().unwrap().sum_ns, 50 * 1024);
        assert_eq!(between.tcp.as_ref().map(|tcp| (tcp.connected, tcp.ended)), Some((4, 0)));
        assert_eq!(late.since(&Activity::default()), late);
        let mut sum = Activity::default();
        sum.add(&early);
        sum.add(&between);
        assert_eq!(sum.waits, late.waits);
        assert_eq!(sum.tcp.unwrap().round_trip_ms(), Some(0.0));
        assert_eq!(between.tcp.unwrap().round_trip_ms(), None);
    }
}
