//! A context as its users on one task hold it: the application that made it, and programs that run there.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use remex_protocol::{
    DeviceName, ErrorCode,
    calls::DeleteFailure,
    cluster::{GroupMembers, TaskInfo, TaskName},
    ids::{ContextId, ObjectId, TaskIndex},
    tensor::Tensor,
};
use tokio::time::Instant;

use super::{CallContext, ContextShared, RegisterFunction, Registering, RemoteExecute, RemoteExecuteOp};
use crate::{
    Error, Result,
    collectives::Group,
    handles::{
        Chain, Execution, ObjectRef, ProgramHandle, RemoteChain, RemoteExecuteSpec, RemoteOpHandler, ScopeObjects,
    },
    rendezvous::Receiving,
};

/// A context, seen from one of its tasks. Any task can be called that has an address; where the context is not known to
/// this task's link yet it is joined at the first call, which costs that call a round trip. Clones share it; dropping them
/// closes nothing.
///
/// One that a program asked for ([`AsyncCall::context`](crate::programs::AsyncCall::context)) belongs to that run: what is
/// done with it may take as long as is left of the run's own deadline, unless it says otherwise, and calls that were made
/// with it and are not done are cancelled when the run is cancelled or fails.
#[derive(Clone, Debug)]
pub struct TaskContext {
    pub(super) shared: Arc<ContextShared>,
    run: Option<Arc<RunCalls>>,
    /// What is made belongs to this scope.
    scope: Option<Arc<ScopeObjects>>,
}

/// What a run of a program has called.
#[derive(Debug)]
struct RunCalls {
    until: Instant,
    /// `None`: the run was given up, and so is what it calls from now on.
    calls: Mutex<Option<Vec<Chain>>>,
}

/// Cancels what a run has called, unless it succeeds.
#[derive(Debug)]
pub(crate) struct RunGuard(Option<TaskContext>);

impl RunGuard {
    /// The run succeeded: its calls go on.
    pub(crate) fn succeeded(mut self) {
        self.0 = None;
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let Some(context) = &self.0 else { return };
        let calls = context.calls().and_then(|calls| calls.lock().unwrap_or_else(PoisonError::into_inner).take());
        calls.into_iter().flatten().for_each(|chain| context.shared.cancel(&chain));
    }
}

impl TaskContext {
    /// One that belongs to nobody's run.
    pub fn new(shared: Arc<ContextShared>) -> Self {
        Self { shared, run: None, scope: None }
    }

    /// One that belongs to a run that ends at `until` at the latest.
    pub(crate) fn of_run(shared: Arc<ContextShared>, until: Instant) -> (Self, RunGuard) {
        let run = Some(Arc::new(RunCalls { until, calls: Mutex::new(Some(Vec::new())) }));
        let context = Self { shared, run, scope: None };
        (context.clone(), RunGuard(Some(context)))
    }

    fn calls(&self) -> Option<&Mutex<Option<Vec<Chain>>>> {
        self.run.as_ref().map(|run| &run.calls)
    }

    /// The same context, with what is made belonging to a scope.
    pub(crate) fn in_scope(&self, scope: Arc<ScopeObjects>) -> Self {
        Self { scope: Some(scope), ..self.clone() }
    }

    pub(crate) fn scope_objects(&self) -> Option<&Arc<ScopeObjects>> {
        self.scope.as_ref()
    }

    /// An object was made; it ends with the scope, if there is one.
    pub(super) fn scoped(&self, object: ObjectRef) -> ObjectRef {
        self.scope.iter().for_each(|scope| scope.add(std::slice::from_ref(&object)));
        object
    }

    pub(crate) fn release_all(&self, released: Vec<(TaskIndex, ObjectId)>) {
        self.shared.release_all(released);
    }

    /// How long something may take that does not say so itself.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.run.as_ref().map(|run| run.until.saturating_duration_since(Instant::now()))
    }

    /// A call was made; it ends with the run, if there is one, and what it makes under new ids with the scope.
    fn made(&self, execution: Execution, new_ids: bool) -> Execution {
        self.scope.iter().filter(|_| new_ids).for_each(|scope| scope.add(&execution.outputs));
        let Some(calls) = self.calls() else { return execution };
        match &mut *calls.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(calls) => {
                if calls.len() == calls.capacity() {
                    calls.retain(|chain| chain.try_get().is_none());
                    calls.reserve(calls.len() + 1);
                }
                calls.push(execution.chain.clone());
            }
            None => self.shared.cancel(&execution.chain),
        }
        execution
    }

    /// Its id.
    pub fn id(&self) -> ContextId {
        self.shared.id()
    }

    /// The task that this is.
    pub fn task(&self) -> &TaskName {
        self.shared.task()
    }

    /// All its devices.
    pub fn devices(&self) -> &[DeviceName] {
        self.shared.devices()
    }

    /// All its tasks, in an order that is the same on each. For a single client it is the last.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskInfo> {
        self.shared.tasks()
    }

    /// The groups for collectives.
    pub fn groups(&self) -> &[GroupMembers] {
        self.shared.groups()
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

    /// A chain that is ready on a task from the beginning: where the first side effect there hangs on. Known of every task
    /// to those who made the context, to others when they have called the task.
    pub fn ready_chain(&self, task: &str) -> Result<RemoteChain> {
        self.shared.ready_chain(&parse(task)?)
    }

    /// Registers a program on a task and waits until it is compiled there. It is this task's alone, and ends with the link
    /// to the task: calls of it fail with `FailedPrecondition` then, and it has to be registered again. What a run of a program
    /// has registered is there for the next one too: that sends nothing.
    pub async fn register(&self, task: &str, function: RegisterFunction) -> Result<ProgramHandle> {
        let (task, function) = (parse(task)?, function.within(self.limit()));
        match self.run {
            Some(_) => self.shared.register_once(&task, function).await,
            None => self.shared.register(&task, function).await,
        }
    }

    /// Registers a program on a task and does not wait until it is compiled: calls may follow at once.
    pub async fn begin_register(&self, task: &str, function: RegisterFunction) -> Result<Registering> {
        self.shared.begin_register(&parse(task)?, function.within(self.limit())).await
    }

    /// Forgets a program: calls that were made before run, later ones fail with `NotFound`.
    pub async fn unregister(&self, program: &ProgramHandle) -> Result<()> {
        self.shared.unregister(program, self.limit()).await
    }

    /// A spec out of device names, in the order of a program's outputs.
    pub fn spec(&self, devices: &[&str]) -> Result<RemoteExecuteSpec> {
        let devices = devices.iter().map(|device| parse(device)).collect::<Result<Vec<DeviceName>>>()?;
        self.shared.spec(&devices)
    }

    /// Runs a program. Resolves when the call is admitted, with its chain, outputs and handles, long before it has run.
    /// Dropping the future, the chain or the handles cancels nothing.
    pub async fn execute(&self, execute: RemoteExecute) -> Result<Execution> {
        let new_ids = execute.makes_ids();
        self.shared.execute(execute.within(self.limit())).await.map(|made| self.made(made, new_ids))
    }

    /// The same without waiting for credits: `Overloaded` if the receiver's are used up. Its task has been reached, since
    /// the program was registered there.
    pub fn try_execute(&self, execute: RemoteExecute) -> Result<Execution> {
        let new_ids = execute.makes_ids();
        self.shared.try_execute(execute.within(self.limit())).map(|made| self.made(made, new_ids))
    }

    /// Runs a program and waits until it is done; makes the call again where `call` allows it, with new ids each time.
    pub async fn execute_with(&self, execute: RemoteExecute, call: &CallContext) -> Result<Execution> {
        let new_ids = execute.makes_ids();
        let execution = self.shared.execute_with(execute, &call.within(self.limit())).await?;
        self.scope.iter().filter(|_| new_ids).for_each(|scope| scope.add(&execution.outputs));
        Ok(execution)
    }

    /// Issues ops on a device, each after those that this task issued on the device's task before. An error if the context
    /// has no device of that name.
    pub fn op_handler(&self, device: &DeviceName) -> Result<RemoteOpHandler> {
        self.shared.check_device(device)?;
        Ok(RemoteOpHandler::new(self.clone(), device.clone()))
    }

    /// Issues an op on the device that it names. Resolves when it is admitted.
    pub async fn execute_op(&self, op: RemoteExecuteOp) -> Result<Execution> {
        self.shared.execute_op(op.within(self.limit())).await.map(|made| self.made(made, true))
    }

    /// The same without waiting for credits: `Overloaded` if the receiver's are used up, an error if its task was not
    /// reached before.
    pub fn try_execute_op(&self, op: RemoteExecuteOp) -> Result<Execution> {
        self.shared.try_execute_op(op.within(self.limit())).map(|made| self.made(made, true))
    }

    /// Gives up on a call: its promises fail with `Cancelled`, unless they have settled. A program that runs is dropped
    /// at its next await; a sync one goes on and its result is thrown away.
    pub fn cancel(&self, chain: &Chain) {
        self.shared.cancel(chain);
    }

    /// An id on a device, for [`RemoteExecute::outputs_into`]. Nothing is sent.
    pub fn new_object(&self, device: &str) -> Result<ObjectRef> {
        self.shared.allocate(&parse(device)?).map(|object| self.scoped(object))
    }

    /// A reference to an object that another task made, or will make, and [kept](ObjectRef::keep). When the last clone of
    /// it is dropped, the object is released: adopt an id once. Nothing is sent.
    pub fn adopt(&self, id: ObjectId) -> Result<ObjectRef> {
        self.shared.owner_of(id)?;
        Ok(self.shared.object(id).adopted())
    }

    /// Stores a tensor on a device and waits until it is there.
    pub async fn put(&self, device: &DeviceName, tensor: Tensor) -> Result<ObjectRef> {
        self.shared.put(device, tensor, self.limit()).await.map(|object| self.scoped(object))
    }

    /// Brings an object's data here. Waits until it is ready, within the context's deadline.
    pub async fn fetch(&self, object: &ObjectRef) -> Result<Tensor> {
        self.shared.fetch(object, self.limit()).await
    }

    /// The same within `deadline` from now.
    pub async fn fetch_within(&self, object: &ObjectRef, deadline: Duration) -> Result<Tensor> {
        self.shared.fetch(object, Some(deadline)).await
    }

    /// The same, by the deadline of `call`, as often as it allows, until it is cancelled.
    pub async fn fetch_with(&self, object: &ObjectRef, call: &CallContext) -> Result<Tensor> {
        self.shared.fetch_with(object, &call.within(self.limit())).await
    }

    /// Hands buffers to whoever waits, or will wait, for `key` on a task, with a few words beside them (1 KiB at most). Done
    /// when they are in that task's hands; unclaimed they are thrown away at the deadline. A key names one exchange:
    /// `AlreadyExists` if a value is there, or was claimed and its time is not over.
    pub async fn send_data(&self, to: &str, key: &str, header: &[u8], buffers: Vec<Bytes>) -> Result<()> {
        self.shared.send_data(&parse(to)?, key, header, buffers, self.limit()).await
    }

    /// Waits for what is sent to this task by `key`, within the context's deadline. The receive is under way at once;
    /// dropping it cancels it.
    pub fn receive_data(&self, key: &str) -> Result<Receiving> {
        self.shared.receive_data(key, self.limit())
    }

    /// The same within `deadline` from now.
    pub fn receive_data_within(&self, key: &str, deadline: Duration) -> Result<Receiving> {
        self.shared.receive_data(key, Some(deadline))
    }

    /// Sends a tensor to a task by `key`, with checksums.
    pub async fn send_tensor(&self, to: &str, key: &str, tensor: &Tensor) -> Result<()> {
        self.shared.send_tensor(&parse(to)?, key, tensor, self.limit()).await
    }

    /// Waits for a tensor that is sent to this task by `key`.
    pub async fn receive_tensor(&self, key: &str) -> Result<Tensor> {
        self.shared.receive_tensor(key, self.limit()).await
    }

    /// A group of the context, to do collectives with. This task must be one of it.
    pub fn collective(&self, group: &str) -> Result<Group> {
        self.shared.collective(group, self.limit())
    }

    /// Deletes objects, whoever still refers to them: calls that wait for them fail with `Cancelled`. Gives those that
    /// could not be deleted, each with its error; the others are deleted all the same.
    pub async fn delete(&self, objects: &[ObjectRef]) -> Result<Vec<DeleteFailure>> {
        self.shared.delete(objects, self.limit()).await
    }

    /// Says that nobody will make these objects, whose ids were allocated and given away: who waits for one of them, and
    /// who uses it later, fails with `cause`. Gives those that could not be failed, because they are in use, each with its
    /// error.
    pub async fn fail_objects(&self, objects: &[ObjectRef], cause: &Error) -> Result<Vec<DeleteFailure>> {
        self.shared.fail_objects(objects, cause, self.limit()).await
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|error: T::Err| Error::new(ErrorCode::InvalidArgument, error.to_string()))
}
