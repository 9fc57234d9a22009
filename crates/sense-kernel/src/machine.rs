//! Counters of the machine, of processes and of this thread that any kernel has: processor time and TCP segments.
//!
//! Source: proc_stat(5), proc_pid_stat(5), clock_getres(2), RFC 4022 (`tcpOutSegs`, `tcpRetransSegs`).

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// The kernel counts processor time for programs in hundredths of a second on every machine it runs on.
const TICK_MS: u64 = 10;

/// TCP segments of all programs in this process' network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// Sent, those that were sent again not counted.
    pub sent: u64,
    /// Sent again.
    pub sent_again: u64,
}

/// Processor time that a process and all its threads have had; `None` when it has gone. In steps of 10 ms.
pub fn process_time(pid: u32) -> Option<Duration> {
    process_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(duration)
}

/// Processor time that all processes and the kernel have had, on all CPUs together; `None` where it is not told.
pub fn machine_time() -> Option<Duration> {
    machine_ticks(&fs::read_to_string("/proc/stat").ok()?).map(duration)
}

/// How long the calling thread has been on a CPU so far.
pub fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Segments so far; `None` where they are not told.
pub fn segments() -> Option<Segments> {
    segments_of(&fs::read_to_string("/proc/net/snmp").ok()?)
}

fn duration(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(TICK_MS))
}

/// Fields 14 and 15, time of the program and of the kernel for it; field 2 is a name in brackets and may hold anything.
fn process_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let (program, kernel): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    program.checked_add(kernel)
}

/// `cpu USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ …`: all but the fourth and fifth of these seven numbers.
fn machine_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(7).map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let &[user, nice, system, _idle, _waiting, interrupts, soft] = ticks.as_slice() else { return None };
    [user, nice, system, interrupts, soft].into_iter().try_fold(0_u64, u64::checked_add)
}

/// A line of names and a line of numbers, both beginning with `Tcp:`.
fn segments_of(snmp: &str) -> Option<Segments> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let of = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some(Segments { sent: of("OutSegs")?, sent_again: of("RetransSegs")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_kernel_are_read() {
        let stat = "7 (a) b ) S 1 7 7 0 -1 4194560 90 0 0 0 250 50 0 0 20 0 3 0 100";
        assert_eq!(process_ticks(stat).map(duration), Some(Duration::from_secs(3)));
        assert_eq!(process_ticks("7 (a"), None);
        let after_years = machine_ticks("cpu  5000000000 0 0 1 2 0 0 0 0 0").map(duration);
        assert_eq!(after_years, Some(Duration::from_secs(50_000_000)), "more ticks than 32 bits hold");
        let machine = "cpu  10 20 30 1000 2000 3 4 900 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(machine_ticks(machine), Some(67), "idle, waiting and stolen time is nobody's");
        assert_eq!(machine_ticks("cpu 1 2 x 4 5 6 7"), None);
        let snmp = "Ip: A B\nIp: 1 2\nTcp: RtoAlgorithm InSegs OutSegs RetransSegs InErrs\nTcp: 1 70 80 9 0\n";
        assert_eq!(segments_of(snmp), Some(Segments { sent: 80, sent_again: 9 }));
        assert_eq!(segments_of("Tcp: OutSegs\nTcp: 1\n"), None);
    }

    #[test]
    fn this_machine_works() {
        let before = process_time(std::process::id()).unwrap();
        let mut work = 0_u64;
        while process_time(std::process::id()).unwrap() <= before {
            work = std::hint::black_box(work + 1);
        }
        assert!(process_time(std::process::id()).unwrap() <= machine_time().unwrap());
        assert_eq!(process_time(u32::MAX), None);
        assert!(segments().is_some());
        assert!(Duration::ZERO < thread_time());
    }
}
