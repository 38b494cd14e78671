//! Numbers of the frames of one link, in both directions. Pure.

use remex_protocol::{Body, Frame};

/// How far both sides are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbering {
    /// Number of the last frame that was sent.
    sent: u64,
    /// Number of the last frame that was accepted.
    accepted: u64,
    /// Highest number that the other side says it has accepted.
    acknowledged: u64,
}

/// The peer's numbers are not what this side counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberingError {
    #[error("frame {actual} came where {expected} was next: the peer lost or repeated a frame")]
    NotNext { expected: u64, actual: u64 },
    #[error("the peer acknowledges frame {ack}, but only {sent} were sent")]
    NeverSent { ack: u64, sent: u64 },
}

impl Numbering {
    /// Gives a frame that is about to be sent its number and its ack.
    pub(crate) fn stamp(&mut self, frame: &mut Frame) {
        if frame.is_numbered() {
            self.sent += 1;
            frame.number = self.sent;
        }
        frame.ack = self.accepted;
    }

    /// Checks a frame that came. A reply that is handed on late, its payload in pieces, has no number: its place was
    /// marked.
    pub(crate) fn accept(&mut self, frame: &Frame) -> Result<(), NumberingError> {
        if frame.ack > self.sent {
            return Err(NumberingError::NeverSent { ack: frame.ack, sent: self.sent });
        }
        self.acknowledged = self.acknowledged.max(frame.ack);
        let must_have = matches!(frame.body, Body::Call(_));
        if frame.number > 0 || must_have {
            let expected = self.accepted + 1;
            if frame.number != expected {
                return Err(NumberingError::NotNext { expected, actual: frame.number });
            }
            self.accepted = expected;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use remex_protocol::{Call, calls::GetDevicesRequest, ids::CallId};

    use super::*;

    fn call(number: u64, ack: u64) -> Frame {
        let body = Body::Call(Call::GetDevices(Box::new(GetDevicesRequest {})));
        Frame { number, ack, ..Frame::new(CallId::default(), body) }
    }

    #[test]
    fn numbers_count_from_one_and_carry_the_others() {
        let (mut a, mut b) = (Numbering::default(), Numbering::default());
        for n in 1..=3 {
            let mut frame = call(0, 0);
            a.stamp(&mut frame);
            assert_eq!((frame.number, frame.ack), (n, 0));
            b.accept(&frame).unwrap();
        }
        let mut heartbeat = Frame::new(CallId::default(), Body::Heartbeat);
        b.stamp(&mut heartbeat);
        assert_eq!((heartbeat.number, heartbeat.ack), (0, 3));
        a.accept(&heartbeat).unwrap();
        assert_eq!(a.acknowledged, 3);
    }

    /// I6: nothing is skipped and nothing is taken twice.
    #[test]
    fn gaps_repeats_and_impossible_acks_are_refused() {
        let mut numbering = Numbering::default();
        numbering.accept(&call(1, 0)).unwrap();
        assert_eq!(numbering.accept(&call(1, 0)), Err(NumberingError::NotNext { expected: 2, actual: 1 }));
        assert_eq!(numbering.accept(&call(3, 0)), Err(NumberingError::NotNext { expected: 2, actual: 3 }));
        assert_eq!(numbering.accept(&call(2, 1)), Err(NumberingError::NeverSent { ack: 1, sent: 0 }));
    }
}
