//! Evidence and splits in plain English, with numbers.

use homeostat_model::{
    evidence::{EventCounts, Evidence, SliEvidence},
    explanation::Explanation,
    objective::Sli,
};

/// A share as people read it: `31.2 %`, `0.03 %`, `nothing seen`.
pub(crate) fn share(counts: EventCounts) -> String {
    counts.bad_share().map_or_else(|| "nothing seen".to_owned(), percent)
}

/// `0.312` as `31.2 %`; two digits below one percent.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 1.0 { format!("{percent:.2} %") } else { format!("{percent:.1} %") }
}

/// What is bad about a request, as a participle.
fn fault(sli: Sli) -> String {
    match sli {
        Sli::Availability => "failed".to_owned(),
        Sli::Latency { threshold } => format!("took longer than {threshold}"),
    }
}

/// `31.2 % of its requests failed (20 of 64), against 0.10 % of v1's (1 of 1000)`.
pub(crate) fn comparison(evidence: &Evidence) -> Option<String> {
    let Evidence::Canary { baseline, slis, .. } = evidence else { return None };
    let worst: &SliEvidence = slis.iter().max_by(|a, b| a.ln_e_worse.total_cmp(&b.ln_e_worse))?;
    Some(format!(
        "{} of its requests {} ({} of {}), against {} of {baseline}'s ({} of {})",
        share(worst.canary),
        fault(worst.sli),
        worst.canary.bad,
        worst.canary.total(),
        share(worst.baseline),
        worst.baseline.bad,
        worst.baseline.total(),
    ))
}

/// One line for the story.
pub(crate) fn explanation(explanation: &Explanation) -> String {
    let named: Vec<_> = explanation
        .hypotheses
        .iter()
        .map(|cause| format!("{} ({} %)", cause.title, cause.confidence_percent))
        .collect();
    match named.as_slice() {
        [] => format!("not enough evidence to name a cause; missing: {}", explanation.missing.join("; ")),
        named => named.join("; "),
    }
}

/// One sentence of evidence.
pub(crate) fn evidence(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Canary { ln_e, ln_e_needed, alpha, .. } => format!(
            "{}; ln e is {ln_e:.1}, {ln_e_needed:.1} was needed for alpha {alpha}",
            comparison(evidence).unwrap_or_else(|| "nothing was compared".to_owned())
        ),
        Evidence::Burn { objective, rule, long_rate, short_rate, long, .. } => format!(
            "the budget of {objective} burns {long_rate:.1} times too fast over {} and {short_rate:.1} times over {} \
             (limit {}; {} of {} requests bad)",
            rule.long,
            rule.short,
            rule.factor,
            long.bad,
            long.total()
        ),
        Evidence::Recovery { watched, after, bad_share_max, .. } => format!(
            "{} bad of {} requests within {} ms after the switch, {} counts as recovered",
            share(*after),
            after.total(),
            watched.ms(),
            percent(*bad_share_max)
        ),
        Evidence::Person { reason } if reason.is_empty() => "a person asked for it".to_owned(),
        Evidence::Person { reason } => reason.clone(),
    }
}
