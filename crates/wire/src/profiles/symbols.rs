//! Symbols: texts, frames, stacks and labels of one service, each once.
//!
//! ```text
//! texts    count │ shared u, rest u, bytes      sorted; each says how many bytes it shares with the one before it
//! frames   count │ module i, file i, line i, function i, address i, inlined u      sorted; differences, zigzag
//! stacks   count │ up u, frame u                from the first one on: its caller is `up` places before it (0: nobody)
//! labels   count │ pairs u │ name u, kind u (0 text, 1 number), text u │ number i, unit u
//! ```
//!
//! The empty text, the empty stack and the empty set of labels are entry 0 of their tables and not written; neither is a
//! frame's number changed by sorting visible outside: stacks say the sorted one. All numbers are varints, `i` zigzag ones.

use homeostat_model::profile::{Frame, LabelValue, Profile, Stack, Text};

use crate::{
    series::{Malformed, reader::Reader},
    varint::{put, zigzag},
};

const TEXT: u64 = 0;
const NUMBER: u64 = 1;

/// Writes the tables of a profile; its rows do not matter.
pub fn encode_symbols(symbols: &Profile) -> Vec<u8> {
    let mut out = Vec::new();
    let texts = put_texts(symbols, &mut out);
    let text = |id: Text| texts.get(id.index()).copied().unwrap_or(0);
    let frames = put_frames(symbols, &text, &mut out);
    put(symbols.stacks().iter().len() as u64, &mut out);
    for stack in symbols.stacks().iter() {
        let parent = symbols.stacks().parent(stack);
        let up = if parent == Stack::EMPTY { 0 } else { stack.index() - parent.index() };
        put(up as u64, &mut out);
        let frame = symbols.stacks().frame_index(stack).and_then(|index| frames.get(index)).copied();
        put(frame.unwrap_or(0), &mut out);
    }
    put(symbols.label_sets().len() as u64 - 1, &mut out);
    for (_, labels) in symbols.label_sets().skip(1) {
        put(labels.len() as u64, &mut out);
        for (name, value) in labels {
            put(text(*name), &mut out);
            match value {
                LabelValue::Text(value) => [TEXT, text(*value)].map(|number| put(number, &mut out)),
                LabelValue::Number { value, unit } => {
                    put(NUMBER, &mut out);
                    [zigzag(*value), text(*unit)].map(|number| put(number, &mut out))
                }
            };
        }
    }
    out
}

/// What the tables of a profile take at most, as [`encode_symbols`] writes them and as their texts are long: each number has
/// five bytes at most where it counts entries, ten where it is anything else. Below [`super::PART_BYTES_MAX`] they can be read
/// again.
pub fn symbols_bytes_max(symbols: &Profile) -> usize {
    let (stacks, strings) = (symbols.stacks(), symbols.strings());
    let texts = strings.bytes() + 10 * strings.len();
    let labels = 5 * symbols.label_sets().len() + 21 * symbols.label_pairs();
    texts + 31 * stacks.frames().len() + 10 * stacks.len() + labels + 20
}

/// Writes all texts, sorted; gives the new number of each.
fn put_texts(symbols: &Profile, out: &mut Vec<u8>) -> Vec<u64> {
    let mut sorted: Vec<(&str, usize)> = symbols.strings().iter().enumerate().map(|(id, text)| (text, id)).collect();
    sorted.sort_unstable();
    put(sorted.len() as u64 - 1, out);
    let mut numbers = vec![0; sorted.len()];
    let mut before = "";
    for (number, (text, id)) in sorted.into_iter().enumerate() {
        if let Some(slot) = numbers.get_mut(id) {
            *slot = number as u64;
        }
        // The empty text sorts first.
        if number == 0 {
            continue;
        }
        let shared = text.bytes().zip(before.bytes()).take_while(|(a, b)| a == b).count();
        put(shared as u64, out);
        put((text.len() - shared) as u64, out);
        out.extend_from_slice(text.as_bytes().get(shared..).unwrap_or_default());
        before = text;
    }
    numbers
}

/// Writes all frames, sorted; gives the new number of each.
fn put_frames(symbols: &Profile, text: &impl Fn(Text) -> u64, out: &mut Vec<u8>) -> Vec<u64> {
    let fields = |frame: &Frame| {
        let (module, file, function) = (text(frame.module), text(frame.file), text(frame.function));
        [module, file, u64::from(frame.line), function, frame.address, u64::from(frame.inlined)]
    };
    let frames = symbols.stacks().frames();
    let mut sorted: Vec<([u64; 6], usize)> =
        frames.iter().enumerate().map(|(index, frame)| (fields(frame), index)).collect();
    sorted.sort_unstable();
    put(sorted.len() as u64, out);
    let mut numbers = vec![0; sorted.len()];
    let mut before = [0_u64; 6];
    for (number, (fields, index)) in sorted.into_iter().enumerate() {
        if let Some(slot) = numbers.get_mut(index) {
            *slot = number as u64;
        }
        for (field, before) in fields.iter().zip(before) {
            put(zigzag(field.wrapping_sub(before) as i64), out);
        }
        before = fields;
    }
    numbers
}

/// Reads tables into a profile without rows. Numbers of stacks and labels are the places in these tables; a table that has
/// an entry twice is refused, for its numbers would be others.
pub fn decode_symbols(bytes: &[u8]) -> Result<Profile, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut symbols = Profile::new(Vec::new());
    let texts = read_texts(&mut reader, &mut symbols)?;
    let frames = read_frames(&mut reader, &texts)?;
    let count = reader.count()?;
    for index in 1..=count {
        let wrong = reader.error("a stack that is none");
        let up = reader.number()?;
        let parent = if up == 0 { Some(0) } else { (index as u64).checked_sub(up).filter(|parent| 0 < *parent) };
        let parent = parent.and_then(|parent| symbols.stacks().at(parent as usize)).ok_or(wrong)?;
        let frame = *entry(&frames, reader.number()?).ok_or(wrong)?;
        if symbols.push_frame(parent, frame).index() != index {
            return Err(reader.error("a stack twice"));
        }
    }
    let count = reader.count()?;
    for index in 1..=count {
        let pairs = reader.count()?;
        let mut labels = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            labels.push(read_label(&mut reader, &texts)?);
        }
        if symbols.intern_labels(labels).index() != index {
            return Err(reader.error("labels twice"));
        }
    }
    reader.end()?;
    Ok(symbols)
}

fn entry<T>(table: &[T], id: u64) -> Option<&T> {
    table.get(usize::try_from(id).ok()?)
}

fn read_texts(reader: &mut Reader<'_>, symbols: &mut Profile) -> Result<Vec<Text>, Malformed> {
    let count = reader.count()?;
    let mut texts = Vec::with_capacity(count + 1);
    texts.push(Text::EMPTY);
    let mut before = Vec::new();
    // Texts share beginnings, so they may be longer together than the bytes that hold them.
    let mut room = super::PART_BYTES_MAX;
    for _ in 0..count {
        let wrong = reader.error("a text that is none");
        let shared = reader.number()?;
        let shared = usize::try_from(shared).ok().filter(|shared| *shared <= before.len()).ok_or(wrong)?;
        let rest = usize::try_from(reader.number()?).map_err(|_| wrong)?;
        let rest = reader.bytes(rest)?;
        let follows = before.get(shared..).is_some_and(|before: &[u8]| before < rest);
        before.truncate(shared);
        before.extend_from_slice(rest);
        room = room.checked_sub(before.len()).ok_or(reader.error("texts that are too long together"))?;
        let text = std::str::from_utf8(&before).map_err(|_| wrong)?;
        if !follows {
            return Err(wrong);
        }
        texts.push(symbols.intern(text));
    }
    Ok(texts)
}

fn read_frames(reader: &mut Reader<'_>, texts: &[Text]) -> Result<Vec<Frame>, Malformed> {
    let count = reader.count()?;
    let mut frames = Vec::with_capacity(count);
    let mut fields = [0_u64; 6];
    for index in 0..count {
        let wrong = reader.error("a frame that is none");
        let before = fields;
        for field in &mut fields {
            *field = field.wrapping_add(reader.signed()? as u64);
        }
        if 0 < index && fields <= before {
            return Err(wrong);
        }
        let [module, file, line, function, address, inlined] = fields;
        let text = |id: u64| entry(texts, id).copied().ok_or(wrong);
        let (line, inlined) = (u32::try_from(line).ok(), (inlined <= 1).then_some(inlined == 1));
        frames.push(Frame {
            function: text(function)?,
            file: text(file)?,
            line: line.ok_or(wrong)?,
            module: text(module)?,
            address,
            inlined: inlined.ok_or(wrong)?,
        });
    }
    Ok(frames)
}

fn read_label(reader: &mut Reader<'_>, texts: &[Text]) -> Result<(Text, LabelValue), Malformed> {
    let wrong = reader.error("a label that is none");
    let text = |id: u64| entry(texts, id).copied().ok_or(wrong);
    let name = text(reader.number()?)?;
    let value = match reader.number()? {
        TEXT => LabelValue::Text(text(reader.number()?)?),
        NUMBER => LabelValue::Number { value: reader.signed()?, unit: text(reader.number()?)? },
        _ => return Err(wrong),
    };
    Ok((name, value))
}
