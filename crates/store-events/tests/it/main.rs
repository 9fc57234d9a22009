//! Tests of the journal as control's thread and the API see it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on says where")]

mod outage;
mod records;
mod recovery;
mod retention;
mod slow_disk;
mod tmpfs;

use std::{path::PathBuf, sync::Arc, time::Duration};

use homeostat_model::{
    Actor, CellId, IncidentId, OutcomeClass, OutcomeCounts, OutcomeDelta, Timestamp,
    evidence::Evidence,
    incident::{Incident, Stage, Subject},
    objective::Severity,
};
use homeostat_store_events::{
    Body, CommitSpec, DecodedEntry, Flush, Journal, Recovery, SimDisk, StepTicket, StoreSpec,
};

/// Long enough for any machine; only a broken journal ever waits this long.
const PATIENCE: Duration = Duration::from_mins(1);

fn spec() -> StoreSpec {
    StoreSpec { commit: CommitSpec::EveryRecord, ..StoreSpec::new(PathBuf::from("/data")) }
}

fn open(disk: &SimDisk) -> (Journal, Recovery) {
    open_with(disk, spec())
}

fn open_with(disk: &SimDisk, spec: StoreSpec) -> (Journal, Recovery) {
    Journal::open(spec, Arc::new(disk.mounted())).unwrap()
}

fn close(journal: Journal) {
    assert_eq!(journal.close(PATIENCE), Ok(()));
}

fn settle(ticket: &StepTicket) {
    ticket.wait(PATIENCE).unwrap();
}

/// Milliseconds after some day in 2025.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_750_000_000_000 + ms)
}

fn secs(s: i64) -> Timestamp {
    at(s * 1_000)
}

fn delta(cell: u16, ok: u64) -> OutcomeDelta {
    OutcomeDelta { cell: CellId(cell), counts: OutcomeCounts::of(OutcomeClass::Ok, ok) }
}

fn step(journal: &Journal, now: Timestamp, event: &str, commands: &str) -> StepTicket {
    journal.append_step(now, event.as_bytes(), commands.as_bytes(), Flush::Now).unwrap()
}

fn incident(id: u64, closed_at: Option<Timestamp>) -> Incident {
    Incident {
        id: IncidentId(id),
        title: format!("incident {id}"),
        service: homeostat_model::ServiceName::new("checkout").unwrap(),
        subject: Subject::Objective {
            objective: homeostat_model::ObjectiveName::new("checkout-availability").unwrap(),
        },
        severity: Severity::Page,
        stage: if closed_at.is_some() { Stage::Closed } else { Stage::Judged },
        began_at: at(0),
        opened_at: at(10),
        closed_at,
        evidence: vec![Evidence::Person { reason: "test".to_owned() }],
        requests_harmed: 7,
        requests_total: 100,
        actions: Vec::new(),
        changes: Vec::new(),
        milestones: Vec::new(),
        explanation: None,
    }
}

/// The command by which control records an incident.
fn record(incident: &Incident) -> String {
    let mut command = serde_json::to_value(incident).unwrap();
    command["command"] = "record_incident".into();
    serde_json::Value::Array(vec![command]).to_string()
}

fn operation(verb: &str, by: &str) -> String {
    let by = Actor::new(by);
    serde_json::json!({ "event": "rollout", "rollout": "checkout-v2", "verb": verb, "by": by, "reason": "because" })
        .to_string()
}

/// Entries in one line each.
fn tell(entries: impl Iterator<Item = Result<DecodedEntry, homeostat_store_events::JournalError>>) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let ms = entry.now.since(at(0)).ms();
            match &entry.body {
                Body::Tick { deltas, commands } => {
                    let counts: Vec<_> = deltas.iter().map(|d| format!("{}:{}", d.cell.0, d.counts.total())).collect();
                    format!("{ms} tick {} {}", counts.join(","), text(commands))
                }
                Body::Step { event, commands, recorded } => {
                    format!("{ms} step {} {} {recorded:?}", text(event), text(commands))
                }
                Body::Snapshot(_) => format!("{ms} snapshot {}", text(&entry.snapshot_json().unwrap().unwrap())),
                Body::Gap { from, ticks_merged, steps_lost } => {
                    format!("{ms} gap from {} merged {ticks_merged} lost {steps_lost}", from.since(at(0)).ms())
                }
                Body::Missing { records } => format!("{ms} missing {records} from {}", entry.seq),
            }
        })
        .collect()
}
