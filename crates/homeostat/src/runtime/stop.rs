//! Waiting for threads that may be stuck in the disk.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often a thread is looked at: stopping is rare, and nobody notices 2 ms.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Joins a thread, or leaves it behind after `timeout`: a disk that never answers must not keep the process from ending.
pub(super) fn join_within<T>(thread: JoinHandle<T>, timeout: Duration) -> Option<thread::Result<T>> {
    let deadline = Instant::now() + timeout;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
    Some(thread.join())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_stuck_thread_is_left_behind_and_a_finished_one_gives_its_result() {
        let (release, held) = channel::<()>();
        let stuck = thread::spawn(move || held.recv().is_ok());
        assert!(join_within(stuck, Duration::from_millis(10)).is_none());
        drop(release);
        assert!(matches!(join_within(thread::spawn(|| 7), Duration::from_mins(1)), Some(Ok(7))));
    }
}
