//! What one end of a session knows of its frames, over all its connections. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use remex_protocol::{Body, Frame, Payload, frame::PIECE_LEN, ids::CallId};

/// Numbers and acks in both directions, the numbered frames that may have to be sent again, and the payloads that are on
/// their way here.
///
/// A frame is kept until the other side has acknowledged it; one whose payload travels in pieces until the other side has
/// said [`Received`](Body::Received). Payloads are counted references: keeping one copies nothing.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Whether the session can be resumed. If not, nothing is kept.
    keeps: bool,
    /// Number of the last frame that was sent.
    sent: u64,
    /// Number of the last frame that was accepted.
    accepted: u64,
    /// Highest number that the other side says it has accepted.
    acknowledged: u64,
    /// Sent and not acknowledged, by number, without a gap.
    kept: VecDeque<Frame>,
    /// Acknowledged in their place; their payload may not be whole there.
    in_pieces: BTreeMap<CallId, Frame>,
    /// Accepted here in their place; their payload is not whole.
    coming: BTreeMap<CallId, u64>,
    /// Those of them that are announced a second time on this connection.
    again: BTreeSet<u64>,
    /// Payloads in pieces that have come whole, in both directions.
    whole: u64,
}

/// The peer's numbers are not what this side counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberingError {
    #[error("frame {actual} came where {expected} was next: the peer lost or repeated a frame")]
    NotNext { expected: u64, actual: u64 },
    #[error("the peer acknowledges frame {ack}, but only {sent} were sent")]
    NeverSent { ack: u64, sent: u64 },
    #[error("the peer wants to go on after frame {point}, but it has acknowledged {acknowledged}")]
    Forgotten { point: u64, acknowledged: u64 },
    #[error("the peer asks for the payload of frame {0} again, which it has")]
    NotInPieces(u64),
    #[error("the peer begins the handshake again, which is over")]
    Handshake,
}

/// What an accepted frame means for the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Its owner is to see it.
    HandOn,
    /// It has done its work.
    Done,
    /// Its owner is to see it, and the peer to be told that the payload of its call is whole.
    Whole,
}

/// How far one side has come: what it says in the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Number of the last frame that it has accepted.
    pub accepted: u64,
    /// Numbers of accepted frames whose payload is not whole.
    pub unfinished: Vec<u64>,
}

impl Ledger {
    /// At the beginning of a session, which `keeps` what it needs to be resumed, or does not.
    pub(crate) fn new(keeps: bool) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// Whether what is sent must be given to [`keep`](Self::keep).
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Gives a frame that is about to be sent its number and its ack.
    pub(crate) fn stamp(&mut self, frame: &mut Frame) {
        if frame.is_numbered() {
            self.sent += 1;
            frame.number = self.sent;
        }
        frame.ack = self.accepted;
    }

    /// The frame that was stamped last cannot be sent: its number is the next one's.
    pub(crate) fn take_back(&mut self, numbered: bool) {
        self.sent -= u64::from(numbered);
    }

    /// Keeps a numbered frame that was sent.
    pub(crate) fn keep(&mut self, frame: Frame) {
        self.kept.push_back(frame);
    }

    /// Checks a frame that came (I6: nothing is skipped and nothing is taken twice). A reply that is handed on late, its
    /// payload in pieces, has no number: its place was marked.
    pub(crate) fn accept(&mut self, frame: &Frame) -> Result<Accepted, NumberingError> {
        if frame.ack > self.sent {
            return Err(NumberingError::NeverSent { ack: frame.ack, sent: self.sent });
        }
        self.acknowledge(frame.ack);
        let whole = if self.keeps { Accepted::Whole } else { Accepted::HandOn };
        match &frame.body {
            Body::Hello(_) | Body::Welcome(_) | Body::Refused(_) => return Err(NumberingError::Handshake),
            Body::Heartbeat => return Ok(Accepted::Done),
            Body::Received => {
                self.whole += u64::from(self.in_pieces.remove(&frame.call).is_some());
                return Ok(Accepted::Done);
            }
            Body::PayloadArrived => {
                self.whole += u64::from(self.coming.remove(&frame.call).is_some());
                return Ok(whole);
            }
            Body::Completed(_) | Body::Failed { .. } if frame.number == 0 => {
                // No peer's word: a decoder hands on so what was announced.
                return match self.coming.remove(&frame.call) {
                    Some(_) => {
                        self.whole += 1;
                        Ok(whole)
                    }
                    None => Err(NumberingError::NotNext { expected: self.accepted + 1, actual: 0 }),
                };
            }
            _ => {}
        }
        let is_mark = matches!(frame.body, Body::ReplyAnnounced);
        if frame.number > 0 || is_mark || matches!(frame.body, Body::Call(_)) {
            let announced = is_mark || matches!(frame.payload, Payload::Announced(_));
            if announced && self.again.remove(&frame.number) {
                return Ok(Accepted::Done);
            }
            let expected = self.accepted + 1;
            if frame.number != expected {
                return Err(NumberingError::NotNext { expected, actual: frame.number });
            }
            self.accepted = expected;
            if announced {
                self.coming.insert(frame.call, expected);
            }
        }
        Ok(if is_mark { Accepted::Done } else { Accepted::HandOn })
    }

    /// The connection is gone and another one begins: what this side says of itself there. What was announced and is not
    /// whole will be announced again.
    pub(crate) fn point(&mut self) -> Point {
        self.again = self.coming.values().copied().collect();
        Point { accepted: self.accepted, unfinished: self.again.iter().copied().collect() }
    }

    /// What the other side says of itself on a new connection. An error: the session cannot go on.
    pub(crate) fn resume(&mut self, point: &Point) -> Result<(), NumberingError> {
        let Point { accepted, unfinished } = point;
        if *accepted > self.sent {
            return Err(NumberingError::NeverSent { ack: *accepted, sent: self.sent });
        }
        if *accepted < self.acknowledged {
            return Err(NumberingError::Forgotten { point: *accepted, acknowledged: self.acknowledged });
        }
        self.acknowledge(*accepted);
        let mut asked: BTreeSet<u64> = unfinished.iter().copied().collect();
        self.in_pieces.retain(|_, frame| asked.remove(&frame.number));
        asked.first().map_or(Ok(()), |number| Err(NumberingError::NotInPieces(*number)))
    }

    /// What goes out first on a new connection, in this order: frames whose payload was cut, and what was never accepted.
    pub(crate) fn repeat(&mut self) -> impl Iterator<Item = &Frame> {
        let ack = self.accepted;
        let mut frames: Vec<_> = self.in_pieces.values_mut().collect();
        frames.sort_unstable_by_key(|frame| frame.number);
        frames.into_iter().chain(&mut self.kept).map(move |frame| {
            frame.ack = ack;
            &*frame
        })
    }

    /// Numbered frames and payloads in pieces that have got through, in both directions.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.accepted + self.acknowledged, self.whole)
    }

    /// Frames that may have to be sent again.
    pub(crate) fn held(&self) -> usize {
        self.kept.len() + self.in_pieces.len()
    }

    fn acknowledge(&mut self, ack: u64) {
        if ack <= self.acknowledged {
            return;
        }
        self.acknowledged = ack;
        while let Some(frame) = self.kept.pop_front_if(|frame| frame.number <= ack) {
            if frame.payload.len() > PIECE_LEN as u64 {
                self.in_pieces.insert(frame.call, frame);
            }
        }
    }
}
