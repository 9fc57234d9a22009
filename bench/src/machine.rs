//! Where a figure was measured: it means nothing without.

use serde::Serialize;

/// Facts about the machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    /// Load average of the last minute before the measurement: above zero means that others were at work.
    pub(crate) load_1min_before: f64,
}

impl Machine {
    /// Reads what the kernel tells; what it does not tell is empty.
    pub(crate) fn here() -> Self {
        let file = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = file("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            cpu: model.map_or_else(String::new, |(_, name)| name.to_owned()),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_1min_before: file("/proc/loadavg").split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cores, cpu, kernel, load_1min_before } = self;
        write!(f, "{cores} cores ({cpu}), Linux {kernel}, load {load_1min_before} before")
    }
}
