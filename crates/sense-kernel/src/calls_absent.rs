//! Stands for [`KernelCalls`] where programs for the kernel were not built in: nobody can have one.

use std::{collections::BTreeSet, time::Duration};

use homeostat_calls::Call;

use crate::{HOW_TO_BUILD, NOT_BUILT, call_counts::CallCounts, probes::Refused};

/// Would follow calls; built without it.
#[derive(Debug)]
pub enum KernelCalls {}

impl KernelCalls {
    /// How often the kernel's ring would be emptied.
    pub const EVERY: Duration = Duration::from_millis(50);

    /// Refuses.
    pub fn start(_: &BTreeSet<u32>) -> Result<Self, Refused> {
        let reason = NOT_BUILT.to_owned();
        Err(Refused { what: "following calls".to_owned(), reason, remedy: HOW_TO_BUILD })
    }

    /// Never called.
    pub fn watch(&self, _: &BTreeSet<u32>) -> Result<(), Refused> {
        match *self {}
    }

    /// Never called.
    pub fn pause(&mut self) {
        match *self {}
    }

    /// Never called.
    pub fn resume(&mut self) -> Result<(), Refused> {
        match *self {}
    }

    /// Never called.
    pub fn take(&mut self, _: &mut Vec<Call>) {
        match *self {}
    }

    /// Never called.
    pub fn told(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    /// Never called.
    pub fn counts(&self) -> CallCounts {
        match *self {}
    }

    /// Never called.
    pub fn kernel_time(&self) -> Duration {
        match *self {}
    }

    /// Never called.
    pub fn kernel_bytes(&self) -> u64 {
        match *self {}
    }
}
