//! What is printed: one line a happening, with the time since the beginning; as text or as JSON.

use std::time::Instant;

use homeostat_api::backend::IncidentDetail;
use homeostat_load::Report;
use homeostat_model::incident::BlackBox;

use crate::cli::render::{Style, incident::page};

/// Prints as it goes.
#[derive(Debug)]
pub(super) struct Story {
    began: Instant,
    json: bool,
}

/// Requests so far, as the customers count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    v1: u64,
    v2: u64,
    failed: u64,
    slow: u64,
    unsent: u64,
}

impl Traffic {
    pub(super) fn of(report: &Report) -> Self {
        let total = |label| report.labels.get(label).map_or(0, homeostat_load::LabelReport::total);
        Self {
            v1: total("v1"),
            v2: total("v2"),
            failed: report.bad(),
            slow: report.slow(),
            unsent: report.dropped_at_client,
        }
    }

    /// Requests that failed or were slow.
    pub(super) const fn harmed(&self) -> u64 {
        self.failed + self.slow
    }

    /// Requests that ended; failures without an answer belong to no version.
    pub(super) const fn total(&self) -> u64 {
        let answered = self.v1 + self.v2;
        if answered < self.harmed() { self.harmed() } else { answered }
    }

    const fn since(&self, before: &Self) -> Self {
        Self {
            v1: self.v1.saturating_sub(before.v1),
            v2: self.v2.saturating_sub(before.v2),
            failed: self.failed.saturating_sub(before.failed),
            slow: self.slow.saturating_sub(before.slow),
            unsent: self.unsent.saturating_sub(before.unsent),
        }
    }
}

impl Story {
    pub(super) fn begin(json: bool) -> Self {
        Self { began: Instant::now(), json }
    }

    /// Tells one thing.
    pub(super) fn tell(&self, what: &str, detail: String) {
        let at_s = self.began.elapsed().as_secs_f64();
        if self.json {
            println!("{}", serde_json::json!({ "at_s": round(at_s), "what": what, "detail": detail }));
        } else {
            println!("{at_s:>8.3} s  {what:<10} {detail}");
        }
    }

    /// Shows a whole incident: the page of `homeostat incident show`, or what the API serves.
    pub(super) fn incident(&self, detail: &IncidentDetail, black_box: Option<&BlackBox>) {
        if self.json {
            let at_s = round(self.began.elapsed().as_secs_f64());
            println!("{}", serde_json::json!({ "at_s": at_s, "what": "page", "incident": detail }));
        } else {
            print!("\n{}\n", page(detail, black_box, Style::of_terminal()));
        }
    }

    /// Tells the traffic since the last time.
    pub(super) fn traffic(&self, now: &Traffic, before: &Traffic) {
        let Traffic { v1, v2, failed, slow, unsent } = now.since(before);
        if self.json {
            let at_s = round(self.began.elapsed().as_secs_f64());
            let line = serde_json::json!({
                "at_s": at_s, "what": "traffic", "v1": v1, "v2": v2, "failed": failed, "slow": slow, "unsent": unsent,
            });
            println!("{line}");
            return;
        }
        let unsent = if unsent == 0 { String::new() } else { format!(", {unsent} not sent") };
        self.tell("traffic", format!("v1 {v1:>5}   v2 {v2:>4}   failed {failed:>3}   slow {slow:>3}{unsent}"));
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}
