//! What all who use a context have in common: its tables, its ids, its queue. Shared by all threads.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use remex_protocol::{
    DeviceName, Effect, ErrorCode, RemoteError,
    cluster::{GroupMembers, TaskInfo, TaskName},
    ids::{ContextId, DeviceIndex, ObjectId, ObjectPrefix, TaskIndex},
};
use tokio::sync::Notify;

use super::{
    Link, Peer, chains::RemoteChainManager, data::DataWays, in_flight::InFlight, ingress::Ingress, reach::Reaching,
    register::Registered,
};
use crate::{
    Error, Result,
    handles::{ObjectRef, ProgramHandle, RemoteChain},
};

/// Unless told otherwise a call may take so long.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// One context, as its users share it.
#[derive(Debug)]
pub struct ContextShared {
    pub(crate) id: ContextId,
    pub(crate) prefix: ObjectPrefix,
    next_local: AtomicU64,
    /// This task.
    own: TaskIndex,
    pub(crate) peers: Vec<Peer>,
    pub(crate) devices: Vec<DeviceName>,
    /// The task of each device.
    owners: Vec<TaskIndex>,
    device_indexes: BTreeMap<DeviceName, DeviceIndex>,
    task_indexes: BTreeMap<TaskName, TaskIndex>,
    /// Who does collectives together; a group's number is its position.
    groups: Vec<GroupMembers>,
    pub(crate) default_deadline: Duration,
    pub(crate) ingress: Ingress,
    pub(crate) chains: RemoteChainManager,
    pub(super) reaching: Reaching,
    pub(crate) data: DataWays,
    pub(super) registered: Registered,
    /// What makes the context on a task that has lost it, where this task made it: its idle time-out.
    made: Option<Duration>,
    pub(crate) in_flight: Arc<InFlight>,
    /// Set when the context drains: nothing new is admitted, what was goes on.
    pub(crate) draining: OnceLock<Error>,
    pub(crate) closed: OnceLock<Error>,
    /// Wakes who keeps the context alive.
    pub(crate) over: Arc<Notify>,
}

impl ContextShared {
    /// Fails if a device belongs to none of the tasks.
    pub(crate) fn new(
        id: ContextId,
        prefix: ObjectPrefix,
        own: TaskIndex,
        peers: Vec<Peer>,
        devices: Vec<DeviceName>,
        default_deadline: Duration,
    ) -> Result<Self> {
        let index = |(i, peer): (usize, &Peer)| (peer.info.name.clone(), TaskIndex(i as u16));
        let task_indexes: BTreeMap<_, _> = peers.iter().enumerate().map(index).collect();
        let owner = |device: &DeviceName| {
            task_indexes.get(device.task()).copied().ok_or_else(|| {
                let message = format!("device {device} belongs to none of the context's tasks");
                Error::new(ErrorCode::InvalidArgument, message)
            })
        };
        let owners = devices.iter().map(owner).collect::<Result<_>>()?;
        let device_indexes =
            devices.iter().enumerate().map(|(i, name)| (name.clone(), DeviceIndex(i as u16))).collect();
        let chains = RemoteChainManager::new(peers.len());
        Ok(Self {
            id,
            prefix,
            next_local: AtomicU64::new(1),
            own,
            peers,
            devices,
            owners,
            device_indexes,
            task_indexes,
            groups: Vec::new(),
            default_deadline,
            ingress: Ingress::default(),
            chains,
            reaching: Reaching::default(),
            data: DataWays::default(),
            registered: Registered::default(),
            made: None,
            in_flight: Arc::default(),
            draining: OnceLock::new(),
            closed: OnceLock::new(),
            over: Arc::default(),
        })
    }

    /// The same with groups for collectives, which were checked against the tasks.
    #[must_use]
    pub(crate) fn with_groups(mut self, groups: Vec<GroupMembers>) -> Self {
        self.groups = groups;
        self
    }

    /// The same, of a context that this task makes on the others: it makes it again on one that has lost it.
    #[must_use]
    pub(crate) fn with_maker(mut self, idle_timeout: Duration) -> Self {
        self.made = Some(idle_timeout);
        self
    }

    /// The idle time-out of the context on a task where this one made it.
    pub(super) fn makes(&self, task: TaskIndex) -> Option<Duration> {
        self.made.filter(|_| self.peers[task.position()].link.is_some() && task != self.own)
    }

    /// Counts how often all that lived on a task was lost.
    pub(crate) fn life_of(&self, task: TaskIndex) -> u32 {
        self.peers[task.position()].life()
    }

    /// All that lived on a task is lost: what refers to it fails, and ops begin from the ready chain again.
    pub(super) fn end_life(&self, task: TaskIndex, why: &Error) {
        self.peers[task.position()].end_life(why);
        self.chains.forget(task);
    }

    /// The groups for collectives.
    pub fn groups(&self) -> &[GroupMembers] {
        &self.groups
    }

    /// Which context.
    pub fn id(&self) -> ContextId {
        self.id
    }

    /// All devices of the context.
    pub fn devices(&self) -> &[DeviceName] {
        &self.devices
    }

    /// All tasks of the context.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskInfo> {
        self.peers.iter().map(|peer| &peer.info)
    }

    /// This task.
    pub fn task(&self) -> &TaskName {
        self.task_name(self.own)
    }

    /// The chain that is ready on a task from the beginning.
    pub fn ready_chain(self: &Arc<Self>, task: &TaskName) -> Result<RemoteChain> {
        self.ready_chain_of(self.task_index(task)?)
    }

    pub(crate) fn ready_chain_of(self: &Arc<Self>, task: TaskIndex) -> Result<RemoteChain> {
        let known = self.peers[task.position()].ready_chain;
        let chain = match known {
            Some(chain) => Some(chain),
            None => self.link(task)?.ready_chain.get().copied(),
        };
        chain.map(|id| RemoteChain::ready(self, id)).ok_or_else(|| {
            Error::new(
                ErrorCode::FailedPrecondition,
                "the task has not said which chain is ready: bring-up is not over",
            )
        })
    }

    pub(crate) fn device_name(&self, device: DeviceIndex) -> &DeviceName {
        &self.devices[device.position()]
    }

    pub(crate) fn task_name(&self, task: TaskIndex) -> &TaskName {
        &self.peers[task.position()].info.name
    }

    /// The task that a device belongs to, if there is such a device.
    pub(crate) fn owner(&self, device: DeviceIndex) -> Option<TaskIndex> {
        self.owners.get(device.position()).copied()
    }

    pub(crate) fn device_index(&self, name: &DeviceName) -> Result<DeviceIndex> {
        self.device_indexes.get(name).copied().ok_or_else(|| {
            let known: Vec<_> = self.devices.iter().map(DeviceName::to_string).collect();
            let message = format!("the context has no device {name}; it has {}", known.join(", "));
            Error::new(ErrorCode::DeviceNotFound, message)
        })
    }

    pub(crate) fn task_index(&self, name: &TaskName) -> Result<TaskIndex> {
        self.task_indexes.get(name).copied().ok_or_else(|| {
            let known: Vec<_> = self.task_indexes.keys().map(TaskName::to_string).collect();
            let message = format!("the context has no task {name}; it has {}", known.join(", "));
            Error::new(ErrorCode::TaskNotFound, message)
        })
    }

    /// The first device of a task: where its programs run unless told otherwise.
    pub(crate) fn first_device(&self, task: TaskIndex) -> Result<DeviceIndex> {
        let first = self.owners.iter().position(|owner| *owner == task);
        first.map(|device| DeviceIndex(device as u16)).ok_or_else(|| {
            let message = format!("task {} has no device", self.task_name(task));
            Error::new(ErrorCode::DeviceNotFound, message)
        })
    }

    /// The link to a task, if there is one; an error if there cannot be one.
    pub(crate) fn find(&self, task: TaskIndex) -> Result<Option<Link<'_>>> {
        let not_sent = |error: &Error| error.clone().map(|error| error.with_effect(Effect::NotSent));
        if let Some(error) = self.closed.get() {
            return Err(not_sent(error));
        }
        let peer = &self.peers[task.position()];
        let lost = match peer.last_link() {
            Some(link) => match link.lost.get() {
                None => return Ok(Some(link)),
                Some(error) => {
                    // A context that its maker may make again, or that is joined again where others have it.
                    let gone = matches!(error.code(), ErrorCode::RpcUnavailable | ErrorCode::DataLoss);
                    let again = peer.link.is_none() || self.makes(task).is_some() && gone;
                    if again { None } else { Some(not_sent(error)) }
                }
            },
            None => None,
        };
        match lost {
            Some(error) => Err(error),
            None if peer.info.address.is_some() || self.own == task => Ok(None),
            None => {
                let error = RemoteError::new(ErrorCode::Unavailable, "the task has no address and cannot be called");
                Err(error.on_task(&peer.info.name).with_effect(Effect::NotSent).into())
            }
        }
    }

    /// The link to a task that was reached before; an error if it was not, or if the link is gone. Who may be the first
    /// to call a task takes [`reach`](Self::reach) instead.
    pub(crate) fn link(&self, task: TaskIndex) -> Result<Link<'_>> {
        self.find(task)?.ok_or_else(|| {
            let peer = &self.peers[task.position()];
            let lost = peer.last_link().and_then(|link| link.lost.get().cloned());
            let error = lost.map_or_else(
                || RemoteError::new(ErrorCode::Unavailable, "the task was not reached yet").on_task(&peer.info.name),
                |error| error.remote().clone(),
            );
            error.with_effect(Effect::NotSent).into()
        })
    }

    /// The link that a program was registered on: programs end with their link.
    pub(crate) fn link_of(&self, program: &ProgramHandle) -> Result<Link<'_>> {
        let task = program.receiver();
        match self.find(task)? {
            Some(link) if link.generation == program.generation() => Ok(link),
            Some(_) | None => {
                let cause = self.peers[task.position()].last_link().and_then(|link| link.lost.get().cloned());
                let cause = cause.map(|error| format!(" ({})", error.message())).unwrap_or_default();
                let message =
                    format!("the link on which the program was registered was lost{cause}: register it again");
                let error = RemoteError::new(ErrorCode::FailedPrecondition, message).in_program(program.name());
                Err(error.on_task(self.task_name(task)).with_effect(Effect::NotSent).into())
            }
        }
    }

    /// What random pauses are drawn from: with the same prefix and history, the same.
    pub(crate) fn seed(&self) -> u64 {
        self.prefix.0 ^ self.next_local.load(Ordering::Relaxed)
    }

    /// A number that tells files of this task from those of others.
    pub(crate) fn new_tag(&self) -> u64 {
        self.prefix.0.wrapping_add(self.next_local.fetch_add(1, Ordering::Relaxed))
    }

    /// A new id on a device. Nothing is sent.
    pub(crate) fn new_id(&self, device: DeviceIndex) -> ObjectId {
        ObjectId { prefix: self.prefix, local: self.next_local.fetch_add(1, Ordering::Relaxed), device }
    }

    pub(crate) fn new_object(self: &Arc<Self>, device: DeviceIndex) -> ObjectRef {
        self.object(self.new_id(device))
    }

    /// A reference to an id.
    pub(crate) fn object(self: &Arc<Self>, id: ObjectId) -> ObjectRef {
        ObjectRef::new(self.clone(), id, self.owner(id.device).unwrap_or_default())
    }

    /// The last reference to an object is gone.
    pub(crate) fn release(&self, owner: TaskIndex, object: ObjectId) {
        if self.closed.get().is_none() {
            self.ingress.push_release(owner, object);
        }
    }

    /// Objects are released together.
    pub(crate) fn release_all(&self, released: Vec<(TaskIndex, ObjectId)>) {
        if self.closed.get().is_none() {
            self.ingress.push_releases(released);
        }
    }

    /// An object is to stay when this task's session is lost.
    pub(crate) fn keep(&self, owner: TaskIndex, object: ObjectId) {
        if self.closed.get().is_none() {
            self.ingress.push_keep(owner, object);
        }
    }

    /// From now on nothing new is admitted; ends when every call is answered, or after `limit`.
    pub async fn drain(&self, limit: Duration) {
        let error = Error::new(ErrorCode::FailedPrecondition, "the context drains: it takes no new calls");
        let _ = self.draining.set(error.map(|error| error.with_effect(Effect::NotSent)));
        let _ = tokio::time::timeout(limit, self.in_flight.none()).await;
    }

    /// Whether new calls are admitted.
    pub(crate) fn accepts_calls(&self) -> Result<()> {
        match self.draining.get() {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    /// From now on nothing is admitted. False if it was closed already.
    pub(crate) fn close(&self, error: Error) -> bool {
        let first = self.closed.set(error).is_ok();
        self.over.notify_one();
        self.chains.clear();
        first
    }
}
