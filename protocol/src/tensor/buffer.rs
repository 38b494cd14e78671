//! Memory for a tensor's data: aligned, zeroed, and made without aborting when there is none.

use bytes::Bytes;

/// Alignment of every tensor's first byte, in bytes.
pub const ALIGNMENT: usize = 64;

/// A writable buffer whose first byte is aligned to [`ALIGNMENT`]; becomes [`Bytes`] without a copy.
pub struct AlignedBuf {
    // Longer than `len`, and used from where it is aligned: an allocator that is asked for aligned zeros writes them, one
    // that is asked for plain zeros takes fresh pages from the system, which are zero already and cost nothing.
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` zero bytes. Large buffers cost no memory until they are written to. `None` if the system has not so much.
    pub fn zeroed(len: usize) -> Option<Self> {
        let bytes: Box<[u8]> = bytemuck::allocation::try_zeroed_slice_box(len.checked_add(ALIGNMENT - 1)?).ok()?;
        let start = (bytes.as_ptr() as usize).wrapping_neg() % ALIGNMENT;
        Some(Self { bytes, start, len })
    }

    /// The bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }

    /// Gives the buffer up to be shared.
    pub fn freeze(self) -> Bytes {
        if self.len == 0 { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_aligned_and_all_are_zero() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let mut buf = AlignedBuf::zeroed(len).unwrap();
            assert_eq!(buf.as_mut_slice().len(), len);
            let bytes = buf.freeze();
            assert!(bytes.iter().all(|&b| b == 0));
            assert!(len == 0 || (bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT));
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        for len in [isize::MAX as usize / 2, isize::MAX as usize, usize::MAX] {
            assert!(AlignedBuf::zeroed(len).is_none());
        }
    }
}
