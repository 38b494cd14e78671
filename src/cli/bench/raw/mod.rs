//! The same frames on the bare connection: what is left when there are no actors, promises and tables of calls.
//!
//! One side pushes `RemoteExecute` frames into the fabric's writer, the other looks two inputs up, inserts an output and
//! answers with its metadata. There is no handshake and no release of objects.

pub(super) mod client;
pub(super) mod worker;

use std::{future::poll_fn, task::Poll};

use remex::{
    Address,
    actors::fabric::{Connection, Fabric, FabricError, Tcp, Unix},
    protocol::{
        Frame,
        ids::{DeviceIndex, ObjectId, ObjectPrefix},
    },
};

use super::Failure;

/// The object with this number.
fn object(local: u64) -> ObjectId {
    ObjectId { prefix: ObjectPrefix(0x5eed_0001), local, device: DeviceIndex(0) }
}

/// The fabric that understands an address.
fn fabric(address: &Address) -> Box<dyn Fabric> {
    if address.scheme() == "unix" { Box::new(Unix::new()) } else { Box::new(Tcp::new()) }
}

/// Writes what was pushed and, meanwhile or afterwards, reads at least one frame.
async fn exchange(connection: &mut Connection, frames: &mut Vec<Frame>) -> Result<(), FabricError> {
    poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = connection.writer.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        connection.reader.poll_read(cx, frames)
    })
    .await
}
