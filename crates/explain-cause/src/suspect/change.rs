//! A deploy, a configuration, a flag: the usual suspects.
//!
//! A version comes by steps: a deploy, then a little traffic, then more. It is one suspect, however many of its steps are known;
//! if each were one, they would compete, and none of them would be likely.

use std::{cmp::Reverse, collections::BTreeMap};

use homeostat_model::{ChangeEvent, ChangeKind, VersionName, explanation::CauseKind};

use super::{Suspect, percent, worse};
use crate::{
    evidence::{CauseEvidence, Counted, Judged, Pattern},
    weights::{
        BEFORE_S, CHANGE_ALL_VERSIONS_BAD, CHANGE_ANOTHER_STEP, CHANGE_BEFORE, CHANGE_BROUGHT_THE_PATTERN,
        CHANGE_JUST_BEFORE, CHANGE_LONG_BEFORE, CHANGE_NAMES_SERVICE, CHANGE_ONLY_MOVED_TRAFFIC,
        CHANGE_VERSION_ALONE_BAD, CHANGE_VERSION_JUDGED, JUST_BEFORE_S, LIKELY, PRIOR_CHANGE, WORSE_SHARE,
    },
};

pub(super) fn suspects(evidence: &CauseEvidence) -> Vec<Suspect> {
    let reaches = |change: &&ChangeEvent| {
        change.at <= evidence.began_at && change.service.as_ref().is_none_or(|service| *service == evidence.service)
    };
    let known = evidence.changes.iter().filter(reaches);
    let of_judged = |judged: &&Judged| !known.clone().any(|change| change.version.as_ref() == Some(&judged.version));
    let unannounced = evidence.judged.as_ref().filter(of_judged).map(by_itself);
    let (mut versions, mut alone) = (BTreeMap::<&VersionName, Vec<&ChangeEvent>>::new(), Vec::new());
    for change in known.clone() {
        match &change.version {
            Some(version) => versions.entry(version).or_default().push(change),
            None => alone.push(suspect(evidence, change)),
        }
    }
    let versions = versions.into_values().filter_map(|steps| of_steps(evidence, &steps));
    versions.chain(alone).chain(unannounced).collect()
}

/// A version by that step of it which speaks loudest; the others are told, and weigh nothing.
fn of_steps(evidence: &CauseEvidence, steps: &[&ChangeEvent]) -> Option<Suspect> {
    let mut all: Vec<(&ChangeEvent, Suspect)> = steps.iter().map(|step| (*step, suspect(evidence, step))).collect();
    // Of those that speak as loudly, the one that brought the program rather than requests, and the latest of these.
    let only_moves = |step: &ChangeEvent| step.kind == ChangeKind::Traffic;
    all.sort_by(|(a, one), (b, other)| {
        let loudest = other.log_odds().total_cmp(&one.log_odds());
        let key = |step: &ChangeEvent| (only_moves(step), Reverse(step.at));
        loudest.then_with(|| key(a).cmp(&key(b))).then_with(|| a.summary.cmp(&b.summary))
    });
    let mut all = all.into_iter();
    let (_, mut first) = all.next()?;
    for (step, _) in all {
        let seconds = evidence.began_at.since(step.at).secs_f64();
        first.because(&CHANGE_ANOTHER_STEP, format!("{seconds:.0} s before it, {}: {}", word(step.kind), step.summary));
    }
    Some(first)
}

/// A version that was judged worse, and nobody said when it came.
fn by_itself(judged: &Judged) -> Suspect {
    let mut suspect = Suspect::new(CauseKind::Change, judged.version.as_str(), &PRIOR_CHANGE);
    suspect.title = format!("Version {} itself", judged.version);
    "read what the version changed; keep its traffic at zero until then".clone_into(&mut suspect.next_check);
    suspect.because(&CHANGE_VERSION_JUDGED, judged.text.clone());
    suspect
}

fn suspect(evidence: &CauseEvidence, change: &ChangeEvent) -> Suspect {
    let subject = change.version.as_ref().map_or_else(|| change.summary.clone(), ToString::to_string);
    let mut suspect = Suspect::new(CauseKind::Change, &subject, &PRIOR_CHANGE);
    suspect.title = format!("{}: {}", word(change.kind), change.summary);
    let next = match change.kind {
        ChangeKind::Deploy => "read what the release changed; keep its traffic at zero until then",
        ChangeKind::Config | ChangeKind::Flag => "take it back for a few requests and see whether they recover",
        _ => "ask who made it what it touched",
    };
    next.clone_into(&mut suspect.next_check);
    let seconds = evidence.began_at.since(change.at).secs_f64();
    let (weight, words) = match seconds {
        s if s <= JUST_BEFORE_S => (&CHANGE_JUST_BEFORE, "just before"),
        s if s <= BEFORE_S => (&CHANGE_BEFORE, "before"),
        _ => (&CHANGE_LONG_BEFORE, "long before"),
    };
    suspect.because(weight, format!("it happened {seconds:.0} s before the first bad response, {words} it"));
    if change.service.is_some() {
        suspect.because(&CHANGE_NAMES_SERVICE, format!("it touched {}", evidence.service));
    }
    let judged = evidence.judged.as_ref().filter(|judged| change.version.as_ref() == Some(&judged.version));
    // Traffic that goes to a version for the first time is how the version comes.
    if change.kind == ChangeKind::Traffic && judged.is_none() {
        suspect.because(&CHANGE_ONLY_MOVED_TRAFFIC, "it only moved traffic".to_owned());
    }
    match (judged, &change.version) {
        (Some(judged), _) => {
            suspect.because(&CHANGE_VERSION_JUDGED, judged.text.clone());
            brought_the_pattern(evidence, &judged.version, &mut suspect);
        }
        (None, Some(version)) => by_version(evidence, version, &mut suspect),
        (None, None) => {}
    }
    suspect
}

/// The versions beside it are the control of the experiment.
fn by_version(evidence: &CauseEvidence, version: &VersionName, suspect: &mut Suspect) {
    let (mut own, mut others) = (Counted::default(), Counted::default());
    for shape in &evidence.shapes {
        let (Some(of), None, None) = (&shape.version, &shape.instance, &shape.route) else { continue };
        let sum = if of == version { &mut own } else { &mut others };
        *sum = sum.plus(&shape.during);
    }
    let numbers = format!("{version} {}, other versions {}", percent(own.bad_share()), percent(others.bad_share()));
    match worse(&own, &others) {
        Some(true) => suspect.because(&CHANGE_VERSION_ALONE_BAD, format!("bad requests: {numbers}")),
        // Two versions that both do well are no experiment: what is bad was not counted here.
        Some(false) if others.bad_share().is_some_and(|share| WORSE_SHARE <= share) => {
            suspect.because(&CHANGE_ALL_VERSIONS_BAD, format!("bad requests: {numbers}"));
        }
        Some(false) | None => {}
    }
}

/// Where a version was judged, the bad side's profiles are its own and those of the good side the other version's. Of an
/// objective they are of all versions, before and since, and say nothing of one of them.
fn brought_the_pattern(evidence: &CauseEvidence, version: &VersionName, suspect: &mut Suspect) {
    // Of a few samples any pattern may be found.
    let enough = evidence.profiles.as_ref().is_none_or(|compared| compared.enough);
    let holds = |pattern: &&Pattern| LIKELY <= pattern.confidence && (enough || pattern.without_samples);
    if let Some(pattern) = evidence.patterns.iter().find(holds) {
        suspect
            .because(&CHANGE_BROUGHT_THE_PATTERN, format!("profiles of {version} hold the pattern {}", pattern.name));
    }
}

const fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Deploy => "Deploy",
        ChangeKind::Config => "Configuration",
        ChangeKind::Traffic => "Traffic",
        ChangeKind::Scale => "Capacity",
        ChangeKind::Flag => "Flag",
        ChangeKind::Other => "Change",
    }
}
