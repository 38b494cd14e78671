//! All-gather round the ring, of one shape or of any along one axis. Pure.
//!
//! Shapes travel with the chunks. The result is laid out when all are known; what came before is kept until then.

use bytes::Bytes;
use remex_protocol::{
    frame::MAX_PAYLOAD,
    tensor::{AlignedBuf, BufferPool, Shape, Tensor, TensorMetadata},
};

use super::{
    plan::{Cut, Seen},
    work::{Came, Outgoing, Place, Work, differs, malformed, room, tensor},
};
use crate::Result;

/// Which shapes may be gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shapes {
    /// One.
    Same,
    /// Such that differ along the axis.
    Any,
}

/// What is known of a member's tensor.
#[derive(Debug)]
struct Origin {
    metadata: TensorMetadata,
    cut: Cut,
    seen: Seen,
    /// Chunks that came before the result was laid out, and where they begin, in bytes.
    kept: Vec<(usize, Bytes)>,
}

/// Where the members' elements stand in the result.
#[derive(Debug)]
struct Layout {
    buf: AlignedBuf,
    metadata: TensorMetadata,
    /// Bytes from one outer index to the next in the result.
    row: usize,
    /// For each member: the bytes of its part of a row, and where it begins in the row.
    columns: Vec<(usize, usize)>,
}

#[derive(Debug)]
pub(super) struct Gather {
    place: Place,
    axis: usize,
    shapes: Shapes,
    input: Tensor,
    /// Elements of a chunk.
    chunk: usize,
    own: usize,
    /// By member; its own is known from the start.
    origins: Vec<Option<Origin>>,
    result: Option<Layout>,
    buffers: BufferPool,
}

/// Whether a tensor has the axis.
pub(super) fn check_axis(input: &Tensor, axis: u16) -> Result<usize> {
    let rank = input.shape().rank();
    if usize::from(axis) < rank {
        Ok(axis.into())
    } else {
        Err(differs(format!("a tensor {} has no axis {axis}: axes count from 0", input.metadata())))
    }
}

impl Gather {
    /// The work of one of at least two members. `chunk` is the most bytes of a chunk.
    pub(super) fn new(
        place: Place,
        axis: u16,
        shapes: Shapes,
        input: Tensor,
        chunk: usize,
        buffers: &BufferPool,
    ) -> Result<Self> {
        let axis = check_axis(&input, axis)?;
        let chunk = chunk / input.dtype().size_bytes() as usize;
        let buffers = buffers.clone();
        let mut gather = Self {
            place,
            axis,
            shapes,
            input: input.clone(),
            chunk,
            own: 0,
            origins: Vec::new(),
            result: None,
            buffers,
        };
        gather.origins = (0..place.members).map(|_| None).collect();
        gather.origins[usize::from(place.me)] = Some(gather.origin(input.metadata().clone())?);
        gather.lay_out()?;
        Ok(gather)
    }

    fn origin(&self, metadata: TensorMetadata) -> Result<Origin> {
        let elements =
            metadata.shape.elements().filter(|_| metadata.size_bytes().is_some_and(|len| len <= MAX_PAYLOAD));
        let elements = elements.and_then(|elements| usize::try_from(elements).ok());
        let elements = elements.ok_or_else(|| differs(format!("a tensor {metadata} is too large to be gathered")))?;
        let cut = Cut::new(elements, 1, 1, self.chunk);
        let seen = Seen::new(cut.chunks(0));
        Ok(Origin { metadata, cut, seen, kept: Vec::new() })
    }

    /// What a member's tensor is, as its chunk says; the first one is believed if it can be joined with this one's.
    fn learn(&mut self, came: &Came<'_>) -> Result<()> {
        let (theirs, own) = (came.header.metadata(), self.input.metadata());
        let part = came.header.part;
        if let Some(Some(origin)) = self.origins.get(usize::from(part)) {
            let same = origin.metadata == theirs;
            return if same {
                Ok(())
            } else {
                Err(malformed(came, format_args!("its tensor was {}", origin.metadata)))
            };
        }
        let fits = theirs.dtype == own.dtype
            && match self.shapes {
                Shapes::Same => theirs.shape == own.shape,
                Shapes::Any => with_axis(&theirs.shape, self.axis, 0) == with_axis(&own.shape, self.axis, 0),
            };
        if !fits {
            let but = if self.shapes == Shapes::Any { format!(" but along axis {}", self.axis) } else { String::new() };
            let me = self.place.me;
            return Err(differs(format!("member {part} gathers {theirs}, member {me} {own}: they must be equal{but}")));
        }
        self.origins[usize::from(part)] = Some(self.origin(theirs)?);
        self.lay_out()
    }

    /// Makes the result, once all shapes are known.
    fn lay_out(&mut self) -> Result<()> {
        let own = self.input.metadata();
        let length = |origin: &Option<Origin>| match (origin, self.shapes) {
            (Some(origin), _) => Some(origin.metadata.shape.dims()[self.axis]),
            (None, Shapes::Same) => Some(own.shape.dims()[self.axis]),
            (None, Shapes::Any) => None,
        };
        let Some(lengths) = self.origins.iter().map(length).collect::<Option<Vec<u64>>>() else { return Ok(()) };
        if self.result.is_some() {
            return Ok(());
        }
        let inner = own.shape.dims()[self.axis + 1..].iter().try_fold(own.dtype.size_bytes(), |n, &d| n.checked_mul(d));
        let total = lengths.iter().try_fold(0u64, |sum, &length| sum.checked_add(length));
        let too_large = || differs("the gathered tensor is too large".to_owned());
        let (inner, total) = (inner.ok_or_else(too_large)?, total.ok_or_else(too_large)?);
        let metadata = TensorMetadata::new(own.dtype, with_axis(&own.shape, self.axis, total)?);
        let size = metadata.size_bytes().filter(|size| *size <= MAX_PAYLOAD).ok_or_else(too_large)?;
        let buf = room(&self.buffers, Some(size))?;
        // Without elements nothing is placed, whatever these would be.
        let bytes = |length: u64| if size == 0 { 0 } else { length as usize * inner as usize };
        let mut begin = 0;
        let mut columns = Vec::with_capacity(lengths.len());
        for &length in &lengths {
            columns.push((bytes(length), begin));
            begin += bytes(length);
        }
        let mut layout = Layout { buf, metadata, row: bytes(total), columns };
        layout.place(self.place.me.into(), 0, self.input.bytes());
        for (member, origin) in self.origins.iter_mut().enumerate() {
            for (at, data) in origin.iter_mut().flat_map(|origin| origin.kept.drain(..)) {
                layout.place(member, at, &data);
            }
        }
        self.result = Some(layout);
        Ok(())
    }

    fn send(&self, step: u16, part: u16, offset: usize, payload: Bytes) -> Option<Outgoing> {
        let metadata = self.origins[usize::from(part)].as_ref()?.metadata.clone();
        Some(Outgoing { to: self.place.next(), metadata, step, part, offset: offset as u64, payload })
    }
}

impl Layout {
    /// Puts bytes of a member's tensor, from its byte `at` on, where they belong.
    fn place(&mut self, member: usize, mut at: usize, mut data: &[u8]) {
        let (width, column) = self.columns[member];
        while !data.is_empty() {
            let (row, within) = (at / width, at % width);
            let (now, later) = data.split_at(data.len().min(width - within));
            let begin = row * self.row + column + within;
            self.buf.as_mut_slice()[begin..begin + now.len()].copy_from_slice(now);
            (at, data) = (at + now.len(), later);
        }
    }
}

/// The shape with another length along an axis that it has; shapes of other ranks come out unequal.
fn with_axis(shape: &Shape, axis: usize, length: u64) -> Result<Shape> {
    let mut dims = shape.dims().to_vec();
    match dims.get_mut(axis) {
        Some(dim) => *dim = length,
        None => return Err(differs(format!("a shape {shape} has no axis {axis}"))),
    }
    Shape::try_from(dims).map_err(differs)
}

impl Work for Gather {
    fn begin(&mut self) -> Result<Option<Outgoing>> {
        let me = self.place.me;
        let own = self.origins[usize::from(me)].as_ref();
        let Some(range) = own.and_then(|own| own.cut.chunk(0, self.own)) else { return Ok(None) };
        self.own += 1;
        let size = self.input.dtype().size_bytes() as usize;
        Ok(self.send(0, me, range.start, self.input.bytes().slice(range.start * size..range.end * size)))
    }

    fn take(&mut self, came: Came<'_>) -> Result<Option<Outgoing>> {
        let (step, part) = (came.header.step, came.header.part);
        let last = self.place.members - 2;
        if came.from != self.place.previous() || step > last || part != self.place.back(1 + step) {
            return Err(malformed(&came, "it comes at another step or from another member"));
        }
        self.learn(&came)?;
        let size = self.input.dtype().size_bytes() as usize;
        let Some(origin) = &mut self.origins[usize::from(part)] else {
            return Err(malformed(&came, "its tensor is not known: must not happen"));
        };
        let Some((index, range)) = origin.cut.chunk_at(0, came.header.offset) else {
            return Err(malformed(&came, "no chunk begins there"));
        };
        if came.payload.len() != range.len() * size {
            let (is, should) = (came.payload.len(), range.len() * size);
            return Err(malformed(&came, format_args!("it has {is} bytes, it should have {should}")));
        }
        if !origin.seen.mark(index) {
            return Err(malformed(&came, "it came before"));
        }
        match &mut self.result {
            Some(layout) => layout.place(part.into(), range.start * size, &came.payload),
            None => origin.kept.push((range.start * size, came.payload.clone())),
        }
        Ok(if step < last { self.send(step + 1, part, range.start, came.payload) } else { None })
    }

    fn is_whole(&self) -> bool {
        let me = usize::from(self.place.me);
        let whole = |origin: &Option<Origin>| origin.as_ref().is_some_and(|origin| origin.seen.is_whole());
        self.origins.iter().enumerate().all(|(member, origin)| member == me || whole(origin))
    }

    fn finish(&mut self) -> Result<Option<Tensor>> {
        let layout = self.result.take().ok_or_else(|| differs("nothing was gathered: must not happen".to_owned()))?;
        tensor(layout.metadata, layout.buf.freeze()).map(Some)
    }

    fn lacks(&self) -> u16 {
        self.place.previous()
    }
}
