//! `homeostat series inspect`: what a metrics store consists of.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use homeostat_store_series::{BlockFiles, Inventory, Parts, inspect};
use homeostat_store_wal::{RealDisk, segment::End};
use serde_json::{Value, json};

use super::{Done, size, store_in, time, warn_unguarded};
use homeostat_model::error_chain::chain;

pub(super) fn run(dir: &Path, as_json: bool) -> Done {
    let dir = &store_in(dir)?;
    let found = inspect(&RealDisk, dir)?;
    warn_unguarded(dir, found.unguarded);
    let text = if as_json { format!("{:#}\n", as_value(&found)) } else { as_text(&found) };
    let intact = found.blocks.iter().all(|block| block.parts.is_ok()) && found.log.damage.is_empty();
    Ok((text, if intact { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

fn as_text(found: &Inventory) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    writeln!(text, "blocks {}, in the order in which they were written", found.blocks.len()).ok();
    for block in &found.blocks {
        block_text(block, &mut text);
    }
    let entries = found.blocks.iter().map(|block| block.entry);
    let (bytes, samples) = entries.fold((0, 0), |(bytes, samples), e| (bytes + e.bytes, samples + e.samples));
    if samples > 0 {
        let each = bytes as f64 / samples as f64;
        writeln!(text, "  in all {}, {samples} samples, {each:.3} bytes each", size(bytes)).ok();
    }
    for gone in &found.deletions {
        let (from, to) = (time(gone.min_ms), time(gone.max_ms));
        writeln!(text, "  deleted from block {:08}: {} series, {from} to {to}", gone.block, gone.series).ok();
    }
    let log_bytes: u64 = found.log.segments.iter().map(|segment| segment.bytes).sum();
    let (segments, next) = (found.log.segments.len(), found.log.next_seq());
    let needed = found.log_from.max(1);
    writeln!(text, "log {segments} segments, {}; records from {needed} to {next} are not in a block", size(log_bytes))
        .ok();
    for segment in &found.log.segments {
        let state = match &segment.walk.end {
            End::Damaged(_) => format!("DAMAGED at byte {}", segment.walk.offset),
            End::Torn { bytes } => format!("torn tail at byte {}: {bytes} bytes", segment.walk.offset),
            End::Sealed => "complete".to_owned(),
            End::Repaired { missing } => format!("repaired; up to {missing} records are missing behind it"),
            End::Open | End::Continued { .. } => "open".to_owned(),
        };
        writeln!(
            text,
            "  {:08}  {:>10} records  {:>10}  {state}",
            segment.number,
            segment.walk.records,
            size(segment.bytes)
        )
        .ok();
    }
    for stray in &found.strays {
        writeln!(text, "  not part of the store: blocks/{stray}").ok();
    }
    text
}

fn block_text(block: &BlockFiles, text: &mut String) {
    let entry = &block.entry;
    let (from, to) = (time(entry.min_ms), time(entry.max_ms));
    writeln!(
        text,
        "  {:08}  {from} to {to}  {} series  {} samples  {}",
        entry.number,
        entry.series,
        entry.samples,
        size(entry.bytes)
    )
    .ok();
    match &block.parts {
        Ok(parts) => {
            let each = named(parts).map(|(name, bytes)| format!("{name} {}", size(bytes)));
            writeln!(text, "            {}", each.join(", ")).ok();
        }
        Err(error) => {
            writeln!(text, "            DAMAGED at byte {}: {}", error.offset, chain(&error.fault)).ok();
        }
    }
}

fn named(parts: &Parts) -> [(&'static str, u64); 6] {
    [
        ("values", parts.chunks),
        ("times", parts.times),
        ("series", parts.series),
        ("labels", parts.values),
        ("lists", parts.lists),
        ("ends", parts.names_and_footer),
    ]
}

fn as_value(found: &Inventory) -> Value {
    let blocks = found.blocks.iter().map(|block| {
        let entry = &block.entry;
        let parts =
            block.parts.as_ref().ok().map(|parts| Value::Object(named(parts).map(member).into_iter().collect()));
        let damage = block.parts.as_ref().err();
        json!({
            "number": entry.number,
            "path": block.path.display().to_string(),
            "bytes": entry.bytes,
            "min_ms": entry.min_ms,
            "max_ms": entry.max_ms,
            "series": entry.series,
            "samples": entry.samples,
            "parts_bytes": parts,
            "damage": damage.map(|error| json!({ "offset": error.offset, "what": chain(&error.fault) })),
        })
    });
    let deletions = found.deletions.iter().map(
        |gone| json!({ "block": gone.block, "series": gone.series, "min_ms": gone.min_ms, "max_ms": gone.max_ms }),
    );
    let segments = found.log.segments.iter().map(|segment| {
        json!({
            "number": segment.number,
            "bytes": segment.bytes,
            "first_record": segment.first_seq,
            "records": segment.walk.records,
            "damaged_at": matches!(segment.walk.end, End::Damaged(_)).then_some(segment.walk.offset),
        })
    });
    json!({
        "blocks": blocks.collect::<Vec<_>>(),
        "deletions": deletions.collect::<Vec<_>>(),
        "log": {
            "needed_from_record": found.log_from,
            "next_record": found.log.next_seq(),
            "segments": segments.collect::<Vec<_>>(),
        },
        "strays": found.strays,
        "unguarded": found.unguarded,
    })
}

fn member((name, bytes): (&'static str, u64)) -> (String, Value) {
    (name.to_owned(), bytes.into())
}
