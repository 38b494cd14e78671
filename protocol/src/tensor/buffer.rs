//! Memory for a tensor's data: aligned, zeroed, and made without aborting when there is none.

use bytes::Bytes;

/// Alignment of every tensor's first byte, in bytes.
pub const ALIGNMENT: usize = 64;

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct Block([u8; ALIGNMENT]);

/// A writable buffer whose first byte is aligned to [`ALIGNMENT`]; becomes [`Bytes`] without a copy.
pub struct AlignedBuf {
    blocks: Box<[Block]>,
    len: usize,
}

impl AlignedBuf {
    /// `len` zero bytes. Large buffers cost no memory until they are written to. `None` if the system has not so much.
    pub fn zeroed(len: usize) -> Option<Self> {
        let blocks = bytemuck::allocation::try_zeroed_slice_box(len.div_ceil(ALIGNMENT)).ok()?;
        Some(Self { blocks, len })
    }

    /// The bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.len]
    }

    /// Gives the buffer up to be shared.
    pub fn freeze(self) -> Bytes {
        if self.len == 0 {
            Bytes::new()
        } else {
            Bytes::from_owner(self)
        }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
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
        assert!(AlignedBuf::zeroed(isize::MAX as usize / 2).is_none());
    }
}
