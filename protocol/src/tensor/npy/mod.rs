//! Reading and writing `.npy`, the file format of numpy's arrays.
//!
//! Read are versions 1.0 to 3.0, either byte order and either memory order; a tensor is always little-endian and
//! row-major, so other files are turned round as they are read. Written is version 1.0, little-endian and row-major:
//! the header of a tensor of [`MAX_RANK`](super::MAX_RANK) dimensions never needs more than its 64 KiB.

mod header;
mod layout;
#[cfg(test)]
mod npy_test;

use std::io::{self, Read, Write};

use bytes::Bytes;

use super::{AlignedBuf, DType, Tensor, TensorError, TensorMetadata};
use crate::frame::MAX_PAYLOAD;
use header::Header;

/// Longest header that is read, in bytes.
pub const MAX_HEADER: usize = 64 << 10;

/// First bytes of every file.
const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// The file is not what this reads, or the tensor not what it can write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// The stream failed.
    #[error("cannot read or write: {0}")]
    Io(#[from] io::Error),
    /// The first bytes are others than those of every `.npy` file.
    #[error("not a .npy file: it begins with {0:02x?}, not with \\x93NUMPY")]
    NotNpy(Vec<u8>),
    /// A version of the format that came later.
    #[error("the file is of version {major}.{minor} of the .npy format; 1.0, 2.0 and 3.0 are understood")]
    Version {
        /// First number.
        major: u8,
        /// Second number.
        minor: u8,
    },
    /// The header is over [`MAX_HEADER`].
    #[error("the header has {0} bytes, at most {MAX_HEADER} are allowed")]
    HeaderTooLong(u64),
    /// The header is not the dictionary that it should be.
    #[error("the header is damaged at byte {at}: {why}")]
    Header {
        /// Where, counted from the header's first byte.
        at: usize,
        /// What was expected there and what was found.
        why: String,
    },
    /// The elements are of a type that no tensor has.
    #[error(
        "elements of type {0:?} cannot be read; there are b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 (bfloat16 has no .npy \
         type: save it as float32)"
    )]
    Descr(String),
    /// The element type has no number in the format.
    #[error("{0} has no .npy type: convert the tensor to f32 first")]
    Unwritable(DType),
    /// More data than a tensor may have.
    #[error("an array {0} is over the limit of {MAX_PAYLOAD} bytes")]
    TooLarge(TensorMetadata),
    /// The file ends early.
    #[error("the file ends after {actual} of the {expected} bytes of its {what}")]
    TooShort {
        /// `magic and version`, `header` or `data`.
        what: &'static str,
        /// Bytes that there should be.
        expected: u64,
        /// Bytes that there are.
        actual: u64,
    },
    /// The file goes on behind its data.
    #[error("there are bytes behind the {expected} bytes of data of an array {metadata}")]
    TooLong {
        /// What the header says.
        metadata: TensorMetadata,
        /// Bytes that it has.
        expected: u64,
    },
    /// The data do not make a tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Reads a file to its end. Nothing is allocated for the data before the header was checked.
pub fn read(from: &mut impl Read) -> Result<Tensor, NpyError> {
    let header = read_header(from)?;
    let size = header.size()?;
    let mut buf = allocate(size)?;
    read_all(from, buf.as_mut_slice(), "data")?;
    if read_some(from, &mut [0])? != 0 {
        return Err(header.too_long(size));
    }
    finish(header, buf)
}

/// Reads a file that is in memory. Little-endian, row-major data that is aligned to [`ALIGNMENT`](super::ALIGNMENT) is
/// shared; other data is copied once.
pub fn from_bytes(file: &Bytes) -> Result<Tensor, NpyError> {
    let mut rest: &[u8] = file;
    let header = read_header(&mut rest)?;
    let (size, actual) = (header.size()?, rest.len() as u64);
    if actual < size {
        return Err(NpyError::TooShort { what: "data", expected: size, actual });
    }
    if actual > size {
        return Err(header.too_long(size));
    }
    if header.is_plain() {
        let data = file.slice(file.len() - rest.len()..);
        return Ok(Tensor::from_bytes(header.metadata, data)?);
    }
    let mut buf = allocate(size)?;
    buf.as_mut_slice().copy_from_slice(rest);
    finish(header, buf)
}

/// Writes a tensor. On an error a part of it may have been written.
pub fn write(to: &mut impl Write, tensor: &Tensor) -> Result<(), NpyError> {
    to.write_all(&header::encode(tensor.metadata())?)?;
    to.write_all(tensor.bytes())?;
    Ok(())
}

/// A tensor as a file in memory.
pub fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>, NpyError> {
    let mut file = header::encode(tensor.metadata())?;
    file.extend_from_slice(tensor.bytes());
    Ok(file)
}

/// Reads what stands before the data, and leaves the stream at the first byte of these: element type and shape, and
/// whether the data are laid out as a tensor's, little-endian and row-major, so that they can be taken as they are.
pub fn read_layout(from: &mut impl Read) -> Result<(TensorMetadata, bool), NpyError> {
    let header = read_header(from)?;
    header.size()?;
    let is_plain = header.is_plain();
    Ok((header.metadata, is_plain))
}

/// What stands before the data of a tensor in a file.
pub fn layout(metadata: &TensorMetadata) -> Result<Vec<u8>, NpyError> {
    header::encode(metadata)
}

fn read_header(from: &mut impl Read) -> Result<Header, NpyError> {
    let mut first = [0; 8];
    let n = read_some(from, &mut first)?;
    if !first[..n].starts_with(&MAGIC[..n.min(MAGIC.len())]) {
        return Err(NpyError::NotNpy(first[..n].to_vec()));
    }
    if n < first.len() {
        return Err(NpyError::TooShort { what: "magic and version", expected: first.len() as u64, actual: n as u64 });
    }
    let (major, minor) = (first[6], first[7]);
    let mut len = [0; 4];
    let digits = match (major, minor) {
        (1, 0) => &mut len[..2],
        (2 | 3, 0) => &mut len[..],
        _ => return Err(NpyError::Version { major, minor }),
    };
    read_all(from, digits, "header")?;
    let len = u32::from_le_bytes(len) as usize;
    if len > MAX_HEADER {
        return Err(NpyError::HeaderTooLong(len as u64));
    }
    let mut text = vec![0; len];
    read_all(from, &mut text, "header")?;
    header::parse(&text)
}

fn finish(header: Header, mut buf: AlignedBuf) -> Result<Tensor, NpyError> {
    let element = header.metadata.dtype.size_bytes() as usize;
    if header.big_endian {
        layout::swap_bytes(buf.as_mut_slice(), element);
    }
    if header.fortran_order {
        let mut turned = allocate(buf.as_ref().len() as u64)?;
        layout::to_row_major(buf.as_ref(), turned.as_mut_slice(), header.metadata.shape.dims(), element);
        buf = turned;
    }
    Ok(Tensor::from_bytes(header.metadata, buf.freeze())?)
}

fn allocate(size: u64) -> Result<AlignedBuf, NpyError> {
    let no_memory = TensorError::OutOfMemory(size);
    let len = usize::try_from(size).map_err(|_| no_memory.clone())?;
    Ok(AlignedBuf::zeroed(len).ok_or(no_memory)?)
}

/// Fills `into` as far as the stream goes and says how far that is.
fn read_some(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

fn read_all(from: &mut impl Read, into: &mut [u8], what: &'static str) -> Result<(), NpyError> {
    let (expected, actual) = (into.len() as u64, read_some(from, into)? as u64);
    if actual == expected { Ok(()) } else { Err(NpyError::TooShort { what, expected, actual }) }
}
