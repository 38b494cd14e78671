//! Bytes into frames, with payloads read into the buffer that they stay in.

mod body;
#[cfg(test)]
mod decoder_test;
#[cfg(test)]
mod hostile_test;
#[cfg(test)]
mod lane_test;
mod transfers;

use std::collections::VecDeque;

use crate::{
    frame::{
        Frame, FrameError, HEAD_LEN, Head, LANE_PIECE_LEN, MAX_HANDSHAKE, MAX_HEADER, MAX_PAYLOAD, PIECE_LEN, Payload,
        flags, kind,
    },
    ids::CallId,
    tensor::{AlignedBuf, BufferPool},
};
pub use transfers::Transfers;

/// Bytes asked of the stream at once, unless a payload's own buffer takes more. Some hundred small calls; and no more of a
/// payload than this can come in the read of its head.
const READ_LEN: usize = 16 << 10;
/// A payload of so many bytes makes the next one likely.
const BULK: u64 = 4 << 10;

/// What a decoder accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderLimits {
    /// Largest header, in bytes.
    pub header: usize,
    /// Largest payload, in bytes.
    pub payload: u64,
}

impl DecoderLimits {
    /// Before the peer has proved who it is.
    pub const HANDSHAKE: Self = Self { header: MAX_HANDSHAKE, payload: 0 };
    /// Afterwards.
    pub const OPEN: Self = Self { header: MAX_HEADER, payload: MAX_PAYLOAD };
}

/// Cuts a stream of bytes into frames. Knows no socket: its owner reads into [`space`](Self::space), says how much with
/// [`advance`](Self::advance), and takes frames with [`next_frame`](Self::next_frame) until there is none.
///
/// A payload is read straight into its final buffer: `space` is that buffer, once its head is there. So that nothing of it
/// comes in the read of its head, where a payload is to be expected (pieces are on their way, or the last frame had one)
/// only the head is asked for, and then its header. Where none is to be expected everything that there is, is asked for,
/// since small frames come by the hundred; a payload that comes all the same has up to 16 KiB of its beginning
/// [moved](Self::moved) to its buffer, and the next one nothing.
#[derive(Debug)]
pub struct Decoder {
    limits: DecoderLimits,
    staged: Vec<u8>,
    start: usize,
    end: usize,
    filling: Option<Filling>,
    transfers: Transfers,
    /// The last frame had a payload worth mentioning.
    in_bulk: bool,
    /// Nothing but pieces comes here.
    is_lane: bool,
    /// The call of the next piece, if its payload was not announced yet.
    early: Option<CallId>,
    moved: u64,
    ready: VecDeque<Frame>,
    buffers: BufferPool,
}

/// A frame whose payload is being read.
#[derive(Debug)]
struct Filling {
    head: Head,
    filled: usize,
    into: Into,
}

#[derive(Debug)]
enum Into {
    /// A buffer of its own, for a frame that is otherwise decoded.
    Own(AlignedBuf, Box<Frame>),
    /// The buffer of the transfer of the head's call, from the head's offset on.
    Transfer(AlignedBuf),
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(limits: DecoderLimits) -> Self {
        Self {
            limits,
            staged: vec![0; READ_LEN],
            start: 0,
            end: 0,
            filling: None,
            transfers: Transfers::default(),
            in_bulk: false,
            is_lane: false,
            early: None,
            moved: 0,
            ready: VecDeque::new(),
            buffers: BufferPool::new(0),
        }
    }

    /// Accepts other sizes from the next frame on.
    pub fn set_limits(&mut self, limits: DecoderLimits) {
        self.limits = limits;
    }

    /// Takes memory for payloads from a pool from the next payload on.
    pub fn set_buffers(&mut self, buffers: BufferPool) {
        self.buffers = buffers;
    }

    /// The payloads on their way, to be shared with the decoder of a lane.
    pub fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// The stream is a lane, whose handshake is over: from now on it carries nothing but pieces of these payloads.
    pub fn join(&mut self, transfers: &Transfers) {
        self.transfers = transfers.clone();
        self.transfers.set_lane();
        self.is_lane = true;
    }

    /// The call of which a lane has brought a piece before its payload was announced. Nothing more is to be read before
    /// [`next_frame`](Self::next_frame) was asked again, after the announcement.
    pub fn early(&self) -> Option<CallId> {
        self.early
    }

    /// Where the next bytes of the stream go; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        let expects = self.in_bulk || self.is_lane || self.transfers.any() && !self.transfers.has_lane();
        let heads_alone = self.filling.is_none() && expects;
        let most = if heads_alone { self.missing() } else { usize::MAX };
        match &mut self.filling {
            Some(Filling { filled, into: Into::Own(buf, _), .. }) => &mut buf.as_mut_slice()[*filled..],
            Some(Filling { head, filled, into: Into::Transfer(buf) }) => &mut buf.as_mut_slice()[part(head)][*filled..],
            None => {
                if self.start == self.end || self.staged.len() - self.end < READ_LEN / 2 {
                    // What is left is the beginning of one frame: little, unless its header is large.
                    self.staged.copy_within(self.start..self.end, 0);
                    (self.start, self.end) = (0, self.end - self.start);
                }
                if self.staged.len() == self.end {
                    self.staged.resize(self.staged.len() * 2, 0);
                }
                let end = self.staged.len().min(self.end.saturating_add(most));
                &mut self.staged[self.end..end]
            }
        }
    }

    /// How many bytes the next frame's head and header still lack.
    fn missing(&self) -> usize {
        let have = &self.staged[self.start..self.end];
        let whole = match have.first_chunk::<HEAD_LEN>() {
            None => HEAD_LEN,
            Some(head) => HEAD_LEN + Head::read(head).0.header_len as usize,
        };
        whole.saturating_sub(have.len()).max(1)
    }

    /// A number that grows with every read of pieces of payloads, while some are still to come; `None` while none are.
    pub fn pieces(&self) -> Option<u64> {
        self.transfers.progress()
    }

    /// Bytes of payloads that were copied because they came in the read of their head.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Says that the stream put `n` bytes into [`space`](Self::space).
    pub fn advance(&mut self, n: usize) -> Result<(), FrameError> {
        match &mut self.filling {
            Some(filling) => {
                filling.filled += n;
                if let Into::Transfer(_) = filling.into {
                    self.transfers.go_on();
                }
                self.finish_filling()
            }
            None => {
                self.end += n;
                Ok(())
            }
        }
    }

    /// The next frame that is whole; `None` if more bytes are needed. After an error the stream cannot go on.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            if self.filling.is_some() || !self.parse_one()? {
                return Ok(None);
            }
        }
    }

    /// Takes one frame's head and header from the staged bytes; false if they are not all there.
    fn parse_one(&mut self) -> Result<bool, FrameError> {
        let Some(first) = self.staged[self.start..self.end].first_chunk::<HEAD_LEN>() else {
            return Ok(false);
        };
        let (head, crc) = Head::read(first);
        self.check_lengths(&head)?;
        let header_end = self.start + HEAD_LEN + head.header_len as usize;
        if header_end > self.end {
            return Ok(false);
        }
        let header = &self.staged[self.start + HEAD_LEN..header_end];
        let actual = crc32c::crc32c_append(crc32c::crc32c(&first[..HEAD_LEN - 4]), header);
        if actual != crc {
            return Err(FrameError::Checksum { what: "head", expected: crc, actual });
        }
        check_form(&head, first, self.is_lane)?;
        if head.kind == kind::PIECE {
            self.early = Some(head.call).filter(|call| self.is_lane && !self.transfers.is_announced(*call));
            if self.early.is_some() {
                return Ok(false);
            }
            self.start = header_end;
            let buf = self.transfers.begin_piece(&head)?;
            self.in_bulk = true;
            self.fill(head, Into::Transfer(buf))?;
        } else {
            let frame = Frame {
                call: head.call,
                number: head.number,
                ack: head.ack,
                body: body::decode_body(&head, header)?,
                payload: Payload::None,
            };
            self.start = header_end;
            self.start_frame(head, frame)?;
        }
        Ok(true)
    }

    /// I8: every length is checked before anything is allocated for it, or waited for.
    fn check_lengths(&self, head: &Head) -> Result<(), FrameError> {
        let too_large = |what, actual, limit| Err(FrameError::TooLarge { what, actual, limit });
        if head.header_len as usize > self.limits.header {
            return too_large("a header", head.header_len.into(), self.limits.header as u64);
        }
        if head.payload_len > self.limits.payload {
            return too_large("a payload", head.payload_len, self.limits.payload);
        }
        Ok(())
    }

    fn start_frame(&mut self, head: Head, frame: Frame) -> Result<(), FrameError> {
        let elsewhere = head.flags & flags::PIECES != 0 && self.transfers.has_lane();
        self.in_bulk = head.payload_len >= BULK && !elsewhere;
        if head.payload_len == 0 {
            self.ready.push_back(frame);
        } else if head.flags & flags::PIECES != 0 {
            self.ready.push_back(self.transfers.announce(&head, frame, &self.buffers)?);
        } else {
            let buf = allocate(head.payload_len, &self.buffers)?;
            self.fill(head, Into::Own(buf, Box::new(frame)))?;
        }
        Ok(())
    }

    /// Begins to read a payload, and moves what is staged of it to where it belongs.
    fn fill(&mut self, head: Head, into: Into) -> Result<(), FrameError> {
        self.filling = Some(Filling { head, filled: 0, into });
        let staged = std::mem::take(&mut self.staged);
        let have = &staged[self.start..self.end];
        let space = self.space();
        let n = have.len().min(space.len());
        space[..n].copy_from_slice(&have[..n]);
        self.staged = staged;
        self.start += n;
        self.moved += n as u64;
        self.advance(n)
    }

    fn finish_filling(&mut self) -> Result<(), FrameError> {
        let Some(filling) = self.filling.take_if(|f| f.filled as u64 == f.head.payload_len) else {
            return Ok(());
        };
        let head = filling.head;
        match filling.into {
            Into::Own(buf, mut frame) => {
                verify(&head, buf.as_ref())?;
                frame.payload = Payload::Whole(buf.freeze());
                self.ready.push_back(*frame);
            }
            Into::Transfer(buf) => {
                verify(&head, &buf.as_ref()[part(&head)])?;
                self.ready.extend(self.transfers.finish_piece(&head, buf));
            }
        }
        Ok(())
    }
}

/// The part of its payload that a piece is, which was seen to lie within the buffer.
fn part(head: &Head) -> std::ops::Range<usize> {
    head.number as usize..(head.number + head.payload_len) as usize
}

/// Whether a head whose checksum was right is one that this version makes.
fn check_form(head: &Head, bytes: &[u8; HEAD_LEN], is_lane: bool) -> Result<(), FrameError> {
    let wrong = |why| Err(FrameError::Malformed(why));
    if head.flags & !flags::ALL != 0 {
        return wrong(format!("flags {:#04x}", head.flags));
    }
    if bytes[2..4] != [0, 0] {
        return wrong(format!("reserved bytes {:02x?}", &bytes[2..4]));
    }
    let payload = head.payload_len;
    let may = head.kind >= kind::CALLS && head.flags & flags::FAILED == 0;
    if head.kind == kind::PIECE {
        if head.flags & !flags::PAYLOAD_CRC != 0 || head.header_len != 0 {
            return wrong("a piece with a header or with flags other than its checksum's".to_owned());
        }
        let most = if is_lane { LANE_PIECE_LEN } else { PIECE_LEN };
        if payload > most as u64 {
            return wrong(format!("a piece of {payload} bytes, at most {most} are allowed"));
        }
    } else if is_lane && head.kind != kind::HEARTBEAT {
        return wrong(format!("kind {} on a lane, which carries pieces", head.kind));
    } else if payload > 0 && !may {
        return wrong(format!("a payload of {payload} bytes beside kind {}", head.kind));
    } else if (head.flags & flags::PIECES != 0) != (payload > PIECE_LEN as u64) {
        let must = if payload > PIECE_LEN as u64 { "must" } else { "must not" };
        return wrong(format!("a payload of {payload} bytes {must} be in pieces"));
    }
    Ok(())
}

/// A buffer for a payload whose length was checked. It is handed on only when all of it was read.
fn allocate(len: u64, buffers: &BufferPool) -> Result<AlignedBuf, FrameError> {
    usize::try_from(len).ok().and_then(|len| buffers.take(len)).ok_or(FrameError::OutOfMemory(len))
}

fn verify(head: &Head, payload: &[u8]) -> Result<(), FrameError> {
    if head.flags & flags::PAYLOAD_CRC == 0 {
        return Ok(());
    }
    let actual = crc32c::crc32c(payload);
    if actual == head.payload_crc {
        Ok(())
    } else {
        Err(FrameError::Checksum { what: "payload", expected: head.payload_crc, actual })
    }
}
