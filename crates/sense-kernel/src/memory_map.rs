//! What a process has mapped: the text of `/proc/PID/maps`, as far as it can be run.
//!
//! Source: proc_pid_maps(5).

/// Executable mappings of one process, those included that it had earlier. Browsers have some 2000 libraries and generated parts.
pub(crate) const MAPPINGS_MAX: usize = 1 << 14;

/// A range of addresses that a process may run, and where its bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// First address.
    pub(crate) start: u64,
    /// First address behind it.
    pub(crate) end: u64,
    /// Place in the file of the first byte.
    pub(crate) offset: u64,
    /// Number of the file's device and of the file on it; 0 when no file is behind it.
    pub(crate) file: (u64, u64),
    /// As the process named the file when it opened it; `[vdso]` and the like for what the kernel provides; empty for
    /// memory that was filled at run time.
    pub(crate) path: String,
}

/// Reads the mappings that may be run, sorted by address. Lines that say nothing are left out.
pub(crate) fn mappings(maps: &str) -> Vec<Mapping> {
    let mut found: Vec<_> = maps.lines().filter_map(mapping).take(MAPPINGS_MAX).collect();
    found.sort_by_key(|mapping| mapping.start);
    found
}

/// `START-END rwxp OFFSET MAJOR:MINOR INODE      PATH`, numbers but the inode in hexadecimal.
fn mapping(line: &str) -> Option<Mapping> {
    let (range, rest) = line.split_once(' ')?;
    let (rights, rest) = rest.split_once(' ')?;
    if !rights.contains('x') {
        return None;
    }
    let (offset, rest) = rest.split_once(' ')?;
    let (device, rest) = rest.split_once(' ')?;
    let (inode, path) = rest.split_once(' ').unwrap_or((rest, ""));
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let path = name_of(path.trim_start());
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        offset: hex(offset)?,
        file: (hex(major)? << 32 | hex(minor)?, inode.parse().ok()?),
        path: path.to_owned(),
    })
}

/// The name of a file as it was opened. A deleted file is still there for who has it open; the kernel only says so behind its
/// name.
pub(crate) fn name_of(path: &str) -> &str {
    path.strip_suffix(" (deleted)").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_run_is_read() {
        let text = "\
55d0c0a00000-55d0c0a28000 r--p 00000000 fe:00 131 /usr/bin/a b
55d0c0a28000-55d0c0a90000 r-xp 00028000 fe:00 131 /usr/bin/a b (deleted)
7ffd1cbb2000-7ffd1cbb4000 r-xp 00000000 00:00 0                          [vdso]
7f0000000000-7f0000001000 rwxp 00000000 00:00 0
nonsense
1-2 r-xp zz fe:00 1 /x
";
        let found = mappings(text);
        let names: Vec<_> =
            found.iter().map(|mapping| (mapping.path.as_str(), mapping.offset, mapping.file.1)).collect();
        assert_eq!(names, [("/usr/bin/a b", 0x28000, 131), ("", 0, 0), ("[vdso]", 0, 0)]);
        assert_eq!((found[0].start, found[0].end, found[0].file.0), (0x55d0_c0a2_8000, 0x55d0_c0a9_0000, 0xfe << 32));
    }
}
