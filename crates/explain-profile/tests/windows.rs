//! Windows of real programs against themselves, and against copies in which something was moved on purpose.
//!
//! `fixtures/`: twelve windows of five seconds each, fetched one after the other from `/debug/pprof/profile` of
//! Prometheus 2.42 (range queries without end), VictoriaMetrics 1.79 (imports and queries over growing data) and
//! Alertmanager 0.25 (alerts posted and listed), on two busy cores.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use homeostat_explain_profile::{Compared, DiffOptions, Way, diff};
use homeostat_model::profile::{Frame, LabelSet, Profile, Stack, Text};
use homeostat_wire::pprof::{self, PprofLimits};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_xoshiro::Xoshiro256PlusPlus;

const PROGRAMS: [&str; 3] = ["prometheus", "victoria-metrics", "alertmanager"];

fn windows(program: &str) -> Vec<Profile> {
    let dir = format!("{}/tests/fixtures/{program}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| pprof::read(&std::fs::read(file).unwrap(), &PprofLimits::default()).unwrap()).collect()
}

fn samples(windows: &[Profile]) -> Vec<(&Profile, usize)> {
    windows.iter().map(|window| (window, 0)).collect()
}

#[test]
fn a_program_compared_with_itself_has_not_moved() {
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(7);
    for program in PROGRAMS {
        let windows = windows(program);
        let mut all = samples(&windows);
        // Any six against any six, and any one against any one.
        for round in 0..100 {
            all.shuffle(&mut chance);
            let (good, bad) = if round % 2 == 0 { all.split_at(6) } else { (&all[..1], &all[1..2]) };
            assert_eq!(diff(good, bad, &DiffOptions::default()).moved, [], "{program}, round {round}");
        }
    }
}

#[test]
fn another_program_is_another_behaviour() {
    for (good, bad) in [(0, 1), (1, 2), (2, 0)] {
        let (good, bad) = (windows(PROGRAMS[good]), windows(PROGRAMS[bad]));
        let found = diff(&samples(&good), &samples(&bad), &DiffOptions::default());
        assert!(found.moved.iter().any(|moved| moved.way == Way::Vanished) && 10 < found.moved.len(), "{found:#?}");
        let own: Vec<f64> = found
            .moved
            .iter()
            .filter(|moved| moved.compared == Compared::Own)
            .map(|moved| moved.effect().abs())
            .collect();
        assert!(own.is_sorted_by(|a, b| a >= b), "the largest effect comes first");
    }
}

/// Adds a share of samples in a function of its own, called by nobody or by what is the innermost function of the first row.
fn with_more(window: &Profile, function: &str, share: f64) -> Profile {
    let mut window = window.clone();
    let samples = (window.total(0) as f64 * share / (1.0 - share)).round() as i64;
    let function = window.intern(function);
    let none = Text::EMPTY;
    let frame = Frame { function, file: none, line: 0, module: none, address: 0, inlined: false };
    let stack = window.push_frame(Stack::EMPTY, frame);
    window.add(stack, LabelSet::NONE, &[samples, samples * 10_000_000]);
    window
}

#[test]
fn what_was_moved_on_purpose_is_named_and_nothing_else() {
    let windows = windows("prometheus");
    let (good, bad) = windows.split_at(6);
    let options = DiffOptions::default();
    let slower: Vec<_> = bad.iter().map(|window| with_more(window, "main.burn", 0.12)).collect();
    let found = diff(&samples(good), &samples(&slower), &options);
    let named: Vec<_> = found.moved.iter().map(|moved| (moved.function.as_str(), moved.compared, moved.way)).collect();
    assert_eq!(named, [("main.burn", Compared::Own, Way::New)], "{found:#?}");
    assert!((found.moved[0].effect() - 0.12).abs() < 0.01);
    // The other way round it is what is gone.
    let found = diff(&samples(&slower), &samples(good), &options);
    assert_eq!((found.moved[0].way, found.moved.len()), (Way::Vanished, 1), "{found:#?}");
    // What is there on both sides, in other amounts.
    let some: Vec<_> = good.iter().map(|window| with_more(window, "main.burn", 0.10)).collect();
    let more: Vec<_> = bad.iter().map(|window| with_more(window, "main.burn", 0.30)).collect();
    let found = diff(&samples(&some), &samples(&more), &options);
    assert_eq!((found.moved[0].function.as_str(), found.moved[0].way), ("main.burn", Way::More));
    // Below what matters, however sure.
    let little: Vec<_> = bad.iter().map(|window| with_more(window, "main.burn", 0.005)).collect();
    assert_eq!(diff(&samples(good), &samples(&little), &options).moved, []);
}

#[test]
fn weak_evidence_says_so() {
    let windows = windows("prometheus");
    let found = diff(&samples(&windows[..1]), &samples(&windows[1..]), &DiffOptions::default());
    assert_eq!((found.good.windows, found.bad.windows), (1, 11));
    let said = found.caveats.join("; ");
    assert!(said.contains("the good side has 99 samples, 5000 are wanted"), "{said}");
    assert!(said.contains("the good side is one window") && !said.contains("the bad side is one"), "{said}");
    let nothing = diff(&[], &samples(&windows), &DiffOptions::default());
    assert_eq!((nothing.moved.len(), nothing.looked_at, nothing.good.samples), (0, 0, 0));
}
