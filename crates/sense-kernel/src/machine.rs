//! Counters of the machine, of processes and of this thread that any kernel has: processor time, switches, memory and TCP segments.
//!
//! Source: proc_stat(5), proc_pid_stat(5), proc_pid_status(5), clock_getres(2), RFC 4022 (`tcpOutSegs`, `tcpRetransSegs`).

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// The kernel counts processor time for programs in hundredths of a second on every machine it runs on.
const TICK_MS: u64 = 10;

/// Threads of a process whose switches are read: each is a file of its own, and a look should take some milliseconds.
const THREADS_MAX: usize = 512;

/// How often a thread stopped running so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// It waited for something.
    pub voluntary: u64,
    /// Another one was given the processor.
    pub involuntary: u64,
}

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

/// Switches of each thread of a process; `None` when it has gone, and when it has more threads than are read.
pub fn thread_switches(pid: u32) -> Option<BTreeMap<u32, Switches>> {
    let mut threads = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        if THREADS_MAX <= threads.len() {
            return None;
        }
        // Threads end while they are read.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let number = thread.file_name().to_str().and_then(|name| name.parse().ok());
        threads.extend(number.zip(switches(&status)));
    }
    Some(threads)
}

/// Memory of a process that is in use and not swapped out, in bytes; `None` when it has gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn resident(status: &str) -> Option<u64> {
    field(status, "VmRSS")?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Processor time that all processes and the kernel have had, and time in which CPUs had nothing to do or waited for a device, on
/// all of them together and at one instant; `None` where it is not told.
pub fn machine_times() -> Option<(Duration, Duration)> {
    let (busy, idle) = machine_ticks(&fs::read_to_string("/proc/stat").ok()?)?;
    Some((duration(busy), duration(idle)))
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

fn switches(status: &str) -> Option<Switches> {
    let count = |name| field(status, name)?.parse().ok();
    Some(Switches { voluntary: count("voluntary_ctxt_switches")?, involuntary: count("nonvoluntary_ctxt_switches")? })
}

/// Lines of a name, a colon, and a value.
fn field<'a>(status: &'a str, wanted: &str) -> Option<&'a str> {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| *name == wanted).map(|(_, value)| value.trim())
}

/// `cpu USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ …`: all but the fourth and fifth of these seven numbers, and those two.
fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(7).map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let &[user, nice, system, idle, waiting, interrupts, soft] = ticks.as_slice() else { return None };
    let busy = [user, nice, system, interrupts, soft].into_iter().try_fold(0_u64, u64::checked_add)?;
    Some((busy, idle.checked_add(waiting)?))
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
        let after_years = machine_ticks("cpu  5000000000 0 0 1 2 0 0 0 0 0");
        assert_eq!(
            after_years.map(|(busy, _)| duration(busy)),
            Some(Duration::from_secs(50_000_000)),
            "more ticks than 32 bits hold"
        );
        let machine = "cpu  10 20 30 1000 2000 3 4 900 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(machine_ticks(machine), Some((67, 3000)), "idle, waiting and stolen time is nobody's");
        assert_eq!(machine_ticks("cpu 1 2 x 4 5 6 7"), None);
        let status = "Name:\tvoluntary_ctxt_switches: 9\nVmRSS:\t     48 kB\nvoluntary_ctxt_switches:\t90\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!((resident(status), resident("Name:\ta\n")), (Some(48 * 1024), None));
        assert_eq!(switches(status), Some(Switches { voluntary: 90, involuntary: 7 }));
        assert_eq!(switches("Name:\ta\n"), None);
        let snmp = "Ip: A B\nIp: 1 2\nTcp: RtoAlgorithm InSegs OutSegs RetransSegs InErrs\nTcp: 1 70 80 9 0\n";
        assert_eq!(segments_of(snmp), Some(Segments { sent: 80, sent_again: 9 }));
        assert_eq!(segments_of("Tcp: OutSegs\nTcp: 1\n"), None);
    }

    #[test]
    fn a_thread_that_waits_switches() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let waiting = std::thread::spawn(move || {
            // Waits as often as it is told something.
            while receive.recv().is_ok() {}
        });
        let sum = || -> u64 {
            let threads = thread_switches(std::process::id()).unwrap();
            threads.values().map(|thread| thread.voluntary).sum()
        };
        let before = sum();
        while sum() < before + 10 {
            send.send(()).unwrap();
            std::thread::yield_now();
        }
        drop(send);
        waiting.join().unwrap();
    }

    #[test]
    fn this_machine_works() {
        let before = process_time(std::process::id()).unwrap();
        let mut work = 0_u64;
        while process_time(std::process::id()).unwrap() <= before {
            work = std::hint::black_box(work + 1);
        }
        assert!(process_time(std::process::id()).unwrap() <= machine_times().unwrap().0);
        assert_eq!(process_time(u32::MAX), None);
        assert!(segments().is_some());
        assert!((1 << 20..1 << 40).contains(&resident_bytes(std::process::id()).unwrap()));
        assert_eq!((resident_bytes(u32::MAX), thread_switches(u32::MAX)), (None, None));
        assert!(Duration::ZERO < thread_time());
    }
}
