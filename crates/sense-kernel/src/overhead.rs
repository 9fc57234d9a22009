//! What sensing costs in the kernel: time and memory of our programs.

#![expect(unsafe_code, reason = "no safe crate wraps bpf_enable_stats; it is one call without pointers")]

use std::{
    fs,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

/// Lets the kernel measure how long programs run, for as long as this is kept. That costs each run some 30 ns itself.
#[derive(Debug)]
pub(crate) struct KernelClock {
    _open: OwnedFd,
}

impl KernelClock {
    /// `None` where the kernel does not want to.
    pub(crate) fn start() -> Option<Self> {
        // SAFETY: it takes a number and gives a descriptor or an error; no memory of ours is touched.
        let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
        // SAFETY: the kernel just gave this descriptor to us alone.
        (0 <= fd).then(|| Self { _open: unsafe { OwnedFd::from_raw_fd(fd) } })
    }
}

/// How long a program has run so far, on all CPUs together.
pub(crate) fn program_time(program: BorrowedFd<'_>) -> Option<Duration> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?;
    run_time(&about)
}

/// Memory of a map in bytes, as the kernel accounts for it; 0 when it does not tell.
pub(crate) fn map_bytes(map: BorrowedFd<'_>) -> u64 {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd())).unwrap_or_default();
    number(&about, "memlock:").unwrap_or(0)
}

fn run_time(about: &str) -> Option<Duration> {
    number(about, "run_time_ns:").map(Duration::from_nanos)
}

fn number(about: &str, name: &str) -> Option<u64> {
    about.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let about = "pos:\t0\nprog_type:\t7\nrun_time_ns:\t54000\nrun_cnt:\t10\n";
        assert_eq!(run_time(about), Some(Duration::from_micros(54)));
        assert_eq!(run_time("pos:\t0\n"), None);
    }
}
