//! How each version and each route did before and since the first bad response, as the black box has it.

use std::collections::BTreeMap;

use homeostat_control::ControlSpec;
use homeostat_explain_cause::{Counted, Shape};
use homeostat_model::{
    CellKey, OutcomeCounts, RouteName, Span, Timestamp, VersionName,
    evidence::Evidence,
    incident::{BlackBox, Incident, Subject},
    objective::Sli,
};

use super::numbers::TICK;

/// Counts before and since.
type Both = (OutcomeCounts, OutcomeCounts);

/// One shape a version and one a route; none where nothing was counted.
pub(super) fn shapes(incident: &Incident, black_box: &BlackBox, spec: &ControlSpec) -> Vec<Shape> {
    let (mut versions, mut routes) = (BTreeMap::<VersionName, Both>::new(), BTreeMap::<RouteName, Both>::new());
    let keys: BTreeMap<_, &CellKey> = black_box.cells.iter().map(|(id, key)| (*id, key)).collect();
    for tick in &black_box.ticks {
        for delta in &tick.deltas {
            let Some(key) = keys.get(&delta.cell).filter(|key| key.service == incident.service) else { continue };
            let before = tick.at < incident.began_at;
            for (was, is) in
                [versions.entry(key.version.clone()).or_default(), routes.entry(key.route.clone()).or_default()]
            {
                *(if before { was } else { is }) += delta.counts;
            }
        }
    }
    let spans = (
        incident.began_at.since(first(black_box, incident.began_at)),
        // The tick that ends with the first bad response holds it.
        black_box.to.since(incident.began_at - TICK).max(TICK),
    );
    let slow = slow_index(incident, spec);
    let shape = |version: Option<VersionName>, route: Option<RouteName>, both: &Both| Shape {
        route,
        version,
        instance: None,
        before: counted(spans.0, both.0, slow),
        during: counted(spans.1, both.1, slow),
    };
    let by_version = versions.iter().map(|(version, both)| shape(Some(version.clone()), None, both));
    let by_route = routes.iter().map(|(route, both)| shape(None, Some(route.clone()), both));
    by_version.chain(by_route).collect()
}

fn counted(span: Span, counts: OutcomeCounts, slow: Option<usize>) -> Counted {
    Counted { span, counts, slow: slow.and_then(|at| counts.slow.get(at).copied()) }
}

/// The first instant with traffic: before it nothing was measured, and a rate over it would be too small.
fn first(black_box: &BlackBox, otherwise: Timestamp) -> Timestamp {
    black_box.ticks.first().map_or(otherwise, |tick| tick.at.min(otherwise))
}

/// Which counter of slow requests the incident is about; `None` when it is not about latency, or nobody counts that.
fn slow_index(incident: &Incident, spec: &ControlSpec) -> Option<usize> {
    let late = late_after(incident, spec)?;
    let service = spec.services.iter().find(|service| service.name == incident.service)?;
    service.thresholds.iter().position(|threshold| *threshold == late)
}

/// From when on an answer is too late, by what the incident is about; `None` when it is not about latency.
fn late_after(incident: &Incident, spec: &ControlSpec) -> Option<Span> {
    let threshold = |sli: Sli| match sli {
        Sli::Latency { threshold } => Some(threshold),
        Sli::Availability => None,
    };
    match &incident.subject {
        Subject::Objective { objective } => {
            spec.objectives.iter().find(|known| known.name == *objective).and_then(|known| threshold(known.sli))
        }
        Subject::Canary { .. } => incident.evidence.iter().find_map(|evidence| match evidence {
            Evidence::Canary { slis, .. } => slis.iter().find_map(|evidence| threshold(evidence.sli)),
            _ => None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use homeostat_control::ControlledService;
    use homeostat_explain_cause::{CauseEvidence, explain};
    use homeostat_model::{
        Actor, CellId, ChangeEvent, ChangeKind, OutcomeClass, OutcomeDelta,
        incident::TickCounts,
        objective::{Objective, OnPage, Target},
    };

    use super::{super::testing, *};

    const BEGAN: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    /// Nothing fails; answers later than 200 ms are the second counter of slow ones.
    fn counts(answered: u64, slower_than_200_ms: u64) -> OutcomeCounts {
        let mut counts = OutcomeCounts::of(OutcomeClass::Ok, answered);
        counts.slow = [answered / 2, slower_than_200_ms, 0, 0];
        counts
    }

    /// A second of both versions before the first bad response, and one since.
    fn black_box(v1_slow: u64, v2_slow: u64) -> BlackBox {
        let key = |version: &str| CellKey {
            route: "cart".parse().unwrap(),
            service: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
        };
        let tick = |at: Timestamp, slow: [u64; 2]| TickCounts {
            at,
            deltas: [(CellId(1), slow[0]), (CellId(2), slow[1])]
                .map(|(cell, slow)| OutcomeDelta { cell, counts: counts(1_000, slow) })
                .to_vec(),
        };
        let second = Span::from_secs(1);
        BlackBox {
            from: BEGAN - second,
            to: BEGAN + second,
            cells: vec![(CellId(1), key("v1")), (CellId(2), key("v2"))],
            ticks: vec![tick(BEGAN - second, [0, 0]), tick(BEGAN, [v1_slow, v2_slow])],
            ..BlackBox::default()
        }
    }

    fn spec() -> ControlSpec {
        let name = "shop-latency".parse().unwrap();
        ControlSpec {
            services: vec![ControlledService {
                name: "shop".parse().unwrap(),
                versions: vec!["v1".parse().unwrap(), "v2".parse().unwrap()],
                routes: vec!["cart".parse().unwrap()],
                split: Vec::new(),
                thresholds: vec![Span::from_ms(50), Span::from_ms(200)],
            }],
            objectives: vec![Objective {
                name,
                display_name: String::new(),
                service: "shop".parse().unwrap(),
                routes: Vec::new(),
                version: None,
                sli: Sli::Latency { threshold: Span::from_ms(200) },
                target: Target::new(0.99).unwrap(),
                period: Span::from_days(30),
                fast_window: Span::from_secs(1),
                min_events: 1,
                burn_rules: Vec::new(),
                on_page: OnPage::default(),
                receivers: Vec::new(),
                indicator: None,
            }],
            ..ControlSpec::default()
        }
    }

    /// An incident of a burning budget, half a minute after a release.
    fn burning(objective: &str) -> Incident {
        let deploy = ChangeEvent {
            at: BEGAN - Span::from_secs(30),
            kind: ChangeKind::Deploy,
            service: Some("shop".parse().unwrap()),
            version: Some("v2".parse().unwrap()),
            summary: "v2 gets 50 %".to_owned(),
            by: Actor::new("ci"),
        };
        Incident { changes: vec![deploy], ..testing::burning("shop", objective, BEGAN) }
    }

    fn slow_of(shapes: &[Shape]) -> Vec<(&str, Option<u64>, Option<u64>)> {
        let named = |shape: &&Shape| shape.version.is_some();
        shapes
            .iter()
            .filter(named)
            .map(|shape| (shape.version.as_ref().map_or("", VersionName::as_str), shape.before.slow, shape.during.slow))
            .collect()
    }

    #[test]
    fn a_latency_objective_counts_the_answers_that_are_too_late_for_it() {
        let incident = burning("shop-latency");
        let found = shapes(&incident, &black_box(1, 300), &spec());
        assert_eq!(slow_of(&found), [("v1", Some(0), Some(1)), ("v2", Some(0), Some(300))]);
        let route = found.iter().find(|shape| shape.route.is_some()).unwrap();
        assert_eq!((route.before.total(), route.during.total(), route.during.slow), (2_000, 2_000, Some(301)));
        let other = burning("shop-availability");
        assert_eq!(slow_of(&shapes(&other, &black_box(1, 300), &spec())), [("v1", None, None), ("v2", None, None)]);
    }

    /// What speaks against the deploy, and how sure it is.
    fn judged(v1_slow: u64, v2_slow: u64, objective: &str) -> (u8, Vec<String>) {
        let incident = burning(objective);
        let evidence = CauseEvidence {
            service: incident.service.clone(),
            began_at: incident.began_at,
            judged: None,
            changes: incident.changes.clone(),
            is_profiled: false,
            shapes: shapes(&incident, &black_box(v1_slow, v2_slow), &spec()),
            profiles: None,
            patterns: Vec::new(),
            signals: Vec::new(),
            dependencies: Vec::new(),
        };
        let found = explain(&evidence, BEGAN);
        let against = found.hypotheses.iter().flat_map(|cause| &cause.evidence).filter(|line| !line.supports);
        let against = against.map(|line| line.text.clone()).collect();
        (found.hypotheses.first().map_or(0, |cause| cause.confidence_percent), against)
    }

    #[test]
    fn the_deploy_is_blamed_when_its_version_alone_is_late_and_spared_when_all_are() {
        let (alone, against) = judged(1, 300, "shop-latency");
        assert!(90 <= alone && against.is_empty(), "{alone} % {against:?}");
        assert_eq!(judged(300, 300, "shop-latency").0, 0, "all versions are late");
        // Nobody counted what this objective is about: that both versions have no failures speaks for nobody.
        let (uncounted, against) = judged(300, 300, "shop-availability");
        assert!(50 < uncounted && uncounted < 90 && against.is_empty(), "{uncounted} % {against:?}");
    }
}
