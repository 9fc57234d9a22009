//! `homeostat profile goroutines`: a census of a Go program, read from its memory.

use std::{thread, time::Duration};

use homeostat_sense_kernel::{Census, GoProcess, Growth, LEAKS_GOROUTINES};
use serde_json::json;

use super::{
    profile::{Failed, Presentation, present},
    render::{Style, plain, table},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The process
    #[arg(long, value_name = "PID")]
    pid: u32,
    /// Look twice, so many seconds apart, and list what has grown: goroutines that were started and have not ended
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    growth: Option<u64>,
    /// Smallest growth to list
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "growth")]
    at_least: u64,
    #[command(flatten)]
    presentation: Presentation,
}

pub(super) fn run(asked: &Args) -> Result<(), Failed> {
    asked.presentation.file()?;
    let process = GoProcess::open(asked.pid).map_err(|error| error.to_string())?;
    let census = || process.census().map_err(|error| error.to_string());
    let first = census()?;
    let Some(seconds) = asked.growth else {
        eprintln!("{}", summary(&first));
        return present(&first.profile(), &format!("goroutines of process {}", asked.pid), &asked.presentation);
    };
    eprintln!("{} goroutines; once more in {seconds} s", first.goroutines());
    thread::sleep(Duration::from_secs(seconds));
    let second = census()?;
    let grown = second.growth(&first, asked.at_least);
    let leaks: Vec<String> = grown.iter().filter(|grown| LEAKS_GOROUTINES.is_met(grown)).map(told).collect();
    if asked.presentation.json {
        let list: Vec<_> = grown.iter().map(in_json).collect();
        println!(
            "{:#}",
            json!({
                "before": first.goroutines(), "now": second.goroutines(), "unread": second.unread, "growth": list,
                "told": leaks
            })
        );
        return Ok(());
    }
    eprintln!("{} goroutines, {} before{}", second.goroutines(), first.goroutines(), left_out(&second));
    if grown.is_empty() {
        println!("nothing has grown in {seconds} s");
        return Ok(());
    }
    let row = |grown: &Growth| {
        vec![format!("+{}", grown.more), grown.now.to_string(), grown.state.clone(), plain(&grown.creator)]
    };
    let rows: Vec<_> = grown.iter().take(asked.presentation.top).map(row).collect();
    print!("{}", table(&["GROWTH", "NOW", "STATE", "STARTED BY"], &rows, Style::of_terminal()));
    for leak in leaks {
        println!("{leak}");
    }
    Ok(())
}

fn summary(census: &Census) -> String {
    format!("{} goroutines; {} wait for locks{}", census.goroutines(), census.lock_waiters(), left_out(census))
}

/// What the numbers lack.
fn left_out(census: &Census) -> String {
    match census.unread {
        0 => String::new(),
        unread => format!("; {unread} changed while they were read and are left out"),
    }
}

/// The rule in words.
fn told(grown: &Growth) -> String {
    let rule = LEAKS_GOROUTINES;
    let (name, more, creator, state) = (rule.name, grown.more, plain(&grown.creator), &grown.state);
    let limit = rule.more_than;
    format!("{name}: {creator} started {more} that did not end, state `{state}`; more than {limit} ({})", rule.because)
}

fn in_json(grown: &Growth) -> serde_json::Value {
    json!({ "startedBy": grown.creator, "state": grown.state, "now": grown.now, "more": grown.more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_told() {
        let mut census = Census::default();
        assert_eq!(summary(&census), "0 goroutines; 0 wait for locks");
        census.unread = 3;
        assert!(summary(&census).ends_with("; 3 changed while they were read and are left out"));
    }
}
