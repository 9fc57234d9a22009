//! Writes recordings beside the journal, on a thread of its own: a slow disk must not hold control up.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use homeostat_model::{IncidentId, incident::BlackBox};

use super::stop::join_within;

/// Recordings that wait for the disk. Each is a few hundred KiB; incidents come minutes apart.
const WAITING_MAX: usize = 16;

/// How long stopping waits for them.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Too many recordings wait already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

/// The writing end.
#[derive(Debug)]
pub(super) struct BlackBoxFiles {
    queue: Option<SyncSender<(IncidentId, BlackBox)>>,
    thread: Option<JoinHandle<()>>,
}

impl BlackBoxFiles {
    /// Starts the thread; `write` keeps one recording and reports what went wrong by itself.
    pub(super) fn start(mut write: impl FnMut(IncidentId, &BlackBox) + Send + 'static) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel::<(IncidentId, BlackBox)>(WAITING_MAX);
        let thread = thread::Builder::new().name("recordings".to_owned()).spawn(move || {
            for (incident, black_box) in waiting {
                write(incident, &black_box);
            }
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Hands a recording over.
    pub(super) fn keep(&self, incident: IncidentId, black_box: BlackBox) -> Result<(), Full> {
        let Some(queue) = &self.queue else { return Err(Full) };
        queue.try_send((incident, black_box)).map_err(|_not_taken| Full)
    }
}

impl Drop for BlackBoxFiles {
    /// Waits until everything handed over is written, a few seconds at most.
    fn drop(&mut self) {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return };
        match join_within(thread, STOP_WAIT) {
            Some(Ok(())) => {}
            Some(Err(_)) => tracing::error!("the writer of recordings had ended by a panic"),
            None => tracing::warn!("recordings wait for a disk that does not answer and are left behind"),
        }
    }
}
