//! Data sent by a key, and a chunk of a collective.

use remex_protocol::{Reply, calls::*, collective::*, tensor::DType};
use smallvec::smallvec;

use super::{CONTEXT, call, data, reply};

pub(super) fn sends() -> Vec<super::Golden> {
    let send = SendDataRequest {
        context: CONTEXT,
        key: "step 1".try_into().unwrap(),
        purpose: Purpose::Value,
        header: b"hi".to_vec(),
        buffers: smallvec![3, 5],
        time_left_ms: 60_000,
    };
    let header = ChunkHeader {
        group: 0,
        run: 4,
        op: CollectiveOp::AllReduce(Reduction::Sum),
        dtype: DType::F32,
        shape: [4].into(),
        step: 0,
        part: 1,
        offset: 0,
    };
    let chunk = SendDataRequest {
        key: "grads".try_into().unwrap(),
        purpose: Purpose::Collective,
        header: header.to_bytes().unwrap(),
        buffers: smallvec![8],
        ..send.clone()
    };
    vec![
        call("send_data", "SendData: call 28, a value of two buffers", 12, send).with(b"abcdefgh".to_vec(), true),
        call("send_data_chunk", "SendData: call 28, a chunk of an all-reduce", 13, chunk).with(data(&[1.0, 2.0]), true),
        reply("send_data_reply", "SendData is completed", 12, Reply::SendData(SendDataReply {})),
    ]
}
