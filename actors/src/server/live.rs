//! A context that lives on this task, and how its actors are started.

use std::{cell::Cell, rc::Rc, sync::Arc};

use actix::{Actor, Addr, AsyncContext, Recipient};
use remex_protocol::{
    ErrorCode, RemoteError,
    cluster::TaskName,
    ids::{ContextId, DeviceIndex, ObjectId, ObjectPrefix, TaskIndex},
};
use tokio::time::Instant;

use super::{Server, directory::Trust};
use crate::{
    Error, Result,
    chance::Chance,
    collectives::Collectives,
    context::{self, ContextShared, DataRecipients, DistributedContext, Parts, Serving},
    executor::{Abort, Compile, Run},
    objects::{Neighbours, ObjectManager},
    rendezvous::{Rendezvous, RendezvousLimits, RendezvousRecipients},
    session::Opened,
};

/// The ways to whatever runs programs.
#[derive(Clone, Debug)]
pub struct ExecutorRecipients {
    /// Runs programs.
    pub run: Recipient<Run>,
    /// Stops runs.
    pub abort: Recipient<Abort>,
    /// Compiles programs.
    pub compile: Recipient<Compile>,
}

/// Makes the object manager of a context. Given: the context, the chain that is to be ready, and whom it works with.
pub type ObjectManagerFactory = Rc<dyn Fn(ContextId, ObjectId, Neighbours) -> context::Objects>;

/// Makes the rendezvous of a context on a task.
pub type RendezvousFactory = Rc<dyn Fn(ContextId, &TaskName) -> RendezvousRecipients>;

/// What a server holds of a context.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) shared: Arc<ContextShared>,
    pub(super) addr: Addr<DistributedContext>,
    pub(super) objects: context::Objects,
    pub(super) data: DataRecipients,
    pub(super) used: Rc<Cell<Instant>>,
    pub(super) ready_chain: ObjectId,
}

impl Server {
    /// Starts the actors of a context. `chain` is the prefix of the chain that is ready from the beginning.
    pub(super) fn start_context(
        &self,
        shared: Arc<ContextShared>,
        own: TaskIndex,
        chain: ObjectPrefix,
        trust: Trust,
    ) -> Result<Live> {
        if !self.executor.run.connected() {
            let message = "the executor of this task died, which is a bug: start the task again";
            return Err(RemoteError::new(ErrorCode::Internal, message).on_task(&self.who.task).into());
        }
        let owners: Vec<_> = (0..shared.devices.len()).filter_map(|i| shared.owner(DeviceIndex(i as u16))).collect();
        let ready_chain = ObjectId { prefix: chain, local: 1, device: shared.first_device(own)? };
        let used = Rc::new(Cell::new(Instant::now()));
        let serving = Serving::new(own, self.who.task.to_string(), owners, shared.peers.len(), self.ops.clone())
            .with_programs(self.limits.programs);
        let executor = self.executor.clone();
        let (directory, compilers, made) = (self.directory.clone(), self.compilers.clone(), shared.clone());
        let (factory, counter) = (self.object_manager.clone(), used.clone());
        let (buffers, memory, limits) = (self.who.buffers.clone(), &self.memory, self.limits);
        let rendezvous = (self.rendezvous)(shared.id, &self.who.task);
        let tasks: Vec<_> = shared.tasks().map(|task| task.name.clone()).collect();
        let mut parts = None;
        let addr = DistributedContext::create(|ctx| {
            let (run, abort, wanted) = (executor.run, executor.abort, ctx.address().recipient());
            let context = Some(made.clone());
            let (memory, collective) = (memory.clone(), limits.collectives);
            let (limits, chance) = (limits.objects, directory.chance().clone());
            let neighbours = Neighbours { run, abort, wanted, context, memory, limits, chance };
            let manager = factory(made.id, ready_chain, neighbours);
            let send = ctx.address().recipient();
            let collectives = Collectives::new(own, &tasks, made.groups(), send, collective, buffers).start();
            let data = DataRecipients { rendezvous, collectives: Collectives::recipients(&collectives) };
            made.data.attach(data.clone());
            parts = Some((manager.clone(), data.clone()));
            let compile = executor.compile;
            let used = counter;
            DistributedContext::new(Parts {
                shared: made,
                serving,
                directory,
                trust,
                objects: manager,
                compile,
                compilers,
                data,
                used,
            })
        });
        let (objects, data) = parts.ok_or_else(|| Error::new(ErrorCode::Internal, "the context did not start"))?;
        Ok(Live { shared, addr, objects, data, used, ready_chain })
    }
}

impl Live {
    /// The context for a session of task `peer`.
    pub(super) fn open(&self, id: ContextId, is_creator: bool, peer: &TaskName, prefix: ObjectPrefix) -> Opened {
        let (calls, ended) = (self.addr.clone().recipient(), self.addr.clone().recipient());
        let peer = self.shared.task_index(peer).ok();
        Opened { id, calls, ended, peer, prefix, is_creator }
    }
}

/// The object manager that is taken unless the application gives another.
pub(super) fn default_object_manager(task: String, chance: Chance) -> ObjectManagerFactory {
    Rc::new(move |context, ready_chain, neighbours| {
        let manager = ObjectManager::new(task.clone(), context.0, chance.bits(), neighbours);
        let addr = manager.with_ready_chain(ready_chain).start();
        context::Objects {
            resolve: addr.clone().recipient(),
            bound: addr.clone().recipient(),
            fetched: addr.clone().recipient(),
            foreseen: addr.clone().recipient(),
            ended: addr.clone().recipient(),
            close: addr.clone().recipient(),
            inspect: addr.clone().recipient(),
            list: addr.recipient(),
        }
    })
}

/// The rendezvous that is taken unless the application gives another.
pub(super) fn default_rendezvous(limits: RendezvousLimits) -> RendezvousFactory {
    Rc::new(move |_, task| {
        let addr = Rendezvous::new(&task.to_string(), limits).start();
        Rendezvous::recipients(&addr)
    })
}
