//! The two ends of one direction, as streams of bytes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{self, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Loopback,
    hub::{PipeId, Read},
};

/// Where a direction comes out.
pub(super) struct PipeReader {
    loopback: Loopback,
    pipe: PipeId,
    /// Until the next frame arrives.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl PipeReader {
    pub(super) fn new(loopback: Loopback, pipe: PipeId) -> Self {
        Self { loopback, pipe, sleep: None }
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut task::Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let read = this.loopback.lock().read(this.pipe, buf, Instant::now(), cx.waker());
            let due = match read? {
                Read::Some | Read::End => return Poll::Ready(Ok(())),
                Read::Nothing => return Poll::Pending,
                Read::At(due) => due,
            };
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if sleep.deadline() != due {
                sleep.as_mut().reset(due);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.loopback.lock().drop_reader(self.pipe);
    }
}

/// Where a direction begins.
pub(super) struct PipeWriter {
    loopback: Loopback,
    pipe: PipeId,
    is_ended: bool,
}

impl PipeWriter {
    pub(super) fn new(loopback: Loopback, pipe: PipeId) -> Self {
        Self { loopback, pipe, is_ended: false }
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut task::Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.loopback.lock().write(self.pipe, bufs, Instant::now(), cx.waker())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_ended {
            this.is_ended = true;
            this.loopback.lock().end(this.pipe, Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut hub = self.loopback.lock();
        if !self.is_ended {
            hub.end(self.pipe, Instant::now());
        }
        hub.drop_writer(self.pipe);
    }
}
