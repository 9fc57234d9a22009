//! Tables of all layouts, written here: those of Go versions that are not at hand, and damaged ones.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod table;

use homeostat_gosym::{Layout, Symbols};
use proptest::prelude::*;
use table::{Program, TEXT};

const LAYOUTS: [Layout; 4] = [Layout::Go1_2, Layout::Go1_16, Layout::Go1_18, Layout::Go1_20];

fn told(bytes: &[u8], address: u64) -> Vec<(String, String, u32, bool)> {
    let symbols = Symbols::open(bytes).expect("a table that is right");
    let frames = symbols.frames(address);
    frames.iter().map(|frame| (frame.function.to_string(), frame.file.to_string(), frame.line, frame.inlined)).collect()
}

fn frame(function: &str, file: &str, line: u32, inlined: bool) -> (String, String, u32, bool) {
    (function.to_owned(), file.to_owned(), line, inlined)
}

#[test]
fn every_layout_gives_functions_files_and_lines() {
    for layout in LAYOUTS {
        let program = Program::new(layout).build();
        assert_eq!(Symbols::open(&*program).expect("a table").layout(), layout);
        assert_eq!(told(&program, TEXT), [frame("main.main", "/src/main.go", 5, false)], "{layout:?}");
        assert_eq!(told(&program, TEXT + 0x45), [frame("main.last", "/src/inner.go", 9, false)], "{layout:?}");
        assert_eq!(told(&program, TEXT + 0x60), [], "behind the last function");
        assert_eq!(told(&program, TEXT - 1), [], "before the first function");
    }
}

#[test]
fn inlined_calls_come_before_their_callers() {
    for layout in [Layout::Go1_18, Layout::Go1_20] {
        let inner = [frame("main.inner", "/src/inner.go", 100, true), frame("main.main", "/src/main.go", 6, false)];
        assert_eq!(told(&Program::new(layout).build(), TEXT + 0x14), inner, "{layout:?}");
    }
    let older = told(&Program::new(Layout::Go1_16).build(), TEXT + 0x14);
    assert_eq!(older, [frame("main.main", "/src/inner.go", 100, false)], "the place is told, the call is not");
}

#[test]
fn where_fields_are_does_not_matter_since_they_are_known_by_value() {
    for words_between in [0, 1, 17] {
        for stated_text in [0, TEXT] {
            let program = Program { stated_text, words_between, ..Program::new(Layout::Go1_20) }.build();
            assert_eq!(told(&program, TEXT + 0x14).len(), 2, "{words_between} {stated_text:x}");
        }
    }
}

#[test]
fn without_sections_the_table_is_searched() {
    for layout in LAYOUTS {
        let program = Program { has_sections: false, ..Program::new(layout) }.build();
        assert_eq!(told(&program, TEXT), [frame("main.main", "/src/main.go", 5, false)], "{layout:?}");
    }
}

#[test]
fn without_the_runtimes_record_the_header_may_say_where_code_begins() {
    let without = Program { has_record: false, ..Program::new(Layout::Go1_18) };
    assert_eq!(told(&Program { stated_text: TEXT, ..without }.build(), TEXT + 0x14).len(), 1, "no inlined calls then");
    let error = Symbols::open(Program { stated_text: 0, ..without }.build()).expect_err("nobody says it");
    assert_eq!(error.to_string(), "it has a Go table of functions, but where its code begins is not to be found");
}

#[test]
fn a_tree_that_goes_in_circles_ends() {
    let program = Program { caller: 0x14, ..Program::new(Layout::Go1_20) }.build();
    let frames = told(&program, TEXT + 0x14);
    assert!(100 < frames.len() && frames.len() < 200, "{} frames", frames.len());
}

#[test]
fn functions_out_of_order_are_no_table() {
    let mut program = Program::new(Layout::Go1_20);
    program.starts = [0x40, 0, 0x60];
    assert!(Symbols::open(program.build()).is_err());
}

/// Asks about many addresses: whatever comes out, it must come out.
fn explore(bytes: &[u8]) {
    let Ok(symbols) = Symbols::open(bytes) else { return };
    for address in (TEXT - 8..TEXT + 0x80).step_by(3).chain([0, u64::MAX]) {
        let _ = symbols.frames(address);
    }
    for function in symbols.functions().take(100) {
        let _ = symbols.probe_site(&function);
    }
    let _ = symbols.elf().build_id(symbols.source());
}

proptest! {
    #[test]
    fn damage_never_panics(
        layout in 0_usize..4,
        has_sections: bool,
        damage in proptest::collection::vec((0_usize..4096, any::<u8>()), 1..8),
    ) {
        let mut bytes = Program { has_sections, ..Program::new(LAYOUTS[layout]) }.build();
        for (at, value) in damage {
            let len = bytes.len();
            bytes[at % len] = value;
        }
        explore(&bytes);
    }

    #[test]
    fn a_file_that_is_cut_off_never_panics(layout in 0_usize..4, len in 0_usize..4096) {
        let bytes = Program::new(LAYOUTS[layout]).build();
        explore(&bytes[..len.min(bytes.len())]);
    }
}
