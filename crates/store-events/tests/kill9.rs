//! Kills a process that keeps a journal, at random points, again and again: every step that it had acknowledged is
//! there, once, in order, with its ticks before it and its incident in the index.
//!
//! The test binary runs itself as the victim. `--seed N` repeats a run.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a test that cannot go on says where, and its numbers are for people"
)]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use homeostat_model::{CellId, IncidentId, OutcomeClass, OutcomeCounts, OutcomeDelta, Timestamp};
use homeostat_store_events::{Body, Flush, Journal, RealDisk, Recovery, StoreSpec};

/// Lives of the journal; each ends with a kill.
const KILLS: u64 = 20;
/// Ticks before each step.
const TICKS: u64 = 7;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    match args.iter().position(|arg| arg == "--victim").and_then(|at| args.get(at + 1)) {
        Some(dir) => keep_a_journal(Path::new(dir)),
        None if has("--list") => {
            // What a test runner asks before it runs anything.
            if !has("--ignored") {
                println!("acknowledged_steps_survive_kill9: test");
            }
        }
        None => survive(seed(&args)),
    }
    ExitCode::SUCCESS
}

fn seed(args: &[String]) -> u64 {
    let given = args.iter().position(|arg| arg == "--seed").and_then(|at| args.get(at + 1));
    given.map_or(0x5eed, |text| text.parse().expect("a seed is a number"))
}

fn open(dir: &Path) -> (Journal, Recovery) {
    // No minute of history is kept, so that retention and archiving are part of every life.
    let spec = StoreSpec { ticks_kept: homeostat_model::Span::from_secs(120), ..StoreSpec::new(dir.to_owned()) };
    Journal::open(spec, Arc::new(RealDisk)).expect("the journal opens after every kill")
}

fn last_step(recovery: Recovery) -> (u64, i64) {
    let last = recovery.last.map_or(1_750_000_000_000, Timestamp::unix_ms);
    let step = recovery.entries.filter_map(|entry| number(&entry.expect("no damage").body)).max();
    let in_snapshot = recovery.snapshot.map_or(0, |snapshot| text(&snapshot.json).parse().expect("a number"));
    (step.unwrap_or(0).max(in_snapshot), last)
}

fn number(body: &Body) -> Option<u64> {
    let Body::Step { event, .. } = body else { return None };
    Some(text(event).parse().expect("the event is a number"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it was text")
}

/// Goes on where the last life ended. An hour of journal time passes with every hundred steps.
fn keep_a_journal(dir: &Path) {
    let (journal, recovery) = open(dir);
    let (done, mut ms) = last_step(recovery);
    for n in done + 1.. {
        let now = |ms: i64| Timestamp::from_unix_ms(ms);
        if journal.wants_snapshot(now(ms)) {
            journal.append_snapshot(now(ms), (n - 1).to_string().as_bytes()).expect("the queue has room");
            journal.retain(now(ms)).expect("retention works");
        }
        for tick in 0..TICKS {
            ms += 10;
            let counts = OutcomeCounts::of(OutcomeClass::Ok, n);
            journal.append_tick(now(ms), &[OutcomeDelta { cell: CellId(tick as u16), counts }]);
        }
        ms += 36_000;
        let ticket = journal.append_step(now(ms), n.to_string().as_bytes(), commands(n).as_bytes(), Flush::Now);
        ticket.expect("the queue has room").wait(Duration::from_mins(1)).expect("the disk works");
        // One write a line: a pipe keeps short writes whole.
        std::io::stdout().write_all(format!("{n}\n").as_bytes()).expect("the parent reads");
    }
}

/// Each step records an incident of its own number.
fn commands(n: u64) -> String {
    let incident = serde_json::json!([{
        "command": "record_incident", "id": n, "title": format!("incident {n}"), "service": "checkout",
        "subject": {"about": "objective", "objective": "availability"}, "severity": "page", "stage": "judged",
        "began_at": 0, "opened_at": 0, "closed_at": null, "evidence": [], "requests_harmed": n, "requests_total": n,
        "actions": [], "changes": [], "milestones": []
    }]);
    incident.to_string()
}

fn survive(seed: u64) {
    println!("seed {seed}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut state, mut acknowledged) = (seed | 1, 0);
    for _ in 0..KILLS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        acknowledged = acknowledged.max(run_and_kill(folder.path(), 1 + state % 120));
        let (journal, recovery) = open(folder.path());
        let (last, _) = last_step(recovery);
        assert!(acknowledged <= last && last <= acknowledged + 1, "{acknowledged} acknowledged, {last} there");
        check_entries(&journal, last);
        for n in 1..=last {
            let incident = journal.incident(IncidentId(n)).expect("its incident is in the index");
            assert_eq!(incident.requests_harmed, n);
        }
    }
    println!("{KILLS} kills, {acknowledged} steps acknowledged, nothing lost");
}

/// What is kept of the journal: steps without a hole up to the last, each behind its ticks.
fn check_entries(journal: &Journal, last: u64) {
    let (mut ticks, mut previous) = (0, None);
    for entry in journal.entries(1) {
        let body = entry.expect("no damage").body;
        match &body {
            Body::Tick { deltas, .. } => {
                let counted = deltas.first().expect("every tick counts something").counts.total();
                assert!(previous.is_none_or(|p| counted > p), "a tick stands behind its own step");
                ticks += 1;
            }
            Body::Step { .. } => {
                let n = number(&body).expect("it is a step");
                assert!(previous.is_none_or(|p| p + 1 == n), "step {n} follows {previous:?}");
                // A life that was killed between ticks and step leaves ticks that the next life repeats.
                assert!(ticks >= TICKS, "step {n} has {ticks} ticks before it");
                (previous, ticks) = (Some(n), 0);
            }
            Body::Snapshot(_) => {}
            Body::Gap { .. } | Body::Missing { .. } => panic!("the disk was never away"),
        }
    }
    assert_eq!(previous.unwrap_or(last), last);
}

/// Runs a victim until it has acknowledged `lines` steps, kills it, and gives the highest number it had printed.
fn run_and_kill(dir: &Path, lines: u64) -> u64 {
    let exe = std::env::current_exe().expect("the test's own file");
    let mut victim =
        Command::new(exe).arg("--victim").arg(dir).stdout(Stdio::piped()).spawn().expect("the victim starts");
    let printed = BufReader::new(victim.stdout.take().expect("it is piped")).lines();
    let mut highest = 0;
    for (index, line) in printed.enumerate() {
        // A last line may be cut by the kill.
        let Ok(number) = line.expect("the pipe works").parse::<u64>() else { break };
        if index as u64 == lines {
            victim.kill().expect("it can be killed");
        }
        highest = highest.max(number);
    }
    victim.wait().expect("it ends");
    assert!(highest > 0, "the victim never acknowledged anything");
    highest
}
