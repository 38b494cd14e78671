//! Tests of frames over a stream that takes and gives what it likes.

use std::{
    io::IoSlice,
    sync::{Arc, Mutex},
    task::Waker,
};

use bytes::Bytes;
use remex_protocol::{FrameError, Payload, frame::PIECE_LEN};

use super::*;
use crate::fabric::conformance::{call_with, pattern, small};

/// All bytes, and how many each write took.
type Written = (Vec<u8>, Vec<usize>);

/// What a writer wrote: at most `accepts` bytes in a write, and every other one has to wait if it `dawdles`.
#[derive(Clone, Default)]
struct Socket {
    accepts: usize,
    dawdles: bool,
    written: Arc<Mutex<Written>>,
    waited: bool,
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut task::Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.waited = !self.waited;
        if self.dawdles && self.waited {
            return Poll::Pending;
        }
        let mut left = self.accepts;
        let mut written = self.written.lock().unwrap();
        for buf in bufs {
            let n = left.min(buf.len());
            written.0.extend_from_slice(&buf[..n]);
            left -= n;
        }
        let n = self.accepts - left;
        written.1.push(n);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn writer(accepts: usize, dawdles: bool) -> (StreamWriter<Socket>, Arc<Mutex<Written>>) {
    let socket = Socket { accepts, dawdles, ..Socket::default() };
    let written = Arc::clone(&socket.written);
    (StreamWriter::new(socket, "there".to_owned(), true), written)
}

fn poll<T>(mut f: impl FnMut(&mut task::Context<'_>) -> Poll<T>) -> Poll<T> {
    f(&mut task::Context::from_waker(Waker::noop()))
}

/// All frames of `bytes`, and how they end.
fn read_all(bytes: &[u8]) -> (Vec<Frame>, FabricError) {
    let mut reader = StreamReader::new(io::Cursor::new(bytes.to_vec()), "there".to_owned());
    reader.open();
    let mut frames = Vec::new();
    loop {
        match poll(|cx| reader.poll_read(cx, &mut frames)) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return (frames, error),
            Poll::Pending => panic!("a slice of bytes never waits"),
        }
    }
}

fn flush(writer: &mut StreamWriter<Socket>) {
    for _ in 0..1_000_000 {
        if let Poll::Ready(result) = poll(|cx| writer.poll_flush(cx)) {
            return result.unwrap();
        }
    }
    panic!("it never ends");
}

#[test]
fn frames_pushed_together_are_one_write() {
    let (mut writer, written) = writer(usize::MAX / 2, false);
    for ack in 0..64 {
        writer.push(small(ack)).unwrap();
    }
    writer.push(call_with(1, pattern(1000))).unwrap();
    writer.push(call_with(2, pattern(100_000))).unwrap();
    flush(&mut writer);
    assert_eq!(written.lock().unwrap().1.len(), 1);
    flush(&mut writer);
    assert_eq!(written.lock().unwrap().1.len(), 1, "nothing left means nothing written");
}

#[test]
fn a_piece_is_one_write() {
    let (mut writer, written) = writer(usize::MAX / 2, false);
    writer.push(call_with(1, pattern(5 * PIECE_LEN))).unwrap();
    flush(&mut writer);
    assert_eq!(written.lock().unwrap().1.len(), 5);
}

#[test]
fn any_partial_write_gives_the_same_frames() {
    for accepts in [1, 7, 47, 48, 49, 1000, 65_537] {
        let (mut writer, written) = writer(accepts, true);
        let payload = pattern(PIECE_LEN + 5);
        for round in 0..3 {
            writer.push(small(3 * round + 1)).unwrap();
            writer.push(call_with(round as u32, payload.slice(..2000))).unwrap();
            // Between two polls of one flush.
            assert!(poll(|cx| writer.poll_flush(cx)).is_pending());
            writer.push(call_with(100 + round as u32, payload.clone())).unwrap();
            let _ = poll(|cx| writer.poll_flush(cx));
            writer.push(small(3 * round + 2)).unwrap();
        }
        flush(&mut writer);
        assert_eq!(writer.queued_bytes(), 0);
        let (frames, end) = read_all(&written.lock().unwrap().0);
        assert!(matches!(end, FabricError::Closed), "{end:?}");
        let order: Vec<u64> = frames.iter().map(|frame| frame.ack).filter(|ack| *ack > 0).collect();
        assert_eq!(order, [1, 2, 4, 5, 7, 8], "{accepts} bytes a write");
        let mut large = 0;
        for frame in frames {
            if let Payload::Whole(bytes) = frame.payload {
                assert_eq!(bytes, payload.slice(..bytes.len()));
                large += usize::from(bytes.len() > PIECE_LEN);
            }
        }
        assert_eq!(large, 3);
    }
}

#[test]
fn pieces_of_two_payloads_take_turns() {
    let (mut writer, written) = writer(usize::MAX / 2, false);
    writer.push(call_with(1, pattern(4 * PIECE_LEN))).unwrap();
    writer.push(call_with(2, pattern(2 * PIECE_LEN))).unwrap();
    flush(&mut writer);
    let (frames, _) = read_all(&written.lock().unwrap().0);
    let order: Vec<u32> = frames.iter().map(|frame| frame.call.index).collect();
    // The shorter one, announced later, is whole first.
    assert_eq!(order, [1, 2, 2, 1]);
}

#[test]
fn a_payload_is_not_copied_before_it_is_written() {
    let (mut writer, _) = writer(1, true);
    let payload = Bytes::from(vec![5; 100_000]);
    writer.push(call_with(1, payload.clone())).unwrap();
    let slices = writer.outgoing.slices();
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
}

#[test]
fn frames_before_garbage_arrive_and_then_the_error() {
    let (mut writer, written) = writer(usize::MAX / 2, false);
    writer.push(small(1)).unwrap();
    flush(&mut writer);
    let mut bytes = written.lock().unwrap().0.clone();
    bytes.extend([0xff; 60]);
    let (frames, error) = read_all(&bytes);
    assert_eq!(frames.len(), 1);
    assert!(matches!(error, FabricError::Frame(_)), "{error:?}");
}

#[test]
fn a_damaged_payload_is_an_error() {
    let (mut writer, written) = writer(usize::MAX / 2, false);
    writer.push(call_with(1, pattern(5000))).unwrap();
    flush(&mut writer);
    let mut bytes = written.lock().unwrap().0.clone();
    *bytes.last_mut().unwrap() ^= 1;
    let (_, error) = read_all(&bytes);
    assert!(matches!(error, FabricError::Frame(FrameError::Checksum { what: "payload", .. })), "{error:?}");
}

#[test]
fn a_stream_that_takes_nothing_is_an_error() {
    let (mut writer, _) = writer(0, false);
    writer.push(small(1)).unwrap();
    let result = poll(|cx| writer.poll_flush(cx));
    let Poll::Ready(Err(error)) = result else { panic!("{result:?}") };
    assert!(error.to_string().starts_with("cannot write to there: "), "{error}");
}
