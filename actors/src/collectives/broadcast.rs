//! Broadcast along the ring, from the root to the member before it. Pure.

use remex_protocol::{
    frame::MAX_PAYLOAD,
    tensor::{AlignedBuf, BufferPool, Tensor, TensorMetadata},
};

use super::{
    plan::{Cut, Seen},
    work::{Came, Outgoing, Place, Work, differs, malformed, room, tensor},
};
use crate::Result;

/// The work of the root: done when its neighbour has taken everything.
#[derive(Debug)]
struct Root {
    place: Place,
    input: Tensor,
    cut: Cut,
    own: usize,
}

/// The work of another member.
#[derive(Debug)]
struct Other {
    place: Place,
    root: u16,
    /// How many members the tensor passes before it comes here.
    step: u16,
    /// What the caller expects, if they said so.
    expected: Option<TensorMetadata>,
    /// Most bytes of a chunk.
    chunk: usize,
    /// Known with the first chunk.
    coming: Option<(TensorMetadata, Cut, Seen, AlignedBuf)>,
    buffers: BufferPool,
}

/// The work of one of at least two members. The root gives the tensor; what another one gives is not sent, but must be of
/// the root's type and shape.
pub(super) fn start(
    place: Place,
    root: u16,
    input: Option<Tensor>,
    chunk: usize,
    buffers: &BufferPool,
) -> Result<Box<dyn Work>> {
    if root != place.me {
        let step = place.back((root + 1) % place.members);
        let expected = input.map(|tensor| tensor.metadata().clone());
        let buffers = buffers.clone();
        return Ok(Box::new(Other { place, root, step, expected, chunk, coming: None, buffers }));
    }
    let input = input.ok_or_else(|| differs("the root of a broadcast must give the tensor".to_owned()))?;
    let cut = cut(input.metadata(), chunk)?;
    Ok(Box::new(Root { place, input, cut, own: 0 }))
}

fn cut(metadata: &TensorMetadata, chunk: usize) -> Result<Cut> {
    let elements = metadata.shape.elements().filter(|_| metadata.size_bytes().is_some_and(|len| len <= MAX_PAYLOAD));
    let elements = elements.and_then(|elements| usize::try_from(elements).ok());
    let elements = elements.ok_or_else(|| differs(format!("a tensor {metadata} is too large to be broadcast")))?;
    Ok(Cut::new(elements, 1, 1, chunk / metadata.dtype.size_bytes() as usize))
}

impl Work for Root {
    fn begin(&mut self) -> Result<Option<Outgoing>> {
        let Some(range) = self.cut.chunk(0, self.own) else { return Ok(None) };
        self.own += 1;
        let size = self.input.dtype().size_bytes() as usize;
        let payload = self.input.bytes().slice(range.start * size..range.end * size);
        let (to, metadata, part) = (self.place.next(), self.input.metadata().clone(), self.place.me);
        Ok(Some(Outgoing { to, metadata, step: 0, part, offset: range.start as u64, payload }))
    }

    fn take(&mut self, came: Came<'_>) -> Result<Option<Outgoing>> {
        Err(malformed(&came, "the root gets nothing"))
    }

    fn is_whole(&self) -> bool {
        self.own == self.cut.chunks(0)
    }

    fn ends_with_its_sends(&self) -> bool {
        true
    }

    fn finish(&mut self) -> Result<Option<Tensor>> {
        Ok(Some(self.input.clone()))
    }

    fn lacks(&self) -> u16 {
        self.place.next()
    }
}

impl Work for Other {
    fn begin(&mut self) -> Result<Option<Outgoing>> {
        Ok(None)
    }

    fn take(&mut self, came: Came<'_>) -> Result<Option<Outgoing>> {
        let (header, metadata) = (came.header, came.header.metadata());
        if came.from != self.place.previous() || header.step != self.step || header.part != self.root {
            return Err(malformed(&came, "it comes at another step or from another member"));
        }
        if let Some(expected) = self.expected.as_ref().filter(|expected| **expected != metadata) {
            let (root, me) = (self.root, self.place.me);
            return Err(differs(format!(
                "the root, member {root}, broadcasts {metadata}, member {me} expects {expected}"
            )));
        }
        if self.coming.is_none() {
            let cut = cut(&metadata, self.chunk)?;
            let (seen, buf) = (Seen::new(cut.chunks(0)), room(&self.buffers, metadata.size_bytes())?);
            self.coming = Some((metadata.clone(), cut, seen, buf));
        }
        let Some((known, cut, seen, buf)) = &mut self.coming else { return Ok(None) };
        if *known != metadata {
            return Err(malformed(&came, format_args!("the tensor was {known}")));
        }
        let Some((index, range)) = cut.chunk_at(0, header.offset) else {
            return Err(malformed(&came, "no chunk begins there"));
        };
        let size = metadata.dtype.size_bytes() as usize;
        if came.payload.len() != range.len() * size {
            let (is, should) = (came.payload.len(), range.len() * size);
            return Err(malformed(&came, format_args!("it has {is} bytes, it should have {should}")));
        }
        if !seen.mark(index) {
            return Err(malformed(&came, "it came before"));
        }
        buf.as_mut_slice()[range.start * size..range.end * size].copy_from_slice(&came.payload);
        let (to, step, part, offset) = (self.place.next(), self.step + 1, self.root, header.offset);
        Ok((to != self.root).then_some(Outgoing { to, metadata, step, part, offset, payload: came.payload }))
    }

    fn is_whole(&self) -> bool {
        self.coming.as_ref().is_some_and(|(_, _, seen, _)| seen.is_whole())
    }

    fn finish(&mut self) -> Result<Option<Tensor>> {
        let coming = self.coming.take().ok_or_else(|| differs("nothing was broadcast: must not happen".to_owned()))?;
        let (metadata, _, _, buf) = coming;
        tensor(metadata, buf.freeze()).map(Some)
    }

    fn lacks(&self) -> u16 {
        self.place.previous()
    }
}
