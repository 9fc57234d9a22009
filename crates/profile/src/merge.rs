//! Sums of profiles.

use homeostat_model::profile::Profile;

use crate::translation::Translation;

/// Adds profiles up; columns are matched by their value types.
#[derive(Debug)]
pub struct Merger {
    sum: Profile,
}

impl Merger {
    /// Begins with a profile: it says what is counted.
    pub fn new(first: &Profile) -> Self {
        let mut sum = Profile::new(first.types().to_vec());
        sum.set_default_type(first.default_type());
        (sum.period_type, sum.period) = (first.period_type.clone(), first.period);
        let mut merger = Self { sum };
        merger.add(first);
        merger
    }

    /// Adds a profile. Its columns that the first one did not have are left out. The sum begins when the earliest one
    /// began and took as long as all of them together.
    pub fn add(&mut self, profile: &Profile) {
        let sum = &mut self.sum;
        if profile.started_ns != 0 && (sum.started_ns == 0 || profile.started_ns < sum.started_ns) {
            sum.started_ns = profile.started_ns;
        }
        sum.duration_ns = sum.duration_ns.saturating_add(profile.duration_ns);
        let columns: Vec<Option<usize>> =
            sum.types().iter().map(|wanted| profile.types().iter().position(|there| there == wanted)).collect();
        let mut ids = Translation::new(profile, sum, |_| true);
        let mut values = Vec::new();
        for row in profile.rows() {
            values.clear();
            values.extend(columns.iter().map(|column| column.and_then(|at| row.values.get(at).copied()).unwrap_or(0)));
            let (stack, labels) = (ids.stack(row.stack), ids.labels(row.labels, sum));
            sum.add(stack, labels, &values);
        }
    }

    /// The sum.
    pub fn finish(self) -> Profile {
        self.sum
    }
}

/// Sum of all; `None` when there are none. Columns are those of the first.
pub fn merge<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Option<Profile> {
    let mut profiles = profiles.into_iter();
    let mut merger = Merger::new(profiles.next()?);
    profiles.for_each(|profile| merger.add(profile));
    Some(merger.finish())
}
