//! Files that programs were loaded from, each once, with what is known about their addresses.
//!
//! A file is opened when a process that mapped it is first seen and stays open, so that it may be deleted or the process may
//! end before anybody asks for names.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs::File,
    os::fd::AsRawFd as _,
    path::PathBuf,
    sync::Arc,
};

use homeostat_gosym::{ReadAt as _, Symbols, TABLE_SECTIONS, elf::Elf};

use crate::{
    file_bytes::FileBytes,
    memory_map::Mapping,
    native_symbols::{Detail, NativeSymbols},
    unwind_tables::UnwindTables,
};

/// One function at an address, named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedFrame {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) inlined: bool,
}

/// A file of programs.
#[derive(Debug)]
pub(crate) struct Module {
    /// As the process named it.
    pub(crate) path: String,
    pub(crate) elf: Elf,
    bytes: FileBytes,
    /// For Go programs.
    go: Option<Symbols<FileBytes>>,
    known: HashMap<u64, Arc<[ResolvedFrame]>>,
    /// Once somebody has asked for them.
    tables: Option<UnwindTables>,
    /// How much is told of its functions; decided when one is first asked for.
    detail: Option<Detail>,
}

impl Module {
    fn open(pid: u32, mapping: &Mapping) -> Option<Self> {
        let bytes = FileBytes::new(open(pid, mapping)?);
        let elf = Elf::read(&bytes).ok()?;
        let has_go_table = TABLE_SECTIONS.iter().any(|name| elf.section(name).is_some());
        // A file without sections may be anything; what searches it is bounded.
        let go = (has_go_table || elf.sections.is_empty())
            .then(|| Symbols::open(FileBytes::new(bytes.file().try_clone().ok()?)).ok())
            .flatten();
        Some(Self { path: mapping.path.clone(), elf, bytes, go, known: HashMap::new(), tables: None, detail: None })
    }

    /// Whether it was written in Go, whose code keeps frame pointers.
    pub(crate) fn is_go(&self) -> bool {
        self.go.is_some()
    }

    /// The build id in hexadecimal; empty when it has none.
    pub(crate) fn build_id(&self) -> String {
        let mut text = String::new();
        for byte in self.elf.build_id(&self.bytes).unwrap_or_default() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// The functions at an address of the file, innermost first.
    pub(crate) fn frames(&mut self, address: u64, native: &NativeSymbols) -> Arc<[ResolvedFrame]> {
        if let Some(known) = self.known.get(&address) {
            return Arc::clone(known);
        }
        let frames: Arc<[ResolvedFrame]> = self.resolve(address, native).into();
        if KNOWN_MAX <= self.known.len() {
            self.known.clear();
        }
        self.known.insert(address, Arc::clone(&frames));
        frames
    }

    /// Whether the function at an address has put nothing on the stack, so that its return address lies on top.
    pub(crate) fn returns_to_top(&self, address: u64) -> bool {
        self.go.as_ref().is_some_and(|go| go.stack_bytes(address) == Some(0))
    }

    fn resolve(&mut self, address: u64, native: &NativeSymbols) -> Vec<ResolvedFrame> {
        // Go's own tables first: a nearest symbol of a linked C library would be confident nonsense.
        let frames: Vec<_> = self
            .go
            .iter()
            .flat_map(|go| go.frames(address))
            .map(|frame| ResolvedFrame {
                function: frame.function.into_owned(),
                file: frame.file.into_owned(),
                line: frame.line,
                inlined: frame.inlined,
            })
            .collect();
        if frames.is_empty() {
            let path = PathBuf::from(format!("/proc/self/fd/{}", self.bytes.file().as_raw_fd()));
            let detail =
                *self.detail.get_or_insert_with(|| native.admit(self.bytes.len_bytes(), symbol_bytes(&self.elf)));
            return native.frames(&path, address, detail);
        }
        frames
    }
}

/// Addresses of one file of which the names are kept at hand; beyond it they are looked up anew. A large program has some thousand
/// in a profile; 65,536 of some 250 bytes are 16 MiB.
const KNOWN_MAX: usize = 1 << 16;

/// Bytes of the symbol tables of a file, and of the names in them.
fn symbol_bytes(elf: &Elf) -> u64 {
    let tables = [".symtab", ".strtab", ".dynsym", ".dynstr"];
    tables.iter().filter_map(|name| elf.section(name)).fold(0, |sum, table| sum.saturating_add(table.len_bytes))
}

/// The very file that is mapped, even when another one has its name by now or when it has none; else whatever has its
/// name in the process' own view of files.
fn open(pid: u32, mapping: &Mapping) -> Option<File> {
    if mapping.file.1 == 0 {
        return None;
    }
    let mapped = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end);
    File::open(mapped).or_else(|_| File::open(format!("/proc/{pid}/root{}", mapping.path))).ok()
}

/// Number of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ModuleId(usize);

/// All files that were seen.
#[derive(Debug)]
pub(crate) struct Modules {
    list: Vec<Module>,
    /// Bytes of unwind tables that may still be kept.
    table_bytes_left: u64,
    /// By number of the file; files that are no programs are remembered too.
    by_file: BTreeMap<(u64, u64), Option<ModuleId>>,
    /// Copies of one file, as containers have them, are one.
    by_build_id: BTreeMap<String, ModuleId>,
}

/// Bytes of unwind tables and code of all files together: those of some hundred programs and libraries of 1 MiB each.
/// What comes later is walked by frame pointers.
const TABLE_BYTES_MAX: u64 = 256 << 20;

impl Default for Modules {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            table_bytes_left: TABLE_BYTES_MAX,
            by_file: BTreeMap::new(),
            by_build_id: BTreeMap::new(),
        }
    }
}

impl Modules {
    /// Files that are kept open. Whole machines have some hundred; what comes later stays without names.
    const MODULES_MAX: usize = 4096;

    /// The module of a mapping, opened when it is new.
    pub(crate) fn of(&mut self, pid: u32, mapping: &Mapping) -> Option<ModuleId> {
        if let Some(known) = self.by_file.get(&mapping.file) {
            return *known;
        }
        let id = self.open(pid, mapping);
        self.by_file.insert(mapping.file, id);
        id
    }

    fn open(&mut self, pid: u32, mapping: &Mapping) -> Option<ModuleId> {
        if Self::MODULES_MAX <= self.list.len() {
            return None;
        }
        let module = Module::open(pid, mapping)?;
        let build_id = module.build_id();
        if let Some(same) = self.by_build_id.get(&build_id) {
            return Some(*same);
        }
        let id = ModuleId(self.list.len());
        if !build_id.is_empty() {
            self.by_build_id.insert(build_id, id);
        }
        self.list.push(module);
        Some(id)
    }

    pub(crate) fn get(&self, id: ModuleId) -> Option<&Module> {
        self.list.get(id.0)
    }

    pub(crate) fn get_mut(&mut self, id: ModuleId) -> Option<&mut Module> {
        self.list.get_mut(id.0)
    }

    /// What unwinding needs of a module: read once, then shared.
    pub(crate) fn tables(&mut self, id: ModuleId) -> Option<UnwindTables> {
        let module = self.list.get_mut(id.0)?;
        let (elf, bytes, left) = (&module.elf, &module.bytes, &mut self.table_bytes_left);
        Some(module.tables.get_or_insert_with(|| UnwindTables::read(elf, bytes, left)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    /// This very program, and the modules that it has mapped.
    fn own() -> (Modules, ModuleId) {
        let mut modules = Modules::default();
        let process = Process::look(std::process::id(), &mut modules);
        let own = process.place(own as *const () as u64).unwrap();
        (modules, own.module.unwrap())
    }

    #[test]
    fn unwind_tables_of_a_file_are_read_once() {
        let (mut modules, id) = own();
        let first = modules.tables(id).unwrap().sections();
        let left = modules.table_bytes_left;
        let taken = first.text.as_ref().unwrap().len() + first.eh_frame.as_ref().unwrap().len();
        assert!(taken as u64 <= TABLE_BYTES_MAX - left, "{taken} bytes are counted");
        let second = modules.tables(id).unwrap().sections();
        assert!(Arc::ptr_eq(first.text.as_ref().unwrap(), second.text.as_ref().unwrap()));
        assert_eq!(modules.table_bytes_left, left);
    }

    #[test]
    fn tables_beyond_the_limit_are_left_out() {
        let (mut modules, id) = own();
        modules.table_bytes_left = 1000;
        let sections = modules.tables(id).unwrap().sections();
        assert!(sections.text.is_none() && sections.eh_frame.is_none());
        assert!(sections.text_svma.is_some(), "where it is stays known");
    }
}
