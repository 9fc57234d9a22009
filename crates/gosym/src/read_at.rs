//! Where bytes of a program come from: memory in tests, a file at the edge.

/// Bytes at places.
pub trait ReadAt {
    /// Fills `into` from `offset` on; `false` when not all of it is there.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> bool;

    /// How many bytes there are.
    fn len_bytes(&self) -> u64;

    /// A copy of `len` bytes from `offset` on; `None` when not all of them are there. Nothing is allocated for a length
    /// that the source does not have.
    fn copy(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        if self.len_bytes() < offset.checked_add(len)? {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.read_at(offset, &mut bytes).then_some(bytes)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> bool {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)?.get(..into.len()));
        from.inspect(|from| into.copy_from_slice(from)).is_some()
    }

    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> bool {
        self.as_slice().read_at(offset, into)
    }

    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> bool {
        (**self).read_at(offset, into)
    }

    fn len_bytes(&self) -> u64 {
        (**self).len_bytes()
    }
}
