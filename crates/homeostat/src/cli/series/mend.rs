//! `homeostat series verify` and `homeostat series repair`.

use std::{fmt::Write as _, path::Path, process::ExitCode, sync::Arc};

use homeostat_store_series::{Lost, Mended, RepairError, Verified, repair, verify};
use homeostat_store_wal::RealDisk;
use serde_json::{Value, json};

use super::{Done, Failure, Meter, size, store_in, time, warn_unguarded};
use homeostat_model::error_chain::chain;

/// Losses of a repair that are listed one by one; JSON has all of them.
const LOST_SHOWN_MAX: usize = 100;

/// Reads everything.
pub(super) fn verified(dir: &Path, as_json: bool) -> Done {
    let dir = &store_in(dir)?;
    let mut meter = Meter::new("reading");
    let found = verify(&RealDisk, dir, &mut |progress| meter.at(progress));
    meter.end();
    let found = found?;
    warn_unguarded(dir, found.unguarded);
    let code = if found.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((if as_json { format!("{:#}\n", faults(&found)) } else { told(&found, dir) }, code))
}

fn told(found: &Verified, dir: &Path) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for fault in &found.faults {
        writeln!(text, "{} at byte {}: {}", fault.path.display(), fault.offset, fault.what).ok();
    }
    let Verified { blocks, records, bytes, .. } = found;
    let read = format!("{blocks} blocks and {records} records of the log, {}", size(*bytes));
    match found.faults.len() {
        0 => writeln!(text, "intact: {read}").ok(),
        count => {
            let dir = dir.display();
            writeln!(
                text,
                "{count} faults in {read}; `homeostat series repair {dir}` keeps everything that can be read"
            )
            .ok()
        }
    };
    text
}

fn faults(found: &Verified) -> Value {
    let faults = found.faults.iter().map(|fault| {
        let path = fault.path.display().to_string();
        json!({ "path": path, "offset": fault.offset, "block": fault.block, "what": fault.what })
    });
    json!({
        "intact": found.faults.is_empty(),
        "faults": faults.collect::<Vec<_>>(),
        "blocks": found.blocks,
        "log_records": found.records,
        "bytes": found.bytes,
        "unguarded": found.unguarded,
    })
}

/// Mends what is damaged.
pub(super) fn repaired(dir: &Path, as_json: bool) -> Done {
    let dir = &store_in(dir)?;
    let mut meter = Meter::new("reading");
    let done = repair(Arc::new(RealDisk), dir, &mut |progress| meter.at(progress));
    meter.end();
    let done = done.map_err(|error| match error {
        RepairError::Open(error) => Failure::from(error),
        other => Failure::other(chain(&other)),
    })?;
    Ok((if as_json { format!("{:#}\n", as_value(&done)) } else { as_text(&done, dir) }, ExitCode::SUCCESS))
}

fn as_text(done: &Mended, dir: &Path) -> String {
    if done.is_nothing() {
        return "intact; nothing was changed\n".to_owned();
    }
    let mut text = String::new();
    if done.manifest {
        text.push_str(
            "the list of blocks was made anew from the blocks that are there; deletions are not known any more\n",
        );
    }
    for (number, salvaged) in &done.blocks {
        match salvaged {
            Some(entry) => writeln!(
                text,
                "block {number:08}: {} samples of {} series are in block {:08} now",
                entry.samples, entry.series, entry.number
            ),
            None => writeln!(text, "block {number:08}: nothing of it can be read"),
        }
        .ok();
    }
    for segment in &done.segments {
        let (number, kept, cut) = (segment.segment, segment.records_kept, segment.bytes_cut);
        let aside = segment.side_file.as_deref().unwrap_or("nothing");
        writeln!(text, "log segment {number:08}: {kept} records kept, {cut} bytes set aside in log/{aside}").ok();
    }
    for lost in done.lost.iter().take(LOST_SHOWN_MAX) {
        writeln!(text, "lost: {}, between {} and {}", series(lost), time(lost.from_ms), time(lost.to_ms)).ok();
    }
    if let Some(more) = done.lost.len().checked_sub(LOST_SHOWN_MAX).filter(|more| *more > 0) {
        writeln!(text, "and {more} series more; `--json` lists all").ok();
    }
    for path in &done.set_aside {
        writeln!(text, "set aside: {}", path.display()).ok();
    }
    writeln!(text, "`homeostat series verify {}` reads everything once more", dir.display()).ok();
    text
}

fn series(lost: &Lost) -> String {
    match &lost.labels {
        Some(labels) => labels.to_string(),
        None if lost.series == 0 => format!("all of block {:08}, whose end cannot be read", lost.block),
        None => format!("{} series of block {:08} whose labels cannot be read", lost.series, lost.block),
    }
}

fn as_value(done: &Mended) -> Value {
    let blocks = done
        .blocks
        .iter()
        .map(|(number, salvaged)| json!({ "damaged": number, "salvaged": salvaged.map(|entry| entry.number) }));
    let lost = done.lost.iter().map(|lost| {
        json!({
            "block": lost.block,
            "labels": lost.labels.as_ref().map(ToString::to_string),
            "series": lost.series,
            "from_ms": lost.from_ms,
            "to_ms": lost.to_ms,
        })
    });
    let segments = done.segments.iter().map(|segment| {
        json!({
            "segment": segment.segment,
            "records_kept": segment.records_kept,
            "bytes_cut": segment.bytes_cut,
            "side_file": segment.side_file,
        })
    });
    json!({
        "changed": !done.is_nothing(),
        "manifest_made_anew": done.manifest,
        "blocks": blocks.collect::<Vec<_>>(),
        "log_segments": segments.collect::<Vec<_>>(),
        "lost": lost.collect::<Vec<_>>(),
        "set_aside": done.set_aside.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}
