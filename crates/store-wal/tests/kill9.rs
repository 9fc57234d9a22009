//! Kills a process that appends, at random points, again and again: what it had acknowledged is there, once, in order.
//!
//! The test binary runs itself as the victim. The victim prints the number of each record after it is durable; the
//! parent reads some lines, kills it, and looks at the log. `--seed N` repeats a run.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says where, and its numbers are for people"
)]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use homeostat_store_wal::{Flush, RealDisk, Wal, WalOptions};
use rand_free::Chance;

/// Lives of the log; each ends with a kill.
const KILLS: u64 = 25;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    match args.iter().position(|arg| arg == "--victim").and_then(|at| args.get(at + 1)) {
        Some(dir) => append_for_ever(Path::new(dir)),
        None if has("--list") => {
            // What a test runner asks before it runs anything.
            if !has("--ignored") {
                println!("acknowledged_records_survive_kill9: test");
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

/// Several threads append and acknowledge, so that commits hold several records.
fn append_for_ever(dir: &Path) {
    let options = WalOptions { segment_bytes: 16 << 10, ..WalOptions::default() };
    let (wal, _) = Wal::open(dir, options, Arc::new(RealDisk)).expect("the log opens after every kill");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let ticket = wal.append(&payload(), Flush::Grouped).expect("the queue has room");
                    let seq = ticket.wait(Duration::from_mins(1)).expect("the disk works").seq;
                    // One write a line: a pipe keeps short writes whole.
                    std::io::stdout().write_all(format!("{seq}\n").as_bytes()).expect("the parent reads");
                }
            });
        }
    });
}

fn payload() -> Vec<u8> {
    b"a record of a plausible length ".iter().copied().cycle().take(300).collect()
}

fn survive(seed: u64) {
    println!("seed {seed}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut chance = Chance(seed);
    let (mut acknowledged, mut torn) = (0, 0);
    for _ in 0..KILLS {
        acknowledged = acknowledged.max(run_and_kill(folder.path(), 1 + chance.below(200)));
        let (wal, recovered) = Wal::open(folder.path(), WalOptions::default(), Arc::new(RealDisk)).expect("it opens");
        torn += u64::from(recovered.torn_tail.is_some());
        let numbers: Vec<u64> = wal
            .read(1)
            .map(|record| record.expect("no damage"))
            .inspect(|record| assert_eq!(record.payload, payload()))
            .map(|record| record.seq)
            .collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "once, in order");
        assert!(acknowledged <= numbers.len() as u64, "{acknowledged} acknowledged, {} there", numbers.len());
        assert_eq!(recovered.next_seq, numbers.len() as u64 + 1);
    }
    println!("{KILLS} kills, {acknowledged} records acknowledged, {torn} torn tails, nothing lost");
}

/// Runs a victim until it has acknowledged `lines` records, kills it, and gives the highest number it had printed.
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

mod rand_free {
    /// A small generator (xorshift64), enough to choose when to kill.
    pub(crate) struct Chance(pub(crate) u64);

    impl Chance {
        pub(crate) fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }
    }
}
