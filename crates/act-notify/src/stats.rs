//! What notifying counts of itself, for metrics and health.

use std::collections::BTreeMap;

use homeostat_model::{ReceiverName, Timestamp};
use homeostat_wire::exposition::{Exposition, FamilyKind};

/// Counters since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyStats {
    /// One entry per configured receiver.
    pub receivers: BTreeMap<ReceiverName, ReceiverStats>,
    /// Notices that had been handed over before.
    pub duplicates: u64,
    /// Notices refused because the queue was full.
    pub queue_full: u64,
    /// Notices to receivers that are not configured (any more).
    pub unknown_receiver: u64,
    /// Records that the outbox had no room for. A restart forgets those notices, unless a snapshot made up for it before.
    pub unlogged: u64,
    /// Damaged outboxes set aside at this start: what waited in them is not delivered.
    pub outboxes_set_aside: u64,
}

/// Counters of one receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// Notices waiting or under way.
    pub pending: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Notices delivered.
    pub delivered: u64,
    /// Attempts that failed and are or were repeated.
    pub retries: u64,
    /// Notices that the receiver refused for good.
    pub refused: u64,
    /// Notices given up after failing for too long.
    pub given_up: u64,
    /// Notices that made room for newer ones.
    pub displaced: u64,
    /// Notices that it does not want: resolved ones.
    pub unwanted: u64,
    /// Templates that gave way to the default.
    pub render_failures: u64,
    /// Since when nothing gets through; `None` while all is well.
    pub failing_since: Option<Timestamp>,
    /// The latest failure, without addresses.
    pub last_error: Option<String>,
}

impl NotifyStats {
    /// What is wrong, one line per receiver that cannot be reached, and one about a damaged outbox; empty when nothing is.
    pub fn problems(&self) -> Vec<String> {
        let set_aside = (self.outboxes_set_aside > 0).then(|| {
            "the outbox was damaged and is set aside as `outbox.damaged-N`: notices that waited in it were not \
             delivered; look at `homeostat incidents`, then remove it and restart"
                .to_owned()
        });
        let failing = self.receivers.iter().filter(|(_, stats)| stats.failing_since.is_some());
        failing
            .map(|(name, stats)| {
                let error = stats.last_error.as_deref().unwrap_or("it does not answer");
                format!("receiver {name}: {error}; {} notices wait", stats.pending)
            })
            .chain(set_aside)
            .collect()
    }

    /// Appends all families.
    pub fn write_metrics(&self, out: &mut String) {
        let mut exposition = Exposition::new(out);
        let mut pending =
            exposition.family("homeostat_notify_pending", FamilyKind::Gauge, "Notices that wait for their receiver.");
        for (name, stats) in &self.receivers {
            pending.count(&[("receiver", name.as_str())], stats.pending);
        }
        let mut notices = exposition.family(
            "homeostat_notify_notices_total",
            FamilyKind::Counter,
            "Notices by receiver and by what became of them.",
        );
        for (name, stats) in &self.receivers {
            for (end, count) in [
                ("delivered", stats.delivered),
                ("refused", stats.refused),
                ("given_up", stats.given_up),
                ("displaced", stats.displaced),
                ("unwanted", stats.unwanted),
            ] {
                notices.count(&[("receiver", name.as_str()), ("end", end)], count);
            }
        }
        let mut by_receiver = |metric: &str, help: &str, value: fn(&ReceiverStats) -> u64| {
            let mut family = exposition.family(metric, FamilyKind::Counter, help);
            for (name, stats) in &self.receivers {
                family.count(&[("receiver", name.as_str())], value(stats));
            }
        };
        by_receiver("homeostat_notify_messages_total", "Messages delivered.", |stats| stats.messages);
        by_receiver("homeostat_notify_retries_total", "Attempts that failed and were repeated.", |stats| stats.retries);
        by_receiver("homeostat_notify_render_failures_total", "Templates that gave way to the default.", |stats| {
            stats.render_failures
        });
        let mut lost = exposition.family(
            "homeostat_notify_troubled_notices_total",
            FamilyKind::Counter,
            "Notices that were not queued or not recorded, by reason.",
        );
        for (reason, count) in [
            ("duplicate", self.duplicates),
            ("queue_full", self.queue_full),
            ("unknown_receiver", self.unknown_receiver),
            ("unlogged", self.unlogged),
        ] {
            lost.count(&[("reason", reason)], count);
        }
        exposition
            .family(
                "homeostat_notify_outboxes_set_aside",
                FamilyKind::Gauge,
                "Damaged outboxes set aside at this start: what waited in them is not delivered.",
            )
            .count(&[], self.outboxes_set_aside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_that_was_set_aside_is_a_problem_and_a_metric() {
        let well = NotifyStats::default();
        assert!(well.problems().is_empty());
        let stats = NotifyStats { outboxes_set_aside: 1, ..well };
        let problems = stats.problems();
        assert!(problems.len() == 1 && problems[0].contains("outbox.damaged-N"), "{problems:?}");
        let mut metrics = String::new();
        stats.write_metrics(&mut metrics);
        assert!(metrics.contains("\nhomeostat_notify_outboxes_set_aside 1\n"), "{metrics}");
    }
}
