//! What crosses a wire between remex tasks: ids, names, tensors, calls, frames and every limit.
//!
//! This crate knows no actors, no sockets and no clock: it turns values into bytes and bytes into values.
//!
//! ```text
//! ┌────────── head, 48 bytes ──────────┬── header ──┬── payload ──┐
//! │ kind, flags, lengths, call, number, │  msgpack   │  raw bytes  │   one frame
//! │ ack, checksums                      │            │             │
//! └─────────────────────────────────────┴────────────┴─────────────┘
//! ```
//!
//! - [`frame`] describes the head and names every limit; [`Decoder`] cuts a stream of bytes into frames and
//!   [`encode_frame`] makes one.
//! - [`calls`] holds a request and its reply per file; the table of all of them is [`rpc`].
//! - [`handshake`] is what two tasks say first.
//! - [`collective`] is what members of a group say to each other.
//! - [`tensor`] is data with an element type and a shape; [`signature`] says what a program takes and gives.
//!
//! # Versions
//!
//! Until 1.0 only tasks of the same minor version talk to each other. A field is added with a new minor version, and
//! the golden bytes in `tests/golden` change in the same commit.

pub mod attrs;
#[cfg(test)]
mod attrs_test;
mod bounded;
pub mod calls;
pub mod cluster;
mod codec;
pub mod collective;
mod decoder;
mod device;
mod encoder;
mod error;
pub mod frame;
pub mod handshake;
mod hot;
pub mod ids;
pub mod rpc;
pub mod signature;
pub mod tensor;

pub use codec::{CodecError, decode, decode_named, encode, encode_named};
pub use decoder::{Decoder, DecoderLimits, Transfers};
pub use device::{DeviceName, DeviceNameError};
pub use encoder::{encode_frame, encode_piece};
pub use error::{Effect, ErrorCode, MAX_MESSAGE, MAX_VIA, RemoteError};
pub use frame::{Body, Frame, FrameError, Payload};
pub use rpc::{Call, Reply, Rpc};
