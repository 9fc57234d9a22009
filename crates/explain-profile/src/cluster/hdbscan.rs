//! HDBSCAN: groups by density at every scale, of which the most lasting are kept.
//!
//! ```text
//! reach(a, b)  the largest of the distance and of how far each has to go for its k-th neighbour
//! tree         the minimum spanning tree over reach, taken apart from its longest edge down
//! lasting      for a group the sum over its members of 1/reach where they leave minus 1/reach where the group appeared
//! ```
//!
//! A group is kept when it lasts longer than its parts together. Everything is decided by order of index at ties: the
//! same distances give the same groups.
//!
//! Source: Campello, Moulavi, Sander 2013; McInnes, Healy 2017 (condensed tree).

use super::{Distances, renumbered};

/// A join of two subtrees of the single-linkage tree: ids below the number of points are points, above are joins.
#[derive(Clone, Copy, Debug)]
struct Join {
    left: usize,
    right: usize,
    reach: f64,
    size: usize,
}

/// A group of the condensed tree.
#[derive(Clone, Debug, Default)]
struct Group {
    born: f64,
    lasting: f64,
    parts: Vec<usize>,
    members: Vec<usize>,
}

pub(super) fn labels(distances: &Distances, members_min: usize) -> Vec<Option<usize>> {
    let count = distances.count();
    let mut labels = vec![None; count];
    if count < members_min {
        return labels;
    }
    let joins = joins(count, spanning_tree(distances, &core(distances, members_min)));
    let groups = condensed(count, &joins, members_min);
    for group in kept(&groups) {
        for member in all_members(&groups, group) {
            if let Some(label) = labels.get_mut(member) {
                *label = Some(group);
            }
        }
    }
    renumbered(&labels)
}

/// How far each has to go for its k-th neighbour, itself being the first.
fn core(distances: &Distances, neighbours: usize) -> Vec<f64> {
    let farthest = |at: usize| {
        let mut row = distances.row(at).to_vec();
        row.sort_by(f64::total_cmp);
        row.get(neighbours - 1).copied().unwrap_or(f64::MAX)
    };
    (0..distances.count()).map(farthest).collect()
}

/// Prim's algorithm: edges as (a, b, reach).
fn spanning_tree(distances: &Distances, core: &[f64]) -> Vec<(usize, usize, f64)> {
    let count = distances.count();
    let core_of = |at: usize| core.get(at).copied().unwrap_or(f64::MAX);
    let (mut nearest, mut inside) = (vec![(f64::INFINITY, 0); count], vec![false; count]);
    let (mut edges, mut at) = (Vec::with_capacity(count), 0);
    for _ in 1..count {
        if let Some(flag) = inside.get_mut(at) {
            *flag = true;
        }
        let mut next = (f64::INFINITY, usize::MAX);
        for (other, best) in nearest.iter_mut().enumerate() {
            if inside.get(other) == Some(&true) {
                continue;
            }
            let reach = distances.between(at, other).max(core_of(at)).max(core_of(other));
            if reach < best.0 {
                *best = (reach, at);
            }
            if best.0 < next.0 || next.1 == usize::MAX {
                next = (best.0, other);
            }
        }
        let Some((reach, from)) = nearest.get(next.1).copied() else { break };
        edges.push((from, next.1, reach));
        at = next.1;
    }
    edges.sort_by(|a, b| a.2.total_cmp(&b.2).then((a.0.min(a.1), a.0.max(a.1)).cmp(&(b.0.min(b.1), b.0.max(b.1)))));
    edges
}

/// Joins subtrees along the edges, shortest first.
fn joins(count: usize, edges: Vec<(usize, usize, f64)>) -> Vec<Join> {
    let mut parent: Vec<usize> = (0..2 * count).collect();
    let mut joins: Vec<Join> = Vec::with_capacity(count);
    let size =
        |joins: &[Join], id: usize| id.checked_sub(count).map_or(1, |at| joins.get(at).map_or(0, |join| join.size));
    for (a, b, reach) in edges {
        let (left, right, id) = (root(&mut parent, a), root(&mut parent, b), count + joins.len());
        let joined = size(&joins, left) + size(&joins, right);
        for child in [left, right] {
            if let Some(slot) = parent.get_mut(child) {
                *slot = id;
            }
        }
        joins.push(Join { left, right, reach, size: joined });
    }
    joins
}

/// The subtree that an id is in; paths are shortened on the way.
fn root(parent: &mut [usize], mut id: usize) -> usize {
    while let Some(up) = parent.get(id).copied().filter(|up| *up != id) {
        let above = parent.get(up).copied().unwrap_or(up);
        if let Some(slot) = parent.get_mut(id) {
            *slot = above;
        }
        id = up;
    }
    id
}

/// The tree from its root down: a join whose two sides are both large enough makes two new groups, otherwise its small side falls
/// out of the group.
fn condensed(count: usize, joins: &[Join], members_min: usize) -> Vec<Group> {
    let mut groups = vec![Group::default()];
    let Some(last) = joins.len().checked_sub(1) else { return groups };
    let size = |id: usize| id.checked_sub(count).map_or(1, |at| joins.get(at).map_or(0, |join| join.size));
    let mut open = vec![(count + last, 0_usize)];
    while let Some((id, group)) = open.pop() {
        let Some(join) = id.checked_sub(count).and_then(|at| joins.get(at)) else { continue };
        // A reach of zero is a density without end: a large number that sums stay finite with.
        let density = (1.0 / join.reach.max(1e-9)).min(1e9);
        let large = [join.left, join.right].map(|side| members_min <= size(side));
        for (side, is_large) in [join.left, join.right].into_iter().zip(large) {
            match (is_large, large == [true, true]) {
                (true, true) => {
                    groups.push(Group { born: density, ..Group::default() });
                    let new = groups.len() - 1;
                    open.push((side, new));
                    if let Some(group) = groups.get_mut(group) {
                        group.parts.push(new);
                        group.lasting += size(side) as f64 * (density - group.born);
                    }
                }
                (true, false) => open.push((side, group)),
                (false, _) => {
                    let mut points = Vec::new();
                    points_of(count, joins, side, &mut points);
                    if let Some(group) = groups.get_mut(group) {
                        group.lasting += points.len() as f64 * (density - group.born);
                        group.members.append(&mut points);
                    }
                }
            }
        }
    }
    groups
}

fn points_of(count: usize, joins: &[Join], id: usize, into: &mut Vec<usize>) {
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        match id.checked_sub(count).and_then(|at| joins.get(at)) {
            Some(join) => open.extend([join.right, join.left]),
            None => into.push(id),
        }
    }
}

/// Groups that last longer than their parts. The root is everything and no group, unless it has no parts.
fn kept(groups: &[Group]) -> Vec<usize> {
    let mut best: Vec<f64> = groups.iter().map(|group| group.lasting).collect();
    let mut keeps: Vec<bool> = vec![true; groups.len()];
    // Parts come after what they are parts of.
    for (at, group) in groups.iter().enumerate().rev() {
        let parts: f64 = group.parts.iter().filter_map(|part| best.get(*part)).sum();
        let whole = at == 0 && !group.parts.is_empty();
        if let (Some(best), Some(keeps)) = (best.get_mut(at), keeps.get_mut(at))
            && (whole || (!group.parts.is_empty() && *best < parts))
        {
            (*best, *keeps) = (parts, false);
        }
    }
    let (mut found, mut open) = (Vec::new(), vec![0]);
    while let Some(at) = open.pop() {
        match keeps.get(at) {
            Some(true) => found.push(at),
            _ => open.extend(groups.get(at).iter().flat_map(|group| group.parts.iter().copied())),
        }
    }
    found
}

fn all_members(groups: &[Group], group: usize) -> Vec<usize> {
    let (mut members, mut open) = (Vec::new(), vec![group]);
    while let Some(group) = open.pop().and_then(|at| groups.get(at)) {
        members.extend(&group.members);
        open.extend(&group.parts);
    }
    members
}
