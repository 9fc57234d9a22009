//! Whether a plan's evidence carries its purpose.

use homeostat_model::{
    action::{Initiator, Plan, Purpose},
    evidence::Evidence,
};

/// What the evidence says, in numbers for the audit; `None` when it does not reach its threshold.
///
/// A rollback needs proof that the canary is worse. More exposure needs the absence of that proof: its other conditions
/// (time, traffic, the opposite test) are the rollout's own gates. Undoing needs a service that did not recover.
pub(crate) fn weigh(plan: &Plan) -> Option<String> {
    let by_person = matches!(plan.initiator, Initiator::Person { .. });
    match (&plan.evidence, plan.purpose) {
        (Evidence::Person { reason }, _) => by_person.then(|| {
            if reason.is_empty() { "a person asked for it".to_owned() } else { format!("a person asked: {reason}") }
        }),
        (Evidence::Canary { ln_e, ln_e_needed, .. }, Purpose::Rollback) => {
            (ln_e_needed <= ln_e).then(|| format!("ln e {ln_e:.2} reaches {ln_e_needed:.2}"))
        }
        (Evidence::Canary { ln_e, ln_e_needed, .. }, Purpose::Advance | Purpose::Promote) => {
            (ln_e < ln_e_needed).then(|| format!("not shown worse: ln e {ln_e:.2} is below {ln_e_needed:.2}"))
        }
        // Whoever stops early needs no proof that stopping is right: the stable side served before.
        (Evidence::Canary { ln_e, .. }, Purpose::Abort) => Some(format!("stopped with ln e at {ln_e:.2}")),
        (Evidence::Burn { rule, long_rate, short_rate, .. }, Purpose::Rollback | Purpose::Abort) => (rule.factor
            <= *long_rate
            && rule.factor <= *short_rate)
            .then(|| format!("burn rates {long_rate:.1} and {short_rate:.1} reach {:.1} on both windows", rule.factor)),
        (Evidence::Recovery { after, bad_share_max, .. }, Purpose::Undo) => after
            .bad_share()
            .filter(|share| bad_share_max < share)
            .map(|share| format!("bad share {share:.4} after the action is above {bad_share_max:.4}")),
        (Evidence::Canary { .. }, Purpose::Undo) | (Evidence::Burn { .. } | Evidence::Recovery { .. }, _) => None,
    }
}
