//! Where pulled profiles go.

use std::pin::Pin;

use homeostat_model::{Labels, TimeMs, profile::Profile};

/// Ends when a profile is durable; the text says why it is not.
pub type Storing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The store, as pullers see it.
pub trait ProfileSink: std::fmt::Debug + Send + Sync + 'static {
    /// Takes a profile that was asked for at `now_ms`; the text says why not. May block for as long as a lock is held.
    fn push(&self, labels: &Labels, profile: &Profile, now_ms: TimeMs) -> Result<Storing, String>;
}
