//! `homeostat simulate`: what the judge would do, before it is trusted with real traffic.
//!
//! The simulation itself is `judge-canary`'s; here are threads, progress and the two forms of the answer.

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Subcommand;
use homeostat_judge_canary::{
    TOLERANCE_DEFAULT,
    simulate::{Run, Scenario, Simulator, Summary},
};
use homeostat_model::Span;
use serde::Serialize;

/// Arguments of `homeostat simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Plays a canary release many times: how soon is a bad one found, how often is a good one wronged?
    Canary(Canary),
}

/// One kind of canary release.
#[derive(Debug, clap::Args)]
struct Canary {
    /// Share of the baseline's requests that fail (0.001 is 0.1 %)
    #[arg(long, default_value_t = 0.001)]
    baseline_error: f64,
    /// Share of the canary's requests that fail; equal to the baseline's, false rollbacks are counted
    #[arg(long, default_value_t = 0.3)]
    canary_error: f64,
    /// Requests per second, of both versions together
    #[arg(long, default_value_t = 2_000.0)]
    rps: f64,
    /// The canary's share of the requests (0.05 is 5 %)
    #[arg(long, default_value_t = 0.05)]
    share: f64,
    /// How often it is played [default: 1000, or 10000 if the canary is no worse]
    #[arg(long)]
    runs: Option<u64>,
    /// Bound on false rollbacks over a whole rollout
    #[arg(long, default_value_t = 0.001)]
    alpha: f64,
    /// Smallest difference that matters (0.01 is one percentage point)
    #[arg(long, default_value_t = TOLERANCE_DEFAULT)]
    tolerance: f64,
    /// Canary requests before any verdict
    #[arg(long, default_value_t = 5)]
    min_events: u64,
    /// Simulated seconds after which a run ends without a verdict [default: 600, or 3600 if the canary is no worse]
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// Decides every draw; the same seed gives the same runs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The answer for machines. Times in milliseconds from the start of the canary, over all runs; `null` where it has no
/// meaning or the verdict did not fall often enough.
#[derive(Debug, Serialize)]
struct Report {
    /// Share of runs in which the verdict "worse" fell.
    detected: f64,
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
    harmed_p50: Option<u64>,
    harmed_p95: Option<u64>,
    /// The same share, if the canary is no worse.
    false_rollback_share: Option<f64>,
    /// Exact 95 % confidence interval of that share.
    ci95: [f64; 2],
}

/// Runs shorter than this go without a word.
const QUIET: Duration = Duration::from_secs(2);
/// Results that a thread collects before it takes more runs: rare enough to cost nothing, often enough for progress.
const RUNS_AT_ONCE: u64 = 10;

/// Plays the runs on all processors and prints the result. Ends with 1 if a bound was shown to be broken.
pub(crate) fn run(args: Args) -> ExitCode {
    let What::Canary(canary) = args.what;
    let (seed, json) = (canary.seed, canary.json);
    let (simulator, runs) = match prepare(&canary) {
        Ok(prepared) => prepared,
        Err(problem) => {
            eprintln!("homeostat simulate canary: {problem}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let played = play(&simulator, seed, runs);
    let Some(summary) = Summary::of(&played) else {
        eprintln!("homeostat simulate canary: --runs has to be at least 1");
        return ExitCode::from(2);
    };
    if json {
        println!("{}", serde_json::json!(report(simulator.scenario(), &summary)));
    } else {
        print_for_people(simulator.scenario(), &summary, begun.elapsed());
    }
    let broken = simulator.scenario().is_null() && simulator.scenario().alpha < summary.detected_interval.low;
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn prepare(canary: &Canary) -> Result<(Simulator, u64), String> {
    let mut scenario = Scenario {
        baseline_error: canary.baseline_error,
        canary_error: canary.canary_error,
        requests_per_s: canary.rps,
        canary_share: canary.share,
        duration: Span::ZERO,
        alpha: canary.alpha,
        tolerance: canary.tolerance,
        events_min: canary.min_events,
    };
    let (default_runs, default_secs) = if scenario.is_null() { (10_000, 3_600) } else { (1_000, 600) };
    scenario.duration = Span::from_secs(canary.duration.unwrap_or(default_secs));
    let simulator = Simulator::new(scenario).map_err(|error| error.to_string())?;
    Ok((simulator, canary.runs.unwrap_or(default_runs)))
}

/// Plays all runs, in any order; each depends on the seed and its number alone.
fn play(simulator: &Simulator, seed: u64, runs: u64) -> Vec<Run> {
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let worker = || {
        let mut played = Vec::new();
        loop {
            let first = next.fetch_add(RUNS_AT_ONCE, Ordering::Relaxed);
            if runs <= first {
                return played;
            }
            let last = first.saturating_add(RUNS_AT_ONCE).min(runs);
            played.extend((first..last).map(|run| simulator.run(seed, run)));
            done.fetch_add(last - first, Ordering::Relaxed);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        show_progress(&done, runs, || workers.iter().all(thread::ScopedJoinHandle::is_finished));
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    })
}

/// Tells how far the runs are, on the error stream, once they take longer than [`QUIET`].
fn show_progress(done: &AtomicU64, runs: u64, finished: impl Fn() -> bool) {
    let begun = Instant::now();
    // A terminal shows one line that changes, a file one line every ten seconds.
    let terminal = std::io::stderr().is_terminal();
    let (pause, end) = if terminal { (Duration::from_millis(500), "\r") } else { (Duration::from_secs(10), "\n") };
    let mut due = begun + QUIET;
    while !finished() {
        thread::sleep(Duration::from_millis(5));
        if Instant::now() < due {
            continue;
        }
        due = Instant::now() + pause;
        let done = done.load(Ordering::Relaxed);
        let elapsed = begun.elapsed().as_secs_f64();
        let left =
            if done == 0 { "?".to_owned() } else { format!("{:.0}", elapsed * (runs - done) as f64 / done as f64) };
        eprint!("{done} of {runs} runs after {elapsed:.0} s, about {left} s left   {end}");
    }
    if terminal && QUIET < begun.elapsed() {
        eprintln!();
    }
}

fn report(scenario: &Scenario, summary: &Summary) -> Report {
    let bad = !scenario.is_null();
    Report {
        detected: summary.detected_share(),
        p50_ms: summary.after_p50.map(Span::ms),
        p95_ms: summary.after_p95.map(Span::ms),
        harmed_p50: bad.then_some(summary.harmed_p50),
        harmed_p95: bad.then_some(summary.harmed_p95),
        false_rollback_share: (!bad).then(|| summary.detected_share()),
        ci95: [summary.detected_interval.low, summary.detected_interval.high],
    }
}

fn print_for_people(scenario: &Scenario, summary: &Summary, took: Duration) {
    println!(
        "baseline {} % errors, canary {} % errors, {} requests/s, {} % to the canary, alpha {}, tolerance {}",
        percent(scenario.baseline_error),
        percent(scenario.canary_error),
        scenario.requests_per_s,
        percent(scenario.canary_share),
        scenario.alpha,
        scenario.tolerance,
    );
    println!("{} runs of at most {}, played in {:.1} s", summary.runs, scenario.duration, took.as_secs_f64());
    let interval = summary.detected_interval;
    let share = format!(
        "{} of {} ({} %, 95 % confidence {} to {} %)",
        summary.detected,
        summary.runs,
        percent(summary.detected_share()),
        percent(interval.low),
        percent(interval.high)
    );
    if scenario.is_null() {
        println!("false rollbacks    {share}");
        let bound = percent(scenario.alpha);
        if scenario.alpha < interval.low {
            println!("the bound of {bound} % is BROKEN: please report this as a bug");
        } else if interval.high <= scenario.alpha {
            println!("the bound of {bound} % is kept");
        } else {
            println!("the bound of {bound} % is within the interval; more runs would narrow it");
        }
        return;
    }
    println!("detected           {share}");
    let ms = |span: Option<Span>| span.map_or_else(|| "never".to_owned(), |span| format!("{} ms", span.ms()));
    println!("{:<34} {:>12} {:>12}", "", "p50", "p95");
    println!("{:<34} {:>12} {:>12}", "verdict after the canary's start", ms(summary.after_p50), ms(summary.after_p95));
    println!(
        "{:<34} {:>12} {:>12}",
        "verdict after its first bad answer",
        ms(summary.after_first_bad_p50),
        ms(summary.after_first_bad_p95)
    );
    println!("{:<34} {:>12} {:>12}", "requests harmed until then", summary.harmed_p50, summary.harmed_p95);
}

/// At most four significant digits.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 {
        return "0".to_owned();
    }
    let digits = (3.0 - percent.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{percent:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(canary_error: f64, runs: u64) -> Canary {
        Canary {
            baseline_error: 0.001,
            canary_error,
            rps: 2_000.0,
            share: 0.05,
            runs: Some(runs),
            alpha: 0.001,
            tolerance: 0.0,
            min_events: 5,
            duration: Some(20),
            seed: 1,
            json: true,
        }
    }

    #[test]
    fn threads_do_not_change_the_result() {
        let (simulator, runs) = prepare(&canary(0.3, 25)).expect("a sound scenario");
        let mut together = play(&simulator, 1, runs);
        let mut alone: Vec<Run> = (0..runs).map(|run| simulator.run(1, run)).collect();
        let key = |run: &Run| (run.detected_after, run.harmed, run.detected_after_first_bad);
        together.sort_by_key(key);
        alone.sort_by_key(key);
        assert_eq!(together, alone);
    }

    #[test]
    fn the_report_has_the_documented_keys_and_no_others() {
        let (simulator, runs) = prepare(&canary(0.3, 25)).expect("a sound scenario");
        let summary = Summary::of(&play(&simulator, 1, runs)).expect("there are runs");
        let json = serde_json::json!(report(simulator.scenario(), &summary));
        let mut keys: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.sort_unstable();
        let expected = ["ci95", "detected", "false_rollback_share", "harmed_p50", "harmed_p95", "p50_ms", "p95_ms"];
        assert_eq!(keys, expected);
        assert_eq!(json["detected"], 1.0);
        assert!(json["false_rollback_share"].is_null());
    }

    #[test]
    fn nonsense_is_refused_with_its_range() {
        let problem = prepare(&canary(1.5, 1)).expect_err("a share above 1");
        assert!(problem.contains("the canary's error share is 1.5"), "{problem}");
    }

    #[test]
    fn percentages_are_short() {
        for (share, shown) in [(0.0, "0"), (0.001, "0.1"), (0.05, "5"), (1.0, "100"), (0.000_253_1, "0.02531")] {
            assert_eq!(percent(share), shown);
        }
    }
}
