//! Memory for a tensor's data: aligned, and made without aborting when there is none.

use bytes::Bytes;
use memmap2::MmapMut;

use super::BufferPool;

/// Alignment of every tensor's first byte, in bytes.
pub const ALIGNMENT: usize = 64;
/// From so many bytes on, memory comes from the system in huge pages, where it has them: a page of 4 KiB costs as much to
/// get as to fill.
const MAPPED_LEN: usize = 4 << 20;
/// How long a huge page is, and what it is aligned to, where pages are 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// A writable buffer whose first byte is aligned to [`ALIGNMENT`]; becomes [`Bytes`] without a copy.
pub struct AlignedBuf {
    memory: Memory,
    len: usize,
    /// Where the memory goes when nobody needs it.
    home: Option<BufferPool>,
}

impl AlignedBuf {
    /// `len` zero bytes. Large buffers cost no memory until they are written to. `None` if the system has not so much.
    pub fn zeroed(len: usize) -> Option<Self> {
        Some(Self { memory: Memory::zeroed(len)?, len, home: None })
    }

    /// The first `len` bytes of memory that has so many, which goes back to `home` in the end.
    pub(super) fn of(memory: Memory, len: usize, home: BufferPool) -> Self {
        debug_assert!(len <= memory.capacity());
        Self { memory, len, home: Some(home) }
    }

    /// The bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.memory.as_mut_slice()[..len]
    }

    /// Gives the buffer up to be shared.
    pub fn freeze(self) -> Bytes {
        if self.len == 0 { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give(std::mem::replace(&mut self.memory, Memory::none()));
        }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        &self.memory.as_slice()[..self.len]
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

/// What buffers are made of.
pub(super) enum Memory {
    /// Longer than what is used of it, which begins where it is aligned: an allocator that is asked for aligned zeros writes
    /// them, one that is asked for plain zeros takes fresh pages from the system, which are zero already.
    Heap { bytes: Box<[u8]>, start: usize },
    /// Pages of the system's, of which `len` bytes from `start` on are used.
    Mapped { map: MmapMut, start: usize, len: usize },
}

impl Memory {
    pub(super) fn zeroed(len: usize) -> Option<Self> {
        if len >= MAPPED_LEN {
            return Self::mapped(len);
        }
        let bytes: Box<[u8]> = bytemuck::allocation::try_zeroed_slice_box(len.checked_add(ALIGNMENT - 1)?).ok()?;
        let start = (bytes.as_ptr() as usize).wrapping_neg() % ALIGNMENT;
        Some(Self::Heap { bytes, start })
    }

    /// From an address on that a huge page can have. Its last part has one, too, unless that would be more than an eighth of
    /// what was asked for, and more than anybody counts.
    fn mapped(len: usize) -> Option<Self> {
        let whole = len.checked_next_multiple_of(HUGE_PAGE).filter(|whole| whole - len <= len / 8).unwrap_or(len);
        let unaligned = |map: &MmapMut| (map.as_ptr() as usize).wrapping_neg() % HUGE_PAGE;
        let mut map = MmapMut::map_anon(whole).ok()?;
        // A kernel of 6.7 or newer has aligned what is whole huge pages. Otherwise there is a place in what is longer by one;
        // what is left of it is never written to, so it is no memory.
        if unaligned(&map) != 0
            && let Some(longer) = whole.checked_add(HUGE_PAGE).and_then(|longer| MmapMut::map_anon(longer).ok())
        {
            map = longer;
        }
        let start = unaligned(&map);
        let start = if start <= map.len() - whole { start } else { 0 };
        // Advice; without it the pages are small.
        #[cfg(target_os = "linux")]
        let _ = map.advise_range(memmap2::Advice::HugePage, start, whole / HUGE_PAGE * HUGE_PAGE);
        Some(Self::Mapped { map, start, len })
    }

    fn none() -> Self {
        Self::Heap { bytes: Box::default(), start: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Heap { bytes, .. } => bytes.len().saturating_sub(ALIGNMENT - 1),
            Self::Mapped { len, .. } => *len,
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Heap { bytes, start } => &bytes[*start..],
            Self::Mapped { map, start, len } => &map[*start..][..*len],
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Heap { bytes, start } => &mut bytes[*start..],
            Self::Mapped { map, start, len } => &mut map[*start..][..*len],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_aligned_and_all_are_zero() {
        for len in [0, 1, 63, 64, 65, 1000, MAPPED_LEN - 1, MAPPED_LEN, MAPPED_LEN + 1] {
            let mut buf = AlignedBuf::zeroed(len).unwrap();
            assert_eq!(buf.as_mut_slice().len(), len);
            let bytes = buf.freeze();
            assert!(bytes.iter().all(|&b| b == 0));
            assert!(len == 0 || (bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT));
        }
    }

    /// The first byte of a large buffer begins a huge page, whatever its length; no more of it is used than was asked for.
    #[test]
    fn a_large_buffer_begins_where_a_huge_page_can() {
        let lens = [MAPPED_LEN, MAPPED_LEN + 1, 5 << 20, 7 << 20, (9 << 20) - 3, 33 << 20];
        // All live at one time: what is mapped next to an odd length is aligned to nothing by itself.
        let bufs: Vec<_> = lens.iter().map(|len| (AlignedBuf::zeroed(*len).unwrap(), *len)).collect();
        for (mut buf, len) in bufs {
            assert_eq!(buf.memory.capacity(), len);
            assert!((buf.as_ref().as_ptr() as usize).is_multiple_of(HUGE_PAGE), "{len}");
            assert_eq!((buf.as_ref()[0], buf.as_ref()[len - 1]), (0, 0));
            buf.as_mut_slice().fill(7);
            let bytes = buf.freeze();
            assert!(bytes.len() == len && bytes.iter().all(|&b| b == 7));
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        for len in [isize::MAX as usize / 2, isize::MAX as usize, usize::MAX] {
            assert!(AlignedBuf::zeroed(len).is_none());
        }
    }
}
