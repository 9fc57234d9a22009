//! What the kernel sees of programs that nobody changed: CPU profiles of one process, of a service, or of the machine, and
//! profiles of where threads wait.
//!
//! Small programs run in the kernel (eBPF) and count; user space reads the counts a few times a second, and gives
//! addresses their names: Go's from its own tables (`gosym`), those of C, C++, Rust and of the kernel by blazesym. Stacks
//! are walked by frame pointers in the kernel where programs keep them (Go always does), otherwise the top of the stack
//! is copied and unwound here by `.eh_frame`.
//!
//! Other programs count by process how long it waits for a CPU and what becomes of its TCP connections, see [`KernelWatch`].
//!
//! Probes on Go's runtime count collections and how long the world is stopped, see [`GoWatch`].
//!
//! Yet others copy the first bytes of messages of chosen processes, out of which calls are read, see [`KernelCalls`].
//!
//! Kernels differ in what they allow. Each program is tried alone, and is there or is refused with a reason, see
//! [`examine`]; one refusal never takes the others with it.
//!
//! Goroutines of Go programs are counted by reading their memory, without any program in the kernel, see [`GoProcess`];
//! threads of other programs by what `/proc` says of them, see [`threads()`].
//!
//! Programs in the kernel need the cargo feature `bpf`, which takes clang, libelf and zlib to build. Without it this crate
//! says what is missing.
//!
//! Not here: profiles of programs that serve them (`sense-pprof`), keeping and comparing profiles.
//! Source: `../../docs/kernel.md`, `../../docs/decisions/0130-kernel-programs-and-symbols.md`.

mod activity;
mod call_counts;
#[cfg(feature = "bpf")]
mod calls;
#[cfg(not(feature = "bpf"))]
#[path = "calls_absent.rs"]
mod calls;
mod census;
mod file_bytes;
mod go_activity;
mod go_layout;
mod histogram;
mod listening;
mod machine;
mod memory_map;
mod probes;
mod processes;
mod rate;
mod threads;
mod wait_share;

#[cfg(feature = "bpf")]
mod go_sites;
#[cfg(feature = "bpf")]
mod go_watch;
#[cfg(not(feature = "bpf"))]
#[path = "go_watch_absent.rs"]
mod go_watch;
#[cfg(feature = "bpf")]
mod kernel_program;
#[cfg(feature = "bpf")]
mod kernel_watch;
#[cfg(not(feature = "bpf"))]
#[path = "kernel_watch_absent.rs"]
mod kernel_watch;
#[cfg(feature = "bpf")]
mod module;
#[cfg(feature = "bpf")]
mod naming;
#[cfg(feature = "bpf")]
mod native_symbols;
#[cfg(feature = "bpf")]
mod overhead;
#[cfg(feature = "bpf")]
mod perf_event;
#[cfg(feature = "bpf")]
mod process;
#[cfg(feature = "bpf")]
mod stack_capture;
#[cfg(feature = "bpf")]
mod stack_sampler;
#[cfg(feature = "bpf")]
mod tracepoints;
#[cfg(feature = "bpf")]
mod unwind_tables;
#[cfg(feature = "bpf")]
mod unwinder;
#[cfg(feature = "bpf")]
mod unwinders;

pub use activity::{Activity, Connections, WAIT_UNIT_NS, Waits};
pub use call_counts::CallCounts;
pub use calls::KernelCalls;
pub use census::{Census, GoProcess, Group, Growth, LEAKS_GOROUTINES, LeakRule, NoCensus};
pub use go_activity::{GoActivity, PAUSED_THE_WORLD, PauseRule};
pub use go_watch::GoWatch;
pub use histogram::Histogram;
pub use kernel_watch::KernelWatch;
pub use listening::{Listening, is_here, listening, processes_at};
pub use machine::{
    Segments, Switches, machine_times, process_time, resident_bytes, segments, thread_switches, thread_time,
};
#[cfg(feature = "bpf")]
pub use naming::Gathered;
pub use probes::{Probe, ProbeState, Refused, examine};
pub use processes::{NoProcess, Targets, control_group, process_name, processes_named, processes_of_service};
pub use rate::{BadRate, SampleRate};
#[cfg(feature = "bpf")]
pub use stack_capture::{CaptureStats, StackCapture};
#[cfg(feature = "bpf")]
pub use stack_sampler::Unwind;
pub use threads::threads;
pub use wait_share::{BadShare, WaitShare};

/// Whether programs for the kernel were built in.
pub const HAS_PROGRAMS: bool = cfg!(feature = "bpf");

/// What to say when they were not.
pub const NOT_BUILT: &str = "this program was built without programs for the kernel";

/// And what to do.
pub const HOW_TO_BUILD: &str =
    "build with `cargo build --features bpf`, which needs clang, libelf-dev and zlib1g-dev (`./dev up` does it)";
