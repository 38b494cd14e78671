//! Frames over a stream of bytes: what TCP, Unix sockets and the loopback have in common.

use std::{
    fmt, io,
    pin::Pin,
    task::{self, Poll, ready},
};

use remex_protocol::{Body, Decoder, DecoderLimits, Frame, Transfers, tensor::BufferPool};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Bulk, Connection, FabricError, FrameReader, FrameWriter, LaneReader, LaneWriter, Traffic,
    lane::{StreamLaneReader, StreamLaneWriter},
    outgoing::Outgoing,
};

/// A connection over the two halves of a stream. With `payload_crc` payloads are sent with a checksum: for streams that
/// leave the machine. What is received is checked whenever it has one.
pub fn connection<R, W>(reader: R, writer: W, peer: String, is_local: bool, payload_crc: bool) -> Connection
where
    R: AsyncRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    Connection {
        reader: Box::new(StreamReader::new(reader, peer.clone())),
        writer: Box::new(StreamWriter::new(writer, peer.clone(), payload_crc)),
        peer,
        is_local,
    }
}

/// Reads frames from a stream.
pub struct StreamReader<R> {
    stream: R,
    peer: String,
    decoder: Decoder,
    is_open: bool,
    traffic: Traffic,
    /// Why nothing more can be read.
    failed: Option<FabricError>,
}

impl<R> StreamReader<R> {
    /// At the beginning of a stream from `peer`.
    pub fn new(stream: R, peer: String) -> Self {
        let (decoder, traffic) = (Decoder::new(DecoderLimits::HANDSHAKE), Traffic::default());
        Self { stream, peer, decoder, is_open: false, traffic, failed: None }
    }

    /// Takes the frames that are whole, but one at most while the handshake is not over.
    fn take(&mut self, frames: &mut Vec<Frame>) -> Result<(), FabricError> {
        while let Some(frame) = self.decoder.next_frame()? {
            frames.push(frame);
            if !self.is_open {
                break;
            }
        }
        Ok(())
    }
}

/// Reads once, into where the decoder wants it; gives how many bytes came.
pub(super) fn poll_fill(
    stream: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
    traffic: &Traffic,
    peer: &str,
    cx: &mut task::Context<'_>,
) -> Poll<Result<usize, FabricError>> {
    let mut space = ReadBuf::new(decoder.space());
    ready!(Pin::new(stream).poll_read(cx, &mut space)).map_err(|e| FabricError::io("read from", peer, &e))?;
    let n = space.filled().len();
    if n == 0 {
        return Poll::Ready(Err(FabricError::Closed));
    }
    traffic.add_received(n);
    decoder.advance(n)?;
    Poll::Ready(Ok(n))
}

impl<R: AsyncRead + Unpin> StreamReader<R> {
    fn poll_some(&mut self, cx: &mut task::Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), FabricError>> {
        let before = frames.len();
        self.take(frames)?;
        while frames.len() == before {
            ready!(poll_fill(&mut self.stream, &mut self.decoder, &self.traffic, &self.peer, cx))?;
            self.take(frames)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncRead + Unpin + 'static> FrameReader for StreamReader<R> {
    fn poll_read(&mut self, cx: &mut task::Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), FabricError>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone()));
        }
        let before = frames.len();
        let read = ready!(self.poll_some(cx, frames));
        let unreadable = frames[before..].iter().filter(|frame| matches!(frame.body, Body::Undecodable { .. })).count();
        if unreadable > 0 {
            self.traffic.add_unreadable(unreadable);
        }
        let Err(error) = read else { return Poll::Ready(Ok(())) };
        if let FabricError::Frame(_) = error {
            self.traffic.add_broken();
        }
        self.failed = Some(error.clone());
        Poll::Ready(if frames.len() > before { Ok(()) } else { Err(error) })
    }

    fn open(&mut self) {
        self.is_open = true;
        self.decoder.set_limits(DecoderLimits::OPEN);
    }

    fn pieces(&self) -> Option<u64> {
        self.decoder.pieces()
    }

    fn use_buffers(&mut self, buffers: &BufferPool) {
        self.decoder.set_buffers(buffers.clone());
    }

    fn count(&mut self, traffic: &Traffic) {
        self.traffic = traffic.clone();
    }

    fn transfers(&self) -> Option<Transfers> {
        Some(self.decoder.transfers().clone())
    }

    fn into_lane(mut self: Box<Self>, transfers: &Transfers) -> Option<Box<dyn LaneReader>> {
        self.open();
        let Self { stream, peer, mut decoder, traffic, .. } = *self;
        decoder.join(transfers);
        let (transfers, _open) = (transfers.clone(), traffic.open_lane());
        Some(Box::new(StreamLaneReader { stream, peer, decoder, transfers, traffic, _open }))
    }
}

impl<R> fmt::Debug for StreamReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamReader({})", self.peer)
    }
}

/// Writes frames to a stream.
pub struct StreamWriter<W> {
    stream: W,
    peer: String,
    outgoing: Outgoing,
    traffic: Traffic,
}

impl<W> StreamWriter<W> {
    /// At the beginning of a stream to `peer`.
    pub fn new(stream: W, peer: String, payload_crc: bool) -> Self {
        Self { stream, peer, outgoing: Outgoing::new(payload_crc), traffic: Traffic::default() }
    }

    fn error(&self, error: &io::Error) -> FabricError {
        FabricError::io("write to", &self.peer, error)
    }
}

impl<W: AsyncWrite + Unpin + 'static> FrameWriter for StreamWriter<W> {
    fn push(&mut self, frame: Frame) -> Result<(), FabricError> {
        self.outgoing.push(&frame)
    }

    fn push_kept(&mut self, frame: &Frame) -> Result<(), FabricError> {
        self.outgoing.push(frame)
    }

    fn poll_flush(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), FabricError>> {
        while self.outgoing.queued() > 0 {
            ready!(self.outgoing.poll_unheld(cx));
            self.outgoing.add_piece();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &self.outgoing.slices()));
            match written {
                Ok(0) => return Poll::Ready(Err(self.error(&io::ErrorKind::WriteZero.into()))),
                Ok(n) => {
                    self.traffic.add_sent(n);
                    self.outgoing.consume(n);
                }
                Err(e) => return Poll::Ready(Err(self.error(&e))),
            }
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|e| self.error(&e)))
    }

    fn queued_bytes(&self) -> usize {
        self.outgoing.queued()
    }

    fn poll_close(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), FabricError>> {
        ready!(self.poll_flush(cx))?;
        ready!(self.outgoing.poll_lane(cx));
        let closed = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(closed.map_err(|e| self.error(&e)))
    }

    fn count(&mut self, traffic: &Traffic) {
        self.traffic = traffic.clone();
    }

    fn divert(&mut self, bulk: &Bulk) -> bool {
        self.outgoing.divert(bulk)
    }

    fn into_lane(self: Box<Self>, bulk: &Bulk) -> Option<Box<dyn LaneWriter>> {
        let Self { stream, peer, outgoing, traffic } = *self;
        Some(Box::new(StreamLaneWriter::new(stream, peer, bulk.clone(), outgoing.payload_crc(), traffic)))
    }
}

impl<W> fmt::Debug for StreamWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamWriter({}, {} bytes queued)", self.peer, self.outgoing.queued())
    }
}

#[cfg(test)]
#[path = "stream_test.rs"]
mod tests;
