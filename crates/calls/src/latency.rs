//! How long calls took, in slots that are an eighth of a power of two wide.

/// Slots within a power of two: figures are wrong by at most a sixteenth.
const PARTS: u32 = 8;
/// Up to 2^40 ns, 18 min; the last slot has all above.
const SLOTS: usize = (41 - 3) * PARTS as usize;

/// Durations, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    slots: Box<[u64]>,
    count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { slots: vec![0; SLOTS].into_boxed_slice(), count: 0 }
    }
}

impl Latencies {
    /// Counts one, in nanoseconds.
    pub fn add(&mut self, ns: u64) {
        if let Some(slot) = self.slots.get_mut(slot_of(ns)) {
            *slot += 1;
            self.count += 1;
        }
    }

    /// Durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration that a share `q` of all (0 to 1) does not exceed, in milliseconds; `None` without any.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let wanted = (q.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let slot = self.slots.iter().position(|count| {
            seen += count;
            wanted <= seen
        })?;
        Some(f64::midpoint(start_of(slot) as f64, start_of(slot + 1) as f64) / 1e6)
    }
}

/// Below `PARTS` each number has a slot; from there on each power of two has `PARTS` of them.
fn slot_of(ns: u64) -> usize {
    if ns < u64::from(PARTS) {
        return ns as usize;
    }
    let power = ns.ilog2();
    let part = (ns >> (power - PARTS.ilog2())) as u32 - PARTS;
    let slot = (power - PARTS.ilog2() + 1) * PARTS + part;
    (slot as usize).min(SLOTS - 1)
}

fn start_of(slot: usize) -> u64 {
    let (power, part) = (slot as u64 / u64::from(PARTS), slot as u64 % u64::from(PARTS));
    if power == 0 { part } else { (u64::from(PARTS) + part) << (power - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_slot() {
        for ns in (0..100).chain([1_000, 999_999, 1 << 39, (1 << 40) - 1]) {
            let slot = slot_of(ns);
            assert!(start_of(slot) <= ns && ns < start_of(slot + 1), "{ns} in {slot}");
        }
        assert_eq!(slot_of(u64::MAX), SLOTS - 1);
    }

    #[test]
    fn quantiles_are_near() {
        let mut all = Latencies::default();
        assert_eq!(all.quantile_ms(0.5), None);
        (1..=1000).for_each(|us| all.add(us * 1000));
        for q in [0.01, 0.5, 0.99, 1.0] {
            let got = all.quantile_ms(q).unwrap();
            assert!((got / q - 1.0).abs() < 0.0626, "{q}: {got} ms");
        }
        assert_eq!(all.count(), 1000);
    }
}
