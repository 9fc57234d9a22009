//! A change as a vector that programs have in common.
//!
//! Entries are signed square roots of what was added beyond noise, so that a small but sure change still counts beside a
//! large one:
//!
//! ```text
//! t: s: e: c: C:   shares of transferable frames, pairs of frames and concepts (keys of `counted`)
//! x:NAME           shape of the application's own part: how much of the added time is in one function, in new functions
//! g:REASON         how many more wait for a reason (census), as a logarithm
//! m:METRIC         by which factor a metric grew, as a logarithm
//! ```
//!
//! Names of the application never enter. Blocks that were not measured are absent on both sides of a comparison of
//! vectors, see `retrieve`.
//!
//! Source: TF-IDF retrieval over differences instead of profiles; shares after correction for noise as in `comparison`.

use std::{collections::BTreeMap, sync::Arc};

use crate::{comparison::Comparison, frame::APPLICATION};

/// A change. Keys as in the module, values in -1 to 1 before blocks are weighed.
pub type Vector = BTreeMap<Arc<str>, f64>;

/// Standard deviations below which a difference is noise. Two of them leave one entry in twenty by chance, and a vector has
/// hundreds: what passes by chance is small, for only what lies beyond counts.
const NOISE_DEVIATIONS: f64 = 2.0;

/// Smallest share, on the larger side, of a key that is looked at: below, five thousand samples hold fifteen of it.
const SHARE_MIN: f64 = 0.003;

/// Entries that a vector keeps, the largest first: those beyond are below a hundredth of the whole in the corpus.
const ENTRIES_MAX: usize = 160;

/// How much each block counts, by the beginning of its keys. Pairs and totals repeat what the frames themselves say; concepts hold
/// across languages.
const BLOCKS: &[(&str, f64)] =
    &[("t:", 0.4), ("s:", 0.7), ("e:", 0.4), ("c:", 1.0), ("C:", 0.7), ("x:", 0.8), ("g:", 0.5), ("m:", 0.4)];

/// Growth that counts as one, by a logarithm: eight times as much.
const GROWTH_FULL: f64 = 8.0;
/// Growth that does not count: a quarter more or less is a busy machine.
const GROWTH_NONE: f64 = 1.25;

/// The vector of a change.
pub(crate) fn vector(comparison: &Comparison) -> Vector {
    let mut entries = Vector::new();
    let keys = comparison.base.cpu.keys.keys().chain(comparison.now.cpu.keys.keys());
    for key in keys.filter(|key| transferable(key)) {
        if entries.contains_key(key) {
            continue;
        }
        let share = comparison.share(key);
        if share.base.max(share.now) < SHARE_MIN {
            continue;
        }
        put(&mut entries, key, root(share.beyond(NOISE_DEVIATIONS)));
    }
    for (name, value) in shape(comparison) {
        put(&mut entries, name, value);
    }
    if let Some((base, now)) = comparison.census() {
        let reasons = base.reasons.keys().chain(now.reasons.keys());
        for reason in reasons {
            let (before, after) = (base.waiting(reason) + 0.5, now.waiting(reason) + 0.5);
            put(&mut entries, &format!("g:{reason}"), growth(after / before));
        }
    }
    for (metric, ratio) in comparison.ratios() {
        put(&mut entries, &format!("m:{}", metric.name), growth(ratio));
    }
    largest(entries)
}

/// What was added in the application itself, in numbers that have no name in them.
pub(crate) fn shape(comparison: &Comparison) -> [(&'static str, f64); 3] {
    let (mut top, mut fresh, mut all) = (0.0_f64, 0.0, 0.0);
    for key in comparison.now.cpu.keys.keys().filter(|key| key.starts_with("a:")) {
        let share = comparison.share(key);
        let added = share.beyond(NOISE_DEVIATIONS);
        if added <= 0.0 {
            continue;
        }
        all += added;
        top = top.max(added);
        if share.base < SHARE_MIN / 3.0 {
            fresh += added;
        }
    }
    [("x:one_function", root(top)), ("x:new_functions", root(fresh)), ("x:own_code", root(all))]
}

/// Share of CPU time that was added anywhere, beyond noise.
pub(crate) fn added_all(comparison: &Comparison) -> f64 {
    let own =
        comparison.now.cpu.keys.keys().filter(|key| {
            key.starts_with("a:") || (key.starts_with("s:") && key.strip_prefix("s:") != Some(APPLICATION))
        });
    own.map(|key| comparison.share(key).beyond(NOISE_DEVIATIONS).max(0.0)).sum()
}

/// Whether two programs can have the key.
fn transferable(key: &str) -> bool {
    let of_app = key.strip_prefix("t:") == Some(APPLICATION);
    !of_app && !["a:", "A:", "R:"].iter().any(|own| key.starts_with(own))
}

fn put(entries: &mut Vector, key: &str, value: f64) {
    let weight = BLOCKS.iter().find(|(block, _)| key.starts_with(block)).map_or(0.0, |(_, weight)| *weight);
    // Small vectors travel in files: three digits are more than any difference of shares is sure of.
    let value = (value * weight * 1000.0).round() / 1000.0;
    if value != 0.0 {
        entries.insert(key.into(), value);
    }
}

fn root(share: f64) -> f64 {
    share.signum() * share.abs().sqrt()
}

/// A factor as -1 to 1, with those near one as zero.
pub(crate) fn growth(ratio: f64) -> f64 {
    let (log, none, full) = (ratio.max(1e-9).ln(), GROWTH_NONE.ln(), GROWTH_FULL.ln());
    log.signum() * ((log.abs() - none).max(0.0) / (full - none)).min(1.0)
}

fn largest(entries: Vector) -> Vector {
    let mut sorted: Vec<_> = entries.into_iter().collect();
    sorted.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(&b.0)));
    sorted.truncate(ENTRIES_MAX);
    sorted.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{comparison::View, testing::folded};

    fn of(base: &str, now: &str) -> Vector {
        let view = |lines| View { cpu: folded(lines), ..View::default() };
        vector(&Comparison::of(view(base), view(now)))
    }

    #[test]
    fn programs_with_other_names_have_the_same_vector() {
        let one = of("main.a 6000\nmain.b 4000", "main.a 6000\nmain.b 4000\nmain.a;regexp.(*Regexp).backtrack 10000");
        let two = of("cart.x 6000\ncart.y 4000", "cart.x 6000\ncart.y 4000\ncart.x;regexp.(*Regexp).backtrack 10000");
        assert_eq!(one, two);
        assert!(0.3 < one["c:regex"] && 0.1 < one["s:regexp.(*Regexp).backtrack"], "{one:?}");
        assert!(one.keys().all(|key| !key.contains("main")));
    }

    #[test]
    fn nothing_beyond_noise_is_nothing() {
        let found = of("main.a 500\nmain.b 480\nruntime.mallocgc 20", "main.a 480\nmain.b 500\nruntime.mallocgc 24");
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn growth_is_symmetric_and_bounded() {
        assert!(growth(1.2).abs() < 1e-12 && growth(0.9).abs() < 1e-12);
        assert!((growth(100.0) - 1.0).abs() < 1e-12 && (growth(0.001) + 1.0).abs() < 1e-12);
        assert!((growth(3.0) + growth(1.0 / 3.0)).abs() < 1e-9);
    }
}
