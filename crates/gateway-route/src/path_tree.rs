//! Routes by path: a hash map of exact paths and a tree of prefixes, one node per segment.
//!
//! A lookup walks down the tree once and then back up, so its cost is bounded by the depth of the declared prefixes, not
//! by what a client sends. A prefix with a final slash means the same as without: `/a/` is `/a`.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::{condition::Conditions, spec::PathMatch};

/// One way to a route: this host and path (by position in the tree), these conditions.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) conditions: Conditions,
    /// Position in the specification's routes.
    pub(crate) route: usize,
    /// Position in the route's hosts.
    pub(crate) host: usize,
}

/// Candidates by path.
#[derive(Clone, Debug)]
pub(crate) struct PathTree {
    exact: HashMap<Box<str>, Vec<Candidate>, FixedState>,
    /// The first node is the root, the prefix `/`.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    parent: Option<usize>,
    children: HashMap<Box<str>, usize, FixedState>,
    candidates: Vec<Candidate>,
}

impl Default for PathTree {
    fn default() -> Self {
        Self { exact: HashMap::default(), nodes: vec![Node::default()] }
    }
}

impl PathTree {
    /// Adds a candidate behind those with the same path.
    pub(crate) fn insert(&mut self, path: &PathMatch, candidate: Candidate) {
        match path {
            PathMatch::Exact(path) => self.exact.entry(path.as_str().into()).or_default().push(candidate),
            PathMatch::Prefix(prefix) => {
                let mut at = 0;
                for segment in segments(prefix.strip_suffix('/').unwrap_or(prefix)) {
                    at = self.child(at, segment);
                }
                if let Some(node) = self.nodes.get_mut(at) {
                    node.candidates.push(candidate);
                }
            }
        }
    }

    /// The candidates of each path, in the order in which they were inserted.
    pub(crate) fn lists_mut(&mut self) -> impl Iterator<Item = &mut Vec<Candidate>> {
        self.exact.values_mut().chain(self.nodes.iter_mut().map(|node| &mut node.candidates))
    }

    /// Returns the first candidate that `fits`: of the exact path, else of the longest prefix, else of shorter ones.
    pub(crate) fn find(&self, path: &str, fits: impl Fn(&Candidate) -> bool) -> Option<&Candidate> {
        if let Some(found) = self.exact.get(path).and_then(|list| list.iter().find(|c| fits(c))) {
            return Some(found);
        }
        let mut at = Some(self.deepest(path)?);
        while let Some(node) = at.and_then(|index| self.nodes.get(index)) {
            if let Some(found) = node.candidates.iter().find(|c| fits(c)) {
                return Some(found);
            }
            at = node.parent;
        }
        None
    }

    /// The node of the longest declared path of segments that begins `path`; nothing for what is no path.
    fn deepest(&self, path: &str) -> Option<usize> {
        if !path.starts_with('/') {
            return None;
        }
        let mut at = 0;
        for segment in segments(path) {
            match self.nodes.get(at).and_then(|node| node.children.get(segment)) {
                Some(child) => at = *child,
                None => break,
            }
        }
        Some(at)
    }

    fn child(&mut self, parent: usize, segment: &str) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else { return parent };
        let child = *node.children.entry(segment.into()).or_insert(next);
        if child == next {
            self.nodes.push(Node { parent: Some(parent), ..Node::default() });
        }
        child
    }
}

/// The segments of a path: what stands behind each slash.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}
