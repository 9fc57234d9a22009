//! How much each function weighs: itself, and with everything that it calls.

use std::collections::BTreeMap;

use homeostat_model::profile::{Profile, Stack};

/// One function of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionWeight {
    /// While it ran itself.
    pub own: i64,
    /// While it or something that it called ran; a recursion counts once.
    pub total: i64,
}

/// All functions of a profile by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// By name; frames without a name are called by their place.
    pub functions: BTreeMap<String, FunctionWeight>,
    /// Sum of the column.
    pub sum: i64,
}

/// Weighs the functions of one column. A column that is not there weighs nothing.
pub fn weights(profile: &Profile, column: usize) -> Weights {
    let stacks = profile.stacks();
    // Names first: several frames, lines or copies, are one function.
    let mut names = BTreeMap::new();
    let mut name_of_frame = Vec::with_capacity(stacks.frames().len());
    for frame in stacks.frames() {
        let next = names.len();
        name_of_frame.push(*names.entry(profile.frame_name(frame)).or_insert(next));
    }
    let name = |stack: Stack| stacks.frame_index(stack).and_then(|frame| name_of_frame.get(frame)).copied();
    let (own, sums) = stack_sums(profile, column);
    let recursions = recursions(profile, &name_of_frame, names.len());
    let mut functions = vec![FunctionWeight::default(); names.len()];
    for stack in stacks.iter() {
        let (Some(name), Some(own), Some(sum)) = (name(stack), own.get(stack.index()), sums.get(stack.index())) else {
            continue;
        };
        let Some(function) = functions.get_mut(name) else { continue };
        function.own = function.own.saturating_add(*own);
        if recursions.get(stack.index()) == Some(&false) {
            function.total = function.total.saturating_add(*sum);
        }
    }
    let sum = profile.total(column);
    let functions = names.into_iter().filter_map(|(name, index)| Some((name, *functions.get(index)?))).collect();
    Weights { functions, sum }
}

/// For each stack what its rows hold, and what they and the rows of all longer stacks hold.
pub(crate) fn stack_sums(profile: &Profile, column: usize) -> (Vec<i64>, Vec<i64>) {
    let mut own = vec![0_i64; profile.stacks().len()];
    for row in profile.rows() {
        if let (Some(sum), Some(value)) = (own.get_mut(row.stack.index()), row.values.get(column)) {
            *sum = sum.saturating_add(*value);
        }
    }
    let mut sums = own.clone();
    // From the end: what is called comes after its callers.
    for stack in profile.stacks().iter().rev() {
        let value = sums.get(stack.index()).copied().unwrap_or(0);
        if let Some(caller) = sums.get_mut(profile.stacks().parent(stack).index()) {
            *caller = caller.saturating_add(value);
        }
    }
    (own, sums)
}

/// For each stack, whether its innermost function stands further out as well. One walk over the trie in depth, which
/// counts how often each function is on the way.
fn recursions(profile: &Profile, name_of_frame: &[usize], names: usize) -> Vec<bool> {
    let stacks = profile.stacks();
    let (mut first_child, mut sibling) = (vec![Stack::EMPTY; stacks.len()], vec![Stack::EMPTY; stacks.len()]);
    for stack in stacks.iter().rev() {
        let Some(first) = first_child.get_mut(stacks.parent(stack).index()) else { continue };
        if let Some(next) = sibling.get_mut(stack.index()) {
            *next = std::mem::replace(first, stack);
        }
    }
    let link = |links: &[Stack], stack: Stack| links.get(stack.index()).copied().unwrap_or(Stack::EMPTY);
    let (mut on_the_way, mut found) = (vec![0_u32; names], vec![false; stacks.len()]);
    let mut at = link(&first_child, Stack::EMPTY);
    while at != Stack::EMPTY {
        let count = stacks.frame_index(at).and_then(|frame| on_the_way.get_mut(*name_of_frame.get(frame)?));
        if let (Some(count), Some(found)) = (count, found.get_mut(at.index())) {
            *found = 0 < *count;
            *count += 1;
        }
        let mut next = link(&first_child, at);
        // Nothing below: on to what stands beside it, or beside one of its callers.
        while next == Stack::EMPTY && at != Stack::EMPTY {
            if let Some(count) = stacks.frame_index(at).and_then(|frame| on_the_way.get_mut(*name_of_frame.get(frame)?))
            {
                *count -= 1;
            }
            next = link(&sibling, at);
            at = stacks.parent(at);
        }
        at = next;
    }
    found
}
