//! The footer of a block: which services, which series, where their parts lie, and which records of a log they were.
//!
//! ```text
//! log u64 LE │ runs u: records left out u, records u …       of that log, ascending, the first counts from 0
//! services u: name text │ symbols │ series u:
//!   labels text (as `model::labels` packs them)
//!   types u: kind text, unit text … │ default u │ period kind text, unit text, period i
//!   pages u: part, earliest i, latest i (ns), profiles u
//! part   offset u, bytes u           text   bytes u, UTF-8
//! ```

use homeostat_model::{
    Labels,
    profile::{Profile, ValueType},
};

use crate::{
    series::{Malformed, frame::PageRef, reader::Reader},
    varint::{put, zigzag},
};

/// What a block holds and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footer {
    /// The log whose records these profiles were.
    pub log: u64,
    /// Numbers of the records, as ascending runs of first and one behind the last.
    pub records: Vec<(u64, u64)>,
    /// Services, each once.
    pub partitions: Vec<Partition>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub service: String,
    /// Its symbols.
    pub symbols: PageRef,
    /// Its series.
    pub series: Vec<Series>,
}

/// What the profiles of a series have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Labels.
    pub labels: Labels,
    /// What is counted, a column each.
    pub types: Vec<ValueType>,
    /// The column that is meant when none is named.
    pub default_type: usize,
    /// What happens once per sample.
    pub period_type: ValueType,
    /// How often it has to happen for one.
    pub period: i64,
}

/// One series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// What its profiles have in common.
    pub subject: Subject,
    /// Where they are.
    pub pages: Vec<PageEntry>,
}

/// One page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageEntry {
    /// Where it lies.
    pub part: PageRef,
    /// When its earliest profile began.
    pub min_ns: i64,
    /// When its latest one began.
    pub max_ns: i64,
    /// Profiles.
    pub profiles: u64,
}

impl Subject {
    /// What the profiles of a series have in common with this one.
    pub fn of(labels: Labels, profile: &Profile) -> Self {
        Self {
            labels,
            types: profile.types().to_vec(),
            default_type: profile.default_type(),
            period_type: profile.period_type.clone(),
            period: profile.period,
        }
    }

    /// Bytes of all its texts, with ten for each pair of them: more than a footer needs.
    pub fn bytes(&self) -> usize {
        let types = self.types.iter().chain([&self.period_type]);
        self.labels.as_packed().len() + types.map(|counted| counted.kind.len() + counted.unit.len() + 10).sum::<usize>()
    }
}

impl Footer {
    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.log.to_le_bytes().to_vec();
        put(self.records.len() as u64, &mut out);
        let mut before = 0;
        for (first, end) in &self.records {
            put(first - before, &mut out);
            put(end - first, &mut out);
            before = *end;
        }
        put(self.partitions.len() as u64, &mut out);
        for partition in &self.partitions {
            put_text(&partition.service, &mut out);
            put_ref(partition.symbols, &mut out);
            put(partition.series.len() as u64, &mut out);
            for series in &partition.series {
                put_subject(&series.subject, &mut out);
                put(series.pages.len() as u64, &mut out);
                for page in &series.pages {
                    put_ref(page.part, &mut out);
                    put(zigzag(page.min_ns), &mut out);
                    put(zigzag(page.max_ns.wrapping_sub(page.min_ns)), &mut out);
                    put(page.profiles, &mut out);
                }
            }
        }
        out
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let short = reader.error("the number of the log is missing");
        let (log, rest) = reader.rest.split_first_chunk().ok_or(short)?;
        reader.rest = rest;
        let mut footer = Self { log: u64::from_le_bytes(*log), ..Self::default() };
        let mut before = 0_u64;
        for _ in 0..reader.count()? {
            let wrong = reader.error("records beyond all numbers");
            let first = before.checked_add(reader.number()?).ok_or(wrong)?;
            before = first.checked_add(reader.number()?).ok_or(wrong)?;
            footer.records.push((first, before));
        }
        for _ in 0..reader.count()? {
            let service = reader.text()?.to_owned();
            let symbols = read_ref(&mut reader)?;
            let mut series = Vec::new();
            for _ in 0..reader.count()? {
                series.push(read_series(&mut reader)?);
            }
            footer.partitions.push(Partition { service, symbols, series });
        }
        reader.end()?;
        Ok(footer)
    }

    /// Returns true for a record of this log that is in the block.
    pub fn has_record(&self, log: u64, record: u64) -> bool {
        let after = self.records.partition_point(|(_, end)| *end <= record);
        self.log == log && self.records.get(after).is_some_and(|(first, _)| *first <= record)
    }
}

pub(super) fn put_subject(subject: &Subject, out: &mut Vec<u8>) {
    put_text(subject.labels.as_packed(), out);
    put(subject.types.len() as u64, out);
    for value_type in &subject.types {
        put_text(&value_type.kind, out);
        put_text(&value_type.unit, out);
    }
    put(subject.default_type as u64, out);
    put_text(&subject.period_type.kind, out);
    put_text(&subject.period_type.unit, out);
    put(zigzag(subject.period), out);
}

pub(super) fn read_subject(reader: &mut Reader<'_>) -> Result<Subject, Malformed> {
    let wrong = reader.error("labels that are none");
    let labels = Labels::from_packed(reader.text()?).ok_or(wrong)?;
    let mut types = Vec::new();
    for _ in 0..reader.count()? {
        types.push(read_type(reader)?);
    }
    let default_type = reader.small()? as usize;
    let period_type = read_type(reader)?;
    Ok(Subject { labels, types, default_type, period_type, period: reader.signed()? })
}

fn read_series(reader: &mut Reader<'_>) -> Result<Series, Malformed> {
    let subject = read_subject(reader)?;
    let mut pages = Vec::new();
    for _ in 0..reader.count()? {
        let part = read_ref(reader)?;
        let min_ns = reader.signed()?;
        let max_ns = min_ns.wrapping_add(reader.signed()?);
        pages.push(PageEntry { part, min_ns, max_ns, profiles: reader.number()? });
    }
    Ok(Series { subject, pages })
}

fn read_type(reader: &mut Reader<'_>) -> Result<ValueType, Malformed> {
    Ok(ValueType { kind: reader.text()?.to_owned(), unit: reader.text()?.to_owned() })
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn put_ref(part: PageRef, out: &mut Vec<u8>) {
    put(part.offset, out);
    put(u64::from(part.len), out);
}

fn read_ref(reader: &mut Reader<'_>) -> Result<PageRef, Malformed> {
    Ok(PageRef { offset: reader.number()?, len: reader.small()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_comes_back_and_every_cut_is_refused() {
        let subject = Subject {
            labels: Labels::new([("service_name", "shop"), ("zone", "a")]),
            types: vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")],
            default_type: 1,
            period_type: ValueType::new("cpu", "nanoseconds"),
            period: -7,
        };
        let part = PageRef { offset: 12, len: 900 };
        let page = PageEntry { part, min_ns: -5, max_ns: i64::MAX, profiles: 3 };
        let series = vec![Series { subject, pages: vec![page, page] }, Series::default()];
        let partition = Partition { service: "shop".into(), symbols: part, series };
        let footer = Footer { log: 77, records: vec![(3, 5), (9, 10)], partitions: vec![partition] };
        let bytes = footer.encode();
        assert_eq!(Footer::decode(&bytes), Ok(footer.clone()));
        for cut in 0..bytes.len() {
            assert!(Footer::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        let has = |log| (0..12).filter(|record| footer.has_record(log, *record)).collect::<Vec<u64>>();
        assert_eq!((has(77), has(78)), (vec![3, 4, 9], vec![]));
    }
}
