//! What a place in a program is as frames, in pprof and in OpenTelemetry's profiles alike.

use homeostat_model::profile::{Frame, Text};

use super::Mapping;

/// A place in a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The file it is in.
    pub(crate) module: Text,
    /// Where in that file.
    pub(crate) address: u64,
    /// Function and line, innermost first: all but the last are inlined into their successor.
    pub(crate) lines: &'a [(u64, u64)],
}

impl Mapping {
    /// Where in its file an address in memory is.
    pub(crate) fn place_of(&self, address: u64) -> u64 {
        address.wrapping_sub(self.start).wrapping_add(self.file_offset)
    }
}

/// Appends the frames of a place, from the outermost inwards: one at least. `named` gives name and file of a function; one
/// without a name is known by its address.
pub(crate) fn push_place<E>(
    Place { module, address, lines }: Place<'_>,
    mut named: impl FnMut(u64) -> Result<(Text, Text), E>,
    frames: &mut Vec<Frame>,
) -> Result<(), E> {
    let unknown = Frame { function: Text::EMPTY, file: Text::EMPTY, line: 0, module, address, inlined: false };
    if lines.is_empty() {
        frames.push(unknown);
    }
    for (index, (function, line)) in lines.iter().enumerate().rev() {
        let (name, file) = named(*function)?;
        let inlined = index + 1 < lines.len();
        if name == Text::EMPTY {
            // Which of several functions the address belongs to, nobody knows.
            let address = if lines.len() == 1 { address } else { 0 };
            frames.push(Frame { inlined, address, ..unknown });
            continue;
        }
        let line = u32::try_from(*line).unwrap_or(0);
        frames.push(Frame { function: name, file, line, module, address: 0, inlined });
    }
    Ok(())
}
