//! The classical pipeline under the same splits.
//!
//! It groups profiles, not changes; normal and benign episodes take part with the label `none`, and a majority of those
//! names nothing. It is transductive: unseen programs lie on the same map, without labels.

use homeostat_explain_profile::{NO_FAULT, Words, groups, majority};
use serde_json::{Value, json};

use super::{corpus::Episode, score::Item, splits::said_of};

const SEED: u64 = 1;

/// Every label may vote on itself: the kind of figure that is often published.
pub(super) fn in_sample(episodes: &[&Episode]) -> Vec<Item> {
    let labels: Vec<Option<&str>> = episodes.iter().map(|episode| episode.label()).collect();
    items(episodes, &majority(&grouped(episodes), &labels))
}

/// One map; for each program its own labels are hidden.
pub(super) fn leave_one_program_out(episodes: &[&Episode]) -> Vec<Item> {
    let groups = grouped(episodes);
    let mut all = Vec::new();
    for (at, episode) in episodes.iter().enumerate() {
        let labels: Vec<Option<&str>> =
            episodes.iter().map(|other| if other.program == episode.program { None } else { other.label() }).collect();
        let said = majority(&groups, &labels).get(at).copied().flatten();
        all.extend(items(std::slice::from_ref(episode), &[said]));
    }
    all
}

/// Programs of which no label is known.
pub(super) fn unseen(asked: &[&Episode], known: &[&Episode]) -> Vec<Item> {
    let together: Vec<&Episode> = known.iter().chain(asked).copied().collect();
    let labels: Vec<Option<&str>> =
        known.iter().map(|episode| episode.label()).chain(asked.iter().map(|_| None)).collect();
    let said = majority(&grouped(&together), &labels);
    items(asked, said.get(known.len()..).unwrap_or_default())
}

fn grouped(episodes: &[&Episode]) -> Vec<Option<usize>> {
    let words: Vec<&Words> = episodes.iter().map(|episode| &episode.words).collect();
    groups(&words, SEED)
}

fn items(episodes: &[&Episode], said: &[Option<&str>]) -> Vec<Item> {
    let one = |(episode, said): (&&Episode, Option<&str>)| {
        let said = said.filter(|said| *said != NO_FAULT).map(|said| (said.to_owned(), 1.0));
        said_of(episode, said.into_iter().collect())
    };
    episodes.iter().zip(said.iter().copied()).map(one).collect()
}

/// How groups agree with patterns and with programs: adjusted Rand index, and what a majority would get right.
pub(super) fn agreement(groups: &[Option<usize>], patterns: &[&str], programs: &[&str]) -> Value {
    let labels: Vec<Option<&str>> = patterns.iter().map(|pattern| Some(*pattern)).collect();
    let said = majority(groups, &labels);
    let grouped = said.iter().flatten().count();
    let right = said.iter().zip(patterns).filter(|(said, pattern)| **said == Some(**pattern)).count();
    let count = groups.iter().flatten().max().map_or(0, |last| last + 1);
    json!({
        "episodes": groups.len(), "groups": count, "in_no_group": groups.len() - grouped,
        "majority_right_of_grouped": if grouped == 0 { 0.0 } else { right as f64 / grouped as f64 },
        "rand_index_with_patterns": rand_index(groups, patterns), "rand_index_with_programs": rand_index(groups, programs),
    })
}

/// Adjusted Rand index over those that are in a group. Source: Hubert and Arabie 1985.
fn rand_index(groups: &[Option<usize>], labels: &[&str]) -> f64 {
    let pairs: Vec<(usize, &str)> =
        groups.iter().zip(labels).filter_map(|(group, label)| Some(((*group)?, *label))).collect();
    let choose = |counts: Vec<f64>| counts.iter().map(|count| count * (count - 1.0) / 2.0).sum::<f64>();
    let both = choose(counts(pairs.iter().copied()));
    let (a, b) =
        (choose(counts(pairs.iter().map(|(group, _)| *group))), choose(counts(pairs.iter().map(|(_, label)| *label))));
    let all = choose(vec![pairs.len() as f64]);
    let (expected, most) = (if all == 0.0 { 0.0 } else { a * b / all }, f64::midpoint(a, b));
    if (most - expected).abs() < f64::EPSILON { 0.0 } else { (both - expected) / (most - expected) }
}

fn counts<T: Ord>(values: impl Iterator<Item = T>) -> Vec<f64> {
    let mut counts = std::collections::BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_insert(0.0) += 1.0);
    counts.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rand_index_is_one_for_the_same_and_about_zero_for_unrelated() {
        let groups = [Some(0), Some(0), Some(1), Some(1), None];
        assert!((rand_index(&groups, &["a", "a", "b", "b", "c"]) - 1.0).abs() < 1e-12);
        assert!(rand_index(&groups, &["a", "b", "a", "b", "c"]) < 0.01);
    }
}
