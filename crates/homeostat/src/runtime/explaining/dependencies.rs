//! How the services that others call have answered, second by second, as the gateway counted it.
//!
//! A caller sees its own failures; whether they are somebody else's is told by how the services that it calls (`dependsOn`)
//! answered before and since. A recording is of one service, so counts of those that are called are kept here.
//!
//! Not here: what that makes likely (`explain-cause`).
//! Invariant: ten minutes are kept of a service, and of no more services than the configuration names as called.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use homeostat_control::ControlSpec;
use homeostat_explain_cause::Dependency;
use homeostat_model::{
    OutcomeCounts, ServiceName, Span, Timestamp, evidence::EventCounts, objective::Sli, outcome::THRESHOLDS_MAX,
};

use super::super::shared::Totals;

/// How far back is counted: what is older is another hour of the day.
const KEPT: Span = Span::from_mins(10);

/// Counts of services since the process began, at instants, oldest first.
#[derive(Debug, Default)]
pub(super) struct Called {
    services: BTreeMap<ServiceName, VecDeque<(Timestamp, OutcomeCounts)>>,
}

impl Called {
    /// Looks at the services that are called, about once a second.
    pub(super) fn look<'a>(&mut self, at: Timestamp, called: impl Iterator<Item = &'a ServiceName>, totals: &Totals) {
        let called: BTreeSet<&ServiceName> = called.collect();
        self.services.retain(|service, _| called.contains(service));
        for service in called {
            let mut sum = OutcomeCounts::default();
            totals.iter().filter(|(key, _)| key.service == *service).for_each(|(_, counts)| sum += counts);
            let seconds = self.services.entry(service.clone()).or_default();
            seconds.push_back((at, sum));
            while seconds.front().is_some_and(|(oldest, _)| *oldest < at - KEPT) {
                seconds.pop_front();
            }
        }
    }

    /// How these services answered before an instant and since.
    pub(super) fn of(&self, services: &[ServiceName], began: Timestamp, spec: &ControlSpec) -> Vec<Dependency> {
        services.iter().filter_map(|service| self.dependency(service, began, spec)).collect()
    }

    /// A count that was taken within the second before an instant is the one of that instant.
    fn dependency(&self, service: &ServiceName, began: Timestamp, spec: &ControlSpec) -> Option<Dependency> {
        let seconds = self.services.get(service)?;
        let (_, first) = seconds.front()?;
        let (_, last) = seconds.back()?;
        let (_, then) = seconds.iter().rev().find(|(at, _)| *at <= began)?;
        let late = late_index(service, spec);
        let events = |from: &OutcomeCounts, to: &OutcomeCounts| {
            let (from, to) = (counted(from, late), counted(to, late));
            EventCounts { good: to.good.saturating_sub(from.good), bad: to.bad.saturating_sub(from.bad) }
        };
        Some(Dependency { name: service.as_str().to_owned(), before: events(first, then), during: events(then, last) })
    }
}

/// Requests that failed or were answered later than the service itself promises are bad.
fn counted(counts: &OutcomeCounts, late: Option<usize>) -> EventCounts {
    let slow = late.and_then(|at| counts.slow.get(at)).copied().unwrap_or(0);
    let bad = counts.bad().saturating_add(slow).min(counts.total());
    EventCounts { good: counts.total() - bad, bad }
}

/// Which counter of slow requests belongs to the service's objective of latency, the strictest if it has several.
fn late_index(service: &ServiceName, spec: &ControlSpec) -> Option<usize> {
    let of_latency = spec.objectives.iter().filter(|objective| objective.service == *service);
    let threshold = of_latency.filter_map(|objective| match objective.sli {
        Sli::Latency { threshold } => Some(threshold),
        Sli::Availability => None,
    });
    let strictest = threshold.min()?;
    let declared = spec.services.iter().find(|declared| declared.name == *service)?;
    declared.thresholds.iter().take(THRESHOLDS_MAX).position(|threshold| *threshold == strictest)
}

#[cfg(test)]
mod tests {
    use homeostat_model::{CellId, CellKey, OutcomeClass, OutcomeDelta};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000 + 1000 * seconds)
    }

    fn name(service: &str) -> ServiceName {
        service.parse().unwrap()
    }

    /// A service of two versions that answers ten requests a second and fails a part of them from an instant on.
    fn called(seconds: i64, fails_since: i64) -> Called {
        let key = |version: &str| CellKey {
            route: "all".parse().unwrap(),
            service: name("stock"),
            version: version.parse().unwrap(),
        };
        let (mut called, mut totals) = (Called::default(), Totals::default());
        totals.name_cells([(CellId(0), key("v1")), (CellId(1), key("v2"))].into_iter());
        for second in 0..=seconds {
            let failed = if fails_since < second { 2 } else { 0 };
            let mut counts = OutcomeCounts::of(OutcomeClass::Ok, 5 - failed);
            counts += OutcomeCounts::of(OutcomeClass::ServerError, failed);
            if 0 < second {
                totals.add(&[0, 1].map(|cell| OutcomeDelta { cell: CellId(cell), counts }));
            }
            called.look(at(second), [name("stock"), name("mail")].iter(), &totals);
        }
        called
    }

    #[test]
    fn a_service_is_counted_before_and_since() {
        let called = called(60, 40);
        let found = called.of(
            &[name("stock"), name("mail"), name("nobody")],
            at(40) + Span::from_ms(300),
            &ControlSpec::default(),
        );
        let stock = Dependency {
            name: "stock".to_owned(),
            before: EventCounts { good: 400, bad: 0 },
            during: EventCounts { good: 120, bad: 80 },
        };
        assert_eq!(found[0], stock);
        assert_eq!((found.len(), found[1].name.as_str(), found[1].before), (2, "mail", EventCounts::default()));
        assert_eq!(
            called.of(&[name("stock")], at(-1), &ControlSpec::default()),
            [],
            "nothing is known of the time before"
        );
    }

    #[test]
    fn ten_minutes_are_kept_of_who_is_called() {
        let mut called = called(1000, 2000);
        assert_eq!(called.services[&name("stock")].len(), 601);
        called.look(at(1001), [name("mail")].iter(), &Totals::default());
        assert_eq!(called.services.keys().collect::<Vec<_>>(), [&name("mail")]);
    }
}
