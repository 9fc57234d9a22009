//! The classical pipeline, for comparison: hashes of call-path windows, TF-IDF, t-SNE, DBSCAN, majority label.
//!
//! ```text
//! words    each run of five frames of a stack, hashed; shorter stacks are one word
//! weights  share of samples x logarithm of how few profiles have the word, at length one
//! map      t-SNE at perplexity 30 over the distances
//! groups   DBSCAN at 0.8 with 5 points; a group has the label of most of its labelled members
//! ```
//!
//! It looks at profiles, not at changes, and its words hold the program's own names. Beside our figures it shows what the
//! split of a figure is worth.

use std::collections::{BTreeMap, HashMap};

use homeostat_model::profile::Profile;

use crate::cluster::{Distances, dbscan, tsne};

const WINDOW: usize = 5;
const PERPLEXITY: f64 = 30.0;
const REACH: f64 = 0.8;
/// Points within reach that make a place crowded, as the pipeline has it.
pub const CROWD: usize = 5;

/// A profile's words with their share of samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words(BTreeMap<u64, f64>);

impl Words {
    /// The words of one column.
    pub fn of(profile: &Profile, column: usize) -> Self {
        let (mut words, mut sum) = (BTreeMap::<u64, f64>::new(), 0.0);
        for row in profile.rows() {
            let samples = row.values.get(column).copied().unwrap_or(0).max(0) as f64;
            let names: Vec<u64> =
                profile.stacks().walk(row.stack).map(|frame| hash(profile.text(frame.function).bytes())).collect();
            sum += samples;
            for run in names.windows(WINDOW.min(names.len()).max(1)) {
                *words.entry(hash(run.iter().flat_map(|name| name.to_le_bytes()))).or_default() += samples;
            }
        }
        for weight in words.values_mut() {
            *weight /= f64::max(sum, 1.0);
        }
        Self(words)
    }
}

/// FNV-1a.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Groups of profiles; `None` is noise. A group forms around places where so many lie within reach: [`CROWD`], or fewer where
/// nothing was seen as often.
pub fn groups(profiles: &[&Words], crowd: usize, seed: u64) -> Vec<Option<usize>> {
    let places = tsne::map(&distances(&weights(profiles)), PERPLEXITY, seed);
    let far = |a: usize, b: usize| match (places.get(a), places.get(b)) {
        (Some(a), Some(b)) => (a[0] - b[0]).hypot(a[1] - b[1]),
        _ => f64::MAX,
    };
    dbscan::labels(&Distances::new(places.len(), far), REACH, crowd)
}

/// Labels for those that have none, from the majority of their group; `None` for noise and for groups without labels.
pub fn majority<'a>(groups: &[Option<usize>], labels: &[Option<&'a str>]) -> Vec<Option<&'a str>> {
    let mut counts = BTreeMap::<usize, BTreeMap<&str, usize>>::new();
    for (group, label) in groups.iter().zip(labels) {
        if let (Some(group), Some(label)) = (group, label) {
            *counts.entry(*group).or_default().entry(label).or_default() += 1;
        }
    }
    let first = |group: &usize| {
        let most = counts.get(group)?.iter().max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)))?;
        Some(*most.0)
    };
    groups.iter().map(|group| first(group.as_ref()?)).collect()
}

/// TF-IDF vectors of length one: weights by word, ascending.
pub fn weights(profiles: &[&Words]) -> Vec<BTreeMap<u64, f64>> {
    let mut having = HashMap::<u64, f64>::new();
    profiles.iter().flat_map(|words| words.0.keys()).for_each(|word| *having.entry(*word).or_default() += 1.0);
    let count = profiles.len() as f64;
    let rare = |word: &u64| ((1.0 + count) / (1.0 + having.get(word).copied().unwrap_or(0.0))).ln() + 1.0;
    let vector = |words: &&Words| {
        let mut weighed: BTreeMap<u64, f64> =
            words.0.iter().map(|(word, weight)| (*word, weight * rare(word))).collect();
        let length = weighed.values().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        for value in weighed.values_mut() {
            *value /= length;
        }
        weighed
    };
    profiles.iter().map(vector).collect()
}

/// Euclidean distances between vectors of length one.
fn distances(vectors: &[BTreeMap<u64, f64>]) -> Distances {
    Distances::new(vectors.len(), |a, b| match (vectors.get(a), vectors.get(b)) {
        (Some(a), Some(b)) => (2.0 - 2.0 * product(a, b)).max(0.0).sqrt(),
        _ => f64::MAX,
    })
}

/// Both are sorted: one walk along both.
fn product(a: &BTreeMap<u64, f64>, b: &BTreeMap<u64, f64>) -> f64 {
    let (mut a, mut b, mut sum) = (a.iter().peekable(), b.iter().peekable(), 0.0);
    while let (Some((word, left)), Some((other, right))) = (a.peek(), b.peek()) {
        match word.cmp(other) {
            std::cmp::Ordering::Less => drop(a.next()),
            std::cmp::Ordering::Greater => drop(b.next()),
            std::cmp::Ordering::Equal => {
                sum += *left * *right;
                a.next();
                b.next();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::profile;

    #[test]
    fn words_are_runs_of_five_frames() {
        let words = Words::of(&profile("a;b;c;d;e;f 3\na;b 1"), 0);
        let mut weights: Vec<f64> = words.0.values().copied().collect();
        weights.sort_by(f64::total_cmp);
        assert_eq!(weights, [0.25, 0.75, 0.75]);
        assert_eq!(Words::of(&profile(""), 0), Words::default());
    }

    #[test]
    fn programs_become_groups_and_the_majority_labels_them() {
        let words: Vec<Words> = (0..40)
            .map(|at| {
                let (program, other) = (if at % 2 == 0 { "p" } else { "q" }, at % 7 + 1);
                Words::of(&profile(&format!("{program};x;y;z;w;v 40\n{program};b;c;d;e;f {other}")), 0)
            })
            .collect();
        let groups = groups(&words.iter().collect::<Vec<_>>(), CROWD, 1);
        let (even, odd): (Vec<_>, Vec<_>) = groups.iter().enumerate().partition(|(at, _)| at % 2 == 0);
        for (_, group) in &even {
            assert!(group.is_none() || odd.iter().all(|(_, other)| other != group), "{groups:?}");
        }
        let labels = majority(&[Some(0), Some(0), Some(1), None], &[Some("a"), None, None, Some("b")]);
        assert_eq!(labels, [Some("a"), Some("a"), None, None]);
    }
}
