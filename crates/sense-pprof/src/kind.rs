//! What a program can be asked for.

/// A kind of profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Where CPU time goes; takes as long as it measures.
    Cpu,
    /// Memory in use, and allocated since the last time.
    Heap,
    /// The same numbers with allocations as what is meant.
    Allocs,
    /// Who held locks that others waited for.
    Mutex,
    /// Who waited.
    Block,
    /// Goroutines as they stand.
    Goroutine,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Cpu, Self::Heap, Self::Allocs, Self::Mutex, Self::Block, Self::Goroutine];
    /// What is pulled unless somebody says otherwise: heap has what allocs has.
    pub const DEFAULT: [Self; 5] = [Self::Cpu, Self::Heap, Self::Mutex, Self::Block, Self::Goroutine];

    /// As users call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Heap => "heap",
            Self::Allocs => "allocs",
            Self::Mutex => "mutex",
            Self::Block => "block",
            Self::Goroutine => "goroutine",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its metric, as Pyroscope calls it.
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Cpu => "process_cpu",
            Self::Heap => "memory",
            Self::Allocs => "memory_allocs",
            Self::Mutex => "mutex",
            Self::Block => "block",
            Self::Goroutine => "goroutine",
        }
    }

    /// Its address below the target's.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Cpu => "/debug/pprof/profile",
            Self::Heap => "/debug/pprof/heap",
            Self::Allocs => "/debug/pprof/allocs",
            Self::Mutex => "/debug/pprof/mutex",
            Self::Block => "/debug/pprof/block",
            Self::Goroutine => "/debug/pprof/goroutine",
        }
    }

    /// Columns that only grow while the program runs: of them the difference to the last time is kept.
    pub const fn growing(self) -> &'static [&'static str] {
        match self {
            Self::Heap | Self::Allocs => &["alloc_objects", "alloc_space"],
            Self::Mutex | Self::Block => &["contentions", "delay"],
            Self::Cpu | Self::Goroutine => &[],
        }
    }

    /// A Go program measures it only when it was told to (`runtime.SetMutexProfileFraction`, `SetBlockProfileRate`).
    pub const fn must_be_enabled(self) -> bool {
        matches!(self, Self::Mutex | Self::Block)
    }
}
