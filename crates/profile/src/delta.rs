//! What happened between two readings of a profile that only grows: allocations, contention.

use homeostat_model::profile::Profile;

use crate::merge::Merger;

/// The difference of two readings.
#[derive(Debug)]
pub struct Delta {
    /// What was added in between.
    pub profile: Profile,
    /// The program began anew in between: the later reading is all there is.
    pub reset: bool,
}

/// `later` minus `earlier`. Some columns may fall (memory in use); when a column's sum falls that is named in `growing`,
/// the program began anew, and `later` itself is the difference.
pub fn delta(earlier: &Profile, later: &Profile, growing: &[&str]) -> Delta {
    let fell = |kind: &&str| {
        let sum = |profile: &Profile| profile.column(kind).map(|column| profile.total(column));
        sum(later).zip(sum(earlier)).is_some_and(|(later, earlier)| later < earlier)
    };
    let mut merger = Merger::new(later);
    if growing.iter().any(fell) {
        return Delta { profile: merger.finish(), reset: true };
    }
    merger.add(&negated(earlier));
    let mut profile = merger.finish();
    // Rows without a difference would only be in the way.
    profile.retain(|row| row.values.iter().any(|value| *value != 0));
    profile.started_ns = earlier.started_ns;
    profile.duration_ns = later.started_ns.saturating_sub(earlier.started_ns).max(0);
    Delta { profile, reset: false }
}

fn negated(profile: &Profile) -> Profile {
    let mut negated = profile.clone();
    negated.map_values(i64::saturating_neg);
    negated
}
