//! `homeostat wal`: looks at the journal's files, and repairs a damaged one.
//!
//! Inspecting opens nothing and changes nothing, so it may be done while a process runs. Repairing takes the directory.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use homeostat_model::error_chain::chain;
use homeostat_store_events::{
    RealDisk,
    journal::{ARCHIVE_DIR, JOURNAL_DIR},
};
use homeostat_store_wal::{
    DamageKind, OpenError, RepairError, Survey,
    repair::{Repaired, repair},
    segment::End,
    survey,
    survey::SurveyedSegment,
};
use homeostat_wire::{
    journal::{DecodeError, Entry, decode},
    varint,
};

/// The outbox of notifications within a data directory.
const OUTBOX_DIR: &str = "outbox";

/// Arguments of `homeostat wal`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists segments and says what is wrong with them; ends with 1 if acknowledged records are damaged
    Inspect(Inspect),
    /// Cuts a damaged segment off where the damage begins; what is cut is kept in a file beside it
    Repair(Repair),
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// A data directory, or a directory that holds segments (`*.wal`)
    dir: PathBuf,
    /// Lists the records too
    #[arg(long)]
    records: bool,
}

#[derive(Debug, clap::Args)]
struct Repair {
    /// A data directory, or a directory that holds segments (`*.wal`)
    dir: PathBuf,
    /// Number of the damaged segment, as `inspect` shows it
    #[arg(long, value_name = "N")]
    segment: u32,
}

/// Runs `homeostat wal`.
pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.what {
        What::Inspect(inspect) => inspected(&inspect.dir, inspect.records).map(|(text, intact)| {
            print!("{text}");
            if intact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }),
        What::Repair(asked) => repaired(&asked.dir, asked.segment).map(|text| {
            print!("{text}");
            ExitCode::SUCCESS
        }),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Logs within `dir`: those of a data directory, or `dir` itself.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let within: Vec<PathBuf> =
        [JOURNAL_DIR, ARCHIVE_DIR, OUTBOX_DIR].map(|name| dir.join(name)).into_iter().filter(|d| d.is_dir()).collect();
    if within.is_empty() { vec![dir.to_owned()] } else { within }
}

/// The report, and whether everything is intact.
fn inspected(dir: &Path, records: bool) -> Result<(String, bool), String> {
    if !dir.is_dir() {
        return Err(format!("{} is not a directory; name a data directory", dir.display()));
    }
    let (mut text, mut intact, mut segments) = (String::new(), true, 0);
    for log in logs(dir) {
        let mut listed = String::new();
        let found = survey(&RealDisk, &log, &mut |seq, payload| {
            if records {
                // Writing to a string does not fail.
                writeln!(listed, "  {seq:>10}  {:>9} bytes  {}", payload.len(), about(payload)).ok();
            }
        })
        .map_err(|error| chain(&error))?;
        segments += found.segments.len();
        intact &= found.damage.is_empty();
        text.push_str(&report(&log, &found));
        text.push_str(&listed);
    }
    if segments == 0 {
        return Err(format!("there are no segments (`*.wal`) in {}; name a data directory", dir.display()));
    }
    Ok((text, intact))
}

fn report(log: &Path, found: &Survey) -> String {
    let mut text = format!("{}\n  segment   records                     bytes  state\n", log.display());
    for segment in &found.segments {
        let state = state(segment);
        writeln!(text, "  {:08}  {:<22} {:>10}  {state}", segment.number, records(segment), segment.bytes).ok();
    }
    let intact: u64 = found.segments.iter().map(|segment| segment.walk.records).sum();
    writeln!(text, "  {intact} intact records; the next one gets number {}", found.next_seq()).ok();
    for damage in &found.damage {
        writeln!(text, "  damage: {damage}: {}", damage.kind).ok();
        if let DamageKind::Header(homeostat_wire::wal_record::HeaderError::Version { .. }) = damage.kind {
            continue;
        }
        let command = format!("homeostat wal repair {} --segment {}", log.display(), damage.segment);
        writeln!(text, "  to keep every record before it: {command}").ok();
    }
    text
}

fn records(segment: &SurveyedSegment) -> String {
    match segment.first_seq {
        None => "unknown".to_owned(),
        Some(_) if segment.walk.records == 0 => "none".to_owned(),
        Some(first) => format!("{first} to {}", first + segment.walk.records - 1),
    }
}

fn state(segment: &SurveyedSegment) -> String {
    match &segment.walk.end {
        End::Open => "open (in use, or its process was killed)".to_owned(),
        End::Sealed => "complete".to_owned(),
        End::Repaired { missing } => format!("repaired; up to {missing} records are missing behind it"),
        End::Continued { abandoned_bytes } => {
            format!("continued in the next segment; {abandoned_bytes} bytes behind were never acknowledged")
        }
        End::Torn { bytes } => {
            format!("torn tail at byte {}: {bytes} bytes of a commit that was never acknowledged", segment.walk.offset)
        }
        End::Damaged(_) => format!("DAMAGED at byte {}", segment.walk.offset),
    }
}

/// What a record holds, if it is an entry of the journal or of the archive.
fn about(payload: &[u8]) -> String {
    let entry = decode(payload).or_else(|error| {
        let mut body = payload;
        varint::take(&mut body).ok_or(error).and_then(|_| decode(body))
    });
    match entry {
        Ok(entry) => told(&entry),
        Err(DecodeError::Kind { .. }) => "not an entry of the journal".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn told(entry: &Entry<'_>) -> String {
    let what = match entry {
        Entry::Ticks(ticks) if ticks.len() == 1 => "1 tick".to_owned(),
        Entry::Ticks(ticks) => format!("{} ticks", ticks.len()),
        Entry::Step { event, .. } => format!("step {}", start(event)),
        Entry::TickStep { commands, .. } => format!("tick with commands {}", start(commands)),
        Entry::Snapshot { state, .. } => format!("snapshot of {} compressed bytes", state.len()),
        Entry::Gap { ticks_merged, steps_lost, .. } => {
            format!("gap: {ticks_merged} ticks merged, {steps_lost} steps lost")
        }
    };
    format!("{} {what}", super::replay::time(entry.now()))
}

/// The first characters of a JSON text, on one line.
fn start(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let shown: String = text.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

fn repaired(dir: &Path, segment: u32) -> Result<String, String> {
    let logs = logs(dir);
    let damaged = |log: &&PathBuf| {
        survey(&RealDisk, log, &mut |_, _| {}).is_ok_and(|found| found.damage.iter().any(|d| d.segment == segment))
    };
    // Every log of a data directory may have a segment of this number; the damaged one is meant.
    let log = logs.iter().find(damaged).or(logs.first()).ok_or("there is no log")?;
    match repair(&RealDisk, log, segment) {
        Ok(Repaired { records_kept, bytes_cut, side_file, .. }) => {
            let kept = format!("segment {segment:08} in {}: {records_kept} records kept", log.display());
            Ok(match side_file {
                Some(name) => format!("{kept}, {bytes_cut} bytes set aside in {}\n", log.join(name).display()),
                None => format!("{kept}, nothing was cut\n"),
            })
        }
        Err(RepairError::Open(OpenError::Locked { dir })) => {
            Err(format!("{} is in use; stop the process that uses it first", dir.display()))
        }
        Err(error) => Err(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use expect_test::{Expect, expect};
    use homeostat_model::Timestamp;
    use homeostat_store_events::{Flush, Journal, StoreSpec};

    use super::*;

    /// A data directory with two segments: a snapshot each, a tick and a step.
    fn data() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(StoreSpec::new(folder.path().to_owned()), Arc::new(RealDisk)).unwrap();
        for now in [1, 2].map(Timestamp::from_unix_ms) {
            journal.append_snapshot(now, b"{}").unwrap();
            journal.append_tick(now, &[]);
            journal.append_step(now, b"{\"event\":\"restarted\"}", b"[]", Flush::Now).unwrap();
        }
        journal.close(Duration::from_mins(1)).unwrap();
        folder
    }

    fn check(folder: &tempfile::TempDir, said: &str, expected: &Expect) {
        expected.assert_eq(&said.replace(&folder.path().display().to_string(), "DATA"));
    }

    #[test]
    fn an_intact_journal_is_listed() {
        let folder = data();
        let (said, intact) = inspected(folder.path(), true).unwrap();
        assert!(intact);
        check(
            &folder,
            &said,
            &expect![[r#"
            DATA/journal
              segment   records                     bytes  state
              00000001  1 to 3                        136  complete
              00000002  4 to 6                        136  complete
              6 intact records; the next one gets number 7
                       1         26 bytes  1970-01-01T00:00:00.001Z snapshot of 17 compressed bytes
                       2         11 bytes  1970-01-01T00:00:00.001Z 1 tick
                       3         34 bytes  1970-01-01T00:00:00.001Z step {"event":"restarted"}
                       4         26 bytes  1970-01-01T00:00:00.002Z snapshot of 17 compressed bytes
                       5         11 bytes  1970-01-01T00:00:00.002Z 1 tick
                       6         34 bytes  1970-01-01T00:00:00.002Z step {"event":"restarted"}
            DATA/archive
              segment   records                     bytes  state
              0 intact records; the next one gets number 1
        "#]],
        );
    }

    #[test]
    fn damage_is_named_with_the_command_that_repairs_it() {
        let folder = data();
        let path = folder.path().join("journal/00000001.wal");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() - 30;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (said, intact) = inspected(folder.path(), false).unwrap();
        assert!(!intact);
        check(
            &folder,
            &said,
            &expect![[r"
            DATA/journal
              segment   records                     bytes  state
              00000001  1 to 2                        136  DAMAGED at byte 77
              00000002  4 to 6                        136  complete
              5 intact records; the next one gets number 7
              damage: segment 00000001 is corrupt at byte 77: checksum mismatch: stored 0x293445b6, computed 0x19e67dd3
              to keep every record before it: homeostat wal repair DATA/journal --segment 1
            DATA/archive
              segment   records                     bytes  state
              0 intact records; the next one gets number 1
        "]],
        );
        check(
            &folder,
            &repaired(folder.path(), 1).unwrap(),
            &expect![[r"
            segment 00000001 in DATA/journal: 2 records kept, 59 bytes set aside in DATA/journal/00000001.damaged
        "]],
        );
        let (said, intact) = inspected(folder.path(), false).unwrap();
        assert!(intact, "{said}");
        check(
            &folder,
            &repaired(folder.path(), 1).unwrap_err(),
            &expect!["segment 00000001 is intact; nothing was changed"],
        );
    }

    #[test]
    fn other_directories_are_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        check(
            &folder,
            &inspected(folder.path(), false).unwrap_err(),
            &expect!["there are no segments (`*.wal`) in DATA; name a data directory"],
        );
        check(
            &folder,
            &inspected(&folder.path().join("x"), false).unwrap_err(),
            &expect!["DATA/x is not a directory; name a data directory"],
        );
    }
}
