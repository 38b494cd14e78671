//! Which elements are whose, and in which chunks they travel. Pure.

use std::ops::Range;

/// A row of elements cut into parts, each part into chunks of one length but for its last. A part without elements has one
/// empty chunk, so that its owner is heard of all the same.
#[derive(Debug)]
pub(super) struct Cut {
    /// Where parts begin, and where the last one ends.
    bounds: Vec<usize>,
    /// Elements of a chunk.
    chunk: usize,
}

impl Cut {
    /// `rows` of `row` elements each, between `parts`: the first `rows % parts` boundaries do not gather at one end.
    pub(super) fn new(rows: usize, row: usize, parts: u16, chunk: usize) -> Self {
        // In 128 bits, since a row may be empty and the rows then be many.
        let bound = |part: u16| (rows as u128 * u128::from(part) / u128::from(parts)) as usize * row;
        Self { bounds: (0..=parts).map(bound).collect(), chunk: chunk.max(1) }
    }

    /// The elements of a part.
    pub(super) fn part(&self, part: usize) -> Range<usize> {
        self.bounds[part]..self.bounds[part + 1]
    }

    /// How many chunks a part has; at least one.
    pub(super) fn chunks(&self, part: usize) -> usize {
        self.part(part).len().div_ceil(self.chunk).max(1)
    }

    /// The elements of chunk number `index` of a part, counted from the part's beginning; `None` if it has no such chunk.
    pub(super) fn chunk(&self, part: usize, index: usize) -> Option<Range<usize>> {
        let begin = index.checked_mul(self.chunk)?;
        let len = self.part(part).len();
        (index < self.chunks(part)).then(|| begin..len.min(begin + self.chunk))
    }

    /// The number and the elements of the chunk that begins at `offset` in a part; `None` if none does.
    pub(super) fn chunk_at(&self, part: usize, offset: u64) -> Option<(usize, Range<usize>)> {
        let offset = usize::try_from(offset).ok()?;
        let index = offset / self.chunk;
        let range = self.chunk(part, index)?;
        (range.start == offset).then_some((index, range))
    }
}

/// Which chunks have come.
#[derive(Debug)]
pub(super) struct Seen {
    bits: Vec<u64>,
    missing: usize,
}

impl Seen {
    /// None of so many.
    pub(super) fn new(chunks: usize) -> Self {
        Self { bits: vec![0; chunks.div_ceil(64)], missing: chunks }
    }

    /// Notes one; false if it had come before.
    pub(super) fn mark(&mut self, index: usize) -> bool {
        let (word, bit) = (&mut self.bits[index / 64], 1 << (index % 64));
        // Two ways out, and no number made of the comparison: as `missing -= usize::from(is_new)` the count was left out
        // of the optimised build (rustc 1.95, LLVM 22.1), and nothing was ever whole.
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.missing -= 1;
        true
    }

    /// Whether all have come.
    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_chunks_cover_every_element_once() {
        for total in [0, 1, 5, 31, 32, 33, 100] {
            for parts in [1u16, 2, 3, 32] {
                for chunk in [1, 4, 100] {
                    let cut = Cut::new(total, 1, parts, chunk);
                    let mut next = 0;
                    for part in 0..usize::from(parts) {
                        let whole = cut.part(part);
                        assert!(whole.len() <= total / usize::from(parts) + 1);
                        for index in 0..cut.chunks(part) {
                            let range = cut.chunk(part, index).unwrap();
                            assert_eq!(whole.start + range.start, next);
                            assert!(range.len() <= chunk);
                            assert_eq!(cut.chunk_at(part, range.start as u64), Some((index, range.clone())));
                            next += range.len();
                        }
                        assert_eq!((next, cut.chunk(part, cut.chunks(part))), (whole.end, None));
                    }
                    assert_eq!(next, total);
                }
            }
        }
    }

    #[test]
    fn rows_are_not_cut() {
        let cut = Cut::new(5, 3, 2, 4);
        assert_eq!((cut.part(0), cut.part(1)), (0..6, 6..15));
        assert_eq!(cut.chunk(1, 2), Some(8..9));
        assert_eq!(Cut::new(usize::MAX, 0, 3, 4).part(2), 0..0);
    }

    #[test]
    fn what_is_no_chunk_is_found() {
        let cut = Cut::new(10, 1, 1, 4);
        for offset in [1, 5, 9, 12, u64::MAX] {
            assert_eq!(cut.chunk_at(0, offset), None, "{offset}");
        }
    }

    #[test]
    fn a_chunk_is_new_once() {
        let mut seen = Seen::new(70);
        for index in 0..70 {
            assert!(!seen.is_whole() && seen.mark(index) && !seen.mark(index));
        }
        assert!(seen.is_whole());
    }
}
