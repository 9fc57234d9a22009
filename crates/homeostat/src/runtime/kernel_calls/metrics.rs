//! How following calls is, as metrics. The calls themselves are among the requests of all versions.

use homeostat_sense_kernel::CallCounts;
use homeostat_wire::exposition::{Exposition, FamilyKind};

/// How it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::runtime) struct CallsState {
    /// Processes that are followed.
    pub(super) processes: usize,
    /// Whether the program runs; `None` when nobody wants it to.
    pub(super) runs: Option<bool>,
    /// Share of the time in which it counts.
    pub(super) counted: f64,
    /// Share of one CPU that it costs.
    pub(super) cost: f64,
    pub(super) kernel_bytes: u64,
    pub(super) counts: CallCounts,
}

/// Writes it; nothing while no service wants it.
pub(in crate::runtime) fn metrics(out: &mut Exposition<'_>, state: &CallsState) {
    let Some(runs) = state.runs else { return };
    let gauges = [
        ("processes", "Processes whose calls are followed.", state.processes as f64),
        (
            "programs",
            "1 when calls are followed, 0 when the kernel refuses it or it was not built in.",
            f64::from(runs),
        ),
        ("counted_ratio", "Share of the time in which calls are followed, kept within the budget.", state.counted),
        ("overhead_ratio", "What following calls costs, as a share of one CPU.", state.cost),
        ("memory_bytes", "Memory of the program that follows calls.", state.kernel_bytes as f64),
    ];
    for (name, help, value) in gauges {
        out.family(&format!("homeostat_kernel_calls_{name}"), FamilyKind::Gauge, help).sample(&[], value);
    }
    let CallCounts { lost, given_up, unanswered, unasked } = state.counts;
    let help = "What could not be told of calls.";
    let mut family = out.family("homeostat_kernel_calls_unknown_total", FamilyKind::Counter, help);
    let kinds = [("lost", lost), ("connection_given_up", given_up), ("unanswered", unanswered), ("unasked", unasked)];
    for (kind, count) in kinds {
        family.count(&[("kind", kind)], count);
    }
}
