//! Ascending numbers of series as gaps and runs.
//!
//! ```text
//! n runs, n × (gap << 1 | is longer than one, [length - 2])
//! ```
//!
//! All numbers are varints. A gap counts the numbers left out since the end of the run before. Series are numbered in
//! the order of their labels, so the series of a metric are one run, and those of a job come in runs too.
//!
//! Invariant: one list has one encoding; what decodes is ascending, without doubles, and below the limit.

use super::reader::{Malformed, Reader};
use crate::varint::put;

/// Collects a list number by number.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    runs: u64,
    /// Where the run before the open one ends.
    end: u32,
    start: u32,
    len: u32,
    bytes: Vec<u8>,
}

impl Builder {
    /// Adds a number above all before.
    pub fn push(&mut self, number: u32) {
        if self.len > 0 && self.start.wrapping_add(self.len) == number {
            self.len += 1;
            return;
        }
        self.close();
        (self.start, self.len) = (number, 1);
    }

    fn close(&mut self) {
        if self.len == 0 {
            return;
        }
        let gap = u64::from(self.start.wrapping_sub(self.end)) << 1;
        if self.len == 1 {
            put(gap, &mut self.bytes);
        } else {
            put(gap | 1, &mut self.bytes);
            put(u64::from(self.len - 2), &mut self.bytes);
        }
        self.runs += 1;
        self.end = self.start.wrapping_add(self.len);
        self.len = 0;
    }

    /// Appends the list; nothing may be added afterwards.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.close();
        put(self.runs, out);
        out.extend_from_slice(&self.bytes);
    }
}

/// Appends a list; it ascends without doubles.
pub fn encode(numbers: &[u32], out: &mut Vec<u8>) {
    let mut builder = Builder::default();
    for number in numbers {
        builder.push(*number);
    }
    builder.finish(out);
}

/// Appends the numbers of a list that fills `bytes`; all are below `limit`.
pub fn decode(bytes: &[u8], limit: u32, out: &mut Vec<u32>) -> Result<(), Malformed> {
    for_each_run(bytes, limit, |start, len| out.extend(start..start + len))
}

/// The number of numbers in a list.
pub fn count(bytes: &[u8], limit: u32) -> Result<u64, Malformed> {
    let mut count = 0;
    for_each_run(bytes, limit, |_, len| count += u64::from(len))?;
    Ok(count)
}

/// Visits the runs of a list as (first number, length).
pub fn for_each_run(bytes: &[u8], limit: u32, mut visit: impl FnMut(u32, u32)) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    let mut end = 0_u64;
    for index in 0..reader.count()? {
        let error = reader.error("a run that is out of place");
        let head = reader.number()?;
        // Without a gap it would belong to the run before.
        if index > 0 && head < 2 {
            return Err(error);
        }
        let len = if head & 1 == 0 { 1 } else { reader.number()?.checked_add(2).ok_or(error)? };
        let start = end.checked_add(head >> 1).ok_or(error)?;
        end = start.checked_add(len).filter(|end| *end <= u64::from(limit)).ok_or(error)?;
        visit(start as u32, len as u32);
    }
    reader.end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_take_three_bytes_and_lies_are_refused() {
        let mut bytes = Vec::new();
        encode(&(100..200).collect::<Vec<_>>(), &mut bytes);
        assert_eq!(bytes.len(), 4);
        let mut out = Vec::new();
        assert!(decode(&bytes, 199, &mut out).is_err(), "beyond the limit");
        for bad in [&[2, 0, 0][..], &[1, 0, 0], &[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f], &[2, 0]] {
            assert!(decode(bad, u32::MAX, &mut out).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn lists_come_back(
            numbers in proptest::collection::btree_set(prop_oneof![4 => 0_u32..200, 1 => any::<u32>()], 0..150),
        ) {
            let numbers: Vec<u32> = numbers.into_iter().filter(|number| *number < u32::MAX).collect();
            let (mut bytes, mut back) = (Vec::new(), Vec::new());
            encode(&numbers, &mut bytes);
            prop_assert_eq!(decode(&bytes, u32::MAX, &mut back), Ok(()));
            prop_assert_eq!(&back, &numbers);
            prop_assert_eq!(count(&bytes, u32::MAX), Ok(numbers.len() as u64));
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut], u32::MAX, &mut back).is_err());
            }
        }

        #[test]
        fn what_decodes_encodes_to_the_same(bytes in proptest::collection::vec(0_u8..9, 0..20)) {
            let mut numbers = Vec::new();
            if decode(&bytes, 10_000, &mut numbers).is_ok() {
                let mut again = Vec::new();
                encode(&numbers, &mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
