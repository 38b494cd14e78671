//! What waits until the server has answered, within bounds. Pure.

use std::collections::VecDeque;

use remex_protocol::{Frame, encode_frame, frame::MAX_HEADER, handshake::Credits};

/// Most frames of a session that wait for the answer to a call that concerns the server. One that keeps to its credits has
/// far fewer.
pub const MAX_HELD_FRAMES: usize = 65_536;

/// Most replies that are kept because the caller has not acknowledged them; twice its credits of calls, where these are more.
/// One that keeps to its credits and acknowledges with its heartbeats stays far below.
pub const MAX_KEPT_REPLIES: usize = 65_536;

/// A caller acknowledges answers with its next frame, so as many as it may have in flight can be kept at one time.
pub(super) fn most_kept(credits: Credits) -> usize {
    MAX_KEPT_REPLIES.max((credits.calls as usize).saturating_mul(2))
}

/// How much may wait (I8).
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldLimits {
    pub(super) frames: usize,
    /// Of headers and payloads. The frame that goes over it is taken still: a payload may be larger than any window.
    pub(super) bytes: u64,
}

impl HeldLimits {
    /// What a caller with these credits can send that waits for no answer: twice the window, since one whose call is
    /// refused while its payload is on its way has its credits back; and a little for what takes no credits.
    pub(super) fn of(credits: Credits) -> Self {
        let bytes = credits.bytes.saturating_mul(2).saturating_add(16 * MAX_HEADER as u64);
        Self { frames: MAX_HELD_FRAMES, bytes }
    }
}

/// Frames in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: VecDeque<Frame>,
    /// Sizes of the first of them: each is measured once at most, and none that need not wait.
    sizes: VecDeque<u64>,
    /// Sum of these.
    bytes: u64,
    /// Room to measure headers in.
    scratch: Vec<u8>,
}

impl Held {
    /// Frames that have come and are not measured.
    pub(super) fn of(frames: Vec<Frame>) -> Self {
        Self { frames: frames.into(), ..Self::default() }
    }

    /// Frames behind those that wait. False if that is too much: then those that are too many are dropped.
    pub(super) fn extend(&mut self, frames: impl IntoIterator<Item = Frame>, limits: HeldLimits) -> bool {
        self.frames.extend(frames);
        for i in self.sizes.len()..self.frames.len() {
            if i >= limits.frames || self.bytes > limits.bytes {
                self.frames.truncate(i);
                return false;
            }
            let size = self.size(i);
            self.bytes = self.bytes.saturating_add(size);
            self.sizes.push_back(size);
        }
        true
    }

    /// The first frame.
    pub(super) fn next(&mut self) -> Option<Frame> {
        self.bytes -= self.sizes.pop_front().unwrap_or_default();
        self.frames.pop_front()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Bytes of a frame, as on the wire. What is only announced is not here yet.
    fn size(&mut self, i: usize) -> u64 {
        let frame = &self.frames[i];
        let payload = match &frame.payload {
            remex_protocol::Payload::Whole(bytes) => bytes.len(),
            remex_protocol::Payload::None | remex_protocol::Payload::Announced(_) => 0,
        };
        self.scratch.clear();
        // What a decoder makes has no bytes, and is small.
        let _ = encode_frame(&mut self.scratch, frame, false);
        (self.scratch.len() + payload) as u64
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use remex_protocol::{Body, Call, Payload, calls::GetDevicesRequest, ids::CallId};

    use super::*;

    fn frame(payload: Payload) -> Frame {
        let call = Body::Call(Call::GetDevices(Box::new(GetDevicesRequest {})));
        Frame { payload, ..Frame::new(CallId::new(1, 0), call) }
    }

    /// I8.
    #[test]
    fn frames_and_bytes_that_wait_are_bounded() {
        let limits = HeldLimits { frames: 3, bytes: 1000 };
        let mut held = Held::default();
        assert!(held.extend((0..3).map(|_| frame(Payload::Announced(1 << 30))), limits));
        assert!(!held.extend([frame(Payload::None)], limits));
        assert_eq!((held.frames.len(), held.sizes.len()), (3, 3));
        assert!(held.next().is_some() && held.extend([frame(Payload::None)], limits), "one is gone");
        let large = || frame(Payload::Whole(Bytes::from(vec![0; 5000])));
        let mut held = Held::default();
        assert!(held.extend([frame(Payload::None), large()], limits), "one may be larger than the window");
        assert!(!held.extend([frame(Payload::None)], limits), "and nothing may follow it");
        let mut held = Held::default();
        assert!(
            !held.extend((0..100).map(|_| frame(Payload::None)), HeldLimits { frames: 100, ..limits }),
            "headers count"
        );
    }
}
