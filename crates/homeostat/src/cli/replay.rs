//! `homeostat replay`: runs a journal through control again and compares every command.
//!
//! This is the audit: the same events at the same times must give the same bytes. It begins with the oldest snapshot
//! that is kept (or with nothing, if the journal still has its beginning), and compares later snapshots too.
//!
//! Not here: carrying anything out.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use homeostat_control::{Command, Control, Event};
use homeostat_model::Timestamp;
use homeostat_store_events::{Body, DecodedEntry, JournalFiles, RealDisk};

use homeostat_model::error_chain::chain;

/// Characters of an event or of commands that a difference shows; incidents can be long.
const SHOWN_CHARS_MAX: usize = 2_000;

/// Arguments of `homeostat replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A data directory, or its `journal` folder; may be in use
    dir: PathBuf,
}

/// Runs `homeostat replay`: 0 when every command is identical, 1 at the first difference or unreadable entry.
pub(crate) fn run(args: &Args) -> ExitCode {
    let files = match JournalFiles::open(&args.dir, Arc::new(RealDisk)) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            return ExitCode::FAILURE;
        }
    };
    let mut replay = Replay::default();
    for entry in files.entries(files.first_seq()) {
        let stepped = entry.map_err(|error| format!("error: {}", chain(&error))).and_then(|entry| replay.take(&entry));
        if let Err(text) = stepped {
            println!("{text}");
            println!("up to there: {}", replay.summary());
            return ExitCode::FAILURE;
        }
    }
    if replay.entries == 0 {
        eprintln!("error: there is no journal in {}; name a data directory", args.dir.display());
        return ExitCode::FAILURE;
    }
    println!("{}", replay.summary());
    ExitCode::SUCCESS
}

/// A replay under way.
#[derive(Debug, Default)]
struct Replay {
    /// `None` before the first entry, and from a gap or hole to the snapshot behind it.
    control: Option<Control>,
    entries: u64,
    events: u64,
    commands: u64,
    /// Entries that could not be replayed because of what is missing before them.
    skipped: u64,
    /// Records that a repair has cut out.
    missing: u64,
}

impl Replay {
    /// Takes the next entry; `Err` is the report of a difference.
    fn take(&mut self, entry: &DecodedEntry) -> Result<(), String> {
        self.entries += 1;
        match &entry.body {
            Body::Tick { deltas, commands } => {
                let event = Event::Tick { deltas: deltas.clone() };
                self.step(entry, event, commands)
            }
            Body::Step { event, commands, .. } => {
                let event = serde_json::from_slice(event).map_err(|error| {
                    format!("record {}: the event cannot be read: {error}\n  {}", entry.seq, shown(event))
                })?;
                self.step(entry, event, commands)
            }
            Body::Snapshot(_) => self.snapshot(entry),
            Body::Gap { .. } => {
                self.control = None;
                self.skipped += 1;
                Ok(())
            }
            Body::Missing { records } => {
                self.control = None;
                self.missing += records;
                Ok(())
            }
        }
    }

    fn step(&mut self, entry: &DecodedEntry, event: Event, expected: &[u8]) -> Result<(), String> {
        if self.entries == 1 {
            self.control = Some(Control::new(entry.now));
        }
        let Some(control) = &mut self.control else {
            self.skipped += 1;
            return Ok(());
        };
        let commands: Vec<Command> = control.step(entry.now, event);
        let got = serde_json::to_vec(&commands).map_err(|error| format!("record {}: {error}", entry.seq))?;
        if got == expected {
            self.events += 1;
            self.commands += commands.len() as u64;
            return Ok(());
        }
        Err(format!(
            "first difference: record {}, {}\n  event     {}\n  expected  {}\n  got       {}",
            entry.seq,
            time(entry.now),
            shown(&told(&entry.body)),
            shown(expected),
            shown(&got),
        ))
    }

    /// Begins with a snapshot, or compares it with the state that the replay has reached.
    fn snapshot(&mut self, entry: &DecodedEntry) -> Result<(), String> {
        let unreadable = |error: &dyn std::error::Error| format!("record {}: {}", entry.seq, chain(error));
        let json = entry.snapshot_json().transpose().map_err(|error| unreadable(&error))?.unwrap_or_default();
        match &self.control {
            None => self.control = Some(Control::restore(&json).map_err(|error| unreadable(&error))?),
            Some(control) if control.snapshot().map_err(|error| unreadable(&error))? == json => {}
            Some(_) => {
                let when = time(entry.now);
                return Err(format!(
                    "first difference: record {}, {when}: the state in the snapshot is another",
                    entry.seq
                ));
            }
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let counted = format!("{} events, {} commands, identical", self.events, self.commands);
        match (self.skipped, self.missing) {
            (0, 0) => counted,
            (skipped, 0) => format!("{counted}; {skipped} entries around an outage of the disk cannot be replayed"),
            (skipped, missing) => format!(
                "{counted}; up to {missing} records are missing, cut out by a repair; {skipped} entries between such a \
                 hole and the next snapshot cannot be replayed"
            ),
        }
    }
}

/// A point in time as people write it.
pub(super) fn time(at: Timestamp) -> String {
    let text = jiff::Timestamp::from_nanosecond(i128::from(at.unix_ns())).map(|at| at.to_string());
    text.unwrap_or_else(|_| format!("{} ns", at.unix_ns()))
}

/// The event of an entry as JSON.
fn told(body: &Body) -> Vec<u8> {
    match body {
        Body::Tick { deltas, .. } => serde_json::json!({ "event": "tick", "deltas": deltas }).to_string().into_bytes(),
        Body::Step { event, .. } => event.clone(),
        Body::Snapshot(_) | Body::Gap { .. } | Body::Missing { .. } => Vec::new(),
    }
}

fn shown(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), json.len()),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::{Actor, Span};

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_750_000_000_000 + ms)
    }

    /// What the driver would have recorded for these events: one entry each, a snapshot in the middle.
    fn recorded() -> Vec<DecodedEntry> {
        let mut control = Control::new(at(0));
        let events = [
            Event::Configured(Box::default()),
            Event::BreakGlass { engaged: true, by: Actor::new("ana"), reason: "drill".to_owned() },
            Event::BreakGlass { engaged: false, by: Actor::new("ana"), reason: String::new() },
            Event::Restarted,
            Event::Configured(Box::default()),
        ];
        let mut entries = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            let (seq, now) = (index as u64 + 1, at(0) + Span::from_ms(index as u64 * 10));
            let json = serde_json::to_vec(&event).unwrap();
            let commands = serde_json::to_vec(&control.step(now, event)).unwrap();
            let recorded = homeostat_wire::journal::Recorded::InTime;
            entries.push(DecodedEntry { seq, now, body: Body::Step { event: json, commands, recorded } });
        }
        entries
    }

    fn replay(entries: &[DecodedEntry]) -> Result<String, String> {
        let mut replay = Replay::default();
        entries.iter().try_for_each(|entry| replay.take(entry)).map(|()| replay.summary())
    }

    #[test]
    fn the_same_events_give_the_same_commands() {
        let said = replay(&recorded()).unwrap();
        assert!(said.starts_with("5 events, ") && said.ends_with(" commands, identical"), "{said}");
    }

    #[test]
    fn another_command_is_shown_with_its_record_time_and_event() {
        let mut entries = recorded();
        let Body::Step { commands, .. } = &mut entries[1].body else { panic!("a step") };
        *commands = b"[\"another\"]".to_vec();
        let said = replay(&entries).unwrap_err();
        assert!(
            said.starts_with(
                "first difference: record 2, 2025-06-15T15:06:40.01Z\n  event     {\"event\":\"break_glass\""
            ),
            "{said}"
        );
        assert!(said.contains("\n  expected  [\"another\"]\n  got       ["), "{said}");
    }

    #[test]
    fn a_hole_is_said_and_skipped_up_to_the_next_snapshot() {
        let mut entries = recorded();
        let hole = |seq, records| DecodedEntry { seq, now: at(15), body: Body::Missing { records } };
        entries.splice(1..3, [hole(2, 7)]);
        let said = replay(&entries).unwrap();
        assert!(
            said.starts_with("1 events")
                && said.ends_with(
                    "; up to 7 records are missing, cut out by a repair; 2 entries between such a hole and the next \
                     snapshot cannot be replayed"
                ),
            "{said}"
        );
    }

    #[test]
    fn a_gap_is_skipped_up_to_the_next_snapshot() {
        let mut entries = recorded();
        let gap = Body::Gap { from: at(0), ticks_merged: 3, steps_lost: 0 };
        entries.insert(1, DecodedEntry { seq: 9, now: at(5), body: gap });
        let said = replay(&entries).unwrap();
        assert!(
            said.starts_with("1 events") && said.ends_with("5 entries around an outage of the disk cannot be replayed"),
            "{said}"
        );
    }
}
