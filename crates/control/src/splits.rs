//! What a service's split becomes when a rollout gives its canary a weight.
//!
//! The canary takes from the baseline alone: other versions keep the shares that the configuration declares. Baseline and
//! canary share a pool, and a step's weight is capped by it. Promotion is different: then the canary gets everything.
//!
//! Invariant: every split made here is ascending by version, has one entry each and adds up to 100 %.

use std::collections::BTreeMap;

use homeostat_model::{VersionName, Weight, action::Split};

/// The weight of one version; nothing when it is not listed.
pub(crate) fn weight_of(split: &Split, version: &VersionName) -> Weight {
    split.iter().find(|(name, _)| name == version).map_or(Weight::ZERO, |(_, weight)| *weight)
}

/// What baseline and canary have together: the most a canary can get before it is promoted.
pub(crate) fn pool(split: &Split, baseline: &VersionName, canary: &VersionName) -> Weight {
    weight_of(split, baseline).saturating_add(weight_of(split, canary))
}

/// The split with the canary at `weight` (at most the pool) and the baseline at the rest of the pool.
pub(crate) fn with_canary(base: &Split, baseline: &VersionName, canary: &VersionName, weight: Weight) -> Split {
    let pool = pool(base, baseline, canary);
    let weight = weight.min(pool);
    let mut shares: BTreeMap<VersionName, Weight> = base.iter().cloned().collect();
    shares.insert(canary.clone(), weight);
    shares.insert(baseline.clone(), pool.saturating_sub(weight));
    shares.into_iter().collect()
}

/// The split with one version at 100 %.
pub(crate) fn all_to(base: &Split, version: &VersionName) -> Split {
    let mut shares: BTreeMap<VersionName, Weight> = base.iter().map(|(name, _)| (name.clone(), Weight::ZERO)).collect();
    shares.insert(version.clone(), Weight::FULL);
    shares.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(name: &str) -> VersionName {
        VersionName::new(name).unwrap()
    }

    fn split(shares: &[(&str, u16)]) -> Split {
        shares.iter().map(|(name, w)| (version(name), Weight::from_basis_points(*w).unwrap())).collect()
    }

    #[test]
    fn the_baseline_gives_and_others_keep() {
        let base = split(&[("a", 1000), ("v1", 9000), ("v2", 0)]);
        let weight = |bp| Weight::from_basis_points(bp).unwrap();
        let at = |bp| with_canary(&base, &version("v1"), &version("v2"), weight(bp));
        assert_eq!(at(500), split(&[("a", 1000), ("v1", 8500), ("v2", 500)]));
        assert_eq!(at(9500), split(&[("a", 1000), ("v1", 0), ("v2", 9000)]), "capped by the pool");
        assert_eq!(all_to(&base, &version("v2")), split(&[("a", 0), ("v1", 0), ("v2", 10_000)]));
        assert_eq!(
            with_canary(&split(&[("v1", 10_000)]), &version("v1"), &version("v2"), weight(1)),
            split(&[("v1", 9_999), ("v2", 1)]),
            "a version that the declared split does not list is added"
        );
    }

    proptest! {
        #[test]
        fn splits_stay_whole(first in 0_u16..=10_000, cut in 0_u16..=10_000, weight in 0_u16..=10_000) {
            let second = (10_000 - first).min(cut);
            let base = split(&[("a", 10_000 - first - second), ("v1", first), ("v2", second)]);
            let weight = Weight::from_basis_points(weight).unwrap();
            for made in [with_canary(&base, &version("v1"), &version("v2"), weight), all_to(&base, &version("v2"))] {
                let sum: u32 = made.iter().map(|(_, w)| u32::from(w.basis_points())).sum();
                prop_assert_eq!(sum, 10_000);
                prop_assert!(made.windows(2).all(|pair| pair[0].0 < pair[1].0));
            }
        }
    }
}
