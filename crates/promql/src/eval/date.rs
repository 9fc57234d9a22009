//! Functions of the calendar, in UTC.
//!
//! Days are counted from 1 March of year 0, so that the leap day is the last of its year and months follow from a line.
//! Source of the arithmetic: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".

use homeostat_model::TimeMs;

use super::{
    call::unlabelled,
    error::EvalError,
    evaluator::{Evaluator, Sink},
    series::{Series, is_absent},
};
use crate::ast::Expr;

const DAY_S: i64 = 86_400;

/// A part of a date.
pub(super) type Part = fn(seconds: i64) -> f64;

/// The part of a date that a function gives.
pub(super) fn part(name: &str) -> Option<Part> {
    Some(match name {
        "minute" => |s| (s.rem_euclid(3600) / 60) as f64,
        "hour" => |s| (s.rem_euclid(DAY_S) / 3600) as f64,
        // 1 January 1970 was a Thursday; Sunday is 0.
        "day_of_week" => |s| (s.div_euclid(DAY_S) + 4).rem_euclid(7) as f64,
        "day_of_month" => |s| date(s).day as f64,
        "day_of_year" => |s| day_of_year(date(s)) as f64,
        "days_in_month" => |s| days_in_month(date(s)) as f64,
        "month" => |s| date(s).month as f64,
        "year" => |s| date(s).year as f64,
        _ => return None,
    })
}

/// Hands on the series of a function of the calendar; without an argument it looks at the step's own time.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    part: Part,
    vector: Option<&Expr>,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let Some(vector) = vector else {
        let column = (0..ev.steps.count).map(|step| part(ev.steps.time(step).div_euclid(1000))).collect();
        return sink(&mut unlabelled(column));
    };
    let mut change = |series: &mut Series| {
        series.drop_histograms();
        for cell in series.floats_mut().iter_mut().filter(|cell| !is_absent(**cell)) {
            *cell = part(*cell as i64);
        }
    };
    ev.rows_losing_names(vector, &mut change, sink)
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
}

fn date(seconds: i64) -> Date {
    let days = seconds.div_euclid(DAY_S) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    Date { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
}

/// `2024-02-29T12:00:00Z`: the instant in UTC, whole seconds.
pub(super) fn rfc3339(t_ms: TimeMs) -> String {
    let seconds = t_ms / 1000;
    let (Date { year, month, day }, second) = (date(seconds), seconds.rem_euclid(DAY_S));
    let (hours, minutes, seconds) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

fn days_in_month(date: Date) -> i64 {
    match date.month {
        2 => 28 + i64::from(is_leap(date.year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn day_of_year(date: Date) -> i64 {
    let before = (1..date.month).map(|month| days_in_month(Date { month, ..date })).sum::<i64>();
    before + date.day
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(seconds: i64) -> [i64; 8] {
        ["year", "month", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute"]
            .map(|name| part(name).map_or(-1, |part| part(seconds) as i64))
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(parts(0), [1970, 1, 1, 4, 1, 31, 0, 0]);
        assert_eq!(parts(951_782_400), [2000, 2, 29, 2, 60, 29, 0, 0]);
        assert_eq!(parts(4_107_542_399), [2100, 2, 28, 0, 59, 28, 23, 59]);
        assert_eq!(parts(-1), [1969, 12, 31, 3, 365, 31, 23, 59]);
        assert_eq!(parts(1_735_689_599), [2024, 12, 31, 2, 366, 31, 23, 59]);
    }

    #[test]
    fn instants_are_written_in_utc() {
        assert_eq!(rfc3339(1_703_462_400_999), "2023-12-25T00:00:00Z");
        assert_eq!(rfc3339(-1000), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(951_827_696_000), "2000-02-29T12:34:56Z");
    }

    #[test]
    fn times_beyond_every_calendar_do_not_panic() {
        for seconds in [i64::MIN, i64::MAX] {
            let _ = (parts(seconds), rfc3339(seconds));
        }
    }
}
