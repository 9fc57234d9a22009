//! Which incidents are looked into: each once, while it is young, and not too many at a time.
//!
//! Control tells of an incident whenever its record changes, and after a restart of those that it finds open.
//!
//! Invariant: an incident that is refused is refused once and with a reason.

use std::collections::BTreeSet;

use homeostat_model::{IncidentId, Span, Timestamp, incident::Incident};

use super::watch::HELD;

/// An incident that was opened longer than this before we began was so before a restart: nothing around it was measured.
const BEFORE_START_MAX: Span = Span::from_secs(60);
/// Incidents that are looked into at a time, most of which wait for the windows around them to end: each some KiB. As many
/// services in trouble within half a minute are one big incident.
const UNDER_WAY_MAX: usize = 64;
/// Incidents that are remembered, so that they are not looked into again: those of an hour of one a second.
const KNOWN_MAX: usize = 3_600;
const _: () = assert!(UNDER_WAY_MAX < KNOWN_MAX);

/// Whether an incident is looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Yes,
    /// It is looked into already, was so before, or was refused.
    Known,
    /// It is not, and this is why.
    No(String),
}

/// Remembers who was here.
#[derive(Debug)]
pub(super) struct Admission {
    /// Since when programs are measured.
    started: Timestamp,
    known: BTreeSet<IncidentId>,
}

impl Admission {
    /// Nobody was here yet; programs are measured from `started` on.
    pub(super) fn new(started: Timestamp) -> Self {
        Self { started, known: BTreeSet::new() }
    }

    /// Whether to look into an incident now, while so many are under way.
    pub(super) fn ask(&mut self, incident: &Incident, now: Timestamp, under_way: usize) -> Admitted {
        if incident.explanation.is_some() || !self.known.insert(incident.id) {
            return Admitted::Known;
        }
        while KNOWN_MAX < self.known.len() {
            self.known.pop_first();
        }
        let before_start = self.started.since(incident.opened_at);
        if BEFORE_START_MAX < before_start {
            return Admitted::No(format!(
                "it was opened {:.0} s before this process began to measure",
                before_start.secs_f64()
            ));
        }
        // It is told when it is on disk, which may take a while.
        let age = now.since(incident.opened_at);
        if HELD < age {
            return Admitted::No(format!(
                "it was opened {:.0} s ago and came to disk only now; profiles of that time are not held any more",
                age.secs_f64()
            ));
        }
        if UNDER_WAY_MAX <= under_way {
            return Admitted::No(format!("{under_way} others are looked into already"));
        }
        Admitted::Yes
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::explanation::Explanation;

    use super::{super::testing::burning, *};

    const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn opened(id: u64, at: Timestamp) -> Incident {
        Incident { id: IncidentId(id), ..burning("shop", "shop-latency", at) }
    }

    #[test]
    fn each_is_looked_into_once_in_any_order() {
        let mut admission = Admission::new(NOW);
        for id in [2, 1, 3] {
            assert_eq!(admission.ask(&opened(id, NOW), NOW, 0), Admitted::Yes);
            assert_eq!(admission.ask(&opened(id, NOW), NOW, 1), Admitted::Known);
        }
        let explained = Incident { explanation: Some(Explanation::default()), ..opened(4, NOW) };
        assert_eq!(admission.ask(&explained, NOW, 0), Admitted::Known);
    }

    #[test]
    fn old_ones_and_those_beyond_the_limit_are_refused_once_with_a_reason() {
        let mut admission = Admission::new(NOW);
        let old = opened(1, NOW - BEFORE_START_MAX - Span::from_secs(1));
        let Admitted::No(why) = admission.ask(&old, NOW, 0) else { panic!("it is old") };
        assert!(why.contains("61 s before this process began"), "{why}");
        assert_eq!(admission.ask(&old, NOW, 0), Admitted::Known);
        let Admitted::No(why) = admission.ask(&opened(2, NOW), NOW, UNDER_WAY_MAX) else { panic!("too many") };
        assert!(why.contains("64 others"), "{why}");
        assert_eq!(admission.ask(&opened(3, NOW), NOW, UNDER_WAY_MAX - 1), Admitted::Yes);
    }

    #[test]
    fn what_a_slow_disk_held_back_is_looked_into_while_profiles_of_its_time_are_held() {
        let mut admission = Admission::new(NOW - Span::from_mins(30));
        assert_eq!(admission.ask(&opened(1, NOW - Span::from_secs(300)), NOW, 0), Admitted::Yes);
        assert_eq!(admission.ask(&opened(2, NOW - HELD), NOW, 0), Admitted::Yes);
        let late = opened(3, NOW - HELD - Span::from_secs(1));
        let Admitted::No(why) = admission.ask(&late, NOW, 0) else { panic!("it is too late") };
        assert!(why.contains("601 s ago") && why.contains("not held any more"), "{why}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut admission = Admission::new(NOW);
        for id in 1..=2 * KNOWN_MAX as u64 {
            assert_eq!(admission.ask(&opened(id, NOW), NOW, 0), Admitted::Yes);
        }
        assert_eq!(admission.known.len(), KNOWN_MAX);
    }
}
