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

use std::{fmt::Write as _, fs, path::Path};

use expect_test::expect_file;

use super::{DETECTORS, Detector};
use crate::{Evidence, Library, Observed, Outcome, Signs, explain, testing::profile};

/// Windows of a side; each holds the samples of the script.
const WINDOWS: usize = 10;

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
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/detectors");
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let service = read("service.txt");
    for detector in DETECTORS {
        let script = format!("{service}\n{}", read(&format!("{}.txt", detector.pattern)));
        let cases = cases(&script);
        for kind in [Kind::Positive, Kind::Negative, Kind::NearMiss] {
            assert!(cases.iter().any(|case| case.kind == kind), "{} has no {kind:?} case", detector.pattern);
        }
        let said: String = cases.iter().map(|case| told(detector, case)).collect();
        expect_file![dir.join("said").join(format!("{}.txt", detector.pattern))].assert_eq(&said);
    }
}
