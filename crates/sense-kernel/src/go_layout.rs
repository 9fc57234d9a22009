//! Where Go's runtime keeps what it knows about a goroutine, by its version: places in the record, and words for waits.
//!
//! The record begins alike in all versions: the stack's bounds, and at 0x38 where the goroutine goes on (stack pointer, then
//! program counter). What follows moved with Go 1.21, 1.23, 1.25 and 1.26. Reasons of waits are numbers; new ones were put
//! between the old ones, and Go 1.26 put some of the old ones elsewhere, so that each version has its own numbering.
//!
//! Source: the Go source tree, `runtime/runtime2.go` of each version: `g`, `gobuf`, `waitReasonStrings`. Go 1.19 and 1.21 to
//! 1.27 were also tried with programs that their tool chains made; Go 1.20 is by its source only.

/// Versions that are known, the second number of `go1.N`; x86-64 only.
pub(crate) const KNOWN: std::ops::RangeInclusive<u32> = 19..=27;

/// Places in a goroutine's record, as distances from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) status: usize,
    pub(crate) id: usize,
    /// Why it waits: one byte.
    pub(crate) reason: usize,
    /// Behind the `go` statement that started it.
    pub(crate) creator: usize,
    /// Where it began.
    pub(crate) start: usize,
    /// Words for reasons, by number.
    pub(crate) reasons: Vec<&'static str>,
}

impl Layout {
    /// Where a goroutine that does not run has its stack pointer.
    pub(crate) const STACK_POINTER: usize = 0x38;
    /// Where it goes on.
    pub(crate) const PROGRAM_COUNTER: usize = 0x40;

    /// That of a version, such as `go1.19.8`; `None` when it is not known.
    pub(crate) fn of(version: &str) -> Option<Self> {
        let minor = minor(version).filter(|minor| KNOWN.contains(minor))?;
        let [status, creator] = match minor {
            ..=20 => [0x90, 0x128],
            // In Go 1.23 the frame pointer of a system call was put before the state; Go 1.25 has a word less there.
            21 | 22 | 25 => [0x90, 0x118],
            23 | 24 => [0x98, 0x120],
            // More flags between the two.
            _ => [0x90, 0x120],
        };
        let reasons = REASONS.iter().filter(|(from, to, _)| (*from..=*to).contains(&minor)).map(|(_, _, word)| *word);
        Some(Self {
            status,
            id: status + 8,
            reason: status + 0x20,
            creator,
            start: creator + 0x10,
            reasons: reasons.collect(),
        })
    }

    /// Bytes of the record that are needed.
    pub(crate) fn record_bytes(&self) -> usize {
        self.start + 8
    }
}

/// Bytes of a goroutine's record, up to what is read of it, of any version that is known: Go 1.19 has the longest.
pub(crate) const RECORD_BYTES_MAX: usize = 0x140;

/// The second number of a version such as `go1.19.8` or `go1.22.1 X:nocoverageredesign`.
pub(crate) fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("go1.")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The runtime's words in the order of their numbers, each with the first and the last version that has it.
const REASONS: &[(u32, u32, &str)] = &[
    // The runtime has no word for it.
    (0, LAST, "waiting"),
    (0, LAST, "GC assist marking"),
    (0, LAST, "IO wait"),
    (0, 25, "chan receive (nil chan)"),
    (0, 25, "chan send (nil chan)"),
    (0, LAST, "dumping heap"),
    (0, LAST, "garbage collection"),
    (0, LAST, "garbage collection scan"),
    (0, LAST, "panicwait"),
    (0, 25, "select"),
    (0, 25, "select (no cases)"),
    (0, LAST, "GC assist wait"),
    (0, LAST, "GC sweep wait"),
    (0, LAST, "GC scavenge wait"),
    (0, 25, "chan receive"),
    (0, 25, "chan send"),
    (0, LAST, "finalizer wait"),
    (0, LAST, "force gc (idle)"),
    (25, LAST, "GOMAXPROCS updater (idle)"),
    (0, LAST, "semacquire"),
    (0, LAST, "sleep"),
    // Since Go 1.26 what a leaked goroutine can wait for stands together.
    (26, LAST, "chan receive (nil chan)"),
    (26, LAST, "chan send (nil chan)"),
    (26, LAST, "select (no cases)"),
    (26, LAST, "select"),
    (26, LAST, "chan receive"),
    (26, LAST, "chan send"),
    (0, LAST, "sync.Cond.Wait"),
    (0, 19, "timer goroutine (idle)"),
    (20, LAST, "sync.Mutex.Lock"),
    (20, LAST, "sync.RWMutex.RLock"),
    (20, LAST, "sync.RWMutex.Lock"),
    (24, LAST, "sync.WaitGroup.Wait"),
    (0, LAST, "trace reader (blocked)"),
    (0, LAST, "wait for GC cycle"),
    (0, LAST, "GC worker (idle)"),
    (20, LAST, "GC worker (active)"),
    (0, LAST, "preempted"),
    (0, LAST, "debug call"),
    (20, LAST, "GC mark termination"),
    (20, LAST, "stopping the world"),
    (22, LAST, "flushing proc caches"),
    (22, LAST, "trace goroutine status"),
    (22, LAST, "trace proc status"),
    (22, LAST, "page trace flush"),
    (22, LAST, "coroutine"),
    (23, LAST, "GC weak to strong wait"),
    (24, LAST, "synctest.Run"),
    (24, LAST, "synctest.Wait"),
    (24, 24, "chan receive (synctest)"),
    (25, LAST, "chan receive (durable)"),
    (24, 24, "chan send (synctest)"),
    (25, LAST, "chan send (durable)"),
    (24, 24, "select (synctest)"),
    (25, LAST, "select (durable)"),
    (25, LAST, "sync.WaitGroup.Wait (durable)"),
    (25, LAST, "cleanup wait"),
];

/// The newest version that is known.
const LAST: u32 = *KNOWN.end();

#[cfg(test)]
#[path = "../../gosym/tests/go_tools/mod.rs"]
mod go_tools;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn versions_that_nobody_has_looked_at_have_no_layout() {
        for known in ["go1.19", "go1.20.14", "go1.22.1 X:nocoverageredesign", "go1.25rc1", "go1.27.3"] {
            assert!(Layout::of(known).unwrap().record_bytes() <= RECORD_BYTES_MAX, "{known}");
        }
        for unknown in ["go1.18.10", "go1.28", "go1.190", "go2.19", "devel go1.19", "go1.", ""] {
            assert_eq!(Layout::of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn records_lie_as_the_sources_say() {
        // State, number, reason, creator, start: what the tool chains' debugging information says.
        for (version, places) in [
            ("go1.19.8", [0x90, 0x98, 0xb0, 0x128, 0x138]),
            ("go1.21.13", [0x90, 0x98, 0xb0, 0x118, 0x128]),
            ("go1.22.10", [0x90, 0x98, 0xb0, 0x118, 0x128]),
            ("go1.23.9", [0x98, 0xa0, 0xb8, 0x120, 0x130]),
            ("go1.24.11", [0x98, 0xa0, 0xb8, 0x120, 0x130]),
            ("go1.25.5", [0x90, 0x98, 0xb0, 0x118, 0x128]),
            ("go1.26.6", [0x90, 0x98, 0xb0, 0x120, 0x130]),
            ("go1.27.3", [0x90, 0x98, 0xb0, 0x120, 0x130]),
        ] {
            let of = Layout::of(version).unwrap();
            assert_eq!([of.status, of.id, of.reason, of.creator, of.start], places, "{version}");
        }
    }

    #[test]
    fn reasons_are_numbered_by_version() {
        for (version, word, number, count) in [
            ("go1.19", "semacquire", 18, 27),
            ("go1.20", "sync.Mutex.Lock", 21, 32),
            ("go1.21", "sync.Mutex.Lock", 21, 32),
            ("go1.22", "coroutine", 36, 37),
            ("go1.23", "GC weak to strong wait", 37, 38),
            ("go1.24", "sync.WaitGroup.Wait", 24, 44),
            ("go1.25", "semacquire", 19, 47),
            ("go1.25", "select", 9, 47),
            ("go1.26", "select", 18, 47),
            ("go1.26", "chan receive", 19, 47),
            ("go1.27", "cleanup wait", 46, 47),
        ] {
            let of = Layout::of(version).unwrap();
            assert_eq!(
                (of.reasons.iter().position(|of| *of == word), of.reasons.len()),
                (Some(number), count),
                "{version}"
            );
        }
    }

    /// The words by number, from a version's own source: names of constants in their order, and a word for each name.
    fn reasons_of(source: &str) -> Vec<&str> {
        let block = |begin: &str, end: &str| source.split_once(begin).unwrap().1.split_once(end).unwrap().0;
        let words: BTreeMap<&str, &str> = block("waitReasonStrings = [...]string{", "\n}")
            .lines()
            .filter_map(|line| line.trim().split_once(':'))
            .map(|(name, word)| (name, word.trim().trim_matches([',', '"'])))
            .collect();
        let names =
            block("type waitReason uint8\n\nconst (", "\n)").lines().filter_map(|line| line.split_whitespace().next());
        names.filter(|name| name.starts_with("waitReason")).map(|name| words[name]).collect()
    }

    #[test]
    fn reasons_are_those_of_the_tool_chains_sources() {
        for tools in go_tools::all() {
            let source = tools.source("runtime/runtime2.go");
            let (ours, own) = (Layout::of(&tools.version).unwrap().reasons, reasons_of(&source));
            assert_eq!(ours[1..], own[1..], "{tools:?}");
            assert_eq!((ours[0], own[0]), ("waiting", ""));
        }
    }
}
