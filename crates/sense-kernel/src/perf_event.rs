//! A clock of the kernel that ticks on one CPU while it works.
//!
//! Source: perf_event_open(2).

#![expect(unsafe_code, reason = "no safe crate wraps perf_event_open; it is one call with checked arguments")]

use std::{
    fs, io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use libbpf_sys::{perf_event_attr, perf_event_attr__bindgen_ty_1};

use crate::rate::SampleRate;

/// Kind of the event: the kernel's own, needs no counters of the processor.
const SOFTWARE: u32 = 1;
/// Its clock of a CPU's work.
const CPU_CLOCK: u64 = 0;
/// The file is closed when another program is run.
const CLOSE_ON_EXEC: u64 = 8;

/// A clock on one CPU, for all processes. It ticks when a program is attached and enabled.
pub(crate) fn cpu_clock(cpu: u32, rate: SampleRate) -> io::Result<OwnedFd> {
    let mut wanted = perf_event_attr {
        type_: SOFTWARE,
        size: size_of::<perf_event_attr>() as u32,
        config: CPU_CLOCK,
        __bindgen_anon_1: perf_event_attr__bindgen_ty_1 { sample_freq: u64::from(rate.hz()) },
        ..perf_event_attr::default()
    };
    wanted.set_freq(1);
    let (every_process, no_group) = (-1_i32, -1_i32);
    // SAFETY: the kernel reads `size` bytes of a structure that lives until the call returns, and writes only its `size`.
    let opened = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw mut wanted, every_process, cpu as i32, no_group, CLOSE_ON_EXEC)
    };
    match i32::try_from(opened) {
        // SAFETY: the kernel just gave this descriptor to us alone.
        Ok(fd) if 0 <= fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// CPUs that work, from a list such as `0-3,6`.
pub(crate) fn online_cpus() -> io::Result<Vec<u32>> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online")?;
    Ok(cpus_of_list(text.trim()))
}

fn cpus_of_list(text: &str) -> Vec<u32> {
    /// CPUs of one machine that Linux can be built for.
    const CPUS_MAX: u32 = 8192;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse::<u32>().ok()?.min(CPUS_MAX));
        Some(first..=last)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpus_of_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cpus_of_list("0"), [0]);
        assert_eq!(cpus_of_list("x,3-1"), [0_u32; 0]);
        assert!(!online_cpus().unwrap().is_empty());
    }
}
