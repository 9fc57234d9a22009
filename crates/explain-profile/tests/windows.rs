//! Windows of real programs against themselves, and against copies in which something was moved on purpose.
//!
//! `fixtures/prometheus`: twelve windows of five seconds of Prometheus 2.42 under an endless range query, fetched one after
//! the other from its `/debug/pprof/profile`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use homeostat_explain_profile::{Compared, DiffOptions, Way, diff};
use homeostat_model::profile::{Frame, LabelSet, Profile, Stack, Text};
use homeostat_wire::pprof::{self, PprofLimits};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_xoshiro::Xoshiro256PlusPlus;

fn windows() -> Vec<Profile> {
    let dir = format!("{}/tests/fixtures/prometheus", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| pprof::read(&std::fs::read(file).unwrap(), &PprofLimits::default()).unwrap()).collect()
}

fn samples(windows: &[Profile]) -> Vec<(&Profile, usize)> {
    windows.iter().map(|window| (window, 0)).collect()
}

#[test]
fn a_program_compared_with_itself_has_not_moved() {
    let windows = windows();
    let mut all = samples(&windows);
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(7);
    // Any six against any six, and any one against any one.
    let mut wrong = 0;
    for round in 0..200 {
        all.shuffle(&mut chance);
        let (good, bad) = if round % 2 == 0 { all.split_at(6) } else { (&all[..1], &all[1..2]) };
        wrong += diff(good, bad, &DiffOptions::default()).moved.len();
    }
    assert_eq!(wrong, 0, "functions named in 200 comparisons of one behaviour");
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
    let windows = windows();
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
    let windows = windows();
    let found = diff(&samples(&windows[..1]), &samples(&windows[1..]), &DiffOptions::default());
    assert_eq!((found.good.windows, found.bad.windows), (1, 11));
    let said = found.caveats.join("; ");
    assert!(said.contains("the good side has 99 samples, 5000 are wanted"), "{said}");
    assert!(said.contains("the good side is one window") && !said.contains("the bad side is one"), "{said}");
    let nothing = diff(&[], &samples(&windows), &DiffOptions::default());
    assert_eq!((nothing.moved.len(), nothing.looked_at, nothing.good.samples), (0, 0, 0));
}
