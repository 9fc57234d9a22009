//! Flame graphs: stacks of functions with their weights, as a tree and as flat arrays.

use std::collections::BTreeMap;

use homeostat_model::profile::{Profile, Stack};

use crate::weights::stack_sums;

/// A node: a function called by its parent's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlameNode {
    /// Name of the function; a place in [`Flame::names`].
    pub name: usize,
    /// Weight while the function itself ran: before, and now. A graph of one profile has only the second.
    pub own: [i64; 2],
    /// Weight with everything that it called.
    pub total: [i64; 2],
    /// Nodes that it called, heaviest names first come by name.
    pub children: Vec<usize>,
}

/// A flame graph. Node 0 is the root, which stands for everything.
#[derive(Clone, Debug)]
pub struct Flame {
    /// Names of functions; the first is `total`.
    pub names: Vec<String>,
    /// Nodes, callers before what they call.
    pub nodes: Vec<FlameNode>,
}

/// Builds up a tree in which lines and labels do not count.
#[derive(Debug)]
struct Builder {
    flame: Flame,
    name_ids: BTreeMap<String, usize>,
    node_ids: BTreeMap<(usize, usize), usize>,
}

impl Builder {
    fn new() -> Self {
        let root = FlameNode::default();
        let flame = Flame { names: vec!["total".to_owned()], nodes: vec![root] };
        Self { flame, name_ids: BTreeMap::new(), node_ids: BTreeMap::new() }
    }

    /// Adds a profile's column on one side.
    fn add(&mut self, profile: &Profile, column: usize, side: usize) {
        let names: Vec<usize> =
            profile.stacks().frames().iter().map(|frame| self.name(profile.frame_name(frame))).collect();
        let (own, sums) = stack_sums(profile, column);
        let mut nodes = vec![0; profile.stacks().len()];
        self.weigh(0, side, own.first(), sums.first());
        for stack in profile.stacks().iter() {
            let weight = (own.get(stack.index()), sums.get(stack.index()));
            if weight.1.is_none_or(|sum| *sum == 0) {
                continue;
            }
            let caller = nodes.get(profile.stacks().parent(stack).index()).copied().unwrap_or(0);
            let Some(name) = name_of(profile, stack, &names) else { continue };
            let node = self.node(caller, name);
            if let Some(slot) = nodes.get_mut(stack.index()) {
                *slot = node;
            }
            self.weigh(node, side, weight.0, weight.1);
        }
    }

    fn name(&mut self, name: String) -> usize {
        let names = &mut self.flame.names;
        *self.name_ids.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() - 1
        })
    }

    fn node(&mut self, caller: usize, name: usize) -> usize {
        let nodes = &mut self.flame.nodes;
        *self.node_ids.entry((caller, name)).or_insert_with(|| {
            let id = nodes.len();
            nodes.push(FlameNode { name, ..FlameNode::default() });
            if let Some(caller) = nodes.get_mut(caller) {
                caller.children.push(id);
            }
            id
        })
    }

    fn weigh(&mut self, node: usize, side: usize, own: Option<&i64>, sum: Option<&i64>) {
        let Some(node) = self.flame.nodes.get_mut(node) else { return };
        for (slots, value) in [(&mut node.own, own), (&mut node.total, sum)] {
            if let (Some(slot), Some(value)) = (slots.get_mut(side), value) {
                *slot = slot.saturating_add(*value);
            }
        }
    }

    /// Children by name, so that two graphs of one program look alike.
    fn finish(mut self) -> Flame {
        let names: Vec<String> = self.flame.nodes.iter().map(|node| self.flame.name(node).to_owned()).collect();
        for node in &mut self.flame.nodes {
            node.children.sort_by(|a, b| names.get(*a).cmp(&names.get(*b)));
        }
        self.flame
    }
}

fn name_of(profile: &Profile, stack: Stack, names: &[usize]) -> Option<usize> {
    names.get(profile.stacks().frame_index(stack)?).copied()
}

/// The flame graph of one column.
pub fn flame(profile: &Profile, column: usize) -> Flame {
    let mut builder = Builder::new();
    builder.add(profile, column, 1);
    builder.finish()
}

/// The flame graph of two profiles: what was and what is, side by side in each node.
pub fn flame_diff(before: &Profile, before_column: usize, now: &Profile, now_column: usize) -> Flame {
    let mut builder = Builder::new();
    builder.add(before, before_column, 0);
    builder.add(now, now_column, 1);
    builder.finish()
}

impl Flame {
    /// A node's name.
    pub fn name(&self, node: &FlameNode) -> &str {
        self.names.get(node.name).map_or("", |name| name)
    }

    /// Pyroscope's arrays for one profile: a list a level, of four numbers a node: distance to the node on its left, total,
    /// own, index of the name.
    pub fn levels(&self) -> Vec<Vec<i64>> {
        let mut levels = Vec::new();
        // Nodes of a level with the offset at which they begin.
        let mut level = vec![(0_usize, 0_i64)];
        while !level.is_empty() {
            let (mut numbers, mut next, mut end) = (Vec::with_capacity(4 * level.len()), Vec::new(), 0);
            for (id, offset) in level {
                let Some(node) = self.nodes.get(id) else { continue };
                let ([_, own], [_, total]) = (node.own, node.total);
                numbers.extend([offset - end, total, own, node.name as i64]);
                end = offset + total;
                let mut at = offset;
                for child in &node.children {
                    next.push((*child, at));
                    at += self.nodes.get(*child).map_or(0, |child| child.total[1]);
                }
            }
            levels.push(numbers);
            level = next;
        }
        levels
    }
}
