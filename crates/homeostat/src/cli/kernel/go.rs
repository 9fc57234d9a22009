//! `homeostat kernel go`: how long Go's runtime stops programs, and how often it collects.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use homeostat_sense_kernel::{GoActivity, GoWatch, PAUSED_THE_WORLD, Refused, process_name};
use serde_json::{Value, json};

use super::percent;
use crate::cli::{
    programs::Programs,
    render::{Style, count, plain, table},
};

/// Watches Go programs by probes on their runtime: how long it stops the world, and how often it collects
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// What one process did while it was watched.
#[derive(Debug)]
struct Line {
    pid: u32,
    name: String,
    activity: GoActivity,
    /// Whether its pauses were too many.
    is_told: bool,
}

/// All of them, and how long that was.
#[derive(Debug)]
struct Watched {
    lines: Vec<Line>,
    whole: Duration,
    kernel: Duration,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let pids = args.programs.pids()?;
    let said = |refused: Refused| refused.to_string();
    let mut watch = GoWatch::start(&pids).map_err(said)?;
    eprintln!("watching for {} s", args.programs.seconds);
    let watched = gather(&mut watch, args.programs.duration()).map_err(said)?;
    let left_out: BTreeMap<u32, String> = watch.refused().map(|(pid, refused)| (pid, refused.to_string())).collect();
    if args.json {
        println!("{:#}", watched.in_json(&left_out));
        return Ok(());
    }
    for reason in left_out.values() {
        eprintln!("left out: {reason}");
    }
    let rows: Vec<_> = watched.lines.iter().map(|line| line.row(watched.whole)).collect();
    let head = ["PID", "PROCESS", "PAUSES", "P50 MS", "P99 MS", "MAX MS", "STOPPED %", "COLLECTIONS"];
    print!("{}", table(&head, &rows, Style::of_terminal()));
    for line in watched.lines.iter().filter(|line| line.is_told) {
        println!("{} {} {}", line.pid, plain(&line.name), told());
    }
    eprintln!("at the cost of {:.2} % of one CPU in the kernel", percent(watched.kernel, watched.whole));
    Ok(())
}

/// Counts for a time.
fn gather(watch: &mut GoWatch, duration: Duration) -> Result<Watched, Refused> {
    let (before, kernel, begun) = (watch.look()?, watch.kernel_time(), Instant::now());
    let pids = watch.watched();
    let names: BTreeMap<u32, String> =
        pids.iter().map(|pid| (*pid, process_name(*pid).unwrap_or_else(|| "(ended)".to_owned()))).collect();
    let (mut now, mut told) = (BTreeMap::new(), BTreeSet::new());
    while let Some(left) = duration.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(Duration::from_secs(1)));
        now = watch.look()?;
        let too_many = |(_, activity): &(&u32, &GoActivity)| PAUSED_THE_WORLD.is_met(&activity.long_at_ns);
        told.extend(now.iter().filter(too_many).map(|(pid, _)| *pid));
    }
    let line = |(pid, name): (u32, String)| {
        let activity = now.remove(&pid).unwrap_or_default();
        let activity = before.get(&pid).map_or_else(|| activity.clone(), |before| activity.since(before));
        Line { pid, name, activity, is_told: told.contains(&pid) }
    };
    let lines = names.into_iter().map(line).collect();
    Ok(Watched { lines, whole: begun.elapsed(), kernel: watch.kernel_time().saturating_sub(kernel) })
}

/// The rule in words.
fn told() -> String {
    let rule = PAUSED_THE_WORLD;
    let (ms, seconds) = (rule.longer_than.as_millis(), rule.within.as_secs());
    format!("{}: {} pauses of {ms} ms and more within {seconds} s ({})", rule.name, rule.times, rule.because)
}

impl Line {
    fn longest_ms(&self) -> f64 {
        self.activity.longest_ns as f64 / 1e6
    }

    /// Share of the time in which the world was stopped, in percent.
    fn stopped(&self, whole: Duration) -> f64 {
        percent(Duration::from_nanos(self.activity.stopped_ns), whole)
    }

    fn row(&self, whole: Duration) -> Vec<String> {
        let quantile = |q| self.activity.pause_quantile_ms(q).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}"));
        vec![
            self.pid.to_string(),
            plain(&self.name),
            count(self.activity.pauses.count()),
            quantile(0.5),
            quantile(0.99),
            format!("{:.3}", self.longest_ms()),
            format!("{:.3}", self.stopped(whole)),
            count(self.activity.collections),
        ]
    }

    fn in_json(&self, whole: Duration) -> Value {
        let activity = &self.activity;
        json!({
            "pid": self.pid, "process": self.name,
            "pauses": {
                "count": activity.pauses.count(), "sumMs": activity.stopped_ns as f64 / 1e6,
                "p50Ms": activity.pause_quantile_ms(0.5), "p99Ms": activity.pause_quantile_ms(0.99),
                "maxMs": self.longest_ms(), "stoppedPercent": self.stopped(whole),
            },
            "collectionsBegun": activity.collections_begun, "collections": activity.collections,
            "told": self.is_told.then(told),
        })
    }
}

impl Watched {
    fn in_json(&self, left_out: &BTreeMap<u32, String>) -> Value {
        let lines: Vec<_> = self.lines.iter().map(|line| line.in_json(self.whole)).collect();
        let reasons: Vec<_> = left_out.iter().map(|(pid, reason)| json!({ "pid": pid, "reason": reason })).collect();
        let kernel_ms = 1000.0 * self.kernel.as_secs_f64();
        json!({
            "seconds": self.whole.as_secs_f64(), "lines": lines, "leftOut": reasons,
            "cost": { "kernelMs": kernel_ms, "percentOfOneCpu": percent(self.kernel, self.whole) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_long_the_world_was_stopped() {
        let activity = GoActivity {
            pauses: [100, 100, 20_000].into_iter().collect(),
            stopped_ns: 25_000_000,
            longest_ns: 20_480_000,
            collections: 1200,
            ..GoActivity::default()
        };
        let line = Line { pid: 7, name: "shop".to_owned(), activity, is_told: true };
        let whole = Duration::from_secs(10);
        let row = line.row(whole);
        assert_eq!((row[2].as_str(), row[5].as_str(), row[6].as_str()), ("3", "20.480", "0.250"));
        let said = line.in_json(whole);
        assert_eq!((said["pauses"]["count"].as_u64(), said["collections"].as_u64()), (Some(3), Some(1200)));
        assert!(said["told"].as_str().unwrap().starts_with("paused the world: 3 pauses of 5 ms and more within 10 s"));
    }

    #[test]
    fn what_has_not_paused_has_no_quantiles() {
        let line = Line { pid: 7, name: String::new(), activity: GoActivity::default(), is_told: false };
        assert_eq!(line.row(Duration::from_secs(1))[2..6], ["0", "-", "-", "0.000"]);
        assert_eq!(line.in_json(Duration::from_secs(1))["told"], Value::Null);
    }
}
