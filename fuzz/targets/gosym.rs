//! Any file may be offered as a Go program.
#![no_main]

use homeostat_gosym::Symbols;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let Ok(symbols) = Symbols::open(file) else { return };
    let known: Vec<u64> = symbols.functions().take(64).flat_map(|function| [function.start, function.end]).collect();
    for address in known.into_iter().chain([0, 0x40_1014, u64::MAX]) {
        let _ = symbols.frames(address);
        let _ = symbols.stack_bytes(address);
    }
    for function in symbols.functions().take(64) {
        let _ = symbols.probe_site(&function);
    }
    let _ = symbols.elf().build_id(symbols.source());
    let _ = symbols.go_version();
    let _ = symbols.goroutine_lists();
});
