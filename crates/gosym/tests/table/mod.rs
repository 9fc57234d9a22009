//! A tiny Go program of any layout: `main.main`, into which `main.inner` was inlined, and `main.last`.

use homeostat_gosym::Layout;

/// Where its code is.
pub(crate) const TEXT: u64 = 0x40_1000;
const DATA: u64 = 0x50_0000;
/// Where the data begins in the file; nothing is said about the code's bytes.
const DATA_AT: usize = 0x200;

/// What may vary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) layout: Layout,
    pub(crate) has_sections: bool,
    pub(crate) has_record: bool,
    /// Where code begins, as the header says it.
    pub(crate) stated_text: u64,
    /// Words before the fields of the record that are looked for.
    pub(crate) words_between: usize,
    /// Distance at which the inlined call says it was called.
    pub(crate) caller: u32,
    /// Starts of the two functions, and the end.
    pub(crate) starts: [u64; 3],
}

impl Program {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            has_sections: true,
            has_record: true,
            stated_text: 0,
            words_between: 3,
            caller: 0x0f,
            starts: [0, 0x40, 0x60],
        }
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let table = self.table();
        let mut data = table.clone();
        data.resize(data.len().next_multiple_of(8), 0);
        let tree_address = DATA + data.len() as u64;
        data.extend(self.tree());
        data.resize(data.len().next_multiple_of(8), 0);
        if self.has_record {
            let mut words = vec![DATA];
            words.extend((0..self.words_between as u64).map(|word| word * 3));
            words.extend([TEXT + self.starts[0], TEXT + self.starts[2], TEXT, TEXT + 0x1000, 7, tree_address, 1, 1]);
            data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
        self.file(&table, &data)
    }

    fn file(&self, table: &[u8], data: &[u8]) -> Vec<u8> {
        let names = b"\0.gopclntab\0.shstrtab\0";
        let (names_at, sections_at) = (DATA_AT + data.len(), DATA_AT + data.len() + names.len());
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        put16(&mut file, &[2, 62]);
        put32(&mut file, &[1]);
        put64(&mut file, &[TEXT, 64, if self.has_sections { sections_at as u64 } else { 0 }]);
        put32(&mut file, &[0]);
        let sections = u16::from(self.has_sections);
        put16(&mut file, &[64, 56, 2, 64 * sections, 3 * sections, 2 * sections]);
        // Code has no bytes in the file; the data may be written.
        put32(&mut file, &[1, 5]);
        put64(&mut file, &[0, TEXT, TEXT, 0, 0x1000, 0x1000]);
        put32(&mut file, &[1, 6]);
        put64(&mut file, &[DATA_AT as u64, DATA, DATA, data.len() as u64, data.len() as u64, 0x1000]);
        file.resize(DATA_AT, 0);
        file.extend(data);
        file.extend(names);
        if self.has_sections {
            for (name, kind, address, at, len) in
                [(0, 0, 0, 0, 0), (1, 1, DATA, DATA_AT, table.len()), (12, 3, 0, names_at, names.len())]
            {
                put32(&mut file, &[name, kind]);
                put64(&mut file, &[2, address, at as u64, len as u64]);
                put32(&mut file, &[0, 0]);
                put64(&mut file, &[1, 0]);
            }
        }
        file
    }

    fn table(&self) -> Vec<u8> {
        let is_absolute = self.layout <= Layout::Go1_16;
        let names = b"main.main\0main.inner\0main.last\0";
        let files = b"/src/main.go\0/src/inner.go\0";
        let mut values = vec![0];
        let mut list = |steps: &[(i32, u32)]| {
            let at = values.len() as u32;
            put_list(&mut values, steps);
            at
        };
        // Line 5, then 6 where the call is, then what was inlined, then 7.
        let main_lines = list(&[(5, 0x0f), (6, 1), (100, 0x10), (7, 0x20)]);
        // Files of a unit are counted from 0 since Go 1.16, from 1 before.
        let first = i32::from(self.layout == Layout::Go1_2);
        let main_files = list(&[(first, 0x10), (first + 1, 0x10), (first, 0x20)]);
        let main_inlines = list(&[(-1, 0x10), (0, 0x10), (-1, 0x20)]);
        let last_lines = list(&[(9, 0x20)]);
        let last_files = list(&[(first + 1, 0x20)]);

        let mut header = match self.layout {
            Layout::Go1_2 => 0xffff_fffb_u32,
            Layout::Go1_16 => 0xffff_fffa,
            Layout::Go1_18 => 0xffff_fff0,
            Layout::Go1_20 => 0xffff_fff1,
        }
        .to_le_bytes()
        .to_vec();
        header.extend([0, 0, 1, 8]);
        put64(&mut header, &[2]);
        if self.layout == Layout::Go1_2 {
            return self.go1_2(header, names, files, &values, [main_lines, main_files, last_lines, last_files]);
        }
        put64(&mut header, &[2]);
        if !is_absolute {
            put64(&mut header, &[self.stated_text]);
        }
        let parts_at = header.len() + 5 * 8;
        let mut units = Vec::new();
        put32(&mut units, &[0, 13]);
        let mut at = parts_at as u64;
        for part in [names.len(), units.len(), files.len(), values.len()] {
            put64(&mut header, &[at]);
            at += part as u64;
        }
        put64(&mut header, &[at]);
        let mut table = header;
        for part in [&names[..], &units, files, &values] {
            table.extend(part);
        }
        let list_bytes = if is_absolute { 40 } else { 20 };
        let main = self.record(0, 0, [main_files, main_lines, main_inlines]);
        let last = self.record(1, 21, [last_files, last_lines, 0]);
        let places = [list_bytes, list_bytes + main.len() as u64];
        for (start, place) in
            [(self.starts[0], Some(places[0])), (self.starts[1], Some(places[1])), (self.starts[2], None)]
        {
            if is_absolute {
                put64(&mut table, &[TEXT + start]);
                put64(&mut table, &place.map_or(vec![], |place| vec![place]));
            } else {
                put32(&mut table, &[start as u32]);
                put32(&mut table, &place.map_or(vec![], |place| vec![place as u32]));
            }
        }
        table.extend(main);
        table.extend(last);
        table
    }

    fn record(&self, index: usize, name: u32, [files, lines, inlines]: [u32; 3]) -> Vec<u8> {
        let mut record = Vec::new();
        if self.layout <= Layout::Go1_16 {
            put64(&mut record, &[TEXT + self.starts[index]]);
        } else {
            put32(&mut record, &[self.starts[index] as u32]);
        }
        // Name, arguments, deferred return, stack, files, lines, number of lists, unit.
        put32(&mut record, &[name, 0, 0, 0, files, lines, 3, 0]);
        if self.layout == Layout::Go1_20 {
            put32(&mut record, &[1]);
        }
        record.extend([0, 0, 0, 4]);
        let tree = if inlines == 0 { u32::MAX } else { 0 };
        put32(&mut record, &[0, 0, inlines, u32::MAX, u32::MAX, u32::MAX, tree]);
        record
    }

    fn tree(&self) -> Vec<u8> {
        let mut tree = Vec::new();
        if self.layout == Layout::Go1_20 {
            put32(&mut tree, &[0, 10, self.caller, 1]);
        } else {
            put32(&mut tree, &[0xffff, 1, 6, 10, self.caller]);
        }
        tree
    }

    /// All offsets count from the table's beginning; files have a table of their own, counted from 1.
    fn go1_2(&self, header: Vec<u8>, names: &[u8], files: &[u8], values: &[u8], lists: [u32; 4]) -> Vec<u8> {
        let [main_lines, main_files, last_lines, last_files] = lists;
        let records_at = header.len() as u32 + 5 * 8 + 8;
        let record_bytes = 8 + 8 * 4;
        let names_at = records_at + 2 * record_bytes;
        let files_at = names_at + names.len() as u32;
        let values_at = files_at + files.len() as u32;
        let file_table_at = values_at + values.len() as u32;
        let mut table = header;
        put64(&mut table, &[TEXT + self.starts[0], u64::from(records_at)]);
        put64(&mut table, &[TEXT + self.starts[1], u64::from(records_at + record_bytes)]);
        put64(&mut table, &[TEXT + self.starts[2]]);
        put32(&mut table, &[file_table_at, 0]);
        for (start, name, files, lines) in
            [(self.starts[0], 0, main_files, main_lines), (self.starts[1], 21, last_files, last_lines)]
        {
            put64(&mut table, &[TEXT + start]);
            put32(&mut table, &[names_at + name, 0, 0, 0, values_at + files, values_at + lines, 0, 0]);
        }
        table.extend(names);
        table.extend(files);
        table.extend(values);
        put32(&mut table, &[3, files_at, files_at + 13]);
        table
    }
}

fn put16(out: &mut Vec<u8>, values: &[u16]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put64(out: &mut Vec<u8>, values: &[u64]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Values with how far each holds.
fn put_list(out: &mut Vec<u8>, steps: &[(i32, u32)]) {
    let mut before = -1;
    for (value, len) in steps {
        let change = value - before;
        before = *value;
        for mut number in [((change << 1) ^ (change >> 31)) as u32, *len] {
            while 0x80 <= number {
                out.push(number as u8 | 0x80);
                number >>= 7;
            }
            out.push(number as u8);
        }
    }
    out.push(0);
}
