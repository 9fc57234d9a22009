//! Histograms of powers of two, as our programs in the kernel fill them.

/// How often a value was seen, by powers of two of a unit. Slot 0 is below one unit, slot n from 2^(n-1) on, the last one has
/// all above 2^26 units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    slots: [u64; Histogram::SLOTS],
}

impl Histogram {
    /// As in `bpf/histogram.h`.
    pub(crate) const SLOTS: usize = 28;

    /// Values.
    pub fn count(&self) -> u64 {
        self.slots.iter().sum()
    }

    /// The value that a share `q` of all (0 to 1) does not exceed, in units, as if values lay evenly within their slot: wrong
    /// by less than a factor of two. `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let mut left = q.clamp(0.0, 1.0) * count as f64;
        let (mut from, mut last) = (0.0, 0.0);
        for (to, in_slot) in self.buckets() {
            let in_slot = in_slot as f64;
            if 0.0 < in_slot {
                last = to;
                if left <= in_slot {
                    return Some(from + (to - from) * left / in_slot);
                }
            }
            left -= in_slot;
            from = to;
        }
        Some(last)
    }

    /// Upper bound in units and count of each slot, ascending; the last bound stands for all above.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        (0..).zip(self.slots).map(|(power, count)| (f64::from(1_u32 << power), count))
    }

    /// What came since an earlier reading of the same histogram; all of it when that one is not earlier.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut slots = self.slots;
        for (now, before) in slots.iter_mut().zip(earlier.slots) {
            match now.checked_sub(before) {
                Some(more) => *now = more,
                None => return self.clone(),
            }
        }
        Self { slots }
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.slots.iter_mut().zip(other.slots) {
            *sum = sum.saturating_add(more);
        }
    }

    /// From the kernel's map: words one after the other.
    #[cfg(feature = "bpf")]
    pub(crate) fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let mut slots = [0; Self::SLOTS];
        for (slot, index) in slots.iter_mut().zip(0..) {
            *slot = homeostat_gosym::little_endian::u64_at(bytes, at + 8 * index)?;
        }
        Some(Self { slots })
    }
}

/// From values in units; for tests and examples.
impl FromIterator<u64> for Histogram {
    fn from_iter<T: IntoIterator<Item = u64>>(values: T) -> Self {
        let mut all = Self::default();
        for value in values {
            let slot = (u64::BITS - value.leading_zeros()) as usize;
            if let Some(slot) = all.slots.get_mut(slot.min(Self::SLOTS - 1)) {
                *slot += 1;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_slot() {
        let all: Histogram = (0..100).map(|value| if value < 98 { 3 } else { 1000 }).collect();
        let (median, high) = (all.quantile(0.5).unwrap(), all.quantile(0.99).unwrap());
        assert!((2.0..4.0).contains(&median) && (512.0..=1024.0).contains(&high), "{median} {high}");
        assert_eq!((all.count(), Histogram::default().quantile(0.5)), (100, None));
        assert_eq!(Histogram::from_iter([0, 0]).quantile(1.0), Some(1.0));
        assert_eq!(Histogram::from_iter([u64::MAX]).quantile(0.0), Some(f64::from(1 << 26)));
    }

    #[test]
    fn readings_are_subtracted_and_added() {
        let (early, late) = (Histogram::from_iter([1, 5]), Histogram::from_iter([1, 5, 5, 900]));
        assert_eq!(late.since(&early), Histogram::from_iter([5, 900]));
        assert_eq!(early.since(&late), early, "it began anew");
        let mut sum = early.clone();
        sum.add(&late.since(&early));
        assert_eq!(sum, late);
    }
}
