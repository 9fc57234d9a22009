//! Frames of one direction, out of the pieces of it that are told.
//!
//! A frame says how long it is, so that what nobody asks for is stepped over, seen or not. Between two pieces of which the numbers
//! follow each other lie such frames only, bodies above all: whoever takes the pieces knows where frames begin. When a number is
//! missing, or a piece does not fit what was said before it, the direction is lost until a piece begins with a frame.
//!
//! Source: RFC 9113, sections 4.1 (frames) and 6 (kinds).

use super::hpack::{Field, Table};
use crate::Event;

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a head's block that are kept.
const BLOCK_BYTES_MAX: usize = 16 << 10;
const HEAD_BYTES: usize = 9;
/// Frames that everybody takes.
const FRAME_BYTES_MAX: u32 = 16 << 10;

/// What matters of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A head, or what comes behind a body, with what is known of its fields.
    Head { stream: u32, fields: Vec<Field>, is_last: bool },
    /// The last of a body.
    LastData { stream: u32 },
    /// A stream was broken off.
    Reset { stream: u32 },
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    table: Table,
    state: State,
    /// Bytes of the direction that were gone through; `None` before the first piece.
    seen: Option<u64>,
    next_sequence: Option<u32>,
    /// A head that goes on in the next frame.
    open: Option<Block>,
}

#[derive(Debug, Default)]
enum State {
    /// A message has to begin with a frame, or with the preface.
    #[default]
    Lost,
    /// Bytes of the next frame's head.
    Head(Vec<u8>),
    /// Bytes that nobody asks for.
    Skip(u64),
    /// Bytes of a block, and how many are to come.
    Block(Block, u64),
}

/// Fields as they came.
#[derive(Debug)]
struct Block {
    stream: u32,
    flags: u8,
    is_padded: bool,
    /// Bytes before the fields that say something else.
    prefix: usize,
    is_last: bool,
    /// A head that the other side is promised: its fields are counted, and nobody asked.
    is_promise: bool,
    bytes: Vec<u8>,
    /// Those of frames that are whole.
    fields: Vec<u8>,
}

impl Frames {
    /// Goes through a piece; what matters is added to `found`. Says whether something was lost before it or in it.
    pub(crate) fn take(&mut self, event: &Event<'_>, found: &mut Vec<Frame>) -> bool {
        let Event { offset, length, sequence, bytes, .. } = *event;
        let is_begun = self.is_begun_by(bytes);
        let follows = self.next_sequence.is_none_or(|next| next == sequence) && self.reaches(offset);
        self.next_sequence = Some(sequence.wrapping_add(1));
        self.seen = offset.checked_add(u64::from(length));
        if !follows {
            self.lose();
        }
        let taken = bytes.len() as u64;
        let bytes = bytes.strip_prefix(PREFACE).filter(|_| is_begun).unwrap_or(bytes);
        if let State::Lost = self.state {
            if !bytes.is_empty() && !is_frame(bytes) {
                return !follows;
            }
            self.state = State::Head(Vec::new());
        }
        let is_whole = self.walk(bytes, found) && self.step_over(u64::from(length).saturating_sub(taken));
        if !is_whole {
            self.lose();
        }
        !follows || !is_whole
    }

    /// Whether a piece is what a client says first. Later on the same bytes are something else.
    pub(crate) fn is_begun_by(&self, bytes: &[u8]) -> bool {
        self.seen.is_none() && bytes.starts_with(PREFACE)
    }

    /// The number that the next piece would have.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.next_sequence.unwrap_or(0)
    }

    /// Steps over what was not told before a piece; says whether that may be left out.
    fn reaches(&mut self, offset: u64) -> bool {
        let Some(untold) = self.seen.map_or(Some(0), |seen| offset.checked_sub(seen)) else { return false };
        match &self.state {
            _ if untold == 0 => true,
            State::Lost => true,
            State::Head(begun) => begun.is_empty() && self.open.is_none(),
            State::Skip(left) if *left <= untold => {
                self.state = State::Head(Vec::new());
                self.open.is_none()
            }
            State::Skip(_) | State::Block(..) => false,
        }
    }

    /// Nothing is known any more of what comes.
    pub(crate) fn lose(&mut self) {
        (self.state, self.open) = (State::Lost, None);
        self.table.forget();
    }

    /// Goes through bytes that are there; says whether they are frames.
    fn walk(&mut self, mut bytes: &[u8], found: &mut Vec<Frame>) -> bool {
        while !bytes.is_empty() {
            match std::mem::take(&mut self.state) {
                State::Lost => return false,
                State::Skip(left) => {
                    let now = left.min(bytes.len() as u64);
                    bytes = bytes.get(now as usize..).unwrap_or_default();
                    self.state = if now == left { State::Head(Vec::new()) } else { State::Skip(left - now) };
                }
                State::Head(mut head) => {
                    let (now, rest) = bytes.split_at((HEAD_BYTES - head.len()).min(bytes.len()));
                    head.extend_from_slice(now);
                    bytes = rest;
                    if head.len() < HEAD_BYTES {
                        self.state = State::Head(head);
                    } else if !self.begin(&head, found) {
                        return false;
                    }
                }
                State::Block(mut block, left) => {
                    let (now, rest) = bytes.split_at((left.min(bytes.len() as u64)) as usize);
                    block.bytes.extend_from_slice(now);
                    bytes = rest;
                    if (now.len() as u64) < left {
                        self.state = State::Block(block, left - now.len() as u64);
                    } else if !self.end(block, found) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Steps over bytes that are not there; says whether no frame begins among them.
    fn step_over(&mut self, missing: u64) -> bool {
        match &mut self.state {
            _ if missing == 0 => true,
            State::Skip(left) if missing <= *left => {
                *left -= missing;
                if *left == 0 {
                    self.state = State::Head(Vec::new());
                }
                true
            }
            _ => false,
        }
    }

    /// A frame begins; says whether it is one.
    fn begin(&mut self, head: &[u8], found: &mut Vec<Frame>) -> bool {
        let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = head else { return false };
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        // A head that goes on is not interrupted.
        if (9 < kind && FRAME_BYTES_MAX < length) || self.open.is_some() != (kind == 9) {
            return false;
        }
        let is_last = flags & 1 != 0;
        let skip = State::Skip(u64::from(length));
        self.state = match kind {
            0 => {
                if is_last {
                    found.push(Frame::LastData { stream });
                }
                skip
            }
            3 => {
                found.push(Frame::Reset { stream });
                skip
            }
            1 | 5 | 9 if length as usize > BLOCK_BYTES_MAX => return false,
            1 | 5 => {
                let is_promise = kind == 5;
                let prefix = if is_promise { 4 } else { 5 * usize::from(flags & 0x20 != 0) };
                let (is_padded, is_last) = (flags & 8 != 0, is_last && !is_promise);
                let (bytes, fields) = (Vec::new(), Vec::new());
                State::Block(
                    Block { stream, flags, is_padded, prefix, is_last, is_promise, bytes, fields },
                    u64::from(length),
                )
            }
            9 => {
                let Some(mut open) = self.open.take().filter(|open| open.stream == stream) else { return false };
                (open.flags, open.is_padded, open.prefix) = (flags, false, 0);
                State::Block(open, u64::from(length))
            }
            _ => skip,
        };
        self.settle(found)
    }

    /// A frame without bytes ends where it begins.
    fn settle(&mut self, found: &mut Vec<Frame>) -> bool {
        match std::mem::take(&mut self.state) {
            State::Skip(0) => self.state = State::Head(Vec::new()),
            State::Block(block, 0) => return self.end(block, found),
            state => self.state = state,
        }
        true
    }

    /// A frame of a block is whole; says whether it makes sense.
    fn end(&mut self, mut block: Block, found: &mut Vec<Frame>) -> bool {
        self.state = State::Head(Vec::new());
        let bytes = std::mem::take(&mut block.bytes);
        let (padding, bytes) = match bytes.split_first() {
            Some((padding, rest)) if block.is_padded => (usize::from(*padding), rest),
            _ => (0, bytes.as_slice()),
        };
        let end = bytes.len().checked_sub(padding);
        let Some(fields) = end.and_then(|end| bytes.get(block.prefix..end)) else { return false };
        block.fields.extend_from_slice(fields);
        if BLOCK_BYTES_MAX < block.fields.len() {
            return false;
        }
        if block.flags & 4 == 0 {
            self.open = Some(block);
            return true;
        }
        let Ok(fields) = self.table.read(&block.fields) else { return false };
        if !block.is_promise {
            found.push(Frame::Head { stream: block.stream, fields, is_last: block.is_last });
        }
        true
    }
}

/// Whether bytes begin with a frame that fits its kind: who joins late has to be sure.
pub(crate) fn is_frame(bytes: &[u8]) -> bool {
    let Some(&[l0, l1, l2, kind, _, s0, s1, s2, s3]) = bytes.first_chunk::<HEAD_BYTES>() else { return false };
    let (length, stream) = (u32::from_be_bytes([0, l0, l1, l2]), u32::from_be_bytes([s0, s1, s2, s3]));
    if FRAME_BYTES_MAX < length || stream & 0x8000_0000 != 0 {
        return false;
    }
    match kind {
        4 => stream == 0 && length.is_multiple_of(6),
        6 => stream == 0 && length == 8,
        7 => stream == 0 && 8 <= length,
        8 => length == 4,
        3 => stream != 0 && length == 4,
        0 | 1 | 9 => stream % 2 == 1,
        _ => false,
    }
}
