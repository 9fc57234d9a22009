//! Points and lengths of time as plain numbers; nothing here reads a clock.
//!
//! The control loop runs on a monotone time line: the edge anchors it at the wall clock when the process starts and
//! advances it by the monotonic clock, so a stepped wall clock never moves it backwards.

use std::{
    fmt,
    ops::{Add, Sub},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch; negative before 1970. Covers the years 1677 to 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first representable instant.
    pub const MIN: Self = Self(i64::MIN);
    /// The last representable instant.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the Unix epoch.
    pub const fn from_unix_ns(unix_ns: i64) -> Self {
        Self(unix_ns)
    }

    /// From milliseconds since the Unix epoch, saturating at the ends of the range.
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn unix_ns(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, rounded towards the past.
    pub const fn unix_ms(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Number of the slot of width `width` that contains this instant, counted from the epoch, rounded towards the past.
    /// A zero width counts as one nanosecond.
    pub const fn slot(self, width: Span) -> i64 {
        let width_ns = if width.0 == 0 { 1 } else { width.0 as i64 };
        self.0.div_euclid(width_ns)
    }

    /// Time since `earlier`; zero when `earlier` lies in the future.
    pub const fn since(self, earlier: Self) -> Span {
        if self.0 <= earlier.0 { Span(0) } else { Span(self.0.wrapping_sub(earlier.0) as u64) }
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub_unsigned(span.0))
    }
}

/// A length of time in nanoseconds, never negative. Its serialised form is the number of nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }
    /// From microseconds.
    pub const fn from_us(us: u64) -> Self {
        Self(us.saturating_mul(1_000))
    }
    /// From milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }
    /// From seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }
    /// From minutes.
    pub const fn from_mins(mins: u64) -> Self {
        Self::from_secs(mins.saturating_mul(60))
    }
    /// From hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self::from_secs(hours.saturating_mul(3_600))
    }
    /// From days of 24 hours.
    pub const fn from_days(days: u64) -> Self {
        Self::from_secs(days.saturating_mul(86_400))
    }
    /// Nanoseconds.
    pub const fn ns(self) -> u64 {
        self.0
    }
    /// Whole milliseconds, rounded down.
    pub const fn ms(self) -> u64 {
        self.0 / 1_000_000
    }
    /// Seconds with fraction.
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// How long people have to wait, in the two largest units, rounded up: `23h 59m`, `59m 54s`, `7s`. [`Display`] is
    /// exact instead.
    ///
    /// [`Display`]: fmt::Display
    pub fn to_wait(self) -> String {
        const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
        let secs = self.0.div_ceil(1_000_000_000);
        let large = UNITS.iter().position(|(unit, _)| *unit <= secs).unwrap_or(UNITS.len() - 1);
        let (Some((unit, name)), fine) = (UNITS.get(large), UNITS.get(large + 1)) else { return String::new() };
        let Some((fine_unit, fine_name)) = fine else { return format!("{secs}{name}") };
        // Rounding up may reach the next larger unit: 23 h 59 min 30 s are a day.
        let secs = secs.next_multiple_of(*fine_unit);
        let carried = large.checked_sub(1).and_then(|at| UNITS.get(at)).filter(|(unit, _)| *unit <= secs);
        match (carried, secs / unit, secs % unit / fine_unit) {
            (Some((unit, name)), ..) => format!("{}{name}", secs / unit),
            (None, whole, 0) => format!("{whole}{name}"),
            (None, whole, rest) => format!("{whole}{name} {rest}{fine_name}"),
        }
    }
}

impl From<Span> for std::time::Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.0)
    }
}

impl From<std::time::Duration> for Span {
    /// Saturates above 584 years.
    fn from(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Span {
    /// The largest unit that divides the span evenly: `90s`, `5m`, `10ms`, `36h`, `30d`; `0ms` for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 6] = [
            (86_400_000_000_000, "d"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
        ];
        if self.0 == 0 {
            return f.write_str("0ms");
        }
        match UNITS.iter().find(|(unit_ns, _)| self.0.is_multiple_of(*unit_ns)) {
            Some((unit_ns, name)) => write!(f, "{}{name}", self.0 / unit_ns),
            None => write!(f, "{}ns", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_round_towards_the_past_on_both_sides_of_the_epoch() {
        let width = Span::from_ms(10);
        assert_eq!(Timestamp::from_unix_ms(19).slot(width), 1);
        assert_eq!(Timestamp::from_unix_ms(-1).slot(width), -1);
    }

    #[test]
    fn arithmetic_saturates_at_the_ends() {
        assert_eq!(Timestamp::MAX + Span::from_ns(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Span::from_days(1), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.since(Timestamp::MIN).ns(), u64::MAX);
        assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Span::ZERO);
    }

    #[test]
    fn waiting_times_have_two_units_and_are_rounded_up() {
        for (secs, shown) in [
            (0.0, "0s"),
            (0.2, "1s"),
            (59.0, "59s"),
            (59.5, "1m"),
            (86_366.0, "1d"),
            (86_340.0, "23h 59m"),
            (3_594.0, "59m 54s"),
            (3_600.0, "1h"),
            (7_201.0, "2h 1m"),
            (90_000.0, "1d 1h"),
            (604_799.0, "7d"),
        ] {
            assert_eq!(Span::from_ns((secs * 1e9) as u64).to_wait(), shown, "{secs} s");
        }
    }

    #[test]
    fn spans_print_in_the_largest_even_unit() {
        let shown = |span: Span| span.to_string();
        assert_eq!(shown(Span::from_secs(90)), "90s");
        assert_eq!(shown(Span::from_mins(60)), "1h");
        assert_eq!(shown(Span::from_ms(1_500)), "1500ms");
        assert_eq!(shown(Span::from_ns(7)), "7ns");
        assert_eq!(shown(Span::ZERO), "0ms");
    }
}
