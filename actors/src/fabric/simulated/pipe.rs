//! The two ends of one direction, as streams of bytes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{self, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

use super::{
    Network,
    net::{PipeId, reset_error},
    way::Found,
};

/// Where a direction comes out.
pub(super) struct PipeReader {
    network: Network,
    pipe: PipeId,
    /// Until something arrives.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl PipeReader {
    pub(super) fn new(network: Network, pipe: PipeId) -> Self {
        Self { network, pipe, sleep: None }
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut task::Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let now = this.network.now();
            let found = this.network.lock().read(this.pipe, buf.initialize_unfilled(), now, cx.waker());
            let due = match found {
                Found::Bytes(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Found::End => return Poll::Ready(Ok(())),
                Found::Reset => return Poll::Ready(Err(reset_error())),
                Found::Nothing => return Poll::Pending,
                Found::At(due) => this.network.begin() + due,
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
        self.network.lock().drop_reader(self.pipe);
    }
}

/// Where a direction begins.
pub(super) struct PipeWriter {
    network: Network,
    pipe: PipeId,
    is_ended: bool,
}

impl PipeWriter {
    pub(super) fn new(network: Network, pipe: PipeId) -> Self {
        Self { network, pipe, is_ended: false }
    }

    fn end(&mut self) {
        if !self.is_ended {
            self.is_ended = true;
            let now = self.network.now();
            self.network.lock().end(self.pipe, now);
        }
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
        let now = self.network.now();
        self.network.lock().write(self.pipe, bufs, now, cx.waker())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.end();
        self.network.lock().drop_writer(self.pipe);
    }
}
