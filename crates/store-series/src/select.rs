//! Matchers to series: which series of the head or of a block meet all of them.
//!
//! Lists of the index are intersected first for what needs no look at values (equality, lists of words), smallest first.
//! What remains is decided per series when few are left and a look is cheap, else per value of its name.
//!
//! Not here: samples (`head::view`, `block::chunks`).
//! Invariant: the result is sorted by number; an absent label has the empty value.

use std::borrow::Cow;

use homeostat_promql::{Matcher, MatcherOp, SourceError};

use crate::pattern::{Pattern, analyse};

/// Looking at a label of one series costs about as much as comparing this many entries of lists.
const LOOK_COST: usize = 16;

/// Series by label.
pub(crate) trait Lookup {
    /// The number of series; they are numbered from 0.
    fn series_len(&self) -> usize;
    /// Series with a label, ascending.
    fn list(&self, name: &str, value: &str) -> Result<Cow<'_, [u32]>, SourceError>;
    /// The number of values of a name; `None` when no series has it.
    fn values_len(&self, name: &str) -> Option<usize>;
    /// Marks the series of all wanted values of a name. Values that do not begin like `beginning` may be left out.
    fn mark(
        &self,
        name: &str,
        beginning: &str,
        wanted: &mut dyn FnMut(&str) -> bool,
        marks: &mut Marks,
    ) -> Result<(), SourceError>;
    /// Tests the value of a label of one series; `None` where that is not cheap.
    fn look(&self, series: u32, name: &str, test: &mut dyn FnMut(&str) -> bool) -> Option<bool>;
}

/// The series that meet all matchers, ascending.
pub(crate) fn select(index: &impl Lookup, matchers: &[Matcher]) -> Result<Vec<u32>, SourceError> {
    let tests: Vec<Test<'_>> = matchers.iter().map(Test::new).collect();
    let (listed, mut looked): (Vec<_>, Vec<_>) = tests.iter().partition(|test| test.words.is_some());
    let mut lists = Vec::with_capacity(listed.len());
    for test in listed {
        lists.push(test.list(index)?);
    }
    lists.sort_by_key(|list| list.len());
    let mut lists = lists.into_iter();
    let mut chosen: Option<Vec<u32>> = lists.next().map(Cow::into_owned);
    for list in lists {
        chosen = chosen.map(|chosen| intersect(&chosen, &list));
    }
    // The names that fewest series can have come first.
    looked.sort_by_key(|test| test.absent_meets);
    for test in looked {
        if chosen.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
        chosen = Some(test.narrow(index, chosen)?);
    }
    Ok(chosen.unwrap_or_else(|| all(index)))
}

fn all(index: &impl Lookup) -> Vec<u32> {
    (0..index.series_len() as u32).collect()
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
        let wanted = self.is_positive();
        match &self.pattern {
            Pattern::Words(words) => words.iter().any(|word| word == value) == wanted,
            Pattern::Beginning(beginning) => value.starts_with(beginning.as_str()) == wanted,
            Pattern::BeginningAnd(beginning) if !value.starts_with(beginning.as_str()) => !wanted,
            Pattern::BeginningAnd(_) | Pattern::Other => self.matcher.matches(value),
        }
    }

    fn list<'h>(&self, index: &'h impl Lookup) -> Result<Cow<'h, [u32]>, SourceError> {
        let mut words = self.words.iter().flatten();
        let Some(first) = words.next() else { return Ok(Cow::Borrowed(&[])) };
        let mut all = index.list(&self.matcher.name, first)?;
        let mut several = false;
        for word in words {
            let list = index.list(&self.matcher.name, word)?;
            if !list.is_empty() {
                several |= !all.is_empty();
                all.to_mut().extend_from_slice(&list);
            }
        }
        if several {
            let all = all.to_mut();
            all.sort_unstable();
            all.dedup();
        }
        Ok(all)
    }

    /// Leaves of the chosen series (of all when nothing is chosen yet) those that meet the matcher.
    fn narrow(&self, index: &impl Lookup, chosen: Option<Vec<u32>>) -> Result<Vec<u32>, SourceError> {
        let name = &*self.matcher.name;
        let Some(values) = index.values_len(name) else {
            return Ok(if self.absent_meets { chosen.unwrap_or_else(|| all(index)) } else { Vec::new() });
        };
        let mut chosen = chosen;
        let looks = chosen.as_ref().map_or(usize::MAX, Vec::len).saturating_mul(LOOK_COST);
        if looks <= values.saturating_mul(LOOK_COST) + index.series_len()
            && let Some(few) = &mut chosen
            && few.first().is_some_and(|series| index.look(*series, name, &mut |_| true).is_some())
        {
            few.retain(|series| index.look(*series, name, &mut |value| self.meets(value)) == Some(true));
            return Ok(chosen.unwrap_or_default());
        }
        // With an absent label that meets, those with other values are taken away; else those with such values are kept.
        let keep = !self.absent_meets;
        let beginning = match &self.pattern {
            Pattern::Beginning(beginning) | Pattern::BeginningAnd(beginning) if self.is_positive() == keep => beginning,
            _ => "",
        };
        let mut marked = Marks::new(index.series_len());
        index.mark(name, beginning, &mut |value| self.meets(value) == keep, &mut marked)?;
        let stays = |series: &u32| marked.has(*series) == keep;
        Ok(match chosen {
            Some(mut chosen) => {
                chosen.retain(stays);
                chosen
            }
            None => (0..index.series_len() as u32).filter(stays).collect(),
        })
    }

    fn is_positive(&self) -> bool {
        matches!(self.matcher.op, MatcherOp::Equal | MatcherOp::Regex)
    }
}

/// A set of series as bits.
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    pub(crate) fn add(&mut self, ids: &[u32]) {
        for id in ids {
            if let Some(word) = self.0.get_mut(*id as usize / 64) {
                *word |= 1 << (id % 64);
            }
        }
    }

    /// Adds the numbers from `start` on.
    pub(crate) fn add_run(&mut self, start: u32, len: u32) {
        let (mut at, end) = (u64::from(start), u64::from(start) + u64::from(len));
        while at < end {
            let (word, bit) = ((at / 64) as usize, at % 64);
            let count = (64 - bit).min(end - at);
            if let Some(word) = self.0.get_mut(word) {
                *word |= u64::MAX >> (64 - count) << bit;
            }
            at += count;
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
        fn runs_of_marks_are_marks(runs in proptest::collection::vec((0_u32..300, 1_u32..200), 0..4)) {
            let mut marks = Marks::new(500);
            for (start, len) in &runs {
                marks.add_run(*start, *len);
            }
            for id in 0..500 {
                prop_assert_eq!(marks.has(id), runs.iter().any(|(start, len)| (*start..start + len).contains(&id)));
            }
        }

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
