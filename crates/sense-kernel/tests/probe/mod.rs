//! What works on this machine.

use homeostat_sense_kernel::{ProbeState, examine};

/// Whether something works here; says so aloud when it does not.
pub(crate) fn works(name: &str) -> bool {
    let probe = examine().into_iter().find(|probe| probe.name == name).unwrap();
    if let ProbeState::Refused(refused) = &probe.state {
        println!("SKIPPED: {}: {refused}", probe.gives);
    }
    probe.state == ProbeState::Ok
}
