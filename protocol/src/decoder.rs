//! Bytes into frames, with payloads read into the buffer that they stay in.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    Call, CodecError, ErrorCode, RemoteError, Reply, codec,
    frame::{
        Body, Frame, FrameError, HEAD_LEN, Head, MAX_HANDSHAKE, MAX_HEADER, MAX_PAYLOAD, MAX_TRANSFERS, PIECE_LEN,
        Payload, flags, kind,
    },
    ids::CallId,
    tensor::AlignedBuf,
};

/// Bytes asked of the stream at once, unless a payload's own buffer takes more.
const READ_LEN: usize = 64 << 10;

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
    pub const HANDSHAKE: Self = Self {
        header: MAX_HANDSHAKE,
        payload: 0,
    };
    /// Afterwards.
    pub const OPEN: Self = Self {
        header: MAX_HEADER,
        payload: MAX_PAYLOAD,
    };
}

/// Cuts a stream of bytes into frames. Knows no socket: its owner reads into [`space`](Self::space), says how much with
/// [`advance`](Self::advance), and takes frames with [`next_frame`](Self::next_frame) until there is none.
///
/// A payload that is not yet whole when its head is seen is read straight into its final buffer: `space` is that buffer
/// then. What came in the same read as its head, at most 64 KiB, is moved there once.
#[derive(Debug)]
pub struct Decoder {
    limits: DecoderLimits,
    staged: Vec<u8>,
    start: usize,
    end: usize,
    filling: Option<Filling>,
    transfers: BTreeMap<CallId, Transfer>,
    ready: VecDeque<Frame>,
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
    /// The transfer of the head's call, from the head's offset on.
    Transfer,
}

/// A payload that arrives in pieces.
#[derive(Debug)]
struct Transfer {
    buf: AlignedBuf,
    len: u64,
    filled: u64,
    /// A reply waits here for its payload; a call was handed on already.
    reply: Option<Box<Frame>>,
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
            transfers: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Accepts other sizes from the next frame on.
    pub fn set_limits(&mut self, limits: DecoderLimits) {
        self.limits = limits;
    }

    /// Where the next bytes of the stream go; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        match &mut self.filling {
            Some(Filling {
                filled,
                into: Into::Own(buf, _),
                ..
            }) => &mut buf.as_mut_slice()[*filled..],
            Some(Filling {
                head,
                filled,
                into: Into::Transfer,
            }) => {
                let at = head.number as usize;
                let end = at + head.payload_len as usize;
                let transfer = self
                    .transfers
                    .get_mut(&head.call)
                    .expect("a piece is only filled into its transfer");
                &mut transfer.buf.as_mut_slice()[at + *filled..end]
            }
            None => {
                if self.start == self.end {
                    (self.start, self.end) = (0, 0);
                } else if self.end == self.staged.len() {
                    self.staged.copy_within(self.start..self.end, 0);
                    (self.start, self.end) = (0, self.end - self.start);
                    if self.end == self.staged.len() {
                        self.staged.resize(self.staged.len() * 2, 0);
                    }
                }
                &mut self.staged[self.end..]
            }
        }
    }

    /// Says that the stream put `n` bytes into [`space`](Self::space).
    pub fn advance(&mut self, n: usize) -> Result<(), FrameError> {
        match &mut self.filling {
            Some(filling) => {
                filling.filled += n;
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
        self.check(&head)?;
        let header_end = self.start + HEAD_LEN + head.header_len as usize;
        if header_end > self.end {
            return Ok(false);
        }
        let header = &self.staged[self.start + HEAD_LEN..header_end];
        let actual = crc32c::crc32c_append(crc32c::crc32c(&first[..HEAD_LEN - 4]), header);
        if actual != crc {
            return Err(FrameError::Checksum {
                what: "head",
                expected: crc,
                actual,
            });
        }
        if head.kind == kind::PIECE {
            self.start = header_end;
            self.start_piece(head)?;
        } else {
            let frame = decode_frame(&head, header)?;
            self.start = header_end;
            self.start_frame(head, frame)?;
        }
        Ok(true)
    }

    /// I8: every length is checked before anything is allocated for it.
    fn check(&self, head: &Head) -> Result<(), FrameError> {
        let (header, payload) = (head.header_len as usize, head.payload_len);
        if header > self.limits.header {
            let limit = self.limits.header as u64;
            return Err(FrameError::TooLarge {
                what: "a header",
                actual: header as u64,
                limit,
            });
        }
        if payload > self.limits.payload {
            return Err(FrameError::TooLarge {
                what: "a payload",
                actual: payload,
                limit: self.limits.payload,
            });
        }
        if head.flags & !flags::ALL != 0 {
            return Err(FrameError::Malformed(format!("flags {:#04x}", head.flags)));
        }
        let in_pieces = head.flags & flags::PIECES != 0;
        if in_pieces != (payload > PIECE_LEN as u64) {
            let why = format!(
                "a payload of {payload} bytes must{} be in pieces",
                if in_pieces { " not" } else { "" }
            );
            return Err(FrameError::Malformed(why));
        }
        Ok(())
    }

    fn start_frame(&mut self, head: Head, mut frame: Frame) -> Result<(), FrameError> {
        let no_memory = FrameError::OutOfMemory(head.payload_len);
        if head.payload_len == 0 {
            self.ready.push_back(frame);
            return Ok(());
        }
        let len = usize::try_from(head.payload_len).map_err(|_| no_memory.clone())?;
        let buf = AlignedBuf::zeroed(len).ok_or(no_memory)?;
        if head.flags & flags::PIECES == 0 {
            self.filling = Some(Filling {
                head,
                filled: 0,
                into: Into::Own(buf, Box::new(frame)),
            });
            return self.fill_from_staged();
        }
        if self.transfers.len() >= MAX_TRANSFERS {
            return Err(FrameError::Malformed(format!(
                "more than {MAX_TRANSFERS} payloads in pieces at one time"
            )));
        }
        if self.transfers.contains_key(&head.call) {
            return Err(FrameError::Malformed(format!(
                "call {} has a payload on its way already",
                head.call
            )));
        }
        let is_call = matches!(frame.body, Body::Call(_) | Body::Undecodable { .. });
        let reply = if is_call {
            frame.payload = Payload::Announced(head.payload_len);
            self.ready.push_back(frame);
            None
        } else {
            Some(Box::new(frame))
        };
        self.transfers.insert(
            head.call,
            Transfer {
                buf,
                len: head.payload_len,
                filled: 0,
                reply,
            },
        );
        Ok(())
    }

    fn start_piece(&mut self, head: Head) -> Result<(), FrameError> {
        let wrong = |why| FrameError::Piece {
            offset: head.number,
            len: head.payload_len,
            why,
        };
        let transfer = self
            .transfers
            .get(&head.call)
            .ok_or_else(|| wrong("no payload was announced for its call"))?;
        if head.number != transfer.filled {
            return Err(wrong("it is not the next one"));
        }
        if head.payload_len == 0 || head.payload_len > transfer.len - transfer.filled {
            return Err(wrong("the payload has not that many bytes left"));
        }
        self.filling = Some(Filling {
            head,
            filled: 0,
            into: Into::Transfer,
        });
        self.fill_from_staged()
    }

    /// Moves what is staged of a payload to where it belongs.
    fn fill_from_staged(&mut self) -> Result<(), FrameError> {
        let staged = std::mem::take(&mut self.staged);
        let have = &staged[self.start..self.end];
        let space = self.space();
        let n = have.len().min(space.len());
        space[..n].copy_from_slice(&have[..n]);
        self.staged = staged;
        self.start += n;
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
            Into::Transfer => {
                let transfer = self
                    .transfers
                    .get_mut(&head.call)
                    .expect("a piece is only filled into its transfer");
                let at = head.number as usize;
                verify(&head, &transfer.buf.as_ref()[at..at + head.payload_len as usize])?;
                transfer.filled += head.payload_len;
                if transfer.filled == transfer.len {
                    self.finish_transfer(head.call);
                }
            }
        }
        Ok(())
    }

    fn finish_transfer(&mut self, call: CallId) {
        if let Some(Transfer { buf, reply, .. }) = self.transfers.remove(&call) {
            let mut frame = reply.map_or_else(|| Frame::new(call, Body::PayloadArrived), |frame| *frame);
            frame.payload = Payload::Whole(buf.freeze());
            self.ready.push_back(frame);
        }
    }
}

fn verify(head: &Head, payload: &[u8]) -> Result<(), FrameError> {
    if head.flags & flags::PAYLOAD_CRC == 0 {
        return Ok(());
    }
    let actual = crc32c::crc32c(payload);
    if actual == head.payload_crc {
        Ok(())
    } else {
        Err(FrameError::Checksum {
            what: "payload",
            expected: head.payload_crc,
            actual,
        })
    }
}

fn decode_frame(head: &Head, header: &[u8]) -> Result<Frame, FrameError> {
    let body = decode_body(head, header)?;
    Ok(Frame {
        call: head.call,
        number: head.number,
        ack: head.ack,
        body,
        payload: Payload::None,
    })
}

fn decode_body(head: &Head, header: &[u8]) -> Result<Body, FrameError> {
    let malformed = |what: &'static str| move |e: CodecError| FrameError::Malformed(format!("{what}: {e}"));
    let completed = head.kind & kind::COMPLETED != 0;
    let of = head.kind & !kind::COMPLETED;
    if head.flags & flags::FAILED != 0 {
        if !completed || Call::name_of(of).is_none() {
            return Err(FrameError::Malformed(format!("kind {} cannot have failed", head.kind)));
        }
        let error = codec::decode(header).map_err(malformed("an error"))?;
        return Ok(Body::Failed {
            kind: of,
            error: Box::new(error),
        });
    }
    match head.kind {
        kind::HELLO => codec::decode_named(header).map(Body::Hello).map_err(malformed("Hello")),
        kind::WELCOME => codec::decode_named(header)
            .map(Body::Welcome)
            .map_err(malformed("Welcome")),
        kind::REFUSED => codec::decode_named(header)
            .map(Body::Refused)
            .map_err(malformed("Refused")),
        kind::HEARTBEAT => Ok(Body::Heartbeat),
        kind::GOODBYE => codec::decode(header).map(Body::Goodbye).map_err(malformed("Goodbye")),
        kind::METADATA => {
            let (output, metadata) = codec::decode(header).map_err(malformed("Metadata"))?;
            Ok(Body::Metadata { output, metadata })
        }
        _ if completed => match Reply::decode(of, header) {
            Some(reply) => reply.map(Body::Completed).map_err(malformed("a reply")),
            None => Err(FrameError::Malformed(format!("kind {}", head.kind))),
        },
        _ => match Call::decode(head.kind, header) {
            Some(Ok(call)) => Ok(Body::Call(call)),
            // The head is sound, so the call can still be answered and the link goes on.
            Some(Err(e)) => Ok(undecodable(
                head,
                ErrorCode::InvalidArgument,
                format!("the request is malformed: {e}"),
            )),
            None if head.kind >= kind::CALLS => Ok(undecodable(
                head,
                ErrorCode::Unimplemented,
                format!("there is no call number {}", head.kind),
            )),
            None => Err(FrameError::Malformed(format!("kind {}", head.kind))),
        },
    }
}

fn undecodable(head: &Head, code: ErrorCode, message: String) -> Body {
    Body::Undecodable {
        kind: head.kind,
        error: Box::new(RemoteError::new(code, message).of_call(head.call)),
    }
}
