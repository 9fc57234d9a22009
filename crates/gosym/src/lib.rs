//! Names, files, lines and inlined calls of Go programs, from the tables that every Go program carries.
//!
//! A Go program keeps a table of its functions (`.gopclntab`) for its own stack traces, so it is there even when
//! `strip` has taken the symbols: general symbolisers find nothing in such a file, this one nearly everything. Its
//! layout changed with Go 1.2, 1.16, 1.18 and 1.20 and says so in its first word; what changed without saying so
//! (Go 1.26, 1.27) is found by value instead of by place and checked before it is believed, see [`Symbols::open`].
//!
//! Not here: reading processes and their memory maps (`sense-kernel`), C and Rust symbols, DWARF.
//! Invariants: no input makes it panic, loop or take more than the named limits; bytes come in through [`ReadAt`], so
//! that a large file need not be in memory.
//! Source: the Go source tree, `runtime/symtab.go`, `runtime/funcdata.go`, `debug/gosym/pclntab.go`, `cmd/link`.

mod all_goroutines;
mod build_info;
pub mod elf;
mod functions;
mod header;
mod inlines;
pub mod little_endian;
mod module_data;
mod pc_values;
mod probe_site;
mod read_at;
mod symbols;

pub use functions::Function;
pub use header::Layout;
pub use probe_site::{ProbeSite, SiteInstruction};
pub use read_at::ReadAt;
pub use symbols::{Frame, NotGo, Symbols, TABLE_SECTIONS};
