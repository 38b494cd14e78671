//! A connection inside a task: frames are handed over as they are.

use std::{
    cell::RefCell,
    io, mem,
    rc::Rc,
    task::{self, Poll, Waker},
};

use remex_protocol::{Body, Frame};

use super::{Connection, FabricError, FrameReader, FrameWriter, outgoing::check_payload};

/// Two ends of a connection, both on the calling arbiter: for calls to one's own task.
///
/// Nothing is encoded and payloads are not copied: whatever its size, a payload is whole when its frame arrives. There is
/// no backpressure but the link's credits.
pub fn pair() -> (Connection, Connection) {
    let there = Rc::new(RefCell::new(Queue::default()));
    let back = Rc::new(RefCell::new(Queue::default()));
    (end(&back, &there), end(&there, &back))
}

fn end(reads: &Rc<RefCell<Queue>>, writes: &Rc<RefCell<Queue>>) -> Connection {
    Connection {
        reader: Box::new(DirectReader { queue: Rc::clone(reads), is_open: false }),
        writer: Box::new(DirectWriter { queue: Rc::clone(writes), pushed: Vec::new() }),
        peer: "this task".to_owned(),
        is_local: true,
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Queue {
    frames: Vec<Frame>,
    reader: Option<Waker>,
    is_closed: bool,
    is_unread: bool,
}

impl Queue {
    fn wake(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct DirectReader {
    queue: Rc<RefCell<Queue>>,
    is_open: bool,
}

impl FrameReader for DirectReader {
    fn poll_read(&mut self, cx: &mut task::Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), FabricError>> {
        let mut queue = self.queue.borrow_mut();
        if !queue.frames.is_empty() {
            if !self.is_open {
                frames.push(queue.frames.remove(0));
            } else if frames.is_empty() {
                // Both buffers go on being used.
                mem::swap(frames, &mut queue.frames);
            } else {
                frames.append(&mut queue.frames);
            }
            return Poll::Ready(Ok(()));
        }
        if queue.is_closed {
            return Poll::Ready(Err(FabricError::Closed));
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn open(&mut self) {
        self.is_open = true;
    }
}

impl Drop for DirectReader {
    fn drop(&mut self) {
        let mut queue = self.queue.borrow_mut();
        queue.is_unread = true;
        let frames = mem::take(&mut queue.frames);
        // Whoever a payload belongs to is told after the queue is free again.
        drop(queue);
        drop(frames);
    }
}

#[derive(Debug)]
struct DirectWriter {
    queue: Rc<RefCell<Queue>>,
    pushed: Vec<Frame>,
}

impl FrameWriter for DirectWriter {
    fn push(&mut self, mut frame: Frame) -> Result<(), FabricError> {
        check_payload(&frame.payload)?;
        if matches!(frame.body, Body::PayloadArrived | Body::ReplyAnnounced | Body::Undecodable { .. }) {
            return Err(FabricError::Unsendable("it is made by a decoder".to_owned()));
        }
        if frame.payload.is_empty() {
            frame.payload = Default::default();
        }
        self.pushed.push(frame);
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), FabricError>> {
        if self.pushed.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut queue = self.queue.borrow_mut();
        if queue.is_unread || queue.is_closed {
            self.pushed.clear();
            let error = io::ErrorKind::BrokenPipe.into();
            return Poll::Ready(Err(FabricError::io("write to", "this task", &error)));
        }
        queue.frames.append(&mut self.pushed);
        queue.wake();
        Poll::Ready(Ok(()))
    }

    fn queued_bytes(&self) -> usize {
        self.pushed.iter().map(|frame| frame.payload.len() as usize).sum()
    }

    fn poll_close(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), FabricError>> {
        task::ready!(self.poll_flush(cx))?;
        let mut queue = self.queue.borrow_mut();
        queue.is_closed = true;
        queue.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for DirectWriter {
    fn drop(&mut self) {
        let mut queue = self.queue.borrow_mut();
        queue.is_closed = true;
        queue.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::conformance::{self, Encoding, call_with, flush, pattern, read_n, small};

    #[actix_rt::test]
    async fn it_does_what_every_connection_does() {
        conformance::check_connections(async || pair(), Encoding::None).await;
    }

    #[actix_rt::test]
    async fn a_large_payload_is_handed_over_without_a_copy() {
        let (mut a, mut b) = pair();
        let payload = pattern(1 << 20);
        a.writer.push(call_with(1, payload.clone())).unwrap();
        assert_eq!(a.writer.queued_bytes(), 1 << 20);
        flush(&mut *a.writer).await;
        let frames = read_n(&mut *b.reader, 1).await;
        let bytes = frames.into_iter().next().unwrap().payload.into_bytes();
        assert_eq!((bytes.as_ptr(), bytes.len()), (payload.as_ptr(), payload.len()));
    }

    #[actix_rt::test]
    async fn writing_to_nobody_is_an_error() {
        let (mut a, b) = pair();
        drop(b);
        a.writer.push(small(1)).unwrap();
        let error = std::future::poll_fn(|cx| a.writer.poll_flush(cx)).await.unwrap_err();
        assert!(matches!(error, FabricError::Io { kind: io::ErrorKind::BrokenPipe, .. }), "{error:?}");
    }
}
