//! What waits to be written to a stream, as slices that need not be copied.

use std::{
    collections::VecDeque,
    io::IoSlice,
    task::{self, Poll, ready},
};

use bytes::{Buf, Bytes};
use remex_protocol::{
    Frame, Payload, encode_frame, encode_piece,
    frame::{HEAD_LEN, MAX_HEADER, MAX_PAYLOAD, MAX_TRANSFERS, PIECE_LEN},
    ids::CallId,
};
use smallvec::SmallVec;

use super::{
    FabricError,
    lane::{Bulk, Transfer},
};

/// Payloads up to this many bytes are copied beside their header: that costs less than a slice of their own.
const COPY_LEN: usize = 1 << 10;
/// Slices given to one write.
pub(super) const MAX_SLICES: usize = 64;
/// Encoded bytes that were written are dropped from the front of the buffer when there are so many.
const KEEP_LEN: usize = 64 << 10;

/// Frames that were pushed and are not yet written.
///
/// Small frames are encoded one after the other into one buffer. A payload that fits a frame stays where it is. A larger
/// one becomes a transfer: its pieces take turns with those of other transfers, and at most one piece of all of them is
/// among the segments, so that a frame pushed now waits for no other (FB-2).
#[derive(Debug)]
pub(super) struct Outgoing {
    payload_crc: bool,
    /// Heads, headers and small payloads; those before `written` are on their way.
    encoded: Vec<u8>,
    written: usize,
    /// The bytes to be written, in order.
    segments: VecDeque<Segment>,
    /// A piece is among the segments.
    piece_waits: bool,
    transfers: VecDeque<Transfer>,
    /// Where large payloads go instead, if there is a lane.
    lane: Option<Bulk>,
    /// Frames behind one that would begin more transfers than a decoder accepts.
    held: VecDeque<Encoded>,
    queued: usize,
    /// What the last frame acknowledged; a piece, which is written after it, says no less.
    ack: u64,
}

#[derive(Debug)]
enum Segment {
    /// So many bytes of the buffer.
    Encoded(usize),
    Payload(Bytes),
    Piece(Bytes),
}

#[derive(Debug)]
struct Encoded {
    head: Vec<u8>,
    call: CallId,
    payload: Bytes,
}

impl Outgoing {
    /// Nothing. With `payload_crc` each payload is sent with its checksum.
    pub(super) fn new(payload_crc: bool) -> Self {
        Self {
            payload_crc,
            encoded: Vec::new(),
            written: 0,
            segments: VecDeque::new(),
            piece_waits: false,
            transfers: VecDeque::new(),
            lane: None,
            held: VecDeque::new(),
            queued: 0,
            ack: 0,
        }
    }

    /// Takes a frame; an error changes nothing.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), FabricError> {
        check_payload(&frame.payload)?;
        let start = self.encoded.len();
        encode_frame(&mut self.encoded, frame, self.payload_crc)?;
        let header = self.encoded.len() - start - HEAD_LEN;
        if header > MAX_HEADER {
            self.encoded.truncate(start);
            let why = format!("its header of {header} bytes is over the limit of {MAX_HEADER}");
            return Err(FabricError::Unsendable(why));
        }
        self.ack = self.ack.max(frame.ack);
        let payload = frame.payload.clone().into_bytes();
        self.queued += HEAD_LEN + header + payload.len();
        if self.held.is_empty() && self.has_room(&payload) {
            self.place(HEAD_LEN + header, frame.call, payload);
        } else {
            self.held.push_back(Encoded { head: self.encoded.split_off(start), call: frame.call, payload });
        }
        Ok(())
    }

    /// Whether payloads are sent with checksums.
    pub(super) fn payload_crc(&self) -> bool {
        self.payload_crc
    }

    /// Bytes that are not written yet, without the heads of pieces to come.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Puts the next piece behind what waits, unless one is there. To be called before each write.
    pub(super) fn add_piece(&mut self) {
        if self.piece_waits {
            return;
        }
        let Some(mut transfer) = self.transfers.pop_front() else {
            return;
        };
        let (offset, piece) = transfer.split(PIECE_LEN);
        encode_piece(&mut self.encoded, transfer.call, offset, self.ack, &piece, self.payload_crc);
        self.queued += HEAD_LEN;
        self.add_encoded(HEAD_LEN);
        self.segments.push_back(Segment::Piece(piece));
        self.piece_waits = true;
        if transfer.rest.is_empty() {
            self.place_held();
        } else {
            self.transfers.push_back(transfer);
        }
    }

    /// What to write next; empty if nothing is left.
    pub(super) fn slices(&self) -> SmallVec<[IoSlice<'_>; MAX_SLICES]> {
        let mut at = self.written;
        self.segments
            .iter()
            .take(MAX_SLICES)
            .map(|segment| match segment {
                Segment::Encoded(len) => {
                    at += len;
                    IoSlice::new(&self.encoded[at - len..at])
                }
                Segment::Payload(bytes) | Segment::Piece(bytes) => IoSlice::new(bytes),
            })
            .collect()
    }

    /// `n` bytes of the slices were written.
    pub(super) fn consume(&mut self, mut n: usize) {
        self.queued -= n;
        while let Some(segment) = self.segments.front_mut() {
            let (taken, left) = match segment {
                Segment::Encoded(len) => {
                    let taken = n.min(*len);
                    *len -= taken;
                    self.written += taken;
                    (taken, *len)
                }
                Segment::Payload(bytes) | Segment::Piece(bytes) => {
                    let taken = n.min(bytes.len());
                    bytes.advance(taken);
                    (taken, bytes.len())
                }
            };
            n -= taken;
            if left > 0 {
                break;
            }
            if let Some(Segment::Piece(_)) = self.segments.pop_front() {
                self.piece_waits = false;
            }
        }
        if self.written == self.encoded.len() {
            self.encoded.clear();
            self.encoded.shrink_to(4 * KEEP_LEN);
            self.written = 0;
        } else if self.written > KEEP_LEN && self.written > self.encoded.len() / 2 {
            self.encoded.drain(..self.written);
            self.written = 0;
        }
    }

    /// Has large payloads wait for a lane from now on. Those that have begun here end here. False: there is one already.
    pub(super) fn divert(&mut self, lane: &Bulk) -> bool {
        let is_first = self.lane.is_none();
        self.lane.get_or_insert_with(|| lane.clone());
        is_first
    }

    /// Where all that is left is held up by payloads on the lane, waits until one of them is written.
    pub(super) fn poll_unheld(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        if let (true, false, Some(lane)) = (self.segments.is_empty(), self.held.is_empty(), &self.lane) {
            ready!(lane.poll_fewer(MAX_TRANSFERS, cx));
            self.place_held();
        }
        Poll::Ready(())
    }

    /// Waits until the lane has nothing to write.
    pub(super) fn poll_lane(&self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.lane.as_ref().map_or(Poll::Ready(()), |lane| lane.poll_written(cx))
    }

    fn has_room(&self, payload: &Bytes) -> bool {
        let begun = || self.transfers.len() + self.lane.as_ref().map_or(0, Bulk::len);
        payload.len() <= PIECE_LEN || begun() < MAX_TRANSFERS
    }

    /// Gives a frame, whose last `head` bytes of the buffer are its head and header, its place.
    fn place(&mut self, head: usize, call: CallId, payload: Bytes) {
        if payload.len() <= COPY_LEN {
            self.encoded.extend_from_slice(&payload);
            self.add_encoded(head + payload.len());
            return;
        }
        self.add_encoded(head);
        if payload.len() <= PIECE_LEN {
            self.segments.push_back(Segment::Payload(payload));
        } else if let Some(lane) = &self.lane {
            self.queued -= payload.len();
            lane.push(Transfer { call, offset: 0, rest: payload });
        } else {
            self.transfers.push_back(Transfer { call, offset: 0, rest: payload });
        }
    }

    fn place_held(&mut self) {
        while let Some(next) = self.held.pop_front() {
            if !self.has_room(&next.payload) {
                self.held.push_front(next);
                break;
            }
            self.encoded.extend_from_slice(&next.head);
            self.place(next.head.len(), next.call, next.payload);
        }
    }

    fn add_encoded(&mut self, n: usize) {
        match self.segments.back_mut() {
            Some(Segment::Encoded(len)) => *len += n,
            _ => self.segments.push_back(Segment::Encoded(n)),
        }
    }
}

/// Whether there are bytes to send, and not too many.
pub(super) fn check_payload(payload: &Payload) -> Result<(), FabricError> {
    match payload {
        Payload::None => Ok(()),
        Payload::Whole(bytes) if bytes.len() as u64 <= MAX_PAYLOAD => Ok(()),
        Payload::Whole(bytes) => Err(FabricError::Unsendable(format!(
            "its payload of {} bytes is over the limit of {MAX_PAYLOAD}",
            bytes.len()
        ))),
        Payload::Announced(len) => Err(FabricError::Unsendable(format!(
            "its payload of {len} bytes is announced and not there; wait until it has arrived"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remex_protocol::Body;

    fn large(index: u32, payload: &Bytes) -> Frame {
        Frame::new(CallId::new(index, 0), Body::Heartbeat).with_payload(payload.clone())
    }

    #[test]
    fn no_more_transfers_begin_than_a_decoder_accepts_and_order_is_kept() {
        let payload = Bytes::from(vec![0; PIECE_LEN + 1]);
        let mut out = Outgoing::new(false);
        for index in 0..MAX_TRANSFERS as u32 + 1 {
            out.push(&large(index, &payload)).unwrap();
        }
        out.push(&Frame::new(CallId::new(9999, 0), Body::Heartbeat)).unwrap();
        assert_eq!((out.transfers.len(), out.held.len()), (MAX_TRANSFERS, 2));

        let mut total = out.queued() + 2 * HEAD_LEN * (MAX_TRANSFERS + 1);
        while out.queued() > 0 {
            out.add_piece();
            let n = out.slices().iter().map(|slice| slice.len()).sum();
            out.consume(n);
            total -= n;
            assert!(out.transfers.len() <= MAX_TRANSFERS);
        }
        assert_eq!((total, out.held.len(), out.segments.len()), (0, 0, 0));
    }

    /// What is written to a lane may be overtaken by what announces the next payload: only what has arrived makes room.
    #[test]
    fn a_lane_is_given_no_more_than_the_other_end_has_room_for() {
        let payload = Bytes::from(vec![0; PIECE_LEN + 1]);
        let (mut out, lane) = (Outgoing::new(false), Bulk::default());
        assert!(out.divert(&lane) && !out.divert(&lane));
        for index in 0..MAX_TRANSFERS as u32 + 1 {
            out.push(&large(index, &payload)).unwrap();
        }
        out.push(&Frame::new(CallId::new(9999, 0), Body::Heartbeat)).unwrap();
        assert_eq!((lane.len(), out.transfers.len(), out.held.len()), (MAX_TRANSFERS, 0, 2));
        out.consume(HEAD_LEN * MAX_TRANSFERS);
        let mut cx = task::Context::from_waker(task::Waker::noop());
        assert!(
            out.slices().is_empty() && out.poll_unheld(&mut cx).is_pending() && out.poll_lane(&mut cx).is_pending()
        );
        lane.received(CallId::new(9999, 0));
        assert!(out.poll_unheld(&mut cx).is_pending());
        lane.received(CallId::new(7, 0));
        assert!(out.poll_unheld(&mut cx).is_ready());
        assert_eq!((lane.len(), out.held.len(), out.queued()), (MAX_TRANSFERS, 0, 2 * HEAD_LEN));
    }

    #[test]
    fn what_cannot_be_sent_changes_nothing() {
        let mut out = Outgoing::new(true);
        let mut announced = Frame::new(CallId::default(), Body::Heartbeat);
        announced.payload = Payload::Announced(5);
        for frame in [announced, Frame::new(CallId::default(), Body::PayloadArrived)] {
            assert!(matches!(out.push(&frame), Err(FabricError::Unsendable(_))));
        }
        assert_eq!((out.queued(), out.encoded.len(), out.segments.len()), (0, 0, 0));
    }

    #[test]
    fn a_piece_acknowledges_no_less_than_the_frames_before_it() {
        let mut out = Outgoing::new(false);
        out.push(&large(1, &Bytes::from(vec![7; PIECE_LEN + 1]))).unwrap();
        for ack in [77, 0] {
            let mut frame = Frame::new(CallId::default(), Body::Heartbeat);
            frame.ack = ack;
            out.push(&frame).unwrap();
        }
        out.add_piece();
        let heads = out.slices()[0].to_vec();
        assert_eq!(heads.len(), 4 * HEAD_LEN);
        // The ack of the piece's head.
        assert_eq!(heads[3 * HEAD_LEN..][32..40], 77u64.to_le_bytes());
    }

    #[test]
    fn a_small_frame_stands_before_the_first_piece_and_behind_one_that_waits() {
        let mut out = Outgoing::new(false);
        out.push(&large(1, &Bytes::from(vec![7; 3 * PIECE_LEN]))).unwrap();
        out.push(&Frame::new(CallId::default(), Body::Heartbeat)).unwrap();
        out.add_piece();
        // Two frames and the head of the piece are one slice.
        assert_eq!(out.slices().iter().map(|s| s.len()).collect::<Vec<_>>(), [3 * HEAD_LEN, PIECE_LEN]);
        out.consume(3 * HEAD_LEN + 1);
        out.push(&Frame::new(CallId::default(), Body::Heartbeat)).unwrap();
        out.add_piece();
        assert_eq!(out.slices().iter().map(|s| s.len()).collect::<Vec<_>>(), [PIECE_LEN - 1, HEAD_LEN]);
    }
}
