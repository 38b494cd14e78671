//! All-reduce and reduce-scatter round the ring. Pure.
//!
//! ```text
//!  member 0        1          2          3           part p is reduced on its way to member p:
//!  own part 3 ───▶ +own ────▶ +own ────▶ whole: 3    begins at p+1, whole at p after n-1 steps
//!     ┌─────────────────────────────────── 3         and, in an all-reduce, goes round once more
//!     ▼ 3 ───────▶ 3 ───────▶ 3
//! ```

use remex_protocol::{
    collective::Reduction,
    tensor::{AlignedBuf, BufferPool, Shape, Tensor, TensorMetadata},
};

use super::{
    numbers::{self, Number, numbers, with_number},
    plan::{Cut, Seen},
    work::{Came, Outgoing, Place, Work, differs, malformed, room, tensor},
};
use crate::Result;

/// What becomes of the parts when they are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// All members get all.
    All,
    /// Each member gets its own; they are cut along the first dimension.
    Own,
}

#[derive(Debug)]
struct Reduce<T> {
    place: Place,
    reduction: Reduction,
    parts: Parts,
    metadata: TensorMetadata,
    input: Tensor,
    cut: Cut,
    /// The next chunk of its own.
    own: usize,
    /// Which chunks of each step have come.
    seen: Vec<Seen>,
    /// The elements of the result, from element `base` on.
    result: AlignedBuf,
    base: usize,
    result_shape: Shape,
    buffers: BufferPool,
    element: std::marker::PhantomData<fn() -> T>,
}

/// Whether a tensor can be reduced, and scattered if it is to be.
pub(super) fn check(input: &Tensor, parts: Parts) -> Result<()> {
    let dtype = input.dtype();
    if with_number!(dtype, T => T::IS_WIDENED).is_none() {
        let types = numbers::reducible();
        return Err(differs(format!("elements of type {dtype} cannot be reduced; there are {types}")));
    }
    if parts == Parts::Own && input.shape().rank() == 0 {
        return Err(differs("a scalar has no first dimension to be scattered along".to_owned()));
    }
    Ok(())
}

/// The work of one of at least two members, on a tensor that was checked. `chunk` is the most bytes of a chunk.
pub(super) fn start(
    place: Place,
    reduction: Reduction,
    parts: Parts,
    input: Tensor,
    chunk: usize,
    buffers: &BufferPool,
) -> Result<Box<dyn Work>> {
    let work = with_number!(input.dtype(), T => {
        Reduce::<T>::new(place, reduction, parts, input, chunk, buffers).map(|work| Box::new(work) as Box<dyn Work>)
    });
    work.unwrap_or_else(|| Err(differs("its elements cannot be reduced".to_owned())))
}

impl<T: Number> Reduce<T> {
    fn new(
        place: Place,
        reduction: Reduction,
        parts: Parts,
        input: Tensor,
        chunk: usize,
        buffers: &BufferPool,
    ) -> Result<Self> {
        let Place { me, members } = place;
        let chunk = chunk / size_of::<T::Acc>();
        let total = input.bytes().len() / size_of::<T>();
        let (rows, row) = match parts {
            Parts::All => (total, 1),
            Parts::Own => {
                // A tensor without elements may have any number of rows; those with elements fit the memory.
                let rows = input.shape().dims().first().copied().unwrap_or_default() as usize;
                (rows, total.checked_div(rows).unwrap_or_default())
            }
        };
        let cut = Cut::new(rows, row, members, chunk);
        let (range, result_shape) = match parts {
            Parts::All => (0..total, input.shape().clone()),
            Parts::Own => {
                let bounds = Cut::new(rows, 1, members, 1).part(me.into());
                let mut dims = input.shape().dims().to_vec();
                dims[0] = bounds.len() as u64;
                (cut.part(me.into()), Shape::try_from(dims).map_err(differs)?)
            }
        };
        let steps = if parts == Parts::All { 2 * (members - 1) } else { members - 1 };
        let seen = (0..steps).map(|step| Seen::new(cut.chunks(part_of(place, step).into()))).collect();
        let result = room(buffers, (range.len() as u64).checked_mul(size_of::<T>() as u64))?;
        let (base, metadata, buffers) = (range.start, input.metadata().clone(), buffers.clone());
        let (own, element) = (0, std::marker::PhantomData);
        Ok(Self {
            place,
            reduction,
            parts,
            metadata,
            input,
            cut,
            own,
            seen,
            result,
            base,
            result_shape,
            buffers,
            element,
        })
    }

    fn elements(&self, part: u16, range: &std::ops::Range<usize>) -> &[T] {
        let begin = self.cut.part(part.into()).start;
        // The type was chosen by the tensor's, and the range is within it.
        let all = self.input.elements::<T>().unwrap_or_default();
        &all[begin + range.start..begin + range.end]
    }

    /// Room for a partial result.
    fn partial(&self, elements: usize) -> Result<AlignedBuf> {
        room(&self.buffers, (elements as u64).checked_mul(size_of::<T::Acc>() as u64))
    }

    fn keep(&mut self, part: u16, range: &std::ops::Range<usize>, bytes: &[u8]) {
        let begin = (self.cut.part(part.into()).start + range.start - self.base) * size_of::<T>();
        self.result.as_mut_slice()[begin..begin + bytes.len()].copy_from_slice(bytes);
    }

    fn send(&self, step: u16, part: u16, offset: usize, payload: bytes::Bytes) -> Option<Outgoing> {
        let (to, metadata, offset) = (self.place.next(), self.metadata.clone(), offset as u64);
        Some(Outgoing { to, metadata, step, part, offset, payload })
    }
}

/// The part whose chunks come to a member in a step.
fn part_of(place: Place, step: u16) -> u16 {
    let last = place.members - 2;
    if step <= last { place.back((2 + step) % place.members) } else { place.back(step - last) }
}

impl<T: Number> Work for Reduce<T> {
    fn begin(&mut self) -> Result<Option<Outgoing>> {
        let part = self.place.previous();
        let Some(range) = self.cut.chunk(part.into(), self.own) else { return Ok(None) };
        self.own += 1;
        let payload = if T::IS_WIDENED {
            let own = self.elements(part, &range);
            let mut widened = self.partial(own.len())?;
            numbers::widen(own, numbers(&mut widened));
            widened.freeze()
        } else {
            let begin = self.cut.part(part.into()).start;
            let bytes = |element: usize| (begin + element) * size_of::<T>();
            self.input.bytes().slice(bytes(range.start)..bytes(range.end))
        };
        Ok(self.send(0, part, range.start, payload))
    }

    fn take(&mut self, came: Came<'_>) -> Result<Option<Outgoing>> {
        let header = came.header;
        let (step, part, last) = (header.step, header.part, self.place.members - 2);
        let from = came.from;
        if header.dtype != self.metadata.dtype || header.shape != self.metadata.shape {
            let (theirs, own) = (header.metadata(), &self.metadata);
            return Err(differs(format!("member {from} reduces {theirs}, member {} {own}", self.place.me)));
        }
        if from != self.place.previous() || usize::from(step) >= self.seen.len() || part != part_of(self.place, step) {
            return Err(malformed(&came, "it comes at another step or from another member"));
        }
        let Some((index, range)) = self.cut.chunk_at(part.into(), header.offset) else {
            return Err(malformed(&came, "no chunk begins there"));
        };
        let width = if step <= last { size_of::<T::Acc>() } else { size_of::<T>() };
        if came.payload.len() != range.len() * width {
            let (is, should) = (came.payload.len(), range.len() * width);
            return Err(malformed(&came, format_args!("it has {is} bytes, it should have {should}")));
        }
        if !self.seen[usize::from(step)].mark(index) {
            return Err(malformed(&came, "it came before"));
        }
        if step > last {
            self.keep(part, &range, &came.payload);
            let goes_on = usize::from(step) + 1 < self.seen.len();
            return Ok(if goes_on { self.send(step + 1, part, range.start, came.payload) } else { None });
        }
        let own = self.elements(part, &range);
        let mut acc = self.partial(own.len())?;
        numbers::combine(self.reduction, &came.payload, own, numbers(&mut acc));
        if step < last {
            return Ok(self.send(step + 1, part, range.start, acc.freeze()));
        }
        numbers::finish::<T>(self.reduction, self.place.members, numbers(&mut acc));
        if T::IS_WIDENED {
            let mut rounded = room(&self.buffers, Some((range.len() * size_of::<T>()) as u64))?;
            numbers::narrow::<T>(numbers(&mut acc), numbers(&mut rounded));
            acc = rounded;
        }
        let whole = acc.freeze();
        self.keep(part, &range, &whole);
        Ok(if self.parts == Parts::All { self.send(step + 1, part, range.start, whole) } else { None })
    }

    fn is_whole(&self) -> bool {
        self.seen.iter().all(Seen::is_whole)
    }

    fn finish(&mut self) -> Result<Option<Tensor>> {
        let result = std::mem::replace(&mut self.result, room(&self.buffers, Some(0))?);
        let metadata = TensorMetadata::new(self.metadata.dtype, self.result_shape.clone());
        tensor(metadata, result.freeze()).map(Some)
    }

    fn lacks(&self) -> u16 {
        self.place.previous()
    }
}
