//! Since when the requests of an objective are not counted.

use std::collections::BTreeMap;

use homeostat_model::{ObjectiveName, Timestamp};

use super::super::indicators::UNMEASURED_EVERY;
pub(super) use super::super::indicators::Unmeasured;

/// Objectives over calls.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    of: BTreeMap<ObjectiveName, Since>,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    /// Until when requests were counted, or told not to be.
    told_until: Timestamp,
    is_counted: bool,
    /// That they are not was told.
    is_silent: bool,
}

impl Coverage {
    /// Takes for each objective whether its requests are counted now; says which time was not. Gaps are told once they have
    /// lasted for a minute.
    pub(super) fn look(&mut self, now: Timestamp, counted: BTreeMap<ObjectiveName, bool>) -> Unmeasured {
        self.of.retain(|name, _| counted.contains_key(name));
        let mut unmeasured = Unmeasured::new();
        for (name, is_counted) in counted {
            let fresh = Since { told_until: now, is_counted, is_silent: false };
            let since = self.of.entry(name.clone()).or_insert(fresh);
            since.is_counted = is_counted;
            let ends = is_counted && since.is_silent;
            let lasts = !is_counted && UNMEASURED_EVERY <= now.since(since.told_until);
            if ends || lasts {
                unmeasured.push((name, since.told_until, now));
                since.is_silent = lasts;
            }
            if ends || lasts || is_counted {
                since.told_until = now;
            }
        }
        unmeasured
    }

    /// What was not told yet, at the end.
    pub(super) fn rest(&mut self, now: Timestamp) -> Unmeasured {
        let missed = self.of.iter().filter(|(_, since)| !since.is_counted);
        missed.map(|(name, since)| (name.clone(), since.told_until, now)).collect()
    }

    /// Control did not take these: they are told again. What overlaps does no harm.
    pub(super) fn put_back(&mut self, refused: Unmeasured) {
        for (name, from, _) in refused {
            if let Some(since) = self.of.get_mut(&name) {
                since.told_until = since.told_until.min(from);
                since.is_silent = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_ms(second * 1000)
    }

    fn look(coverage: &mut Coverage, second: i64, counted: bool) -> Vec<(i64, i64)> {
        let told = coverage.look(at(second), [("a".parse().unwrap(), counted)].into());
        seconds(&told)
    }

    fn seconds(told: &Unmeasured) -> Vec<(i64, i64)> {
        let second = |at: &Timestamp| at.unix_ns() / 1_000_000_000;
        told.iter().map(|(_, from, to)| (second(from), second(to))).collect()
    }

    #[test]
    fn long_gaps_are_told_and_short_ones_are_not() {
        let mut coverage = Coverage::default();
        assert_eq!(look(&mut coverage, 0, false), []);
        assert_eq!(look(&mut coverage, 59, false), []);
        assert_eq!(look(&mut coverage, 60, false), [(0, 60)]);
        assert_eq!(look(&mut coverage, 70, true), [(60, 70)], "the end comes at once");
        assert_eq!(look(&mut coverage, 71, true), []);
        assert_eq!(look(&mut coverage, 100, false), []);
        assert_eq!(look(&mut coverage, 101, true), []);
        assert_eq!(look(&mut coverage, 110, false), []);
        assert_eq!(seconds(&coverage.rest(at(111))), [(101, 111)]);
    }

    #[test]
    fn what_control_did_not_take_is_told_again() {
        let mut coverage = Coverage::default();
        look(&mut coverage, 0, false);
        let told = coverage.look(at(60), [("a".parse().unwrap(), false)].into());
        coverage.put_back(told);
        assert_eq!(look(&mut coverage, 61, false), [(0, 61)]);
    }
}
