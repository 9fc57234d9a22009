//! Profiles of one series, one behind the other: what a page holds.
//!
//! ```text
//! profile  begun i (ns since 1970, from the one before), lasted u (ns), bytes u │ rows │ rows …
//! rows     count u │ stacks: the first, then differences, u each │ labels │ columns
//! labels   0 u: nobody has any │ 1 u, then a number for each row, u
//! column   0 u: unit u, then value / unit for each row, i │ 1 u: column u, factor i: that column times the factor
//! ```
//!
//! Rows are sorted by stack and labels. `u` is a varint, `i` a zigzag one. The unit is the greatest common divisor of the
//! values, so that times that are multiples of a sampling period take a byte or two.

use crate::{
    series::{Malformed, reader::Reader},
    varint::{put, zigzag},
};

/// Values of one profile: four columns of sixteen million rows, 512 MiB. A column that is another one times a factor takes
/// three bytes, however many rows there are.
const VALUES_MAX: usize = 1 << 26;

const NOBODY: u64 = 0;
const EACH: u64 = 1;
const PLAIN: u64 = 0;
const SCALED: u64 = 1;

/// Rows of one profile, column by column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Places of the stacks in the symbols.
    pub stacks: Vec<u32>,
    /// Places of the labels in the symbols.
    pub labels: Vec<u32>,
    /// Values, one column a type.
    pub columns: Vec<Vec<i64>>,
}

impl Rows {
    /// Rows as stack, labels and values, in any order. Values that are missing count as zero.
    pub fn sorted(mut rows: Vec<(u32, u32, &[i64])>, columns: usize) -> Self {
        rows.sort_unstable_by_key(|row| (row.0, row.1));
        let column = |index: usize| rows.iter().map(|row| row.2.get(index).copied().unwrap_or(0)).collect();
        Self {
            stacks: rows.iter().map(|row| row.0).collect(),
            labels: rows.iter().map(|row| row.1).collect(),
            columns: (0..columns).map(column).collect(),
        }
    }
}

/// One profile of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it began, nanoseconds since 1970.
    pub started_ns: i64,
    /// How long it took.
    pub duration_ns: i64,
    rows: &'a [u8],
}

/// Appends a profile. `before_ns` is when the one before it began, 0 for the first. Rows must be sorted by stack and labels,
/// and all columns as long as the stacks.
pub fn put_entry(before_ns: i64, started_ns: i64, duration_ns: i64, rows: &Rows, out: &mut Vec<u8>) {
    put(zigzag(started_ns.wrapping_sub(before_ns)), out);
    put(duration_ns.max(0) as u64, out);
    let mut body = Vec::new();
    put_rows(rows, &mut body);
    put(body.len() as u64, out);
    out.extend_from_slice(&body);
}

fn put_rows(rows: &Rows, out: &mut Vec<u8>) {
    put(rows.stacks.len() as u64, out);
    let mut before = 0;
    for stack in &rows.stacks {
        put(u64::from(stack.wrapping_sub(before)), out);
        before = *stack;
    }
    if rows.labels.iter().all(|labels| *labels == 0) {
        put(NOBODY, out);
    } else {
        put(EACH, out);
        rows.labels.iter().for_each(|labels| put(u64::from(*labels), out));
    }
    for (index, column) in rows.columns.iter().enumerate() {
        let mut earlier = rows.columns.iter().take(index).enumerate();
        if let Some((like, factor)) = earlier.find_map(|(like, other)| Some((like, factor_of(column, other)?))) {
            put(SCALED, out);
            put(like as u64, out);
            put(zigzag(factor), out);
            continue;
        }
        let unit = column.iter().fold(0, |unit, value| gcd(unit, value.unsigned_abs())).max(1);
        // A unit beyond `i64` divides nothing but the least number.
        let unit = i64::try_from(unit).unwrap_or(1);
        put(PLAIN, out);
        put(unit as u64, out);
        for value in column {
            put(zigzag(value / unit), out);
        }
    }
}

/// The number that makes `other` to `column` when every value is multiplied by it.
fn factor_of(column: &[i64], other: &[i64]) -> Option<i64> {
    let (value, base) = column.iter().zip(other).find(|(_, base)| **base != 0)?;
    let factor = value.checked_div(*base)?;
    column.iter().zip(other).all(|(value, base)| base.checked_mul(factor) == Some(*value)).then_some(factor)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The profiles of a page, in the order in which they were written.
#[derive(Debug)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    before_ns: i64,
}

impl<'a> Entries<'a> {
    /// Walks over a page.
    pub fn new(page: &'a [u8]) -> Self {
        Self { reader: Reader::new(page), before_ns: 0 }
    }

    fn entry(&mut self) -> Result<Entry<'a>, Malformed> {
        let wrong = self.reader.error("a profile that is none");
        let started_ns = self.before_ns.wrapping_add(self.reader.signed()?);
        let duration_ns = i64::try_from(self.reader.number()?).map_err(|_| wrong)?;
        let bytes = usize::try_from(self.reader.number()?).map_err(|_| wrong)?;
        let rows = self.reader.bytes(bytes)?;
        self.before_ns = started_ns;
        Ok(Entry { started_ns, duration_ns, rows })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.reader.rest = &[];
        }
        Some(entry)
    }
}

impl Entry<'_> {
    /// Reads the rows of a profile with so many columns into `rows`, whose memory is used again.
    pub fn rows(&self, columns: usize, rows: &mut Rows) -> Result<(), Malformed> {
        let mut reader = Reader::new(self.rows);
        let count = reader.count()?;
        if VALUES_MAX < count.saturating_mul(columns) {
            return Err(reader.error("more values than a profile may have"));
        }
        rows.stacks.clear();
        rows.labels.clear();
        rows.columns.resize_with(columns, Vec::new);
        let mut stack = 0_u32;
        for _ in 0..count {
            let wrong = reader.error("a stack that is none");
            stack = stack.checked_add(reader.small()?).ok_or(wrong)?;
            rows.stacks.push(stack);
        }
        let wrong = reader.error("labels that are none");
        match reader.number()? {
            NOBODY => rows.labels.resize(count, 0),
            EACH => {
                for _ in 0..count {
                    rows.labels.push(reader.small()?);
                }
            }
            _ => return Err(wrong),
        }
        for index in 0..columns {
            let (done, open) = rows.columns.split_at_mut(index);
            if let Some(column) = open.first_mut() {
                read_column(&mut reader, count, done, column)?;
            }
        }
        reader.end()
    }
}

fn read_column(
    reader: &mut Reader<'_>,
    count: usize,
    done: &[Vec<i64>],
    column: &mut Vec<i64>,
) -> Result<(), Malformed> {
    column.clear();
    let wrong = reader.error("a column that is none");
    let scaled = |value: i64, factor: i64| value.checked_mul(factor).ok_or(wrong);
    match reader.number()? {
        PLAIN => {
            let unit = i64::try_from(reader.number()?).map_err(|_| wrong)?;
            for _ in 0..count {
                column.push(scaled(reader.signed()?, unit)?);
            }
        }
        SCALED => {
            let like = usize::try_from(reader.number()?).ok().and_then(|like| done.get(like)).ok_or(wrong)?;
            let factor = reader.signed()?;
            for value in like {
                column.push(scaled(*value, factor)?);
            }
        }
        _ => return Err(wrong),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn check(rows: &[Rows]) {
        let mut page = Vec::new();
        let mut before = 0;
        for (index, rows) in rows.iter().enumerate() {
            let started = 1_700_000_000_000_000_000 + index as i64 * 15_000_000_001;
            put_entry(before, started, 15_000_000_000, rows, &mut page);
            before = started;
        }
        let mut read = Rows::default();
        let entries: Vec<_> = Entries::new(&page).collect::<Result<_, _>>().unwrap();
        assert_eq!(entries.len(), rows.len());
        for (entry, rows) in entries.iter().zip(rows) {
            entry.rows(rows.columns.len(), &mut read).unwrap();
            assert_eq!(&read, rows);
            assert!(entry.rows(rows.columns.len() + 1, &mut read).is_err());
        }
        assert_eq!(entries.last().map_or(0, |entry| entry.started_ns), before);
    }

    #[test]
    fn a_column_that_is_another_one_times_a_number_takes_three_bytes() {
        let samples: Vec<i64> = (0..100).map(|n| n % 7).collect();
        let times = samples.iter().map(|n| n * 52_631_578).collect();
        let rows = Rows { stacks: (0..100).collect(), labels: vec![0; 100], columns: vec![samples, times] };
        let mut out = Vec::new();
        put_rows(&rows, &mut out);
        assert!(out.len() < 215, "{}", out.len());
        check(&[rows]);
    }

    #[test]
    fn the_ends_of_numbers_come_back() {
        let columns = vec![vec![i64::MIN, i64::MAX, 0], vec![0; 3], vec![i64::MIN; 3], vec![-6, 9, 12]];
        check(&[Rows { stacks: vec![0, 0, u32::MAX], labels: vec![0, 1, u32::MAX], columns }]);
        check(&[Rows { stacks: vec![], labels: vec![], columns: vec![vec![]] }, Rows::default()]);
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in vec((any::<u32>(), 0_u32..3, any::<i64>(), -5_i64..5), 0..50), unit in 1_i64..1000) {
            let mut rows = rows;
            rows.sort_unstable();
            check(&[Rows {
                stacks: rows.iter().map(|row| row.0).collect(),
                labels: rows.iter().map(|row| row.1).collect(),
                columns: vec![
                    rows.iter().map(|row| row.3).collect(),
                    rows.iter().map(|row| row.2).collect(),
                    rows.iter().map(|row| row.3 * unit).collect(),
                ],
            }]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
            let mut rows = Rows::default();
            for entry in Entries::new(&bytes).flatten() {
                if entry.rows(2, &mut rows).is_err() {
                    break;
                }
            }
        }
    }
}
