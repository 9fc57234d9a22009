//! What the log holds for one profile: its subject, its symbols and its rows, compressed as parts of blocks are.
//!
//! ```text
//! record   a part (see `part`): version u = 1 │ subject (see `footer`) │ bytes u, symbols │ one profile (see `rows`)
//! record   of a sender's window: version u = 2 │ sender 8 bytes LE, number u │ subject … as above
//! ```

use homeostat_model::{Labels, profile::Profile};

use super::{
    footer::{Subject, put_subject, read_subject},
    part::{PartError, open_part, put_part},
    rows::{Entries, Rows, put_entry},
    symbols::{decode_symbols, encode_symbols},
    window::WindowId,
};
use crate::{
    series::{Malformed, reader::Reader},
    varint::put,
};

const VERSION: u64 = 1;
/// With whose window it is.
const VERSION_OF_WINDOW: u64 = 2;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// What is around it.
    #[error(transparent)]
    Part(#[from] PartError),
    /// It is of a version that is not known here.
    #[error(
        "version {found} of a record is not known here (only {VERSION} and {VERSION_OF_WINDOW} are); a newer program has written it"
    )]
    Version {
        /// As read.
        found: u64,
    },
    /// What is in it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Writes a profile with its labels; one that is too large for a part is refused.
pub fn encode_record(labels: &Labels, profile: &Profile) -> Result<Vec<u8>, PartError> {
    encode_record_of(None, labels, profile)
}

/// Writes a profile with its labels and whose window it is.
pub fn encode_record_of(window: Option<WindowId>, labels: &Labels, profile: &Profile) -> Result<Vec<u8>, PartError> {
    let mut content = Vec::new();
    match window {
        None => put(VERSION, &mut content),
        Some(window) => {
            put(VERSION_OF_WINDOW, &mut content);
            content.extend_from_slice(&window.sender.to_le_bytes());
            put(window.number, &mut content);
        }
    }
    put_subject(&Subject::of(labels.clone(), profile), &mut content);
    let symbols = encode_symbols(profile);
    put(symbols.len() as u64, &mut content);
    content.extend_from_slice(&symbols);
    put_entry(0, profile.started_ns, profile.duration_ns, &Rows::of(profile), &mut content);
    let mut out = Vec::new();
    put_part(&content, &mut out)?;
    Ok(out)
}

/// Reads a profile with its labels, and whose window it is, where the record says so.
pub fn decode_record(bytes: &[u8]) -> Result<(Option<WindowId>, Labels, Profile), RecordError> {
    let content = open_part(bytes)?;
    let mut reader = Reader::new(&content);
    let window = read_window(&mut reader)?;
    let subject = read_subject(&mut reader)?;
    let wrong = reader.error("symbols are missing");
    let len = usize::try_from(reader.number()?).map_err(|_| wrong)?;
    let symbols = decode_symbols(reader.bytes(len)?)?;
    let mut entries = Entries::new(reader.rest);
    let (Some(entry), None) = (entries.next(), entries.next()) else { return Err(wrong.into()) };
    let entry = entry?;
    let mut rows = Rows::default();
    entry.rows(subject.types.len(), &mut rows)?;
    let mut profile = symbols.with_types(subject.types);
    profile.set_default_type(subject.default_type);
    (profile.period_type, profile.period) = (subject.period_type, subject.period);
    (profile.started_ns, profile.duration_ns) = (entry.started_ns, entry.duration_ns);
    rows.add_to(&mut profile).ok_or(wrong)?;
    Ok((window, subject.labels, profile))
}

/// Whose window a record is, where it says so. Unpacks all of it: [`decode_record`] says it as well.
pub fn window_of_record(bytes: &[u8]) -> Result<Option<WindowId>, RecordError> {
    read_window(&mut Reader::new(&open_part(bytes)?))
}

fn read_window(reader: &mut Reader<'_>) -> Result<Option<WindowId>, RecordError> {
    match reader.number()? {
        VERSION => Ok(None),
        VERSION_OF_WINDOW => {
            let short = reader.error("the number of the sender is missing");
            let (sender, rest) = reader.rest.split_first_chunk().ok_or(short)?;
            reader.rest = rest;
            Ok(Some(WindowId { sender: u64::from_le_bytes(*sender), number: reader.number()? }))
        }
        found => Err(RecordError::Version { found }),
    }
}

impl Rows {
    /// The rows of a profile, sorted by stack and labels.
    pub fn of(profile: &Profile) -> Self {
        // The tables of a profile count in 32 bits.
        let rows = profile.rows().map(|row| (row.stack.index() as u32, row.labels.index() as u32, row.values));
        Self::sorted(rows.collect(), profile.types().len())
    }

    /// Adds the rows to a profile whose tables they point into; `None` when they point elsewhere.
    pub fn add_to(&self, profile: &mut Profile) -> Option<()> {
        let sets: Vec<_> = profile.label_sets().map(|(id, _)| id).collect();
        let mut values = Vec::new();
        for (index, (stack, labels)) in self.stacks.iter().zip(&self.labels).enumerate() {
            let stack = profile.stacks().at(*stack as usize)?;
            values.clear();
            values.extend(self.columns.iter().filter_map(|column| column.get(index)));
            profile.add(stack, *sets.get(*labels as usize)?, &values);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::profile::{LabelSet, Stack, ValueType};

    use super::*;

    #[test]
    fn a_record_of_a_newer_program_is_told_as_that() {
        let mut out = Vec::new();
        put_part(&[3, 0, 0], &mut out).unwrap();
        assert_eq!(decode_record(&out).unwrap_err(), RecordError::Version { found: 3 });
        assert_eq!(window_of_record(&out).unwrap_err(), RecordError::Version { found: 3 });
    }

    #[test]
    fn a_record_says_whose_window_it_is() {
        let labels = Labels::new([("service_name", "shop")]);
        let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
        profile.started_ns = 7;
        profile.add(Stack::EMPTY, LabelSet::NONE, &[3]);
        for window in [None, Some(WindowId { sender: u64::MAX - 1, number: 300 })] {
            let record = encode_record_of(window, &labels, &profile).unwrap();
            assert_eq!(window_of_record(&record), Ok(window));
            let (read_window, read_labels, read) = decode_record(&record).unwrap();
            assert_eq!(read_window, window);
            assert_eq!((read_labels, read.started_ns, read.total(0)), (labels.clone(), 7, 3));
        }
        let mut cut = Vec::new();
        put_part(&[2, 0, 0, 0], &mut cut).unwrap();
        assert!(matches!(window_of_record(&cut), Err(RecordError::Malformed(_))));
    }
}
