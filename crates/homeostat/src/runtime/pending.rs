//! Effects that wait for their step to be on disk, in the order of the steps.
//!
//! The journal never makes control wait: it gives a ticket, rides out a stuck disk in its own queues, and says when it
//! cannot take more. Here stands only what happens once a ticket is good. A caller that may go ahead of the disk
//! (a protective shift) takes its commands out of the newest entry and decides for itself.

use std::{collections::VecDeque, time::Duration};

use homeostat_store_events::StepTicket;

/// Stands for a step until it is durable.
pub(super) trait Ticket {
    /// Whether it is on disk, waiting for that at most that long. A failed write is tried again by the journal itself;
    /// until then the step is just not on disk.
    fn is_durable(&self, timeout: Duration) -> bool;
}

impl Ticket for StepTicket {
    fn is_durable(&self, timeout: Duration) -> bool {
        self.wait(timeout).is_ok()
    }
}

/// See the module's header. Its length is bounded by the journal, which refuses steps long before memory is short.
#[derive(Debug)]
pub(super) struct Pending<T, E> {
    waiting: VecDeque<(T, E)>,
}

impl<T, E> Default for Pending<T, E> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<T: Ticket, E> Pending<T, E> {
    /// Adds the effects of a step that was just appended.
    pub(super) fn push(&mut self, ticket: T, effects: E) {
        self.waiting.push_back((ticket, effects));
    }

    /// Waits until the newest step is durable, at most that long.
    pub(super) fn wait_newest(&self, timeout: Duration) -> bool {
        self.waiting.back().is_none_or(|(ticket, _)| ticket.is_durable(timeout))
    }

    /// The effects of the newest step.
    pub(super) fn newest(&mut self) -> Option<&mut E> {
        self.waiting.back_mut().map(|(_, effects)| effects)
    }

    /// Takes the oldest effects if their step is durable by now.
    pub(super) fn next_durable(&mut self) -> Option<E> {
        let (ticket, _) = self.waiting.front()?;
        if ticket.is_durable(Duration::ZERO) { self.waiting.pop_front().map(|(_, effects)| effects) } else { None }
    }

    /// The effects of all waiting steps, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.waiting.iter().map(|(_, effects)| effects)
    }

    /// As [`Self::iter`], to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.waiting.iter_mut().map(|(_, effects)| effects)
    }

    /// Steps that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    /// Durable as soon as the disk has written that many.
    struct Nth(u32, Rc<Cell<u32>>);

    impl Ticket for Nth {
        fn is_durable(&self, _: Duration) -> bool {
            self.0 <= self.1.get()
        }
    }

    #[test]
    fn effects_come_in_order_once_their_step_is_on_disk() {
        let written = Rc::new(Cell::new(0));
        let mut pending = Pending::default();
        for n in 1..=3 {
            pending.push(Nth(n, Rc::clone(&written)), n);
        }
        assert_eq!(pending.next_durable(), None);
        written.set(2);
        assert!(!pending.wait_newest(Duration::ZERO));
        assert_eq!((pending.next_durable(), pending.next_durable(), pending.next_durable()), (Some(1), Some(2), None));
        assert_eq!((pending.newest().copied(), pending.len()), (Some(3), 1));
        written.set(3);
        assert!(pending.wait_newest(Duration::ZERO));
        assert_eq!(pending.next_durable(), Some(3));
        assert!(pending.is_empty());
    }
}
