//! What the agent says of itself: `/metrics`, `/status`, `/-/healthy`.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, Router, extract::State, routing::get};
use homeostat_relay_profiles::{Dropped, WindowQueue};
use homeostat_wire::exposition::{Exposition, FamilyKind};
use http::header;
use serde_json::{Value, json};

use super::{
    board::{Board, Sampling},
    governor::Level,
    pulling::PullStatus,
    service::{ServiceSpec, Source},
};

/// Everything there is to tell.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) queue: Arc<WindowQueue>,
    pub(super) board: Arc<Board>,
    /// Services, with how pulling them goes.
    pub(super) services: Vec<(ServiceSpec, PullStatus)>,
    pub(super) server: String,
    pub(super) rss_max: u64,
    pub(super) cpu_budget: f64,
}

/// Name, help and value of a metric without labels.
type Plain = (&'static str, &'static str, f64);

impl Teller {
    pub(super) fn router(self: Arc<Self>) -> Router {
        let metrics = |State(teller): State<Arc<Self>>| async move {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], teller.metrics())
        };
        Router::new()
            .route("/metrics", get(metrics))
            .route("/status", get(|State(teller): State<Arc<Self>>| async move { Json(teller.status()) }))
            .route("/-/healthy", get(|| async { "the agent runs\n" }))
            .with_state(self)
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        let mut exposition = Exposition::new(&mut out);
        for (name, help, value) in self.counters() {
            exposition.family(&format!("homeostat_agent_{name}"), FamilyKind::Counter, help).sample(&[], value);
        }
        let dropped = self.queue.tally().dropped;
        let help = "Windows that are never shipped, by reason.";
        let mut family = exposition.family("homeostat_agent_windows_dropped_total", FamilyKind::Counter, help);
        for (reason, count) in Dropped::ALL.into_iter().zip(dropped) {
            family.count(&[("reason", reason.name())], count);
        }
        for (name, help, value) in self.gauges() {
            exposition.family(&format!("homeostat_agent_{name}"), FamilyKind::Gauge, help).sample(&[], value);
        }
        let duty = *self.board.duty.borrow();
        let help = "1 while sensing is less than was asked for, by reason.";
        let mut family = exposition.family("homeostat_agent_held_back", FamilyKind::Gauge, help);
        for (reason, holds) in [("memory", duty.memory_full), ("budget", duty.by_cost != Level::Full)] {
            family.count(&[("reason", reason)], u64::from(holds));
        }
        let help = "1 when the last pull of a service gave all kinds, 0 when it did not.";
        let mut family = exposition.family("homeostat_agent_pull_up", FamilyKind::Gauge, help);
        for (service, status) in &self.services {
            if let Some(up) = status.get().up {
                // A name may have several addresses.
                family.count(&[("service", &service.name), ("source", &service.source.to_string())], u64::from(up));
            }
        }
        out
    }

    fn counters(&self) -> Vec<Plain> {
        let (tally, board) = (self.queue.tally(), &self.board);
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
        vec![
            ("windows_queued_total", "Windows put into the queue.", tally.queued as f64),
            ("windows_shipped_total", "Windows that the server has, repetitions included.", tally.shipped as f64),
            ("windows_repeated_total", "Windows that the server had before.", tally.repeated as f64),
            ("retries_total", "Requests that are made again.", tally.retried as f64),
            ("shipped_bytes_total", "Bytes of bodies that the server has taken.", tally.bytes as f64),
            ("sampled_windows_total", "Windows in which the kernel sampled.", load(&board.windows)),
            ("samples_total", "Samples taken by the kernel.", load(&board.samples)),
            ("samples_lost_total", "Samples that found no room in the kernel.", load(&board.samples_lost)),
            ("back_offs_total", "Steps down because sensing cost more than its budget.", load(&board.backed_off)),
            (
                "memory_stops_total",
                "Times that sensing stopped because memory was at its limit.",
                load(&board.memory_stops),
            ),
            ("cpu_seconds_total", "CPU time of the agent.", super::own::cpu_time().as_secs_f64()),
            ("kernel_seconds_total", "CPU time of its programs in the kernel.", board.kernel_time().as_secs_f64()),
        ]
    }

    fn gauges(&self) -> Vec<Plain> {
        let (health, tally, board) = (self.queue.health(), self.queue.tally(), &self.board);
        let sampling = board.sampling();
        let hz = if let Sampling::Running { hz, .. } = sampling { hz } else { 0 };
        let flag = |holds: bool| f64::from(u8::from(holds));
        vec![
            ("queue_windows", "Windows that wait to be shipped.", self.queue.waiting() as f64),
            ("queue_bytes", "Bytes of the queue on disk.", health.bytes as f64),
            (
                "queue_bytes_limit",
                "Bytes beyond which the oldest windows are dropped.",
                self.queue.spec().bytes_max as f64,
            ),
            (
                "cpu_share",
                "Share of one CPU that the agent and its programs in the kernel took in the last measurement.",
                board.cpu_share(),
            ),
            ("cpu_share_budget", "Share beyond which sensing backs off.", self.cpu_budget),
            ("rss_bytes", "Memory of the agent.", board.rss_bytes.load(Ordering::Relaxed) as f64),
            ("rss_bytes_limit", "Memory at which sensing stops.", self.rss_max as f64),
            ("level", "How much is sensed of what was asked for: 1, 0.5 or 0.", board.duty.borrow().level().share()),
            ("sampling_hz", "Samples per second and CPU; 0 while nothing is sampled.", f64::from(hz)),
            (
                "sampling_refused",
                "1 while the kernel refuses to sample.",
                flag(matches!(sampling, Sampling::Refused(_))),
            ),
            ("server_failing", "1 while the server does not take windows.", flag(!tally.server_trouble.is_empty())),
            ("queue_failing", "1 while the queue cannot be read.", flag(!tally.queue_trouble.is_empty())),
            ("disk_failing", "1 while the disk does not take windows.", flag(health.trouble.is_some())),
        ]
    }

    fn status(&self) -> Value {
        let (tally, health, duty) = (self.queue.tally(), self.queue.health(), *self.board.duty.borrow());
        let dropped: serde_json::Map<_, _> = Dropped::ALL
            .into_iter()
            .zip(tally.dropped)
            .map(|(why, count)| (why.name().to_owned(), count.into()))
            .collect();
        json!({
            "agent": format!("{:016x}", self.queue.sender()),
            "server": { "url": self.server, "trouble": said(&tally.server_trouble) },
            "services": self.services.iter().map(|(service, status)| self.service(service, status)).collect::<Vec<_>>(),
            "sensing": {
                "level": duty.level().share(),
                "held_back_by": held_back_by(duty.memory_full, duty.by_cost),
            },
            "queue": {
                "windows": self.queue.waiting(), "bytes": health.bytes, "bytes_limit": self.queue.spec().bytes_max,
                "queued": tally.queued, "shipped": tally.shipped, "repeated": tally.repeated, "retried": tally.retried,
                "dropped": dropped, "trouble": said(&tally.queue_trouble),
                "disk_trouble": health.trouble.map(|trouble| trouble.error),
            },
            "own": {
                "cpu_share": self.board.cpu_share(), "cpu_share_budget": self.cpu_budget,
                "rss_bytes": self.board.rss_bytes.load(Ordering::Relaxed), "rss_bytes_limit": self.rss_max,
            },
        })
    }

    fn service(&self, service: &ServiceSpec, status: &PullStatus) -> Value {
        let (state, trouble) = match &service.source {
            Source::Url(_) => {
                let status = status.get();
                let state = match status.up {
                    None => "not asked yet",
                    Some(true) => "pulled",
                    Some(false) => "failing",
                };
                (state, status.error)
            }
            _ => match self.board.sampling() {
                Sampling::NotAsked => ("not asked yet", None),
                Sampling::Running { lacks, .. } => ("sampled", said(&lacks)),
                Sampling::NobodyThere => ("no process", None),
                Sampling::Refused(why) => ("refused", Some(why)),
                Sampling::Off => ("off", None),
            },
        };
        json!({ "name": service.name, "source": service.source.to_string(), "state": state, "trouble": trouble })
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn held_back_by(memory_full: bool, by_cost: Level) -> Vec<&'static str> {
    let reasons = [(memory_full, "memory"), (by_cost != Level::Full, "budget")];
    reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect()
}
