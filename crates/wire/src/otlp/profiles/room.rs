//! How much a request may still bring. Its profiles share one dictionary, so what one text costs is counted for each
//! profile that keeps it: otherwise a short request would fill memory by pointing to one long text again and again.

use super::{ExportError, PROFILES_MAX};
use crate::pprof::PprofLimits;

/// What is left of each limit, for all profiles of a request together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    limits: PprofLimits,
    entries: usize,
    profiles: usize,
    text_bytes: usize,
    stacks: usize,
    frames: u64,
}

impl Room {
    pub(super) fn new(limits: &PprofLimits) -> Self {
        Self {
            limits: *limits,
            entries: limits.entries_max,
            profiles: PROFILES_MAX,
            text_bytes: limits.bytes_max,
            stacks: limits.stacks_max,
            frames: limits.frames_walked_max,
        }
    }

    /// An entry of a table, a profile, a sample, an attribute of one, or a label of a profile.
    pub(super) fn entry(&mut self, offset: usize) -> Result<(), ExportError> {
        let limit = self.limits.entries_max as u64;
        let left = self.entries.checked_sub(1);
        self.entries = left.ok_or(ExportError::TooMany { what: "entries of all tables", limit, offset })?;
        Ok(())
    }

    /// A profile, which is an entry as well.
    pub(super) fn profile(&mut self, offset: usize) -> Result<(), ExportError> {
        let limit = PROFILES_MAX as u64;
        let left = self.profiles.checked_sub(1);
        self.profiles = left.ok_or(ExportError::TooMany { what: "profiles", limit, offset })?;
        self.entry(offset)
    }

    /// Says whether a text may have so many bytes.
    pub(super) fn text_len(&self, bytes: usize, offset: usize) -> Result<(), ExportError> {
        let limit = self.limits.text_bytes_max;
        if limit < bytes {
            return Err(ExportError::TooMany { what: "bytes in a text", limit: limit as u64, offset });
        }
        Ok(())
    }

    /// A text of so many bytes that is kept, by a profile or by what its profiles share.
    pub(super) fn text(&mut self, bytes: usize, offset: usize) -> Result<(), ExportError> {
        self.text_len(bytes, offset)?;
        let limit = self.limits.bytes_max as u64;
        let left = self.text_bytes.checked_sub(bytes);
        self.text_bytes =
            left.ok_or(ExportError::TooMany { what: "bytes in the texts of all profiles", limit, offset })?;
        Ok(())
    }

    /// Frames that are looked at, and fields of a stack.
    pub(super) fn walk(&mut self, frames: usize, offset: usize) -> Result<(), ExportError> {
        let limit = self.limits.frames_walked_max;
        let left = self.frames.checked_sub(frames as u64);
        self.frames = left.ok_or(ExportError::TooMany { what: "frames in all stacks", limit, offset })?;
        Ok(())
    }

    /// Frames of one stack.
    pub(super) fn stack(&self, frames: usize, offset: usize) -> Result<(), ExportError> {
        let limit = self.limits.stack_frames_max;
        if limit < frames {
            return Err(ExportError::TooMany { what: "frames in a stack", limit: limit as u64, offset });
        }
        Ok(())
    }

    /// Beginnings of stacks that a profile has in the end.
    pub(super) fn stacks(&mut self, stacks: usize, offset: usize) -> Result<(), ExportError> {
        let limit = self.limits.stacks_max as u64;
        let left = self.stacks.checked_sub(stacks);
        self.stacks = left.ok_or(ExportError::TooMany { what: "different stacks", limit, offset })?;
        Ok(())
    }

    /// Stacks that may still come.
    pub(super) fn stacks_left(&self) -> usize {
        self.stacks
    }
}
