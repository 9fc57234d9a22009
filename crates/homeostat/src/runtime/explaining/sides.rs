//! Which windows stand for the bad side of an incident, and which for the good one.

use std::sync::{Arc, Mutex};

use homeostat_model::{
    Span, Timestamp, VersionName,
    explanation::ProfileSide,
    incident::{Incident, Subject},
};

use super::{
    super::shared::lock,
    watch::{Ring, Window},
};
use crate::config::Profiled;

/// A good side that is as old is another hour of the day.
pub(super) const GOOD_WITHIN: Span = Span::from_mins(10);
/// A canary is compared from this long before the first bad response on: it may have had traffic for longer, and have been
/// well.
pub(super) const CANARY_BEFORE: Span = Span::from_secs(60);

/// A program with the windows that are held of it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) profiled: Profiled,
    pub(super) ring: Arc<Mutex<Ring>>,
}

/// A window with the side that it stands for.
#[derive(Clone, Debug)]
pub(super) struct Sided {
    pub(super) side: ProfileSide,
    pub(super) profiled: Profiled,
    pub(super) window: Window,
}

/// All windows that stand for a side. Of a canary: the two versions at the same time. Of an objective: the same programs
/// before and since; windows that hold both stand for neither.
pub(super) fn sides(incident: &Incident, held: &[Held]) -> Vec<Sided> {
    let mut all = Vec::new();
    for Held { profiled, ring } in held.iter().filter(|held| held.profiled.service == incident.service) {
        for window in lock(ring).windows() {
            if let Some(side) = side(incident, &profiled.version, window.from, window.to) {
                all.push(Sided { side, profiled: profiled.clone(), window });
            }
        }
    }
    all
}

/// When harm ended, as the incident's record has it: nothing was sent to the bad version any more, unless that was undone because
/// it did not help, or the budget burned no longer. What is measured afterwards is health.
pub(super) fn harm_ended(incident: &Incident) -> Option<Timestamp> {
    let first = |word: &str| incident.milestones.iter().find(|milestone| milestone.what == word).map(|found| found.at);
    let acted = first("weight_zero").filter(|_| first("undone").is_none());
    acted.into_iter().chain(first("resolved")).min()
}

/// Which side a stretch of time of a version stands for. The bad side of an objective ends with the stretch in which harm ended.
pub(super) fn side(incident: &Incident, of: &VersionName, from: Timestamp, to: Timestamp) -> Option<ProfileSide> {
    let began = incident.began_at;
    match &incident.subject {
        Subject::Canary { canary, baseline, .. } => {
            let around = began - CANARY_BEFORE <= from;
            match of {
                of if around && of == canary => Some(ProfileSide::Bad),
                of if around && of == baseline => Some(ProfileSide::Good),
                _ => None,
            }
        }
        Subject::Objective { .. } if began <= from => {
            harm_ended(incident).is_none_or(|ended| from < ended).then_some(ProfileSide::Bad)
        }
        Subject::Objective { .. } if to <= began && began - GOOD_WITHIN <= from => Some(ProfileSide::Good),
        Subject::Objective { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::incident::Milestone;

    use super::{super::testing::burning, *};

    const BEGAN: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_ms(BEGAN.unix_ms() + 1000 * s)
    }

    /// How many windows of ten seconds, from two minutes before to two minutes after, stand for each side.
    fn windows(milestones: &[(i64, &str)]) -> (usize, usize) {
        let milestone =
            |(s, what): &(i64, &str)| Milestone { at: at(*s), what: (*what).to_owned(), detail: String::new() };
        let incident =
            Incident { milestones: milestones.iter().map(milestone).collect(), ..burning("shop", "shop-slow", BEGAN) };
        let version = "v1".parse().unwrap();
        let of = |wanted: ProfileSide| {
            let sides = (-12..12).map(|window| side(&incident, &version, at(10 * window), at(10 * window + 10)));
            sides.filter(|side| *side == Some(wanted)).count()
        };
        (of(ProfileSide::Good), of(ProfileSide::Bad))
    }

    #[test]
    fn the_bad_side_of_an_objective_ends_when_harm_does() {
        assert_eq!(windows(&[]), (12, 12));
        assert_eq!(
            windows(&[(0, "first_bad"), (12, "verdict"), (15, "weight_zero")]),
            (12, 2),
            "30 s of health are none"
        );
        assert_eq!(
            windows(&[(15, "weight_zero"), (40, "verified"), (50, "resolved")]),
            (12, 2),
            "the first of the two"
        );
        assert_eq!(windows(&[(30, "resolved")]), (12, 3));
        assert_eq!(windows(&[(15, "weight_zero"), (45, "undone")]), (12, 12), "it did not help");
        assert_eq!(windows(&[(15, "weight_zero"), (45, "undone"), (60, "resolved")]), (12, 6));
    }
}
