//! What the agent takes of the machine: CPU time and memory, as the kernel counts them.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads since the process began.
pub(super) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Memory that is in use now, in bytes; 0 where the kernel does not say.
pub(in crate::runtime) fn rss_bytes() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| rss_of(&status)).unwrap_or(0)
}

fn rss_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        assert_eq!(rss_of("VmHWM:\t 9 kB\nVmRSS:\t   1234 kB\n"), Some(1234 * 1024));
        assert_eq!(rss_of("Name:\tx\n"), None);
        assert!(Duration::ZERO < cpu_time() && 0 < rss_bytes());
    }
}
