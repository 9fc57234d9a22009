//! Objects read part by part, each checked.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use homeostat_store_objects::Place;
use homeostat_wire::profiles::{EndsError, Footer, PageRef, TRAILER_BYTES, decode_trailer, open_part};
use object_store::{ObjectStoreExt as _, path::Path as ObjectPath};

use crate::{
    error::{Damage, DamageKind, QueryError},
    limits::{FOOTER_BYTES_MAX, FOOTERS_BYTES_MAX, TAIL_BYTES},
    names::BlockName,
};

/// An object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) name: BlockName,
    pub(crate) bytes: u64,
}

/// Reads objects, and remembers their footers.
#[derive(Debug)]
pub(crate) struct Blocks {
    pub(crate) place: Place,
    runtime: tokio::runtime::Handle,
    footers: Mutex<Footers>,
}

/// Footers that were read.
#[derive(Debug, Default)]
struct Footers {
    known: BTreeMap<BlockName, (Arc<Footer>, u64)>,
    bytes: u64,
}

impl Footers {
    fn keep(&mut self, name: BlockName, footer: Arc<Footer>, bytes: u64) {
        self.forget(name);
        while FOOTERS_BYTES_MAX < self.bytes + bytes {
            // The oldest shard is the one that is asked for least.
            let Some((_, (_, freed))) = self.known.pop_first() else { break };
            self.bytes -= freed;
        }
        self.known.insert(name, (footer, bytes));
        self.bytes += bytes;
    }

    fn forget(&mut self, name: BlockName) {
        if let Some((_, freed)) = self.known.remove(&name) {
            self.bytes -= freed;
        }
    }
}

/// A part as it is, or what is wrong with it.
pub(crate) type Part<T> = Result<T, Damage>;

impl Blocks {
    pub(crate) fn new(place: Place, runtime: tokio::runtime::Handle) -> Self {
        Self { place, runtime, footers: Mutex::default() }
    }

    /// Waits for something of the place; must not be called on a thread of the runtime that serves others.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn object(&self, name: BlockName) -> ObjectPath {
        self.place.path(&name.path())
    }

    /// The footer of an object. The outer error: it cannot be read now; the inner one: it never can. `None`: it is gone.
    pub(crate) fn footer(&self, block: Block) -> Result<Option<Part<Arc<Footer>>>, QueryError> {
        if let Some((footer, _)) = self.footers().known.get(&block.name) {
            return Ok(Some(Ok(Arc::clone(footer))));
        }
        let Some(read) = self.read_footer(block)? else { return Ok(None) };
        Ok(Some(read.map(|(footer, bytes)| {
            let footer = Arc::new(footer);
            self.footers().keep(block.name, Arc::clone(&footer), bytes);
            footer
        })))
    }

    fn footers(&self) -> MutexGuard<'_, Footers> {
        self.footers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the footer of an object that is gone.
    pub(crate) fn forget(&self, name: BlockName) {
        self.footers().forget(name);
    }

    /// A footer, and what it takes unpacked.
    fn read_footer(&self, block: Block) -> Result<Option<Part<(Footer, u64)>>, QueryError> {
        let tail_from = block.bytes.saturating_sub(TAIL_BYTES);
        let Some(tail) = self.range(block.name, tail_from..block.bytes)? else { return Ok(None) };
        let trailer_at = block.bytes.saturating_sub(TRAILER_BYTES as u64);
        let footer_at = match decode_trailer(&tail, block.bytes) {
            Ok(footer) if u64::from(footer.len) <= FOOTER_BYTES_MAX => footer,
            Ok(_) => return Ok(Some(Err(self.damage(block.name, trailer_at, "the footer is too long")))),
            Err(error) => {
                let is_newer = matches!(error, EndsError::Version { .. });
                let kind = if is_newer { DamageKind::Newer } else { DamageKind::Damaged };
                return Ok(Some(Err(Damage { kind, ..self.damage(block.name, trailer_at, error) })));
            }
        };
        let in_tail = footer_at.offset.checked_sub(tail_from).map(|from| from as usize);
        let bytes = match in_tail.and_then(|from| tail.get(from..from + footer_at.len as usize)) {
            Some(bytes) => Bytes::copy_from_slice(bytes),
            None => match self.range(block.name, footer_at.offset..footer_at.end())? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
        };
        let content = open_part(&bytes).map_err(|error| self.damage(block.name, footer_at.offset, error));
        Ok(Some(content.and_then(|content| {
            let footer = Footer::decode(&content).map_err(|error| self.damage(block.name, footer_at.offset, error));
            Ok((footer?, content.len() as u64))
        })))
    }

    /// The content of a part; `None` when the object is gone.
    pub(crate) fn part(&self, block: Block, at: PageRef) -> Result<Option<Part<Vec<u8>>>, QueryError> {
        if block.bytes < at.end() {
            return Ok(Some(Err(self.damage(block.name, at.offset, "the part lies behind the end"))));
        }
        let Some(bytes) = self.range(block.name, at.offset..at.end())? else { return Ok(None) };
        Ok(Some(open_part(&bytes).map_err(|error| self.damage(block.name, at.offset, error))))
    }

    pub(crate) fn damage(&self, name: BlockName, offset: u64, what: impl std::fmt::Display) -> Damage {
        let object = format!("{}/{}", self.place.url(), name.path());
        Damage { object, offset, kind: DamageKind::Damaged, what: what.to_string() }
    }

    fn range(&self, name: BlockName, range: Range<u64>) -> Result<Option<Bytes>, QueryError> {
        let path = self.object(name);
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        match self.wait(self.place.store().get_range(&path, range)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(QueryError::Remote { object: path.to_string(), source: Box::new(source) }),
        }
    }
}
