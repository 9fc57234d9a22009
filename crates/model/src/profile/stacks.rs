//! Stacks as a trie of parent pointers.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::Frame;

/// A stack of one [`Stacks`]: a node of the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stack(u32);

impl Stack {
    /// The stack without frames, in every trie.
    pub const EMPTY: Self = Self(0);

    /// Its place in the trie, from 0 and without gaps.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node: the innermost frame and what called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    parent: Stack,
    frame: u32,
}

/// Stacks that share their outer frames. Keys of the maps are numbers given out here, not by whoever sent the profile: a
/// hasher without a secret is safe for them.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    frames: Vec<Frame>,
    frame_ids: HashMap<Frame, u32, FixedState>,
    /// Node 0, the empty stack, is not kept: node `n` is entry `n - 1`.
    nodes: Vec<Node>,
    node_ids: HashMap<Node, Stack, FixedState>,
}

impl Stacks {
    /// Keeps a stack: `frame` called by the innermost frame of `parent`.
    pub(super) fn push(&mut self, parent: Stack, frame: Frame) -> Stack {
        let frame = *self.frame_ids.entry(frame).or_insert_with(|| {
            self.frames.push(frame);
            // Four billion frames do not fit into memory.
            u32::try_from(self.frames.len() - 1).unwrap_or(u32::MAX)
        });
        let node = Node { parent, frame };
        *self.node_ids.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            Stack(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX))
        })
    }

    /// All frames, each once; [`Stacks::frame_index`] counts in this order.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Nodes, the empty stack included.
    #[expect(clippy::len_without_is_empty, reason = "the empty stack is always there")]
    pub fn len(&self) -> usize {
        self.nodes.len() + 1
    }

    /// All stacks but the empty one, callers before what they call.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Stack> + ExactSizeIterator {
        // The count was checked when the nodes were made.
        (0..self.nodes.len()).map(|index| Stack(index as u32 + 1))
    }

    /// The stack at this place of the trie; `None` behind its end.
    pub fn at(&self, index: usize) -> Option<Stack> {
        (index < self.len()).then_some(Stack(index as u32))
    }

    /// What called the innermost frame; the empty stack for the empty stack.
    pub fn parent(&self, stack: Stack) -> Stack {
        self.node(stack).map_or(Stack::EMPTY, |node| node.parent)
    }

    /// The innermost frame; `None` for the empty stack.
    pub fn frame(&self, stack: Stack) -> Option<&Frame> {
        self.frames.get(self.frame_index(stack)?)
    }

    /// The place of the innermost frame in [`Stacks::frames`].
    pub fn frame_index(&self, stack: Stack) -> Option<usize> {
        self.node(stack).map(|node| node.frame as usize)
    }

    /// Frames from the innermost outwards.
    pub fn walk(&self, stack: Stack) -> impl Iterator<Item = &Frame> {
        let above = |stack: &Stack| Some(self.parent(*stack)).filter(|parent| *parent != Stack::EMPTY);
        let first = Some(stack).filter(|stack| *stack != Stack::EMPTY);
        std::iter::successors(first, above).filter_map(|stack| self.frame(stack))
    }

    fn node(&self, stack: Stack) -> Option<&Node> {
        self.nodes.get(stack.index().checked_sub(1)?)
    }
}
