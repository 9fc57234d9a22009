//! Threads that end when they are told to, and waiting for those that may be stuck in the disk.

use std::{
    io,
    sync::mpsc::{Receiver, Sender, channel},
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

/// How long a [`Watching`] thread is waited for: a look takes milliseconds, loading programs into the kernel some hundred.
const WATCHING_WAIT: Duration = Duration::from_secs(5);

/// A thread that looks at something time after time, until it is told to end.
#[derive(Debug)]
pub(super) struct Watching {
    what: &'static str,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watching {
    /// Starts it under a name. `look` goes on until nobody is at the other end of its channel any more.
    pub(super) fn start(what: &'static str, look: impl FnOnce(&Receiver<()>) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name(what.to_owned()).spawn(move || look(&stopped))?;
        Ok(Self { what, stop, thread })
    }

    /// Ends it.
    pub(super) fn stop(self) {
        let Self { what, stop, thread } = self;
        drop(stop);
        match join_within(thread, WATCHING_WAIT) {
            Some(Ok(())) => {}
            Some(Err(_)) => tracing::error!("the thread {what} had ended by a panic"),
            None => tracing::warn!("the thread {what} does not end and is left behind"),
        }
    }
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
