//! Profiles as pprof writes them: `perftools.profiles.Profile`, with or without gzip around it.
//!
//! The message is a set of tables that point into each other, and its texts may come last; so it is read twice: first
//! where everything is, then what it means. Ids of the message end here: frames, stacks and labels get those of
//! [`Profile`].
//!
//! What is not kept: comments, `drop_frames`, columns within a line, start lines of functions, addresses of frames that
//! have a name (so that two runs of one program have the same stacks), and of labels that repeat a name all but the
//! first. Addresses of frames without a name are kept as places in their file, which no address randomisation moves.
//!
//! Source: `google/pprof` `proto/profile.proto`.

mod decode;
mod encode;
mod place;
mod tables;

pub(crate) use place::{Place, push_place};
pub(crate) use tables::{Function, Mapping};

use homeostat_model::profile::Profile;

pub use self::{
    decode::{decode, decode_within},
    encode::encode,
};
use crate::{
    gzip::{self, GzipError},
    protobuf::ProtobufError,
};

/// How much a decoder takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PprofLimits {
    /// Bytes after unpacking. A minute of a busy server is below one MiB.
    pub bytes_max: usize,
    /// Frames of one stack, inlined ones included.
    pub stack_frames_max: usize,
    /// Different stacks and their beginnings; each takes some 40 bytes.
    pub stacks_max: usize,
    /// Frames of all samples together: what reading costs.
    pub frames_walked_max: u64,
    /// Columns. Programs have one to four; each has two texts of its own, and every sample a number for it.
    pub columns_max: usize,
    /// Bytes of one text. Names that compilers make of templates have some KiB.
    pub text_bytes_max: usize,
    /// Entries of all tables together; each takes up to 60 bytes while it is read, and as little as two in the message.
    pub entries_max: usize,
}

impl Default for PprofLimits {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            stack_frames_max: 1 << 14,
            stacks_max: 1 << 22,
            frames_walked_max: 1 << 27,
            columns_max: 64,
            text_bytes_max: 64 << 10,
            entries_max: 1 << 22,
        }
    }
}

/// Why a profile cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PprofError {
    /// The gzip around it.
    #[error(transparent)]
    Gzip(#[from] GzipError),
    /// The message.
    #[error("no pprof profile")]
    Protobuf(#[from] ProtobufError),
    /// It has no columns: another message, an HTML page, an empty answer.
    #[error("no pprof profile: it does not say what it counts")]
    NoTypes,
    /// An entry points to one that is not there.
    #[error("byte {offset}: there is no {what} {id} in this profile")]
    Dangling {
        /// Kind of entry.
        what: &'static str,
        /// Its number.
        id: u64,
        /// Where the entry is that points to it.
        offset: usize,
    },
    /// Two entries of a table have one number.
    #[error("byte {offset}: there are two of {what} {id}")]
    Twice {
        /// Kind of entry.
        what: &'static str,
        /// Their number.
        id: u64,
        /// Where the second one is.
        offset: usize,
    },
    /// A sample has more or fewer numbers than there are columns.
    #[error("byte {offset}: a sample has {values} values for {columns} columns")]
    Columns {
        /// Numbers of the sample.
        values: usize,
        /// Columns of the profile.
        columns: usize,
        /// Where the sample is.
        offset: usize,
    },
    /// A limit is reached.
    #[error("byte {offset}: more than the {limit} {what} that are taken")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is taken.
        limit: u64,
        /// Where the entry is that goes beyond it.
        offset: usize,
    },
}

/// Reads a profile with or without gzip around it.
pub fn read(bytes: &[u8], limits: &PprofLimits) -> Result<Profile, PprofError> {
    read_within(bytes, &mut { *limits })
}

/// Reads a profile as [`read`] does and takes off `room` what it needed, so that several profiles share one limit.
pub fn read_within(bytes: &[u8], room: &mut PprofLimits) -> Result<Profile, PprofError> {
    if gzip::is_gzip(bytes) {
        return decode_within(&gzip::unpack(bytes, room.bytes_max)?, room);
    }
    decode_within(bytes, room)
}

/// Writes a profile as files and servers have it: with gzip around it.
pub fn write(profile: &Profile) -> Vec<u8> {
    gzip::pack(&encode(profile))
}
