//! The classical pipeline under the same splits.
//!
//! It groups profiles, not changes; normal and benign episodes take part with the label `none`, and a majority of those
//! names nothing. It is transductive: unseen programs lie on the same map, without labels.

use std::fmt::Write as _;

use homeostat_explain_profile::{NO_FAULT, Words, groups, majority, weights};
use serde_json::{Value, json};

use super::{corpus::Episode, score::Item, splits::said_of};

const SEED: u64 = 1;

/// Every label may vote on itself: the kind of figure that is often published.
pub(super) fn in_sample(episodes: &[&Episode], crowd: usize) -> Vec<Item> {
    let labels: Vec<Option<&str>> = episodes.iter().map(|episode| episode.label()).collect();
    items(episodes, &majority(&grouped(episodes, crowd), &labels))
}

/// One map; for each program its own labels are hidden.
pub(super) fn leave_one_program_out(episodes: &[&Episode], crowd: usize) -> Vec<Item> {
    let groups = grouped(episodes, crowd);
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
pub(super) fn unseen(asked: &[&Episode], known: &[&Episode], crowd: usize) -> Vec<Item> {
    let together: Vec<&Episode> = known.iter().chain(asked).copied().collect();
    let labels: Vec<Option<&str>> =
        known.iter().map(|episode| episode.label()).chain(asked.iter().map(|_| None)).collect();
    let said = majority(&grouped(&together, crowd), &labels);
    items(asked, said.get(known.len()..).unwrap_or_default())
}

/// The vectors of each episode with what it is, one JSON object a line: for other implementations of the same pipeline
/// (`bench/classical.py`).
pub(super) fn vectors(episodes: &[&Episode]) -> Result<String, std::fmt::Error> {
    let words: Vec<&Words> = episodes.iter().map(|episode| &episode.words).collect();
    let mut text = String::new();
    for (episode, weights) in episodes.iter().zip(weights(&words)) {
        let fault = episode.is_fault().then_some(&episode.faults);
        let weights: Vec<(String, f64)> =
            weights.into_iter().map(|(word, weight)| (word.to_string(), weight)).collect();
        let line = json!({ "program": episode.program, "id": episode.id, "label": episode.label(), "fault": fault, "weights": weights });
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

fn grouped(episodes: &[&Episode], crowd: usize) -> Vec<Option<usize>> {
    let words: Vec<&Words> = episodes.iter().map(|episode| &episode.words).collect();
    groups(&words, crowd, SEED)
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
