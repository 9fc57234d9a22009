//! Values that change along a function: lines, files, indexes of inlined calls.
//!
//! Pairs of variable-length numbers: by how much the value changes (zigzag), and for how many program counters it then
//! holds. The value begins at -1; a change of 0 that is not the first ends the list.

/// Steps of one list that are taken. A step covers at least one instruction of one byte, and the largest functions,
/// generated initialisers, have some hundred KiB.
const STEPS_MAX: usize = 1 << 20;

/// One step: from where the last one ended to `end` the value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Distance from the function's beginning, exclusive.
    pub(crate) end: u64,
    pub(crate) value: i32,
}

/// Walks over a list.
pub(crate) fn steps(list: &[u8], quantum: u8) -> impl Iterator<Item = Step> {
    let (mut rest, mut value, mut end) = (list, -1_i32, 0_u64);
    let mut is_first = true;
    std::iter::from_fn(move || {
        let change = varint(&mut rest)?;
        if change == 0 && !is_first {
            return None;
        }
        is_first = false;
        let change = (change >> 1) as i32 ^ -((change & 1) as i32);
        value = value.wrapping_add(change);
        end = end.checked_add(u64::from(varint(&mut rest)?) * u64::from(quantum))?;
        Some(Step { end, value })
    })
    .take(STEPS_MAX)
}

/// The value at a distance from the function's beginning.
pub(crate) fn value_at(list: &[u8], quantum: u8, distance: u64) -> Option<i32> {
    steps(list, quantum).find(|step| distance < step.end).map(|step| step.value)
}

fn varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..35).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_until_the_next_step() {
        // +7 for 4, -2 for 300, end.
        let list = [14, 4, 3, 0xac, 0x02, 0, 9, 9];
        let found: Vec<_> = steps(&list, 1).map(|step| (step.end, step.value)).collect();
        assert_eq!(found, [(4, 6), (304, 4)]);
        assert_eq!(value_at(&list, 1, 3), Some(6));
        assert_eq!(value_at(&list, 1, 4), Some(4));
        assert_eq!(value_at(&list, 4, 15), Some(6), "arm64 counts instructions");
        assert_eq!(value_at(&list, 1, 304), None);
    }

    #[test]
    fn a_list_that_is_cut_off_or_lies_ends() {
        for list in [&[][..], &[14], &[0xff; 9], &[14, 0x80]] {
            assert_eq!(steps(list, 1).count(), 0, "{list:?}");
        }
        assert_eq!(value_at(&[0, 5], 1, 2), Some(-1), "a first change of nothing is a change");
    }
}
