//! Memory of large buffers that were dropped, for the next ones.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{AlignedBuf, buffer::Memory};

/// Smaller buffers are not kept: an allocator gives them as fast.
const POOLED_LEN: usize = 64 << 10;

/// Keeps the memory of large buffers for the next ones of their size: to get fresh pages from the system costs more than
/// to fill them.
///
/// Clones are the same pool. What is in it is bounded, and goes when nobody has asked for it between two
/// [trims](Self::trim).
#[derive(Clone)]
pub struct BufferPool(Arc<Shared>);

struct Shared {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The oldest first, each with the number of trims before it came.
    free: VecDeque<(u64, Memory)>,
    bytes: usize,
    trims: u64,
}

impl BufferPool {
    /// Bytes that are kept at most, unless configured.
    pub const DEFAULT_LIMIT: usize = 128 << 20;

    /// Keeps at most `limit` bytes; 0 keeps none.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit, kept: Mutex::default() }))
    }

    /// A buffer of `len` bytes, **whatever is in them**: they are to be written before anybody reads them. `None` if the
    /// system has not so much memory.
    pub fn take(&self, len: usize) -> Option<AlignedBuf> {
        if len < POOLED_LEN || self.0.limit == 0 {
            return AlignedBuf::zeroed(len);
        }
        let capacity = class(len)?;
        let kept = self.kept().take(capacity);
        let memory = match kept {
            Some(memory) => memory,
            None => Memory::zeroed(capacity)?,
        };
        Some(AlignedBuf::of(memory, len, self.clone()))
    }

    /// Frees what nobody has needed since the last trim.
    pub fn trim(&self) {
        // The memory is freed when the lock is, at the end.
        let _freed = self.kept().trim();
    }

    /// Bytes that are kept now.
    pub fn kept_bytes(&self) -> usize {
        self.kept().bytes
    }

    pub(super) fn give(&self, memory: Memory) {
        let _freed = self.kept().give(memory, self.0.limit);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The one that came last is still in the cache.
    fn take(&mut self, capacity: usize) -> Option<Memory> {
        let at = self.free.iter().rposition(|(_, memory)| memory.capacity() == capacity)?;
        self.bytes -= capacity;
        self.free.remove(at).map(|(_, memory)| memory)
    }

    /// Keeps memory; gives what must go for it.
    fn give(&mut self, memory: Memory, limit: usize) -> Vec<Memory> {
        let mut freed = Vec::new();
        self.bytes += memory.capacity();
        self.free.push_back((self.trims, memory));
        while self.bytes > limit {
            let Some((_, oldest)) = self.free.pop_front() else { break };
            self.bytes -= oldest.capacity();
            freed.push(oldest);
        }
        freed
    }

    fn trim(&mut self) -> Vec<Memory> {
        let mut freed = Vec::new();
        while let Some((_, oldest)) = self.free.pop_front_if(|(trims, _)| *trims < self.trims) {
            self.bytes -= oldest.capacity();
            freed.push(oldest);
        }
        self.trims += 1;
        freed
    }
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::new(Self::DEFAULT_LIMIT)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferPool({} of {} bytes)", self.kept_bytes(), self.0.limit)
    }
}

/// How much memory a buffer of `len` bytes has: lengths that are nearly the same share it. At most an eighth more.
fn class(len: usize) -> Option<usize> {
    let step = (len.checked_next_power_of_two()? / 16).max(1);
    len.checked_next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(buf: &AlignedBuf) -> usize {
        buf.as_ref().as_ptr() as usize
    }

    #[test]
    fn memory_that_was_dropped_is_used_again() {
        let pool = BufferPool::new(1 << 20);
        let buf = pool.take(256 << 10).unwrap();
        let first = address(&buf);
        let bytes = buf.freeze();
        let half = bytes.slice(..128 << 10);
        drop(bytes);
        assert_eq!(pool.kept_bytes(), 0, "somebody still reads it");
        drop(half);
        assert_eq!(pool.kept_bytes(), 256 << 10);
        let again = pool.take((256 << 10) - 100).unwrap();
        assert_eq!((address(&again), again.as_ref().len()), (first, (256 << 10) - 100));
        assert_eq!(pool.kept_bytes(), 0);
    }

    #[test]
    fn no_more_is_kept_than_the_limit_and_the_oldest_goes() {
        let pool = BufferPool::new(300 << 10);
        let bufs: Vec<_> = (0..4).map(|_| pool.take(100 << 10).unwrap()).collect();
        let last = address(&bufs[3]);
        drop(bufs);
        assert!(pool.kept_bytes() <= 300 << 10 && pool.kept_bytes() >= 200 << 10, "{pool:?}");
        assert_eq!(address(&pool.take(100 << 10).unwrap()), last);
        drop(BufferPool::new(0).take(1 << 20));
        assert_eq!(BufferPool::new(0).kept_bytes(), 0);
    }

    #[test]
    fn what_nobody_needs_is_freed_by_the_second_trim() {
        let pool = BufferPool::default();
        drop(pool.take(64 << 20));
        pool.trim();
        assert_eq!(pool.kept_bytes(), 64 << 20);
        drop(pool.take(64 << 20));
        pool.trim();
        assert_eq!(pool.kept_bytes(), 64 << 20, "it was needed in between");
        pool.trim();
        assert_eq!(pool.kept_bytes(), 0);
    }

    #[test]
    fn a_class_is_at_most_an_eighth_larger() {
        for len in [POOLED_LEN, POOLED_LEN + 1, 100_000, 256 << 10, (256 << 10) + 1, 64 << 20, 99_999_999] {
            let class = class(len).unwrap();
            assert!(class >= len && class - len <= len / 8, "{len} {class}");
        }
        assert!(BufferPool::default().take(usize::MAX).is_none());
        assert!(BufferPool::default().take(isize::MAX as usize / 2).is_none());
    }
}
