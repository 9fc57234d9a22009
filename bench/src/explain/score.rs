//! Figures of a split.
//!
//! Precision and recall are of the first name, per pattern, and their plain mean over patterns (macro). A name given to a
//! normal, benign or unknown episode counts against the precision of that pattern. Faults that did not take effect count
//! nowhere but in `no_effect_named`.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

/// What an episode is for scoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Fault,
    Normal,
    Benign,
    Unknown,
    NoEffect,
}

/// An episode and what was said about it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) program: String,
    pub(super) class: Class,
    pub(super) truth: Vec<String>,
    pub(super) detail: String,
    pub(super) seconds: f64,
    pub(super) said: Vec<(String, f64)>,
}

impl Item {
    fn first(&self) -> Option<&str> {
        self.said.first().map(|(name, _)| name.as_str())
    }

    fn is_right(&self) -> bool {
        self.class == Class::Fault && self.first().is_some_and(|first| self.truth.iter().any(|truth| truth == first))
    }

    /// Whether any of the three is right.
    fn is_among(&self) -> bool {
        self.class == Class::Fault && self.said.iter().any(|(name, _)| self.truth.contains(name))
    }
}

/// One pattern.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OfPattern {
    pub(super) episodes: usize,
    pub(super) precision: f64,
    pub(super) recall: f64,
    pub(super) top3: f64,
}

/// A split's figures. Shares are 0 to 1.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) programs: usize,
    pub(super) faults: usize,
    pub(super) patterns: usize,
    /// Mean over patterns.
    pub(super) precision: f64,
    /// Mean over patterns.
    pub(super) recall: f64,
    /// Faults whose first name is right.
    pub(super) top1: f64,
    /// Faults of which one of at most three names is right.
    pub(super) top3: f64,
    /// Faults that got any name.
    pub(super) coverage: f64,
    /// Of the faults that got a name, those whose first name is right.
    pub(super) precision_named: f64,
    /// The same over everything that got a name, normal, benign and unknown episodes included.
    pub(super) precision_all_named: f64,
    /// Largest share of faults that can be named, the surest first, while nine in ten of all names given are right.
    pub(super) coverage_at_090: f64,
    pub(super) unknown: usize,
    /// Unknown faults that got no name.
    pub(super) abstained_unknown: Option<f64>,
    pub(super) benign: usize,
    pub(super) benign_named: usize,
    pub(super) normal: usize,
    pub(super) normal_named: usize,
    pub(super) normal_hours: f64,
    /// Names given to normal operation, for 24 hours of a program whose every window is asked about.
    pub(super) false_causes_per_program_day: Option<f64>,
    pub(super) no_effect: usize,
    pub(super) no_effect_named: usize,
    pub(super) by_pattern: BTreeMap<String, OfPattern>,
    /// First names by true pattern.
    pub(super) confusion: BTreeMap<String, BTreeMap<String, usize>>,
    /// 95 % intervals from drawing programs anew.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) interval: BTreeMap<&'static str, [f64; 2]>,
}

/// Computes the figures of a split.
pub(super) fn figures(items: &[Item]) -> Figures {
    figures_of(&items.iter().collect::<Vec<_>>())
}

fn figures_of(items: &[&Item]) -> Figures {
    let of = |class: Class| items.iter().filter(move |item| item.class == class).copied();
    let faults: Vec<&Item> = of(Class::Fault).collect();
    let named = |class: Class| of(class).filter(|item| !item.said.is_empty()).count();
    let by_pattern = by_pattern(items, &faults);
    let mean = |value: &dyn Fn(&OfPattern) -> f64| share(by_pattern.values().map(value).sum(), by_pattern.len());
    let right = faults.iter().filter(|item| item.is_right()).count();
    let covered = named(Class::Fault);
    let everything = covered + named(Class::Normal) + named(Class::Benign) + named(Class::Unknown);
    let normal_hours = of(Class::Normal).map(|item| item.seconds).sum::<f64>() / 3600.0;
    Figures {
        programs: items.iter().map(|item| &item.program).collect::<BTreeSet<_>>().len(),
        faults: faults.len(),
        patterns: by_pattern.len(),
        precision: mean(&|pattern| pattern.precision),
        recall: mean(&|pattern| pattern.recall),
        top1: share(right as f64, faults.len()),
        top3: share(faults.iter().filter(|item| item.is_among()).count() as f64, faults.len()),
        coverage: share(covered as f64, faults.len()),
        precision_named: share(right as f64, covered),
        precision_all_named: share(right as f64, everything),
        coverage_at_090: coverage_at(items, faults.len(), 0.9),
        unknown: of(Class::Unknown).count(),
        abstained_unknown: (0 < of(Class::Unknown).count())
            .then(|| 1.0 - share(named(Class::Unknown) as f64, of(Class::Unknown).count())),
        benign: of(Class::Benign).count(),
        benign_named: named(Class::Benign),
        normal: of(Class::Normal).count(),
        normal_named: named(Class::Normal),
        normal_hours,
        false_causes_per_program_day: (0.0 < normal_hours).then(|| 24.0 * named(Class::Normal) as f64 / normal_hours),
        no_effect: of(Class::NoEffect).count(),
        no_effect_named: named(Class::NoEffect),
        confusion: confusion(items),
        by_pattern,
        interval: BTreeMap::new(),
    }
}

fn share(part: f64, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part / whole as f64 }
}

fn by_pattern(items: &[&Item], faults: &[&Item]) -> BTreeMap<String, OfPattern> {
    let patterns: BTreeSet<&str> = faults.iter().filter_map(|item| Some(item.truth.first()?.as_str())).collect();
    let scored = |class: Class| class != Class::NoEffect;
    let of = |pattern: &str| {
        let own: Vec<_> =
            faults.iter().filter(|item| item.truth.first().is_some_and(|truth| truth == pattern)).collect();
        let called: Vec<_> = items.iter().filter(|item| scored(item.class) && item.first() == Some(pattern)).collect();
        OfPattern {
            episodes: own.len(),
            precision: share(called.iter().filter(|item| item.is_right()).count() as f64, called.len()),
            recall: share(own.iter().filter(|item| item.is_right()).count() as f64, own.len()),
            top3: share(own.iter().filter(|item| item.is_among()).count() as f64, own.len()),
        }
    };
    patterns.into_iter().map(|pattern| (pattern.to_owned(), of(pattern))).collect()
}

fn confusion(items: &[&Item]) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut table = BTreeMap::<String, BTreeMap<String, usize>>::new();
    for item in items {
        let truth = match item.class {
            Class::Fault => item.truth.join("+"),
            Class::Normal => "(normal)".to_owned(),
            Class::Benign => format!("(benign {})", item.detail),
            Class::Unknown => format!("({})", item.detail),
            Class::NoEffect => "(no effect)".to_owned(),
        };
        *table.entry(truth).or_default().entry(item.first().unwrap_or("-").to_owned()).or_default() += 1;
    }
    table
}

fn coverage_at(items: &[&Item], faults: usize, precision: f64) -> f64 {
    let mut named: Vec<(f64, &Item)> = items
        .iter()
        .filter(|item| item.class != Class::NoEffect)
        .filter_map(|item| Some((item.said.first()?.1, *item)))
        .collect();
    named.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut covered, mut best) = (0.0, 0.0, 0.0_f64);
    for (place, (_, item)) in named.iter().enumerate() {
        right += f64::from(u8::from(item.is_right()));
        covered += f64::from(u8::from(item.class == Class::Fault));
        if precision <= right / (place + 1) as f64 {
            best = best.max(share(covered, faults));
        }
    }
    best
}

/// Adds intervals: programs are drawn with replacement, for episodes of one program are alike.
pub(super) fn with_intervals(items: &[Item], draws: usize) -> Figures {
    let mut figures = figures(items);
    let programs: Vec<&str> =
        items.iter().map(|item| item.program.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    if programs.len() < 2 {
        return figures;
    }
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(4);
    let mut drawn = BTreeMap::<&'static str, Vec<f64>>::new();
    for _ in 0..draws {
        let mut sample = Vec::new();
        for _ in 0..programs.len() {
            let program = programs.get(chance.random_range(0..programs.len())).copied().unwrap_or_default();
            sample.extend(items.iter().filter(|item| item.program == program));
        }
        let found = figures_of(&sample);
        for (name, value) in [
            ("precision", found.precision),
            ("recall", found.recall),
            ("top1", found.top1),
            ("top3", found.top3),
            ("coverage", found.coverage),
            ("precision_named", found.precision_named),
            ("coverage_at_090", found.coverage_at_090),
        ] {
            drawn.entry(name).or_default().push(value);
        }
    }
    for (name, mut values) in drawn {
        values.sort_by(f64::total_cmp);
        let at = |quantile: f64| values.get(((values.len() - 1) as f64 * quantile) as usize).copied().unwrap_or(0.0);
        figures.interval.insert(name, [at(0.025), at(0.975)]);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(program: &str, class: Class, truth: &str, said: &[(&str, f64)]) -> Item {
        Item {
            id: String::new(),
            program: program.to_owned(),
            class,
            truth: if truth.is_empty() { Vec::new() } else { vec![truth.to_owned()] },
            detail: String::new(),
            seconds: 3600.0,
            said: said.iter().map(|(name, score)| ((*name).to_owned(), *score)).collect(),
        }
    }

    #[test]
    fn figures_count_what_they_say() {
        let items = [
            item("p", Class::Fault, "a", &[("a", 0.9)]),
            item("p", Class::Fault, "a", &[("b", 0.8), ("a", 0.5)]),
            item("q", Class::Fault, "b", &[("b", 0.7)]),
            item("q", Class::Fault, "b", &[]),
            item("q", Class::Normal, "", &[("a", 0.6)]),
            item("q", Class::Normal, "", &[]),
            item("q", Class::Unknown, "", &[]),
            item("q", Class::NoEffect, "a", &[("a", 0.99)]),
        ];
        let found = figures(&items);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        // a: called by items 1 and 5, right once; b: called by items 2 and 3, right once.
        near(found.precision, 0.5);
        near(found.recall, 0.5);
        near(found.top1, 0.5);
        near(found.top3, 0.75);
        near(found.coverage, 0.75);
        near(found.precision_named, 2.0 / 3.0);
        near(found.precision_all_named, 0.5);
        near(found.coverage_at_090, 0.25);
        assert_eq!((found.abstained_unknown, found.normal_named, found.no_effect_named), (Some(1.0), 1, 1));
        near(found.false_causes_per_program_day.unwrap(), 12.0);
        let interval = with_intervals(&items, 50).interval["recall"];
        assert!(interval[0] <= 0.5 && 0.5 <= interval[1]);
    }
}
