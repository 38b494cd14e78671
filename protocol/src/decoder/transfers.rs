//! Payloads that arrive in pieces.

use std::{
    cell::{RefCell, RefMut},
    collections::BTreeMap,
    rc::Rc,
    task::Waker,
};

use crate::{
    frame::{Body, Frame, FrameError, Head, MAX_ANNOUNCED, MAX_TRANSFERS, Payload},
    ids::CallId,
    tensor::{AlignedBuf, BufferPool},
};

use super::allocate;

/// The payloads that were announced and are not whole, by call. Clones are the same ones: the decoder of a control connection
/// and that of its lane share them.
#[derive(Clone, Debug, Default)]
pub struct Transfers(Rc<RefCell<Table>>);

#[derive(Debug, Default)]
struct Table {
    of: BTreeMap<CallId, Transfer>,
    /// Bytes of all of them, those that are here and those that are not.
    bytes: u64,
    /// Grows with every read that gave bytes of one of them.
    progress: u64,
    /// Some come on a connection of their own.
    has_lane: bool,
    /// Who has read the head of a piece of a payload that was not announced yet.
    waiter: Option<(CallId, Waker)>,
}

#[derive(Debug)]
struct Transfer {
    /// Elsewhere while a piece is read into it.
    buf: Option<AlignedBuf>,
    len: u64,
    filled: u64,
    /// A reply waits here for its payload; a call was handed on already.
    reply: Option<Box<Frame>>,
}

impl Transfers {
    /// Whether a payload is on its way.
    pub fn any(&self) -> bool {
        !self.0.borrow().of.is_empty()
    }

    /// A number that grows with every read of a piece, while some are still to come.
    pub fn progress(&self) -> Option<u64> {
        let table = self.0.borrow();
        (!table.of.is_empty()).then_some(table.progress)
    }

    /// The call of which a lane's reader has read a piece before its payload was announced, while it waits for that.
    pub fn awaited(&self) -> Option<CallId> {
        self.0.borrow().waiter.as_ref().map(|(call, _)| *call)
    }

    /// Wakes a lane's reader when the payload of this call is announced.
    pub fn wait(&self, call: CallId, waker: &Waker) {
        self.0.borrow_mut().waiter = Some((call, waker.clone()));
    }

    pub(super) fn has_lane(&self) -> bool {
        self.0.borrow().has_lane
    }

    pub(super) fn set_lane(&self) {
        self.0.borrow_mut().has_lane = true;
    }

    pub(super) fn is_announced(&self, call: CallId) -> bool {
        self.0.borrow().of.contains_key(&call)
    }

    /// Some bytes of a piece have come.
    pub(super) fn go_on(&self) {
        self.0.borrow_mut().progress += 1;
    }

    /// Makes room for the payload that `frame` announces. A call is given back to be handed on at once, so that its
    /// place in the order is kept; a reply is held until its payload is whole, and its place is marked.
    pub(super) fn announce(&self, head: &Head, mut frame: Frame, buffers: &BufferPool) -> Result<Frame, FrameError> {
        let mut table = self.0.borrow_mut();
        if table.of.len() >= MAX_TRANSFERS {
            let why = format!("more than {MAX_TRANSFERS} payloads in pieces at one time");
            return Err(FrameError::Malformed(why));
        }
        if table.of.contains_key(&head.call) {
            let why = format!("call {} has a payload on its way already", head.call);
            return Err(FrameError::Malformed(why));
        }
        let together = table.bytes.saturating_add(head.payload_len);
        if together > MAX_ANNOUNCED {
            let what = "all payloads on their way";
            return Err(FrameError::TooLarge { what, actual: together, limit: MAX_ANNOUNCED });
        }
        let buf = Some(allocate(head.payload_len, buffers)?);
        let is_call = matches!(frame.body, Body::Call(_) | Body::Undecodable { .. });
        let (reply, handed_on) = if is_call {
            frame.payload = Payload::Announced(head.payload_len);
            (None, frame)
        } else {
            let mark = Frame { number: frame.number, ack: frame.ack, ..Frame::new(frame.call, Body::ReplyAnnounced) };
            frame.number = 0;
            (Some(Box::new(frame)), mark)
        };
        table.of.insert(head.call, Transfer { buf, len: head.payload_len, filled: 0, reply });
        table.bytes = together;
        if let Some((_, waker)) = table.waiter.take_if(|(call, _)| *call == head.call) {
            waker.wake();
        }
        Ok(handed_on)
    }

    /// Whether a piece is the next one of a payload that was announced; gives its buffer, to be read into and brought back.
    pub(super) fn begin_piece(&self, head: &Head) -> Result<AlignedBuf, FrameError> {
        let wrong = |why| FrameError::Piece { offset: head.number, len: head.payload_len, why };
        let transfer = RefMut::filter_map(self.0.borrow_mut(), |table| table.of.get_mut(&head.call));
        let mut transfer = transfer.map_err(|_| wrong("no payload was announced for its call"))?;
        if head.number != transfer.filled {
            return Err(wrong("it is not the next one"));
        }
        if head.payload_len == 0 || head.payload_len > transfer.len - transfer.filled {
            return Err(wrong("the payload has not that many bytes left"));
        }
        transfer.buf.take().ok_or_else(|| wrong("another one of its payload comes on the other connection"))
    }

    /// Counts a piece whose bytes are all in `buf`, and gives the frame that waited for the last one.
    pub(super) fn finish_piece(&self, head: &Head, buf: AlignedBuf) -> Option<Frame> {
        let mut table = self.0.borrow_mut();
        let transfer = table.of.get_mut(&head.call)?;
        transfer.filled += head.payload_len;
        if transfer.filled < transfer.len {
            transfer.buf = Some(buf);
            return None;
        }
        let Transfer { reply, len, .. } = table.of.remove(&head.call)?;
        table.bytes -= len;
        let mut frame = reply.map_or_else(|| Frame::new(head.call, Body::PayloadArrived), |frame| *frame);
        frame.payload = Payload::Whole(buf.freeze());
        Some(frame)
    }
}
