//! Profiles in a terminal: heaviest functions, and what moved.

use std::fmt::Write as _;

use homeostat_explain_profile::{Compared, Diff, Side, Way};
use homeostat_model::profile::Profile;
use homeostat_profile::{FunctionWeight, Weights};

use super::{Style, Tone, plain, table, wrap};

/// Functions by their own weight, the heaviest first; of equals the one that calls more.
pub(crate) fn heaviest(weights: &Weights) -> Vec<(&str, FunctionWeight)> {
    let mut functions: Vec<_> = weights.functions.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
    functions.sort_by_key(|(_, weight)| (std::cmp::Reverse(weight.own), std::cmp::Reverse(weight.total)));
    functions
}

/// `homeostat profile show`.
pub(crate) fn top(profile: &Profile, column: usize, weights: &Weights, count: usize, style: Style) -> String {
    let (kind, unit) = profile.types().get(column).map_or(("", ""), |column| (&column.kind, &column.unit));
    let seconds = profile.duration_ns as f64 / 1e9;
    let mut out = format!("{}: {}", plain(kind), amount(weights.sum, unit));
    if 0.0 < seconds {
        let _ = write!(out, " in {seconds:.1} s");
    }
    let _ = writeln!(out, ", {} functions", weights.functions.len());
    if weights.sum == 0 {
        out.push_str("the profile is empty: nothing happened, or the program has not switched this profile on\n");
        return out;
    }
    let share = |value: i64| format!("{:.1} %", 100.0 * value as f64 / weights.sum as f64);
    let rows: Vec<_> = heaviest(weights)
        .into_iter()
        .take(count)
        .map(|(name, weight)| {
            vec![
                amount(weight.own, unit),
                share(weight.own),
                amount(weight.total, unit),
                share(weight.total),
                plain(name),
            ]
        })
        .collect();
    out.push('\n');
    out.push_str(&table(&["OWN", "", "WITH CALLEES", "", "FUNCTION"], &rows, style));
    out
}

/// `homeostat profile diff`.
pub(crate) fn moved(found: &Diff, count: usize, style: Style) -> String {
    let side = |side: &Side| format!("{} samples in {} window{}", side.samples, side.windows, plural(side.windows));
    let mut out = format!("good: {}; bad: {}\n", side(&found.good), side(&found.bad));
    for caveat in &found.caveats {
        out.push_str(&style.paint(Tone::Dim, &wrap(caveat, "  ", style.width)));
    }
    if found.moved.is_empty() {
        let _ = writeln!(out, "nothing moved beyond noise ({} comparisons)", found.looked_at);
        return out;
    }
    let rows: Vec<_> = found
        .moved
        .iter()
        .take(count)
        .map(|moved| {
            let way = match moved.way {
                Way::More => "more",
                Way::Less => "less",
                Way::New => "new",
                Way::Vanished => "vanished",
            };
            let compared = if moved.compared == Compared::Own { "own" } else { "with callees" };
            vec![
                format!("{:+.1} points", 100.0 * moved.effect()),
                format!("{:.1} %", 100.0 * moved.good),
                format!("{:.1} %", 100.0 * moved.bad),
                way.to_owned(),
                compared.to_owned(),
                plain(&moved.function),
            ]
        })
        .collect();
    out.push('\n');
    out.push_str(&table(&["EFFECT", "GOOD", "BAD", "", "SHARE", "FUNCTION"], &rows, style));
    if count < found.moved.len() {
        let _ = writeln!(out, "and {} more; `--top` shows them", found.moved.len() - count);
    }
    out
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A number in a unit that people read.
fn amount(value: i64, unit: &str) -> String {
    let number = value as f64;
    let scaled = |steps: &[(f64, &str)]| {
        let fits = steps.iter().find(|(size, _)| *size <= number.abs());
        fits.map(|(size, name)| format!("{:.2} {name}", number / size))
    };
    let shown = match unit {
        "nanoseconds" => scaled(&[(1e9, "s"), (1e6, "ms"), (1e3, "us")]),
        "bytes" => scaled(&[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB")]),
        _ => None,
    };
    shown.unwrap_or_else(|| match unit {
        "nanoseconds" => format!("{value} ns"),
        "bytes" => format!("{value} B"),
        _ => value.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_in_units_that_people_read() {
        for (value, unit, shown) in [
            (1_500_000_000, "nanoseconds", "1.50 s"),
            (999, "nanoseconds", "999 ns"),
            (-2_048, "bytes", "-2.00 KiB"),
            (0, "bytes", "0 B"),
            (12_345, "count", "12345"),
        ] {
            assert_eq!(amount(value, unit), shown);
        }
    }
}
