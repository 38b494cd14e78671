//! Promises: what is given out at once and settled later, once (I1).
//!
//! [`Promise`] is one result. A call's cell holds the state of its chain, metadata and tensors together, so that they
//! fail in one turn (I2); its writer is owned by `PendingResults`, where reply, loss, expiry and cancel race.

mod call_cell;
mod shared;
mod single;

pub(crate) use call_cell::{CallCell, call_cell};
pub use call_cell::{CallWriter, OutputMetadata};
pub use single::{Promise, Writer, promise};
