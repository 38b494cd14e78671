//! RemoteExecute, the release of what it made, and their replies, written and read by hand.
//!
//! These are most of what crosses a busy link. Through serde each of their thirty integers costs a call into a
//! visitor; by hand a frame is written and read in less than half the time. The bytes are the same: what is written here
//! is what [`codec`](crate::codec) writes, and what cannot be read here (another width, a map, a list over its limit) is
//! left to it, so that it alone decides what is an error.

#[cfg(test)]
mod hot_test;
mod reader;
mod writer;

use smallvec::SmallVec;

use crate::{
    calls::{
        DeleteMode, DeleteObjectsReply, DeleteObjectsRequest, InputRef, OutputRef, RemoteExecuteReply,
        RemoteExecuteRequest,
    },
    frame::{MAX_ARGS, MAX_DELETES},
    ids::{ContextIndex, ProgramIndex},
    tensor::{DType, MAX_RANK, Shape, TensorMetadata},
};
use reader::Reader;
use writer::{LONGEST, OBJECT, Writer};

const NIL: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;

/// Appends a request; false, and nothing is appended, if it is none of the usual ones.
pub(crate) fn encode_request(out: &mut Vec<u8>, request: &RemoteExecuteRequest) -> bool {
    let is_usual = request.baggage.is_empty() && request.in_chains.is_empty() && request.readers.is_empty();
    if !is_usual || request.out_chain.is_some() {
        return false;
    }
    let objects = request.inputs.len() + request.outputs.len() + request.released.len();
    let releases = !request.released.is_empty();
    let mut to = Writer::new(out, 10 * LONGEST + objects * (OBJECT + 6));
    to.array(9 + usize::from(releases));
    to.uint(request.context.0.into());
    to.uint(request.program.0.into());
    to.array(request.inputs.len());
    for input in &request.inputs {
        to.array(4);
        to.object(&input.object);
        to.uint(u32::from(input.origin).into());
    }
    to.array(request.outputs.len());
    for output in &request.outputs {
        to.array(4);
        to.object(&output.object);
        to.bool(output.need_metadata);
    }
    to.array(0);
    to.nil();
    to.uint(request.time_left_ms);
    to.array(0);
    to.array(0);
    if releases {
        to.objects(&request.released);
    }
    to.finish();
    true
}

/// Appends a reply.
pub(crate) fn encode_reply(out: &mut Vec<u8>, reply: &RemoteExecuteReply) {
    let dims = |metadata: &Option<TensorMetadata>| metadata.as_ref().map_or(0, |metadata| metadata.shape.rank());
    let dims: usize = reply.metadata.iter().map(dims).sum();
    let mut to = Writer::new(out, (2 + dims) * LONGEST + reply.metadata.len() * 8);
    to.array(1);
    to.array(reply.metadata.len());
    for metadata in &reply.metadata {
        match metadata {
            None => to.nil(),
            Some(metadata) => {
                to.array(2);
                to.uint(u8::from(metadata.dtype).into());
                to.array(metadata.shape.rank());
                for &dim in metadata.shape.dims() {
                    to.uint(dim);
                }
            }
        }
    }
    to.finish();
}

/// Appends a delete, or a release.
pub(crate) fn encode_delete(out: &mut Vec<u8>, request: &DeleteObjectsRequest) {
    let mut to = Writer::new(out, 4 * LONGEST + request.objects.len() * (OBJECT + 1));
    to.array(3);
    to.uint(request.context.0.into());
    to.objects(&request.objects);
    to.uint(u8::from(request.mode).into());
    to.finish();
}

/// Reads a request; `None` leaves it to the codec.
pub(crate) fn decode_request(header: &[u8]) -> Option<RemoteExecuteRequest> {
    let mut reader = Reader(header);
    let fields = reader.array(10)?;
    (fields >= 9).then_some(())?;
    let context = ContextIndex(reader.uint()?);
    let program = ProgramIndex(reader.uint()?);
    let mut inputs = SmallVec::new();
    for _ in 0..reader.array(MAX_ARGS)? {
        reader.array_of(4)?;
        inputs.push(InputRef { object: reader.object()?, origin: reader.uint::<u32>()?.into() });
    }
    let mut outputs = SmallVec::new();
    for _ in 0..reader.array(MAX_ARGS)? {
        reader.array_of(4)?;
        outputs.push(OutputRef { object: reader.object()?, need_metadata: reader.bool()? });
    }
    let (in_chains, out_chain, baggage, readers) = (SmallVec::new(), None, Vec::new(), Vec::new());
    reader.array_of(0)?;
    (reader.byte()? == NIL).then_some(())?;
    let time_left_ms = reader.uint()?;
    reader.array_of(0)?;
    reader.array_of(0)?;
    let released = if fields == 10 { reader.objects(MAX_DELETES)? } else { Vec::new() };
    reader.end(RemoteExecuteRequest {
        context,
        program,
        inputs,
        outputs,
        in_chains,
        out_chain,
        time_left_ms,
        baggage,
        readers,
        released,
    })
}

/// Reads a reply; `None` leaves it to the codec.
pub(crate) fn decode_reply(header: &[u8]) -> Option<RemoteExecuteReply> {
    let mut reader = Reader(header);
    reader.array_of(1)?;
    let mut metadata = SmallVec::new();
    for _ in 0..reader.array(MAX_ARGS)? {
        if reader.0.first() == Some(&NIL) {
            reader.byte()?;
            metadata.push(None);
            continue;
        }
        reader.array_of(2)?;
        let dtype = DType::try_from(reader.uint::<u8>()?).ok()?;
        let mut dims = SmallVec::<[u64; 4]>::new();
        for _ in 0..reader.array(MAX_RANK)? {
            dims.push(reader.uint()?);
        }
        let shape = Shape::try_from(dims).ok()?;
        metadata.push(Some(TensorMetadata { dtype, shape }));
    }
    reader.end(RemoteExecuteReply { metadata })
}

/// Reads a delete, or a release; `None` leaves it to the codec.
pub(crate) fn decode_delete(header: &[u8]) -> Option<DeleteObjectsRequest> {
    let mut reader = Reader(header);
    reader.array_of(3)?;
    let context = ContextIndex(reader.uint()?);
    let objects = reader.objects(MAX_DELETES)?;
    let mode = DeleteMode::try_from(reader.uint::<u8>()?).ok()?;
    reader.end(DeleteObjectsRequest { context, objects, mode })
}

/// Reads the reply of a delete that has done all that was asked; `None` leaves it to the codec.
pub(crate) fn decode_deleted(header: &[u8]) -> Option<DeleteObjectsReply> {
    let mut reader = Reader(header);
    reader.array_of(1)?;
    reader.array_of(0)?;
    reader.end(DeleteObjectsReply { failures: Vec::new() })
}
