//! Stands for [`GoWatch`] where programs for the kernel were not built in: nobody can have one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{HOW_TO_BUILD, NOT_BUILT, go_activity::GoActivity, probes::Refused};

/// Would watch Go programs; built without it.
#[derive(Debug)]
pub enum GoWatch {}

impl GoWatch {
    /// Refuses.
    pub fn start(_: &BTreeSet<u32>) -> Result<Self, Refused> {
        let reason = NOT_BUILT.to_owned();
        Err(Refused { what: "watching Go's runtime".to_owned(), reason, remedy: HOW_TO_BUILD })
    }

    /// Never called.
    pub fn refused(&self) -> impl Iterator<Item = (u32, &Refused)> {
        std::iter::empty()
    }

    /// Never called.
    pub fn watched(&self) -> BTreeSet<u32> {
        match *self {}
    }

    /// Never called.
    pub fn watch(&mut self, _: &BTreeSet<u32>) -> Result<(), Refused> {
        match *self {}
    }

    /// Never called.
    pub fn pause(&mut self) {
        match *self {}
    }

    /// Never called.
    pub fn resume(&mut self) {
        match *self {}
    }

    /// Never called.
    pub fn look(&mut self) -> Result<BTreeMap<u32, GoActivity>, Refused> {
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
