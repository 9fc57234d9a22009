//! `homeostat kernel calls`: the requests that processes answer, without a change of their source or configuration.

use std::{
    thread,
    time::{Duration, Instant},
};

use homeostat_calls::{Key, Line, Side, Tally};
use homeostat_sense_kernel::{CallCounts, KernelCalls};
use serde_json::{Value, json};

use crate::cli::{
    programs::Programs,
    render::{Style, count, plain, table},
};

/// Follows the requests that processes answer or make: rate, errors, duration, read from what they receive and send
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Show requests that the processes make, too
    #[arg(long)]
    asked: bool,
    /// Lines to show, the most frequent first
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    top: usize,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// What was seen, and what it took.
#[derive(Debug, Default)]
struct Seen {
    tally: Tally,
    counts: CallCounts,
    kernel: Duration,
    whole: Duration,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let pids = args.programs.pids()?;
    let mut calls = KernelCalls::start(&pids).map_err(|refused| refused.to_string())?;
    eprintln!("following for {} s", args.programs.seconds);
    let seen = gather(&mut calls, args.programs.duration());
    let mut lines: Vec<(&Key, &Line)> =
        seen.tally.lines().filter(|(key, _)| args.asked || key.side == Side::Server).collect();
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.latencies.count()));
    let left_out = lines.len().saturating_sub(args.top);
    lines.truncate(args.top);
    let seconds = seen.whole.as_secs_f64().max(f64::MIN_POSITIVE);
    let share = 100.0 * seen.kernel.as_secs_f64() / seconds;
    if args.json {
        let list: Vec<Value> = lines.iter().map(|(key, line)| in_json(key, line, seconds)).collect();
        let cost = json!({ "kernelMs": 1000.0 * seen.kernel.as_secs_f64(), "percentOfOneCpu": share });
        let CallCounts { lost, given_up, unanswered, unasked } = seen.counts;
        let unknown =
            json!({ "lostPieces": lost, "connectionsGivenUp": given_up, "unanswered": unanswered, "unasked": unasked });
        println!(
            "{:#}",
            json!({ "seconds": seconds, "calls": list, "leftOut": left_out, "unknown": unknown, "cost": cost })
        );
        return Ok(());
    }
    if lines.is_empty() {
        println!("no requests were seen");
    } else {
        let rows: Vec<_> = lines.iter().map(|(key, line)| row(key, line, seconds)).collect();
        print!("{}", table(&HEAD, &rows, Style::of_terminal()));
    }
    if left_out != 0 {
        println!("{left_out} more (`--top`)");
    }
    if let Some(text) = unknown(&seen.counts) {
        eprintln!("{text}");
    }
    eprintln!("at the cost of {share:.2} % of one CPU in the kernel");
    Ok(())
}

/// Follows for a time.
fn gather(calls: &mut KernelCalls, duration: Duration) -> Seen {
    let (kernel, begun) = (calls.kernel_time(), Instant::now());
    let (mut seen, mut ended) = (Seen::default(), Vec::new());
    while let Some(left) = duration.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(KernelCalls::EVERY));
        calls.take(&mut ended);
        ended.drain(..).for_each(|call| seen.tally.add(call));
    }
    (seen.kernel, seen.whole) = (calls.kernel_time().saturating_sub(kernel), begun.elapsed());
    seen.counts = calls.counts();
    seen
}

const HEAD: [&str; 9] = ["SIDE", "PROTOCOL", "METHOD", "PATH", "STATUS", "CALLS", "RATE/S", "P50 MS", "P99 MS"];

fn row(key: &Key, line: &Line, seconds: f64) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let latencies = &line.latencies;
    vec![
        key.side.label().to_owned(),
        key.protocol.label().to_owned(),
        key.method.to_owned(),
        plain(key.path.as_str()),
        status(key).unwrap_or_else(|| "none".to_owned()),
        count(latencies.count()),
        format!("{:.1}", latencies.count() as f64 / seconds),
        number(latencies.quantile_ms(0.5)),
        number(latencies.quantile_ms(0.99)),
    ]
}

fn status(key: &Key) -> Option<String> {
    let grpc = key.grpc_status.map(|status| format!("grpc {status}"));
    grpc.or_else(|| key.status.map(|status| status.to_string()))
}

fn in_json(key: &Key, line: &Line, seconds: f64) -> Value {
    let latencies = &line.latencies;
    json!({
        "side": key.side.label(), "protocol": key.protocol.label(), "method": key.method, "path": key.path.as_str(),
        "status": key.status, "grpcStatus": key.grpc_status, "count": latencies.count(), "failed": line.bad,
        "perSecond": latencies.count() as f64 / seconds,
        "p50Ms": latencies.quantile_ms(0.5), "p99Ms": latencies.quantile_ms(0.99),
    })
}

/// What could not be told, in words.
fn unknown(counts: &CallCounts) -> Option<String> {
    let CallCounts { lost, given_up, unanswered, unasked } = *counts;
    let parts = [
        (unanswered, "requests whose answer was not seen"),
        (unasked, "answers whose request was not seen"),
        (given_up, "connections that do not speak HTTP in the clear"),
        (lost, "pieces for which the ring had no room"),
    ];
    let said: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number != 0)
        .map(|(number, what)| format!("{} {what}", count(*number)))
        .collect();
    (!said.is_empty()).then(|| format!("not told: {}", said.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_told_is_said() {
        assert_eq!(unknown(&CallCounts::default()), None);
        let counts = CallCounts { given_up: 2, unasked: 1, ..CallCounts::default() };
        let expected =
            "not told: 1 answers whose request was not seen, 2 connections that do not speak HTTP in the clear";
        assert_eq!(unknown(&counts).as_deref(), Some(expected));
    }
}
