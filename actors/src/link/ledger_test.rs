//! Tests of the ledger: two ends, and connections that break anywhere.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use remex_protocol::{
    Body, Call, ErrorCode, Frame, Payload, RemoteError, Reply, calls::*, frame::PIECE_LEN, ids::CallId,
};

use super::ledger::{Accepted, Ledger, NumberingError, Point};

/// Bytes of payloads.
static ZEROS: [u8; PIECE_LEN + 2] = [0; PIECE_LEN + 2];

fn body() -> Body {
    Body::Call(Call::GetDevices(Box::new(GetDevicesRequest {})))
}

fn call(number: u64, ack: u64) -> Frame {
    Frame { number, ack, ..Frame::new(CallId::default(), body()) }
}

/// Sends a call with a payload of `len` bytes; gives what goes out.
fn send(ledger: &mut Ledger, index: u32, len: usize) -> Frame {
    let mut frame = Frame::new(CallId::new(index, 0), body()).with_payload(Bytes::from_static(&ZEROS[..len]));
    ledger.stamp(&mut frame);
    ledger.keep(frame.clone());
    frame
}

/// What the decoder makes of a frame: one with a large payload is announced, and whole later.
fn on_the_wire(frame: &Frame) -> Vec<Frame> {
    if frame.payload.len() <= PIECE_LEN as u64 {
        return vec![frame.clone()];
    }
    let mut whole = Frame::new(frame.call, Body::PayloadArrived);
    whole.payload = frame.payload.clone();
    vec![Frame { payload: Payload::Announced(frame.payload.len()), ..frame.clone() }, whole]
}

#[test]
fn numbers_count_from_one_and_carry_the_others() {
    let (mut a, mut b) = (Ledger::new(false), Ledger::new(false));
    for n in 1..=3 {
        let mut frame = call(0, 0);
        a.stamp(&mut frame);
        assert_eq!((frame.number, frame.ack), (n, 0));
        assert_eq!(b.accept(&frame), Ok(Accepted::HandOn));
    }
    let mut heartbeat = Frame::new(CallId::default(), Body::Heartbeat);
    b.stamp(&mut heartbeat);
    assert_eq!((heartbeat.number, heartbeat.ack), (0, 3));
    assert_eq!(a.accept(&heartbeat), Ok(Accepted::Done));
    assert_eq!((a.progress(), b.progress()), ((3, 0), (3, 0)));
}

/// I6: nothing is skipped and nothing is taken twice.
#[test]
fn gaps_repeats_and_impossible_acks_are_refused() {
    let mut ledger = Ledger::new(true);
    ledger.accept(&call(1, 0)).unwrap();
    assert_eq!(ledger.accept(&call(1, 0)), Err(NumberingError::NotNext { expected: 2, actual: 1 }));
    assert_eq!(ledger.accept(&call(3, 0)), Err(NumberingError::NotNext { expected: 2, actual: 3 }));
    assert_eq!(ledger.accept(&call(0, 0)), Err(NumberingError::NotNext { expected: 2, actual: 0 }));
    assert_eq!(ledger.accept(&call(2, 1)), Err(NumberingError::NeverSent { ack: 1, sent: 0 }));
    let reply = Frame::new(CallId::default(), Body::Completed(Reply::Cancel(CancelReply {})));
    assert_eq!(ledger.accept(&reply), Err(NumberingError::NotNext { expected: 2, actual: 0 }));
    // A repeated Hello cuts the link as any repeat does; the session goes on.
    let refused = RemoteError::new(ErrorCode::Unavailable, "x");
    let handshake = Frame::new(CallId::default(), Body::Refused(Box::new(refused)));
    assert_eq!(ledger.accept(&handshake), Err(NumberingError::Handshake));
}

/// I6: what the other side has is not sent again, what it has not is, in order.
#[test]
fn what_was_not_accepted_is_sent_again_and_nothing_else() {
    let (mut a, mut b) = (Ledger::new(true), Ledger::new(true));
    let frames: Vec<_> = (1..=5).map(|n| send(&mut a, n, 10)).collect();
    frames[..3].iter().for_each(|frame| assert_eq!(b.accept(frame), Ok(Accepted::HandOn)));
    a.resume(&b.point()).unwrap();
    let again: Vec<_> = a.repeat().cloned().collect();
    assert_eq!(again.iter().map(|frame| frame.number).collect::<Vec<_>>(), [4, 5]);
    let same = |a: &Frame, b: &Frame| match (&a.payload, &b.payload) {
        (Payload::Whole(a), Payload::Whole(b)) => a.as_ptr() == b.as_ptr(),
        _ => false,
    };
    assert!(same(&again[0], &frames[3]), "the bytes were not copied");
    again.iter().for_each(|frame| assert_eq!(b.accept(frame), Ok(Accepted::HandOn)));
    a.resume(&b.point()).unwrap();
    assert_eq!((a.repeat().count(), a.held()), (0, 0));
}

/// I6: a payload that was cut is sent again without its call being taken again.
#[test]
fn a_payload_that_was_cut_is_completed() {
    let (mut a, mut b) = (Ledger::new(true), Ledger::new(true));
    let (cut, fine) = (send(&mut a, 1, PIECE_LEN + 1), send(&mut a, 2, PIECE_LEN + 2));
    let last = send(&mut a, 3, 5);
    let ([announced, whole], [other, other_whole]) = (&on_the_wire(&cut)[..], &on_the_wire(&fine)[..]) else {
        panic!("both are in pieces")
    };
    for frame in [announced, other, &last] {
        assert_eq!(b.accept(frame), Ok(Accepted::HandOn));
    }
    assert_eq!(b.accept(other_whole), Ok(Accepted::Whole));
    let point = b.point();
    assert_eq!(point, Point { accepted: 3, unfinished: vec![1] });
    a.resume(&point).unwrap();
    let again: Vec<_> = a.repeat().cloned().collect();
    assert_eq!(again.iter().map(|frame| frame.number).collect::<Vec<_>>(), [1]);
    assert_eq!(b.accept(announced), Ok(Accepted::Done), "the call is not taken again");
    assert_eq!(b.accept(announced), Err(NumberingError::NotNext { expected: 4, actual: 1 }), "but once");
    assert_eq!(b.accept(whole), Ok(Accepted::Whole));
    let mut received = Frame::new(cut.call, Body::Received);
    b.stamp(&mut received);
    assert_eq!(a.accept(&received), Ok(Accepted::Done));
    assert_eq!(a.held(), 0);
}

/// I6: who asks for what it cannot lack has lost its memory.
#[test]
fn a_point_that_cannot_be_is_refused() {
    let mut a = Ledger::new(true);
    let frame = send(&mut a, 1, 10);
    let point = |accepted, unfinished: &[u64]| Point { accepted, unfinished: unfinished.to_vec() };
    assert_eq!(a.resume(&point(2, &[])), Err(NumberingError::NeverSent { ack: 2, sent: 1 }));
    assert_eq!(a.resume(&point(1, &[1])), Err(NumberingError::NotInPieces(1)));
    assert_eq!(a.resume(&point(0, &[])), Err(NumberingError::Forgotten { point: 0, acknowledged: 1 }));
    assert_eq!(frame.number, 1);
}

/// I8: a session that cannot be resumed keeps nothing, and one that can only what is not acknowledged.
#[test]
fn what_is_acknowledged_is_dropped() {
    let (mut a, mut b) = (Ledger::new(true), Ledger::new(true));
    for n in 1..=1000 {
        let frame = send(&mut a, n, 10);
        b.accept(&frame).unwrap();
        let reply = send(&mut b, n, 10);
        a.accept(&reply).unwrap();
        assert!(a.held() <= 1 && b.held() <= 2, "{} {}", a.held(), b.held());
    }
    assert!(!Ledger::new(false).keeps());
}

/// One end of a link that breaks: what it sent, and what it was handed.
struct End {
    ledger: Ledger,
    handed: Vec<u32>,
    whole: Vec<u32>,
}

impl End {
    fn new() -> Self {
        Self { ledger: Ledger::new(true), handed: Vec::new(), whole: Vec::new() }
    }

    /// Takes a frame; gives what it says to it.
    fn take(&mut self, frame: &Frame) -> Option<Frame> {
        let accepted = self.ledger.accept(frame).unwrap();
        if accepted == Accepted::Done {
            return None;
        }
        if matches!(frame.body, Body::PayloadArrived) { &mut self.whole } else { &mut self.handed }
            .push(frame.call.index);
        let mut received = Frame::new(frame.call, Body::Received);
        self.ledger.stamp(&mut received);
        (accepted == Accepted::Whole).then_some(received)
    }
}

/// I6: however often the connection breaks, and wherever, each frame is handed on once and in order, and each payload is
/// whole once.
#[test]
fn every_frame_arrives_once_over_many_connections() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut ends = [End::new(), End::new()];
        let mut made = [0, 0];
        let mut wires: [VecDeque<Frame>; 2] = Default::default();
        for step in 0..600 {
            let (me, peer) = (rng.random_range(0..2), step % 2);
            match rng.random_range(0..20) {
                0..=7 => {
                    made[me] += 1;
                    let len = if rng.random_bool(0.2) { PIECE_LEN + 1 } else { 1 };
                    let frame = send(&mut ends[me].ledger, made[me], len);
                    let parts = on_the_wire(&frame);
                    wires[me].extend(parts);
                }
                8..=18 => {
                    if let Some(frame) = wires[1 - peer].pop_front()
                        && let Some(received) = ends[peer].take(&frame)
                    {
                        wires[peer].push_back(received);
                    }
                }
                _ => reconnect(&mut ends, &mut wires),
            }
        }
        reconnect(&mut ends, &mut wires);
        for round in 0.. {
            let Some(me) = (0..2).find(|me| !wires[*me].is_empty()) else { break };
            let frame = wires[me].pop_front().unwrap();
            if let Some(received) = ends[1 - me].take(&frame) {
                wires[1 - me].push_back(received);
            }
            assert!(round < 100_000);
        }
        for (me, end) in ends.iter().enumerate() {
            assert_eq!(end.handed, (1..=made[1 - me]).collect::<Vec<_>>(), "seed {seed}");
            let mut once = end.whole.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), end.whole.len(), "seed {seed}: a payload came twice");
        }
    }
}

/// The connection breaks with all that is on its way, and another one begins.
fn reconnect(ends: &mut [End; 2], wires: &mut [VecDeque<Frame>; 2]) {
    let points = [ends[0].ledger.point(), ends[1].ledger.point()];
    for me in 0..2 {
        ends[me].ledger.resume(&points[1 - me]).unwrap();
        wires[me] = ends[me].ledger.repeat().flat_map(on_the_wire).collect();
    }
}
