//! Payloads that arrive in pieces.

use std::collections::BTreeMap;

use crate::{
    frame::{Body, Frame, FrameError, Head, MAX_ANNOUNCED, MAX_TRANSFERS, Payload},
    ids::CallId,
    tensor::{AlignedBuf, BufferPool},
};

use super::allocate;

/// The payloads that were announced and are not whole, by call.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    of: BTreeMap<CallId, Transfer>,
    /// Bytes of all of them, those that are here and those that are not.
    bytes: u64,
    /// Pieces that have come since the beginning.
    pieces: u64,
}

#[derive(Debug)]
struct Transfer {
    buf: AlignedBuf,
    len: u64,
    filled: u64,
    /// A reply waits here for its payload; a call was handed on already.
    reply: Option<Box<Frame>>,
}

impl Transfers {
    /// Whether a payload is on its way.
    pub(super) fn any(&self) -> bool {
        !self.of.is_empty()
    }

    /// How many pieces have come so far, while some are still to come.
    pub(super) fn progress(&self) -> Option<u64> {
        self.any().then_some(self.pieces)
    }

    /// Makes room for the payload that `frame` announces. A call is given back to be handed on at once, so that its
    /// place in the order is kept; a reply is held until its payload is whole, and its place is marked.
    pub(super) fn announce(
        &mut self,
        head: &Head,
        mut frame: Frame,
        buffers: &BufferPool,
    ) -> Result<Frame, FrameError> {
        if self.of.len() >= MAX_TRANSFERS {
            let why = format!("more than {MAX_TRANSFERS} payloads in pieces at one time");
            return Err(FrameError::Malformed(why));
        }
        if self.of.contains_key(&head.call) {
            let why = format!("call {} has a payload on its way already", head.call);
            return Err(FrameError::Malformed(why));
        }
        let together = self.bytes.saturating_add(head.payload_len);
        if together > MAX_ANNOUNCED {
            let what = "all payloads on their way";
            return Err(FrameError::TooLarge { what, actual: together, limit: MAX_ANNOUNCED });
        }
        let buf = allocate(head.payload_len, buffers)?;
        let is_call = matches!(frame.body, Body::Call(_) | Body::Undecodable { .. });
        let (reply, handed_on) = if is_call {
            frame.payload = Payload::Announced(head.payload_len);
            (None, frame)
        } else {
            let mark = Frame { number: frame.number, ack: frame.ack, ..Frame::new(frame.call, Body::ReplyAnnounced) };
            frame.number = 0;
            (Some(Box::new(frame)), mark)
        };
        let transfer = Transfer { buf, len: head.payload_len, filled: 0, reply };
        self.of.insert(head.call, transfer);
        self.bytes = together;
        Ok(handed_on)
    }

    /// Whether a piece is the next one of a payload that was announced.
    pub(super) fn check_piece(&self, head: &Head) -> Result<(), FrameError> {
        let wrong = |why| FrameError::Piece { offset: head.number, len: head.payload_len, why };
        let transfer = self.of.get(&head.call).ok_or_else(|| wrong("no payload was announced for its call"))?;
        if head.number != transfer.filled {
            return Err(wrong("it is not the next one"));
        }
        if head.payload_len == 0 || head.payload_len > transfer.len - transfer.filled {
            return Err(wrong("the payload has not that many bytes left"));
        }
        Ok(())
    }

    /// Where the bytes of a piece go.
    pub(super) fn place(&mut self, head: &Head) -> &mut [u8] {
        // `check_piece` saw that the piece lies within the buffer, whose length is a usize.
        let at = head.number as usize;
        &mut self.get(head).buf.as_mut_slice()[at..at + head.payload_len as usize]
    }

    /// Counts a piece whose bytes are all there, and gives the frame that waited for the last one.
    pub(super) fn finish_piece(&mut self, head: &Head) -> Option<Frame> {
        self.pieces += 1;
        let transfer = self.get(head);
        transfer.filled += head.payload_len;
        if transfer.filled < transfer.len {
            return None;
        }
        let Transfer { buf, reply, len, .. } = self.of.remove(&head.call)?;
        self.bytes -= len;
        let mut frame = reply.map_or_else(|| Frame::new(head.call, Body::PayloadArrived), |frame| *frame);
        frame.payload = Payload::Whole(buf.freeze());
        Some(frame)
    }

    fn get(&mut self, head: &Head) -> &mut Transfer {
        self.of.get_mut(&head.call).expect("a piece is only begun, and never left, within its transfer")
    }
}
