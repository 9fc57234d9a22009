//! The machine that it runs on, and the network between.

use homeostat_model::explanation::CauseKind;

use super::{Suspect, cpu_grew, load::alike, signal};
use crate::{
    evidence::{CauseEvidence, Signal},
    weights::{
        CPU_RATIO, IDLE_PERCENT_MIN, NEIGHBOUR_ONE_VERSION, NEIGHBOUR_OTHERS_BUSY, NEIGHBOUR_OWN_BUSY,
        NEIGHBOUR_QUEUES, NETWORK_NO_PROCESSOR, NETWORK_RETRANSMITS, OTHERS_BUSY_MS_PER_S, PRIOR_NEIGHBOUR,
        RETRANSMITS_HARMFUL, RUN_QUEUE_HARMFUL_MS, SIGNAL_RATIO,
    },
};

pub(super) fn suspects(evidence: &CauseEvidence) -> Vec<Suspect> {
    neighbour(evidence).into_iter().chain(network(evidence)).collect()
}

fn neighbour(evidence: &CauseEvidence) -> Option<Suspect> {
    let (good, bad) = signal(evidence, Signal::RunQueueP99Ms)?;
    if bad < RUN_QUEUE_HARMFUL_MS || bad < SIGNAL_RATIO * good {
        return None;
    }
    let mut suspect = Suspect::new(CauseKind::Neighbour, "", &PRIOR_NEIGHBOUR);
    "Other programs on the machine take its processors".clone_into(&mut suspect.title);
    "see who runs on the machine (`homeostat profile cpu` without a target), and move one of the two"
        .clone_into(&mut suspect.next_check);
    suspect.because(
        &NEIGHBOUR_QUEUES,
        format!("threads wait {bad:.1} ms for a processor (p99), {good:.1} on the good side"),
    );
    if let Some((was, is)) = signal(evidence, Signal::OthersCpuMsPerS)
        .filter(|(was, is)| CPU_RATIO * was <= *is && OTHERS_BUSY_MS_PER_S <= is - was)
    {
        suspect.because(
            &NEIGHBOUR_OTHERS_BUSY,
            format!("other programs work {is:.0} ms a second, {was:.0} on the good side"),
        );
    }
    if let Some((true, was, is)) = cpu_grew(evidence) {
        suspect.because(
            &NEIGHBOUR_OWN_BUSY,
            format!("the program itself works {is:.0} ms a second, {was:.0} on the good side"),
        );
    }
    if alike(evidence) == Some(false) {
        suspect.because(&NEIGHBOUR_ONE_VERSION, "one version or route alone is worse".to_owned());
    }
    Some(suspect)
}

fn network(evidence: &CauseEvidence) -> Option<Suspect> {
    let (good, bad) = signal(evidence, Signal::RetransmitsPerMille)?;
    if bad < RETRANSMITS_HARMFUL || bad < SIGNAL_RATIO * good {
        return None;
    }
    let mut suspect = Suspect::new(CauseKind::Network, "", &PRIOR_NEIGHBOUR);
    "The network loses segments".clone_into(&mut suspect.title);
    "compare retransmissions by peer: one peer is a link, all are this machine".clone_into(&mut suspect.next_check);
    suspect.because(
        &NETWORK_RETRANSMITS,
        format!("{bad:.1} of a thousand segments are sent again, {good:.1} on the good side"),
    );
    if let Some(line) = no_processor(evidence) {
        suspect.because(&NETWORK_NO_PROCESSOR, line);
    }
    Some(suspect)
}

/// Whether threads had to wait for a processor, whatever they did before.
fn no_processor(evidence: &CauseEvidence) -> Option<String> {
    let waits = signal(evidence, Signal::RunQueueP99Ms).map(|(_, bad)| bad).filter(|bad| RUN_QUEUE_HARMFUL_MS <= *bad);
    let waits = waits.map(|bad| format!("threads wait {bad:.1} ms for a processor (p99)"));
    let idle = signal(evidence, Signal::IdlePercent).map(|(_, bad)| bad).filter(|bad| *bad < IDLE_PERCENT_MIN);
    waits.or_else(|| idle.map(|bad| format!("the machine's processors are idle for {bad:.1} % of the time")))
}
