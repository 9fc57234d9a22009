//! Names of functions of C, C++, Rust and of the kernel.
//!
//! Names come from the symbol table, lines and inlined calls from DWARF: what DWARF calls a Rust function is only the last
//! part of its path. Files that were stripped of both may have theirs in a debug package; blazesym looks there.

use std::{cell::Cell, fs, path::PathBuf};

use blazesym::{
    MaybeDefault,
    symbolize::{Input, Sym, Symbolized, Symbolizer, source},
};

use crate::{module::ResolvedFrame, probes::Refused};

/// Bytes of files whose lines and inlined calls are looked up, all together: what is kept of DWARF is about as large as DWARF
/// itself, and that is most of such a file. Files beyond it have names only.
const LINED_BYTES_MAX: u64 = 1 << 30;

/// Bytes of symbol tables, names included, of files whose functions are named, all together: they are mapped and sorted while
/// anybody asks. A browser with all its symbols has 150 MiB, other programs have some 10 MiB: files beyond it have addresses only.
const NAMED_BYTES_MAX: u64 = 512 << 20;

/// Tables of all files that were asked about. Memory grows with them, within limits, until this is dropped.
#[derive(Debug)]
pub(crate) struct NativeSymbols {
    names: Symbolizer,
    lines: Symbolizer,
    lined_bytes_left: Cell<u64>,
    named_bytes_left: Cell<u64>,
}

impl NativeSymbols {
    pub(crate) fn new() -> Self {
        let builder = || Symbolizer::builder().enable_auto_reload(false).enable_demangling(true);
        Self {
            names: builder().enable_code_info(false).enable_inlined_fns(false).build(),
            lines: builder().enable_code_info(true).enable_inlined_fns(true).build(),
            lined_bytes_left: Cell::new(LINED_BYTES_MAX),
            named_bytes_left: Cell::new(NAMED_BYTES_MAX),
        }
    }

    /// How much there is room to tell of one more file, which takes it then.
    pub(crate) fn admit(&self, file_bytes: u64, symbol_bytes: u64) -> Detail {
        if !take(&self.named_bytes_left, symbol_bytes) {
            return Detail::Nothing;
        }
        if take(&self.lined_bytes_left, file_bytes) { Detail::Lines } else { Detail::Names }
    }

    /// The functions at an address of a file, innermost first, with their lines or without; none when nothing is known. `path`
    /// is only opened, so it may be one of `/proc/self/fd`.
    pub(crate) fn frames(&self, path: &PathBuf, address: u64, detail: Detail) -> Vec<ResolvedFrame> {
        let asked = |debug_syms| {
            let mut elf = source::Elf::new(path);
            elf.debug_syms = debug_syms;
            source::Source::Elf(elf)
        };
        if detail == Detail::Nothing {
            return Vec::new();
        }
        let input = Input::VirtOffset(address);
        let named = self.names.symbolize_single(&asked(false), input).ok().and_then(Symbolized::into_sym);
        let lined = match detail {
            Detail::Lines => self.lines.symbolize_single(&asked(true), input).ok().and_then(Symbolized::into_sym),
            Detail::Names | Detail::Nothing => None,
        };
        match (named, lined) {
            (Some(named), Some(lined)) => frames(Some(named.name.as_ref()), &lined),
            (None, Some(lined)) => frames(None, &lined),
            (Some(named), None) => frames(None, &named),
            (None, None) => Vec::new(),
        }
    }

    /// The kernel's functions at its addresses; empty names where nothing is known.
    pub(crate) fn kernel(&self, addresses: &[u64]) -> Vec<String> {
        // The image would have to be found and unpacked; names are all that is wanted.
        let kernel = source::Kernel { vmlinux: MaybeDefault::None, debug_syms: false, ..source::Kernel::default() };
        let found = self.names.symbolize(&source::Source::Kernel(kernel), Input::AbsAddr(addresses));
        let found: Vec<Symbolized<'_>> = found.unwrap_or_default();
        let name = |index: usize| found.get(index).and_then(Symbolized::as_sym).map(|found| found.name.to_string());
        (0..addresses.len()).map(|index| name(index).unwrap_or_default()).collect()
    }
}

/// How much is told of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing but where it is.
    Nothing,
    /// Its name, from the symbol table.
    Names,
    /// Lines and inlined calls too, from DWARF.
    Lines,
}

/// Takes bytes of what is left, if there are so many.
fn take(left: &Cell<u64>, bytes: u64) -> bool {
    let rest = left.get().checked_sub(bytes);
    if let Some(rest) = rest {
        left.set(rest);
    }
    rest.is_some()
}

/// Inlined calls come outermost first; each with the place where it is at work.
fn frames(outer_name: Option<&str>, found: &Sym<'_>) -> Vec<ResolvedFrame> {
    let place = |info: Option<&blazesym::symbolize::CodeInfo<'_>>| {
        let file = info.map(|info| info.to_path().to_string_lossy().into_owned()).unwrap_or_default();
        (file, info.and_then(|info| info.line).unwrap_or(0))
    };
    let mut frames: Vec<_> = found
        .inlined
        .iter()
        .rev()
        .map(|call| {
            let (file, line) = place(call.code_info.as_ref());
            ResolvedFrame { function: call.name.to_string(), file, line, inlined: true }
        })
        .collect();
    let (file, line) = place(found.code_info.as_deref());
    let function = outer_name.unwrap_or(&found.name).to_owned();
    frames.push(ResolvedFrame { function, file, line, inlined: false });
    frames
}

/// Whether the kernel shows its names and addresses.
pub(crate) fn try_kernel() -> Result<(), Refused> {
    let refused = |reason: String| Refused {
        what: "the kernel's list of functions, /proc/kallsyms".to_owned(),
        reason,
        remedy: "run as root or with CAP_SYSLOG, or set kernel.kptr_restrict to 0",
    };
    let text = fs::read("/proc/kallsyms").map_err(|error| refused(error.to_string()))?;
    let has_addresses =
        text.split(|byte| *byte == b'\n').any(|line| line.iter().take(16).any(|byte| *byte != b'0' && *byte != b' '));
    if has_addresses { Ok(()) } else { Err(refused("it hides all addresses".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_names_have_a_limit_each() {
        let symbols = NativeSymbols::new();
        let admitted =
            [(LINED_BYTES_MAX - 10, 1), (11, 1), (10, 1), (1, 1)].map(|(file, names)| symbols.admit(file, names));
        assert_eq!(admitted, [Detail::Lines, Detail::Names, Detail::Lines, Detail::Names], "lines have their room");
        let admitted = [NAMED_BYTES_MAX - 5, 2, 1, 1].map(|names| symbols.admit(0, names));
        assert_eq!(admitted, [Detail::Lines, Detail::Nothing, Detail::Lines, Detail::Nothing], "names have theirs");
        // A function of this very program: where it is in memory, less where the program begins in memory.
        let own = std::env::current_exe().unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let begins = maps.lines().find(|line| line.ends_with(own.to_str().unwrap())).unwrap();
        let begins = u64::from_str_radix(begins.split_once('-').unwrap().0, 16).unwrap();
        let address = try_kernel as *const () as u64 - begins;
        let of = |detail| symbols.frames(&own, address, detail).pop().unwrap();
        let (named, lined) = (of(Detail::Names), of(Detail::Lines));
        assert!(named.function.ends_with("native_symbols::try_kernel"), "{named:?}");
        assert_eq!((named.function, named.line), (lined.function, 0));
        assert!(lined.file.ends_with("native_symbols.rs") && 0 < lined.line);
        assert!(symbols.frames(&own, address, Detail::Nothing).is_empty());
    }
}
