//! How often normal operation is given a false cause: days in virtual time, and the windows of the corpus.
//!
//! ```text
//! seconds that were recorded ─┐                 ┌─▶ incidents in a program-day
//! failures that are drawn ────┴─▶ control ──────┘         ×      ─▶ false causes in a program-day
//! normal windows of the corpus ─▶ explain ─────────▶ named of those asked about
//! ```
//!
//! Real: how late answers were, second by second (`./dev bench normal --keep`); the judges and everything around them
//! (`control`); the profiles of the windows. Drawn: when requests come (Poisson, 1.6 times the mean by day, 0.4 by night), which
//! fail (real programs failed none), and which stretches of the record follow each other.
//!
//! A day begins with a new process, when windows are short and rules most easily fire, and brings one release that is no worse.
//! Each objective is just kept: nine tenths of its budget are spent.
//!
//! Not here: incidents of real programs on a real clock (`./dev bench normal`).

mod chance;
mod day;
mod record;

use std::path::Path;

use homeostat_judge_canary::simulate::clopper_pearson;
use rand::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use serde_json::{Value, json};

use self::{
    chance::rate_at_most,
    day::{Day, Opened, play},
    record::{Recorded, read},
};
use super::score::Figures;
use crate::Failed;

/// Requests a second, on average over a day.
const RATES: [f64; 4] = [1.0, 10.0, 100.0, 1_000.0];
/// Shares of requests that are promised to be answered.
const TARGETS: [f64; 3] = [0.99, 0.999, 0.9999];
/// Failures that come in a row, on average: each alone, a client that tries again, a connection that broke with all on it.
const RUNS: [f64; 3] = [1.0, 3.0, 10.0];
/// What is spent of each budget.
const SPENT: f64 = 0.9;

/// Days of one kind.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Days {
    days: u64,
    /// Incidents that the availability objective opened.
    availability: u64,
    /// Incidents that the latency objective opened.
    latency: u64,
    /// Releases that were no worse and were taken back.
    rollbacks: u64,
    /// Releases that were promoted before the day was over.
    promoted: u64,
}

impl Days {
    fn add(&mut self, opened: Opened) {
        self.days += 1;
        self.availability += opened.availability;
        self.latency += opened.latency;
        self.rollbacks += opened.rollbacks;
        self.promoted += u64::from(opened.promoted);
    }

    fn sum(mut self, other: &Self) -> Self {
        self.days += other.days;
        self.availability += other.availability;
        self.latency += other.latency;
        self.rollbacks += other.rollbacks;
        self.promoted += other.promoted;
        self
    }

    fn incidents(&self) -> u64 {
        self.availability + self.latency + self.rollbacks
    }

    /// Incidents a day, with the bound that they do not exceed with 97.5 %.
    fn rate(&self) -> (f64, f64) {
        let days = self.days.max(1) as f64;
        (self.incidents() as f64 / days, rate_at_most(self.incidents(), 0.975) / days)
    }

    fn figures(&self) -> Value {
        let (rate, high) = self.rate();
        json!({ "counts": self, "incidents_per_day": rate, "incidents_per_day_at_most": high })
    }
}

/// Plays days, and multiplies by how often a window of normal operation is named: `asked` are splits whose normal windows were asked
/// about as `up` asks about an incident.
pub(super) fn normal(traffic: &Path, days: u64, asked: &[Figures]) -> Result<Value, Failed> {
    let programs = read(traffic)?;
    let mut by_kind = Vec::new();
    let (mut all, mut worst) = (Days::default(), Days::default());
    for rate in RATES {
        for target in TARGETS {
            for run in RUNS {
                let found = days_of(&programs, rate, target, run, days);
                by_kind.push(json!({ "requests_per_second": rate, "availability": target, "failures_in_a_row": run, "found": found.figures() }));
                all = all.sum(&found);
                if worst.rate().0 < found.rate().0 || worst.days == 0 {
                    worst = found;
                }
            }
        }
    }
    let (named, windows) = asked
        .iter()
        .fold((0, 0), |(named, windows), split| (named + split.normal_named as u64, windows + split.normal as u64));
    let share = named as f64 / windows.max(1) as f64;
    let share_at_most = clopper_pearson(named, windows, 0.95).high;
    print(&all, &worst, named, windows);
    let product = |days: &Days| {
        let (rate, high) = days.rate();
        json!({ "false_causes_per_program_day": rate * share, "at_most": high * share_at_most })
    };
    Ok(json!({
        "false_causes_per_program_day": all.rate().0 * share,
        "false_causes_per_program_day_at_most": all.rate().1 * share_at_most,
        "of_the_worst_kind_of_day": product(&worst),
        "incidents": all.figures(),
        "incidents_of_the_worst_kind_of_day": worst.figures(),
        "windows": windows, "windows_named": named, "named_of_an_incident": share, "named_of_an_incident_at_most": share_at_most,
        "recorded_seconds": programs.iter().map(|program| (program.name.clone(), program.seconds.len())).collect::<std::collections::BTreeMap<_, _>>(),
        "days": by_kind,
    }))
}

/// Days of one kind, of each program in turn.
fn days_of(programs: &[Recorded], rate: f64, target: f64, run: f64, days: u64) -> Days {
    let mut found = Days::default();
    for (number, program) in (0..days).zip(programs.iter().cycle()) {
        let seed = number ^ (rate as u64) << 40 ^ ((1.0 - target) * 1e6) as u64 ^ (run as u64) << 56;
        let day = Day { rate, target, failing: SPENT * (1.0 - target), run, program, spent: SPENT };
        found.add(play(&day, &mut Xoshiro256PlusPlus::seed_from_u64(seed)));
    }
    found
}

fn print(all: &Days, worst: &Days, named: u64, windows: u64) {
    let (share, most) = (named as f64 / windows.max(1) as f64, clopper_pearson(named, windows, 0.95).high);
    println!(
        "\nnormal operation: {named} of {windows} windows are named when asked about ({:.1} %, at most {:.1} %)",
        100.0 * share,
        100.0 * most
    );
    for (what, days) in [("all kinds of days", all), ("the worst kind", worst)] {
        let (rate, high) = days.rate();
        println!(
            "  {what}: {} incidents in {} program-days ({} availability, {} latency, {} rollbacks): {rate:.4} a day, at most {high:.4}; false causes {:.4}, at most {:.4}",
            days.incidents(),
            days.days,
            days.availability,
            days.latency,
            days.rollbacks,
            rate * share,
            high * most,
        );
    }
}
