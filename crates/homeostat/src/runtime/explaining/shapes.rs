//! How each version and each route did before and since the first bad response, as the black box has it.

use std::collections::BTreeMap;

use homeostat_control::ControlledService;
use homeostat_explain_cause::{Counted, Shape};
use homeostat_model::{
    CellKey, OutcomeCounts, RouteName, Span, Timestamp, VersionName,
    evidence::Evidence,
    incident::{BlackBox, Incident},
    objective::Sli,
};

/// Counts before and since.
type Both = (OutcomeCounts, OutcomeCounts);

/// One shape a version and one a route; none where nothing was counted.
pub(super) fn shapes(incident: &Incident, black_box: &BlackBox, services: &[ControlledService]) -> Vec<Shape> {
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
        black_box.to.since(incident.began_at).max(Span::from_ms(10)),
    );
    let slow = slow_index(incident, services);
    let shape = |version: Option<VersionName>, route: Option<RouteName>, both: &Both| Shape {
        route,
        version,
        instance: None,
        before: Counted::of(spans.0, &both.0, slow),
        during: Counted::of(spans.1, &both.1, slow),
    };
    let by_version = versions.iter().map(|(version, both)| shape(Some(version.clone()), None, both));
    let by_route = routes.iter().map(|(route, both)| shape(None, Some(route.clone()), both));
    by_version.chain(by_route).collect()
}

/// The first instant with traffic: before it nothing was measured, and a rate over it would be too small.
fn first(black_box: &BlackBox, otherwise: Timestamp) -> Timestamp {
    black_box.ticks.first().map_or(otherwise, |tick| tick.at.min(otherwise))
}

/// Which counter of slow requests the incident is about; one that counts nothing when it is not about latency.
fn slow_index(incident: &Incident, services: &[ControlledService]) -> usize {
    let sli = incident.evidence.iter().find_map(|evidence| match evidence {
        Evidence::Canary { slis, .. } => slis.iter().find_map(|evidence| match evidence.sli {
            Sli::Latency { threshold } => Some(threshold),
            Sli::Availability => None,
        }),
        _ => None,
    });
    let thresholds = services.iter().find(|service| service.name == incident.service).map(|s| &s.thresholds[..]);
    sli.zip(thresholds)
        .and_then(|(sli, thresholds)| thresholds.iter().position(|threshold| *threshold == sli))
        .unwrap_or(usize::MAX)
}
