//! A frame of every kind, as `tests/golden` pins them: one conversation of a client and a worker.

mod data;
mod links;
mod objects;
mod programs;

use bytes::Bytes;
use remex_protocol::{
    Body, Effect, ErrorCode, Frame, RemoteError, Reply, Rpc, encode_frame, encode_piece, ids::*, tensor::*,
};

/// A frame, what its file is called and what the file says of itself.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    pub(crate) frame: Frame,
    /// What goes beside the head and header.
    pub(crate) payload: Vec<u8>,
    pub(crate) checksum: bool,
}

const CONTEXT: ContextIndex = ContextIndex(0);
const PREFIX: ObjectPrefix = ObjectPrefix(0x1122_3344_5566_7788);

fn object(local: u64) -> ObjectId {
    ObjectId { prefix: PREFIX, local, device: DeviceIndex(0) }
}

fn f32s(dims: impl Into<Shape>) -> TensorMetadata {
    TensorMetadata::new(DType::F32, dims)
}

fn data(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn error() -> RemoteError {
    RemoteError::new(ErrorCode::NotFound, "no object o1122334455667788/9@d0")
        .on_task("/job:worker/task:0")
        .in_program("add")
        .of_call(CallId::new(2, 0))
        .with_effect(Effect::NotRun)
        .through("r3.0")
}

/// All of them, in the order of their kinds.
pub(crate) fn all() -> Vec<Golden> {
    let mut all = links::handshake();
    all.extend(links::contexts());
    all.extend(programs::programs());
    all.extend(objects::objects());
    all.extend(data::sends());
    all
}

fn plain(name: &'static str, says: &'static str, body: Body) -> Golden {
    Golden { name, says, frame: Frame::new(CallId::default(), body), payload: Vec::new(), checksum: false }
}

/// A call with the number of its frame; calls are in slot `number - 1`, so that the files tell one conversation.
fn call<R: Rpc>(name: &'static str, says: &'static str, number: u64, request: R) -> Golden {
    let mut golden = plain(name, says, Body::Call(request.into_call()));
    golden.frame.call = CallId::new(number as u32 - 1, 0);
    golden.frame.number = number;
    golden.frame.ack = number - 1;
    golden
}

fn reply(name: &'static str, says: &'static str, number: u64, reply: Reply) -> Golden {
    let mut golden = plain(name, says, Body::Completed(reply));
    golden.frame.call = CallId::new(number as u32 - 1, 0);
    golden.frame.number = number;
    golden.frame.ack = number;
    golden
}

impl Golden {
    fn with(mut self, payload: Vec<u8>, checksum: bool) -> Self {
        self.frame = self.frame.with_payload(Bytes::from(payload.clone()));
        self.payload = payload;
        self.checksum = checksum;
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, &self.frame, self.checksum).unwrap();
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// A tensor as bytes that describe themselves.
pub(crate) fn serialized_tensor() -> Vec<u8> {
    let tensor = Tensor::from_slice([2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    tensor.serialize().to_contiguous().unwrap().to_vec()
}

/// A part of the payload of `put_object_in_pieces`.
pub(crate) fn piece() -> Vec<u8> {
    let bytes = data(&[1.0, 2.0]);
    let mut piece = Vec::new();
    encode_piece(&mut piece, CallId::new(3, 0), 0, 3, &bytes, true);
    piece.extend_from_slice(&bytes);
    piece
}
