//! The nearest known cases, what they vote for, and when they say nothing.
//!
//! ```text
//! likeness  cosine of vectors whose entries are weighed by how few patterns have them
//! again     the best 20 by likeness are ordered anew, by likeness and by how alike their stacks are
//! vote      each of the best votes for its pattern with its squared likeness
//! ```
//!
//! A vote is worth something when the best are alike enough *and* agree. Below the thresholds, which were set by hand
//! (`thresholds`), nothing is named.
//!
//! Not here: detectors, which speak first (`detect`); how both are joined (`explain`).
//! Invariant: blocks that one of two vectors does not have at all do not count against their likeness.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    case::{Case, Library},
    paths::{Path, alike},
    thresholds::{AGREEMENT_MIN, LIKENESS_MIN},
    vector::Vector,
};

/// Cases that are ordered anew by their stacks.
const AGAIN: usize = 20;
/// How much of the new order is due to stacks.
const STACKS_SHARE: f64 = 0.25;
/// Cases that vote.
const VOTES: usize = 12;
/// Votes of one program for one pattern: a program with many runs of one fault should not outvote others.
const VOTES_PER_PROGRAM: usize = 4;
/// Cases vote that are at least this much as alike as the best one: one that is the very same is not outvoted by a dozen that
/// are faintly alike.
const VOTES_FROM: f64 = 0.5;
/// Blocks that may be missing as a whole, for they need more than a profile.
const OPTIONAL_BLOCKS: [&str; 2] = ["g:", "m:"];

/// A known case that is like the change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    /// The case's id.
    pub id: String,
    /// Its pattern.
    pub pattern: String,
    /// Its program.
    pub program: String,
    /// How alike, 0 to 1.
    pub likeness: f64,
}

/// What the library says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Retrieved {
    /// The cases that voted, the most alike first.
    pub neighbours: Vec<Neighbour>,
    /// Patterns with their share of the votes, the largest first; the shares add up to one.
    pub votes: Vec<(String, f64)>,
    /// Likeness of the best case of the first pattern.
    pub likeness: f64,
}

impl Retrieved {
    /// The first pattern with its confidence, unless the cases are too far away or disagree.
    pub fn named(&self) -> Option<(&str, f64)> {
        let (pattern, share) = self.votes.first()?;
        (LIKENESS_MIN.value <= self.likeness && AGREEMENT_MIN.value <= *share)
            .then_some((pattern, self.likeness * share))
    }

    /// How sure the first pattern is, named or not: likeness times agreement, 0 to 1.
    pub fn confidence(&self) -> f64 {
        self.votes.first().map_or(0.0, |(_, share)| self.likeness * share)
    }
}

/// A library made ready for questions.
#[derive(Debug)]
pub struct Index<'a> {
    cases: Vec<&'a Case>,
    rarity: BTreeMap<&'a str, f64>,
    unknown: f64,
}

impl<'a> Index<'a> {
    /// Makes cases ready.
    pub fn new(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let cases: Vec<&Case> = cases.into_iter().collect();
        let (rarity, unknown) = rarity(&cases);
        Self { cases, rarity, unknown }
    }

    /// All cases of a library.
    pub fn of(library: &'a Library) -> Self {
        Self::new(&library.cases)
    }

    /// Looks for cases like a change.
    pub fn ask(&self, vector: &Vector, paths: &[Path]) -> Retrieved {
        let mut found: Vec<(f64, &Case)> = self
            .cases
            .iter()
            .map(|case| (self.likeness(vector, &case.vector), *case))
            .filter(|(l, _)| 0.0 < *l)
            .collect();
        let order = |a: &(f64, &Case), b: &(f64, &Case)| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id));
        found.sort_by(order);
        found.truncate(AGAIN);
        for (likeness, case) in &mut found {
            if let Some(stacks) = self.stacks(paths, &case.paths) {
                *likeness = (1.0 - STACKS_SHARE) * *likeness + STACKS_SHARE * stacks;
            }
        }
        found.sort_by(order);
        vote(&found)
    }

    /// Cosine of two weighed vectors, 0 when they point apart.
    pub fn likeness(&self, a: &Vector, b: &Vector) -> f64 {
        let has = |vector: &Vector, block: &str| vector.keys().any(|key| key.starts_with(block));
        let left_out: Vec<&str> = OPTIONAL_BLOCKS.into_iter().filter(|block| has(a, block) != has(b, block)).collect();
        let counts = |key: &str| !left_out.iter().any(|block| key.starts_with(block));
        let square = |vector: &Vector| -> f64 {
            vector.iter().filter(|(key, _)| counts(key)).map(|(key, value)| (value * self.weight(key)).powi(2)).sum()
        };
        let product: f64 = a
            .iter()
            .filter(|(key, _)| counts(key))
            .filter_map(|(key, value)| Some(value * b.get(key)? * self.weight(key).powi(2)))
            .sum();
        let lengths = (square(a) * square(b)).sqrt();
        if lengths == 0.0 { 0.0 } else { (product / lengths).clamp(0.0, 1.0) }
    }

    fn weight(&self, key: &str) -> f64 {
        self.rarity.get(key).copied().unwrap_or(self.unknown)
    }

    /// How alike the stacks of two changes are: each of the first with the best of the second.
    fn stacks(&self, a: &[Path], b: &[Path]) -> Option<f64> {
        let rarity = |frame: &str| self.weight(&format!("t:{frame}"));
        let best = |path: &Path| b.iter().map(|other| alike(path, other, &rarity)).max_by(f64::total_cmp);
        let all: Vec<f64> = a.iter().filter_map(best).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }
}

/// For each key the logarithm of how few patterns have it: a key of all patterns weighs 0.7, one of a single pattern among
/// twelve 2.6. Patterns count, not cases, for a fault that was met often is not less telling.
fn rarity<'a>(cases: &[&'a Case]) -> (BTreeMap<&'a str, f64>, f64) {
    let mut of_pattern = BTreeMap::<&str, f64>::new();
    for case in cases {
        *of_pattern.entry(&case.pattern).or_default() += 1.0;
    }
    let mut presence = BTreeMap::<&str, f64>::new();
    for case in cases {
        let share = of_pattern.get(case.pattern.as_str()).map_or(0.0, |count| 1.0 / count);
        for key in case.vector.keys() {
            *presence.entry(key).or_default() += share;
        }
    }
    let patterns = of_pattern.len() as f64;
    let weigh = |present: f64| (1.0 + patterns / present.max(0.5)).ln();
    (presence.into_iter().map(|(key, present)| (key, weigh(present))).collect(), weigh(1.0))
}

fn vote(found: &[(f64, &Case)]) -> Retrieved {
    let (mut neighbours, mut given) = (Vec::new(), BTreeMap::<(&str, &str), usize>::new());
    let mut votes = BTreeMap::<&str, f64>::new();
    let least = VOTES_FROM * found.first().map_or(0.0, |(likeness, _)| *likeness);
    for (likeness, case) in found.iter().take_while(|(likeness, _)| least <= *likeness) {
        let given = given.entry((&case.program, &case.pattern)).or_default();
        if VOTES <= neighbours.len() || VOTES_PER_PROGRAM <= *given {
            continue;
        }
        *given += 1;
        *votes.entry(&case.pattern).or_default() += likeness * likeness;
        neighbours.push(Neighbour {
            id: case.id.clone(),
            pattern: case.pattern.clone(),
            program: case.program.clone(),
            likeness: *likeness,
        });
    }
    let sum: f64 = votes.values().sum();
    let mut votes: Vec<(String, f64)> =
        votes.into_iter().map(|(pattern, vote)| (pattern.to_owned(), vote / sum.max(f64::MIN_POSITIVE))).collect();
    votes.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let first = votes.first().map(|(pattern, _)| pattern.clone());
    let likeness = neighbours.iter().filter(|n| Some(&n.pattern) == first.as_ref()).map(|n| n.likeness).next();
    Retrieved { neighbours, votes, likeness: likeness.unwrap_or(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: &str, pattern: &str, program: &str, entries: &[(&str, f64)]) -> Case {
        let vector = entries.iter().map(|(key, value)| ((*key).into(), *value)).collect();
        Case {
            id: id.into(),
            pattern: pattern.into(),
            program: program.into(),
            note: String::new(),
            vector,
            paths: Vec::new(),
        }
    }

    fn library() -> Library {
        Library {
            cases: vec![
                case("r1", "regex", "p", &[("c:regex", 0.6), ("c:allocate", 0.2)]),
                case("r2", "regex", "q", &[("c:regex", 0.5), ("c:compare", 0.2)]),
                case("f1", "fsync", "p", &[("c:sync", 0.4), ("g:sync", 0.8), ("m:p99_ms", 0.5)]),
                case("f2", "fsync", "q", &[("c:sync", 0.3), ("m:p99_ms", 0.6)]),
            ],
        }
    }

    fn ask(entries: &[(&str, f64)]) -> Retrieved {
        let library = library();
        Index::of(&library).ask(&case("", "", "", entries).vector, &[])
    }

    #[test]
    fn the_nearest_vote_and_far_ones_are_not_named() {
        let found = ask(&[("c:regex", 0.4), ("c:allocate", 0.1)]);
        assert_eq!(found.named().map(|(pattern, _)| pattern), Some("regex"), "{found:?}");
        assert_eq!(found.neighbours.len(), 2);
        let found = ask(&[("c:image", 0.9), ("c:allocate", 0.1)]);
        assert_eq!(found.named(), None, "{found:?}");
        assert_eq!(ask(&[]), Retrieved::default());
        assert_eq!(Index::of(&Library::default()).ask(&library().cases[0].vector, &[]), Retrieved::default());
    }

    #[test]
    fn the_very_same_is_not_outvoted_by_many_that_are_faintly_alike() {
        let mut library = library();
        for number in 0..9 {
            let id = format!("q{number}");
            let program = format!("p{number}");
            let faint = [("c:sort", 0.05), ("x:own_code", 0.5), ("c:compare", 0.4)];
            library.cases.push(case(&id, "quadratic", &program, &faint));
        }
        let own = case("mine", "sorts_everything", "p", &[("c:sort", 0.5), ("x:own_code", 0.2)]);
        library.cases.push(own.clone());
        let found = Index::of(&library).ask(&own.vector, &[]);
        assert!(found.neighbours.iter().all(|neighbour| neighbour.id == "mine"), "{found:?}");
        assert_eq!(found.named().map(|(pattern, _)| pattern), Some("sorts_everything"), "{found:?}");
    }

    #[test]
    fn a_block_that_one_side_lacks_does_not_count() {
        let library = library();
        let index = Index::of(&library);
        let without = case("", "", "", &[("c:sync", 0.4)]).vector;
        assert!((index.likeness(&without, &library.cases[2].vector) - 1.0).abs() < 1e-9);
        let other = case("", "", "", &[("c:sync", 0.4), ("g:lock", 0.5)]).vector;
        assert!(index.likeness(&other, &library.cases[2].vector) < 0.7);
    }

    #[test]
    fn opposite_changes_are_not_alike() {
        let found = ask(&[("c:regex", -0.5)]);
        assert_eq!(found.named(), None);
    }
}
