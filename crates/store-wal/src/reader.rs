//! Reads records in order, one segment in memory at a time.
//!
//! A reader works on the segments as they were when it was made; records appended later are not seen.
//!
//! Not here: judging a whole log (`survey`).
//! Invariant: a record is given only if its frame is intact; after an error the reader ends.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use homeostat_wire::wal_record::SegmentHeader;

use crate::{
    disk::Disk,
    error::{Damage, ReadError},
    queue::KnownSegment,
    segment::{End, SEGMENT_BYTES_MAX, file_name, walk},
    survey::Survey,
};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// An iterator over records, ascending by number.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// What is still to be read: number of the segment and where the next one begins.
    segments: vec::IntoIter<(u32, u64)>,
    bytes: Arc<[u8]>,
    /// Records of the segment at hand that have not been given yet: number, range in `bytes`.
    records: vec::IntoIter<(u64, std::ops::Range<usize>)>,
    from: u64,
    until: u64,
}

impl Reader {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, known: &[KnownSegment], from: u64, until: u64) -> Self {
        let from = from.max(known.first().map_or(until, |segment| segment.first_seq));
        let starts = known.iter().skip(1).map(|segment| segment.first_seq).chain([until]);
        let wanted = known.iter().zip(starts).filter(|(_, end)| from < *end);
        let segments: Vec<(u32, u64)> = wanted.map(|(segment, end)| (segment.number, end)).collect();
        let records = Vec::new().into_iter();
        Self { disk, dir, segments: segments.into_iter(), bytes: Arc::from([]), records, from, until }
    }

    /// Reads a log that nobody has opened, as surveyed; damage ends it with an error where it stands.
    pub fn over(disk: Arc<dyn Disk>, dir: &Path, survey: &Survey, from: u64) -> Self {
        let known: Vec<KnownSegment> = survey
            .segments
            .iter()
            .map(|s| KnownSegment {
                number: s.number,
                first_seq: s.first_seq.unwrap_or(s.walk.next_seq),
                bytes: s.bytes,
            })
            .collect();
        Self::new(disk, dir.to_owned(), &known, from, survey.next_seq())
    }

    /// The numbers that are read: from the first one asked for that may be kept, to the one behind the last. Where
    /// records do not fill them without a break, a repair has cut some out.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.from..self.until.max(self.from)
    }

    fn load(&mut self, number: u32, end: u64) -> Result<(), ReadError> {
        let path = self.dir.join(file_name(number));
        let bytes = self.disk.read(&path, SEGMENT_BYTES_MAX).map_err(|source| ReadError::Io { path, source })?;
        let damaged = |offset, kind| ReadError::Damaged(Damage { segment: number, offset, kind });
        let (header, frames) = SegmentHeader::decode(&bytes).map_err(|error| damaged(0, error.into()))?;
        let mut records = Vec::new();
        let (from, until) = (self.from, self.until.min(end));
        let walked = walk(frames, header.first_seq, Some(until), &mut |seq, offset, payload| {
            if from <= seq {
                let start = offset as usize + homeostat_wire::wal_record::FRAME_HEADER_BYTES;
                records.push((seq, start..start + payload.len()));
            }
        });
        if let End::Damaged(kind) = walked.end {
            return Err(damaged(walked.offset, kind));
        }
        self.records = records.into_iter();
        self.bytes = Arc::from(bytes);
        Ok(())
    }
}

impl Iterator for Reader {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((seq, range)) = self.records.next() {
                let payload = self.bytes.get(range).unwrap_or_default().to_vec();
                return Some(Ok(Record { seq, payload }));
            }
            let (number, end) = self.segments.next()?;
            if let Err(error) = self.load(number, end) {
                self.segments = Vec::new().into_iter();
                return Some(Err(error));
            }
        }
    }
}
