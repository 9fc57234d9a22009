//! What the agent takes of the machine: CPU time and memory, as the kernel counts them.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads since the process began.
pub(super) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Memory that is in use now, in bytes; 0 where the kernel does not say.
pub(in crate::runtime) fn rss_bytes() -> u64 {
    homeostat_sense_kernel::resident_bytes(std::process::id()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        assert!(Duration::ZERO < cpu_time() && 0 < rss_bytes());
    }
}
