//! Handles of a server and of a context: `Send + Sync`, cheap to clone, usable from any runtime and thread.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Addr, Recipient};
use remex_actors::{
    context::{ContextShared, DistributedContext, TaskContext},
    envelope::ask,
    link::Identity,
    server::{
        self, CloseEverywhere, ContextConfig, CreateContext, Discover, Discovered, ListObjects, ServerStats, Started,
        Stop,
    },
};
use remex_protocol::{
    calls::ListObjectsReply,
    cluster::{Address, TaskName},
    ids::ObjectId,
};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{Error, Result};

/// A server that runs. Clones share it; it runs until [`stop`](Self::stop).
#[derive(Clone, Debug)]
pub struct ServerHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    who: Identity,
    address: Option<Address>,
    server: Addr<server::Server>,
    /// Accepts connections, until the server is stopped.
    listening: Mutex<Option<JoinHandle<()>>>,
    /// Ends the server's own thread, if it has one.
    thread: Mutex<Option<oneshot::Sender<()>>>,
}

impl ServerHandle {
    pub(crate) fn new(
        who: Identity,
        Started { server, address, listening }: Started,
        thread: Option<oneshot::Sender<()>>,
    ) -> Self {
        let (listening, thread) = (Mutex::new(listening), Mutex::new(thread));
        Self(Arc::new(Inner { who, address, server, listening, thread }))
    }

    /// Its name.
    pub fn task(&self) -> &TaskName {
        &self.0.who.task
    }

    /// Where it listens, with the port that it got; `None` if it does not.
    pub fn address(&self) -> Option<&Address> {
        self.0.address.as_ref()
    }

    /// Makes a context on every task of a cluster and on this one. Waits for tasks that are not there yet; fails, naming
    /// task and address, with nothing left behind, if one does not come or refuses.
    pub async fn create_context(&self, config: ContextConfig) -> Result<ContextHandle> {
        let created = ask(&self.0.server.clone().recipient(), CreateContext(config)).await?;
        let close = self.0.server.clone().recipient();
        let (shared, context) = (created.shared.clone(), TaskContext::new(created.shared));
        Ok(ContextHandle(Arc::new(ContextInner { shared, context, addr: created.context, close })))
    }

    /// Asks the tasks at these addresses who they are and what devices they have.
    pub async fn discover(&self, addresses: Vec<Address>, wait: Duration) -> Result<Vec<Discovered>> {
        ask(&self.0.server.clone().recipient(), Discover { addresses, wait }).await
    }

    /// The objects of the task at an address, those of all its contexts, a page of at most 1,000: of any task that can be
    /// dialled, without a context. The next page begins behind the last object of this one.
    pub async fn objects(
        &self,
        address: Address,
        after: Option<(u64, ObjectId)>,
        most: u32,
    ) -> Result<ListObjectsReply> {
        ask(&self.0.server.clone().recipient(), ListObjects { address, after, most }).await
    }

    /// How many contexts, sessions, objects, bytes and calls there are on this task, and what it refused.
    pub async fn stats(&self) -> Result<ServerStats> {
        ask(&self.0.server.clone().recipient(), server::Inspect).await
    }

    /// Gives [`stats`](Self::stats) to the recorder of the crate `metrics`, as gauges `remex_…` and counters `remex_refused`,
    /// each with the label `task`. Call it as often as they shall be right: at each scrape, or every few seconds.
    #[cfg(feature = "metrics")]
    pub async fn record_metrics(&self) -> Result<()> {
        crate::metrics::record(self.task(), &self.stats().await?);
        Ok(())
    }

    /// Stops the server at once: what waits or runs fails with `Cancelled`. One that is stopped already stays so.
    pub async fn stop(&self) -> Result<()> {
        self.drain(Duration::ZERO).await
    }

    /// Refuses new work with `Unavailable`, lets admitted calls finish until the time is over, and stops. Afterwards its
    /// address is free again; the file of a Unix socket is gone.
    pub async fn drain(&self, limit: Duration) -> Result<()> {
        let stopped = if self.0.server.connected() {
            ask(&self.0.server.clone().recipient(), Stop { drain: limit }).await
        } else {
            Ok(())
        };
        self.stop_listening().await;
        self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        stopped
    }

    /// Accepts no more connections; those that there are go on. Afterwards the address is free again.
    pub async fn stop_listening(&self) {
        let listening = self.0.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listening) = listening {
            listening.abort();
            // Aborted or ended by itself: in both cases the listener is dropped.
            let _ = listening.await;
        }
    }

    /// The server as an actor.
    pub fn addr(&self) -> &Addr<server::Server> {
        &self.0.server
    }
}

/// An execution environment that several tasks share, as its maker holds it. Clones share it. Dropping the last one closes
/// the context without waiting for that. What can be done in it (register, put, execute, fetch, delete, cancel) are the
/// methods of [`TaskContext`].
#[derive(Clone, Debug)]
pub struct ContextHandle(Arc<ContextInner>);

#[derive(Debug)]
struct ContextInner {
    shared: Arc<ContextShared>,
    context: TaskContext,
    addr: Addr<DistributedContext>,
    close: Recipient<CloseEverywhere>,
}

impl Deref for ContextHandle {
    type Target = TaskContext;

    fn deref(&self) -> &TaskContext {
        &self.0.context
    }
}

impl ContextHandle {
    /// The context as an actor: it takes [`RemoteExecute`](crate::RemoteExecute) as a message, and answers `Overloaded` instead of waiting.
    pub fn addr(&self) -> &Addr<DistributedContext> {
        &self.0.addr
    }

    /// Takes no new calls, waits until those that were admitted are done, at most `limit`, and closes the context as
    /// [`close`](Self::close) does. Fetch what is wanted before: a fetch is a call too.
    pub async fn drain(&self, limit: Duration) -> Result<Vec<Error>> {
        self.0.shared.drain(limit).await;
        self.close().await
    }

    /// Closes the context on every task: calls that wait or run fail, all is freed. Gives the errors of tasks on which
    /// that failed; they are not waited for longer than 5 s.
    pub async fn close(&self) -> Result<Vec<Error>> {
        ask(&self.0.close, CloseEverywhere(self.id())).await
    }
}

impl Drop for ContextInner {
    fn drop(&mut self) {
        // Of a context that is closed already the server knows nothing: the message changes nothing then.
        remex_actors::envelope::post(&self.close, CloseEverywhere(self.shared.id()));
    }
}
