//! One header behind a head that is right: of every call, every reply, and of the handshake.

use remex_protocol::{
    Body, Call, DecoderLimits, Frame, Rpc, calls::RemoteExecuteReply, calls::RemoteExecuteRequest, decode, frame::kind,
};

use super::wire;
use crate::memory::{self, Usage};

const FAILED: u8 = 4;
/// How many numbers of calls are tried: more than there are calls.
pub(crate) const CALLS: u8 = 32;
/// What stands for the other frames that a worker sends.
pub(crate) const METADATA: u8 = 2 * CALLS - 2;
pub(crate) const GOODBYE: u8 = 2 * CALLS - 1;

/// The first byte chooses the call; the rest is its header. A call that cannot be read is still answered.
pub(super) fn calls(input: &[u8]) {
    let Some((&which, header)) = input.split_first() else { return };
    let kind = kind::CALLS + which % CALLS;
    let frame = alone(kind, 0, header, DecoderLimits::OPEN);
    let Some(frame) = frame else { panic!("call {kind} must be answered, even if it is none") };
    assert!(matches!(frame.body, Body::Call(_) | Body::Undecodable { .. }), "{frame:?}");
    if kind == RemoteExecuteRequest::KIND {
        // It is read in two ways, by hand and by the codec, which must agree.
        let expected = decode::<RemoteExecuteRequest>(header).map(|request| format!("{request:?}"));
        match &frame.body {
            Body::Call(Call::RemoteExecute(request)) => assert_eq!(Ok(format!("{request:?}")), expected),
            other => assert!(expected.is_err(), "{other:?}, but the codec read {expected:?}"),
        }
    }
    wire::must_come_back(&frame);
}

/// The first byte chooses the call and whether it failed; the rest is the header. Also the other frames that a worker
/// may send: metadata, goodbye.
pub(super) fn replies(input: &[u8]) {
    let Some((&which, header)) = input.split_first() else { return };
    let (kind, flags) = match which % (2 * CALLS) {
        METADATA => (kind::METADATA, 0),
        GOODBYE => (kind::GOODBYE, 0),
        n if n < CALLS - 1 => ((kind::CALLS + n) | kind::COMPLETED, 0),
        n => ((kind::CALLS + n - (CALLS - 1)) | kind::COMPLETED, FAILED),
    };
    if kind & kind::COMPLETED != 0 && Call::name_of(kind & !kind::COMPLETED).is_none() {
        // No call of ours is answered so: that it ends the link is the target of whole streams.
        return;
    }
    let Some(frame) = alone(kind, flags, header, DecoderLimits::OPEN) else {
        assert!(kind & kind::COMPLETED == 0, "a reply that cannot be read costs its call alone");
        return;
    };
    if kind == RemoteExecuteRequest::KIND | kind::COMPLETED && flags == 0 {
        let expected = decode::<RemoteExecuteReply>(header).map(|reply| format!("{reply:?}"));
        match &frame.body {
            Body::Completed(remex_protocol::Reply::RemoteExecute(reply)) => {
                assert_eq!(Ok(format!("{reply:?}")), expected);
            }
            other => assert!(expected.is_err(), "{other:?}, but the codec read {expected:?}"),
        }
    }
    wire::must_come_back(&frame);
}

/// The first byte chooses Hello, Welcome or Refused; the rest is the header.
pub(super) fn handshake(input: &[u8]) {
    let Some((&which, header)) = input.split_first() else { return };
    let frame = alone(kind::HELLO + which % 3, 0, header, DecoderLimits::HANDSHAKE);
    if let Some(frame) = &frame {
        wire::must_come_back(frame);
    }
    #[cfg(feature = "worker")]
    if let Some(Frame { body: Body::Hello(hello), .. }) = &frame {
        welcome(hello);
    }
}

/// A Hello is welcomed only if it is one that this version understands, and refused with a reason otherwise.
#[cfg(feature = "worker")]
fn welcome(hello: &remex_protocol::handshake::Hello) {
    use remex::{actors::link, protocol::handshake::*};

    let who = link::Identity {
        task: remex_protocol::cluster::TaskName::new("worker", 0).expect("a good name"),
        incarnation: remex_protocol::ids::Incarnation(2),
        buffers: remex_protocol::tensor::BufferPool::new(0),
        traffic: Default::default(),
        chance: remex::actors::chance::Chance::seeded(0),
    };
    match link::welcome(hello, &who, Credits::default()) {
        Ok(_) => assert!(hello.magic == MAGIC && hello.version >= VERSION && hello.oldest <= VERSION),
        Err(error) => assert!(!error.message.is_empty()),
    }
}

/// The one frame with this header; `None` if it ends the link. The memory is bounded by the header's length.
fn alone(kind: u8, flags: u8, header: &[u8], limits: DecoderLimits) -> Option<Frame> {
    let bytes = wire::frame(kind, flags, header);
    let ((mut frames, error), usage) = memory::measure(|| wire::decode(limits, &bytes, || usize::MAX));
    bounded(usage, bytes.len());
    assert!(frames.len() <= 1, "one frame was sent: {frames:?}");
    assert_ne!(error.is_some(), frames.len() == 1, "{error:?} {frames:?}");
    frames.pop()
}

/// A header of 1 MiB becomes some MiB at most, whatever it says; a short one the decoder's own 16 KiB and a table or two.
fn bounded(usage: Usage, len: usize) {
    assert!(usage.peak <= (256 << 10) + 64 * len, "{len} bytes came, {usage:?}");
}
