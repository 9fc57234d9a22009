//! `homeostat kernel`: how long processes wait for a CPU, and what becomes of their TCP connections.

mod calls;
mod go;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use homeostat_sense_kernel::{Activity, Connections, KernelWatch, Targets, control_group, process_name};
use serde_json::{Value, json};

use super::{
    programs::chosen,
    render::{Style, count, plain, table},
};

/// Watches processes by programs in the kernel: how long they wait for a CPU, and what becomes of their TCP connections
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Processes; without a choice, all of the machine
    #[arg(long, value_name = "PID", num_args = 1.., conflicts_with = "service")]
    pid: Vec<u32>,
    /// Processes of a service: the name of a program's file, or of a systemd unit without `.service`
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// What is added up
    #[arg(long, value_enum, default_value_t = By::Process)]
    by: By,
    /// Lines to show, those that waited longest first
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    top: usize,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// What else can be watched.
#[derive(Debug, clap::Subcommand)]
enum Other {
    Calls(calls::Args),
    Go(go::Args),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Each process for itself
    Process,
    /// Each control group, as services and containers have them
    Cgroup,
}

/// Who did it, as far as it could be looked at while it ran.
#[derive(Clone, Debug, Default)]
struct Who {
    name: String,
    group: String,
}

/// What one process did.
type Seen = (u32, Who, Activity);

/// A line of the answer.
#[derive(Debug)]
struct Line {
    /// `None` for a control group.
    pid: Option<u32>,
    who: Who,
    activity: Activity,
}

/// What it took to count.
#[derive(Clone, Copy, Debug)]
struct Cost {
    kernel: Duration,
    whole: Duration,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let done = match &args.other {
        Some(Other::Calls(args)) => calls::run(args),
        Some(Other::Go(args)) => go::run(args),
        None => watched(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn watched(args: &Args) -> Result<(), String> {
    let targets = match &args.service {
        None if args.pid.is_empty() => Targets::Machine,
        service => chosen(&args.pid, service.as_deref())?.0,
    };
    let watch = KernelWatch::start(&targets).map_err(|refused| refused.to_string())?;
    for refused in watch.refused() {
        eprintln!("left out: {refused}");
    }
    eprintln!("watching for {} s", args.seconds);
    let (seen, cost) = gather(&watch, Duration::from_secs(args.seconds))?;
    let mut lines = lines(seen, args.by);
    let left_out = lines.len().saturating_sub(args.top);
    lines.truncate(args.top);
    let share = percent(cost.kernel, cost.whole);
    if args.json {
        let list: Vec<Value> = lines.iter().map(in_json).collect();
        let cost = json!({ "kernelMs": ms(cost.kernel), "percentOfOneCpu": share });
        println!("{:#}", json!({ "seconds": args.seconds, "lines": list, "leftOut": left_out, "cost": cost }));
        return Ok(());
    }
    if lines.is_empty() {
        println!("nothing happened");
    } else {
        let rows: Vec<_> = lines.iter().map(|line| row(line, args.by)).collect();
        print!("{}", table(&head(args.by), &rows, Style::of_terminal()));
    }
    if left_out != 0 {
        println!("{left_out} more (`--top`)");
    }
    eprintln!("at the cost of {share:.2} % of one CPU in the kernel");
    Ok(())
}

/// Counts for a time. Names are asked for each second, so that most processes that end meanwhile have theirs.
fn gather(watch: &KernelWatch, duration: Duration) -> Result<(Vec<Seen>, Cost), String> {
    let refused = |refused: homeostat_sense_kernel::Refused| refused.to_string();
    let (before, kernel, begun) = (watch.read().map_err(refused)?, watch.kernel_time(), Instant::now());
    let mut known = BTreeMap::<u32, Who>::new();
    let mut now = BTreeMap::new();
    while let Some(left) = duration.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(Duration::from_secs(1)));
        now = watch.read().map_err(refused)?;
        for pid in now.keys() {
            let look = || Who {
                name: process_name(*pid).unwrap_or_else(|| "(ended)".to_owned()),
                group: control_group(*pid).unwrap_or_default(),
            };
            known.entry(*pid).or_insert_with(look);
        }
    }
    let cost = Cost { kernel: watch.kernel_time().saturating_sub(kernel), whole: begun.elapsed() };
    let of = |(pid, activity): (u32, Activity)| {
        let since = before.get(&pid).map_or_else(|| activity.clone(), |before| activity.since(before));
        let who = if pid == 0 {
            Who { name: "(unknown)".to_owned(), group: String::new() }
        } else {
            known.remove(&pid).unwrap_or_default()
        };
        (pid, who, since)
    };
    Ok((now.into_iter().map(of).collect(), cost))
}

/// Added up as asked, those that waited longest together first.
fn lines(seen: Vec<Seen>, by: By) -> Vec<Line> {
    let happened = seen.into_iter().filter(|(_, _, activity)| !is_quiet(activity));
    let mut lines: Vec<Line> = match by {
        By::Process => happened.map(|(pid, who, activity)| Line { pid: Some(pid), who, activity }).collect(),
        By::Cgroup => {
            let mut groups = BTreeMap::<String, Activity>::new();
            for (_, who, activity) in happened {
                groups.entry(who.group).or_default().add(&activity);
            }
            let line = |(group, activity)| Line { pid: None, who: Who { name: String::new(), group }, activity };
            groups.into_iter().map(line).collect()
        }
    };
    let waited = |line: &Line| line.activity.waits.as_ref().map_or(0, |waits| waits.sum_ns);
    lines.sort_by_key(|line| std::cmp::Reverse(waited(line)));
    lines
}

fn is_quiet(activity: &Activity) -> bool {
    activity.waits.as_ref().is_none_or(|waits| waits.by_length.count() == 0)
        && activity.tcp.as_ref().is_none_or(|tcp| *tcp == Connections::default())
}

fn head(by: By) -> Vec<&'static str> {
    let mut head = match by {
        By::Process => vec!["PID", "PROCESS"],
        By::Cgroup => vec!["CONTROL GROUP"],
    };
    head.extend(["WAITS", "P50 MS", "P99 MS", "BEGUN", "ACCEPTED", "FAILED", "ENDED", "SENT AGAIN", "ROUND TRIP MS"]);
    head
}

fn row(line: &Line, by: By) -> Vec<String> {
    let mut row = match by {
        By::Process => vec![line.pid.unwrap_or(0).to_string(), plain(&line.who.name)],
        By::Cgroup => vec![plain(if line.who.group.is_empty() { "(unknown)" } else { &line.who.group })],
    };
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let waits = line.activity.waits.as_ref();
    row.push(waits.map_or_else(|| "-".to_owned(), |waits| count(waits.by_length.count())));
    row.extend([0.5, 0.99].map(|q| number(waits.and_then(|waits| waits.quantile_ms(q)))));
    let tcp = line.activity.tcp.as_ref();
    let counts = |tcp: &Connections| [tcp.connected, tcp.accepted, tcp.failed, tcp.ended, tcp.sent_again].map(count);
    row.extend(tcp.map_or_else(|| [(); 5].map(|()| "-".to_owned()), counts));
    row.push(number(tcp.and_then(Connections::round_trip_ms)));
    row
}

fn in_json(line: &Line) -> Value {
    let waits = line.activity.waits.as_ref().map(|waits| {
        json!({
            "count": waits.by_length.count(), "sumMs": waits.sum_ns as f64 / 1e6,
            "p50Ms": waits.quantile_ms(0.5), "p99Ms": waits.quantile_ms(0.99),
        })
    });
    let tcp = line.activity.tcp.as_ref().map(|tcp| {
        json!({
            "begun": tcp.connected, "accepted": tcp.accepted, "failed": tcp.failed, "ended": tcp.ended,
            "sentAgain": tcp.sent_again, "segmentsOfEnded": tcp.segments, "roundTripMs": tcp.round_trip_ms(),
        })
    });
    json!({ "pid": line.pid, "process": line.who.name, "controlGroup": line.who.group, "waits": waits, "tcp": tcp })
}

/// A time as a share of another one, in percent.
pub(super) fn percent(time: Duration, whole: Duration) -> f64 {
    100.0 * time.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn ms(duration: Duration) -> f64 {
    1000.0 * duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use homeostat_sense_kernel::Waits;

    use super::*;

    fn seen(pid: u32, group: &str, waits: &[u64], begun: u64) -> Seen {
        let waits = Waits { by_length: waits.iter().copied().collect(), sum_ns: waits.iter().sum() };
        let tcp = Connections { connected: begun, ..Connections::default() };
        let who = Who { name: format!("p{pid}"), group: group.to_owned() };
        (pid, who, Activity { waits: Some(waits), tcp: Some(tcp) })
    }

    #[test]
    fn those_that_waited_longest_come_first_and_quiet_ones_are_left_out() {
        let all =
            vec![seen(1, "/a", &[1], 0), seen(2, "/b", &[90], 0), seen(3, "/a", &[50, 60], 4), seen(4, "/c", &[], 0)];
        let pids: Vec<_> = lines(all.clone(), By::Process).iter().map(|line| line.pid).collect();
        assert_eq!(pids, [Some(3), Some(2), Some(1)]);
        let groups = lines(all, By::Cgroup);
        let rows: Vec<_> = groups.iter().map(|line| row(line, By::Cgroup)).collect();
        assert_eq!(
            rows.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[4].as_str())).collect::<Vec<_>>(),
            [("/a", "3", "4"), ("/b", "1", "0")]
        );
        assert_eq!(rows[0].len(), head(By::Cgroup).len());
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_no_number() {
        let line = Line { pid: Some(7), who: Who::default(), activity: Activity::default() };
        let row = row(&line, By::Process);
        assert!(row[2..].iter().all(|cell| cell == "-"), "{row:?}");
        assert_eq!(row.len(), head(By::Process).len());
        assert_eq!((in_json(&line)["waits"].clone(), in_json(&line)["tcp"].clone()), (Value::Null, Value::Null));
    }
}
