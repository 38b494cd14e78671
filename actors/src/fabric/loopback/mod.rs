//! A fabric in memory, with real bytes, that a test can cut, slow down and step through.
//!
//! A frame is encoded by its sender and decoded by its receiver, exactly as over a socket. Nothing here depends on the
//! order of a hash map or on chance: with all tasks on one arbiter and a paused clock, one run is like the next.

pub(super) mod head;
mod hub;
mod pipe;

use std::{
    fmt,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use remex_protocol::cluster::Address;
use tokio::time::Instant;

use self::{
    hub::{Hub, Incoming},
    pipe::{PipeReader, PipeWriter},
};
use super::{Connection, Fabric, FabricError, Listener, is_of_scheme, stream};

/// The hub that all connections go through; addresses are written `loopback:NAME`. Clones are the same hub.
///
/// Each end of a connection has a name: that of the [endpoint](Self::endpoint) that dialled or listens, by which tests
/// speak of it. The hub is itself a fabric without a name: what it dials is unnamed, what it listens to has the name of
/// its address.
#[derive(Clone, Default)]
pub struct Loopback {
    hub: Arc<Mutex<Hub>>,
    has_lanes: bool,
}

impl Loopback {
    /// A hub of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same hub, whose links have a connection of their own for large payloads, as between processes.
    #[must_use]
    pub fn with_lanes(self) -> Self {
        Self { has_lanes: true, ..self }
    }

    /// A fabric that dials and listens in the name of `name`.
    pub fn endpoint(&self, name: impl Into<String>) -> Arc<dyn Fabric> {
        Arc::new(Endpoint { loopback: self.clone(), name: name.into() })
    }

    /// Ends the connections between the two with an error, with all that is on its way, and refuses new ones until
    /// [`heal`](Self::heal).
    pub fn cut(&self, a: &str, b: &str) {
        self.lock().cut(a, b);
    }

    /// Ends the lanes of the links between the two with an error, with all that is on its way there. New ones can be made.
    pub fn cut_lanes(&self, a: &str, b: &str) {
        self.lock().cut_lanes(a, b);
    }

    /// Lets the two connect again. What was cut stays cut.
    pub fn heal(&self, a: &str, b: &str) {
        self.lock().heal(a, b);
    }

    /// Keeps all frames that are written from now on, and the ends of streams. Connections can still be made.
    pub fn hold(&self) {
        self.lock().hold();
    }

    /// Keeps what is written to lanes from now on, and nothing else.
    pub fn hold_lanes(&self) {
        self.lock().hold_lanes();
    }

    /// Delivers the oldest frame that is kept, a piece of a payload counting as one, and says which: `a → b: RemoteExecute
    /// r1.0`. `None` if none is kept. What is kept for a reader that is gone is passed over.
    pub fn step(&self) -> Option<String> {
        self.lock().step()
    }

    /// Delivers all that is kept and keeps nothing more.
    pub fn release(&self) {
        self.lock().release();
    }

    /// Each frame written from now on arrives so much later, on tokio's clock; the order of each direction is kept.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().set_latency(latency);
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, incoming: Incoming) -> Connection {
        let reader = PipeReader::new(self.clone(), incoming.reads);
        let writer = PipeWriter::new(self.clone(), incoming.writes);
        stream::connection(reader, writer, format!("loopback:{}", incoming.peer), true, false)
    }

    fn listen_as(&self, name: &str, address: &Address) -> Result<Box<dyn Listener>, FabricError> {
        is_of_scheme(address, "loopback", "loopback:NAME")?;
        let owner = if name.is_empty() { address.rest() } else { name };
        if !self.lock().listen(address.rest(), owner) {
            let error = io::Error::new(io::ErrorKind::AddrInUse, "something listens there already");
            return Err(FabricError::io("listen on", address, &error));
        }
        Ok(Box::new(LoopbackListening { loopback: self.clone(), address: address.clone() }))
    }

    fn dial_as(&self, name: &str, address: &Address, is_lane: bool) -> Result<Connection, FabricError> {
        is_of_scheme(address, "loopback", "loopback:NAME")?;
        let dialled = self.lock().dial(name, address.rest(), is_lane);
        let incoming = dialled.map_err(|e| FabricError::io("dial", address, &e))?;
        Ok(self.connection(incoming))
    }
}

impl Fabric for Loopback {
    fn scheme(&self) -> &str {
        "loopback"
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move { self.listen_as("", address) })
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move { self.dial_as("", address, false) })
    }

    fn dial_lane<'a>(&'a self, address: &'a Address) -> Option<LocalBoxFuture<'a, Result<Connection, FabricError>>> {
        let dial = || Box::pin(async move { self.dial_as("", address, true) }) as LocalBoxFuture<'a, _>;
        self.has_lanes.then(dial)
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loopback").finish_non_exhaustive()
    }
}

/// A hub in the name of one task.
#[derive(Debug)]
struct Endpoint {
    loopback: Loopback,
    name: String,
}

impl Fabric for Endpoint {
    fn scheme(&self) -> &str {
        "loopback"
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move { self.loopback.listen_as(&self.name, address) })
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move { self.loopback.dial_as(&self.name, address, false) })
    }

    fn dial_lane<'a>(&'a self, address: &'a Address) -> Option<LocalBoxFuture<'a, Result<Connection, FabricError>>> {
        let dial =
            || Box::pin(async move { self.loopback.dial_as(&self.name, address, true) }) as LocalBoxFuture<'a, _>;
        self.loopback.has_lanes.then(dial)
    }
}

#[derive(Debug)]
struct LoopbackListening {
    loopback: Loopback,
    address: Address,
}

impl Listener for LoopbackListening {
    fn address(&self) -> &Address {
        &self.address
    }

    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>> {
        Box::pin(async {
            let incoming = poll_fn(|cx| match self.loopback.lock().accept(self.address.rest(), cx.waker()) {
                Some(incoming) => Poll::Ready(incoming),
                None => Poll::Pending,
            });
            Ok(self.loopback.connection(incoming.await))
        })
    }
}

impl Drop for LoopbackListening {
    fn drop(&mut self) {
        self.loopback.lock().unlisten(self.address.rest(), Instant::now());
    }
}

#[cfg(test)]
mod tests;
