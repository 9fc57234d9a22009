//! The process's own metrics, written at each scrape from counters that exist anyway.

use std::sync::atomic::{AtomicU64, Ordering};

use homeostat_gateway_proxy::GatewayStats;
use homeostat_model::{OutcomeClass, rollout::Phase, verdict::CanaryVerdict, view::View};
use homeostat_wire::exposition::{Exposition, FamilyKind, HistogramSample};

use super::shared::{Counters, LATENCY_BOUNDS_US, Totals};

/// Outcomes by cell: the same counts that the judges see, so that a Prometheus beside us can check our verdicts.
pub(super) fn outcomes(out: &mut Exposition<'_>, totals: &Totals) {
    let mut family =
        out.family("homeostat_requests_total", FamilyKind::Counter, "Requests by route, version and outcome.");
    for (key, counts) in totals.iter() {
        for class in OutcomeClass::ALL {
            let labels = [
                ("route", key.route.as_str()),
                ("service", key.service.as_str()),
                ("version", key.version.as_str()),
                ("outcome", class.label()),
            ];
            family.count(&labels, counts.class(class));
        }
    }
}

/// Latencies by cell, summed up once a second from the gateway's finer histograms.
pub(super) fn latencies(out: &mut Exposition<'_>, totals: &Totals) {
    let help = "From the request's head to the answer's end. The sum is an upper bound, at most 12.5 % too high.";
    let mut family = out.family("homeostat_request_duration_seconds", FamilyKind::Histogram, help);
    for (key, latency) in totals.latencies() {
        let labels =
            [("route", key.route.as_str()), ("service", key.service.as_str()), ("version", key.version.as_str())];
        let seconds = |us: u64| us as f64 / 1e6;
        let (within, above) = latency.buckets.split_at(LATENCY_BOUNDS_US.len());
        let buckets: Vec<_> = LATENCY_BOUNDS_US.iter().map(|us| seconds(*us)).zip(within.iter().copied()).collect();
        let above = above.iter().sum();
        family.histogram(&labels, HistogramSample { buckets: &buckets, above, sum: seconds(latency.sum_us) });
    }
}

/// Which build this is.
pub(super) fn build(out: &mut Exposition<'_>) {
    out.family("homeostat_build_info", FamilyKind::Gauge, "Always 1; the version is in the label.")
        .count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

/// What control has decided and sees.
pub(super) fn view(out: &mut Exposition<'_>, view: &View) {
    let mut weights = out.family(
        "homeostat_version_weight_ratio",
        FamilyKind::Gauge,
        "Share of a service's traffic as decided, 0 to 1.",
    );
    for service in &view.services {
        for version in &service.versions {
            let labels = [("service", service.name.as_str()), ("version", version.name.as_str())];
            weights.sample(&labels, version.weight.percent() / 100.0);
        }
    }
    let mut phases = out.family("homeostat_rollout_phase", FamilyKind::Gauge, "1 for the phase that a rollout is in.");
    for rollout in &view.rollouts {
        let name = rollout.rollout.name.as_str();
        phases.sample(&[("rollout", name), ("phase", Phase::label(&rollout.phase))], 1.0);
    }
    let mut verdicts =
        out.family("homeostat_canary_verdict", FamilyKind::Gauge, "1 for the canary judge's latest answer.");
    for rollout in &view.rollouts {
        if let Some(verdict) = &rollout.verdict {
            verdicts
                .sample(&[("rollout", rollout.rollout.name.as_str()), ("verdict", CanaryVerdict::label(verdict))], 1.0);
        }
    }
    let mut budgets = out.family(
        "homeostat_error_budget_left_ratio",
        FamilyKind::Gauge,
        "Share of the error budget left; absent while nothing was measured.",
    );
    for objective in &view.objectives {
        if let Some(left) = objective.budget_left {
            budgets.sample(&[("objective", objective.objective.name.as_str())], left);
        }
    }
    let mut coverage = out.family(
        "homeostat_objective_coverage_ratio",
        FamilyKind::Gauge,
        "Share of the period in which anything was measured.",
    );
    for objective in &view.objectives {
        coverage.sample(&[("objective", objective.objective.name.as_str())], objective.period.coverage);
    }
    out.family("homeostat_incidents_open", FamilyKind::Gauge, "Incidents that are not closed.")
        .count(&[], view.open_incidents.len() as u64);
    out.family("homeostat_break_glass", FamilyKind::Gauge, "1 while a person has switched automatic actions off.")
        .count(&[], u64::from(view.break_glass));
}

/// The loop itself.
pub(super) fn control(out: &mut Exposition<'_>, counters: &Counters, merged_ticks: u64, clock_offset_ns: i64) {
    let families: [(&str, &str, &AtomicU64); 9] = [
        ("homeostat_control_steps_total", "Events that control has stepped.", &counters.steps),
        ("homeostat_control_commands_total", "Commands that control has given.", &counters.commands),
        ("homeostat_shifts_total", "Changes of a service's split carried out.", &counters.shifts),
        (
            "homeostat_shifts_ahead_of_disk_total",
            "Protective shifts that went ahead of a disk that did not answer.",
            &counters.shifts_ahead_of_disk,
        ),
        (
            "homeostat_steps_refused_total",
            "Steps refused because the journal had taken nothing for too long.",
            &counters.steps_refused,
        ),
        (
            "homeostat_recordings_dropped_total",
            "Black boxes that were not kept because the disk did not keep up.",
            &counters.black_boxes_dropped,
        ),
        (
            "homeostat_config_accepted_total",
            "Configurations taken into force after the first.",
            &counters.config_accepted,
        ),
        (
            "homeostat_config_rejected_total",
            "Configurations refused; the old one stayed in force.",
            &counters.config_rejected,
        ),
        ("homeostat_clock_steps_total", "Steps of the wall clock that were noticed.", &counters.clock_steps),
    ];
    for (name, help, counter) in families {
        out.family(name, FamilyKind::Counter, help).count(&[], counter.load(Ordering::Relaxed));
    }
    out.family(
        "homeostat_ticks_merged_total",
        FamilyKind::Counter,
        "Ticks merged because control lagged; counts added up.",
    )
    .count(&[], merged_ticks);
    out.family("homeostat_steps_waiting", FamilyKind::Gauge, "Steps whose effects wait for the disk.")
        .count(&[], counters.steps_waiting.load(Ordering::Relaxed));
    out.family("homeostat_clock_offset_seconds", FamilyKind::Gauge, "Wall clock minus the process's time line.")
        .sample(&[], clock_offset_ns as f64 / 1e9);
}

/// The data plane.
pub(super) fn gateway(out: &mut Exposition<'_>, stats: &GatewayStats) {
    let mut accepted =
        out.family("homeostat_gateway_accepted_total", FamilyKind::Counter, "Client connections accepted.");
    for listener in &stats.listeners {
        accepted.count(&[("listener", &listener.name)], listener.accepted);
    }
    let mut refused = out.family(
        "homeostat_gateway_refused_total",
        FamilyKind::Counter,
        "Client connections closed at once because too many were open.",
    );
    for listener in &stats.listeners {
        refused.count(&[("listener", &listener.name)], listener.refused);
    }
    let mut rejected = out.family(
        "homeostat_gateway_rejected_total",
        FamilyKind::Counter,
        "Requests refused before they reached a route.",
    );
    for (reason, count) in &stats.rejected {
        rejected.count(&[("reason", reason)], *count);
    }
    let counters = [
        (
            "homeostat_gateway_malformed_total",
            "Heads or bodies so malformed that the connection ended.",
            stats.malformed,
        ),
        (
            "homeostat_gateway_header_timeouts_total",
            "Connections ended because a head took too long.",
            stats.header_timeouts,
        ),
        (
            "homeostat_gateway_stalled_clients_total",
            "Connections ended because their client took nothing for too long.",
            stats.stalled_clients,
        ),
        ("homeostat_gateway_tls_failures_total", "TLS handshakes that failed.", stats.tls_failures),
        ("homeostat_gateway_accept_failures_total", "Failures to accept a connection.", stats.accept_failures),
        ("homeostat_gateway_upstream_connects_total", "Connections made to upstreams.", stats.upstream_connects),
        (
            "homeostat_gateway_upstream_connect_failures_total",
            "Connections to upstreams that failed.",
            stats.upstream_connect_failures,
        ),
        (
            "homeostat_gateway_upstream_retries_total",
            "Requests repeated elsewhere because the first upstream took nothing of them.",
            stats.upstream_retries,
        ),
        ("homeostat_gateway_tunnels_total", "Tunnels opened.", stats.tunnels),
        ("homeostat_gateway_panics_total", "Panics that ended one connection or request each.", stats.panics),
    ];
    for (name, help, count) in counters {
        out.family(name, FamilyKind::Counter, help).count(&[], count);
    }
    out.family("homeostat_gateway_connections", FamilyKind::Gauge, "Open client connections.")
        .count(&[], stats.connections());
    out.family("homeostat_gateway_upstream_idle", FamilyKind::Gauge, "Idle upstream connections kept.")
        .count(&[], stats.upstream_idle);
    let mut alive =
        out.family("homeostat_gateway_worker_alive", FamilyKind::Gauge, "1 while the worker's thread runs.");
    for (index, worker) in stats.workers.iter().enumerate() {
        alive.count(&[("worker", &index.to_string())], u64::from(worker.alive));
    }
}
