//! A fabric in memory that loses, delays, repeats, cuts and damages what it carries, as a seed decides.
//!
//! It carries encoded bytes: a damaged bit is found by the checksums, a lost or repeated frame by the numbers, exactly as on a
//! socket. Every frame and what became of it goes into a [`Trace`]. Nothing here depends on the order of a hash map: with all
//! tasks on one paused clock, one seed is one run.

mod faults;
mod net;
mod pipe;
mod trace;
mod way;

pub use faults::FrameFaults;
pub use trace::Trace;

use std::{
    fmt,
    future::poll_fn,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use remex_protocol::cluster::Address;
use tokio::time::Instant;

use self::{
    net::{Incoming, Net},
    pipe::{PipeReader, PipeWriter},
};
use super::{Connection, Fabric, FabricError, Listener, is_of_scheme, stream};
use crate::chance::Chance;

/// What all connections go through; addresses are written `loopback:NAME`, so that tasks trust each other as on one machine.
/// Clones are the same network. Each end of a connection has the name of the [endpoint](Self::endpoint) that dialled or
/// listens.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    begin: Instant,
    net: Mutex<Net>,
    has_lanes: AtomicBool,
}

/// A task that all its links are slow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// So much later does each frame arrive, to it and from it, in whole milliseconds.
    pub latency: Duration,
    /// So many bytes a second go each way of each connection.
    pub bandwidth: Option<u64>,
}

/// What the peers of a task see when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Their connections are reset at once, as when a process is killed.
    Reset,
    /// Nothing: not a word comes any more, as when a machine loses its power.
    Silent,
}

impl Network {
    /// A network whose frames have the fates that `chance` decides. Its time begins now.
    pub fn new(chance: Chance, faults: FrameFaults) -> Self {
        Self(Arc::new(Shared {
            begin: Instant::now(),
            net: Mutex::new(Net::new(chance, faults)),
            has_lanes: AtomicBool::new(false),
        }))
    }

    /// Whether links that are made from now on have a connection of their own for large payloads.
    pub fn set_lanes(&self, on: bool) {
        self.0.has_lanes.store(on, Ordering::Relaxed);
    }

    /// A fabric that dials and listens in the name of `name`.
    pub fn endpoint(&self, name: impl Into<String>) -> Arc<dyn Fabric> {
        Arc::new(Endpoint { network: self.clone(), name: name.into() })
    }

    /// How frames fare from now on.
    pub fn set_faults(&self, faults: FrameFaults) {
        self.lock().set_faults(faults);
    }

    /// Resets all connections between two, and lets none be made until the link is healed.
    pub fn break_link(&self, a: &str, b: &str) {
        self.lock().break_link(a, b);
    }

    /// Lets two connect again. A connection that was silenced stays so.
    pub fn heal_link(&self, a: &str, b: &str) {
        self.lock().heal_link(a, b);
    }

    /// Lets nothing that `from` says on a connection with `to` arrive any more, and tells nobody: on those that there are, and on
    /// those that are made before the link is healed.
    pub fn silence(&self, from: &str, to: &str) {
        self.lock().silence(from, to);
    }

    /// Makes a task slow, or no longer.
    pub fn set_slow(&self, task: &str, slow: Option<Slow>) {
        self.lock().set_slow(task, slow);
    }

    /// Takes a task that dies off the network, at once: what it says from now on reaches nobody.
    pub fn unplug(&self, task: &str, death: Death) {
        self.lock().unplug(task, death == Death::Reset);
    }

    /// A task is there again: connections to its last run are reset.
    pub fn plug(&self, task: &str) {
        self.lock().plug(task);
    }

    /// Writes a line into the trace.
    pub fn note(&self, text: impl Into<String>) {
        let now = self.now();
        self.lock().trace.note(now, text.into());
    }

    /// All that has happened up to now.
    pub fn trace(&self) -> Trace {
        self.lock().trace.clone()
    }

    /// How long it has been there.
    pub fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.0.begin)
    }

    fn begin(&self) -> Instant {
        self.0.begin
    }

    fn lock(&self) -> MutexGuard<'_, Net> {
        self.0.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, incoming: &Incoming) -> Connection {
        let reader = PipeReader::new(self.clone(), incoming.reads);
        let writer = PipeWriter::new(self.clone(), incoming.writes);
        // With checksums of payloads, as between machines: a damaged payload must be found.
        stream::connection(reader, writer, format!("loopback:{}", incoming.peer), true, true)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// A network in the name of one task.
#[derive(Debug)]
struct Endpoint {
    network: Network,
    name: String,
}

impl Fabric for Endpoint {
    fn scheme(&self) -> &str {
        "loopback"
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move {
            is_of_scheme(address, "loopback", "loopback:NAME")?;
            if !self.network.lock().listen(address.rest(), &self.name) {
                let error = io::Error::new(io::ErrorKind::AddrInUse, "something listens there already");
                return Err(FabricError::io("listen on", address, &error));
            }
            let listening = Listening { network: self.network.clone(), address: address.clone() };
            Ok(Box::new(listening) as Box<dyn Listener>)
        })
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move {
            is_of_scheme(address, "loopback", "loopback:NAME")?;
            let dialled = self.network.lock().dial(&self.name, address.rest());
            let incoming = dialled.map_err(|error| FabricError::io("dial", address, &error))?;
            Ok(self.network.connection(&incoming))
        })
    }

    fn dial_lane<'a>(&'a self, address: &'a Address) -> Option<LocalBoxFuture<'a, Result<Connection, FabricError>>> {
        self.network.0.has_lanes.load(Ordering::Relaxed).then(|| self.dial(address))
    }
}

#[derive(Debug)]
struct Listening {
    network: Network,
    address: Address,
}

impl Listener for Listening {
    fn address(&self) -> &Address {
        &self.address
    }

    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>> {
        Box::pin(async {
            let incoming = poll_fn(|cx| match self.network.lock().accept(self.address.rest(), cx.waker()) {
                Some(incoming) => Poll::Ready(incoming),
                None => Poll::Pending,
            });
            Ok(self.network.connection(&incoming.await))
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.network.lock().unlisten(self.address.rest());
    }
}

#[cfg(test)]
mod tests;
