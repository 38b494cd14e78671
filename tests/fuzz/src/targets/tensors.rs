//! Tensors as bytes that describe themselves.

use bytes::Bytes;
use remex_protocol::tensor::{SerialError, Tensor, TensorMetadata};

use crate::memory;

/// The first byte says whether checksums are put right; the rest is the tensor.
pub(super) fn run(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if how & 1 == 0 {
        mend(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let metadata = TensorMetadata::of_serialized(&bytes);
    let (tensor, usage) = memory::measure(|| Tensor::deserialize(bytes.clone()));
    assert!(usage.peak <= (16 << 10) + 2 * bytes.len(), "{} bytes came, {usage:?}", bytes.len());
    let tensor = match tensor {
        Ok(tensor) => tensor,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(metadata.as_ref(), Ok(tensor.metadata()), "the header alone says the same");
    let written = tensor.serialize();
    let all = written.to_contiguous().expect("there is memory");
    assert_eq!(all, bytes, "there is one way to write a tensor");
    let parts = Tensor::deserialize_parts(&written.header, written.data.clone());
    assert!(parts == Ok(tensor), "two buffers are the same tensor as one");
    let short = Tensor::deserialize(bytes.slice(..bytes.len() - 1));
    assert!(matches!(short, Err(SerialError::Short { .. })), "{short:?}");
}

/// Puts both checksums right.
fn mend(bytes: &mut [u8]) {
    let Some(&rank) = bytes.get(6) else { return };
    let len = (24 + 8 * usize::from(rank)).next_multiple_of(64);
    let Some((header, data)) = bytes.split_at_mut_checked(len) else { return };
    header[16..20].copy_from_slice(&crc32c::crc32c(data).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..20]), &header[24..]);
    header[20..24].copy_from_slice(&crc.to_le_bytes());
}
