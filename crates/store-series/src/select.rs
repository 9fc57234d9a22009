//! Matchers to series: which of the head's series meet all of them.
//!
//! Lists of the index are intersected first for what needs no look at values (equality, lists of words), smallest first.
//! What remains is decided per series when few are left, and per value of its name when many are.
//!
//! Not here: samples (`head::view`).
//! Invariant: the result is sorted by number; an absent label has the empty value.

use std::borrow::Cow;

use homeostat_promql::{Matcher, MatcherOp};

use crate::{
    head::{Head, Index},
    pattern::{Pattern, analyse},
};

/// Looking at a label of one series costs about as much as comparing this many entries of lists.
const LOOK_COST: usize = 16;

/// The series that meet all matchers, ascending.
pub(crate) fn select(head: &Head, matchers: &[Matcher]) -> Vec<u32> {
    let tests: Vec<Test<'_>> = matchers.iter().map(Test::new).collect();
    let (listed, looked): (Vec<_>, Vec<_>) = tests.iter().partition(|test| test.words.is_some());
    let mut lists: Vec<Cow<'_, [u32]>> = listed.iter().filter_map(|test| test.list(head.index())).collect();
    lists.sort_by_key(|list| list.len());
    let mut lists = lists.into_iter();
    let mut chosen: Option<Vec<u32>> = lists.next().map(Cow::into_owned);
    for list in lists {
        chosen = chosen.map(|chosen| intersect(&chosen, &list));
    }
    // The names that fewest series can have come first.
    let mut looked = looked;
    looked.sort_by_key(|test| test.absent_meets);
    for test in looked {
        chosen = Some(test.narrow(head, chosen));
    }
    chosen.unwrap_or_else(|| all(head))
}

fn all(head: &Head) -> Vec<u32> {
    (0..head.len() as u32).collect()
}

/// A matcher with what is known about it.
struct Test<'a> {
    matcher: &'a Matcher,
    /// Series without the label meet it.
    absent_meets: bool,
    /// The only values that meet it; never for one that an absent label meets.
    words: Option<Vec<Cow<'a, str>>>,
    pattern: Pattern,
}

impl<'a> Test<'a> {
    fn new(matcher: &'a Matcher) -> Self {
        let absent_meets = matcher.matches("");
        let pattern = match matcher.op {
            MatcherOp::Regex | MatcherOp::NotRegex => analyse(&matcher.value),
            MatcherOp::Equal | MatcherOp::NotEqual => Pattern::Words(vec![(*matcher.value).to_owned()]),
        };
        let words = match (&pattern, matcher.op) {
            (Pattern::Words(words), MatcherOp::Equal | MatcherOp::Regex) if !absent_meets => {
                Some(words.iter().map(|word| Cow::Owned(word.clone())).collect())
            }
            _ => None,
        };
        Self { matcher, absent_meets, words, pattern }
    }

    /// As [`Matcher::matches`], without the expression where it can be spared.
    fn meets(&self, value: &str) -> bool {
        let wanted = matches!(self.matcher.op, MatcherOp::Equal | MatcherOp::Regex);
        match &self.pattern {
            Pattern::Words(words) => words.iter().any(|word| word == value) == wanted,
            Pattern::Beginning(beginning) => value.starts_with(beginning.as_str()) == wanted,
            Pattern::BeginningAnd(beginning) if !value.starts_with(beginning.as_str()) => !wanted,
            Pattern::BeginningAnd(_) | Pattern::Other => self.matcher.matches(value),
        }
    }

    fn list<'h>(&self, index: &'h Index) -> Option<Cow<'h, [u32]>> {
        let words = self.words.as_ref()?;
        let mut lists = words.iter().map(|word| index.series(&self.matcher.name, word)).filter(|list| !list.is_empty());
        let Some(first) = lists.next() else { return Some(Cow::Borrowed(&[])) };
        let mut all: Vec<u32> = Vec::new();
        for list in lists {
            if all.is_empty() {
                all.extend_from_slice(first);
            }
            all.extend_from_slice(list);
        }
        if all.is_empty() {
            return Some(Cow::Borrowed(first));
        }
        all.sort_unstable();
        all.dedup();
        Some(Cow::Owned(all))
    }

    /// Leaves of the chosen series (of all when nothing is chosen yet) those that meet the matcher.
    fn narrow(&self, head: &Head, chosen: Option<Vec<u32>>) -> Vec<u32> {
        let Some(name) = head.index().name(&self.matcher.name) else {
            return if self.absent_meets { chosen.unwrap_or_else(|| all(head)) } else { Vec::new() };
        };
        let looks = chosen.as_ref().map_or(usize::MAX, Vec::len);
        if looks.saturating_mul(LOOK_COST) <= name.values().len().saturating_mul(LOOK_COST) + head.len() {
            let mut chosen = chosen.unwrap_or_default();
            chosen.retain(|id| head.get(*id).is_some_and(|s| self.meets(s.labels.value(&self.matcher.name))));
            return chosen;
        }
        // With an absent label that meets, those with other values are taken away; else those with such values are kept.
        let values = name.values().iter().filter(|value| self.meets(&value.text) != self.absent_meets);
        let mut marked = Marks::new(head.len());
        values.for_each(|value| marked.add(&value.series));
        let keep = !self.absent_meets;
        match chosen {
            Some(mut chosen) => {
                chosen.retain(|id| marked.has(*id) == keep);
                chosen
            }
            None => (0..head.len() as u32).filter(|id| marked.has(*id) == keep).collect(),
        }
    }
}

/// A set of series as bits.
struct Marks(Vec<u64>);

impl Marks {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn add(&mut self, ids: &[u32]) {
        for id in ids {
            if let Some(word) = self.0.get_mut(*id as usize / 64) {
                *word |= 1 << (id % 64);
            }
        }
    }

    fn has(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}

/// Numbers that are in both lists.
fn intersect(small: &[u32], large: &[u32]) -> Vec<u32> {
    let mut rest = large;
    let mut both = Vec::with_capacity(small.len().min(large.len()));
    for id in small {
        // Galloping: doubles the step until it is past, then halves.
        let mut step = 1;
        while rest.get(step).is_some_and(|at| at < id) {
            step *= 2;
        }
        let from = step / 2;
        let within = rest.get(from..(step + 1).min(rest.len())).unwrap_or_default();
        rest = rest.get(from + within.partition_point(|at| at < id)..).unwrap_or_default();
        if rest.first() == Some(id) {
            both.push(*id);
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn intersections_are_those_of_sets(
            a in proptest::collection::btree_set(0_u32..200, 0..40),
            b in proptest::collection::btree_set(0_u32..200, 0..150),
        ) {
            let (av, bv): (Vec<u32>, Vec<u32>) = (a.iter().copied().collect(), b.iter().copied().collect());
            let expected: Vec<u32> = a.intersection(&b).copied().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(intersect(&av, &bv), expected);
        }
    }
}
