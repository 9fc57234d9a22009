//! A fleet as it is scraped: what the targets are, and how their values move.

use homeostat_store_series::Batch;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::Failure;

pub(crate) const SERIES_PER_TARGET: usize = 200;
const JOBS: usize = 20;
const BOUNDS: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
const FASTER: [f64; 12] = [0.1, 0.25, 0.5, 0.7, 0.85, 0.94, 0.975, 0.99, 0.997, 0.999, 0.9997, 1.0];

/// How a value moves from one scrape to the next.
#[derive(Clone, Copy, Debug)]
enum Motion {
    /// Counts up by whole numbers, so many a second on average.
    Counter(f64),
    /// Counts up in hundredths.
    Cpu(f64),
    /// Adds the latencies of so many requests a second.
    Sum(f64),
    /// What the bucket before has, and this share of the requests more.
    Bucket(f64),
    /// What the bucket before has.
    Total,
    /// Walks in pages of memory.
    Bytes,
    /// A small whole number.
    Level,
    /// Three decimals.
    Ratio,
    /// Hardly ever changes.
    Setting(f64),
}

pub(crate) struct Template {
    labels: Vec<(&'static str, String)>,
    motion: Motion,
}

pub(crate) struct Target {
    labels: Vec<(&'static str, String)>,
    values: Vec<f64>,
    load: f64,
}

pub(crate) struct Fleet {
    pub(crate) templates: Vec<Template>,
    pub(crate) targets: Vec<Target>,
    random: Xoshiro256PlusPlus,
    interval_s: f64,
    since_s: f64,
    instances: usize,
    next: usize,
}

impl Fleet {
    pub(crate) fn new(series: usize, interval_s: f64) -> Self {
        let mut fleet = Self {
            templates: templates(),
            targets: Vec::new(),
            random: Xoshiro256PlusPlus::seed_from_u64(1),
            interval_s,
            since_s: 0.0,
            instances: 0,
            next: 0,
        };
        for at in 0..(series / SERIES_PER_TARGET).max(1) {
            let target = fleet.fresh(at);
            fleet.targets.push(target);
        }
        fleet
    }

    fn fresh(&mut self, at: usize) -> Target {
        let instance = self.instances;
        self.instances += 1;
        let random = &mut self.random;
        let first = |motion: Motion| match motion {
            Motion::Bytes => f64::from(random.random_range(10_000..500_000_u32)) * 4096.0,
            Motion::Level => f64::from(random.random_range(0..200_u32)),
            Motion::Ratio => f64::from(random.random_range(0..1000_u32)) / 1000.0,
            Motion::Setting(value) => value,
            _ => 0.0,
        };
        let values = self.templates.iter().map(|template| template.motion).map(first).collect();
        let labels = vec![
            ("job", format!("job-{}", at % JOBS)),
            ("instance", format!("10.{}.{}.{}:9100", instance >> 16 & 255, instance >> 8 & 255, instance & 255)),
            ("region", format!("region-{}", at % 4)),
            ("pod", format!("job-{}-{:x}-{instance}", at % JOBS, instance.wrapping_mul(0x9e37_79b9) & 0xff_ffff)),
        ];
        Target { labels, values, load: 0.2 + 1.6 * self.random.random::<f64>() }
    }

    pub(crate) fn step(&mut self) {
        self.since_s += self.interval_s;
        if self.since_s >= 60.0 {
            self.since_s = 0.0;
            for _ in 0..self.targets.len().div_ceil(100) {
                let at = self.next % self.targets.len();
                self.next += 1;
                let fresh = self.fresh(at);
                if let Some(target) = self.targets.get_mut(at) {
                    *target = fresh;
                }
            }
        }
        let (random, interval_s) = (&mut self.random, self.interval_s);
        for target in &mut self.targets {
            let (mut requests, mut within) = (0.0, 0.0);
            for (template, value) in self.templates.iter().zip(&mut target.values) {
                let mut around =
                    |mean: f64| (mean * (0.7 + 0.6 * random.random::<f64>()) + random.random::<f64>()).floor();
                *value = match template.motion {
                    Motion::Counter(rate) => *value + around(rate * interval_s * target.load),
                    Motion::Cpu(share) => ((*value * 100.0).round() + around(share * 100.0 * interval_s)) / 100.0,
                    Motion::Sum(rate) => {
                        *value + around(rate * interval_s * target.load) * (0.04 + 0.02 * random.random::<f64>())
                    }
                    Motion::Bucket(share) => {
                        if share < 0.11 {
                            (requests, within) = (around(40.0 * interval_s * target.load), 0.0);
                        }
                        within = (requests * share).floor().max(within);
                        *value + if share < 1.0 { within } else { requests }
                    }
                    Motion::Total => *value + requests,
                    Motion::Bytes => (*value + (random.random::<f64>() * 64.0 - 32.0).round() * 4096.0).max(4096.0),
                    Motion::Level => (*value + (random.random::<f64>() * 6.0 - 3.0).round()).max(0.0),
                    Motion::Ratio => {
                        let moved = (*value * 1000.0).round() + (random.random::<f64>() * 20.0 - 10.0).round();
                        moved.clamp(0.0, 1000.0) / 1000.0
                    }
                    Motion::Setting(settled) if random.random::<f64>() < 0.0005 => {
                        settled + f64::from(random.random_range(0..8_u32))
                    }
                    Motion::Setting(_) => *value,
                };
            }
        }
    }
}

impl Target {
    pub(crate) fn scrape(&self, templates: &[Template], batch: &mut Batch, t_ms: i64) -> Result<(), Failure> {
        let mut labels: Vec<(&str, &str)> = Vec::new();
        for (template, value) in templates.iter().zip(&self.values) {
            labels.clear();
            labels.extend(self.labels.iter().chain(&template.labels).map(|(name, value)| (*name, value.as_str())));
            labels.sort_unstable();
            batch.series(labels.iter().copied())?.float(t_ms, *value);
        }
        Ok(())
    }
}

fn templates() -> Vec<Template> {
    let mut all = Vec::new();
    let mut add = |name: &str, labels: &[(&'static str, &str)], motion| {
        let own = labels.iter().map(|(name, value)| (*name, (*value).to_owned()));
        all.push(Template { labels: own.chain([("__name__", name.to_owned())]).collect(), motion });
    };
    for path in ["/cart", "/checkout", "/items", "/search"] {
        for method in ["GET", "POST"] {
            for (code, share) in [("200", 0.95), ("204", 0.02), ("400", 0.015), ("404", 0.01), ("500", 0.005)] {
                let labels = [("code", code), ("method", method), ("path", path)];
                add("http_requests_total", &labels, Motion::Counter(20.0 * share));
            }
        }
        for (bound, faster) in BOUNDS.iter().zip(FASTER) {
            add("http_request_duration_seconds_bucket", &[("le", bound), ("path", path)], Motion::Bucket(faster));
        }
        add("http_request_duration_seconds_count", &[("path", path)], Motion::Total);
        add("http_request_duration_seconds_sum", &[("path", path)], Motion::Sum(40.0));
    }
    for cpu in ["0", "1", "2", "3"] {
        for (mode, share) in
            [("idle", 0.7), ("user", 0.2), ("system", 0.06), ("iowait", 0.02), ("irq", 0.01), ("softirq", 0.01)]
        {
            add("node_cpu_seconds_total", &[("cpu", cpu), ("mode", mode)], Motion::Cpu(share));
        }
    }
    for kind in ["heap", "stack", "cache", "mapped", "buffers", "free"] {
        add("process_memory_bytes", &[("kind", kind)], Motion::Bytes);
    }
    for queue in 0..14 {
        add("queue_depth", &[("queue", &format!("q{queue}"))], Motion::Level);
    }
    for disk in 0..10 {
        add("disk_used_ratio", &[("disk", &format!("sd{disk}"))], Motion::Ratio);
    }
    for limit in 0..48 {
        add("process_limit", &[("limit", &format!("limit-{limit}"))], Motion::Setting(f64::from(1 << (limit % 20))));
    }
    add("up", &[], Motion::Setting(1.0));
    add("build_info", &[("version", "1.4.2")], Motion::Setting(1.0));
    all
}
