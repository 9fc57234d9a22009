//! A store on a temporary directory, and profiles to fill it with.

use std::{fs, path::Path, time::Duration};

use homeostat_model::{
    Labels,
    profile::{Frame, LabelValue, Profile, Stack, Text, ValueType},
};
use homeostat_profile::weights;
use homeostat_promql::Matcher;
use homeostat_store_objects::Place;
use homeostat_store_profiles::{Columns, Merged, ProfileStore, Query, Recovery, StoreOptions};

/// Some instant: begin of a shard, in ms since 1970.
pub(crate) const T0: i64 = 1_763_712_000_000;
pub(crate) const HOUR: i64 = 3_600_000;

pub(crate) struct Bench {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn open(&self) -> (ProfileStore, Recovery) {
        self.open_with(StoreOptions { retention: None, ..StoreOptions::default() }, T0)
    }

    pub(crate) fn open_with(&self, options: StoreOptions, now_ms: i64) -> (ProfileStore, Recovery) {
        open(self.dir.path(), options, self.runtime.handle().clone(), now_ms)
    }
}

pub(crate) fn open(
    dir: &Path,
    options: StoreOptions,
    runtime: tokio::runtime::Handle,
    now_ms: i64,
) -> (ProfileStore, Recovery) {
    let place = Place::directory(&dir.join("objects"), "the test's directory").unwrap();
    ProfileStore::open(&dir.join("log"), place, options, runtime, now_ms).unwrap()
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() { copy(&from, &to) } else { assert!(fs::copy(from, to).is_ok()) }
    }
}

/// A profile of these stacks, outermost function first, in samples; each sample is 10 ms of CPU.
pub(crate) fn profile(started_ms: i64, stacks: &[(&str, i64)]) -> Profile {
    let mut profile = Profile::new(vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")]);
    (profile.period_type, profile.period) = (ValueType::new("cpu", "nanoseconds"), 10_000_000);
    (profile.started_ns, profile.duration_ns) = (started_ms * 1_000_000, 10_000_000_000);
    for (index, (names, samples)) in stacks.iter().enumerate() {
        let mut stack = Stack::EMPTY;
        for name in names.split(';') {
            let function = profile.intern(name);
            let file = profile.intern(&format!("{name}.go"));
            let frame = Frame { function, file, line: 7, module: Text::EMPTY, address: 0, inlined: false };
            stack = profile.push_frame(stack, frame);
        }
        let (key, value) =
            (profile.intern("thread"), LabelValue::Number { value: index as i64 % 3, unit: Text::EMPTY });
        let labels = profile.intern_labels(vec![(key, value)]);
        profile.add(stack, labels, &[*samples, *samples * 10_000_000]);
    }
    profile
}

pub(crate) fn labels(service: &str) -> Labels {
    Labels::new([("__name__", "process_cpu"), ("service_name", service), ("zone", "a")])
}

pub(crate) fn push(store: &ProfileStore, service: &str, profile: &Profile, now_ms: i64) {
    let ticket = store.push(&labels(service), profile, now_ms).unwrap();
    let _durable = ticket.wait(Duration::from_mins(1)).unwrap();
}

pub(crate) fn cpu(service: &str, from_ms: i64, to_ms: i64) -> Query {
    Query {
        matchers: vec![Matcher::equal("service_name", service)],
        columns: Columns::One(ValueType::new("cpu", "nanoseconds")),
        ..Query::all(from_ms, to_ms)
    }
}

/// Functions with what they weigh themselves in samples, as text.
pub(crate) fn shown(merged: &Merged) -> String {
    let Some(profile) = &merged.profile else { return "nothing".to_owned() };
    let functions = weights(profile, 0).functions;
    let own = functions.iter().filter(|(_, weight)| weight.own != 0);
    let list: Vec<String> = own.map(|(name, weight)| format!("{name} {}", weight.own / 10_000_000)).collect();
    format!("{} profiles: {}", merged.profiles, list.join(", "))
}
