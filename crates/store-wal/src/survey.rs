//! All segments of a directory in a row: what is there, how it hangs together, and where it is damaged.
//!
//! This is the one place that decides whether a log is intact; opening, inspecting and repairing all ask it.
//!
//! Not here: changing anything (`repair`), new records (`writer`).
//! Invariant: a survey changes no file.

use std::{
    io,
    path::{Path, PathBuf},
};

use homeostat_wire::wal_record::SegmentHeader;

use crate::{
    disk::Disk,
    error::{Damage, DamageKind, OpenError},
    segment::{End, SEGMENT_BYTES_MAX, Walk, file_name, parse_name, walk},
};

/// One segment as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedSegment {
    /// Its number: the file's name.
    pub number: u32,
    /// First record; `None` when the header is damaged.
    pub first_seq: Option<u64>,
    /// Bytes of the file.
    pub bytes: u64,
    /// How far it can be trusted; for a damaged header nothing.
    pub walk: Walk,
}

/// What a directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Segments, ascending.
    pub segments: Vec<SurveyedSegment>,
    /// Damage to acknowledged records, ascending; empty when the log is intact.
    pub damage: Vec<Damage>,
}

impl Survey {
    /// Number of the first record that is kept; [`Self::next_seq`] when there is none.
    pub fn first_seq(&self) -> u64 {
        self.segments.iter().find_map(|segment| segment.first_seq).unwrap_or(1)
    }

    /// Number that the next record gets.
    pub fn next_seq(&self) -> u64 {
        self.segments.iter().map(|segment| segment.walk.next_seq).max().unwrap_or(1)
    }

    /// Number that the next segment gets.
    pub fn next_number(&self) -> u32 {
        self.segments.last().map_or(1, |segment| segment.number.saturating_add(1))
    }
}

/// A file with its header read.
struct Loaded {
    number: u32,
    bytes: Vec<u8>,
    header: Result<SegmentHeader, DamageKind>,
}

/// Reads the whole log in `dir`, segment by segment. `visit` gets number and payload of every intact record. An absent
/// directory is an empty log. Two segments are in memory at a time.
pub fn survey(disk: &dyn Disk, dir: &Path, visit: &mut dyn FnMut(u64, &[u8])) -> Result<Survey, OpenError> {
    let mut survey = Survey::default();
    let mut numbers = numbers(disk, dir)?.into_iter();
    let mut next = numbers.next().map(|number| load(disk, dir, number)).transpose()?;
    while let Some(segment) = next {
        next = numbers.next().map(|number| load(disk, dir, number)).transpose()?;
        survey.add(&segment, next.as_ref(), visit);
    }
    Ok(survey)
}

impl Survey {
    fn add(&mut self, segment: &Loaded, next: Option<&Loaded>, visit: &mut dyn FnMut(u64, &[u8])) {
        let reached = (!self.segments.is_empty()).then(|| self.next_seq());
        let walk = match &segment.header {
            Err(kind) => {
                // Nothing is known of its records; the next segment's first number still is.
                let next_seq = next.and_then(|n| n.header.as_ref().ok()).map_or(self.next_seq(), |h| h.first_seq);
                Walk { next_seq, records: 0, offset: 0, end: End::Damaged(kind.clone()) }
            }
            Ok(header) => match reached {
                Some(reached) if header.first_seq < reached => {
                    let overlap = DamageKind::Overlap { first_seq: header.first_seq, reached };
                    Walk { next_seq: reached, records: 0, offset: 0, end: End::Damaged(overlap) }
                }
                _ => {
                    let until = next.and_then(|n| n.header.as_ref().ok()).map(|header| header.first_seq);
                    let frames = SegmentHeader::decode(&segment.bytes).map_or(&[][..], |(_, frames)| frames);
                    walk(frames, header.first_seq, until, &mut |seq, _, payload| visit(seq, payload))
                }
            },
        };
        if let End::Damaged(kind) = &walk.end {
            self.damage.push(Damage { segment: segment.number, offset: walk.offset, kind: kind.clone() });
        }
        let first_seq = segment.header.as_ref().ok().map(|header| header.first_seq);
        self.segments.push(SurveyedSegment {
            number: segment.number,
            first_seq,
            bytes: segment.bytes.len() as u64,
            walk,
        });
    }
}

fn numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u32>, OpenError> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|source| OpenError::Io { what: "list", path: dir.to_owned(), source })?,
    };
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| parse_name(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn load(disk: &dyn Disk, dir: &Path, number: u32) -> Result<Loaded, OpenError> {
    let path: PathBuf = dir.join(file_name(number));
    let bytes = disk.read(&path, SEGMENT_BYTES_MAX).map_err(|source| OpenError::Io { what: "read", path, source })?;
    let header = SegmentHeader::decode(&bytes).map(|(header, _)| header).map_err(DamageKind::from);
    Ok(Loaded { number, bytes, header })
}
