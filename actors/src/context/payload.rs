//! Payloads of calls, held against what their headers say. Pure.

use bytes::Bytes;
use remex_protocol::{
    ErrorCode,
    tensor::{Tensor, TensorMetadata},
};

use crate::{Error, Result};

pub(super) fn fits(metadata: &TensorMetadata, len: u64) -> Result<()> {
    if metadata.size_bytes() == Some(len) {
        return Ok(());
    }
    let message = format!("the payload has {len} bytes, which is not what {metadata} takes");
    Err(Error::new(ErrorCode::InvalidArgument, message))
}

/// Cuts tensors off the front of a payload.
pub(super) fn tensors(metadata: Vec<TensorMetadata>, payload: &mut Bytes) -> Result<Vec<Tensor>> {
    let mut cut = |metadata: TensorMetadata| {
        let size = metadata.size_bytes().and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| *size <= payload.len()).ok_or_else(|| {
            let message = format!("the payload ends before the golden tensor {metadata}");
            Error::new(ErrorCode::InvalidArgument, message)
        })?;
        Tensor::from_bytes(metadata, payload.split_to(size))
            .map_err(|error| Error::new(ErrorCode::InvalidArgument, error.to_string()))
    };
    metadata.into_iter().map(&mut cut).collect()
}
