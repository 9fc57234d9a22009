//! Evidence in plain words and numbers.

use homeostat_model::{
    evidence::{EventCounts, Evidence},
    objective::Sli,
};

use super::{count, duration, percent, plain, utc};

/// Sentences about one piece of evidence, the first one being the claim.
pub(crate) fn sentences(evidence: &Evidence) -> Vec<String> {
    match evidence {
        Evidence::Canary { canary, baseline, since, ln_e, ln_e_needed, alpha, tolerance, slis } => {
            let mut out = vec![format!("canary {canary} against baseline {baseline}, counted since {}:", utc(*since))];
            for sli in slis {
                let of = |name: &dyn std::fmt::Display, counts| format!("{name} {}", bad(counts, &sli.sli));
                out.push(format!("  {}; {}", of(canary, sli.canary), of(baseline, sli.baseline)));
            }
            out.push(format!(
                "the evidence that {canary} is worse by more than {} weighs {} (e-value); {} is needed, so that at most \
                 {} of harmless releases are ever rolled back",
                percent(*tolerance),
                power(*ln_e),
                power(*ln_e_needed),
                percent(*alpha),
            ));
            out
        }
        Evidence::Burn { objective, rule, long_rate, short_rate, long, coverage } => vec![
            format!(
                "objective {objective} spends its error budget {long_rate:.1} times as fast as planned over {} and \
                 {short_rate:.1} times over {}; the rule fires at {}",
                duration(rule.long),
                duration(rule.short),
                rule.factor,
            ),
            format!(
                "{} of {} requests were bad, {} of the time was measured",
                count(long.bad),
                count(long.total()),
                percent(*coverage)
            ),
        ],
        Evidence::Recovery { watched, after, bad_share_max, .. } => vec![format!(
            "watched for {} afterwards: {} of {} requests failed ({}), up to {} counts as recovered",
            duration(*watched),
            count(after.bad),
            count(after.total()),
            after.bad_share().map_or_else(|| "nothing was measured".to_owned(), percent),
            percent(*bad_share_max),
        )],
        Evidence::Person { reason } if reason.is_empty() => vec!["a person asked for it and gave no reason".to_owned()],
        Evidence::Person { reason } => vec![format!("a person asked for it: {}", plain(reason))],
    }
}

fn bad(counts: EventCounts, sli: &Sli) -> String {
    let what = match sli {
        Sli::Availability => "failed".to_owned(),
        Sli::Latency { threshold } => format!("took longer than {}", duration(*threshold)),
    };
    match counts.bad_share() {
        None => format!("had no requests that could have {what}"),
        Some(share) => format!("{what} {} of {} ({})", count(counts.bad), count(counts.total()), percent(share)),
    }
}

/// `e` to the power of this as a number that people can read: whole up to a million, a power of ten beyond.
fn power(ln: f64) -> String {
    let log10 = ln / std::f64::consts::LN_10;
    if log10 < 6.0 { count(ln.exp().round() as u64) } else { format!("10^{log10:.1}") }
}
