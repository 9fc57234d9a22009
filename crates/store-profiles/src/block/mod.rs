//! Objects: a shard becomes one, and questions are answered from them.

mod read;
mod write;

pub(crate) use read::{Block, Blocks};
pub(crate) use write::encode;
