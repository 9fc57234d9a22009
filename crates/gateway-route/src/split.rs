//! Which version a request goes to: 10,000 buckets, divided among the versions as the weights say.
//!
//! The versions lie side by side in the order of their names, each as wide as its weight, so the share of every version
//! is exact to one bucket and the layout depends on nothing but names and weights. A request with a sticky key has its
//! bucket by hash; requests without one walk through all buckets in steps of the golden ratio, which visits every bucket
//! once in 10,000 requests and never comes back to a small share twice in a row.
//!
//! When weights change, only clients between an old and a new border change their version. With two versions, or when
//! neighbours trade, that is exactly the share that changed; with k versions that have a share it is at most k - 1 times
//! as much (`docs/decisions/0020-split-by-borders.md` says why no layout can do without such a factor).
//!
//! Invariant: a version of weight 0 has no bucket.

use homeostat_model::{CellId, VersionName, Weight, action::Split, outcome::CELLS_MAX};

use crate::{problem::SplitProblem, siphash::siphash_1_3};

/// Buckets: one for each step of a [`Weight`].
pub const BUCKETS: u16 = Weight::FULL.basis_points();

/// Step of the walk: 10,000 divided by the golden ratio is 6,180.3. Of the numbers without a common factor with 10,000
/// this one has the nearest continued fraction, `[0; 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 2, 2, 1, 2, 2]`: small terms mean
/// that the visited buckets are evenly spread after any number of steps.
const STEP: u16 = 6_181;

const _: () = assert!(STEP < BUCKETS && u32::MAX / 2 > (BUCKETS as u32) * 2);

/// A checked split, ready for lookups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitTable {
    split: Split,
    /// First bucket behind each version, ascending; the last is [`BUCKETS`].
    ends: Box<[u16]>,
}

impl SplitTable {
    /// Checks a split against the names of the service's versions (ascending, no name twice). The order of the split
    /// does not matter. Reports every problem.
    pub fn new(versions: &[VersionName], split: &Split) -> Result<Self, Vec<SplitProblem>> {
        let mut problems = Vec::new();
        let mut sorted = split.clone();
        sorted.sort();
        for (name, _) in &sorted {
            if !versions.contains(name) {
                problems.push(SplitProblem::Unknown(name.clone()));
            }
        }
        for pair in sorted.windows(2) {
            if let [(first, _), (second, _)] = pair
                && first == second
            {
                problems.push(SplitProblem::Twice(first.clone()));
            }
        }
        let missing = versions.iter().filter(|version| !sorted.iter().any(|(name, _)| name == *version));
        problems.extend(missing.cloned().map(SplitProblem::Missing));
        let basis_points = sorted.iter().map(|(_, weight)| u32::from(weight.basis_points())).sum();
        if basis_points != u32::from(BUCKETS) {
            problems.push(SplitProblem::Sum { basis_points });
        }
        if problems.is_empty() { Ok(Self::checked(sorted)) } else { Err(problems) }
    }

    /// The split, ascending by name.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Position (ascending by name) of the version that serves `bucket`. Buckets beyond the last count as the last.
    pub fn version_of(&self, bucket: u16) -> usize {
        let bucket = bucket.min(BUCKETS - 1);
        self.ends.partition_point(|end| *end <= bucket)
    }

    fn checked(split: Split) -> Self {
        let mut end = 0;
        let mut widen = |weight: Weight| {
            end += weight.basis_points();
            end
        };
        let ends = split.iter().map(|(_, weight)| widen(*weight)).collect();
        Self { split, ends }
    }
}

/// Where a worker stands on its walk through the buckets, for each route on its own: a route's share is exact in every
/// 10,000 of its requests, however the requests of other routes fall in between.
///
/// Takes 8 KiB. Routes and workers begin at different buckets, so that a hundred quiet routes do not all send their
/// first request to the same version.
#[derive(Clone, Debug)]
pub struct SplitSequence {
    next: Box<[u16]>,
}

impl SplitSequence {
    /// The walks of one worker; `worker` is its number.
    pub fn new(worker: u64) -> Self {
        let begin = |cell: usize| bucket_of(siphash_1_3((worker, 0), &cell.to_le_bytes()));
        Self { next: (0..CELLS_MAX).map(begin).collect() }
    }

    /// Returns the next bucket of the route whose first cell is `cell`.
    pub fn advance(&mut self, cell: CellId) -> u16 {
        // Ids beyond the table cannot be handed out; their requests would share one walk.
        let last = self.next.len().saturating_sub(1);
        let Some(next) = self.next.get_mut(usize::from(cell.0).min(last)) else { return 0 };
        let bucket = *next;
        *next = ((u32::from(bucket) + u32::from(STEP)) % u32::from(BUCKETS)) as u16;
        bucket
    }
}

/// Maps a hash onto the buckets, evenly: the high bits decide.
pub(crate) fn bucket_of(hash: u64) -> u16 {
    ((u128::from(hash) * u128::from(BUCKETS)) >> 64) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(index: usize) -> VersionName {
        VersionName::new(&format!("v{index}")).unwrap()
    }

    fn table(weights: &[u16]) -> SplitTable {
        let split: Split =
            weights.iter().enumerate().map(|(i, w)| (name(i), Weight::from_basis_points(*w).unwrap())).collect();
        SplitTable::new(&split.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), &split).unwrap()
    }

    fn layout(weights: &[u16]) -> Vec<usize> {
        let table = table(weights);
        (0..BUCKETS).map(|bucket| table.version_of(bucket)).collect()
    }

    /// Weights of `k` versions that add up to the whole.
    fn weights(k: usize) -> impl Strategy<Value = Vec<u16>> {
        let edge = prop_oneof![Just(0), Just(1), Just(BUCKETS - 1), Just(BUCKETS), 0..=BUCKETS];
        prop::collection::vec(edge, k - 1).prop_map(move |mut borders| {
            borders.sort_unstable();
            borders.push(BUCKETS);
            let mut before = 0;
            borders.iter().map(|border| border - std::mem::replace(&mut before, *border)).collect()
        })
    }

    proptest! {
        #[test]
        fn every_version_has_exactly_its_buckets(weights in (1..8_usize).prop_flat_map(weights)) {
            let layout = layout(&weights);
            for (version, weight) in weights.iter().enumerate() {
                prop_assert_eq!(layout.iter().filter(|v| **v == version).count(), usize::from(*weight));
            }
        }

        #[test]
        fn only_the_share_that_changed_moves_times_the_versions_between(
            (before, after) in (2..7_usize).prop_flat_map(|k| (weights(k), weights(k)))
        ) {
            let moved = layout(&before).iter().zip(layout(&after)).filter(|(a, b)| **a != *b).count();
            let least: u32 = before.iter().zip(&after).map(|(a, b)| u32::from(a.saturating_sub(*b))).sum();
            let with_share = (0..before.len()).filter(|i| before[*i] > 0 || after[*i] > 0).count() as u32;
            prop_assert!(moved as u32 >= least);
            prop_assert!(moved as u32 <= least * with_share.saturating_sub(1), "{moved} moved, {least} had to");
        }

        #[test]
        fn neighbours_trade_without_touching_others(weights in weights(5), at in 0..4_usize, share in 0..BUCKETS) {
            let mut after = weights.clone();
            let traded = share.min(after[at]);
            after[at] -= traded;
            after[at + 1] += traded;
            let moved = layout(&weights).iter().zip(layout(&after)).filter(|(a, b)| **a != *b).count();
            prop_assert_eq!(moved, usize::from(traded));
        }
    }

    #[test]
    fn a_split_that_does_not_fit_names_every_problem() {
        let weight = |bp| Weight::from_basis_points(bp).unwrap();
        let split = vec![(name(0), weight(4_000)), (name(0), weight(1_000)), (name(7), weight(1))];
        assert_eq!(
            SplitTable::new(&[name(0), name(1)], &split),
            Err(vec![
                SplitProblem::Unknown(name(7)),
                SplitProblem::Twice(name(0)),
                SplitProblem::Missing(name(1)),
                SplitProblem::Sum { basis_points: 5_001 },
            ])
        );
        assert_eq!(
            SplitProblem::Sum { basis_points: 5_001 }.to_string(),
            "the weights add up to 50.01%, they must add up to 100%"
        );
    }

    /// Longest run of the canary, and its share in every window of 10,000 requests, from several starts.
    fn walk(canary: u16) -> (usize, u16, u16) {
        let table = table(&[BUCKETS - canary, canary]);
        let (mut run_max, mut least, mut most) = (0, u16::MAX, 0);
        for cell in 0..5 {
            let mut sequence = SplitSequence::new(7);
            let hits: Vec<bool> = (0..30_000).map(|_| table.version_of(sequence.advance(CellId(cell))) == 1).collect();
            let runs = hits.split(|hit| !hit).map(<[bool]>::len);
            run_max = run_max.max(runs.max().unwrap_or(0));
            for window in hits.windows(usize::from(BUCKETS)).step_by(997) {
                let share = window.iter().filter(|hit| **hit).count() as u16;
                (least, most) = (least.min(share), most.max(share));
            }
        }
        (run_max, least, most)
    }

    #[test]
    fn the_walk_is_smooth_and_exact() {
        // Up to 38 % the canary never serves two requests in a row, up to 50 % never three.
        for (canary, run_max) in [(1, 1), (100, 1), (500, 1), (1_000, 1), (3_800, 1), (5_000, 2)] {
            assert_eq!(walk(canary), (run_max, canary, canary), "{canary} of 10,000");
        }
    }

    #[test]
    fn short_stretches_are_fair_too() {
        // 10 %: any 100 requests in a row give the canary 10, give or take 2.
        let table = table(&[9_000, 1_000]);
        let mut sequence = SplitSequence::new(0);
        let hits: Vec<bool> = (0..20_000).map(|_| table.version_of(sequence.advance(CellId(0))) == 1).collect();
        let counts: Vec<usize> = hits.windows(100).map(|w| w.iter().filter(|hit| **hit).count()).collect();
        assert!(counts.iter().all(|count| (8..=12).contains(count)), "{counts:?}");
    }

    #[test]
    fn routes_and_workers_begin_elsewhere() {
        let begin = |worker, cell| SplitSequence::new(worker).advance(CellId(cell));
        let begins: std::collections::BTreeSet<u16> = (0..100).map(|cell| begin(3, cell)).collect();
        assert!(begins.len() > 90, "{begins:?}");
        assert_ne!(begin(0, 0), begin(1, 0));
        assert!(SplitSequence::new(0).advance(CellId(u16::MAX)) < BUCKETS);
    }
}
