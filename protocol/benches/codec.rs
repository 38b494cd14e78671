//! What it costs to turn a small call and its answer into bytes and back, alone and 64 at once.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench has no callers")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use remex_protocol::{
    Body, Decoder, DecoderLimits, Frame, Reply, Rpc, calls::*, encode_frame, ids::*, tensor::DType,
    tensor::TensorMetadata,
};
use smallvec::smallvec;

fn object(local: u64) -> ObjectId {
    ObjectId { prefix: ObjectPrefix(0x1122_3344_5566_7788), local, device: DeviceIndex(1) }
}

/// Three inputs, two outputs, no baggage.
fn execute(number: u64) -> Frame {
    let input = |local| InputRef { object: object(local), origin: Origin::Here };
    let output = |local| OutputRef { object: object(local), need_metadata: true };
    let request = RemoteExecuteRequest {
        context: ContextIndex(0),
        program: ProgramIndex(3),
        inputs: smallvec![input(1000), input(1001), input(1002)],
        outputs: smallvec![output(2000), output(2001)],
        in_chains: Default::default(),
        out_chain: None,
        time_left_ms: 60_000,
        baggage: Vec::new(),
        readers: Vec::new(),
        released: Vec::new(),
    };
    let mut frame = Frame::new(CallId::new(number as u32, 7), Body::Call(request.into_call()));
    (frame.number, frame.ack) = (number, number);
    frame
}

fn completed(number: u64) -> Frame {
    let metadata = Some(TensorMetadata::new(DType::F32, [1, 1000]));
    let reply = RemoteExecuteReply { metadata: smallvec![metadata.clone(), metadata] };
    let mut frame = Frame::new(CallId::new(number as u32, 7), Body::Completed(Reply::RemoteExecute(reply)));
    (frame.number, frame.ack) = (number, number);
    frame
}

fn encode_all(out: &mut Vec<u8>, frames: &[Frame]) {
    for frame in frames {
        encode_frame(out, frame, false).unwrap();
    }
}

/// As a link does with what one read of its socket gave.
fn decode_all(decoder: &mut Decoder, bytes: &[u8], frames: &mut Vec<Frame>) {
    decoder.space()[..bytes.len()].copy_from_slice(bytes);
    decoder.advance(bytes.len()).unwrap();
    while let Some(frame) = decoder.next_frame().unwrap() {
        frames.push(frame);
    }
}

fn codec(c: &mut Criterion) {
    for (name, make) in [("execute", execute as fn(u64) -> Frame), ("completed", completed)] {
        let mut group = c.benchmark_group(name);
        for n in [1u64, 64] {
            let frames: Vec<_> = (1..=n).map(make).collect();
            let mut bytes = Vec::new();
            encode_all(&mut bytes, &frames);
            group.throughput(Throughput::Elements(n));
            let mut out = Vec::with_capacity(bytes.len());
            group.bench_function(format!("encode {n}"), |b| {
                b.iter(|| {
                    out.clear();
                    encode_all(&mut out, black_box(&frames));
                });
            });
            let mut decoder = Decoder::new(DecoderLimits::OPEN);
            group.bench_function(format!("decode {n}"), |b| {
                b.iter_batched_ref(
                    || Vec::with_capacity(n as usize),
                    |frames| decode_all(&mut decoder, black_box(&bytes), frames),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
