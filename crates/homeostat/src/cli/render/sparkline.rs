//! A series of counts as one line of blocks.

use homeostat_model::{Span, Timestamp};

/// Eight heights; nothing at all is a dot, so that "no requests" cannot be mistaken for "few".
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// An interval of time cut into columns of equal width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) from: Timestamp,
    /// Width of a column.
    pub(crate) bin: Span,
    pub(crate) columns: usize,
}

impl Axis {
    /// At most `columns_max` columns over the interval, each a round number of milliseconds, 10 at least.
    pub(crate) fn new(from: Timestamp, to: Timestamp, columns_max: usize) -> Self {
        const ROUND_MS: [u64; 13] = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 600_000];
        let length_ms = to.since(from).ms().max(1);
        let columns_max = columns_max.max(1) as u64;
        let fits = |bin: &&u64| length_ms.div_ceil(**bin) <= columns_max;
        let bin_ms = ROUND_MS.iter().find(fits).copied().unwrap_or_else(|| length_ms.div_ceil(columns_max));
        let from = Timestamp::from_unix_ms(from.unix_ms().div_euclid(bin_ms as i64).saturating_mul(bin_ms as i64));
        // Rounding the beginning down may have added a column.
        let columns = to.since(from).ms().max(1).div_ceil(bin_ms).min(columns_max);
        Self { from, bin: Span::from_ms(bin_ms), columns: columns as usize }
    }

    /// The column of an instant; `None` outside.
    pub(crate) fn column(&self, at: Timestamp) -> Option<usize> {
        if at < self.from {
            return None;
        }
        let column = (at.since(self.from).ns() / self.bin.ns().max(1)) as usize;
        (column < self.columns).then_some(column)
    }

    /// Sums per column.
    pub(crate) fn sums(&self, series: impl Iterator<Item = (Timestamp, u64)>) -> Vec<u64> {
        let mut sums = vec![0_u64; self.columns];
        for (at, count) in series {
            if let Some(sum) = self.column(at).and_then(|column| sums.get_mut(column)) {
                *sum = sum.saturating_add(count);
            }
        }
        sums
    }
}

/// One character per sum, scaled to the largest.
pub(crate) fn sparkline(sums: &[u64]) -> String {
    let largest = sums.iter().copied().max().unwrap_or(0).max(1);
    let block = |sum: &u64| match sum {
        0 => '·',
        // The smallest non-zero count is visible, the largest is full.
        sum => {
            let height = (u128::from(*sum) * 8).div_ceil(u128::from(largest)).saturating_sub(1) as usize;
            BLOCKS.get(height).copied().unwrap_or('█')
        }
    };
    sums.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_relative_to_the_largest_and_nothing_is_a_dot() {
        assert_eq!(sparkline(&[0, 1, 4, 8, 16]), "·▁▂▄█");
        assert_eq!(sparkline(&[0, 1, u64::MAX]), "·▁█");
        assert_eq!(sparkline(&[0, 0]), "··");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn columns_are_round_and_few_enough() {
        let from = Timestamp::from_unix_ms(1_007);
        for (length_ms, columns_max, bin_ms, columns) in [
            (500, 60, 10, 51),
            (500, 10, 50, 10),
            (3_600_000, 60, 60_000, 60),
            (0, 5, 10, 1),
            (u64::MAX / 2_000_000, 3, 0, 3),
        ] {
            let axis = Axis::new(from, from + Span::from_ms(length_ms), columns_max);
            assert!(axis.columns <= columns_max);
            assert_eq!(axis.columns, columns, "{length_ms}");
            if bin_ms > 0 {
                assert_eq!(axis.bin, Span::from_ms(bin_ms), "{length_ms}");
            }
        }
        let axis = Axis::new(from, from + Span::from_ms(100), 60);
        assert_eq!(axis.column(Timestamp::from_unix_ms(999)), None);
        assert_eq!(axis.column(Timestamp::from_unix_ms(1_010)), Some(1));
        let sums = axis.sums(
            [(1_000, 1), (1_009, 2), (1_010, 4), (9_999, 8)]
                .map(|(at, n)| (Timestamp::from_unix_ms(at), n))
                .into_iter(),
        );
        assert_eq!(sums.iter().take(3).copied().collect::<Vec<_>>(), [3, 4, 0]);
    }
}
