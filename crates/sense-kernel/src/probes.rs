//! What can be sensed here, each thing tried alone.

use std::fmt;

/// One thing that can be sensed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Short and stable, such as `cpu`.
    pub name: &'static str,
    /// What it gives.
    pub gives: &'static str,
    /// Whether it works here.
    pub state: ProbeState,
}

/// Whether something works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// It was tried and works.
    Ok,
    /// It was tried and does not.
    Refused(Refused),
    /// It was not tried: this program was built without it.
    NotBuilt,
}

/// Why something does not work here, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// What was tried.
    pub what: String,
    /// What the system answered.
    pub reason: String,
    /// What helps; empty when nothing is known to.
    pub remedy: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// Tries one thing.
type Try = fn() -> Result<(), Refused>;
/// A probe's name, what it gives, and how it is tried; not at all when this program was built without it.
type Trial = (&'static str, &'static str, Option<Try>);

/// Tries everything. Takes some 100 ms and leaves nothing behind.
pub fn examine() -> Vec<Probe> {
    let state = |try_it: Option<Try>| match try_it.map(|try_it| try_it()) {
        None => ProbeState::NotBuilt,
        Some(Ok(())) => ProbeState::Ok,
        Some(Err(refused)) => ProbeState::Refused(refused),
    };
    trials().into_iter().map(|(name, gives, try_it)| Probe { name, gives, state: state(try_it) }).collect()
}

fn trials() -> [Trial; 9] {
    let [clock, copies, waits, run_queue, tcp, calls, kernel, go_runtime] = in_kernel();
    [
        ("cpu", "CPU profiles, stacks by frame pointers", clock),
        ("cpu-copies", "CPU profiles of programs without frame pointers", copies),
        ("off-cpu", "where threads wait and for how long, with their stacks", waits),
        ("run-queue", "how long processes wait for a CPU", run_queue),
        ("tcp", "TCP connections by process: begun, failed, ended, segments sent again, round-trip times", tcp),
        ("calls", "requests of HTTP and gRPC that chosen processes answer: rate, errors, duration", calls),
        ("kernel-symbols", "names of the kernel's functions", kernel),
        ("go-runtime", "collections and stops of Go programs, by probes on their runtime", go_runtime),
        ("goroutines", "goroutines of Go programs, by reading their memory", Some(crate::census::try_memory)),
    ]
}

#[cfg(feature = "bpf")]
fn in_kernel() -> [Option<Try>; 8] {
    use crate::{calls, go_watch, kernel_watch, native_symbols, stack_sampler};
    [
        Some(stack_sampler::try_clock),
        Some(stack_sampler::try_copies),
        Some(stack_sampler::try_waits),
        Some(kernel_watch::try_run_queue),
        Some(kernel_watch::try_tcp),
        Some(calls::try_it),
        Some(native_symbols::try_kernel),
        Some(go_watch::try_probes),
    ]
}

#[cfg(not(feature = "bpf"))]
fn in_kernel() -> [Option<Try>; 8] {
    [None; 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_tried_and_says_why_it_does_not_work() {
        let probes = examine();
        let names: Vec<_> = probes.iter().map(|probe| probe.name).collect();
        let expected =
            ["cpu", "cpu-copies", "off-cpu", "run-queue", "tcp", "calls", "kernel-symbols", "go-runtime", "goroutines"];
        assert_eq!(names, expected);
        for probe in probes {
            let is_built = crate::HAS_PROGRAMS || probe.name == "goroutines";
            assert_eq!(probe.state == ProbeState::NotBuilt, !is_built, "{probe:?}");
            if let ProbeState::Refused(refused) = probe.state {
                println!("SKIPPED: {}: {refused}", probe.name);
                assert!(!refused.reason.is_empty());
            }
        }
    }
}
