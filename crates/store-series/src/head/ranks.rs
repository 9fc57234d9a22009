//! The order of a head's series by their labels, kept between queries.
//!
//! Comparing labels costs a tenth of a microsecond, and a query over a hundred thousand series would do it two million
//! times. So each series gets a rank once; ranks of series that came later are found by comparing, until a thread of the
//! store ranks them all anew.
//!
//! Invariant: of two series with ranks the one with the lower rank has the lower labels; the first series have one, those
//! behind them none.

use homeostat_model::Labels;

use super::Head;

/// Series without a rank, beside one in so many of those with one, that are not worth ranking anew.
const UNRANKED_SHARE: usize = 8;
/// Series without a rank that are not worth it however few have one.
const UNRANKED_MIN: usize = 1_000;

/// Ranks of the first series.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    by_id: Vec<u32>,
    /// Counts how often series got other numbers.
    renumbered: u64,
}

/// What is needed to rank all series, taken out of the head at one instant.
#[derive(Debug)]
pub(crate) struct Ranking {
    labels: Vec<Labels>,
    before: Vec<u32>,
    renumbered: u64,
}

impl Head {
    /// Sorts numbers of series by label as far as ranks reach; gives how many are sorted. The others stand behind them.
    pub(crate) fn sort_ranked(&self, ids: &mut [u32]) -> usize {
        let ranked = ids.partition_point(|id| (*id as usize) < self.ranks.by_id.len());
        if let Some(ids) = ids.get_mut(..ranked) {
            ids.sort_unstable_by_key(|id| self.ranks.by_id.get(*id as usize).copied());
        }
        ranked
    }

    /// Returns true when so many series have no rank that they are worth one.
    pub(crate) fn wants_ranks(&self) -> bool {
        let ranked = self.ranks.by_id.len();
        UNRANKED_MIN + ranked / UNRANKED_SHARE < self.series.len() - ranked
    }

    /// What there is to rank.
    pub(crate) fn to_rank(&self) -> Ranking {
        let labels = self.series.iter().map(|series| series.labels.clone()).collect();
        Ranking { labels, before: self.ranks.by_id.clone(), renumbered: self.ranks.renumbered }
    }

    /// Takes ranks over, unless series have got other numbers in the meantime.
    pub(crate) fn set_ranks(&mut self, ranks: Vec<u32>, ranking: &Ranking) {
        if ranking.renumbered == self.ranks.renumbered {
            self.ranks.by_id = ranks;
        }
    }
}

impl Ranks {
    /// Numbers are given anew, in the same order; those that have none are gone.
    pub(super) fn renumber(&mut self, renumber: &dyn Fn(u32) -> Option<u32>) {
        let mut ids = 0..;
        self.by_id.retain(|_| ids.next().and_then(renumber).is_some());
        self.renumbered += 1;
    }
}

impl Ranking {
    /// The rank of every series. Takes as long as comparing them.
    pub(crate) fn ranks(&self) -> Vec<u32> {
        let ranked = self.before.len() as u32;
        let mut order: Vec<u32> = (0..ranked).collect();
        order.sort_unstable_by_key(|id| self.before.get(*id as usize).copied());
        order.extend(ranked..self.labels.len() as u32);
        // What is sorted already is found to be, so that only the others cost.
        let labels = |id: &u32| self.labels.get(*id as usize);
        order.sort_by(|a, b| labels(a).cmp(&labels(b)));
        let mut ranks = vec![0; order.len()];
        for (rank, id) in (0_u32..).zip(order) {
            if let Some(slot) = ranks.get_mut(id as usize) {
                *slot = rank;
            }
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::head::{LabelHasher, Limits};

    proptest! {
        #[test]
        fn ranks_are_the_order_of_labels(
            names in proptest::collection::vec(0_u32..5000, 1..100),
            later in proptest::collection::vec(0_u32..5000, 0..50),
            gone in 0_u32..100,
        ) {
            let (mut head, hasher) = (Head::default(), LabelHasher::default());
            let add = |head: &mut Head, name: u32| {
                let labels = Labels::new([("n", &*name.to_string())]);
                let limits = Limits { series_max: usize::MAX, window_ms: 0 };
                prop_assert!(head.find_or_create(hasher.hash(labels.as_packed()), labels.as_packed(), limits).is_ok());
                Ok(())
            };
            for name in &names {
                add(&mut head, *name)?;
            }
            for _ in 0..2 {
                let ranking = head.to_rank();
                head.set_ranks(ranking.ranks(), &ranking);
                let mut ids: Vec<u32> = (0..head.len() as u32).collect();
                prop_assert_eq!(head.sort_ranked(&mut ids), ids.len());
                prop_assert!(ids.iter().is_sorted_by_key(|id| head.get(*id).map(|series| series.labels.clone())));
                for name in &later {
                    add(&mut head, *name)?;
                }
            }
            let ranking = head.to_rank();
            head.ranks.renumber(&|id| if id == gone { None } else { Some(if id < gone { id } else { id - 1 }) });
            let before = head.ranks.by_id.clone();
            head.set_ranks(ranking.ranks(), &ranking);
            prop_assert_eq!(&head.ranks.by_id, &before, "ranks of other numbers are of no use");
        }
    }
}
