//! hyper's tasks on the worker's own thread.

use hyper::rt::Executor;

/// Spawns on the current thread: a worker's connections, streams and pools never leave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExec;

impl<F> Executor<F> for LocalExec
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        // Ends by itself with its connection; the worker's end cancels it.
        drop(tokio::task::spawn_local(future));
    }
}
