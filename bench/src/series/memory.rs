//! Memory of a process, as the kernel counts it.

use crate::Failed;

/// Most memory that a process has had resident, in bytes (`VmHWM`).
pub(crate) fn peak(pid: u32) -> Result<u64, Failed> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse(&status).ok_or_else(|| format!("/proc/{pid}/status has no VmHWM").into())
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peak_is_found_in_bytes() {
        assert_eq!(super::parse("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(super::parse("Name:\tx\n"), None);
    }
}
