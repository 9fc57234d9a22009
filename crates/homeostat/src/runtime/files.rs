//! Writes recordings and profiles beside the journal, on a thread of its own: a slow disk must not hold control up.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use homeostat_model::{IncidentId, explanation::ProfileKept, incident::BlackBox, kernel::KernelStrip};

use super::stop::join_within;

/// What is kept with an incident.
#[derive(Debug)]
pub(super) enum Kept {
    /// Its recording.
    Recording(BlackBox),
    /// Profiles and strips of the kernel beside it.
    Beside(Vec<ProfileKept>, Vec<KernelStrip>),
}

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
    queue: Option<SyncSender<(IncidentId, Kept)>>,
    thread: Option<JoinHandle<()>>,
}

impl BlackBoxFiles {
    /// Starts the thread; `write` keeps one thing and reports what went wrong by itself.
    pub(super) fn start(mut write: impl FnMut(IncidentId, Kept) + Send + 'static) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel::<(IncidentId, Kept)>(WAITING_MAX);
        let thread = thread::Builder::new().name("recordings".to_owned()).spawn(move || {
            for (incident, kept) in waiting {
                write(incident, kept);
            }
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Hands something over.
    pub(super) fn keep(&self, incident: IncidentId, kept: Kept) -> Result<(), Full> {
        let Some(queue) = &self.queue else { return Err(Full) };
        queue.try_send((incident, kept)).map_err(|_not_taken| Full)
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
