//! Ten minutes of seconds for each version of each service.

use std::collections::{BTreeMap, VecDeque};

use homeostat_model::{ServiceName, Timestamp, VersionName};
use homeostat_sense_kernel::{Activity, GoActivity, Segments, Switches};

/// Seconds of one version: as long as profiles are held. At most 1000 bytes each, so 586 KiB.
const SECONDS_MAX: usize = 600;
const _: () = assert!(size_of::<Second>() <= 1000);
/// Versions that have a strip: 37 MiB together.
pub(super) const VERSIONS_MAX: usize = 64;

/// One version of one service.
pub(in crate::runtime) type Key = (ServiceName, VersionName);

/// What was seen of a version in one second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::runtime) struct Second {
    /// When it ended.
    pub(in crate::runtime) at: Timestamp,
    /// How long it was.
    pub(in crate::runtime) length_s: f64,
    /// Processor time of the version's processes, in seconds.
    pub(in crate::runtime) cpu_s: f64,
    /// Processor time of all others on the machine.
    pub(in crate::runtime) others_cpu_s: f64,
    /// Time in which the machine's CPUs had nothing to do; `None` where it is not told.
    pub(in crate::runtime) idle_s: Option<f64>,
    /// Switches of the version's threads, but for what a thread did since the look before its end; `None` where they are not told.
    pub(in crate::runtime) switches: Option<Switches>,
    /// Memory of the version's processes; `None` where it is not told.
    pub(in crate::runtime) resident_bytes: Option<u64>,
    /// TCP segments of the whole machine; `None` where they are not told.
    pub(in crate::runtime) segments: Option<Segments>,
    /// Waits and connections; `None` while they are not counted.
    pub(in crate::runtime) activity: Option<Activity>,
    /// Stops and collections of its Go programs; `None` where it has none that are watched.
    pub(in crate::runtime) go: Option<GoActivity>,
}

/// What one look brought.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) seconds: Vec<(Key, Second)>,
    pub(super) state: WatchState,
}

/// How the watch itself is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct WatchState {
    /// Processes that are watched.
    pub(super) processes: usize,
    /// Whether programs in the kernel run or are paused within their budget; `None` while there is nobody to watch.
    pub(super) runs: Option<bool>,
    /// Share of the time in which they count.
    pub(super) counted: f64,
    /// Cost of late, as a share of one CPU.
    pub(super) cost: f64,
    /// Memory in the kernel, in bytes.
    pub(super) kernel_bytes: u64,
}

/// All strips.
#[derive(Debug, Default)]
pub(in crate::runtime) struct KernelStrips {
    strips: BTreeMap<Key, VecDeque<Second>>,
    totals: BTreeMap<Key, Total>,
    pub(super) state: WatchState,
}

/// Sums since the process began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Total {
    pub(super) cpu_s: f64,
    pub(super) activity: Activity,
    pub(super) go: Option<GoActivity>,
}

impl KernelStrips {
    /// Adds what a look has brought.
    pub(super) fn take_over(&mut self, looked: Looked) {
        self.state = looked.state;
        for (key, second) in looked.seconds {
            if !self.strips.contains_key(&key) && VERSIONS_MAX <= self.strips.len() {
                self.forget_oldest();
            }
            let total = self.totals.entry(key.clone()).or_default();
            total.cpu_s += second.cpu_s;
            if let Some(activity) = &second.activity {
                total.activity.add(activity);
            }
            if let Some(go) = &second.go {
                total.go.get_or_insert_default().add(go);
            }
            let strip = self.strips.entry(key).or_insert_with(|| VecDeque::with_capacity(SECONDS_MAX));
            if strip.len() == SECONDS_MAX {
                strip.pop_front();
            }
            strip.push_back(second);
        }
    }

    /// The seconds of each version of a service, ascending.
    pub(in crate::runtime) fn of(&self, service: &ServiceName) -> Vec<(VersionName, Vec<Second>)> {
        let own = self.strips.iter().filter(|((of, _), _)| of == service);
        own.map(|((_, version), strip)| (version.clone(), strip.iter().cloned().collect())).collect()
    }

    /// Sums by version.
    pub(super) fn totals(&self) -> impl Iterator<Item = (&Key, &Total)> {
        self.totals.iter()
    }

    fn forget_oldest(&mut self) {
        let last = |strip: &VecDeque<Second>| strip.back().map(|second| second.at);
        let oldest = self.strips.iter().min_by_key(|(_, strip)| last(strip)).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.strips.remove(&key);
            self.totals.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(service: &str, version: &str) -> Key {
        (service.parse().unwrap(), version.parse().unwrap())
    }

    fn second(at_s: i64, cpu_s: f64) -> Second {
        Second { at: Timestamp::from_unix_ms(1000 * at_s), length_s: 1.0, cpu_s, ..Second::default() }
    }

    fn take_over(strips: &mut KernelStrips, key: Key, second: Second) {
        strips.take_over(Looked { seconds: vec![(key, second)], ..Looked::default() });
    }

    #[test]
    fn ten_minutes_are_kept_and_sums_for_ever() {
        let mut strips = KernelStrips::default();
        for at in 0..700 {
            take_over(&mut strips, key("shop", "v1"), second(at, 0.5));
        }
        take_over(&mut strips, key("other", "v1"), second(700, 1.0));
        let of_shop = strips.of(&"shop".parse().unwrap());
        assert_eq!(of_shop.len(), 1);
        let seconds = &of_shop[0].1;
        assert_eq!((seconds.len(), seconds[0].at.unix_ms(), seconds[599].at.unix_ms()), (600, 100_000, 699_000));
        assert!(strips.strips.values().all(|strip| strip.capacity() < SECONDS_MAX + 100), "no room is left unused");
        let sums: Vec<_> = strips.totals().map(|(_, total)| total.cpu_s).collect();
        assert_eq!(sums, [1.0, 350.0]);
    }

    #[test]
    fn who_was_not_seen_longest_makes_room() {
        let mut strips = KernelStrips::default();
        for at in 0..=VERSIONS_MAX {
            take_over(&mut strips, key("shop", &format!("v{at}")), second(at as i64, 0.1));
        }
        let of_shop = strips.of(&"shop".parse().unwrap());
        assert_eq!((of_shop.len(), strips.totals().count()), (VERSIONS_MAX, VERSIONS_MAX));
        assert!(of_shop.iter().all(|(version, _)| version.as_str() != "v0"));
    }
}
