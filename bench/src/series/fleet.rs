//! The data: what a realistic fleet would be scraped for, made from a seed.
//!
//! A target is an instance of one of the jobs and has 200 series: request counters, a latency histogram with classic
//! buckets, CPU counters with fractions, gauges that walk, and settings that hardly ever change. Every minute one target
//! in a hundred is replaced by a new instance, so that old series end and new ones begin (churn).

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Series of one target.
pub(crate) const SERIES_PER_TARGET: usize = 200;
/// Jobs that the targets are spread over.
const JOBS: usize = 20;
/// One target in so many is replaced each minute.
const REPLACED_ONE_IN: usize = 100;
/// Upper bounds of the latency histogram, seconds.
const BOUNDS: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
/// Share of requests that are faster than each bound.
const FASTER: [f64; 12] = [0.1, 0.25, 0.5, 0.7, 0.85, 0.94, 0.975, 0.99, 0.997, 0.999, 0.9997, 1.0];
const METHODS: [&str; 2] = ["GET", "POST"];
const CODES: [(&str, f64); 5] = [("200", 0.95), ("204", 0.02), ("400", 0.015), ("404", 0.01), ("500", 0.005)];
const PATHS: [&str; 4] = ["/cart", "/checkout", "/items", "/search"];
const MODES: [(&str, f64); 6] =
    [("idle", 0.7), ("user", 0.2), ("system", 0.06), ("iowait", 0.02), ("irq", 0.01), ("softirq", 0.01)];

/// A series of a target: its own labels and how its value moves.
#[derive(Debug)]
struct Template {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    motion: Motion,
}

/// How a value moves from one scrape to the next.
#[derive(Clone, Copy, Debug)]
enum Motion {
    /// Counts up by whole numbers, this many a second on average.
    Counter(f64),
    /// Counts up in hundredths of a second of CPU.
    Cpu(f64),
    /// Sum of the latencies of the requests of one path.
    LatencySum(f64),
    /// Walks in steps of 4096 bytes.
    Bytes,
    /// A whole number that goes up and down.
    Level,
    /// A share with three decimals.
    Ratio,
    /// Hardly ever changes.
    Setting(f64),
}

/// One running instance.
#[derive(Debug)]
struct Target {
    labels: Vec<(&'static str, String)>,
    values: Vec<f64>,
    /// Load of this target against the average.
    load: f64,
}

/// All targets, and what they show at the next scrape.
#[derive(Debug)]
pub(crate) struct Fleet {
    templates: Vec<Template>,
    targets: Vec<Target>,
    random: Xoshiro256PlusPlus,
    interval_s: f64,
    since_replaced_s: f64,
    instances: usize,
    next_replaced: usize,
}

impl Fleet {
    /// A fleet with so many series (rounded to whole targets) that is scraped at this interval.
    pub(crate) fn new(series: usize, interval_s: f64, seed: u64) -> Self {
        let mut fleet = Self {
            templates: templates(),
            targets: Vec::new(),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            interval_s,
            since_replaced_s: 0.0,
            instances: 0,
            next_replaced: 0,
        };
        let count = (series / SERIES_PER_TARGET).max(1);
        fleet.targets = (0..count).map(|at| fleet_target(&mut fleet.instances, at, &mut fleet.random)).collect();
        fleet
    }

    /// The number of targets.
    pub(crate) fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Moves all values on by one scrape interval, and replaces targets when a minute is over.
    pub(crate) fn step(&mut self) {
        self.since_replaced_s += self.interval_s;
        if self.since_replaced_s >= 60.0 {
            self.since_replaced_s = 0.0;
            for _ in 0..self.targets.len().div_ceil(REPLACED_ONE_IN) {
                let at = self.next_replaced % self.targets.len();
                self.next_replaced += 1;
                let fresh = fleet_target(&mut self.instances, at, &mut self.random);
                if let Some(target) = self.targets.get_mut(at) {
                    *target = fresh;
                }
            }
        }
        for target in &mut self.targets {
            for (template, value) in self.templates.iter().zip(&mut target.values) {
                *value = template.motion.next(*value, self.interval_s, target.load, &mut self.random);
            }
        }
    }

    /// The series of one target: labels in order of their names, and the value.
    pub(crate) fn scrape(&self, target: usize, mut each: impl FnMut(&[(&str, &str)], f64)) {
        let Some(target) = self.targets.get(target) else { return };
        let mut labels = Vec::new();
        for (template, value) in self.templates.iter().zip(&target.values) {
            labels.clear();
            labels.push(("__name__", template.name));
            labels.extend(target.labels.iter().chain(&template.labels).map(|(name, value)| (*name, value.as_str())));
            labels.sort_unstable();
            each(&labels, *value);
        }
    }
}

fn fleet_target(instances: &mut usize, at: usize, random: &mut Xoshiro256PlusPlus) -> Target {
    let instance = *instances;
    *instances += 1;
    let labels = vec![
        ("job", format!("job-{}", at % JOBS)),
        ("instance", format!("10.{}.{}.{}:9100", instance >> 16 & 255, instance >> 8 & 255, instance & 255)),
        ("region", format!("region-{}", at % 4)),
        ("pod", format!("job-{}-{:x}-{instance}", at % JOBS, instance.wrapping_mul(0x9e37_79b9) & 0xff_ffff)),
    ];
    let templates = templates();
    let values = templates.iter().map(|template| template.motion.first(random)).collect();
    Target { labels, values, load: 0.2 + 1.6 * random.random::<f64>() }
}

impl Motion {
    fn first(self, random: &mut Xoshiro256PlusPlus) -> f64 {
        match self {
            Self::Counter(_) | Self::Cpu(_) | Self::LatencySum(_) => 0.0,
            Self::Bytes => f64::from(random.random_range(10_000..500_000_u32)) * 4096.0,
            Self::Level => f64::from(random.random_range(0..200_u32)),
            Self::Ratio => f64::from(random.random_range(0..1000_u32)) / 1000.0,
            Self::Setting(value) => value,
        }
    }

    fn next(self, value: f64, interval_s: f64, load: f64, random: &mut Xoshiro256PlusPlus) -> f64 {
        let mut around = |mean: f64| (mean * (0.7 + 0.6 * random.random::<f64>()) + random.random::<f64>()).floor();
        match self {
            Self::Counter(per_second) => value + around(per_second * interval_s * load),
            Self::Cpu(share) => ((value * 100.0).round() + around(share * 100.0 * interval_s)) / 100.0,
            Self::LatencySum(per_second) => {
                value + around(per_second * interval_s * load) * (0.04 + 0.02 * random.random::<f64>())
            }
            Self::Bytes => (value + (random.random::<f64>() * 64.0 - 32.0).round() * 4096.0).max(4096.0),
            Self::Level => (value + (random.random::<f64>() * 6.0 - 3.0).round()).max(0.0),
            Self::Ratio => {
                let moved = (value * 1000.0).round() + (random.random::<f64>() * 20.0 - 10.0).round();
                moved.clamp(0.0, 1000.0) / 1000.0
            }
            Self::Setting(settled) => {
                if random.random::<f64>() < 0.0005 {
                    settled + f64::from(random.random_range(0..8_u32))
                } else {
                    value
                }
            }
        }
    }
}

fn templates() -> Vec<Template> {
    let mut all = Vec::with_capacity(SERIES_PER_TARGET);
    let mut add = |name, labels: Vec<(&'static str, String)>, motion| all.push(Template { name, labels, motion });
    for path in PATHS {
        for method in METHODS {
            for (code, share) in CODES {
                let labels = vec![("code", code.to_owned()), ("method", method.to_owned()), ("path", path.to_owned())];
                add("http_requests_total", labels, Motion::Counter(20.0 * share));
            }
        }
        for (bound, faster) in BOUNDS.iter().zip(FASTER) {
            let labels = vec![("le", (*bound).to_owned()), ("path", path.to_owned())];
            add("http_request_duration_seconds_bucket", labels, Motion::Counter(40.0 * faster));
        }
        add("http_request_duration_seconds_count", vec![("path", path.to_owned())], Motion::Counter(40.0));
        add("http_request_duration_seconds_sum", vec![("path", path.to_owned())], Motion::LatencySum(40.0));
    }
    for cpu in 0..4 {
        for (mode, share) in MODES {
            let labels = vec![("cpu", cpu.to_string()), ("mode", mode.to_owned())];
            add("node_cpu_seconds_total", labels, Motion::Cpu(share));
        }
    }
    for kind in ["heap", "stack", "cache", "mapped", "buffers", "free"] {
        add("process_memory_bytes", vec![("kind", kind.to_owned())], Motion::Bytes);
    }
    for queue in 0..14 {
        add("queue_depth", vec![("queue", format!("q{queue}"))], Motion::Level);
    }
    for disk in 0..10 {
        add("disk_used_ratio", vec![("disk", format!("sd{disk}"))], Motion::Ratio);
    }
    for limit in 0..48 {
        let value = f64::from(1_u32 << (limit % 20));
        add("process_limit", vec![("limit", format!("limit-{limit}"))], Motion::Setting(value));
    }
    add("up", Vec::new(), Motion::Setting(1.0));
    add("build_info", vec![("version", "1.4.2".to_owned())], Motion::Setting(1.0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_its_series_and_the_fleet_churns() {
        assert_eq!(templates().len(), SERIES_PER_TARGET);
        let mut fleet = Fleet::new(20_000, 15.0, 7);
        assert_eq!(fleet.targets(), 100);
        let instances = |fleet: &Fleet| {
            let mut seen = std::collections::BTreeSet::new();
            for target in 0..fleet.targets() {
                fleet.scrape(target, |labels, _| {
                    assert!(labels.is_sorted());
                    seen.extend(labels.iter().filter(|(name, _)| *name == "instance").map(|(_, v)| (*v).to_owned()));
                });
            }
            seen
        };
        let before = instances(&fleet);
        (0..8).for_each(|_| fleet.step());
        let after = instances(&fleet);
        assert_eq!(before.difference(&after).count(), 2, "two minutes, one in a hundred each");
    }

    #[test]
    fn the_same_seed_gives_the_same_fleet() {
        let show = |seed| {
            let mut fleet = Fleet::new(1_000, 15.0, seed);
            fleet.step();
            let mut values = Vec::new();
            fleet.scrape(3, |_, value| values.push(value));
            values
        };
        assert_eq!(show(1), show(1));
        assert_ne!(show(1), show(2));
    }
}
