//! Strips and their cost as metrics.

use homeostat_sense_kernel::{Connections, WAIT_UNIT_NS, Waits};
use homeostat_wire::exposition::{Exposition, FamilyKind, HistogramSample};

use super::strip::{KernelStrips, Key, Total};

/// Powers of two of the kernel's histogram that are told, in steps of four: from 16 microseconds to 17 seconds.
const TOLD: [usize; 11] = [4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24];

/// Writes them.
pub(in crate::runtime) fn metrics(out: &mut Exposition<'_>, strips: &KernelStrips) {
    watch(out, strips);
    let totals: Vec<(&Key, &Total)> = strips.totals().collect();
    let help = "Time that threads which could run waited for a CPU, by version.";
    let mut family = out.family("homeostat_kernel_cpu_wait_seconds", FamilyKind::Histogram, help);
    for ((service, version), total) in &totals {
        if let Some(waits) = &total.activity.waits {
            let (buckets, above) = buckets(waits);
            let labels = [("service", service.as_str()), ("version", version.as_str())];
            family.histogram(&labels, HistogramSample { buckets: &buckets, above, sum: waits.sum_ns as f64 / 1e9 });
        }
    }
    let help = "Processor time of a version's processes on this machine.";
    let mut family = out.family("homeostat_kernel_cpu_seconds_total", FamilyKind::Counter, help);
    for ((service, version), total) in &totals {
        family.sample(&[("service", service.as_str()), ("version", version.as_str())], total.cpu_s);
    }
    let help = "TCP connections of a version's processes, by what became of them.";
    let mut family = out.family("homeostat_kernel_tcp_connections_total", FamilyKind::Counter, help);
    for ((service, version), total) in &totals {
        for (event, count) in total.activity.tcp.iter().flat_map(events) {
            family.count(&[("service", service.as_str()), ("version", version.as_str()), ("event", event)], count);
        }
    }
    let help = "TCP segments that a version's processes had to send again.";
    let mut family = out.family("homeostat_kernel_tcp_segments_sent_again_total", FamilyKind::Counter, help);
    for ((service, version), total) in &totals {
        if let Some(tcp) = &total.activity.tcp {
            family.count(&[("service", service.as_str()), ("version", version.as_str())], tcp.sent_again);
        }
    }
    let help = "Collections of a version's Go programs.";
    let mut family = out.family("homeostat_kernel_go_collections_total", FamilyKind::Counter, help);
    let of_go = || totals.iter().filter_map(|(key, total)| Some((key, total.go.as_ref()?)));
    for ((service, version), go) in of_go() {
        family.count(&[("service", service.as_str()), ("version", version.as_str())], go.collections);
    }
    let help = "Time in which the runtime of a version's Go programs had stopped all goroutines.";
    let mut family = out.family("homeostat_kernel_go_stopped_seconds_total", FamilyKind::Counter, help);
    for ((service, version), go) in of_go() {
        family.sample(&[("service", service.as_str()), ("version", version.as_str())], go.stopped_ns as f64 / 1e9);
    }
}

/// How the watch is.
fn watch(out: &mut Exposition<'_>, strips: &KernelStrips) {
    let state = &strips.state;
    let help = "Processes of services that are watched on this machine.";
    out.family("homeostat_kernel_processes", FamilyKind::Gauge, help).count(&[], state.processes as u64);
    let Some(runs) = state.runs else { return };
    let help = "1 when programs in the kernel count, 0 when they were not built in or the kernel refuses them.";
    out.family("homeostat_kernel_programs", FamilyKind::Gauge, help).count(&[], u64::from(runs));
    let gauges = [
        (
            "homeostat_kernel_counted_ratio",
            "Share of the time in which they count, kept within the budget.",
            state.counted,
        ),
        ("homeostat_kernel_overhead_ratio", "What watching costs, as a share of one CPU.", state.cost),
        ("homeostat_kernel_memory_bytes", "Memory of programs in the kernel.", state.kernel_bytes as f64),
    ];
    for (name, help, value) in gauges {
        out.family(name, FamilyKind::Gauge, help).sample(&[], value);
    }
}

fn events(tcp: &Connections) -> [(&'static str, u64); 4] {
    [("begun", tcp.connected), ("accepted", tcp.accepted), ("failed", tcp.failed), ("ended", tcp.ended)]
}

/// Counts up to each told bound, in seconds, and what lies above.
fn buckets(waits: &Waits) -> (Vec<(f64, u64)>, u64) {
    let mut told = TOLD.into_iter().peekable();
    let (mut buckets, mut sum) = (Vec::with_capacity(TOLD.len()), 0);
    for (power, (bound, count)) in waits.by_length.buckets().enumerate() {
        sum += count;
        if told.next_if_eq(&power).is_some() {
            buckets.push((bound * WAIT_UNIT_NS / 1e9, sum));
            sum = 0;
        }
    }
    (buckets, sum)
}

#[cfg(test)]
mod tests {
    use homeostat_sense_kernel::{Activity, GoActivity};

    use super::{
        super::strip::{Looked, Second, WatchState},
        *,
    };

    #[test]
    fn strips_are_told_by_version_with_their_cost() {
        let by_length = [1_u64, 20, 20, 1 << 30].into_iter().collect();
        let waits = Waits { by_length, sum_ns: 2_000_000_000 };
        let tcp = Connections { connected: 3, sent_again: 7, ..Connections::default() };
        let activity = Some(Activity { waits: Some(waits), tcp: Some(tcp) });
        let go = Some(GoActivity { collections: 12, stopped_ns: 30_000_000, ..GoActivity::default() });
        let second = Second { cpu_s: 1.5, activity, go, ..Second::default() };
        let mut strips = KernelStrips::default();
        let state = WatchState { processes: 2, runs: Some(true), counted: 0.25, cost: 0.004, kernel_bytes: 4096 };
        let key = ("shop".parse().unwrap(), "v1".parse().unwrap());
        strips.take_over(Looked { seconds: vec![(key, second)], state });
        let mut text = String::new();
        metrics(&mut Exposition::new(&mut text), &strips);
        for line in [
            "homeostat_kernel_cpu_wait_seconds_bucket{service=\"shop\",version=\"v1\",le=\"0.000016384\"} 1",
            "homeostat_kernel_cpu_wait_seconds_bucket{service=\"shop\",version=\"v1\",le=\"0.000065536\"} 3",
            "homeostat_kernel_cpu_wait_seconds_bucket{service=\"shop\",version=\"v1\",le=\"+Inf\"} 4",
            "homeostat_kernel_cpu_wait_seconds_sum{service=\"shop\",version=\"v1\"} 2",
            "homeostat_kernel_cpu_seconds_total{service=\"shop\",version=\"v1\"} 1.5",
            "homeostat_kernel_tcp_connections_total{service=\"shop\",version=\"v1\",event=\"begun\"} 3",
            "homeostat_kernel_tcp_segments_sent_again_total{service=\"shop\",version=\"v1\"} 7",
            "homeostat_kernel_go_collections_total{service=\"shop\",version=\"v1\"} 12",
            "homeostat_kernel_go_stopped_seconds_total{service=\"shop\",version=\"v1\"} 0.03",
            "homeostat_kernel_counted_ratio 0.25",
            "homeostat_kernel_overhead_ratio 0.004",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
    }
}
