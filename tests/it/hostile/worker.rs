//! A worker that means harm: calls to it fail, those to others go on.

use remex::{
    Signature,
    prelude::*,
    protocol::{Body, Call, Frame, RemoteError, Reply, calls::*, cluster::ClusterConfig, ids::*},
    tensor::DType,
};

use super::{
    frames::framed,
    peer::{PipeListener, Stranger, World, hello, within},
};

const HOSTILE: &str = "/job:test/task:9";
const ITS_DEVICE: &str = "/job:test/task:9/device:CPU:0";

/// Answers what brings a context up, and gives the first call that is none of that: the program's.
async fn until_called(listener: &mut PipeListener, signature: Option<Signature>) -> (Stranger, CallId) {
    let mut peer = listener.next().await;
    loop {
        let Frame { call, body, .. } = peer.next().await.unwrap();
        let reply = match body {
            Body::Hello(_) => {
                let welcome = super::frames::welcome(HOSTILE);
                peer.say(Body::Welcome(Box::new(welcome))).await;
                continue;
            }
            Body::Call(Call::GetDevices(_)) => Reply::GetDevices(GetDevicesReply {
                task: HOSTILE.parse().unwrap(),
                incarnation: Incarnation(5),
                devices: vec![ITS_DEVICE.parse().unwrap()],
            }),
            Body::Call(Call::CreateContext(_)) => Reply::CreateContext(CreateContextReply {
                incarnation: Incarnation(5),
                ready_chain: ObjectId { prefix: ObjectPrefix(4), local: 1, device: DeviceIndex(0) },
            }),
            Body::Call(Call::RegisterFunction(_)) => {
                Reply::RegisterFunction(RegisterFunctionReply { signature: signature.clone(), output_devices: None })
            }
            Body::Call(Call::RemoteExecute(_)) => return (peer, call),
            other => panic!("{other:?} is not expected"),
        };
        peer.send(Frame::new(call, Body::Completed(reply))).await;
    }
}

fn completed(call: CallId, metadata: usize) -> Frame {
    let metadata = (0..metadata).map(|_| Some(TensorMetadata::new(DType::F32, [2u64]))).collect();
    Frame::new(call, Body::Completed(Reply::RemoteExecute(RemoteExecuteReply { metadata })))
}

fn completed_as(call: CallId, dtype: DType) -> Frame {
    let metadata = [Some(TensorMetadata::new(dtype, [2u64]))].into_iter().collect();
    Frame::new(call, Body::Completed(Reply::RemoteExecute(RemoteExecuteReply { metadata })))
}

fn early(call: CallId, output: u32, dtype: DType) -> Frame {
    Frame::new(call, Body::Metadata { output, metadata: TensorMetadata::new(dtype, [2u64]) })
}

fn failed(call: CallId, kind: u8) -> Frame {
    let mut error = RemoteError::new(ErrorCode::DataLoss, "m".repeat(100_000));
    error.via = (0..16).map(|n| n.to_string().repeat(1_000)).collect();
    Frame::new(call, Body::Failed { kind, error: Box::new(error) })
}

/// What a worker says to one call, and how the call ends: `None` is success.
type Harm = (&'static str, fn(&mut Stranger, CallId) -> Vec<u8>, Option<ErrorCode>);

fn harms() -> Vec<Harm> {
    use ErrorCode::{DataLoss, DeadlineExceeded, Internal, RpcUnavailable};

    vec![
        ("noise", |_, _| vec![0x5a; 300], Some(RpcUnavailable)),
        ("nothing", |_, _| vec![], Some(DeadlineExceeded)),
        (
            "the reply of another call",
            |s, c| s.bytes(Frame::new(c, Body::Completed(Reply::Cancel(CancelReply {})))),
            Some(Internal),
        ),
        ("less metadata than outputs", |s, c| s.bytes(completed(c, 0)), Some(Internal)),
        ("more metadata than outputs", |s, c| s.bytes(completed(c, 900)), Some(Internal)),
        (
            "metadata of an output that there is not",
            |s, c| {
                [s.bytes(early(c, 1, DType::U8)), s.bytes(early(c, u32::MAX, DType::U8)), s.bytes(completed(c, 1))]
                    .concat()
            },
            Some(Internal),
        ),
        (
            "metadata that changes in the reply",
            |s, c| [s.bytes(early(c, 0, DType::U8)), s.bytes(completed(c, 1))].concat(),
            Some(Internal),
        ),
        (
            "metadata that changes, and nothing more",
            |s, c| [s.bytes(early(c, 0, DType::U8)), s.bytes(early(c, 0, DType::F32))].concat(),
            Some(Internal),
        ),
        (
            "the same metadata twice",
            |s, c| {
                [s.bytes(early(c, 0, DType::F32)), s.bytes(early(c, 0, DType::F32)), s.bytes(completed(c, 1))].concat()
            },
            None,
        ),
        (
            "the failure of a call that there is not",
            |s, c| {
                let error = RemoteError::new(ErrorCode::Unimplemented, "what is that?");
                s.bytes(Frame::new(c, Body::Failed { kind: 99, error: Box::new(error) }))
            },
            Some(ErrorCode::Unimplemented),
        ),
        ("a reply twice", |s, c| [s.bytes(completed(c, 1)), s.bytes(completed(c, 1))].concat(), None),
        ("a reply after a failure", |s, c| [s.bytes(failed(c, 23)), s.bytes(completed(c, 1))].concat(), Some(DataLoss)),
        ("the failure of another call", |s, c| s.bytes(failed(c, 16)), Some(DataLoss)),
        (
            "replies nobody asked for",
            |s, c| {
                let calls =
                    [CallId::new(u32::MAX, u32::MAX), CallId::new(c.index, c.generation + 1), CallId::new(999, 0)];
                let frames: Vec<_> = calls.into_iter().map(|call| s.bytes(completed(call, 1))).collect();
                [frames.concat(), s.bytes(completed(c, 1))].concat()
            },
            None,
        ),
        (
            "a reply that cannot be read",
            |s, _| {
                s.sent += 1;
                framed(23 | 0x80, 0, 0, s.sent, &[0x91; 1_000])
            },
            Some(DeadlineExceeded),
        ),
        (
            "a call of its own",
            |s, c| {
                let call = Body::Call(Call::GetDevices(Box::new(GetDevicesRequest {})));
                [s.bytes(Frame::new(c, call)), s.bytes(completed(c, 1))].concat()
            },
            None,
        ),
        (
            "a second Welcome",
            |s, c| {
                let hello = Body::Hello(Box::new(hello(HOSTILE)));
                [s.bytes(Frame::new(c, hello)), s.bytes(completed(c, 1))].concat()
            },
            Some(ErrorCode::RpcUnavailable),
        ),
        (
            "a gap in the numbers",
            |s, c| {
                s.sent += 5;
                s.bytes(completed(c, 1))
            },
            Some(RpcUnavailable),
        ),
        (
            "a payload announced, and no more",
            |s, c| {
                s.sent += 1;
                let mut head = framed(26 | 0x80, 1, 16 << 30, s.sent, &[0x91, 0x92, 10, 0x90]);
                head[16..20].copy_from_slice(&c.index.to_le_bytes());
                head
            },
            Some(DeadlineExceeded),
        ),
    ]
}

/// A context with a worker that does what it likes.
fn with_hostile() -> remex::ContextConfig {
    let mut config = ClusterConfig::new();
    config.add(HOSTILE.parse().unwrap(), Some("pipe:h".parse().unwrap())).unwrap();
    remex::ContextConfig::new(config)
}

/// I1: whatever a worker says, the promises of a call to it settle by their deadline, and other workers' calls go on.
#[actix::test]
async fn a_hostile_worker_harms_its_own_calls_alone() {
    tokio::time::pause();
    for (what, harm, expected) in harms() {
        let world = World::on_paused_clock(&[]).await;
        world
            .bears(async |world: &World| {
                let mut listener = world.pipes.accept("h");
                let bring_up = world.client.create_context(with_hostile());
                let calls = async {
                    let context = bring_up.await.unwrap();
                    let program = context.register(HOSTILE, RegisterFunction::native("any")).await.unwrap();
                    let device = context.device_of(HOSTILE).unwrap();
                    let spec = remex::RemoteExecuteSpec { output_devices: vec![device] };
                    let call =
                        RemoteExecute::new(&program).spec(spec).handles(1).deadline(std::time::Duration::from_secs(2));
                    let call = context.execute(call).await.unwrap();
                    let done = call.chain.done().await;
                    let metadata = call.handles[0].metadata().await;
                    (context, done, metadata)
                };
                let harm = async {
                    let (mut peer, call) = until_called(&mut listener, None).await;
                    let bytes = harm(&mut peer, call);
                    peer.write(&bytes).await;
                    // Kept open, but it says nothing more.
                    peer
                };
                let ((context, done, metadata), peer) = within(8, async { tokio::join!(calls, harm) }).await;
                assert_eq!(done.as_ref().err().map(|error| error.code()), expected, "{what}: {done:?}");
                // Settled in any case. I2: what was said first stands.
                let known = metadata.as_ref().ok().map(|metadata| metadata.dtype);
                let early = what.starts_with("metadata that").then_some(DType::U8);
                assert_eq!(known, if expected.is_none() { Some(DType::F32) } else { early }, "{what}: {metadata:?}");
                if let Some(error) = done.err().filter(|error| error.code() == ErrorCode::Internal) {
                    assert!(error.task() == Some(HOSTILE) && error.message().contains("was answered with"), "{error}");
                }
                world.goes_on().await;
                drop(peer);
                drop(listener);
                let _ = context.close().await;
            })
            .await;
    }
}

/// I2: what the caller inferred from the signature that the worker gave stands; a worker that says something else later, early
/// or in its reply, fails its call with an error that names both.
#[actix::test]
async fn a_worker_that_contradicts_its_signature_fails_its_call() {
    tokio::time::pause();
    type Says = fn(&mut Stranger, CallId) -> Vec<u8>;
    let cases: [(Says, Option<ErrorCode>); 4] = [
        (|s, c| s.bytes(completed(c, 1)), None),
        (|s, c| [s.bytes(early(c, 0, DType::F32)), s.bytes(completed(c, 1))].concat(), None),
        (|s, c| s.bytes(early(c, 0, DType::U8)), Some(ErrorCode::Internal)),
        (|s, c| s.bytes(completed_as(c, DType::U8)), Some(ErrorCode::Internal)),
    ];
    for (says, expected) in cases {
        let world = World::on_paused_clock(&[]).await;
        let mut listener = world.pipes.accept("h");
        let bring_up = world.client.create_context(with_hostile());
        let calls = async {
            let context = bring_up.await.unwrap();
            let program = context.register(HOSTILE, RegisterFunction::native("any")).await.unwrap();
            let spec = remex::RemoteExecuteSpec { output_devices: vec![context.device_of(HOSTILE).unwrap()] };
            let call = context.execute(RemoteExecute::new(&program).spec(spec).handles(1)).await.unwrap();
            assert_eq!(call.handles[0].try_metadata().unwrap().unwrap().to_string(), "f32[2]");
            let done = call.chain.done().await;
            assert_eq!(done.as_ref().err().map(|error| error.code()), expected, "{done:?}");
            if let Err(error) = &done {
                assert!(error.message().contains("output 0 as u8[2], but f32[2] was said"), "{error}");
                assert_eq!((error.task(), error.call()), (Some(HOSTILE), Some(call.chain.call())));
                assert_eq!(call.handles[0].tensor().await.unwrap_err(), *error);
            }
            assert_eq!(call.handles[0].metadata().await.unwrap().to_string(), "f32[2]");
            context
        };
        let says = async {
            let signature = Signature::symbolic("-> f32[2]").unwrap();
            let (mut peer, call) = until_called(&mut listener, Some(signature)).await;
            let bytes = says(&mut peer, call);
            peer.write(&bytes).await;
            peer
        };
        let (context, peer) = within(8, async { tokio::join!(calls, says) }).await;
        drop((peer, listener));
        let _ = context.close().await;
    }
}
