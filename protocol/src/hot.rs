//! RemoteExecute and its reply, written and read by hand.
//!
//! These two are most of what crosses a busy link. Through serde each of their thirty integers costs a call into a
//! visitor; by hand a frame is written and read in less than half the time. The bytes are the same: what is written here
//! is what [`codec`](crate::codec) writes, and what cannot be read here (another width, a map, a list over its limit) is
//! left to it, so that it alone decides what is an error.

use smallvec::SmallVec;

use crate::{
    calls::{InputRef, OutputRef, RemoteExecuteReply, RemoteExecuteRequest},
    frame::MAX_ARGS,
    ids::{ContextIndex, DeviceIndex, ObjectId, ObjectPrefix, ProgramIndex},
    tensor::{DType, MAX_RANK, Shape, TensorMetadata},
};

/// Appends a request; false, and nothing is appended, if it is none of the usual ones.
pub(crate) fn encode_request(out: &mut Vec<u8>, request: &RemoteExecuteRequest) -> bool {
    let is_usual = request.baggage.is_empty() && request.in_chains.is_empty() && request.readers.is_empty();
    if !is_usual || request.out_chain.is_some() {
        return false;
    }
    // The longest that these can become.
    out.reserve(64 + 32 * (request.inputs.len() + request.outputs.len()));
    array(out, 8);
    uint(out, request.context.0.into());
    uint(out, request.program.0.into());
    array(out, request.inputs.len());
    for input in &request.inputs {
        array(out, 4);
        object(out, &input.object);
        uint(out, u32::from(input.origin).into());
    }
    array(out, request.outputs.len());
    for output in &request.outputs {
        array(out, 4);
        object(out, &output.object);
        out.push(if output.need_metadata { TRUE } else { FALSE });
    }
    array(out, 0);
    out.push(NIL);
    uint(out, request.time_left_ms);
    array(out, 0);
    true
}

/// Appends a reply.
pub(crate) fn encode_reply(out: &mut Vec<u8>, reply: &RemoteExecuteReply) {
    array(out, 1);
    array(out, reply.metadata.len());
    for metadata in &reply.metadata {
        match metadata {
            None => out.push(NIL),
            Some(metadata) => {
                array(out, 2);
                uint(out, u8::from(metadata.dtype).into());
                array(out, metadata.shape.rank());
                for &dim in metadata.shape.dims() {
                    uint(out, dim);
                }
            }
        }
    }
}

/// Reads a request; `None` leaves it to the codec.
pub(crate) fn decode_request(header: &[u8]) -> Option<RemoteExecuteRequest> {
    let mut reader = Reader(header);
    reader.array_of(8)?;
    let context = ContextIndex(reader.uint()?);
    let program = ProgramIndex(reader.uint()?);
    let mut inputs = SmallVec::new();
    for _ in 0..reader.array(MAX_ARGS)? {
        reader.array_of(4)?;
        inputs.push(InputRef { object: reader.object()?, origin: reader.uint::<u32>()?.into() });
    }
    let mut outputs = SmallVec::new();
    for _ in 0..reader.array(MAX_ARGS)? {
        reader.array_of(4)?;
        outputs.push(OutputRef { object: reader.object()?, need_metadata: reader.bool()? });
    }
    let (in_chains, out_chain, baggage, readers) = (SmallVec::new(), None, Vec::new(), Vec::new());
    reader.array_of(0)?;
    (reader.byte()? == NIL).then_some(())?;
    let time_left_ms = reader.uint()?;
    reader.array_of(0)?;
    reader.end(RemoteExecuteRequest {
        context,
        program,
        inputs,
        outputs,
        in_chains,
        out_chain,
        time_left_ms,
        baggage,
        readers,
    })
}

/// Reads a reply; `None` leaves it to the codec.
pub(crate) fn decode_reply(header: &[u8]) -> Option<RemoteExecuteReply> {
    let mut reader = Reader(header);
    reader.array_of(1)?;
    let mut metadata = SmallVec::new();
    for _ in 0..reader.array(MAX_ARGS)? {
        if reader.0.first() == Some(&NIL) {
            reader.byte()?;
            metadata.push(None);
            continue;
        }
        reader.array_of(2)?;
        let dtype = DType::try_from(reader.uint::<u8>()?).ok()?;
        let mut dims = SmallVec::<[u64; 4]>::new();
        for _ in 0..reader.array(MAX_RANK)? {
            dims.push(reader.uint()?);
        }
        let shape = Shape::try_from(dims).ok()?;
        metadata.push(Some(TensorMetadata { dtype, shape }));
    }
    reader.end(RemoteExecuteReply { metadata })
}

const NIL: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;

#[inline]
fn uint(out: &mut Vec<u8>, value: u64) {
    // The shortest form, as the codec writes it.
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            let [a, b] = (value as u16).to_be_bytes();
            out.extend_from_slice(&[0xcd, a, b]);
        }
        0x1_0000..=0xffff_ffff => {
            let [a, b, c, d] = (value as u32).to_be_bytes();
            out.extend_from_slice(&[0xce, a, b, c, d]);
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
            out.extend_from_slice(&[0xcf, a, b, c, d, e, f, g, h]);
        }
    }
}

#[inline]
fn array(out: &mut Vec<u8>, len: usize) {
    match len {
        0..=15 => out.push(0x90 | len as u8),
        16..=0xffff => {
            let [a, b] = (len as u16).to_be_bytes();
            out.extend_from_slice(&[0xdc, a, b]);
        }
        _ => {
            let [a, b, c, d] = (len as u32).to_be_bytes();
            out.extend_from_slice(&[0xdd, a, b, c, d]);
        }
    }
}

#[inline]
fn object(out: &mut Vec<u8>, object: &ObjectId) {
    uint(out, object.prefix.0);
    uint(out, object.local);
    uint(out, object.device.0.into());
}

/// What is left of a header. Each method takes what it names from the front, or leaves the whole to the codec.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    #[inline]
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    #[inline]
    fn uint<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let value = match self.byte()? {
            small @ 0..=0x7f => small.into(),
            0xcc => self.byte()?.into(),
            0xcd => u16::from_be_bytes(self.bytes()?).into(),
            0xce => u32::from_be_bytes(self.bytes()?).into(),
            0xcf => u64::from_be_bytes(self.bytes()?),
            _ => return None,
        };
        T::try_from(value).ok()
    }

    /// The length of an array of at most `most` elements.
    #[inline]
    fn array(&mut self, most: usize) -> Option<usize> {
        let len = match self.byte()? {
            small @ 0x90..=0x9f => usize::from(small & 0x0f),
            0xdc => u16::from_be_bytes(self.bytes()?).into(),
            _ => return None,
        };
        (len <= most).then_some(len)
    }

    #[inline]
    fn array_of(&mut self, len: u8) -> Option<()> {
        (self.byte()? == 0x90 | len).then_some(())
    }

    #[inline]
    fn bool(&mut self) -> Option<bool> {
        match self.byte()? {
            FALSE => Some(false),
            TRUE => Some(true),
            _ => None,
        }
    }

    #[inline]
    fn object(&mut self) -> Option<ObjectId> {
        Some(ObjectId { prefix: ObjectPrefix(self.uint()?), local: self.uint()?, device: DeviceIndex(self.uint()?) })
    }

    /// `value`, if nothing is left.
    fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    use super::*;
    use crate::codec;

    /// A number of any length.
    fn any(rng: &mut SmallRng) -> u64 {
        rng.random::<u64>() >> rng.random_range(0..64)
    }

    fn request(rng: &mut SmallRng) -> RemoteExecuteRequest {
        let object = |rng: &mut SmallRng| ObjectId {
            prefix: ObjectPrefix(any(rng)),
            local: any(rng),
            device: DeviceIndex(any(rng) as u16),
        };
        let (inputs, outputs) = (rng.random_range(0..20), rng.random_range(0..20));
        RemoteExecuteRequest {
            context: ContextIndex(any(rng) as u16),
            program: ProgramIndex(any(rng) as u32),
            inputs: (0..inputs)
                .map(|_| InputRef { object: object(rng), origin: (any(rng) as u16 as u32).into() })
                .collect(),
            outputs: (0..outputs).map(|_| OutputRef { object: object(rng), need_metadata: rng.random() }).collect(),
            in_chains: SmallVec::new(),
            out_chain: None,
            time_left_ms: any(rng),
            baggage: Vec::new(),
            readers: Vec::new(),
        }
    }

    fn reply(rng: &mut SmallRng) -> RemoteExecuteReply {
        let metadata = |rng: &mut SmallRng| {
            let dims: Vec<u64> = (0..rng.random_range(0..=MAX_RANK)).map(|_| any(rng)).collect();
            TensorMetadata {
                dtype: DType::ALL[rng.random_range(0..DType::ALL.len())],
                shape: Shape::try_from(dims).unwrap(),
            }
        };
        let outputs = rng.random_range(0..20);
        let outputs = (0..outputs).map(|_| rng.random::<bool>().then(|| metadata(rng)));
        RemoteExecuteReply { metadata: outputs.collect() }
    }

    /// `by_hand` reads what the codec reads or leaves it, whatever is damaged.
    fn check<T: std::fmt::Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned>(
        rng: &mut SmallRng,
        value: &T,
        bytes: &[u8],
        by_hand: fn(&[u8]) -> Option<T>,
    ) {
        let mut by_codec = Vec::new();
        codec::encode(&mut by_codec, value).unwrap();
        assert_eq!(bytes, by_codec, "{value:?}");
        assert_eq!(by_hand(bytes).as_ref(), Some(value));
        for _ in 0..20 {
            let mut damaged = bytes.to_vec();
            let at = rng.random_range(0..damaged.len());
            match rng.random_range(0..3) {
                0 => damaged[at] = rng.random(),
                1 => damaged.truncate(at),
                _ => damaged.insert(at, rng.random()),
            }
            if let Some(read) = by_hand(&damaged) {
                assert_eq!(Ok(read), codec::decode(&damaged), "{damaged:02x?}");
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_codec() {
        let mut rng = SmallRng::seed_from_u64(5);
        for _ in 0..2000 {
            let (request, reply) = (request(&mut rng), reply(&mut rng));
            let mut bytes = Vec::new();
            assert!(encode_request(&mut bytes, &request));
            check(&mut rng, &request, &bytes, decode_request);
            bytes.clear();
            encode_reply(&mut bytes, &reply);
            check(&mut rng, &reply, &bytes, decode_reply);
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_codec() {
        let mut rng = SmallRng::seed_from_u64(6);
        let mut request = request(&mut rng);
        request.baggage.push(("k".to_owned(), "v".to_owned()));
        let mut bytes = Vec::new();
        assert!(!encode_request(&mut bytes, &request) && bytes.is_empty());
        codec::encode(&mut bytes, &request).unwrap();
        assert_eq!(decode_request(&bytes), None);
        request.baggage.clear();
        request.out_chain = Some(ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) });
        bytes.clear();
        assert!(!encode_request(&mut bytes, &request) && bytes.is_empty());
        codec::encode(&mut bytes, &request).unwrap();
        assert_eq!(decode_request(&bytes), None);
        let more_than_allowed = [&[0x91, 0xdc, 0x04, 0x01][..], &[NIL; MAX_ARGS + 1]].concat();
        assert_eq!(decode_reply(&more_than_allowed), None);
        assert!(decode_reply(&[&[0x91, 0xdc, 0x04, 0x00][..], &[NIL; MAX_ARGS]].concat()).is_some());
    }
}
