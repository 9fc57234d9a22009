//! Where Go's runtime stops the world and collects, in the file of a program: places for probes.

use std::{fs::File, os::unix::fs::MetadataExt as _};

use homeostat_gosym::{SiteInstruction, Symbols};

use crate::{file_bytes::FileBytes, go_layout, probes::Refused};

/// The functions, in the order of `enum function` of `bpf/go_runtime.bpf.c`.
///
/// The first two hold the lock of the world between them, so a process has one such pair at a time. `gcMarkDone`, which comes
/// before the last one, is no place to count collections: it runs again when there is more to mark.
pub(crate) const FUNCTIONS: [&str; 4] =
    ["runtime.stopTheWorldWithSema", "runtime.startTheWorldWithSema", "runtime.gcStart", "runtime.gcMarkTermination"];

/// Versions whose runtime has these functions in this meaning, as their sources say: the second number of `go1.N`.
const KNOWN: std::ops::RangeInclusive<u32> = 18..=27;

fn is_known(version: &str) -> bool {
    go_layout::minor(version).is_some_and(|minor| KNOWN.contains(&minor))
}

/// A place for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Index of its function.
    pub(crate) function: usize,
    /// Place in the file.
    pub(crate) offset: u64,
    pub(crate) instruction: SiteInstruction,
}

/// Which file it is: device and number on it.
pub(crate) type FileKey = (u64, u64);

/// The file of a process' program.
pub(crate) fn file_of(pid: u32) -> Result<(FileKey, File), Refused> {
    let unreadable = |error: std::io::Error| Refused {
        what: format!("the program of process {pid}"),
        reason: error.to_string(),
        remedy: "run as root or with CAP_SYS_PTRACE",
    };
    let file = File::open(format!("/proc/{pid}/exe")).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    Ok(((about.dev(), about.ino()), file))
}

/// The places in a file, all four or none. Reads the program's tables: some milliseconds.
pub(crate) fn sites(pid: u32, file: File) -> Result<Vec<Site>, Refused> {
    let refused = |reason: String| Refused { what: format!("Go's runtime in process {pid}"), reason, remedy: "" };
    if !cfg!(target_arch = "x86_64") {
        return Err(refused("instructions on which a probe costs one trap are known for x86-64 only".to_owned()));
    }
    let symbols = Symbols::open(FileBytes::new(file)).map_err(|error| refused(error.to_string()))?;
    let version = symbols.go_version().unwrap_or_else(|| "a Go before 1.18".to_owned());
    if !is_known(&version) {
        let (first, last) = (KNOWN.start(), KNOWN.end());
        return Err(refused(format!("it was made by {version}, and go1.{first} to go1.{last} are what is known")));
    }
    let site = |(function, name): (usize, &&str)| {
        let of = symbols.function(name).ok_or_else(|| refused(format!("it has no function `{name}`")))?;
        let site = symbols.probe_site(&of);
        let placed = site.and_then(|site| Some((symbols.elf().place(site.address)?.0, site.instruction)));
        let (offset, instruction) = placed.ok_or_else(|| {
            refused(format!("the beginning of `{name}` is not understood: a probe there would cost a second trap"))
        })?;
        Ok(Site { function, offset, instruction })
    };
    FUNCTIONS.iter().enumerate().map(site).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_nobody_has_read_are_refused() {
        assert!(is_known("go1.18") && is_known("go1.27.3"));
        assert!(!is_known("go1.17.3") && !is_known("go1.28") && !is_known("devel"));
    }

    #[test]
    fn what_is_no_go_program_has_no_sites() {
        let own = std::process::id();
        let refused = sites(own, file_of(own).unwrap().1).unwrap_err();
        assert!(refused.to_string().contains("Go's runtime in process"), "{refused}");
        assert!(file_of(u32::MAX).is_err());
    }
}
