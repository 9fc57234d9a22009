//! Splits laid over a table of routes.

use std::collections::BTreeMap;

use homeostat_control::ControlSpec;
use homeostat_gateway_route::RouteTable;
use homeostat_model::{ServiceName, VersionName, Weight, action::Split};

/// What may serve when control's own word is not there: no canary gets anything, its baseline has its share.
pub(super) fn safe_splits(spec: &ControlSpec) -> BTreeMap<ServiceName, Split> {
    let mut splits = BTreeMap::new();
    for rollout in &spec.rollouts {
        let Some(service) = spec.services.iter().find(|service| service.name == rollout.service) else { continue };
        let share = |version: &VersionName| {
            service.split.iter().find(|(v, _)| v == version).map_or(Weight::ZERO, |(_, weight)| *weight)
        };
        let safe = |version: &VersionName| match version {
            canary if *canary == rollout.canary => Weight::ZERO,
            baseline if *baseline == rollout.baseline => share(baseline).saturating_add(share(&rollout.canary)),
            other => share(other),
        };
        splits.insert(
            rollout.service.clone(),
            service.versions.iter().map(|version| (version.clone(), safe(version))).collect(),
        );
    }
    splits
}

/// A table under the given splits; a service that the table does not know, or whose versions differ, keeps its own.
pub(super) fn overlaid(table: RouteTable, splits: &BTreeMap<ServiceName, Split>) -> RouteTable {
    splits.iter().fold(table, |table, (service, split)| match table.with_split(service, split) {
        Ok(shifted) => shifted,
        Err(_unknown_here) => table,
    })
}
