//! Payloads of which the head comes on one stream and the pieces on another one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{
    decoder_test::{announcing, feed, named, piece, some},
    *,
};
use crate::{Body, Reply};

const PUT: CallId = CallId { index: 1, generation: 0 };
const FETCHED: CallId = CallId { index: 2, generation: 5 };

/// The decoders of a control connection and of its lane.
fn pair() -> (Decoder, Decoder) {
    let (control, mut lane) = (Decoder::new(DecoderLimits::OPEN), Decoder::new(DecoderLimits::OPEN));
    lane.join(control.transfers());
    (control, lane)
}

/// Takes turns between two payloads, with pieces as long as a lane allows.
fn pieces(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for offset in (0..a.len().max(b.len())).step_by(LANE_PIECE_LEN) {
        for (call, payload) in [(PUT, a), (FETCHED, b)] {
            if offset < payload.len() {
                stream.extend(piece(call, payload, offset, LANE_PIECE_LEN.min(payload.len() - offset)));
            }
        }
        stream.extend(named("heartbeat"));
    }
    stream
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_comes_on_a_lane_is_copied_nowhere() {
    let mut rng = SmallRng::seed_from_u64(7);
    let (a, b) = (some(2 * LANE_PIECE_LEN + 7), some(PIECE_LEN + 1));
    let small = named("remote_execute").repeat(200);
    for most in [usize::MAX, 100_000, 5000] {
        let (mut control, mut lane) = pair();
        let heads =
            [announcing("put_object", PUT, a.len() as u64), announcing("fetch_object_reply", FETCHED, b.len() as u64)];
        assert_eq!(feed(&mut control, &heads.concat(), || usize::MAX).unwrap().len(), 2);
        // The control connection is read as if nothing was on its way.
        assert!(control.space().len() >= READ_LEN / 2);
        assert_eq!(feed(&mut control, &small, || usize::MAX).unwrap().len(), 200);
        let mut frames = feed(&mut lane, &pieces(&a, &b), || rng.random_range(1..=most)).unwrap();
        frames.retain(|frame| !matches!(frame.body, Body::Heartbeat));
        let [reply, arrived] = &frames[..] else { panic!("{frames:?}") };
        assert!(matches!(reply.body, Body::Completed(Reply::FetchObject(_))) && reply.number == 0);
        assert!(matches!(arrived.body, Body::PayloadArrived));
        assert!(arrived.payload.clone().into_bytes() == a[..] && reply.payload.clone().into_bytes() == b[..]);
        assert_eq!((lane.moved(), control.pieces()), (0, None));
    }
}

#[test]
fn a_piece_waits_for_the_frame_that_announces_it() {
    let (mut control, mut lane) = pair();
    let (a, woken) = (some(PIECE_LEN + 1), Arc::new(Woken::default()));
    let cut = piece(PUT, &a, 0, a.len());
    assert!(feed(&mut lane, &cut[..HEAD_LEN], || usize::MAX).unwrap().is_empty());
    assert_eq!(lane.early(), Some(PUT));
    lane.transfers().wait(PUT, &Waker::from(woken.clone()));
    feed(&mut control, &announcing("put_object", FETCHED, a.len() as u64), || usize::MAX).unwrap();
    assert!(lane.next_frame().unwrap().is_none());
    assert_eq!((lane.early(), lane.transfers().awaited(), woken.0.load(Ordering::Relaxed)), (Some(PUT), Some(PUT), 0));
    feed(&mut control, &announcing("put_object", PUT, a.len() as u64), || usize::MAX).unwrap();
    assert_eq!((lane.transfers().awaited(), woken.0.load(Ordering::Relaxed)), (None, 1));
    assert!(lane.next_frame().unwrap().is_none());
    assert_eq!((lane.early(), lane.moved()), (None, 0));
    let frames = feed(&mut lane, &cut[HEAD_LEN..], || 1000).unwrap();
    assert!(frames[0].payload.clone().into_bytes() == a[..]);
}

/// A slow piece is no lost one.
#[test]
fn every_read_of_a_piece_is_progress() {
    let (mut control, mut lane) = pair();
    let a = some(PIECE_LEN + 1);
    feed(&mut control, &announcing("put_object", PUT, a.len() as u64), || usize::MAX).unwrap();
    let before = control.pieces().unwrap();
    feed(&mut lane, &piece(PUT, &a, 0, a.len())[..1000], || 100).unwrap();
    assert!(control.pieces().unwrap() > before);
}

#[test]
fn what_does_not_belong_on_a_lane_is_refused() {
    fn check(stream: &[u8], expected: &str) {
        let (mut control, mut lane) = pair();
        feed(&mut control, &announcing("put_object", PUT, 3 * LANE_PIECE_LEN as u64), || usize::MAX).unwrap();
        let error = feed(&mut lane, stream, || usize::MAX).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    for name in ["hello", "welcome", "goodbye", "received", "remote_execute", "remote_execute_reply", "metadata"] {
        check(&named(name), "on a lane, which carries pieces");
    }
    let a = some(2 * LANE_PIECE_LEN);
    check(&piece(PUT, &a, 0, LANE_PIECE_LEN + 1), "a piece of 1048577 bytes, at most 1048576");
    check(&piece(PUT, &a, 1, 5), "it is not the next one");
    check(&piece(PUT, &a, 0, 0), "has not that many bytes left");
}

/// A payload's pieces come on one of the two, or on both in turns; never on both at one time.
#[test]
fn two_pieces_of_a_payload_at_one_time_are_refused() {
    let (mut control, mut lane) = pair();
    let a = some(PIECE_LEN + 10);
    feed(&mut control, &announcing("put_object", PUT, a.len() as u64), || usize::MAX).unwrap();
    feed(&mut lane, &piece(PUT, &a, 0, PIECE_LEN)[..1000], || usize::MAX).unwrap();
    let error = feed(&mut control, &piece(PUT, &a, 0, 5), || usize::MAX).unwrap_err();
    assert!(error.to_string().contains("on the other connection"), "{error}");
    feed(&mut lane, &piece(PUT, &a, 0, PIECE_LEN)[1000..], || usize::MAX).unwrap();
    let frames = feed(&mut lane, &piece(PUT, &a, PIECE_LEN, 10), || usize::MAX).unwrap();
    assert!(frames[0].payload.clone().into_bytes() == a[..]);
}
