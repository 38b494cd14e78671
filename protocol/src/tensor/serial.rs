//! Tensors as bytes that describe themselves, for a file, a message of one's own, or a buffer of `SendData`.
//!
//! ```text
//! offset  0 magic       4 bytes  "RMXT"
//!         4 version     u8       1
//!         5 dtype       u8
//!         6 rank        u8       number of dimensions, at most 32
//!         7 reserved    u8       zero
//!         8 data length u64      bytes of the data
//!        16 data crc    u32      crc32c of the data
//!        20 header crc  u32      crc32c of the header without these four bytes
//!        24 dims        u64 each, the slowest first
//!           zeros until the header's length is a multiple of 64
//!           data        row-major, little-endian
//! ```
//!
//! All integers are little-endian. The header ends at a multiple of 64 bytes, so that the data of bytes that are aligned to
//! 64 is aligned too and needs no copy.

use bytes::Bytes;

use super::{ALIGNMENT, AlignedBuf, DType, MAX_RANK, Shape, Tensor, TensorError, TensorMetadata};

/// The first bytes of a serialized tensor.
const MAGIC: [u8; 4] = *b"RMXT";
/// The layout that is written and read.
const VERSION: u8 = 1;
/// Where the dimensions begin.
const DIMS_AT: usize = 24;

/// A tensor as bytes, in two parts that stand one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serialized {
    /// Says what the data is.
    pub header: Bytes,
    /// The tensor's own bytes, shared with it.
    pub data: Bytes,
}

/// The bytes are not a serialized tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SerialError {
    /// They end too early.
    #[error("{what} takes {expected} bytes, but only {actual} are there")]
    Short {
        /// `the header` or `the data`.
        what: &'static str,
        /// How many bytes it takes.
        expected: u64,
        /// How many there are.
        actual: u64,
    },
    /// They do not end where the data does.
    #[error("{0} bytes are left over after the data")]
    LeftOver(u64),
    /// They begin otherwise.
    #[error("not a serialized tensor: it begins with {0:02x?}, not with \"RMXT\"")]
    Magic([u8; 4]),
    /// They are of another version.
    #[error("a serialized tensor of version {0}; this is version {VERSION}")]
    Version(u8),
    /// There is no such element type.
    #[error("{0}")]
    DType(String),
    /// There are too many dimensions.
    #[error("the tensor has {0} dimensions, at most {MAX_RANK} are allowed")]
    Rank(u8),
    /// A byte that must be zero is not.
    #[error("byte {at} of the header must be zero and is {value}")]
    Reserved {
        /// Where.
        at: usize,
        /// What it is.
        value: u8,
    },
    /// The length is not what element type and shape say.
    #[error("the header says {length} bytes of data, but {metadata} takes {}", .expected.map_or("more than 2^64".to_owned(), |n| n.to_string()))]
    Length {
        /// Element type and shape.
        metadata: TensorMetadata,
        /// What they take; `None` if that is more than 2⁶⁴ − 1.
        expected: Option<u64>,
        /// What the header says.
        length: u64,
    },
    /// A checksum does not fit.
    #[error("the checksum of {what} is {actual:#010x}, it should be {expected:#010x}: the bytes were damaged")]
    Checksum {
        /// `the header` or `the data`.
        what: &'static str,
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// The data is not a tensor's (a bool that is neither 0 nor 1, no memory).
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What a header says.
struct Header {
    metadata: TensorMetadata,
    len: usize,
    data_len: u64,
    data_crc: u32,
}

fn header_len(rank: usize) -> usize {
    (DIMS_AT + 8 * rank).next_multiple_of(ALIGNMENT)
}

fn header_crc(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..20]), &header[DIMS_AT..])
}

impl Serialized {
    /// Both parts as one, aligned; copies the data. `None` if the system has not so much memory.
    pub fn to_contiguous(&self) -> Option<Bytes> {
        let mut buf = AlignedBuf::zeroed(self.header.len().checked_add(self.data.len())?)?;
        let (header, data) = buf.as_mut_slice().split_at_mut(self.header.len());
        header.copy_from_slice(&self.header);
        data.copy_from_slice(&self.data);
        Some(buf.freeze())
    }
}

impl Tensor {
    /// The tensor as bytes; the data is not copied.
    pub fn serialize(&self) -> Serialized {
        let dims = self.shape().dims();
        let mut header = vec![0; header_len(dims.len())];
        header[..4].copy_from_slice(&MAGIC);
        // A shape has at most 32 dimensions.
        (header[4], header[5], header[6]) = (VERSION, self.dtype().into(), dims.len() as u8);
        header[8..16].copy_from_slice(&self.size_bytes().to_le_bytes());
        header[16..20].copy_from_slice(&crc32c::crc32c(self.bytes()).to_le_bytes());
        for (place, dim) in header[DIMS_AT..].chunks_exact_mut(8).zip(dims) {
            place.copy_from_slice(&dim.to_le_bytes());
        }
        let crc = header_crc(&header);
        header[20..24].copy_from_slice(&crc.to_le_bytes());
        Serialized { header: header.into(), data: self.bytes().clone() }
    }

    /// The tensor that these bytes are, which must end where it does. Shares the data if it is aligned, else copies it.
    pub fn deserialize(bytes: Bytes) -> Result<Self, SerialError> {
        let header = parse(&bytes)?;
        finish(header.metadata, header.data_crc, header.data_len, bytes.slice(header.len..))
    }

    /// The tensor of a header and data that travelled as two buffers.
    pub fn deserialize_parts(header: &[u8], data: Bytes) -> Result<Self, SerialError> {
        let Header { metadata, len, data_len, data_crc } = parse(header)?;
        if header.len() > len {
            return Err(SerialError::LeftOver((header.len() - len) as u64));
        }
        finish(metadata, data_crc, data_len, data)
    }
}

impl TensorMetadata {
    /// What a serialized tensor is, from its header; the data need not be there.
    pub fn of_serialized(bytes: &[u8]) -> Result<Self, SerialError> {
        Ok(parse(bytes)?.metadata)
    }
}

/// Reads the header that `bytes` begin with.
fn parse(bytes: &[u8]) -> Result<Header, SerialError> {
    let short = |expected: usize| SerialError::Short {
        what: "the header",
        expected: expected as u64,
        actual: bytes.len() as u64,
    };
    let fixed = bytes.first_chunk::<DIMS_AT>().ok_or_else(|| short(DIMS_AT))?;
    let u32_at = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let magic = [fixed[0], fixed[1], fixed[2], fixed[3]];
    if magic != MAGIC {
        return Err(SerialError::Magic(magic));
    }
    if fixed[4] != VERSION {
        return Err(SerialError::Version(fixed[4]));
    }
    let rank = usize::from(fixed[6]);
    if rank > MAX_RANK {
        return Err(SerialError::Rank(fixed[6]));
    }
    let len = header_len(rank);
    let header = bytes.get(..len).ok_or_else(|| short(len))?;
    let (expected, actual) = (u32_at(20), header_crc(header));
    if expected != actual {
        return Err(SerialError::Checksum { what: "the header", expected, actual });
    }
    let dtype = DType::try_from(fixed[5]).map_err(SerialError::DType)?;
    let dims_end = DIMS_AT + 8 * rank;
    let reserved = std::iter::once(7).chain(dims_end..len).find(|&at| header[at] != 0);
    if let Some(at) = reserved {
        return Err(SerialError::Reserved { at, value: header[at] });
    }
    let (dims, _) = header[DIMS_AT..dims_end].as_chunks::<8>();
    let dims: Vec<u64> = dims.iter().map(|dim| u64::from_le_bytes(*dim)).collect();
    let shape = Shape::try_from(dims).map_err(|_| SerialError::Rank(fixed[6]))?;
    let metadata = TensorMetadata::new(dtype, shape);
    let length = u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32;
    let expected = metadata.size_bytes();
    if expected != Some(length) {
        return Err(SerialError::Length { metadata, expected, length });
    }
    Ok(Header { metadata, len, data_len: length, data_crc: u32_at(16) })
}

fn finish(metadata: TensorMetadata, crc: u32, expected: u64, data: Bytes) -> Result<Tensor, SerialError> {
    let actual = data.len() as u64;
    if actual < expected {
        return Err(SerialError::Short { what: "the data", expected, actual });
    }
    if actual > expected {
        return Err(SerialError::LeftOver(actual - expected));
    }
    let actual = crc32c::crc32c(&data);
    if actual != crc {
        return Err(SerialError::Checksum { what: "the data", expected: crc, actual });
    }
    Ok(Tensor::from_bytes(metadata, data)?)
}
