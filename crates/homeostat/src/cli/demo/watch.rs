//! Follows the incident of the bad release from verdict to end, and says what is new in it. Pure: no clock, no I/O.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use homeostat_model::{
    IncidentId, Timestamp,
    evidence::{Evidence, SliEvidence},
    incident::{Incident, Subject},
    objective::Sli,
};
use homeostat_shop::Fault;

/// Whose incidents the story is about.
const SHOP: &str = "shop";

/// How the story ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Rolled back, and the service was seen to recover: the loop closed.
    Verified,
    /// Acted, and the recovery was not shown.
    NotVerified,
    /// The judge did not find v2 worse in time.
    NoVerdict,
    /// People were told, and a release that is not to blame was left alone.
    Spared,
    /// A release was blamed that is not to blame.
    Blamed,
}

impl Ending {
    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::Verified => "the loop closed: noticed, rolled back, verified and written up, without a person",
            Self::NotVerified => "the bad release was judged, but its rollback was not verified",
            Self::Spared => "people were told, and v2, which is as slow as v1 and not to blame, kept its customers",
            Self::Blamed => "v2 was judged worse than v1, though both wait for the same slow recommender",
            Self::NoVerdict => "nothing was shown to be worse in the time given; try a higher `--fault NAME=STRENGTH`",
        }
    }
}

/// The incident so far.
#[derive(Debug)]
pub(super) struct Watch {
    known: BTreeSet<IncidentId>,
    fault: Fault,
    told: usize,
    mine: Option<IncidentId>,
    first_harmed: Option<SystemTime>,
    ending: Option<Ending>,
}

impl Watch {
    /// `known` incidents are of earlier runs.
    pub(super) fn new(known: BTreeSet<IncidentId>, fault: Fault) -> Self {
        Self { known, fault, told: 0, mine: None, first_harmed: None, ending: None }
    }

    /// When the customers saw the first failed or slow answer of v2; the first word counts.
    pub(super) fn customers_saw(&mut self, at: SystemTime) {
        self.first_harmed.get_or_insert(at);
    }

    pub(super) const fn has_verdict(&self) -> bool {
        self.mine.is_some()
    }

    /// The bad release's incident, once there is one.
    pub(super) const fn incident(&self) -> Option<IncidentId> {
        self.mine
    }

    pub(super) const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// How it ends when the time is over in which something else could have happened.
    pub(super) const fn ending_in_time(&self) -> Ending {
        match (self.has_verdict(), self.fault) {
            (false, _) => Ending::NoVerdict,
            (true, Fault::Dependency) => Ending::Spared,
            (true, _) => Ending::NotVerified,
        }
    }

    /// What is new in an incident of the shop, as (word, sentence).
    pub(super) fn see(&mut self, incident: &Incident) -> Vec<(&'static str, String)> {
        if incident.service.as_str() != SHOP {
            return Vec::new();
        }
        let is_of_release = matches!(incident.subject, Subject::Canary { .. });
        let is_innocent = self.fault == Fault::Dependency;
        if is_of_release == is_innocent {
            if is_innocent && !self.known.contains(&incident.id) {
                self.ending.get_or_insert(Ending::Blamed);
            }
            return Vec::new();
        }
        if self.known.contains(&incident.id) || *self.mine.get_or_insert(incident.id) != incident.id {
            return Vec::new();
        }
        let mut news = Vec::new();
        if self.told == 0 {
            news.push(("incident", format!("{}: {}", incident.id, incident.title)));
            news.extend(incident.evidence.iter().filter_map(|evidence| Some(("evidence", numbers(evidence)?))));
        }
        for milestone in incident.milestones.iter().skip(self.told) {
            news.push((word(&milestone.what), milestone.detail.clone()));
            if milestone.what == "weight_zero" {
                news.extend(self.reaction(milestone.at).map(|sentence| ("reaction", sentence)));
            }
            self.ending = self.ending.or(match milestone.what.as_str() {
                "verified" => Some(Ending::Verified),
                "unverified" | "undone" | "escalated" | "refused" => Some(Ending::NotVerified),
                _ => None,
            });
        }
        self.told = self.told.max(incident.milestones.len());
        if self.ending.is_some() {
            let (id, harmed) = (incident.id, incident.requests_harmed);
            news.push(("harmed", format!("{id}: {harmed} of {} requests of the shop", incident.requests_total)));
        }
        news
    }

    fn reaction(&self, weight_zero: Timestamp) -> Option<String> {
        let harmed = self.first_harmed?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let took = Duration::from_nanos(weight_zero.unix_ns().try_into().ok()?).checked_sub(harmed)?;
        let bad = if self.fault == Fault::Errors { "failed" } else { "slow or failed" };
        Some(format!("{} ms from the first {bad} answer that a customer saw to no traffic for v2", took.as_millis()))
    }
}

/// Milestones are words for machines; people get these.
fn word(what: &str) -> &'static str {
    match what {
        "first_bad" => "first bad",
        "verdict" => "verdict",
        "proposed" => "proposed",
        "refused" => "refused",
        "approved" => "approved",
        "weight_zero" => "rollback",
        "verified" => "verified",
        "unverified" => "unverified",
        "undone" => "undone",
        "escalated" => "escalated",
        "resolved" | "closed" => "closed",
        _ => "note",
    }
}

/// The comparison that weighed most, in numbers.
fn numbers(evidence: &Evidence) -> Option<String> {
    let Evidence::Canary { ln_e, ln_e_needed, alpha, slis, .. } = evidence else { return None };
    let heaviest = slis.iter().max_by(|a, b| a.ln_e_worse.total_cmp(&b.ln_e_worse))?;
    let SliEvidence { sli, canary, baseline, .. } = heaviest;
    let bad = match sli {
        Sli::Availability => "failed".to_owned(),
        Sli::Latency { threshold } => format!("took over {threshold}"),
    };
    Some(format!(
        "{} of v2's {} requests {bad}, {} of v1's {}: e-value {:.0}, needed {:.0} (false alarms at most {} % of releases)",
        canary.bad,
        canary.total(),
        baseline.bad,
        baseline.total(),
        ln_e.exp(),
        ln_e_needed.exp(),
        alpha * 100.0,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{
        RolloutName, ServiceName, VersionName,
        evidence::EventCounts,
        incident::{Milestone, Stage},
        objective::Severity,
    };

    fn incident(id: u64, milestones: &[&str]) -> Incident {
        let version = |name| VersionName::new(name).unwrap();
        let milestone = |what: &&str| Milestone {
            at: Timestamp::from_unix_ms(1_000_118),
            what: (*what).to_owned(),
            detail: format!("about {what}"),
        };
        let counts = |good, bad| EventCounts { good, bad };
        Incident {
            id: IncidentId(id),
            title: "v2 fails".to_owned(),
            service: ServiceName::new("shop").unwrap(),
            subject: Subject::Canary {
                rollout: RolloutName::new("shop").unwrap(),
                canary: version("v2"),
                baseline: version("v1"),
            },
            severity: Severity::Page,
            stage: Stage::Judged,
            began_at: Timestamp::default(),
            opened_at: Timestamp::default(),
            closed_at: None,
            evidence: vec![Evidence::Canary {
                canary: version("v2"),
                baseline: version("v1"),
                since: Timestamp::default(),
                ln_e: 2_000_f64.ln(),
                ln_e_needed: 1_000_f64.ln(),
                alpha: 0.001,
                tolerance: 0.0,
                slis: vec![SliEvidence {
                    sli: Sli::Availability,
                    canary: counts(8, 4),
                    baseline: counts(200, 0),
                    ln_e_worse: 7.6,
                    ln_e_not_worse: 0.0,
                }],
            }],
            requests_harmed: 4,
            requests_total: 212,
            actions: Vec::new(),
            changes: Vec::new(),
            milestones: milestones.iter().map(milestone).collect(),
            explanation: None,
        }
    }

    fn told(watch: &mut Watch, incident: &Incident) -> Vec<String> {
        watch.see(incident).into_iter().map(|(what, detail)| format!("{what}: {detail}")).collect()
    }

    #[test]
    fn each_thing_is_told_once_and_the_story_ends_with_verification() {
        let mut watch = Watch::new([IncidentId(1)].into(), Fault::Errors);
        assert!(told(&mut watch, &incident(1, &["verdict", "verified"])).is_empty());
        assert!(!watch.has_verdict());
        watch.customers_saw(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        watch.customers_saw(SystemTime::UNIX_EPOCH + Duration::from_mins(150));
        assert_eq!(
            told(&mut watch, &incident(2, &["first_bad", "verdict"])),
            [
                "incident: INC-2: v2 fails",
                "evidence: 4 of v2's 12 requests failed, 0 of v1's 200: e-value 2000, needed 1000 (false alarms at most 0.1 % of releases)",
                "first bad: about first_bad",
                "verdict: about verdict",
            ]
        );
        assert_eq!(
            told(&mut watch, &incident(2, &["first_bad", "verdict", "weight_zero"])),
            [
                "rollback: about weight_zero",
                "reaction: 118 ms from the first failed answer that a customer saw to no traffic for v2"
            ]
        );
        assert_eq!(
            (told(&mut watch, &incident(2, &["first_bad", "verdict", "weight_zero"])).len(), watch.ending()),
            (0, None)
        );
        assert_eq!(
            told(&mut watch, &incident(2, &["first_bad", "verdict", "weight_zero", "verified"])),
            ["verified: about verified", "harmed: INC-2: 4 of 212 requests of the shop"]
        );
        assert_eq!(watch.ending(), Some(Ending::Verified));
    }

    #[test]
    fn an_innocent_release_is_to_be_left_alone() {
        let objective = |id| Incident {
            subject: Subject::Objective { objective: "shop-latency".parse().unwrap() },
            evidence: Vec::new(),
            ..incident(id, &["opened"])
        };
        let mut watch = Watch::new(BTreeSet::new(), Fault::Dependency);
        assert_eq!(watch.ending_in_time(), Ending::NoVerdict);
        let of_another = Incident { service: "recommender".parse().unwrap(), ..objective(1) };
        assert!(told(&mut watch, &of_another).is_empty() && !watch.has_verdict());
        assert_eq!(told(&mut watch, &objective(2)), ["incident: INC-2: v2 fails", "note: about opened"]);
        assert_eq!((watch.ending(), watch.ending_in_time()), (None, Ending::Spared));
        assert!(told(&mut watch, &incident(3, &["verdict"])).is_empty());
        assert_eq!(watch.ending(), Some(Ending::Blamed));
        let mut of_release = Watch::new(BTreeSet::new(), Fault::Leak);
        assert!(told(&mut of_release, &objective(2)).is_empty() && !of_release.has_verdict());
    }

    #[test]
    fn anything_but_verification_is_not_success() {
        for what in ["unverified", "undone", "escalated", "refused"] {
            let mut watch = Watch::new(BTreeSet::new(), Fault::Leak);
            assert!(!told(&mut watch, &incident(1, &["verdict", what])).is_empty());
            assert_eq!(watch.ending(), Some(Ending::NotVerified), "{what}");
        }
    }
}
