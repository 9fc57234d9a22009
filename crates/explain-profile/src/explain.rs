//! What changed, in at most three named patterns, or that it is not known.
//!
//! ```text
//! 1  did anything get worse? a deploy, more load, a new endpoint change a profile and harm nobody      -> benign
//! 2  detectors speak first; a pattern that is known to follow from another one steps behind it
//! 3  known cases rank what detectors said, and name what they did not
//! 4  nobody speaks, and something moved                                                                -> unknown
//! ```
//!
//! A score is 0 to 1: one half is a detector that just speaks, or cases that are just alike enough.
//!
//! Not here: changes with time and reach, other signals of an incident (`explain-cause`).

use serde::Serialize;

use crate::{
    case::{Library, NO_FAULT},
    comparison::Comparison,
    concept::Concept,
    detect::{DETECTORS, Finding},
    observed::Observed,
    paths::Path,
    retrieve::{Index, Retrieved},
    thresholds::{HARM, MOVED_MIN, SAMPLES_MIN, SAMPLES_WANTED, SEEN_MIN, SPEAK_WITHOUT_HARM, STRANGER_MIN, SYMPTOMS},
    vector::{Vector, added_all, vector},
};

/// Patterns that are named at most: a person checks three.
pub const PATTERNS_MAX: usize = 3;

/// How an explanation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There is at least one pattern.
    Named,
    /// Something moved, and nobody knows it.
    Unknown,
    /// Something moved or not, and nothing got worse.
    Benign,
    /// Too little was measured to say anything.
    NotEnoughEvidence,
}

/// A pattern with what speaks for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// Its name.
    pub pattern: String,
    /// 0 to 1; see the module.
    pub score: f64,
    /// What it is, in a sentence.
    pub meaning: String,
    /// Numbers of both sides, and cases.
    pub evidence: Vec<String>,
    /// How to make sure.
    pub next: String,
    /// See [`Finding::without_samples`].
    pub without_samples: bool,
}

/// What is said about a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// How it ends.
    pub outcome: Outcome,
    /// The most likely first; empty unless the outcome is `Named`.
    pub patterns: Vec<Named>,
    /// Samples of both sides.
    pub samples: [f64; 2],
    /// Share of CPU time that was added anywhere beyond noise.
    pub moved: f64,
    /// What was not measured and would have helped.
    pub missing: Vec<String>,
    /// What the library says, whether it was alike enough or not.
    pub cases: Retrieved,
}

impl Explanation {
    /// Whether both sides have samples enough to be compared; a census may name a pattern without them.
    pub fn has_enough_samples(&self) -> bool {
        enough(self.samples)
    }
}

fn enough([base, now]: [f64; 2]) -> bool {
    SAMPLES_MIN.value <= base.min(now)
}

/// What was computed about a change, before any library is asked. Evaluation keeps it, for libraries differ by split.
#[derive(Clone, Debug)]
pub struct Signs {
    /// What each detector saw.
    pub findings: Vec<Finding>,
    /// The change as a vector.
    pub vector: Vector,
    /// The stacks that were added most.
    pub paths: Vec<Path>,
    /// How much worse anything got: 1 is what matters; `None` when nothing that tells was measured.
    pub harm: Option<f64>,
    /// Whether census and numbers of both sides were there: then a detector that sees nothing had all to look at.
    pub whole: bool,
    /// Work that belongs to no pattern, and the share of CPU time that it gained.
    pub stranger: Option<(&'static str, f64)>,
    /// See [`Explanation`].
    pub samples: [f64; 2],
    /// See [`Explanation`].
    pub moved: f64,
    /// What was not measured and would have helped, but for samples.
    pub missing: Vec<String>,
}

impl Signs {
    /// Looks at a change from one side to another.
    pub fn of_sides(base: &Observed, now: &Observed) -> Self {
        let both = Comparison::of(base.view.clone(), now.view.clone());
        Self::of(&both, base.paths.added(&now.paths, both.kept))
    }

    /// The same when somebody else knows that something got worse: an objective is broken, a canary was judged.
    #[must_use]
    pub fn of_an_incident(mut self) -> Self {
        self.harm = Some(self.harm.unwrap_or(0.0).max(1.0));
        self.missing.retain(|line| *line != NO_LATENCIES);
        self
    }

    fn of(both: &Comparison, paths: Vec<Path>) -> Self {
        let beside = both.without_samples();
        Self {
            findings: DETECTORS.iter().map(|detector| detector.look(both, &beside)).collect(),
            vector: vector(both),
            paths,
            harm: harm(both),
            whole: both.census().is_some() && both.metric("cpu_ms_per_request").is_some(),
            stranger: stranger(both),
            samples: [both.base.cpu.samples(), both.now.cpu.samples()],
            moved: added_all(both),
            missing: missing(both),
        }
    }
}

/// Explains a change with a library of cases.
pub fn explain(signs: &Signs, library: &Library) -> Explanation {
    explain_with(signs, &Index::of(library))
}

/// The same with a library that was made ready.
pub fn explain_with(signs: &Signs, index: &Index<'_>) -> Explanation {
    let cases = index.ask(&signs.vector, &signs.paths);
    let mut patterns = named(signs, &cases);
    let outcome = outcome(signs, &mut patterns);
    patterns.truncate(PATTERNS_MAX);
    let Signs { samples, moved, missing, .. } = signs;
    let missing = few_samples(*samples).chain(missing.iter().cloned()).collect();
    Explanation { outcome, patterns, samples: *samples, moved: *moved, missing, cases }
}

fn outcome(signs: &Signs, patterns: &mut Vec<Named>) -> Outcome {
    let enough = enough(signs.samples);
    let strongest = signs.findings.iter().map(|finding| finding.strength).fold(0.0, f64::max);
    let harmless = signs.harm.is_some_and(|harm| harm < 1.0) && strongest < SPEAK_WITHOUT_HARM.value;
    if harmless {
        patterns.clear();
        return Outcome::Benign;
    }
    if !patterns.is_empty() {
        return Outcome::Named;
    }
    let harmful = signs.harm.is_some_and(|harm| 1.0 <= harm);
    match (enough, signs.moved < MOVED_MIN.value) {
        (false, _) if harmful || signs.harm.is_none() => Outcome::NotEnoughEvidence,
        (_, true) if !harmful => Outcome::Benign,
        _ => Outcome::Unknown,
    }
}

/// Everything that speaks, the surest first.
fn named(signs: &Signs, cases: &Retrieved) -> Vec<Named> {
    let by_cases = cases.named();
    let enough = enough(signs.samples);
    let mut named: Vec<Named> = Vec::new();
    for (finding, detector) in signs.findings.iter().zip(DETECTORS) {
        if finding.strength < 1.0 {
            continue;
        }
        let detected = finding.strength / (1.0 + finding.strength);
        let voted = by_cases.filter(|(pattern, _)| *pattern == finding.pattern).map_or(0.0, |(_, sure)| sure);
        named.push(Named {
            pattern: finding.pattern.to_owned(),
            score: 1.0 - (1.0 - detected) * (1.0 - voted / 2.0),
            meaning: detector.meaning.to_owned(),
            evidence: finding.evidence.clone(),
            next: detector.confirm.to_owned(),
            without_samples: finding.without_samples,
        });
    }
    let contradicted = |pattern: &str| {
        let seen = signs.findings.iter().find(|finding| finding.pattern == pattern);
        signs.whole && seen.is_some_and(|finding| !finding.blind && finding.strength < SEEN_MIN.value)
    };
    let sound = |pattern: &str| pattern != NO_FAULT && enough && !contradicted(pattern);
    if let Some((pattern, sure)) = by_cases.filter(|(pattern, _)| sound(pattern)) {
        let line = format!(
            "like {} known cases of {pattern}, {:.0} % alike at best",
            supporters(cases, pattern),
            100.0 * cases.likeness
        );
        if let Some(there) = named.iter_mut().find(|there| there.pattern == pattern) {
            there.evidence.push(line);
        } else {
            let detector = DETECTORS.iter().find(|detector| detector.pattern == pattern);
            let seen = signs.findings.iter().find(|finding| finding.pattern == pattern);
            let mut evidence = vec![line];
            evidence.extend(seen.iter().flat_map(|finding| finding.evidence.iter().cloned()));
            named.push(Named {
                pattern: pattern.to_owned(),
                score: sure,
                meaning: detector
                    .map_or_else(|| "a cause that was labelled before".to_owned(), |d| d.meaning.to_owned()),
                evidence,
                next: detector.map_or_else(
                    || "compare with the cases that it resembles: `homeostat case show ID`".to_owned(),
                    |d| d.confirm.to_owned(),
                ),
                without_samples: false,
            });
        }
    }
    if signs.stranger.is_some() {
        // A name of the user's own may be about that very work.
        let ours = |pattern: &str| DETECTORS.iter().any(|detector| detector.pattern == pattern);
        named.retain(|named| BESIDE_WORK.contains(&named.pattern.as_str()) || !ours(&named.pattern));
    }
    behind_their_causes(signs, &mut named);
    // A few samples show anything: what needs none goes before what they seem to show.
    let stands = |named: &Named| enough || named.without_samples;
    let order = |a: &Named, b: &Named| stands(b).cmp(&stands(a)).then(b.score.total_cmp(&a.score));
    named.sort_by(|a, b| order(a, b).then_with(|| a.pattern.cmp(&b.pattern)));
    named
}

/// A pattern that follows from another one steps behind it, if that one's detector speaks: cases alone push nobody back. Nor do
/// samples that are too few to be compared push back what needs none.
fn behind_their_causes(signs: &Signs, named: &mut [Named]) {
    let enough = enough(signs.samples);
    let speaks = |pattern: &str| signs.findings.iter().any(|seen| seen.pattern == pattern && 1.0 <= seen.strength);
    let speaking: Vec<Named> = named.iter().filter(|named| speaks(&named.pattern)).cloned().collect();
    for there in named {
        let counts = |cause: &&Named| enough || cause.without_samples || !there.without_samples;
        let behind = SYMPTOMS.iter().any(|symptom| {
            let is_cause = |cause: &Named| cause.pattern == symptom.cause && symptom.from_score <= cause.score;
            symptom.follows == there.pattern && speaking.iter().filter(counts).any(is_cause)
        });
        if behind {
            there.score /= 2.0;
        }
    }
}

fn supporters(cases: &Retrieved, pattern: &str) -> usize {
    cases.neighbours.iter().filter(|neighbour| neighbour.pattern == pattern).count()
}

/// Work that no pattern is about. Its share stays with whoever does it: handshakes are cryptography too.
const STRANGERS: &[Concept] = &[
    Concept::Compress,
    Concept::Cryptography,
    Concept::Image,
    Concept::Dns,
    Concept::Sort,
    Concept::Calendar,
    Concept::Checksum,
    Concept::Random,
    Concept::Arithmetic,
    Concept::Template,
];
/// Patterns that show by themselves, whatever else is done: their cause is not in what the processor works on.
const BESIDE_WORK: &[&str] =
    &["lock_contention", "fsync", "goroutine_leak", "runqueue_neighbour", "regex", "map_growth"];

fn stranger(both: &Comparison) -> Option<(&'static str, f64)> {
    let gained = |concept: &Concept| both.share(&format!("c:{}", concept.name())).beyond(2.0);
    let handshakes = gained(&Concept::TlsHandshake).max(0.0);
    STRANGERS
        .iter()
        .map(|concept| (concept.name(), gained(concept) - handshakes))
        .filter(|(_, gained)| STRANGER_MIN.value <= *gained)
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

/// How much worse anything got, over what matters.
fn harm(both: &Comparison) -> Option<f64> {
    let ratios = HARM.iter().filter_map(|limit| Some(both.ratio(limit.name)?.max(1.0).ln() / limit.value.ln()));
    let waiting = ["lock", "sync"].iter().filter_map(|reason| both.waiting(reason)).map(|(base, now)| now - base);
    ratios.chain(waiting).reduce(f64::max)
}

/// What an incident knows without being told.
const NO_LATENCIES: &str = "latencies of both sides: without them nobody knows whether anything got worse";

/// One line for each side with few samples.
fn few_samples([base, now]: [f64; 2]) -> impl Iterator<Item = String> {
    let few = |(_, samples): &(&str, f64)| *samples < SAMPLES_WANTED as f64;
    let line = |(side, samples)| format!("the {side} side has {samples:.0} samples, {SAMPLES_WANTED} are wanted");
    [("base", base), ("now", now)].into_iter().filter(few).map(line)
}

fn missing(both: &Comparison) -> Vec<String> {
    let mut missing = Vec::new();
    if both.census().is_none() {
        missing.push(
            "a census of both sides (who waits for what): lock contention and leaks hardly show in CPU samples"
                .to_owned(),
        );
    }
    if both.metric("cpu_ms_per_request").is_none() {
        missing.push("requests and CPU seconds of both sides: without them more load looks like more work".to_owned());
    }
    if both.metric("p99_ms").is_none() {
        missing.push(NO_LATENCIES.to_owned());
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Case, Evidence, testing::profile};

    /// Ten windows of a side, with goroutines and these numbers besides.
    fn side(own: u32, numbers: &[(&str, f64)]) -> Observed {
        let lines =
            |window| format!("main.serve;main.look {}@{window}\nmain.serve;main.find {own}@{window}", 900 - own);
        let windows: Vec<_> = (0..10).map(|window| profile(&lines(window))).collect();
        let always = [("seconds", 50.0), ("requests_per_second", 800.0), ("cpu_seconds", 40.0)];
        let numbers = always.iter().chain(numbers);
        let evidence: Evidence = numbers.map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let census = profile("main.serve;runtime.selectgo;runtime.gopark 8");
        Observed::new(&windows, evidence).with_census([&census], 1.0)
    }

    fn named_with(numbers: &[(&str, f64)]) -> Vec<String> {
        let signs = Signs::of_sides(&side(90, numbers), &side(320, numbers)).of_an_incident();
        let case = Case {
            id: "mine".to_owned(),
            pattern: "runqueue_neighbour".to_owned(),
            program: "shop".to_owned(),
            note: String::new(),
            vector: signs.vector.clone(),
            paths: signs.paths.clone(),
        };
        explain(&signs, &Library { cases: vec![case] }).patterns.into_iter().map(|named| named.pattern).collect()
    }

    #[test]
    fn a_case_is_contradicted_by_a_detector_that_had_something_to_look_at() {
        assert_eq!(named_with(&[]), ["runqueue_neighbour"], "nobody measured waits");
        assert_eq!(named_with(&[("runqueue_wait_ms_per_s", 3.0)]), [""; 0], "nobody waits");
    }

    /// A queue at a lock by census, and so much allocation that it would explain the queue if there are samples enough to say so.
    fn queue_at_a_lock(samples: u32) -> Vec<Named> {
        let side = |allocating: u32, waiting: u32| {
            let rest = samples - allocating;
            let cpu = profile(&format!("main.serve;main.look {rest}\nmain.serve;runtime.mallocgc {allocating}"));
            let census = profile(&format!("main.serve;sync.(*Mutex).Lock;sync.runtime_SemacquireMutex {waiting}"));
            Observed::new([&cpu], Evidence::new()).with_census([&census], 1.0)
        };
        let signs = Signs::of_sides(&side(samples / 20, 2), &side(samples / 2, 20)).of_an_incident();
        explain(&signs, &Library { cases: Vec::new() }).patterns
    }

    #[test]
    fn too_few_samples_push_nothing_back_that_needs_none() {
        let seen = |samples: u32| {
            let named = queue_at_a_lock(samples);
            let queue = named.iter().find(|named| named.pattern == "lock_contention").unwrap().score;
            (named[0].pattern.clone(), queue)
        };
        let ((first_of_few, few), (first_of_many, many)) = (seen(100), seen(10_000));
        assert_eq!((first_of_few.as_str(), first_of_many.as_str()), ("lock_contention", "gc_pressure"));
        assert!(many < 0.5 && 0.5 <= few, "{few} {many}");
    }
}
