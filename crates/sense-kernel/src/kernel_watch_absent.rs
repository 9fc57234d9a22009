//! Stands for [`KernelWatch`] where programs for the kernel were not built in: nobody can have one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{HOW_TO_BUILD, NOT_BUILT, activity::Activity, probes::Refused, processes::Targets};

/// Would watch processes; built without it.
#[derive(Debug)]
pub enum KernelWatch {}

impl KernelWatch {
    /// Refuses.
    pub fn start(_: &Targets) -> Result<Self, Refused> {
        Err(Refused { what: "watching processes".to_owned(), reason: NOT_BUILT.to_owned(), remedy: HOW_TO_BUILD })
    }

    /// Never called.
    pub fn refused(&self) -> &[Refused] {
        match *self {}
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
    pub fn read(&self) -> Result<BTreeMap<u32, Activity>, Refused> {
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
