//! One profile of many processes, as a profile for each service.

use std::collections::BTreeSet;

use homeostat_model::profile::{LabelSet, LabelValue, Profile};
use homeostat_profile::Translation;

/// The processes of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// All there are, and the kernel.
    Everybody,
    /// These.
    Processes(BTreeSet<u32>),
}

/// The label of samples that says which process it was.
const PID: &str = "pid";

/// What of a profile belongs to a service. Times, types and period are those of the whole.
pub(super) fn part(whole: &Profile, members: &Members) -> Profile {
    let Members::Processes(pids) = members else { return whole.clone() };
    let belongs: BTreeSet<LabelSet> = whole
        .label_sets()
        .filter(|(_, labels)| pid_of(whole, labels).is_some_and(|pid| pids.contains(&pid)))
        .map(|(set, _)| set)
        .collect();
    let rows = || whole.rows().filter(|row| belongs.contains(&row.labels));
    let stacks: BTreeSet<_> = rows().map(|row| row.stack).collect();
    let mut own = Profile::new(whole.types().to_vec());
    own.set_default_type(whole.default_type());
    (own.started_ns, own.duration_ns) = (whole.started_ns, whole.duration_ns);
    (own.period_type, own.period) = (whole.period_type.clone(), whole.period);
    let mut translation = Translation::new(whole, &mut own, |stack| stacks.contains(&stack));
    for row in rows() {
        let labels = translation.labels(row.labels, &mut own);
        own.add(translation.stack(row.stack), labels, row.values);
    }
    own
}

fn pid_of(profile: &Profile, labels: &[(homeostat_model::profile::Text, LabelValue)]) -> Option<u32> {
    labels.iter().find_map(|(name, value)| match value {
        LabelValue::Number { value, .. } if profile.text(*name) == PID => u32::try_from(*value).ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use homeostat_model::profile::{Frame, Stack, Text, ValueType};

    use super::*;

    #[test]
    fn each_service_gets_its_own_processes() {
        let mut whole = Profile::new(vec![ValueType::new("samples", "count")]);
        (whole.started_ns, whole.period) = (5, 7);
        for (pid, function, count) in [(1, "a", 10), (2, "b", 20), (3, "a", 40)] {
            let (name, text) = (whole.intern(PID), whole.intern(function));
            let frame =
                Frame { function: text, file: Text::EMPTY, line: 0, module: Text::EMPTY, address: 0, inlined: false };
            let stack = whole.push_frame(Stack::EMPTY, frame);
            let labels = whole.intern_labels(vec![(name, LabelValue::Number { value: pid, unit: Text::EMPTY })]);
            whole.add(stack, labels, &[count]);
        }
        let of = |pids: &[u32]| part(&whole, &Members::Processes(pids.iter().copied().collect()));
        let shop = of(&[1, 3]);
        assert_eq!((shop.total(0), shop.started_ns, shop.period), (50, 5, 7));
        assert!(shop.strings().find("a").is_some() && shop.strings().find("b").is_none(), "no names of others");
        assert_eq!((of(&[2]).total(0), of(&[9]).rows().len()), (20, 0));
        assert_eq!(part(&whole, &Members::Everybody).total(0), 70);
    }
}
