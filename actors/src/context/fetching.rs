//! Objects of other tasks, fetched from where they live.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use remex_protocol::{
    ErrorCode, RemoteError,
    calls::{CloseContextRequest, ContextMode, CreateContextRequest, FetchObjectRequest, Origin},
    cluster::Address,
    ids::{ContextIndex, TaskIndex},
    tensor::Tensor,
};
use tokio::time::Instant;

use super::ContextShared;
use crate::{
    Error, Result,
    client::{LinkEvent, Receiver, Subscribe},
    envelope::post,
    objects::Want,
    promise::{Promise, promise},
    server::Directory,
};

/// An owner that does not answer is left without a word.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The tasks that this one fetches from.
#[derive(Debug)]
pub(super) struct Fetching {
    directory: Directory,
    /// Whether addresses on this machine may be dialled without having been allowed.
    trust_local: bool,
    owners: BTreeMap<TaskIndex, Owner>,
}

/// A task that is fetched from.
#[derive(Debug)]
struct Owner {
    address: Address,
    receiver: Arc<Receiver>,
    index: ContextIndex,
    /// The context was joined there for this; `None` where this task calls the owner anyway, by the same index.
    joined: Option<Promise<()>>,
}

impl Fetching {
    pub(super) fn new(directory: Directory, trust_local: bool) -> Self {
        Self { directory, trust_local, owners: BTreeMap::new() }
    }

    /// Begins to fetch an object; the future brings it.
    pub(super) fn fetch(
        &mut self,
        shared: &Arc<ContextShared>,
        events: actix::Recipient<LinkEvent>,
        want: Want,
    ) -> impl Future<Output = Result<Tensor>> + use<> {
        let found = self
            .owner(shared, events, want.owner)
            .map(|owner| (owner.receiver.clone(), owner.index, owner.joined.clone(), owner.address.clone()));
        let owner = shared.task_name(want.owner).clone();
        async move {
            let (receiver, context, joined, address) = found?;
            let from = |error: Error| {
                error.map(|error| error.on_task(&owner).through(format!("fetch from {owner} at {address}")))
            };
            if let Some(joined) = joined {
                joined.get().await.map_err(from)?;
            }
            let left = Instant::from_std(want.deadline).saturating_duration_since(Instant::now());
            let request = FetchObjectRequest {
                context,
                object: want.object,
                origin: Origin::Anywhere,
                time_left_ms: left.as_micros().div_ceil(1000) as u64,
            };
            let (reply, data) = receiver.call(request, Bytes::new(), left).await.map_err(from)?;
            Tensor::from_bytes(reply.metadata, data).map_err(|error| {
                let message = format!("object {} did not arrive whole: {error}", want.object);
                RemoteError::new(ErrorCode::DataLoss, message).on_task(&owner).into()
            })
        }
    }

    fn owner(
        &mut self,
        shared: &Arc<ContextShared>,
        events: actix::Recipient<LinkEvent>,
        task: TaskIndex,
    ) -> Result<&Owner> {
        match self.owners.entry(task) {
            std::collections::btree_map::Entry::Occupied(owner) => Ok(owner.into_mut()),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let peer = &shared.peers[task.position()];
                if let Some(link) = &peer.link {
                    let (receiver, index) = (link.receiver.clone(), link.index);
                    let address = receiver.address.clone();
                    return Ok(vacant.insert(Owner { address, receiver, index, joined: None }));
                }
                let peer = &peer.info;
                let address = peer.address.clone().ok_or_else(|| {
                    let message = "the object's owner has no address: nothing can be fetched from it";
                    Error::from(RemoteError::new(ErrorCode::Unavailable, message).on_task(&peer.name))
                })?;
                self.directory.may_dial(&address, self.trust_local)?;
                let receiver = self.directory.receiver(Some(&peer.name), &address)?;
                post(&receiver.subscribe, Subscribe(events));
                let index = receiver.indexes.take()?;
                let joined = Some(join(shared, receiver.clone(), index));
                Ok(vacant.insert(Owner { address, receiver, index, joined }))
            }
        }
    }

    /// A link is gone, and with it what the context was called there: the next fetch joins again.
    pub(super) fn lost(&mut self, address: &Address) {
        self.owners.retain(|_, owner| {
            let keep = owner.address != *address;
            if !keep && owner.joined.is_some() {
                owner.receiver.indexes.give_back(owner.index);
            }
            keep
        });
    }

    /// The context is over on this task: it leaves where it was only joined.
    pub(super) fn leave(&mut self) {
        for Owner { receiver, index, joined, .. } in std::mem::take(&mut self.owners).into_values() {
            let Some(joined) = joined else { continue };
            actix::spawn(async move {
                let left = match joined.get().await {
                    Ok(()) => receiver.call(CloseContextRequest { context: index }, Bytes::new(), LEAVE_TIMEOUT).await,
                    Err(error) => Err(error),
                };
                receiver.indexes.ended(index, &left);
            });
        }
    }
}

/// Makes the context known on the link to its owner.
fn join(shared: &Arc<ContextShared>, receiver: Arc<Receiver>, index: ContextIndex) -> Promise<()> {
    let (writer, joined) = promise();
    let request = CreateContextRequest {
        index,
        context: shared.id,
        mode: ContextMode::Join,
        prefix: shared.prefix,
        tasks: Vec::new(),
        devices: Vec::new(),
        idle_timeout_ms: 0,
        groups: Vec::new(),
    };
    let limit = shared.default_deadline;
    actix::spawn(async move {
        writer.settle(receiver.call(request, Bytes::new(), limit).await.map(|_| ()));
    });
    joined
}
