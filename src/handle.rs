//! Handles of a server and of a context: `Send + Sync`, cheap to clone, usable from any runtime and thread.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Addr, Recipient};
use remex_actors::{
    context::{
        CallContext, ContextShared, DistributedContext, RegisterFunction, Registering, RemoteExecute, RemoteExecuteOp,
    },
    envelope::ask,
    handles::{Chain, Execution, ObjectRef, ProgramHandle, RemoteChain, RemoteExecuteSpec, RemoteOpHandler},
    link::Identity,
    server::{self, CloseEverywhere, ContextConfig, CreateContext, Discover, Discovered, ServerStats, Started, Stop},
};
use remex_protocol::{
    DeviceName, ErrorCode,
    calls::DeleteFailure,
    cluster::{Address, TaskInfo, TaskName},
    ids::ContextId,
    tensor::Tensor,
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
        Ok(ContextHandle(Arc::new(ContextInner { shared: created.shared, addr: created.context, close })))
    }

    /// Asks the tasks at these addresses who they are and what devices they have.
    pub async fn discover(&self, addresses: Vec<Address>, wait: Duration) -> Result<Vec<Discovered>> {
        ask(&self.0.server.clone().recipient(), Discover { addresses, wait }).await
    }

    /// How many contexts, sessions, objects and calls there are on this task.
    pub async fn stats(&self) -> Result<ServerStats> {
        ask(&self.0.server.clone().recipient(), server::Inspect).await
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

/// An execution environment that several tasks share. Clones share it. Dropping the last one closes the context without
/// waiting for that.
#[derive(Clone, Debug)]
pub struct ContextHandle(Arc<ContextInner>);

#[derive(Debug)]
struct ContextInner {
    shared: Arc<ContextShared>,
    addr: Addr<DistributedContext>,
    close: Recipient<CloseEverywhere>,
}

impl ContextHandle {
    /// Its id.
    pub fn id(&self) -> ContextId {
        self.0.shared.id()
    }

    /// All its devices.
    pub fn devices(&self) -> &[DeviceName] {
        self.0.shared.devices()
    }

    /// All its tasks; this one is the last.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskInfo> {
        self.0.shared.tasks()
    }

    /// The first device of a task.
    pub fn device_of(&self, task: &str) -> Result<DeviceName> {
        let task = parse::<TaskName>(task)?;
        let mut devices = self.devices().iter();
        devices.find(|device| *device.task() == task).cloned().ok_or_else(|| {
            let known: Vec<_> = self.tasks().map(|task| task.name.to_string()).collect();
            let message = format!("the context has no task {task}; it has {}", known.join(", "));
            Error::new(ErrorCode::TaskNotFound, message)
        })
    }

    /// A chain that is ready on a task from the beginning: where the first side effect there hangs on.
    pub fn ready_chain(&self, task: &str) -> Result<RemoteChain> {
        self.0.shared.ready_chain(&parse(task)?)
    }

    /// Registers a program on a task and waits until it is compiled there.
    pub async fn register(&self, task: &str, function: RegisterFunction) -> Result<ProgramHandle> {
        self.0.shared.register(&parse(task)?, function).await
    }

    /// Registers a program on a task and does not wait until it is compiled: calls may follow at once.
    pub async fn begin_register(&self, task: &str, function: RegisterFunction) -> Result<Registering> {
        self.0.shared.begin_register(&parse(task)?, function).await
    }

    /// Forgets a program: calls that were made before run, later ones fail with `NotFound`.
    pub async fn unregister(&self, program: &ProgramHandle) -> Result<()> {
        self.0.shared.unregister(program).await
    }

    /// A spec out of device names, in the order of a program's outputs.
    pub fn spec(&self, devices: &[&str]) -> Result<RemoteExecuteSpec> {
        let devices = devices.iter().map(|device| parse(device)).collect::<Result<Vec<DeviceName>>>()?;
        self.0.shared.spec(&devices)
    }

    /// Runs a program. Resolves when the call is admitted, with its chain, outputs and handles, long before it has run.
    /// Dropping the future, the chain or the handles cancels nothing.
    pub async fn execute(&self, execute: RemoteExecute) -> Result<Execution> {
        self.0.shared.execute(execute).await
    }

    /// The same without waiting for credits: `Overloaded` if the receiver's are used up.
    pub fn try_execute(&self, execute: RemoteExecute) -> Result<Execution> {
        self.0.shared.try_execute(execute)
    }

    /// Runs a program and waits until it is done; makes the call again where `call` allows it, with new ids each time.
    pub async fn execute_with(&self, execute: RemoteExecute, call: &CallContext) -> Result<Execution> {
        self.0.shared.execute_with(execute, call).await
    }

    /// Issues ops on a device, each after those that were issued on its task before.
    pub fn op_handler(&self, device: &DeviceName) -> Result<RemoteOpHandler> {
        RemoteOpHandler::new(&self.0.shared, device)
    }

    /// Issues an op on the device that it names. Resolves when it is admitted.
    pub async fn execute_op(&self, op: RemoteExecuteOp) -> Result<Execution> {
        self.0.shared.execute_op(op).await
    }

    /// Gives up on a call: its promises fail with `Cancelled`, unless they have settled. A program that runs is dropped
    /// at its next await; a sync one goes on and its result is thrown away.
    pub fn cancel(&self, chain: &Chain) {
        self.0.shared.cancel(chain);
    }

    /// An id on a device, for [`RemoteExecute::outputs_into`]. Nothing is sent.
    pub fn new_object(&self, device: &str) -> Result<ObjectRef> {
        self.0.shared.allocate(&parse(device)?)
    }

    /// Stores a tensor on a device and waits until it is there.
    pub async fn put(&self, device: &DeviceName, tensor: Tensor) -> Result<ObjectRef> {
        self.0.shared.put(device, tensor, None).await
    }

    /// Brings an object's data here. Waits until it is ready, within the context's deadline.
    pub async fn fetch(&self, object: &ObjectRef) -> Result<Tensor> {
        self.0.shared.fetch(object, None).await
    }

    /// The same within `deadline` from now.
    pub async fn fetch_within(&self, object: &ObjectRef, deadline: Duration) -> Result<Tensor> {
        self.0.shared.fetch(object, Some(deadline)).await
    }

    /// The same, by the deadline of `call`, as often as it allows, until it is cancelled.
    pub async fn fetch_with(&self, object: &ObjectRef, call: &CallContext) -> Result<Tensor> {
        self.0.shared.fetch_with(object, call).await
    }

    /// Deletes objects, whoever still refers to them: calls that wait for them fail with `Cancelled`. Gives those that
    /// could not be deleted, each with its error; the others are deleted all the same.
    pub async fn delete(&self, objects: &[ObjectRef]) -> Result<Vec<DeleteFailure>> {
        self.0.shared.delete(objects).await
    }

    /// Says that nobody will make these objects, whose ids were allocated and given away: who waits for one of them, and
    /// who uses it later, fails with `cause`. Gives those that could not be failed, because they are in use, each with its
    /// error.
    pub async fn fail_objects(&self, objects: &[ObjectRef], cause: &Error) -> Result<Vec<DeleteFailure>> {
        self.0.shared.fail_objects(objects, cause).await
    }

    /// The context as an actor: it takes [`RemoteExecute`] as a message, and answers `Overloaded` instead of waiting.
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

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|error: T::Err| Error::new(ErrorCode::InvalidArgument, error.to_string()))
}
