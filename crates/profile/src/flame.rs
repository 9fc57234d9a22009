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
    /// Nodes that it called, by name.
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

    /// A graph of nothing.
    pub fn empty() -> Self {
        Builder::new().finish()
    }

    /// Weight of everything: 0 before, 1 now.
    pub fn ticks(&self, side: usize) -> i64 {
        self.nodes.first().and_then(|root| root.total.get(side)).copied().unwrap_or(0)
    }

    /// The largest weight of a function itself, on either side.
    pub fn heaviest_own(&self) -> i64 {
        self.nodes.iter().flat_map(|node| node.own).max().unwrap_or(0)
    }

    /// The same graph with the `nodes` heaviest nodes. What is left out of a function's callees stands in one node `other`
    /// beside them, so that all weights stay; those nodes come on top of the limit.
    pub fn limited(mut self, nodes: usize) -> Self {
        let nodes = nodes.max(1);
        if self.nodes.len() <= nodes {
            return self;
        }
        let weight = |node: &FlameNode| node.total.iter().map(|total| total.saturating_abs()).max().unwrap_or(0);
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        // Callers come first among equals, and are never lighter than what they call.
        order.sort_by_key(|id| (std::cmp::Reverse(self.nodes.get(*id).map_or(0, weight)), *id));
        let mut kept = vec![false; self.nodes.len()];
        for id in order.into_iter().take(nodes).chain([0]) {
            if let Some(kept) = kept.get_mut(id) {
                *kept = true;
            }
        }
        let is_kept = |id: &usize| kept.get(*id) == Some(&true);
        let name = self.names.len();
        self.names.push("other".to_owned());
        for id in (0..self.nodes.len()).filter(is_kept) {
            let Some(children) = self.nodes.get(id).map(|node| node.children.clone()) else { continue };
            let (mut stay, gone): (Vec<usize>, Vec<usize>) = children.into_iter().partition(is_kept);
            if gone.is_empty() {
                continue;
            }
            let mut sum = [0_i64; 2];
            for gone in gone.iter().filter_map(|id| self.nodes.get(*id)) {
                for (sum, total) in sum.iter_mut().zip(gone.total) {
                    *sum = sum.saturating_add(total);
                }
            }
            stay.push(self.nodes.len());
            self.nodes.push(FlameNode { name, own: sum, total: sum, children: Vec::new() });
            if let Some(node) = self.nodes.get_mut(id) {
                node.children = stay;
            }
        }
        self.compacted()
    }

    /// The same graph with the nodes that can be reached and their names, and no others.
    fn compacted(self) -> Self {
        let mut kept = Self { names: Vec::new(), nodes: Vec::new() };
        let mut names: Vec<Option<usize>> = vec![None; self.names.len()];
        // Old nodes in the order in which they get their new numbers.
        let mut order = vec![0];
        let mut at = 0;
        while let Some(node) = order.get(at).and_then(|id: &usize| self.nodes.get(*id)) {
            at += 1;
            let first = order.len();
            order.extend(&node.children);
            let name = names.get_mut(node.name).map_or(0, |slot| {
                *slot.get_or_insert_with(|| {
                    kept.names.push(self.name(node).to_owned());
                    kept.names.len() - 1
                })
            });
            kept.nodes.push(FlameNode { name, children: (first..order.len()).collect(), ..*node });
        }
        kept
    }

    /// Pyroscope's arrays for two profiles: seven numbers a node: distance to the node on its left, total and own before; the
    /// same now; index of the name.
    pub fn levels_diff(&self) -> Vec<Vec<i64>> {
        let mut levels = Vec::new();
        let mut level = vec![(0_usize, [0_i64; 2])];
        while !level.is_empty() {
            let (mut numbers, mut next, mut end) = (Vec::with_capacity(7 * level.len()), Vec::new(), [0_i64; 2]);
            for (id, offset) in level {
                let Some(node) = self.nodes.get(id) else { continue };
                let ([own_before, own], [total_before, total]) = (node.own, node.total);
                let [at_before, at_now] = offset;
                let [end_before, end_now] = end;
                numbers.extend([at_before.saturating_sub(end_before), total_before, own_before]);
                numbers.extend([at_now.saturating_sub(end_now), total, own, node.name as i64]);
                end = [at_before.saturating_add(total_before), at_now.saturating_add(total)];
                let mut at = offset;
                for child in &node.children {
                    next.push((*child, at));
                    let totals = self.nodes.get(*child).map_or([0; 2], |child| child.total);
                    at = [at[0].saturating_add(totals[0]), at[1].saturating_add(totals[1])];
                }
            }
            levels.push(numbers);
            level = next;
        }
        levels
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
                numbers.extend([offset.saturating_sub(end), total, own, node.name as i64]);
                end = offset.saturating_add(total);
                let mut at = offset;
                for child in &node.children {
                    next.push((*child, at));
                    at = at.saturating_add(self.nodes.get(*child).map_or(0, |child| child.total[1]));
                }
            }
            levels.push(numbers);
            level = next;
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::profile::{Frame, LabelSet, Text, ValueType};

    use super::*;

    #[test]
    fn a_limited_graph_has_no_more_names_than_nodes_and_levels_saturate() {
        let mut profile = Profile::new(vec![ValueType::new("cpu", "nanoseconds")]);
        for index in 0..1_000 {
            let (function, none) = (profile.intern(&format!("f{index}")), Text::EMPTY);
            let frame = Frame { function, file: none, line: 0, module: none, address: 0, inlined: false };
            let stack = profile.push_frame(Stack::EMPTY, frame);
            profile.add(stack, LabelSet::NONE, &[i64::MAX - index]);
        }
        let graph = flame(&profile, 0).limited(4);
        assert_eq!(graph.names, ["total", "f0", "f1", "f2", "other"]);
        assert_eq!((graph.nodes.len(), graph.nodes[0].children.as_slice()), (5, &[1, 2, 3, 4][..]));
        assert_eq!((graph.levels().len(), graph.levels_diff().len()), (2, 2));
    }
}
