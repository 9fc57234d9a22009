//! Calls, counted by what they are: few kinds, however many paths somebody asks for.

use std::collections::{BTreeMap, BTreeSet};

use homeostat_model::OutcomeClass;

use crate::{Call, Latencies, OTHER, Path, Protocol, Side};

/// Paths that are told apart, those that came first; the others are [`crate::OTHER`].
pub const PATHS_MAX: usize = 200;

/// Lines that are told apart, 10 MiB: a peer may answer whatever it likes. Further ones are counted by their hundreds of status only.
pub const LINES_MAX: usize = 4096;

/// What calls of one line have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Which end of the connection the process was.
    pub side: Side,
    /// What was spoken.
    pub protocol: Protocol,
    /// Of HTTP.
    pub method: &'static str,
    /// Of which kind of resource.
    pub path: Path,
    /// Of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// Of gRPC.
    pub grpc_status: Option<u32>,
}

/// Calls of one kind. A line is some 2.5 KiB; 200 paths with three methods and four answers each are 6 MiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// How long they took; as many as there were calls.
    pub latencies: Latencies,
    /// Those that the service failed.
    pub bad: u64,
}

/// Calls by kind.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    paths: BTreeSet<Path>,
    lines: BTreeMap<Key, Line>,
}

impl Tally {
    /// Counts a call.
    pub fn add(&mut self, call: Call) {
        let path = if self.paths.contains(&call.path) {
            call.path
        } else if self.paths.len() < PATHS_MAX {
            self.paths.insert(call.path.clone());
            call.path
        } else {
            Path::default()
        };
        let Call { side, protocol, method, status, grpc_status, .. } = call;
        let mut key = Key { side, protocol, method, path, status, grpc_status };
        if LINES_MAX <= self.lines.len() && !self.lines.contains_key(&key) {
            let status = status.map(|status| status / 100 * 100);
            key = Key { side, protocol, method: OTHER, path: Path::default(), status, grpc_status: None };
        }
        let line = self.lines.entry(key).or_default();
        line.latencies.add(call.latency_ns);
        line.bad += u64::from(call.outcome.is_some_and(OutcomeClass::is_bad));
    }

    /// Kinds, ascending.
    pub fn lines(&self) -> impl Iterator<Item = (&Key, &Line)> {
        self.lines.iter()
    }

    /// All calls.
    pub fn count(&self) -> u64 {
        self.lines.values().map(|line| line.latencies.count()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, status: u16) -> Call {
        Call {
            process: 1,
            port: 80,
            side: Side::Server,
            protocol: Protocol::Http1,
            method: "GET",
            path: Path::of_target(path.as_bytes()),
            status: Some(status),
            grpc_status: None,
            outcome: Some(crate::call::outcome_of(status)),
            began_ns: 0,
            latency_ns: 1000,
        }
    }

    #[test]
    fn paths_beyond_the_limit_are_counted_together() {
        let mut tally = Tally::default();
        for number in 0..PATHS_MAX + 50 {
            tally.add(call(&format!("/page-{number}"), 200));
        }
        tally.add(call("/page-0", 503));
        let of = |path: &str| -> u64 {
            tally.lines().filter(|(key, _)| key.path.as_str() == path).map(|(_, line)| line.latencies.count()).sum()
        };
        assert_eq!((of("/page-0"), of(OTHER), tally.count()), (2, 50, PATHS_MAX as u64 + 51));
        assert_eq!(tally.lines().map(|(_, line)| line.bad).sum::<u64>(), 1);
        assert_eq!(call("/", 404).outcome, Some(OutcomeClass::ClientError));
    }

    #[test]
    fn whatever_a_peer_answers_lines_are_bounded() {
        let mut tally = Tally::default();
        for number in 0..3 * LINES_MAX as u64 {
            let status = 100 + u16::try_from(number % 900).unwrap();
            tally.add(call(&format!("/page-{}", number % 13), status));
        }
        let count = tally.lines().count();
        assert!((LINES_MAX..=LINES_MAX + 9).contains(&count), "{count}");
        assert_eq!(tally.count(), 3 * LINES_MAX as u64);
    }
}
