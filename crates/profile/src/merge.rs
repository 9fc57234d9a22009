//! Sums of profiles.

use std::collections::BTreeMap;

use homeostat_model::profile::{Frame, LabelSet, LabelValue, Profile, Stack, Text};

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
        let mut ids = Ids::new(profile, sum);
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

/// Ids of one profile in another one.
struct Ids<'a> {
    from: &'a Profile,
    stacks: Vec<Stack>,
    labels: BTreeMap<LabelSet, LabelSet>,
}

impl<'a> Ids<'a> {
    /// Takes all texts and stacks over: callers come before what they call, so one pass does it.
    fn new(from: &'a Profile, to: &mut Profile) -> Self {
        let texts: Vec<Text> = from.strings().iter().map(|text| to.intern(text)).collect();
        let text = |id: Text| texts.get(id.index()).copied().unwrap_or(Text::EMPTY);
        let mut stacks = vec![Stack::EMPTY];
        for stack in from.stacks().iter() {
            let parent = stacks.get(from.stacks().parent(stack).index()).copied().unwrap_or(Stack::EMPTY);
            let Some(frame) = from.stacks().frame(stack) else { continue };
            let frame =
                Frame { function: text(frame.function), file: text(frame.file), module: text(frame.module), ..*frame };
            stacks.push(to.push_frame(parent, frame));
        }
        Self { from, stacks, labels: BTreeMap::new() }
    }

    fn stack(&self, stack: Stack) -> Stack {
        self.stacks.get(stack.index()).copied().unwrap_or(Stack::EMPTY)
    }

    fn labels(&mut self, labels: LabelSet, to: &mut Profile) -> LabelSet {
        let from = self.from;
        *self.labels.entry(labels).or_insert_with(|| {
            let copied = from.labels(labels).iter().map(|(name, value)| {
                let name = to.intern(from.text(*name));
                let value = match value {
                    LabelValue::Text(text) => LabelValue::Text(to.intern(from.text(*text))),
                    LabelValue::Number { value, unit } => {
                        LabelValue::Number { value: *value, unit: to.intern(from.text(*unit)) }
                    }
                };
                (name, value)
            });
            let copied: Vec<_> = copied.collect();
            to.intern_labels(copied)
        })
    }
}
