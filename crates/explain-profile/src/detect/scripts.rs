//! Each detector on small changes that people can read: those that it has to name, those that it must not, and those that
//! look almost like it.
//!
//! `tests/detectors/PATTERN.txt` holds the changes of one detector; all of them begin with the service of `service.txt`:
//!
//! ```text
//! case positive|negative|near miss: what happens
//! [base|now] cpu|census|numbers        what both sides have, or one of them; lines add up, a number replaces the one before
//! without numbers                      what was said before is forgotten
//! ```
//!
//! What was said is in `tests/detectors/said`, written anew with `UPDATE_EXPECT=1`. Whether it may be said is not: that stands
//! in the case itself.

use std::fmt::Write as _;

use expect_test::expect_file;

use super::{DETECTORS, Detector};
use crate::{Evidence, Library, Observed, Outcome, Signs, explain, testing::profile};

/// Windows of a side; each holds the samples of the script.
const WINDOWS: usize = 10;

/// What all changes begin with.
const SERVICE: &str = include_str!("../../tests/detectors/service.txt");

/// The changes of each detector, by its pattern.
const SCRIPTS: [(&str, &str); 13] = [
    ("busy_loop", include_str!("../../tests/detectors/busy_loop.txt")),
    ("connection_churn", include_str!("../../tests/detectors/connection_churn.txt")),
    ("fsync", include_str!("../../tests/detectors/fsync.txt")),
    ("gc_pressure", include_str!("../../tests/detectors/gc_pressure.txt")),
    ("goroutine_leak", include_str!("../../tests/detectors/goroutine_leak.txt")),
    ("lock_contention", include_str!("../../tests/detectors/lock_contention.txt")),
    ("map_growth", include_str!("../../tests/detectors/map_growth.txt")),
    ("n_plus_one", include_str!("../../tests/detectors/n_plus_one.txt")),
    ("quadratic", include_str!("../../tests/detectors/quadratic.txt")),
    ("reflection_serialisation", include_str!("../../tests/detectors/reflection_serialisation.txt")),
    ("regex", include_str!("../../tests/detectors/regex.txt")),
    ("runqueue_neighbour", include_str!("../../tests/detectors/runqueue_neighbour.txt")),
    ("sync_logging", include_str!("../../tests/detectors/sync_logging.txt")),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Positive,
    Negative,
    NearMiss,
}

#[derive(Clone, Debug, Default)]
struct Side {
    cpu: String,
    census: String,
    numbers: Evidence,
}

impl Side {
    fn observed(&self) -> Observed {
        let mut stacks = String::new();
        for line in self.cpu.lines() {
            (0..WINDOWS).for_each(|window| writeln!(stacks, "{line}@{window}").unwrap());
        }
        let census = (!self.census.is_empty()).then(|| profile(&self.census));
        Observed::new([&profile(&stacks)], self.numbers.clone()).with_census(&census, 1.0)
    }

    fn push(&mut self, what: &str, line: &str) {
        match what {
            "cpu" => writeln!(self.cpu, "{line}").unwrap(),
            "census" => writeln!(self.census, "{line}").unwrap(),
            _ => {
                let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("`{line}` is no number with a name"));
                self.numbers.insert(name.to_owned(), value.parse().unwrap_or_else(|_| panic!("`{line}`")));
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    about: String,
    sides: [Side; 2],
}

/// The cases of a script, each with what stands before the first one.
fn cases(script: &str) -> Vec<Case> {
    let (mut common, mut cases) = ([Side::default(), Side::default()], Vec::<Case>::new());
    let mut into = (0..2, "");
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(case) = line.strip_prefix("case ") {
            let (kind, about) = case.split_once(": ").unwrap_or_else(|| panic!("`{line}` is about nothing"));
            let kind = match kind {
                "positive" => Kind::Positive,
                "negative" => Kind::Negative,
                "near miss" => Kind::NearMiss,
                other => panic!("there is no kind {other}"),
            };
            cases.push(Case { kind, about: about.to_owned(), sides: common.clone() });
            continue;
        }
        let sides = cases.last_mut().map_or(&mut common, |case| &mut case.sides);
        match line.split_once(' ').unwrap_or(("", line)) {
            ("", what @ ("cpu" | "census" | "numbers")) => into = (0..2, what),
            ("base", what @ ("cpu" | "census" | "numbers")) => into = (0..1, what),
            ("now", what @ ("cpu" | "census" | "numbers")) => into = (1..2, what),
            ("without", "numbers") => sides.iter_mut().for_each(|side| side.numbers.clear()),
            _ => sides[into.0.clone()].iter_mut().for_each(|side| side.push(into.1, line)),
        }
    }
    cases
}

/// Looks at a case, holds it against its kind, and tells what was said.
fn told(detector: &Detector, case: &Case) -> String {
    let [base, now] = case.sides.each_ref().map(Side::observed);
    let signs = Signs::of_sides(&base, &now);
    let seen = signs.findings.iter().find(|finding| finding.pattern == detector.pattern).unwrap();
    let explanation = explain(&signs, &Library::default());
    let first = explanation.patterns.first().map(|named| named.pattern.as_str());
    let place = format!("{} {:?}: {}\n{seen:#?}\n{:#?}", detector.pattern, case.kind, case.about, explanation.patterns);
    if case.kind == Kind::Positive {
        assert!(1.0 <= seen.strength && explanation.outcome == Outcome::Named, "{place}");
        assert_eq!(first, Some(detector.pattern), "{place}");
    } else {
        assert!(seen.strength < 1.0, "{place}");
        assert!(explanation.patterns.iter().all(|named| named.pattern != detector.pattern), "{place}");
    }
    if case.kind == Kind::NearMiss {
        assert!(!seen.evidence.is_empty(), "nothing of the pattern is there: {place}");
    }
    let mut out = format!("{:?}: {}\n  strength {:.2}\n", case.kind, case.about, seen.strength);
    for line in &seen.evidence {
        writeln!(out, "  {line}").unwrap();
    }
    match explanation.patterns.first() {
        Some(named) => writeln!(out, "  named {} ({:.2}), next: {}", named.pattern, named.score, named.next).unwrap(),
        None => writeln!(out, "  nothing is named: {:?}", explanation.outcome).unwrap(),
    }
    out + "\n"
}

#[test]
fn detectors_name_what_they_are_for_and_nothing_that_only_looks_like_it() {
    for detector in DETECTORS {
        let script = SCRIPTS.iter().find(|(pattern, _)| *pattern == detector.pattern);
        let (_, script) = script.unwrap_or_else(|| panic!("{} has no script", detector.pattern));
        let script = format!("{SERVICE}\n{script}");
        let cases = cases(&script);
        for kind in [Kind::Positive, Kind::Negative, Kind::NearMiss] {
            assert!(cases.iter().any(|case| case.kind == kind), "{} has no {kind:?} case", detector.pattern);
        }
        let said: String = cases.iter().map(|case| told(detector, case)).collect();
        expect_file![format!("../../tests/detectors/said/{}.txt", detector.pattern)].assert_eq(&said);
    }
}
