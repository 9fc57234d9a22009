//! Names of functions of C, C++, Rust and of the kernel.
//!
//! Names come from the symbol table, lines and inlined calls from DWARF: what DWARF calls a Rust function is only the last
//! part of its path. Files that were stripped of both may have theirs in a debug package; blazesym looks there.

use std::{fs, path::PathBuf};

use blazesym::{
    MaybeDefault,
    symbolize::{Input, Sym, Symbolized, Symbolizer, source},
};

use crate::{module::ResolvedFrame, probes::Refused};

/// Tables of all files that were asked about. Memory grows with them until this is dropped.
#[derive(Debug)]
pub(crate) struct NativeSymbols {
    names: Symbolizer,
    lines: Symbolizer,
}

impl NativeSymbols {
    pub(crate) fn new() -> Self {
        let builder = || Symbolizer::builder().enable_auto_reload(false).enable_demangling(true);
        Self {
            names: builder().enable_code_info(false).enable_inlined_fns(false).build(),
            lines: builder().enable_code_info(true).enable_inlined_fns(true).build(),
        }
    }

    /// The functions at an address of a file, innermost first; none when nothing is known. `path` is only opened, so it may
    /// be one of `/proc/self/fd`.
    pub(crate) fn frames(&self, path: &PathBuf, address: u64) -> Vec<ResolvedFrame> {
        let asked = |debug_syms| {
            let mut elf = source::Elf::new(path);
            elf.debug_syms = debug_syms;
            source::Source::Elf(elf)
        };
        let input = Input::VirtOffset(address);
        let named = self.names.symbolize_single(&asked(false), input).ok().and_then(Symbolized::into_sym);
        let lined = self.lines.symbolize_single(&asked(true), input).ok().and_then(Symbolized::into_sym);
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
