//! Tensors: contiguous, row-major, little-endian bytes with an element type and a shape.

mod buffer;
mod dtype;
mod element;
mod metadata;
#[cfg(feature = "ndarray")]
mod ndarray;
pub mod npy;
mod pool;
pub mod safetensors;
mod serial;
#[cfg(test)]
mod serial_test;
mod shape;
mod value;

pub use buffer::{ALIGNMENT, AlignedBuf};
pub use dtype::DType;
pub use element::{Bool, Element};
pub use metadata::TensorMetadata;
pub use pool::BufferPool;
pub use serial::{SerialError, Serialized};
pub use shape::{MAX_RANK, Shape};
pub use value::{Tensor, TensorError};
