//! Stacks written by hand, for tests.

use homeostat_model::profile::{Frame, LabelSet, LabelValue, Profile, Stack, Text, ValueType};

use crate::counted::Counted;

/// A profile of folded stacks, one line each: outermost first, a number at the end, and `@3` behind it for window 3.
pub(crate) fn profile(lines: &str) -> Profile {
    let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (stack, count) = line.rsplit_once(' ').expect("a number at the end");
        let (count, window) = count.split_once('@').unwrap_or((count, ""));
        let mut at = Stack::EMPTY;
        for name in stack.split(';') {
            let (function, none) = (profile.intern(name), Text::EMPTY);
            at = profile
                .push_frame(at, Frame { function, file: none, line: 0, module: none, address: 0, inlined: false });
        }
        let mut labels = LabelSet::NONE;
        if let Ok(value) = window.parse() {
            let (name, unit) = (profile.intern("window"), Text::EMPTY);
            labels = profile.intern_labels(vec![(name, LabelValue::Number { value, unit })]);
        }
        profile.add(at, labels, &[count.parse().expect("a number")]);
    }
    profile
}

/// The same, counted.
pub(crate) fn folded(lines: &str) -> Counted {
    let mut counted = Counted::default();
    counted.add(&profile(lines), 0);
    counted
}
