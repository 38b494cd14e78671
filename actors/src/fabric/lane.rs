//! The second connection of a link, for large payloads: so that nothing small ever stands behind them.
//!
//! ```text
//!            ┌─ control ═ frames, heads of large payloads ═▶ control reader ─┐
//!  push ──▶ ─┤                                                               ├─ Transfers ─▶ frames
//!            └─ Bulk ──▶ LaneWriter ═ their pieces ════════▶ LaneReader ─────┘
//! ```
//!
//! The frame that announces a payload goes through the control connection, where it keeps its place; a piece that is read
//! before that frame was waits for it. Each end may do with the lane what it likes: who reads knows only that the pieces of a
//! payload come in order.

use std::{
    cell::RefCell,
    collections::{BTreeSet, VecDeque},
    fmt,
    io::IoSlice,
    pin::Pin,
    rc::Rc,
    task::{self, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use remex_protocol::{Body, Decoder, Frame, Transfers, encode_frame, encode_piece, frame::LANE_PIECE_LEN, ids::CallId};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{FabricError, Traffic, stream::poll_fill, traffic::OpenLane};

/// A lane gives way to others when so many bytes were read, or written: that is how long a small call waits for it.
const BURST: usize = 512 << 10;

/// The reading half of a lane.
pub trait LaneReader {
    /// Reads some pieces, and appends the frames that they made whole: perhaps none, where much was read and others should have
    /// their turn. An error is the lane's end.
    fn poll_read(&mut self, cx: &mut task::Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), FabricError>>;
}

/// The writing half of a lane.
pub trait LaneWriter {
    /// Waits for something to write and writes some of it, then others should have their turn. An error is the lane's end.
    fn poll_write(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), FabricError>>;
}

/// Large payloads that wait to be written to a lane. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Bulk(Rc<RefCell<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    transfers: VecDeque<Transfer>,
    /// The last piece of a payload is being written.
    is_writing: bool,
    /// Payloads that the other end has not whole yet: an announcement may overtake what is written, so these are what it counts.
    unreceived: BTreeSet<CallId>,
    /// Something should be said, so that nobody between the two ends forgets the connection.
    is_idle: bool,
    lane: Option<Waker>,
    control: Option<Waker>,
}

/// A payload that is sent in pieces.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) call: CallId,
    pub(super) offset: u64,
    /// From `offset` on.
    pub(super) rest: Bytes,
}

impl Transfer {
    /// Its next piece, of so many bytes at most, and where it belongs.
    pub(super) fn split(&mut self, most: usize) -> (u64, Bytes) {
        let piece = self.rest.split_to(self.rest.len().min(most));
        let offset = self.offset;
        self.offset += piece.len() as u64;
        (offset, piece)
    }
}

impl Bulk {
    /// Has the lane say something if it has nothing to write.
    pub fn stay_alive(&self) {
        let mut queue = self.0.borrow_mut();
        queue.is_idle = queue.transfers.is_empty() && !queue.is_writing;
        wake(&mut queue.lane);
    }

    /// The other end has said that it has a payload, of the lane or not.
    pub fn received(&self, call: CallId) {
        let mut queue = self.0.borrow_mut();
        if queue.unreceived.remove(&call) {
            wake(&mut queue.control);
        }
    }

    pub(super) fn push(&self, transfer: Transfer) {
        let mut queue = self.0.borrow_mut();
        queue.unreceived.insert(transfer.call);
        queue.transfers.push_back(transfer);
        wake(&mut queue.lane);
    }

    /// How many payloads the other end has not whole.
    pub(super) fn len(&self) -> usize {
        self.0.borrow().unreceived.len()
    }

    /// Waits until it has all but fewer than so many.
    pub(super) fn poll_fewer(&self, than: usize, cx: &mut task::Context<'_>) -> Poll<()> {
        self.poll_until(cx, |queue| queue.unreceived.len() < than)
    }

    /// Waits until all is written.
    pub(super) fn poll_written(&self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.poll_until(cx, |queue| queue.transfers.is_empty() && !queue.is_writing)
    }

    fn poll_until(&self, cx: &mut task::Context<'_>, is: impl FnOnce(&Queue) -> bool) -> Poll<()> {
        let mut queue = self.0.borrow_mut();
        if is(&queue) {
            return Poll::Ready(());
        }
        queue.control = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Encodes what is to be written next behind `head`, and gives the bytes that follow it. They are written when this is
    /// asked again.
    fn poll_next(&self, cx: &mut task::Context<'_>, head: &mut Vec<u8>, payload_crc: bool) -> Poll<Bytes> {
        let mut queue = self.0.borrow_mut();
        if std::mem::take(&mut queue.is_writing) {
            wake(&mut queue.control);
        }
        let Some(mut transfer) = queue.transfers.pop_front() else {
            if std::mem::take(&mut queue.is_idle) {
                let heartbeat = Frame::new(CallId::default(), Body::Heartbeat);
                if encode_frame(head, &heartbeat, false).is_ok() {
                    return Poll::Ready(Bytes::new());
                }
            }
            queue.lane = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let (offset, piece) = transfer.split(LANE_PIECE_LEN);
        encode_piece(head, transfer.call, offset, 0, &piece, payload_crc);
        if transfer.rest.is_empty() {
            queue.is_writing = true;
        } else {
            queue.transfers.push_back(transfer);
        }
        Poll::Ready(piece)
    }
}

/// Reads the pieces of a lane from a stream, each into its payload's buffer.
pub(super) struct StreamLaneReader<R> {
    pub(super) stream: R,
    pub(super) peer: String,
    pub(super) decoder: Decoder,
    pub(super) transfers: Transfers,
    pub(super) traffic: Traffic,
    /// Counts it while it is there.
    pub(super) _open: OpenLane,
}

impl<R: AsyncRead + Unpin> StreamLaneReader<R> {
    /// Takes the frames that are whole; pending while the next piece is early.
    fn take(&mut self, cx: &mut task::Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), FabricError>> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) if matches!(frame.body, Body::Heartbeat) => {}
                Ok(Some(frame)) => frames.push(frame),
                Err(error) => return Poll::Ready(Err(error.into())),
                Ok(None) => break,
            }
        }
        match self.decoder.early() {
            Some(call) if frames.is_empty() => {
                self.transfers.wait(call, cx.waker());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_some(&mut self, cx: &mut task::Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), FabricError>> {
        ready!(self.take(cx, frames))?;
        let mut taken = 0;
        while frames.is_empty() && taken < BURST {
            taken += ready!(poll_fill(&mut self.stream, &mut self.decoder, &self.traffic, &self.peer, cx))?;
            ready!(self.take(cx, frames))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncRead + Unpin> LaneReader for StreamLaneReader<R> {
    fn poll_read(&mut self, cx: &mut task::Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), FabricError>> {
        let read = ready!(self.poll_some(cx, frames));
        if let Err(FabricError::Frame(_)) = read {
            self.traffic.add_broken();
        }
        Poll::Ready(read)
    }
}

impl<R> fmt::Debug for StreamLaneReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamLaneReader({})", self.peer)
    }
}

/// Writes pieces to a stream, one after the other.
pub(super) struct StreamLaneWriter<W> {
    stream: W,
    peer: String,
    bulk: Bulk,
    payload_crc: bool,
    traffic: Traffic,
    head: Vec<u8>,
    /// How many bytes of the head are written.
    written: usize,
    piece: Bytes,
    /// All of it is with the stream, which may still have some.
    is_flushing: bool,
}

impl<W> StreamLaneWriter<W> {
    pub(super) fn new(stream: W, peer: String, bulk: Bulk, payload_crc: bool, traffic: Traffic) -> Self {
        Self {
            stream,
            peer,
            bulk,
            payload_crc,
            traffic,
            head: Vec::new(),
            written: 0,
            piece: Bytes::new(),
            is_flushing: false,
        }
    }
}

impl<W: AsyncWrite + Unpin> StreamLaneWriter<W> {
    fn is_written(&self) -> bool {
        self.written == self.head.len() && self.piece.is_empty()
    }

    /// Writes some of a piece, the next one if it must.
    fn poll_some(&mut self, cx: &mut task::Context<'_>) -> Poll<std::io::Result<()>> {
        if self.is_written() {
            (self.written, self.piece) = (0, Bytes::new());
            self.head.clear();
            self.piece = ready!(self.bulk.poll_next(cx, &mut self.head, self.payload_crc));
        }
        let burst = self.piece.len().min(BURST);
        let slices = [IoSlice::new(&self.head[self.written..]), IoSlice::new(&self.piece[..burst])];
        let n = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices))?;
        if n == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
        }
        self.traffic.add_sent(n);
        let of_head = n.min(self.head.len() - self.written);
        self.written += of_head;
        self.piece.advance(n - of_head);
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> LaneWriter for StreamLaneWriter<W> {
    fn poll_write(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), FabricError>> {
        let failed = |peer: &str, e| FabricError::io("write to", peer, &e);
        if !self.is_flushing {
            ready!(self.poll_some(cx)).map_err(|e| failed(&self.peer, e))?;
            if !self.is_written() {
                return Poll::Ready(Ok(()));
            }
            self.is_flushing = true;
        }
        // A stream that gathers what it is given must not keep the end of a payload.
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|e| failed(&self.peer, e))?;
        self.is_flushing = false;
        Poll::Ready(Ok(()))
    }
}

impl<W> fmt::Debug for StreamLaneWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamLaneWriter({})", self.peer)
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
