//! What stands in one profile, in the numbers of another one.

use std::collections::BTreeMap;

use homeostat_model::profile::{Frame, LabelSet, LabelValue, Profile, Stack, Text};

/// Ids of one profile in another one, which keeps what it did not have.
#[derive(Debug)]
pub struct Translation<'a> {
    from: &'a Profile,
    stacks: Vec<Stack>,
    labels: BTreeMap<LabelSet, LabelSet>,
}

impl<'a> Translation<'a> {
    /// Takes over the stacks that are wanted, with what called them. Callers come before what they call, so one pass does
    /// it.
    pub fn new(from: &'a Profile, to: &mut Profile, wanted: impl Fn(Stack) -> bool) -> Self {
        let mut needed: Vec<bool> = vec![false; from.stacks().len()];
        for stack in from.stacks().iter().rev() {
            let is_needed = needed.get(stack.index()) == Some(&true) || wanted(stack);
            for at in [stack, from.stacks().parent(stack)].into_iter().filter(|_| is_needed) {
                if let Some(needed) = needed.get_mut(at.index()) {
                    *needed = true;
                }
            }
        }
        let mut texts: Vec<Option<Text>> = vec![None; from.strings().len()];
        let mut stacks = vec![Stack::EMPTY; from.stacks().len()];
        for stack in from.stacks().iter().filter(|stack| needed.get(stack.index()) == Some(&true)) {
            let parent = stacks.get(from.stacks().parent(stack).index()).copied().unwrap_or(Stack::EMPTY);
            let Some(frame) = from.stacks().frame(stack) else { continue };
            let mut text = |id: Text| match texts.get_mut(id.index()) {
                Some(known) => *known.get_or_insert_with(|| to.intern(from.text(id))),
                None => Text::EMPTY,
            };
            let (function, file, module) = (text(frame.function), text(frame.file), text(frame.module));
            let there = to.push_frame(parent, Frame { function, file, module, ..*frame });
            if let Some(slot) = stacks.get_mut(stack.index()) {
                *slot = there;
            }
        }
        Self { from, stacks, labels: BTreeMap::new() }
    }

    /// A stack that was wanted.
    pub fn stack(&self, stack: Stack) -> Stack {
        self.stacks.get(stack.index()).copied().unwrap_or(Stack::EMPTY)
    }

    /// Labels; `to` is the profile that this was made with.
    pub fn labels(&mut self, labels: LabelSet, to: &mut Profile) -> LabelSet {
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
